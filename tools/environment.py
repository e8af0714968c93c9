"""The virtual environment the commands run in: made once, brought up to date when the pinned packages change.

This module imports the standard library only, because it runs before any package is installed. The folder is ``.venv``
in the project, or the one that ``VOICECALL_SYNC_VENV`` names. A stamp in it says that it is ours, and for which Python
and locks. An unfinished stamp says that a set-up was interrupted, which then starts again. A folder without a stamp is
not ours, and stays as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tools.lock import pins

ROOT = Path(__file__).resolve().parent.parent
FOLDER_VARIABLE = "VOICECALL_SYNC_VENV"
LOCKS = (ROOT / "tools" / "pip.lock", ROOT / "tools" / "requirements.lock")
"""What is installed, in this order: the first is the pip that installs the second."""
_NEEDS_NONE = frozenset({"lock"})
"""Commands for which a Python with pip is enough."""

_STAMP = "voicecall-sync.stamp"
_UNFINISHED = "unfinished\n"
_LAST_LINES = 15
_LOOK_EVERY, _TELL_EVERY = 0.2, 10.0
"""Seconds."""


class SetUpError(Exception):
    """The environment cannot be made; the message tells the user what to do."""


class Need(Enum):
    """What an environment needs before commands can run in it."""

    NOTHING = "nothing"
    PACKAGES = "packages"
    """It is whole, but made for other packages."""
    EVERYTHING = "everything"
    """It is not there, not finished, or of another Python."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an environment is made for.

    Attributes:
        python: The version without its last part: 3.11.7 and 3.11.9 run the same packages.
        lock: A digest of the locks, which have the packages.
    """

    python: str
    lock: str

    @classmethod
    def wanted(cls, version: tuple[int, int], lock: bytes) -> Stamp:
        """Return the stamp of an environment for this Python and these locks."""
        return cls(".".join(map(str, version)), hashlib.sha256(lock).hexdigest())

    @classmethod
    def parse(cls, text: str) -> Stamp | None:
        """Read a stamp as `__str__` writes it; None if it is not a stamp."""
        words = text.split()
        return cls(*words) if len(words) == len(cls.__slots__) else None

    def __str__(self) -> str:
        return f"{self.python} {self.lock}\n"


def need(found: Stamp | None, wanted: Stamp) -> Need:
    """Tell what an environment with this stamp, or with none, needs."""
    if found is None or found.python != wanted.python:
        return Need.EVERYTHING
    return Need.NOTHING if found == wanted else Need.PACKAGES


def folder(variables: Mapping[str, str]) -> Path:
    """Return the environment's folder, given the environment variables."""
    named = variables.get(FOLDER_VARIABLE, "")
    return Path(named).expanduser().absolute() if named else ROOT / ".venv"


def run(command: str, arguments: list[str]) -> int:
    """Run a command in the environment, which is set up first if necessary; return the exit status."""
    if command in _NEEDS_NONE:
        return _run(command, arguments)
    venv = folder(os.environ)
    try:
        _make_ready(venv)
    except SetUpError as failure:
        print(failure, file=sys.stderr)
        return 2
    except OSError as failure:
        print(
            f"{venv} cannot be written ({failure.strerror}): name another folder in {FOLDER_VARIABLE}", file=sys.stderr
        )
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; the next command sets {_shown(venv)} up anew", file=sys.stderr)
        return 130
    if not _is_inside(venv):
        return _start_again(venv, [command, *arguments])
    return _run(command, arguments)


