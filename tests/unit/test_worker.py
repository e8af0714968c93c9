"""What becomes of a message whose failures are not noted: it alone has to carry the contact through."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from tests.support.builders import CONTACT_ID
from tools.local.hand_clock import HandClock
from voicecall_sync.clock import TIMINGS, Moments
from voicecall_sync.errors import ConnectUnavailable, LedgerUnavailable
from voicecall_sync.ledger.record import Record
from voicecall_sync.outcome import Source, State
from voicecall_sync.queue.coming_back import MOST_RECEIVES, TRIED_FOR, whole_seconds
from voicecall_sync.queue.messages import Message, body_of
from voicecall_sync.worker import Worker


@dataclass
class Queue:
    """Remembers after how long a message is to come back."""

    waits: list[timedelta] = field(default_factory=list)
    apart: int = 0

    def come_back(self, _: Message, after: timedelta) -> None:
        self.waits.append(after)

    def set_apart(self, _: Message, __: str) -> None:
        self.apart += 1


def failing(*_: Any, **__: Any) -> Any:
    raise LedgerUnavailable("the table failed")


SENT_BY_A_FLOW = Record(CONTACT_ID, State.UPDATED, "owner", source=Source.CONTACT_FLOW.value)


def worker_of(clock: HandClock, queue: Any, read: Any) -> Worker:
    """A worker whose table takes no note of a failure; Connect fails."""
    return Worker(
        pipeline=Mock(),
        connect=Mock(finished_contact=Mock(side_effect=ConnectUnavailable("Amazon Connect failed"))),
        ledger=Mock(read=read),
        waiting=Mock(come_back=failing),
        queue=queue,
        clock=clock,
        timings=TIMINGS,
        report=Mock(),
        eligibility=Mock(),
        instance_id="instance",
    )


# DEFECT (worker._comes_back): failures may not be noted, because the table fails or the record is not a waiting one.
# Then each counts as the first. The message then comes each minute. It is in the dead-letter queue after 17 hours, not
# after a week. There the message's receives should stand for the failures.
@pytest.mark.parametrize(
    "read",
    [lambda _: None, failing, lambda _: SENT_BY_A_FLOW],
    ids=["the table takes no note", "the table cannot be read", "a flow's update is no record of failures"],
)
def test_days_of_failing_notes_lose_no_message(read: Any) -> None:
    clock, queue = HandClock(), Queue()
    worker, start, receives = worker_of(clock, queue, read), clock.now(), 0
    while clock.now() - start < timedelta(days=5):
        receives += 1
        message = Message("m-1", "receipt", body_of(CONTACT_ID, Source.RECONCILE), start, receives)
        done = worker.take(message, Moments.of(clock, TIMINGS, 60, TIMINGS.contact), "request-1")
        assert not done, f"set apart after {clock.now() - start}, long before {TRIED_FOR}"
        assert receives < MOST_RECEIVES, f"SQS sets it apart after {clock.now() - start}, long before {TRIED_FOR}"
        clock.pass_time(whole_seconds(queue.waits[-1]))
    assert not queue.apart
