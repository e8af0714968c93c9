"""``python3 -m tools check``: style, formatting, types and the template. Stops at the first complaint."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.local.keeper import die_with_parent

ROOT = Path(__file__).resolve().parent.parent

# Heading -> module and its arguments.
STYLE: Mapping[str, Sequence[str]] = {
    "ruff check": ("ruff", "check", "."),
    "ruff format": ("ruff", "format", "--check", "."),
}
TYPES: Mapping[str, Sequence[str]] = {"mypy": ("mypy",)}


def main(arguments: Sequence[str]) -> int:
    """Check all there is to check without running it; return the exit status."""
    argparse.ArgumentParser(prog="python3 -m tools check", description=__doc__).parse_args(arguments)
    return run_all({**STYLE, **TYPES}) or _run(
        "cfn-lint", [str(Path(sys.executable).with_name("cfn-lint")), "template.yaml"]
    )


def run_all(steps: Mapping[str, Sequence[str]]) -> int:
    """Run the steps one after another, each under its heading; return the first exit status that is not 0."""
    return next((status for heading, line in steps.items() if (status := run(heading, line))), 0)


def run(heading: str, line: Sequence[str]) -> int:
    """Run a module with this Python, from the project's root, under a heading; return the exit status."""
    return _run(heading, [sys.executable, "-m", *line])


def _run(heading: str, line: Sequence[str]) -> int:
    print(f"== {heading}", flush=True)
    started = time.monotonic()
    # Nothing that checks or tests goes on when this command is killed.
    status = subprocess.run(line, cwd=ROOT, preexec_fn=die_with_parent, check=False).returncode
    if status:
        print(f"== {heading} failed after {time.monotonic() - started:.1f} s", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
