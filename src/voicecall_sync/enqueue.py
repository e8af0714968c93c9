"""What a contact flow could not have updated goes to the contact queue, within the flow's time.

First a waiting record, then one message; either alone is enough to be found. A flow that tries several times leaves
one message, not one for each try.
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
    """What the ledger says of a contact, once a flow's contact was noted there."""

    HAS_A_MESSAGE = auto()
    """An earlier try of the flow left one."""
    NEEDS_NONE = auto()
    """Another invocation has it: it was claimed."""
    NEEDS_A_MESSAGE = auto()
    UNKNOWN = auto()
    """There was no time, or the table failed."""


@dataclass(frozen=True, slots=True)
class FlowContacts:
    """Leaves contacts of contact flows in the queue. Each of its requests has one try: a caller waits.

    Attributes:
        sent: Contacts that it has sent a message for: where the table fails, a flow's next try need not send another.
    """

    ledger: Ledger
    waiting: Waiting
    queue: ContactQueue
    clock: Clock
    timings: Timings
    report: Report
    sent: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_REMEMBERED))

    def leave(self, outcome: Outcome, over: Deadline) -> Outcome:
        """Leave a contact whose outcome is RETRY_LATER; the outcome's detail then says so, or that it failed."""
        noted = self._note(outcome, over)
        if noted is _Noted.NEEDS_NONE:
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
        return _Noted.NEEDS_A_MESSAGE if left else _Noted.NEEDS_NONE

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
