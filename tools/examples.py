"""The files in events/, with all their times moved together so that they are of today.

The files keep fixed dates, because ``sam local invoke -e`` reads them as they are. But a window of time, the
reconciliation's above all, finds their contacts on their own day only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tools.local.local_stack import ROOT
from tools.local.sqs_rules import md5

EVENTS = ROOT / "events"
CONTACTS = EVENTS / "contacts.json"

ENDED = datetime(2026, 11, 23, 11, 40, tzinfo=UTC)
"""The last moment of a contact in the files."""
AGE = timedelta(hours=1)
"""How long before now that moment is moved to: old enough for a reconciliation to look at all of them."""
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
"""What is earlier is Amazon Connect's word for "never", 1970, and stays."""
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{3})?Z")
_MILLISECONDS = frozenset({"SentTimestamp", "ApproximateFirstReceiveTimestamp"})
"""Attributes of a message of SQS that are times, in milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Examples:
    """The files of events/, all moved by the same time.

    Attributes:
        by: how far they are moved.
        kept: a folder with copies that were moved already, which are taken as they are.
    """

    by: timedelta
    kept: Path | None = None

    @classmethod
    def at(cls, now: datetime) -> Examples:
        """Return them moved so that they ended a while before `now`, an aware time."""
        return cls(now.replace(microsecond=0) - AGE - ENDED)

    def read(self, path: Path) -> object:
        """Read an event file. A file outside events/ is read as it is.

        Raises:
            OSError: it cannot be read.
            ValueError: it holds no JSON.
        """
        if path.resolve().parent != EVENTS:
            return read_json(path)
        if self.kept is not None:
            return read_json(self.kept / path.name)
        return moved(read_json(path), self.by)

    def write(self, folder: Path) -> None:
        """Write a moved copy of each file into a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        for path in files():
            (folder / path.name).write_text(json.dumps(self.read(path), indent=2) + "\n", encoding="utf-8")


def files() -> Iterator[Path]:
    """Return the files of events/, the contacts' among them."""
    return iter(sorted(EVENTS.glob("*.json")))


def read_json(path: Path) -> object:
    """Read a file that holds any JSON; a byte order mark at its beginning is allowed.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds no JSON.
    """
    return json.loads(path.read_text(encoding="utf-8-sig"))


def moved(content: object, by: timedelta) -> object:
    """Return the JSON with each time in it moved, in the same format. The body of a message of SQS is moved too."""
    match content:
        case {"body": str(body), "md5OfBody": str(), **others}:
            text = json.dumps(moved(json.loads(body), by))
            return {"body": text, "md5OfBody": md5(text), **{name: moved(value, by) for name, value in others.items()}}
        case dict():
            return {
                name: _moved_number(value, by) if name in _MILLISECONDS else moved(value, by)
                for name, value in content.items()
            }
        case list():
            return [moved(value, by) for value in content]
        case str() if _TIME.fullmatch(content) and (moment := datetime.fromisoformat(content)) > _FIRST:
            precision = "milliseconds" if "." in content else "seconds"
            return (moment + by).isoformat(timespec=precision).replace("+00:00", "Z")
        case _:
            return content


def _moved_number(milliseconds: str, by: timedelta) -> str:
    return str(int(milliseconds) + by // timedelta(milliseconds=1))
