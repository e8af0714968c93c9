"""An operator's view of a contact: one log line, and the metrics of alarms and dashboards.

A log line holds contact ids, and names of properties, attributes and parameters. It never holds their values, a number,
a token or a key. Metrics are lines of the log as well (CloudWatch embedded metric format). Each is counted once for the
service, and once for the service and the source.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import islice
from traceback import extract_tb
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit, single_metric

from voicecall_sync.outcome import Awaited, Outcome, Settlement, Status

if TYPE_CHECKING:
    from voicecall_sync.contact import Contact
    from voicecall_sync.salesforce.voice_call import VoiceCallUpdate

NAMESPACE = "VoiceCallSync"
UNKNOWN_SOURCE = "unknown"
"""The source of an event or a message that does not say it."""

_MOST_NAMES = 20
_LONGEST_NAME = 64


class Metric(StrEnum):
    """Every metric. The template's alarms and dashboard and docs/design.md have the same names."""

    UPDATED = "Updated"
    DUPLICATE = "Duplicate"
    RETRY_LATER = "RetryLater"
    REJECTED = "Rejected"
    UNCERTAIN = "Uncertain"
    IGNORED = "Ignored"
    INVALID = "Invalid"
    WAITING_FOR_RECORDING = "WaitingForRecording"
    NOT_FINISHED_YET = "NotFinishedYet"
    FINAL_UPDATE_BLOCKED = "FinalUpdateBlocked"
    SETTLE_FAILED = "SettleFailed"
    DEAD_LETTERED = "DeadLettered"
    DEFECT = "Defect"
    ANSWERED = "Answered"
    IGNORED_ANSWERED = "IgnoredAnswered"
    EVENT_MISSING = "EventMissing"
    NAME_GONE = "NameGone"
    CUSTOM_FIELD_LEFT_OUT = "CustomFieldLeftOut"
    PROPERTY_LEFT_OUT = "PropertyLeftOut"
    PARAMETER_IGNORED = "ParameterIgnored"
    PARAMETERS_GONE = "ParametersGone"
    CREATION_PROPERTY_MISSING = "CreationPropertyMissing"
    PATCH_LATENCY = "PatchLatency"
    TOKEN_HOURS_LEFT = "TokenHoursLeft"  # noqa: S105 - not a token
    RECONCILED = "Reconciled"
    FOUND = "Found"
    KNOWN = "Known"
    ENQUEUED = "Enqueued"
    ENQUEUED_AGAIN = "EnqueuedAgain"
    HANDED_ON = "HandedOn"
    METHOD_NOT_SEARCHED = "MethodNotSearched"
    SKIPPED_MINUTES = "SkippedMinutes"
    PAUSED = "Paused"
    POSITION_STANDS = "PositionStands"
    OLDEST_CLAIM_AGE = "OldestClaimAge"


_OF_STATUS = {
    Status.UPDATED: Metric.UPDATED,
    Status.DUPLICATE: Metric.DUPLICATE,
    Status.RETRY_LATER: Metric.RETRY_LATER,
    Status.REJECTED: Metric.REJECTED,
    Status.UNCERTAIN: Metric.UNCERTAIN,
    Status.IGNORED: Metric.IGNORED,
    Status.INVALID: Metric.INVALID,
}
_OF_AWAITED = {
    Awaited.CALL: Metric.NOT_FINISHED_YET,
    Awaited.WRAP_UP: Metric.NOT_FINISHED_YET,
    Awaited.RECORDING: Metric.WAITING_FOR_RECORDING,
    Awaited.VOICEMAIL: Metric.WAITING_FOR_RECORDING,
}
"""These replace RetryLater, because nothing failed."""
_UNITS = {Metric.TOKEN_HOURS_LEFT: MetricUnit.NoUnit}
"""Units of gauges; the others are in seconds."""
_FAILED = frozenset({Status.REJECTED, Status.UNCERTAIN})
_WARNED = frozenset({Status.RETRY_LATER, Status.INVALID})


