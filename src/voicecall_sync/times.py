"""Spans of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

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
