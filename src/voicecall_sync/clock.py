"""The two clocks of a machine, handed in; and what must be over when.

Deadlines are on the monotonic clock. The time of day is for one thing only: the lease, which an invocation in another
sandbox judges by its own. A sandbox that was frozen may find its monotonic clock unmoved, and then the lease, looked
at right before the first byte of the request, keeps it from sending.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
    """A moment on the monotonic clock by which something must be over."""

    clock: Clock
    end: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> Deadline:
        """Return the deadline ``seconds`` from now."""
        return cls(clock, clock.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds left; zero or less when it has passed."""
        return self.end - self.clock.monotonic()

    def later(self, seconds: float) -> Deadline:
        """Return the deadline ``seconds`` after this one; before it, where they are negative."""
        return Deadline(self.clock, self.end + seconds)

    def or_after(self, seconds: float) -> Deadline:
        """Return this deadline, or the one ``seconds`` from now where that is earlier."""
        return min(self, Deadline.after(self.clock, seconds), key=lambda one: one.end)


AWS_TRIES = 2


@dataclass(frozen=True, slots=True)
class Timings:
    """How long things may take, in seconds. They depend on one another, so a contact center has none to choose.

    Attributes:
        flow: From the handler's first line to a contact flow's answer. Connect waits 8: the rest is for a cold start.
        contact: The same for every other contact; it bounds what no other number here bounds.
        last_lines: Kept back for the log line and the metrics.
        settle: Kept back for settling: two tries of one request to the table, both of which time out.
        answer: With less than this for Salesforce's answer, nothing is claimed and nothing is sent.
        patch: How long Salesforce may take to answer.
        explanation: How long a refusal's body may take; it only makes the detail better.
        aws_connect, aws_answer: For one try of a request to the table or to Secrets Manager; each has two tries.
        connect_connect, connect_answer: For one try of a request to Amazon Connect, which happens before the claim.
        ladder: After how long a message comes back, by how often its contact has failed; the last one for all further
            failures.
        breaker_shortest, breaker_longest: How long a sandbox claims nothing once Salesforce has stopped answering; each
            probe that fails doubles it.
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
"""What is deployed; tests of what hangs have shorter ones."""


@dataclass(frozen=True, slots=True)
class Moments:
    """By when what has to be done about one contact.

        first line ──> claimed ──────────> answered ──────> settled, and the handler's answer
                       claim_before        answer_before    over

    Attributes:
        claim_before: The claim must be made; so the connection must be open, too.
        answer_before: Salesforce's answer must be there: after that, there is just time to settle.
        over: All must be done but the last lines of the log.
        lease: Until when the invocation can go on, by the time of day: then Lambda ends it.
    """

    claim_before: Deadline
    answer_before: Deadline
    over: Deadline
    lease: datetime

    @classmethod
    def of(cls, clock: Clock, timings: Timings, remaining: float, budget: float) -> Moments:
        """Return the moments of an invocation that Lambda gives so many seconds from now, a contact of it fewer."""
        over = Deadline.after(clock, min(budget, remaining - timings.last_lines))
        lease = clock.now() + timedelta(seconds=remaining)
        answer_before = over.later(-timings.settle)
        return cls(answer_before.later(-timings.answer), answer_before, over, lease)
