"""What operators see of a contact: one log line, and the metrics that alarms and dashboards watch.

Logs hold contact ids, and names of properties, attributes and parameters; never a value of theirs, a number, a token
or a key. Metrics go out as lines of the log (CloudWatch embedded metric format), once for all contacts and once by
source.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from traceback import extract_tb
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from voicecall_sync.outcome import Awaited, Outcome, Settlement, Status

if TYPE_CHECKING:
    from voicecall_sync.contact import Contact
    from voicecall_sync.salesforce.voice_call import VoiceCall

NAMESPACE = "VoiceCallSync"

_MOST_NAMES = 20
_MOST_VALUES = 90
"""Of one metric in one line of the log: at 100 Powertools writes them out by itself, before the source is known."""
_LONGEST_NAME = 64

_METRIC = {
    Status.UPDATED: "Updated",
    Status.DUPLICATE: "Duplicate",
    Status.RETRY_LATER: "RetryLater",
    Status.REJECTED: "Rejected",
    Status.UNCERTAIN: "Uncertain",
    Status.IGNORED: "Ignored",
    Status.INVALID: "Invalid",
}
_AWAITED_METRIC = {
    Awaited.CALL: "NotFinishedYet",
    Awaited.WRAP_UP: "NotFinishedYet",
    Awaited.RECORDING: "WaitingForRecording",
    Awaited.VOICEMAIL: "WaitingForRecording",
}
"""These replace RetryLater: nothing failed."""
_FAILED = frozenset({Status.REJECTED, Status.UNCERTAIN})
_WARNED = frozenset({Status.RETRY_LATER, Status.INVALID})


class Report:
    """Writes the log and the metrics of one sandbox.

    Args:
        service: The stack's name; in every log line, and a dimension of every metric, so that two stacks of an account
            share none.
        level: Of our own log lines. The libraries are kept silent whatever it is: at DEBUG they log requests and
            answers whole, secrets and phone numbers with them, and urllib3 headers it cannot parse even at WARNING.
    """

    def __init__(self, service: str, level: str = "INFO") -> None:
        self._service = service
        self._logger = Logger(service=service, level=level)
        self._metrics = Metrics(namespace=NAMESPACE, service=service)
        self._counts: Counter[str] = Counter()
        self._latencies: list[float] = []
        for library in ("botocore", "urllib3", "requests"):
            logging.getLogger(library).setLevel(logging.CRITICAL)

    def outcome(self, outcome: Outcome, source: str, request_id: str) -> None:
        """Log and count what became of a contact."""
        awaited = _AWAITED_METRIC.get(outcome.awaits) if outcome.awaits else None
        self._count(awaited or _METRIC[outcome.status])
        if outcome.final_blocked:
            self._count("FinalUpdateBlocked")
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

    def sent(self, contact: Contact, voice_call: VoiceCall, seconds: float) -> None:
        """Record how long Salesforce took, and say what the update went without."""
        self._latencies.append(seconds * 1000)
        self.went_without(contact, voice_call)
        missing = dict.fromkeys(voice_call.missing_for_creation(), "not known, and a new record needs it")
        self._named("CreationPropertyMissing", "Salesforce creates no record for this call", contact, missing)

    def went_without(self, contact: Contact, voice_call: VoiceCall) -> None:
        """Say which values and parameters could not be sent, and why."""
        left_out = {
            name: reason for name, reason in voice_call.left_out.items() if name in voice_call.attributes_left_out
        }
        self._named("CustomFieldLeftOut", "custom fields left out", contact, left_out)
        others = {name: reason for name, reason in voice_call.left_out.items() if name not in left_out}
        self._named("PropertyLeftOut", "properties left out", contact, others)
        ignored = dict.fromkeys(voice_call.ignored_parameters, "no property goes by this name")
        self._named("ParameterIgnored", "parameters ignored", contact, ignored)
        gone = dict.fromkeys(contact.names_gone, "Amazon Connect has no name for it any more")
        self._named("NameGone", "sent without names that are gone", contact, gone)

    def settle_failed(self, contact_id: str, settlement: Settlement, failure: Exception) -> None:
        """Say the truth about a PATCH that the ledger could not be told."""
        self._count("SettleFailed")
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
        """Say that a contact was claimed by an invocation that died: whether it was sent, nobody knows."""
        self._count("Uncertain")
        self._logger.error(
            "an owner died between claim and settle: UNCERTAIN",
            contactId=contact_id,
            status="UNCERTAIN",
            state="UNCERTAIN",
        )

    def parameters_gone(self, contact_id: str, properties: Sequence[str]) -> None:
        """Say that a contact flow's contact was sent without what the flow's Parameters said."""
        self._count("ParametersGone")
        self._logger.warning(
            "sent without the contact flow's Parameters, which are gone: as Amazon Connect describes it",
            extra=_known(contactId=contact_id, propertiesOfTheFlow=tuple(sorted(properties)[:_MOST_NAMES])),
        )

    def defect(self, contact_id: str, defect: Exception) -> str:
        """Say that our own program failed at a contact: where alone, and return it; a message may hold a value."""
        where = f"{type(defect).__name__} at {extract_tb(defect.__traceback__)[-1].name}"
        self._count("Defect")
        self._logger.error("a defect in VoiceCall Sync", contactId=contact_id, detail=where)
        return where

    def progress(self, message: str, **counts: object) -> None:
        """Say how far a long run is, or what became of it."""
        self._logger.info(message, extra=_known(**counts))

    def dead_lettered(self, contact_id: str, reason: str) -> None:
        """Say that a message went to the dead-letter queue, and why."""
        self._count("DeadLettered")
        self._logger.error("moved to the dead-letter queue", extra=_known(contactId=contact_id, detail=reason))

    def left_to_the_queue(self, contact_id: str, failure: Exception) -> None:
        """Say that a message comes back by the queue's own time-out, because its end could not be told."""
        self._logger.warning(
            "a message comes back by the queue's own time-out",
            extra=_known(contactId=contact_id, detail=str(failure)),
        )

    def not_kept(self, contact_id: str, reason: str) -> None:
        """Say that a contact flow's update failed, and that neither the table nor the queue could be told."""
        self._logger.error(
            "a contact flow's contact was neither updated nor left in the queue",
            extra=_known(contactId=contact_id, detail=reason),
        )

    def skipped(self, start: datetime, end: datetime) -> None:
        """Say that the calls that ended in a span of time are looked at by no pass any more."""
        self._logger.error(
            "calls of this span are not looked for any more, because it lies too far back: backfill it by hand",
            extra={"from": start.isoformat(), "to": end.isoformat()},
        )

    def stopped(self, reason: str) -> None:
        """Say that a run of the reconciliation ended before it was through, for a reason that needs looking at."""
        self._logger.error("the reconciliation stopped", detail=reason)

    def counted(self, metric: str, number: int) -> None:
        """Count many at once; nought counts too, so that a graph shows that somebody looked."""
        self._count(metric, number)

    def gauge(self, metric: str, value: float) -> None:
        """Give a measure of the service as a whole; its unit is in its name, or else seconds."""
        unit = MetricUnit.NoUnit if metric == "TokenHoursLeft" else MetricUnit.Seconds
        self._metrics.add_metric(metric, unit, max(0.0, value))
        self._metrics.flush_metrics()

    def flush(self, source: str) -> None:
        """Write the metrics since the last time, for the service as a whole and for the source."""
        counts, self._counts = self._counts, Counter()
        latencies, self._latencies = self._latencies, []
        while counts or latencies:
            self._metrics.add_dimensions(service=self._service, source=source)
            for metric, number in counts.items():
                self._metrics.add_metric(metric, MetricUnit.Count, number)
            for milliseconds in latencies[:_MOST_VALUES]:
                self._metrics.add_metric("PatchLatency", MetricUnit.Milliseconds, milliseconds)
            self._metrics.flush_metrics()
            counts.clear()
            latencies = latencies[_MOST_VALUES:]

    def _named(self, metric: str, message: str, contact: Contact, reasons: Mapping[str, str]) -> None:
        if reasons:
            self._count(metric, len(reasons))
            shown = {printable(name): reason for name, reason in islice(reasons.items(), _MOST_NAMES)}
            self._logger.warning(message, contactId=contact.contact_id, reasons=shown)

    def _count(self, metric: str, by: int = 1) -> None:
        self._counts[metric] += by


def _known(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value not in (None, (), "")}


def printable(name: str) -> str:
    """Return a name that comes from outside as it may stand in a log line or an answer."""
    return name[:_LONGEST_NAME].encode("ascii", "backslashreplace").decode()
