"""The three functions: from an event to an answer. `wiring` builds their parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from voicecall_sync.clock import Clock, Deadline, Moments, Timings
from voicecall_sync.connect.events import asked_by, from_flow
from voicecall_sync.contact import Asked
from voicecall_sync.enqueue import FlowContacts
from voicecall_sync.errors import InvalidInput, Redeliver, WrongSettings
from voicecall_sync.outcome import Outcome, Source, Status
from voicecall_sync.queue.messages import Message, messages_of
from voicecall_sync.reconciliation import request as reconcile_request
from voicecall_sync.reconciliation.run import Reconciliation, ReconciliationParts
from voicecall_sync.report import UNKNOWN_SOURCE, Report
from voicecall_sync.update import outcome_of
from voicecall_sync.worker import Worker

UNKNOWN_TIME_SECONDS = 30.0
"""The time left that is assumed if a context does not say it, as in a test console."""
LAST_PAGE_SECONDS = 60.0
"""So long before the end of a run of the reconciliation, it asks for no further page."""
SHORTEST_TURN_SECONDS = 10.0
"""With less time than this, no further message of a batch is begun. A batch has one message as deployed."""


@dataclass(frozen=True, slots=True)
class SendingParts:
    """The parts of the functions that send.

    Attributes:
        flow_contacts: Leaves a contact flow's contact in the queue if its update failed.
    """

    worker: Worker
    flow_contacts: FlowContacts


@dataclass(frozen=True, slots=True)
class App:
    """Takes events.

    Attributes:
        flow, queue, reconciliation: Give the parts of one function; each raises WrongSettings. They are called for
            each event, and must remember the parts.
    """

    flow: Callable[[], SendingParts]
    queue: Callable[[], SendingParts]
    reconciliation: Callable[[], ReconciliationParts]
    clock: Clock
    timings: Timings
    report: Report

    def update_voice_call(self, event: object, context: object) -> dict[str, str]:
        """Update the VoiceCall of a contact: a contact flow's, or that of a direct contact event.

        Raises:
            Redeliver: The contact event must come again. Never raised for a contact flow's event.
        """
        try:
            asked = asked_by(event)
        except InvalidInput as failure:
            return self._answer(Outcome(Status.INVALID, "", str(failure)), UNKNOWN_SOURCE, context)
        by_flow = asked.source is Source.CONTACT_FLOW
        budget = self.timings.flow if by_flow else self.timings.contact
        moments = Moments.of(self.clock, self.timings, _remaining_seconds(context), budget)
        outcome = outcome_of(asked.contact_id, lambda: self._updated(asked, moments))
        if by_flow and outcome.status is Status.RETRY_LATER:
            outcome = self._left_in_the_queue(outcome, moments)
        return self._answer(outcome, asked.source, context)

    def contact_queue(self, event: object, context: object) -> dict[str, object]:
        """Take a batch of the contact queue, and name the messages that come back.

        Raises:
            InvalidInput: The event is not such a batch.
        """
        failed = [message.message_id for message in messages_of(event) if not self._done(message, context)]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

    def reconcile(self, event: object, context: object) -> dict[str, object]:
        """Run the reconciliation, as a schedule or a request by hand asks for it.

        Raises:
            InvalidInput: The request is wrong; the message names the field.
            WrongSettings: A variable is missing or wrong.
        """
        over = Deadline.after(self.clock, _remaining_seconds(context) - self.timings.last_lines)
        try:
            parts = self.reconciliation()
            request = reconcile_request.parse(event, parts.defaults, self.clock.now())
        except (InvalidInput, WrongSettings) as failure:
            self.report.stopped(str(failure))
            raise
        return Reconciliation(parts, request, over, min(LAST_PAGE_SECONDS, over.left() / 3)).run()

    def _updated(self, asked: Asked, moments: Moments) -> Outcome:
        worker = self.flow().worker
        match asked.source:
            case Source.CONTACT_FLOW:
                return worker.pipeline.update_for_flow(from_flow(asked, worker.instance_id), moments)
            case Source.CONTACT_EVENT | Source.RECONCILE | Source.OPERATOR:
                worker.require_ours(asked)
                return worker.update(asked, None, moments)
            case _:
                assert_never(asked.source)

    def _left_in_the_queue(self, outcome: Outcome, moments: Moments) -> Outcome:
        try:
            return self.flow().flow_contacts.leave(outcome, moments.over)
        except WrongSettings:
            self.report.not_kept(outcome.contact_id, outcome.detail)
            return outcome

    def _done(self, message: Message, context: object) -> bool:
        """Take one message; False: it comes back. That is not an error of the function, so nothing is raised."""
        remaining = _remaining_seconds(context)
        if remaining < SHORTEST_TURN_SECONDS:
            return False
        moments = Moments.of(self.clock, self.timings, remaining, self.timings.contact)
        request_id = str(getattr(context, "aws_request_id", ""))
        try:
            return self.queue().worker.take(message, moments, request_id)
        except WrongSettings as failure:
            self.report.outcome(Outcome(Status.RETRY_LATER, "", str(failure)), UNKNOWN_SOURCE, request_id)
        except Exception as defect:  # noqa: BLE001 - see above
            self.report.of_source(UNKNOWN_SOURCE)
            self.report.defect("", defect)
        finally:
            self.report.publish()
        return False

    def _answer(self, outcome: Outcome, source: str, context: object) -> dict[str, str]:
        self.report.outcome(outcome, source, str(getattr(context, "aws_request_id", "")))
        self.report.publish()
        if outcome.redeliver and source != Source.CONTACT_FLOW:
            raise Redeliver(f"{outcome.status}: {outcome.detail}")
        return outcome.as_answer()


def _remaining_seconds(context: object) -> float:
    in_millis: Callable[[], int] | None = getattr(context, "get_remaining_time_in_millis", None)
    return in_millis() / 1000 if in_millis else UNKNOWN_TIME_SECONDS
