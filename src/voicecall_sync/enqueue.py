"""Sends a contact flow's contact to the contact queue if it was not updated, within the flow's time.

First it writes a waiting record, then it sends one message. Either alone is enough to find the contact. A flow that
tries several times leaves only one message.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from voicecall_sync.clock import Clock, Deadline, Timings
from voicecall_sync.errors import LedgerUnavailable, QueueUnavailable
from voicecall_sync.ledger.claims import Ledger
from voicecall_sync.ledger.waiting import Waiting
from voicecall_sync.outcome import Outcome, Source, State
from voicecall_sync.queue.api import ContactQueue
from voicecall_sync.queue.coming_back import DELAY, back_by
from voicecall_sync.report import Report

MOST_REMEMBERED = 100


class _Noted(Enum):
    """Whether a flow's contact needs a message, after it was noted in the ledger."""

    HAS_A_MESSAGE = auto()
    """An earlier request of the flow sent one."""
    NEEDS_NO_MESSAGE = auto()
    """Another invocation has claimed it."""
    NEEDS_A_MESSAGE = auto()
    UNKNOWN = auto()
    """There was no time, or the table failed."""


@dataclass(frozen=True, slots=True)
class FlowContacts:
    """Sends contacts of contact flows to the queue. Each of its requests is made once: a caller waits.

    Attributes:
        sent: Contacts with a message already. If the table fails, the flow's next request need not send another one.
    """

    ledger: Ledger
    waiting: Waiting
    queue: ContactQueue
    clock: Clock
    timings: Timings
    report: Report
    sent: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_REMEMBERED))

    def leave(self, outcome: Outcome, over: Deadline) -> Outcome:
        """Send a contact with the outcome RETRY_LATER to the queue. The detail then says so, or that it failed."""
        noted = self._note(outcome, over)
        if noted is _Noted.NEEDS_NO_MESSAGE:
            return outcome
        known = noted is _Noted.UNKNOWN and outcome.contact_id in self.sent
        if noted is _Noted.HAS_A_MESSAGE or known or self._send(outcome.contact_id, over):
            left = "it comes back through the contact queue"
        elif noted is _Noted.NEEDS_A_MESSAGE:
            left = "the reconciliation enqueues it later"
        else:
            left = "it could not be left in the contact queue either"
            self.report.not_kept(outcome.contact_id, outcome.detail)
        return replace(outcome, detail=f"{outcome.detail}; {left}")

    def _note(self, outcome: Outcome, over: Deadline) -> _Noted:
        if over.left() < 3 * self._one_try:  # to read, to write, and to send
            return _Noted.UNKNOWN
        now = self.clock.now()
        back = back_by(now, DELAY)
        try:
            record = self.ledger.read(outcome.contact_id)
            if record is None:
                detail = outcome.detail
                left = self.waiting.leave(outcome.contact_id, Source.CONTACT_FLOW, detail, back_by=back, now=now)
            elif record.state is not State.NOT_APPLIED:
                left = False
            elif record.back_by is not None and record.back_by > now:
                return _Noted.HAS_A_MESSAGE
            else:
                left = self.waiting.expect(record, back)
        except LedgerUnavailable:
            return _Noted.UNKNOWN
        return _Noted.NEEDS_A_MESSAGE if left else _Noted.NEEDS_NO_MESSAGE

    def _send(self, contact_id: str, over: Deadline) -> bool:
        if over.left() < self._one_try:
            return False
        try:
            self.queue.send(contact_id, Source.CONTACT_FLOW)
        except QueueUnavailable:
            return False
        self.sent.append(contact_id)
        return True

    @property
    def _one_try(self) -> float:
        return self.timings.aws_connect + self.timings.aws_answer
