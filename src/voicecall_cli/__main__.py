"""The command ``voicecall-sync``; also ``python3 -m voicecall_cli``."""

import sys

from voicecall_cli.command_line import main


def run() -> int:
    """Run it with the process's arguments; return the exit status."""
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(run())
