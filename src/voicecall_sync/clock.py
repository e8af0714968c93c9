"""The two clocks of a machine, handed in, and the deadlines of a contact.

Deadlines are on the monotonic clock. Only the lease is a time of day, because other sandboxes compare it with their own
clocks. In a frozen sandbox the monotonic clock may stand still. So the lease is checked right before the first byte of
the request: the sandbox cannot send too late.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """The clocks that the code reads."""

    def now(self) -> datetime:
        """Return the time of day, in UTC. It may jump, forwards and backwards."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never run backwards, but may stand still while a sandbox is frozen."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds."""
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
        """Wait for so many seconds."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock by which a piece of work must be over."""

    clock: Clock
    end: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> Deadline:
        """Return the deadline ``seconds`` from now."""
        return cls(clock, clock.monotonic() + seconds)

    def left(self) -> float:
        """Return the remaining seconds; zero or less once the deadline has passed."""
        return self.end - self.clock.monotonic()

    def later(self, seconds: float) -> Deadline:
        """Return the deadline ``seconds`` after this one; before it if they are negative."""
        return Deadline(self.clock, self.end + seconds)

    def or_after(self, seconds: float) -> Deadline:
        """Return this deadline, or the one ``seconds`` from now if that is earlier."""
        return min(self, Deadline.after(self.clock, seconds), key=lambda one: one.end)


AWS_TRIES = 2


@dataclass(frozen=True, slots=True)
class Timings:
    """Time-outs and waits, in seconds. They depend on one another, so they are not settings.

    Attributes:
        flow: From the handler's first line to a contact flow's answer. Connect waits 8: the rest is for a cold start.
        contact: The same for every other contact. It also bounds steps without a time-out of their own.
        last_lines: Reserved for the log line and the metrics.
        settle: Reserved for settling: two tries of one request to the table, both of which time out.
        answer: If less than this remains for Salesforce's answer, nothing is claimed and nothing is sent.
        patch: How long Salesforce may take to answer.
        explanation: How long a refusal's body may take; it only improves the detail.
        aws_connect, aws_answer: For one try of a request to the table or to Secrets Manager; each has two tries.
        connect_connect, connect_answer: For one try of a request to Amazon Connect, which comes before the claim.
        ladder: The wait before a message comes back, by its contact's failures. The last one repeats.
        breaker_shortest, breaker_longest: How long a sandbox claims nothing once Salesforce has stopped answering. Each
            failed probe doubles it.
    """

    flow: float = 6.5
    contact: float = 25.0
    last_lines: float = 0.5
    settle: float = 2.5
    answer: float = 1.0
    patch: float = 15.0
    explanation: float = 0.3
    aws_connect: float = 0.3
    aws_answer: float = 0.9
    connect_connect: float = 2.0
    connect_answer: float = 4.0
    ladder: tuple[float, ...] = (60.0, 300.0, 900.0, 3600.0)
    breaker_shortest: float = 60.0
    breaker_longest: float = 600.0


TIMINGS = Timings()
"""The deployed values; tests of time-outs have shorter ones."""


@dataclass(frozen=True, slots=True)
class Moments:
    """The deadlines of one contact.

        first line ──> claimed ──────────> answered ──────> settled, and the handler's answer
                       claim_before        answer_before    over

    Attributes:
        claim_before: By then the connection must be open, and the claim made.
        answer_before: By then Salesforce's answer must be there. After that, there is only time to settle.
        over: By then all must be done, except the last log lines.
        lease: The time of day at which Lambda ends the invocation.
    """

    claim_before: Deadline
    answer_before: Deadline
    over: Deadline
    lease: datetime

    @classmethod
    def of(cls, clock: Clock, timings: Timings, remaining: float, budget: float) -> Moments:
        """Return the moments of a contact, from the invocation's remaining seconds and the contact's own budget."""
        over = Deadline.after(clock, min(budget, remaining - timings.last_lines))
        lease = clock.now() + timedelta(seconds=remaining)
        answer_before = over.later(-timings.settle)
        return cls(answer_before.later(-timings.answer), answer_before, over, lease)
