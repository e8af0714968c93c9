"""Questions, progress, and moments as people type and read them."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from voicecall_sync.contact import contact_id_of
from voicecall_sync.errors import InvalidInput
from voicecall_sync.parse import moment_of

INTERRUPTED = 130
"""The exit status after Ctrl-C."""


def ask(question: str, wanted: str = "yes") -> bool:
    """Ask on standard error; tell whether the next line of standard input is what was wanted."""
    print(f"{question} Type {wanted} to go on: ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        print(file=sys.stderr)  # standard input ended before Enter
    return line.strip() == wanted


def say(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)


def progress() -> Progress:
    """Return a progress bar on standard error. It is off unless standard error is a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True, highlight=False),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def print_json(value: object) -> None:
    """Print JSON to standard output."""
    print(json.dumps(value, indent=2), flush=True)


def printable(text: str, longest: int | None = None) -> str:
    """Return outside text made safe for a terminal: without control characters, and on one line.

    A terminal acts on an escape code, which may fill the clipboard (OSC 52) or hide other text. So each character that
    is not printable is escaped as in Python. ``tables.console`` reads no markup.

    Args:
        text: A value or a name that a caller, a flow, a campaign list or another program may have chosen.
        longest: After so many characters it is cut off.
    """
    shown = text if longest is None or len(text) <= longest else f"{text[:longest]}…"
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in shown)


def printable_json(text: str | bytes) -> object:
    """Read JSON that comes from outside, each text in it as `printable` returns it; None if it cannot be read."""
    try:
        return _printable(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _printable(value: object) -> object:
    match value:
        case str():
            return printable(value)
        case list():
            return [_printable(one) for one in value]
        case dict():
            return {printable(name): _printable(one) for name, one in value.items()}
        case _:
            return value


def moment(text: str) -> datetime:
    """Read an argument that is a moment.

    Raises:
        argparse.ArgumentTypeError: It is not a moment with its zone.
    """
    at = moment_of(text)
    if at is None:
        raise argparse.ArgumentTypeError(f"{text} is not a moment with its zone, such as 2026-11-01T00:00:00Z")
    return at


def contact(text: str) -> str:
    """Read an argument that is a contact id.

    Raises:
        argparse.ArgumentTypeError: It is not a valid contact id.
    """
    try:
        return contact_id_of(text, "CONTACT")
    except InvalidInput as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from None


def positive(text: str) -> int:
    """Read an argument that is a whole number above zero.

    Raises:
        argparse.ArgumentTypeError: It is not such a number.
    """
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def shown(at: datetime | None, *, seconds: bool = False) -> str:
    """Return a moment in UTC, for a table; "-" for none."""
    return f"{at.astimezone(UTC):{'%Y-%m-%d %H:%M:%S' if seconds else '%Y-%m-%d %H:%M'}}" if at else "-"


def lasted(time: timedelta) -> str:
    """Return a length of time in its two largest units."""
    minutes = max(0, int(time.total_seconds() // 60))
    hours, days = minutes // 60, minutes // (24 * 60)
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
