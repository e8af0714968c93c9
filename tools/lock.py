"""``python3 -m tools lock``: writes each lock anew from the list of packages beside it.

    requirements.txt                  the Lambda artifact             -> requirements.lock
    tools/requirements.txt            the commands and the tests      -> tools/requirements.lock
    tools/local/sam.txt               SAM, in a folder of its own     -> tools/local/sam.lock
    tools/local/runtime_client.txt    Lambda's runtime client         -> tools/local/runtime_client.lock
    tools/pip.txt                     what installs all of these      -> tools/pip.lock
    tools/uv.txt                      what resolves all of these      -> tools/uv.lock

A list has the packages that we chose. A lock has every package that comes with them, one version each, with the hashes
of its wheels. pip installs from the locks alone, and refuses a file that is not in them. Only this command needs uv,
and fetches it into a temporary folder. It imports the standard library only. So it can write a lock anew even if the
old lock cannot be installed any more.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "python3 -m tools lock"

LINUX = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
LAMBDA = ("x86_64-manylinux_2_34", "aarch64-manylinux_2_34")
"""Lambda's python3.13 runs on Amazon Linux 2023, whose glibc is 2.34."""
MAC = ("aarch64-apple-darwin",)
"""Apple's own processors only: cryptography has no wheels for Intel's since version 49."""


@dataclass(frozen=True, slots=True)
class Lock:
    """One list of packages, and where the lock made from it is installed.

    Attributes:
        requirements: The list, from the project's root. The lock is beside it.
        pythons: The Pythons it is installed for. With one alone, the lock has no conditions.
        platforms: As uv names them. Each Python has a wheel of every package on each of them, or no lock is written.
        overrides: A list or a lock, whose versions replace those that the packages ask for.
        beside: A lock that is installed as well. This one leaves out the packages that it has.
        unneeded: Packages that a package asks for but does not need here.
    """

    requirements: str
    pythons: tuple[str, ...] = ("3.11", "3.12", "3.13")
    platforms: tuple[str, ...] = (*LINUX, *MAC)
    overrides: str = ""
    beside: str = ""
    unneeded: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Where the lock is, from the project's root."""
        return str(Path(self.requirements).with_suffix(".lock"))


NOT_FOR_BUILD_AND_DEPLOY = (
    *("setuptools", "wheel"),  # of a workflow that a Makefile's project does not take
    *("arrow", "binaryornot", "cookiecutter", "python-slugify", "text-unidecode", "tzdata"),  # init
    *("blinker", "flask", "itsdangerous", "jinja2"),  # local start-api
    "python-dotenv",
    "boto3-stubs",
    *(f"mypy-boto3-{of}" for of in ("apigateway", "ecr", "iam", "kinesis", "lambda", "schemas", "secretsmanager")),
    *(f"mypy-boto3-{of}" for of in ("signer", "sqs", "stepfunctions", "sts", "xray")),
)
"""What SAM CLI asks for and these two commands never import. Stubs have so many versions that pip reads for seconds."""

LOCKS = (
    Lock("requirements.txt", ("3.13",), LAMBDA),
    # MiniStack pins a botocore that is older than ours. It reads that only for its models, and works with ours.
    Lock("tools/requirements.txt", overrides="requirements.txt"),
    # SAM CLI pins a boto3 that is older than ours.
    Lock(
        "tools/local/sam.txt",
        overrides="tools/requirements.lock",
        beside="tools/requirements.lock",
        unneeded=NOT_FOR_BUILD_AND_DEPLOY,
    ),
    Lock("tools/local/runtime_client.txt", ("3.13",), LAMBDA),
    Lock("tools/pip.txt"),
    Lock("tools/uv.txt"),
)
"""In the order they are made: a later one builds on what an earlier one has."""


class CannotLockError(Exception):
    """A lock cannot be made; the message says why."""


def main(arguments: Sequence[str]) -> int:
    """Write the locks anew; return the exit status."""
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        try:
            uv = _fetch_uv(Path(folder))
            for lock in LOCKS:
                changed = _renew(uv, lock, upgrade=options.upgrade)
                print(f"{lock.path}: {'changed' if changed else 'as it was'}", flush=True)
        except CannotLockError as failure:
            print(failure, file=sys.stderr)
            return 1
    return 0


def pins(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of each package of a list or a lock, as they are written there."""
    for line in text.splitlines():
        name, equals, rest = line.partition("==")
        if equals and not name.startswith(("#", " ")):
            yield name.partition("[")[0], rest.split()[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__.partition(": ")[2], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--upgrade", action="store_true", help="newer versions of what the lists do not pin, instead of the locks' own"
    )
    return parser


def _fetch_uv(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(folder)]
    _run([*pip, "--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", "tools/uv.lock"])
    return folder / "bin" / "uv"


def _renew(uv: Path, lock: Lock, *, upgrade: bool) -> bool:
    """Write a lock anew; tell whether it changed."""
    path = ROOT / lock.path
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    compile_it = [str(uv), "pip", "compile", "--quiet", "--no-progress", "--only-binary=:all:"]
    once = [*compile_it, *_options(lock), *(["--upgrade"] if upgrade else []), f"--python-version={lock.pythons[0]}"]
    if len(lock.pythons) == 1:
        results = {_resolved([*once, f"--python-platform={platform}"], before) for platform in lock.platforms}
        if len(results) > 1:
            raise CannotLockError(f"{lock.requirements} needs other packages on {' than on '.join(lock.platforms)}")
        [after] = results
    else:
        after = _resolved([*once, "--universal"], before)
    if after == before:
        return False
    path.write_text(after, encoding="utf-8")
    if len(lock.pythons) > 1:
        _require_wheels([*compile_it, "--no-deps", lock.path], lock)
    return True


def _require_wheels(command: Sequence[str], lock: Lock) -> None:
    """Resolve the lock for each of its Pythons and platforms, which fails where a package has no wheel."""
    targets = itertools.product(lock.pythons, lock.platforms)
    lines = [[*command, f"--python-version={python}", f"--python-platform={name}"] for python, name in targets]
    with ThreadPoolExecutor(len(lines)) as waiting:  # for the package index
        list(waiting.map(_run, lines))


def _options(lock: Lock) -> list[str]:
    options = ["--generate-hashes", "--no-emit-index-url", "--annotation-style=line", lock.requirements]
    options.append(f"--custom-compile-command={COMMAND}")
    if lock.overrides:
        options.append(f"--override={lock.overrides}")
    left_out = set(lock.unneeded)
    if lock.beside:
        left_out |= {name for name, _ in pins((ROOT / lock.beside).read_text(encoding="utf-8"))}
    return [*options, *(f"--no-emit-package={name}" for name in sorted(left_out))]


def _resolved(command: Sequence[str], before: str) -> str:
    """Return the lock that uv makes, which prefers the versions of the one before."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.lock")
        result.write_text(before, encoding="utf-8")
        _run([*command, f"--output-file={result}"])
        return result.read_text(encoding="utf-8")


def _run(command: Sequence[str]) -> None:
    environment = dict(os.environ)
    if "PIP_INDEX_URL" in environment:  # uv has a name of its own for it
        environment.setdefault("UV_DEFAULT_INDEX", environment["PIP_INDEX_URL"])
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotLockError(f"{' '.join(command[:3])} … failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
