"""Runs the operator's commands with this Python, without setting anything up first."""

import sys

from voicecall_cli.command_line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
