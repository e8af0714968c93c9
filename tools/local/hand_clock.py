"""A clock that stands still until it is moved, for what would otherwise take minutes or days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

STARTED = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


@dataclass
class HandClock:
    """Two clocks that are moved by hand, each for itself; see `voicecall_sync.clock.Clock`."""

    wall: datetime = STARTED
    steady: float = 1000.0

    def now(self) -> datetime:
        """Return the time of day."""
        return self.wall

    def monotonic(self) -> float:
        """Return the monotonic clock, in seconds."""
        return self.steady

    def sleep(self, seconds: float) -> None:
        """Let so much time pass, at once."""
        self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        """Move both, as they move when nothing is wrong."""
        self.wall += timedelta(seconds=seconds)
        self.steady += seconds
