"""``python3 -m tools test``: all checks, then all tests; with arguments, pytest with those.

``python3 -m tools test --coverage`` runs all of it with coverage, which takes half as long again.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

from tools.check import ROOT, STYLE_AND_TYPES, run, run_all
from tools.local.keeper import die_with_parent

WORKERS = 5
"""More than a small machine has cores: the tests of time-outs mostly wait."""
COVERAGE = "--coverage"
_PYTEST = ("pytest", "-n", str(WORKERS), "--dist", "worksteal")


def main(arguments: Sequence[str]) -> int:
    """Check and test everything, or run pytest with the arguments; return the first exit status that is not 0.

    With coverage, less of it than pyproject.toml asks for is a failure too.
    """
    # Where an image sets it, every worker would rewrite all asserts and every process compile all modules anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if arguments and list(arguments) != [COVERAGE]:
        return run("pytest", ("pytest", *arguments))
    coverage = ("--cov", "--cov-report=term") if arguments else ()
    with _everything_imported_once():
        status = run_all(STYLE_AND_TYPES)
    return status or run("pytest", (*_PYTEST, *coverage))


@contextlib.contextmanager
def _everything_imported_once() -> Iterator[None]:
    """Meanwhile let one process compile what the tests import: in a new environment each worker would, for itself."""
    collecting = [sys.executable, "-m", "pytest", "--collect-only", "--quiet"]
    with subprocess.Popen(
        collecting,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - it only asks the kernel for that
    ):
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