def _run(command: str, arguments: list[str]) -> int:
    module = importlib.import_module(f"tools.{command}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what a command started is stopped with it
    try:
        return int(module.main(arguments))
    except KeyboardInterrupt:
        return 130


def _make_ready(venv: Path) -> None:
    wanted = Stamp.wanted(sys.version_info[:2], b"".join(lock.read_bytes() for lock in LOCKS))
    stamp = venv / _STAMP
    found = Stamp.parse(stamp.read_text(encoding="ascii")) if _python(venv).exists() and stamp.exists() else None
    what = need(found, wanted)
    if what is Need.NOTHING:
        return
    if what is Need.EVERYTHING and not _is_inside(venv):
        _require_makeable(venv)
    venv.mkdir(parents=True, exist_ok=True)
    stamp.write_text(_UNFINISHED, encoding="ascii")
    started = time.monotonic()
    if what is Need.EVERYTHING and not _is_inside(venv):
        _say(f"setting up {_shown(venv)} (once; about a minute) ...")
        _create(venv)
    else:
        _say(f"installing into {_shown(venv)} what has changed ...")
    for lock in LOCKS:
        install(venv, lock)
    stamp.write_text(str(wanted), encoding="ascii")
    _say(f"ready after {time.monotonic() - started:.0f} s")


def _require_makeable(venv: Path) -> None:
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        version = ".".join(map(str, sys.version_info[:2]))
        raise SetUpError(
            f"{sys.executable} cannot make virtual environments. On Debian and Ubuntu the part that does is a package"
            f" of its own: sudo apt install python{version}-venv"
        )
    if venv.exists() and any(venv.iterdir()) and not (venv / _STAMP).exists():
        raise SetUpError(
            f"{venv} was not made by this command, which would empty it: remove it, or name another folder in"
            f" {FOLDER_VARIABLE}"
        )


def _create(venv: Path) -> None:
    for entry in venv.iterdir():
        if entry.name == _STAMP:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()
    made = subprocess.run(
        [sys.executable, "-m", "venv", str(venv)], capture_output=True, text=True, errors="replace", check=False
    )
    if made.returncode:
        raise SetUpError(f"python -m venv {venv} failed:\n{_last_lines(made.stdout + made.stderr)}")


def install(venv: Path, lock: Path) -> None:
    """Install what a lock has into an environment, and tell how far that is.

    Raises:
        SetUpError: pip failed, for example because of a package outside the lock.
    """
    pip = [str(_python(venv)), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    pip += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--progress-bar=off"]
    pip.append("--no-compile")  # half of the time, most of it for modules that are never imported
    with subprocess.Popen(
        [*pip, "--requirement", str(lock)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as installing:
        packages = sum(1 for _ in pins(lock.read_text(encoding="utf-8")))
        last_lines = _followed(installing, venv, packages)
    if installing.returncode:
        raise SetUpError(
            f"pip could not install the packages:\n{_last_lines(last_lines)}\n"
            "Is the package index reachable from here? Behind a proxy, set HTTPS_PROXY or PIP_INDEX_URL."
        )


def _followed(installing: subprocess.Popen[str], venv: Path, packages: int) -> str:
    """Tell how far pip is until it has ended; return the last lines it wrote."""
    lines: deque[str] = deque(maxlen=_LAST_LINES)
    progress, fetched, had = Progress(), 0, _packages_in(venv)
    for line in installing.stdout or ():
        lines.append(line)
        if line.startswith("Ignoring "):  # of another system or Python
            packages -= 1
        elif line.startswith(("Collecting ", "Processing ", "Requirement already satisfied")):
            fetched += 1
            progress.tell(f"fetching package {fetched} of {packages}")
        elif line.startswith("Installing collected packages"):  # and not another word until that is done
            while installing.poll() is None:
                progress.tell(f"installed {_packages_in(venv) - had} of {packages}")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    installing.wait(_LOOK_EVERY)
    progress.end()
    return "".join(lines)


def _packages_in(venv: Path) -> int:
    site_packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(venv)}))
    return sum(1 for _ in site_packages.glob("*.dist-info"))


class Progress:
    """How far something is: one line that changes, on a terminal; elsewhere a line now and then."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._told = time.monotonic()

    def tell(self, text: str) -> None:
        """Show this instead of what was shown before."""
        if self._on_terminal:
            print(f"\r\033[K  {text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._told >= _TELL_EVERY:
            self._told = time.monotonic()
            _say(f"  {text}")

    def end(self) -> None:
        """Take the changing line away."""
        if self._on_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _start_again(venv: Path, arguments: list[str]) -> int:
    line = [str(_python(venv)), str(ROOT / "tools"), *arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name != "nt":
        os.execv(line[0], line)  # noqa: S606 - the Python just made
    # There, execv would hand the terminal back before the command has ended.
    try:
        return subprocess.run(line, check=False).returncode
    except KeyboardInterrupt:
        return 130


def _python(venv: Path) -> Path:
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


def _is_inside(venv: Path) -> bool:
    return Path(sys.prefix).resolve() == venv.resolve()


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _last_lines(output: str) -> str:
    return "\n".join(f"  {line[:500]}" for line in output.strip().splitlines()[-_LAST_LINES:])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
