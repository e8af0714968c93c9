"""The look that all commands' tables share: the console, the columns, the colour of a status."""

from __future__ import annotations

import os
import sys

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

NARROW = 98
"""With fewer columns than this, the wider tables put more into one cell."""
_WIDTH_OF_PIPES = 120
_NUMBERS = frozenset({"attempts", "came back", "HTTP", "PATCHes", "length", "properties", "left"})
_WRAPPED = frozenset({"detail", "event\ndetail", "contact\ndetail", "custom fields", "value"})
_STYLES = {
    "UPDATED": "green",
    "DUPLICATE": "cyan",
    "IGNORED": "dim",
    "RETRY_LATER": "yellow",
    "NOT_APPLIED": "yellow",
    "CLAIMED": "yellow",
    "raised": "yellow",
    "UNCERTAIN": "red",
    "REJECTED": "red",
    "INVALID": "red",
}


def console() -> Console:
    """Return the console for standard output: as wide as the terminal or COLUMNS say, else wide enough to read.

    It reads no markup. Text from outside is neither a link nor a style, and cannot break a table.
    """
    wide_enough = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if wide_enough else _WIDTH_OF_PIPES, highlight=False, markup=False, emoji=False)


def table_of(*headings: str, lines: bool = False) -> Table:
    """Return an empty table as all of them look: a line under the headings, numbers to the right, details folded."""
    table = Table(box=box.SIMPLE_HEAD, show_lines=lines, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        justify: JustifyMethod = "right" if _NUMBERS.intersection(heading.split("\n")) else "left"
        text = heading.strip()
        table.add_column(
            Text(heading, style="bold"),
            justify=justify,
            no_wrap=text not in _WRAPPED,
            overflow="fold" if text in _WRAPPED else "ellipsis",
        )
    return table


def styled(status: str) -> Text:
    """Return a status or a state in its colour."""
    return Text(status, style=_STYLES.get(status, ""))
