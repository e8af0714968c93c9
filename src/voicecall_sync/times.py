"""Times from events, requests and settings, and spans of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

NARROWEST = timedelta(seconds=4)
"""A step is not halved below this."""


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time, in UTC: the contacts that ended in it."""

    start: datetime
    end: datetime

    @property
    def empty(self) -> bool:
        """Tell whether no moment is in it."""
        return self.start >= self.end

    def halves(self) -> tuple[Window, Window]:
        """Split it in two. The halves share a second: it is not documented whether a search includes its ends."""
        middle = self.start + (self.end - self.start) / 2
        return Window(self.start, middle + timedelta(seconds=1)), Window(middle, self.end)


_FIRST_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)


def moment_of(value: object) -> datetime | None:
    """Return a moment in ISO 8601 with its zone, in UTC; None if it is not one, or before 2000."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None or moment.tzinfo is None:
            return None
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment >= _FIRST_MOMENT else None