class Report:
    """Writes the log and the metrics of one sandbox.

    Args:
        service: The stack's name, in every log line and a dimension of every metric. So two stacks of an account do not
            share a metric.
        level: The level of our own log lines. The libraries stay silent at every level. At DEBUG they log whole
            requests and answers, with secrets and phone numbers. urllib3 logs headers that it cannot parse at WARNING.
    """

    def __init__(self, service: str, level: str = "INFO") -> None:
        self._service = service
        self._logger = Logger(service=service, level=level)
        self._metrics = EphemeralMetrics(namespace=NAMESPACE, service=service)
        for library in ("botocore", "urllib3", "requests"):
            logging.getLogger(library).setLevel(logging.CRITICAL)

    def of_source(self, source: str) -> None:
        """Count the next metrics for this source, too."""
        self._metrics.add_dimensions(service=self._service, source=source)

    def outcome(self, outcome: Outcome, source: str, request_id: str) -> None:
        """Log and count the outcome of a contact."""
        self.of_source(source)
        awaited = _OF_AWAITED.get(outcome.awaits) if outcome.awaits else None
        self.counted(awaited or _OF_STATUS[outcome.status])
        if outcome.final_blocked:
            self.counted(Metric.FINAL_UPDATE_BLOCKED)
        write = self._logger.info
        if (outcome.status in _WARNED and not awaited) or outcome.final_blocked:
            write = self._logger.warning
        if outcome.status in _FAILED:
            write = self._logger.error
        write(
            f"contact {outcome.status}",
            extra=_known(
                contactId=outcome.contact_id,
                source=source,
                status=outcome.status.value,
                detail=outcome.detail,
                awaits=outcome.awaits and outcome.awaits.value,
                due=outcome.due and outcome.due.isoformat(timespec="seconds"),
                state=outcome.state and outcome.state.value,
                httpStatus=outcome.http_status,
                differs=outcome.differs,
                requestId=request_id,
            ),
        )

    def sent(self, contact: Contact, voice_call: VoiceCallUpdate, seconds: float) -> None:
        """Record how long Salesforce took, and name what the update lacked."""
        self._metrics.add_metric(Metric.PATCH_LATENCY, MetricUnit.Milliseconds, seconds * 1000)
        self.went_without(contact, voice_call)
        missing = dict.fromkeys(voice_call.missing_for_creation(), "not known, and a new record needs it")
        self._named(Metric.CREATION_PROPERTY_MISSING, "Salesforce creates no record for this call", contact, missing)

    def went_without(self, contact: Contact, voice_call: VoiceCallUpdate) -> None:
        """Name the values and parameters that could not be sent, and why."""
        left_out = {
            name: reason for name, reason in voice_call.left_out.items() if name in voice_call.attributes_left_out
        }
        self._named(Metric.CUSTOM_FIELD_LEFT_OUT, "custom fields left out", contact, left_out)
        others = {name: reason for name, reason in voice_call.left_out.items() if name not in left_out}
        self._named(Metric.PROPERTY_LEFT_OUT, "properties left out", contact, others)
        ignored = dict.fromkeys(voice_call.ignored_parameters, "no property goes by this name")
        self._named(Metric.PARAMETER_IGNORED, "parameters ignored", contact, ignored)
        gone = dict.fromkeys(contact.names_gone, "Amazon Connect has no name for it any more")
        self._named(Metric.NAME_GONE, "sent without names that are gone", contact, gone)

    def settle_failed(self, contact_id: str, settlement: Settlement, failure: Exception) -> None:
        """Log the true result of a PATCH that the ledger did not take."""
        self.counted(Metric.SETTLE_FAILED)
        self._logger.error(
            "the claim could not be settled; the record may still say CLAIMED",
            extra=_known(
                contactId=contact_id,
                trueState=settlement.state.value,
                httpStatus=settlement.http_status,
                detail=f"{settlement.detail}; {failure}",
            ),
        )

    def claim_expired(self, contact_id: str) -> None:
        """Log that the invocation with the claim ended without a result: the update may or may not have been sent."""
        self.counted(Metric.UNCERTAIN)
        self._logger.error(
            "the claim expired without a result: UNCERTAIN",
            contactId=contact_id,
            status="UNCERTAIN",
            state="UNCERTAIN",
        )

    def parameters_gone(self, contact_id: str, properties: Sequence[str]) -> None:
        """Say that a contact flow's contact was sent without the flow's Parameters."""
        self.counted(Metric.PARAMETERS_GONE)
        self._logger.warning(
            "sent without the contact flow's Parameters, which are gone: as Amazon Connect describes it",
            extra=_known(contactId=contact_id, propertiesOfTheFlow=tuple(sorted(properties)[:_MOST_NAMES])),
        )

    def defect(self, contact_id: str, defect: Exception) -> str:
        """Say where our own program failed at a contact, and return it. The message may hold a value: never log it."""
        where = f"{type(defect).__name__} at {extract_tb(defect.__traceback__)[-1].name}"
        self.counted(Metric.DEFECT)
        self._logger.error("a defect in VoiceCall Sync", contactId=contact_id, detail=where)
        return where

    def progress(self, message: str, **counts: object) -> None:
        """Say how far a long run is, or how it ended."""
        self._logger.info(message, extra=_known(**counts))

    def dead_lettered(self, contact_id: str, reason: str) -> None:
        """Say that a message went to the dead-letter queue, and why."""
        self.counted(Metric.DEAD_LETTERED)
        self._logger.error("moved to the dead-letter queue", extra=_known(contactId=contact_id, detail=reason))

    def left_to_the_queue(self, contact_id: str, failure: Exception) -> None:
        """Say that a message comes back by the queue's own time-out, because a request about it failed."""
        self._logger.warning(
            "a message comes back by the queue's own time-out",
            extra=_known(contactId=contact_id, detail=str(failure)),
        )

    def not_kept(self, contact_id: str, reason: str) -> None:
        """Say that a contact flow's update failed, and that neither the table nor the queue took its contact."""
        self._logger.error(
            "a contact flow's contact was neither updated nor left in the queue",
            extra=_known(contactId=contact_id, detail=reason),
        )

    def skipped(self, start: datetime, end: datetime) -> None:
        """Say that no pass looks any more for the calls that ended in a span of time."""
        self._logger.error(
            "calls of this span are not looked for any more, because it lies too far back: backfill it by hand",
            extra={"from": start.isoformat(), "to": end.isoformat()},
        )

    def stopped(self, reason: str) -> None:
        """Say that a run of the reconciliation stopped early, for a reason that needs an operator."""
        self._logger.error("the reconciliation stopped", detail=reason)

    def not_told(self, reason: str) -> None:
        """Say that operators did not get the daily message, and why."""
        self._logger.error("operators were not told what is open", detail=reason)

    def counted(self, metric: Metric, number: int = 1) -> None:
        """Add to a count. Zero counts too, so that a graph shows every run."""
        self._metrics.add_metric(metric, MetricUnit.Count, number)

    def gauge(self, metric: Metric, value: float) -> None:
        """Publish a measure of the service as a whole, never below zero."""
        unit, dimensions = _UNITS.get(metric, MetricUnit.Seconds), {"service": self._service}
        with single_metric(metric, unit, max(0.0, value), namespace=NAMESPACE, default_dimensions=dimensions):
            pass

    def publish(self) -> None:
        """Write out the metrics since the last time."""
        if self._metrics.metric_set:
            self._metrics.flush_metrics()
        self._metrics.clear_metrics()

    def _named(self, metric: Metric, message: str, contact: Contact, reasons: Mapping[str, str]) -> None:
        if reasons:
            self.counted(metric, len(reasons))
            shown = {printable(name): reason for name, reason in islice(reasons.items(), _MOST_NAMES)}
            self._logger.warning(message, contactId=contact.contact_id, reasons=shown)


def _known(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value not in (None, (), "")}


def printable(name: str) -> str:
    """Return a name that comes from outside as it may stand in a log line or an answer."""
    return name[:_LONGEST_NAME].encode("ascii", "backslashreplace").decode()
