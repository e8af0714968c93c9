"""How much is in a queue."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Depth:
    """How much is in a queue, as SQS counts: about.

    Attributes:
        ready: Messages that can be received now.
        in_flight: Messages that were received and not deleted: in work, or waiting to come back.
        delayed: New messages that SQS holds back.
    """

    ready: int
    in_flight: int
    delayed: int

    @property
    def total(self) -> int:
        """Return how many messages there are."""
        return self.ready + self.in_flight + self.delayed

    def __str__(self) -> str:
        return f"{self.ready} ready, {self.in_flight} in work or waiting to come back, {self.delayed} delayed"
