"""Runs the project's commands: ``python3 -m tools COMMAND``, with any Python from 3.11 on and nothing else installed.

The first command makes a virtual environment and installs the packages into it. Every command then runs with that
environment's Python. This file must also parse on older Pythons, so that it can name the oldest one allowed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
COMMANDS = {
    "demo": "a morning of calls here, in a few seconds; what Salesforce and the ledger then hold",
    "invoke": "give one event file to its function, as `sam local invoke` would",
    "operate": "look after a deployed VoiceCall Sync, or the local one: what needs an operator, and how to fix it",
    "day": "a day of thousands of calls with outages, lost events and kills; checked, with what it costs",
    "bench": "what a contact costs, against a floor, under Lambda's own runtime; needs Python 3.13",
    "stack": "keep the local AWS, Amazon Connect, Salesforce and the worker running, to try them by hand",
    "test": "all checks, then all tests; with arguments: just pytest, with them",
    "check": "style, formatting, types and the template, in a few seconds",
    "sbom": "the built artifact's bill of materials, in CycloneDX's JSON",
    "lock": "write the locks anew: what is installed, from the lists of packages",
}
"""Name -> what it does. Each is a module of this package with a ``main(arguments)`` that returns the exit status."""


def main(arguments: list[str]) -> int:
    """Run a command; its exit status is returned."""
    complaint = too_old(sys.version_info[:3])
    if complaint:
        print(complaint, file=sys.stderr)
        return 2
    parser = _parser()
    if not arguments:
        parser.print_help()
        return 0
    command = str(parser.parse_args(arguments[:1]).command)

    # Also where Python was started elsewhere, as `python3 path/to/tools`: its own folder would shadow other modules.
    sys.path[:] = [str(ROOT), str(ROOT / "src"), *(entry for entry in sys.path if entry != str(ROOT / "tools"))]
    from tools import environment  # noqa: PLC0415 - needs the version and the path settled above

    return environment.run(command, arguments[1:])


def too_old(version: tuple[int, ...]) -> str | None:
    """Return the complaint about this Python; None if it is new enough."""
    if version >= OLDEST:
        return None
    oldest, this = (".".join(map(str, numbers[:2])) for numbers in (OLDEST, version))
    return f"VoiceCall Sync needs Python {oldest} or newer; this is {this}"


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog="python3 -m tools",
        description="VoiceCall Sync on this machine: no Docker, no account.",
        epilog="commands:\n"
        + "\n".join(f"  {name:{width}}  {purpose}" for name, purpose in COMMANDS.items())
        + "\n\n`python3 -m tools COMMAND --help` says more about one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s COMMAND [ARGUMENT ...]",
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
