"""The breaker: while Salesforce does not answer, a sandbox does not use up the one update of each contact.

A PATCH without an answer is UNCERTAIN, and an operator must decide. So after a few of them in a row, a sandbox claims
nothing for a minute. Then it lets one contact through as a probe. If the probe fails, the sandbox waits twice as long,
up to ten minutes. Only an answer of 2xx or 4xx closes the breaker.

                 failures in a row             the wait is over
    ┌─> closed ───────────────────> open ───────────────────────> one contact as a probe
    └──── 2xx, 4xx ────────────────── ↑ ──── no answer, 5xx ──────────┘ │
    └───────────────────────────────────────────── 2xx, 4xx ────────────┘

Each sandbox has its own breaker, in memory only. A new sandbox begins with a closed one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from voicecall_sync.clock import Clock, Timings
from voicecall_sync.errors import SalesforceFailing
from voicecall_sync.outcome import Settlement, State

FAILURES = 3
"""The worker's breaker opens after so many contacts in a row."""
FAILURES_IN_A_FLOW = 1
"""A contact flow's breaker opens after the first failure: a caller waits, and there may be many sandboxes."""

_CLOSED_BY = frozenset({2, 4})
_SERVER_ERROR = 5


class Breaker:
    """One sandbox's breaker."""

    def __init__(self, clock: Clock, timings: Timings) -> None:
        self._clock = clock
        self._shortest = timedelta(seconds=timings.breaker_shortest)
        self._longest = timedelta(seconds=timings.breaker_longest)
        self._in_a_row = 0
        self._openings = 0
        self._until: datetime | None = None

    def admit(self) -> None:
        """Let a contact pass if the breaker is closed, or if it is time for a probe.

        Raises:
            SalesforceFailing: The breaker is open; the error says until when.
        """
        if self._until is None:
            return
        # If the clock was set back, the breaker still opens for no longer than its longest wait.
        if timedelta(0) < self._until - self._clock.now() <= self._longest:
            raise SalesforceFailing(self._until)

    def learn(self, settlement: Settlement, most: int) -> None:
        """Count the result of a request that was sent, or was about to be sent.

        Args:
            settlement: How the claim ends.
            most: The number of failures in a row after which the breaker opens.
        """
        kind = (settlement.http_status or 0) // 100
        if kind in _CLOSED_BY:
            self._in_a_row = self._openings = 0
            self._until = None
        elif kind == _SERVER_ERROR or settlement.state is State.UNCERTAIN:
            self._in_a_row += 1
            if self._in_a_row >= most or self._openings:
                self._open()

    def _open(self) -> None:
        self._until = self._clock.now() + min(self._shortest * 2**self._openings, self._longest)
        self._openings = min(self._openings + 1, 20)
