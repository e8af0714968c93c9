"""The worker processes one message of the contact queue, and says whether it is done or comes back.

    message ─> record ─> breaker ─> description ─> is it ours? is all known? ─> Pipeline.update ─> Outcome
                 │
                 └─ UPDATED, UNCERTAIN, REJECTED, CLAIMED: done, without a description, a token or a connection

A message only says which contact to look at. The contact's record says whether it was released, found or left by a
contact flow. The outcome decides what happens to the message:

    UPDATED, DUPLICATE, REJECTED, UNCERTAIN   done
    IGNORED                                   done; a waiting record is closed
    RETRY_LATER, a defect                     comes back; a week after the first failure to the dead-letter queue
    INVALID                                   to the dead-letter queue at once
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from voicecall_sync.asked import asked_in
from voicecall_sync.clock import Clock, Moments, Timings
from voicecall_sync.connect.api import Connect
from voicecall_sync.connect.events import finished_contact_id
from voicecall_sync.contact import Asked, Contact
from voicecall_sync.eligibility import Eligibility, still_up
from voicecall_sync.errors import InvalidInput, LedgerUnavailable, NotFinishedYet, NotListed, NotOurs, QueueUnavailable
from voicecall_sync.ledger.claims import Ledger
from voicecall_sync.ledger.record import EXPIRED_AFTER, Record
from voicecall_sync.ledger.waiting import Return, Waiting
from voicecall_sync.outcome import Awaited, Outcome, Source, State, Status
from voicecall_sync.queue import coming_back
from voicecall_sync.queue.api import ContactQueue
from voicecall_sync.queue.messages import Message
from voicecall_sync.report import UNKNOWN_SOURCE, Metric, Report
from voicecall_sync.update import Pipeline, flow_sent, outcome_of

MISSING_AFTER = timedelta(minutes=15)
"""If the reconciliation finds a contact so long after its end, its event was lost."""


@dataclass(frozen=True, slots=True)
class Worker:
    """The worker and its parts; `wiring` builds it."""

    pipeline: Pipeline
    connect: Connect
    ledger: Ledger
    waiting: Waiting
    queue: ContactQueue
    clock: Clock
    timings: Timings
    report: Report
    eligibility: Eligibility
    instance_id: str

    def take(self, message: Message, moments: Moments, request_id: str) -> bool:
        """Process one message. False: it comes back."""
        try:
            asked = asked_in(message.body)
        except InvalidInput as wrong:
            return self._refused(message, Outcome(Status.INVALID, "", str(wrong)), UNKNOWN_SOURCE, request_id)
        try:
            self.require_ours(asked)
        except InvalidInput as wrong:
            return self._refused(message, Outcome(Status.INVALID, "", str(wrong)), asked.source, request_id)
        except NotOurs as reason:
            outcome = Outcome(Status.IGNORED, asked.contact_id, str(reason))
            return self._refused(message, outcome, asked.source, request_id)
        outcome = self._safely(message, asked, moments)
        self.report.outcome(outcome, asked.source, request_id)
        return self._ended(message, asked, outcome)

    def require_ours(self, asked: Asked) -> None:
        """Require that a message or an event is about a finished contact of our instance.

        Raises:
            InvalidInput: It lacks a field that says so.
            NotOurs: It is about something else. This says nothing about the contact itself.
        """
        match asked.source:
            case Source.CONTACT_EVENT:
                finished_contact_id(asked, self.instance_id)
            case Source.CONTACT_FLOW | Source.RECONCILE | Source.OPERATOR:
                pass  # our own messages hold a contact id only
            case _:
                assert_never(asked.source)

    def _described(self, asked: Asked, record: Record | None) -> Contact:
        """Describe the contact, and require that it is ours to update."""
        try:
            contact = self.connect.finished_contact(asked.contact_id, _vouched(asked.source, record))
        except NotFinishedYet:
            raise still_up(record, self.clock.now()) from None
        try:
            self.eligibility.require_ours(contact, asked, record, self.clock.now())
        except NotListed:
            if contact.connected_to_agent_at is not None:
                self.report.counted(Metric.IGNORED_ANSWERED)
            raise
        return contact

    # ---------------------------------------------------------------- the contact

    def _safely(self, message: Message, asked: Asked, moments: Moments) -> Outcome:
        try:
            return outcome_of(asked.contact_id, lambda: self.update(asked, message.sent_at, moments))
        except Exception as defect:  # noqa: BLE001 - one contact's defect comes back like a failure
            where = self.report.defect(asked.contact_id, defect)
            return Outcome(Status.RETRY_LATER, asked.contact_id, f"a defect: {where}")

    def update(self, asked: Asked, sent_at: datetime | None, moments: Moments) -> Outcome:
        """Update the VoiceCall of the contact that was asked for, unless its record stands against it.

        Args:
            asked: The content of a message, or of a direct contact event; see `require_ours`.
            sent_at: When the message came into the queue; None for now.
            moments: The deadlines.

        Raises:
            InvalidInput, NotOurs, NotReady: As for ``Pipeline.update``.
        """
        record = self.ledger.read(asked.contact_id)
        if record is not None and record.dead_lettered_at is not None and record.state is State.NOT_APPLIED:
            if sent_at is not None and sent_at < min(record.dead_lettered_at, self.clock.now()):
                # A second message, older than that: only a redrive or an operator goes on from there.
                detail = "its message is in the dead-letter queue"
                return Outcome(Status.DUPLICATE, record.contact_id, detail, record.state)
            self.waiting.start_anew(record, coming_back.back_by(self.clock.now(), coming_back.VISIBILITY))
            record = self.ledger.read(asked.contact_id)
        standing = self._standing(asked, record, sent_at, moments) if record is not None else None
        if standing is not None:
            return standing
        self.pipeline.breaker.admit()
        contact = self._described(asked, record)
        self.eligibility.require_known(contact, asked, record, self.clock.now())
        outcome = self.pipeline.update(contact, moments, record)
        self._tell_of_sent(outcome, asked, contact, record)
        return outcome

    def _standing(self, asked: Asked, record: Record, sent_at: datetime | None, moments: Moments) -> Outcome | None:
        """Return the outcome if the record stands against sending; None if it does not."""
        # A flow's own message lacks nothing: the flow itself made the update in the end.
        if flow_sent(record) and asked.source is not Source.CONTACT_FLOW:
            # A settled record notes no wait. The message's age says how long the worker has waited for the call's end.
            as_if_noted = replace(record, waits_for=Awaited.CALL, waits_since=sent_at)
            return self.pipeline.blocked(record, self._described(asked, as_if_noted), moments)
        now = self.clock.now()
        if record.state is State.CLAIMED and record.source == Source.CONTACT_FLOW and not record.claim_expired(now):
            # If that flow's update is not applied, it relies on this message.
            detail = "a contact flow is sending it"
            due = (record.owner_until or now) + EXPIRED_AFTER
            return Outcome(Status.RETRY_LATER, record.contact_id, detail, record.state, due=due, awaits=Awaited.TURN)
        if record.state is not State.NOT_APPLIED or not record.due(now):
            return self.pipeline.standing(record, moments)
        return None

    def _tell_of_sent(self, outcome: Outcome, asked: Asked, contact: Contact, record: Record | None) -> None:
        """Log an update without its flow's Parameters. Count answered calls, and calls whose event was lost."""
        if outcome.status not in {Status.UPDATED, Status.UNCERTAIN}:
            return
        if record is not None and record.first_source == Source.CONTACT_FLOW:
            self.report.parameters_gone(contact.contact_id, record.properties)
        if contact.connected_to_agent_at is not None:
            self.report.counted(Metric.ANSWERED)
        # If the event came late after all, its own message is most often the first.
        event_lost = record is not None and record.first_source == Source.RECONCILE and asked.source is Source.RECONCILE
        found_at = record.met_at if record is not None and event_lost else None
        ended = contact.work_ended_at or contact.disconnected_at
        if found_at is not None and ended is not None and found_at - ended > MISSING_AFTER:
            self.report.counted(Metric.EVENT_MISSING)

    # ---------------------------------------------------------------- the message

    def _refused(self, message: Message, outcome: Outcome, source: str, request_id: str) -> bool:
        """End a message that names no contact of ours. No record is changed."""
        self.report.outcome(outcome, source, request_id)
        if outcome.status is not Status.INVALID:
            return True
        try:
            self._move(message, outcome)
        except QueueUnavailable as failure:
            self.report.left_to_the_queue(outcome.contact_id, failure)
            return False
        return True

    def _ended(self, message: Message, asked: Asked, outcome: Outcome) -> bool:
        """End a message, or let it come back: False."""
        try:
            if outcome.status is Status.INVALID:
                self._set_apart(message, outcome)
            elif outcome.status is Status.RETRY_LATER:
                return self._comes_back(message, asked, outcome)
            elif outcome.status is Status.IGNORED:
                self._close(outcome)
        except (LedgerUnavailable, QueueUnavailable) as failure:
            self.report.left_to_the_queue(outcome.contact_id, failure)
            return False
        return True

    def _close(self, outcome: Outcome) -> None:
        record = self._waiting_record(outcome.contact_id)
        if record is not None:
            self.waiting.close(record, outcome.detail)

    def _comes_back(self, message: Message, asked: Asked, outcome: Outcome) -> bool:
        """Let a message come back, unless it did so for a week. True: it is in the dead-letter queue."""
        now = self.clock.now()
        record = None
        with suppress(LedgerUnavailable):  # the message alone is enough
            record = self.ledger.read(asked.contact_id)
        waiting = record if record is not None and record.state is State.NOT_APPLIED else None
        if coming_back.is_over(_began(waiting, outcome), message.receives, now):
            self._set_apart(message, replace(outcome, detail=f"not tried any further: {outcome.detail}"))
            return True
        # Without a waiting record, the number of receives stands for the failures.
        failures = waiting.failures + 1 if waiting else message.receives
        after = coming_back.wait(self.timings.ladder, 1 if outcome.awaits else failures, outcome.due, now)
        with suppress(LedgerUnavailable):
            self._note(asked, record, outcome, coming_back.back_by(now, after))
        self.queue.come_back(message, after)
        return False

    def _note(self, asked: Asked, record: Record | None, outcome: Outcome, back_by: datetime) -> None:
        if record is None or record.state is State.NOT_APPLIED:
            why = Return(outcome.detail, back_by, outcome.awaits, asked.completed_at)
            self.waiting.come_back(asked.contact_id, _vouched(asked.source, record), record, why, self.clock.now())

    def _set_apart(self, message: Message, outcome: Outcome) -> None:
        """Move a message to the dead-letter queue, and note that on a contact that waits for it."""
        self._move(message, outcome)
        with suppress(LedgerUnavailable):  # then it is enqueued once more, and ends here again
            record = self._waiting_record(outcome.contact_id)
            if record is not None:
                self.waiting.dead_lettered(record, outcome.detail, self.clock.now())

    def _move(self, message: Message, outcome: Outcome) -> None:
        self.queue.set_apart(message, outcome.detail)
        self.report.dead_lettered(outcome.contact_id, outcome.detail)

    def _waiting_record(self, contact_id: str) -> Record | None:
        record = self.ledger.read(contact_id)
        return record if record is not None and record.state is State.NOT_APPLIED else None


def _vouched(source: Source, record: Record | None) -> Source:
    """Return the source to note for a contact. A program that may send messages can name any source.

    A request of an operator or a contact flow has rights of its own. So the ledger must know of it.
    """
    known = {record.source, record.first_source} if record is not None else set()
    by_hand = record is not None and (record.released_at is not None or record.named_at is not None)
    asks = source in {Source.OPERATOR, Source.CONTACT_FLOW}
    if not asks or source in known or (source is Source.OPERATOR and by_hand):
        return source
    return next((one for one in Source if one in known), Source.RECONCILE)


def _began(waiting: Record | None, outcome: Outcome) -> datetime | None:
    """Return since when a contact has failed, or has waited for the same thing; None for a first time."""
    if waiting is None or waiting.dead_lettered_at is not None:
        return None
    if outcome.awaits is None:
        return waiting.failed_since
    return waiting.waits_since if waiting.waits_for == outcome.awaits else None
