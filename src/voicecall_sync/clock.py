"""The two clocks of a machine, handed in; and a deadline that trusts neither of them alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the time is."""

    def now(self) -> datetime:
        """Return the time of day, in UTC. It may jump, forwards and backwards."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never run backwards, but may stand still while a sandbox is frozen."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the monotonic clock, in seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment by which something must be over, held on both clocks.

    A frozen sandbox may find its monotonic clock unmoved; a corrected wall clock may jump back. The
    nearer of the two decides, so either fault can only shorten the time, never lengthen it.
    """

    clock: Clock
    wall_end: float
    monotonic_end: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> Deadline:
        """Return the deadline ``seconds`` from now."""
        return cls(clock, clock.now().timestamp() + seconds, clock.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds left; zero or less when it has passed."""
        return min(self.wall_end - self.clock.now().timestamp(), self.monotonic_end - self.clock.monotonic())

    def later(self, seconds: float) -> Deadline:
        """Return the deadline ``seconds`` after this one; before it, where they are negative."""
        return Deadline(self.clock, self.wall_end + seconds, self.monotonic_end + seconds)
