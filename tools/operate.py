"""``python3 -m tools operate``: the operator's command, from a clone."""

from __future__ import annotations

import sys

from voicecall_cli.command_line import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
