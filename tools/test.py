"""``python3 -m tools test``: style, then all tests beside the types; with arguments, pytest with those."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from tools.check import ROOT, STYLE, TYPES, run, run_all
from tools.local.keeper import die_with_parent

WORKERS = 3
"""One more than a small machine has cores: tests of time-outs mostly wait. Each worker starts servers of its own."""
COVERAGE = "--coverage"
_PYTEST = ("pytest", "-n", str(WORKERS), "--dist", "worksteal")


def main(arguments: Sequence[str]) -> int:
    """Check and test everything, or run pytest with the arguments; return the first exit status that is not 0.

    With coverage, less of it than pyproject.toml asks for is a failure too.
    """
    # Where an image sets it, every worker would rewrite all asserts and every process compile all modules anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if {"-h", "--help"} & set(arguments):
        _parser().print_help()
        return 0
    if arguments and list(arguments) != [COVERAGE]:
        return run("pytest", ("pytest", *map(_from_here, arguments)))
    coverage = ("--cov", "--cov-report=term") if arguments else ()
    with _types_checked_beside() as types:
        with _everything_imported_once():
            status = run_all(STYLE)
        if status:
            return status
        tests = run("pytest", (*_PYTEST, *coverage))
        return types() or tests


def _parser() -> argparse.ArgumentParser:
    """Return the parser for the help text. It does not read pytest's options."""
    parser = argparse.ArgumentParser(
        prog="python3 -m tools test",
        usage=f"%(prog)s [{COVERAGE} | PYTEST_ARGUMENT ...]",
        description="Checks style, formatting and types, then runs all tests. With arguments: pytest alone, with them.",
        epilog="`.venv/bin/pytest --help` has pytest's own options.",
    )
    parser.add_argument(COVERAGE, action="store_true", help="all of it with coverage, which takes half as long again")
    parser.add_argument("PYTEST_ARGUMENT", nargs="*", help="a file, a test, or an option of pytest; e.g. tests/unit -x")
    return parser


def _from_here(argument: str) -> str:
    """Return the argument, a file or a test in it with its whole path: pytest runs in the project's root."""
    file, colons, test = argument.partition("::")
    return f"{Path(file).absolute()}{colons}{test}" if not file.startswith("-") and Path(file).exists() else argument


@contextlib.contextmanager
def _types_checked_beside() -> Iterator[Callable[[], int]]:
    """Meanwhile check the types, which takes one core for long; gives what shows the result and returns its status."""
    ((heading, line),) = TYPES.items()
    with tempfile.TemporaryFile() as output, _started(line, output) as checking:

        def finish() -> int:
            status = checking.wait()
            output.seek(0)
            print(f"== {heading}\n{output.read().decode(errors='replace')}", end="", flush=True)
            return status

        try:
            yield finish
        finally:
            checking.kill()


@contextlib.contextmanager
def _everything_imported_once() -> Iterator[None]:
    """Meanwhile let one process compile what the tests import: in a new checkout each worker would, for itself."""
    is_compiled = (ROOT / "tests" / "__pycache__").exists()
    collecting = ("pytest", "--collect-only", "--quiet")
    with contextlib.nullcontext() if is_compiled else _started(collecting, subprocess.DEVNULL):
        yield


def _started(line: Sequence[str], output: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """Start a module with this Python, from the project's root, its output going there. It ends with this process."""
    return subprocess.Popen(
        [sys.executable, "-m", *line],
        cwd=ROOT,
        stdout=output,
        stderr=subprocess.STDOUT,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - it only asks the kernel for that
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
