"""What operators see of a contact: one log line, and the metrics that alarms and dashboards watch.

Logs hold contact ids, and names of properties, attributes and parameters; never a value of theirs, a number, a token
or a key. Metrics go out as lines of the log (CloudWatch embedded metric format), once for all contacts and once by
source.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from voicecall_sync.outcome import Outcome, Settlement, Status

if TYPE_CHECKING:
    from voicecall_sync.contact import Contact
    from voicecall_sync.voice_call import VoiceCall

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
_FAILED = frozenset({Status.REJECTED, Status.UNCERTAIN})
_WARNED = frozenset({Status.RETRY_LATER, Status.INVALID})


class Report:
    """Writes the log and the metrics of one sandbox, for one thread or several.

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
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._latencies: list[float] = []
        for library in ("botocore", "urllib3", "requests"):
            logging.getLogger(library).setLevel(logging.CRITICAL)

    def outcome(self, outcome: Outcome, source: str, request_id: str) -> None:
        """Log and count what became of a contact."""
        self._count(_METRIC[outcome.status])
        if outcome.final_blocked:
            self._count("FinalUpdateBlocked")
        write = self._logger.info
        if outcome.status in _WARNED or outcome.final_blocked:
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
                state=outcome.state and outcome.state.value,
                httpStatus=outcome.http_status,
                differs=outcome.differs,
                requestId=request_id,
            ),
        )

    def sent(self, contact: Contact, voice_call: VoiceCall, seconds: float) -> None:
        """Record how long Salesforce took, and say what the update went without."""
        with self._lock:
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

    def owner_died(self, contact_id: str) -> None:
        """Say that a contact was claimed by an invocation that died: whether it was sent, nobody knows."""
        self._count("Uncertain")
        self._logger.error(
            "an owner died between claim and settle: UNCERTAIN",
            contactId=contact_id,
            status="UNCERTAIN",
            state="UNCERTAIN",
        )

    def parameters_gone(self, contact_id: str, properties: Sequence[str]) -> None:
        """Say that a contact flow's update is sent again without what the flow's Parameters said."""
        self._count("ParametersGone")
        self._logger.warning(
            "sent again without the contact flow's Parameters, which are gone: as Amazon Connect describes it",
            contactId=contact_id,
            propertiesSentBefore=sorted(properties)[:_MOST_NAMES],
        )

    def defect(self, contact_id: str, where: str) -> None:
        """Say that our own program failed at a contact: by the place alone, for a message may hold a value."""
        self._count("Defect")
        self._logger.error("a defect in VoiceCall Sync", contactId=contact_id, detail=where)

    def progress(self, message: str, **counts: object) -> None:
        """Say how far a long run is, or what became of it."""
        self._logger.info(message, extra=_known(**counts))

    def unseen(self, start: datetime, end: datetime) -> None:
        """Say that a span of time was never searched, and will not be by itself."""
        self._count("Unseen")
        self._logger.error(
            "runs did not come through for so long that a span was never searched: ask for it by hand",
            extra={"from": start.isoformat(), "to": end.isoformat()},
        )

    def stopped(self, reason: str) -> None:
        """Say that a run of the reconciliation ended before it was through, for a reason that needs looking at."""
        self._logger.error("the reconciliation stopped", detail=reason)

    def counted(self, metric: str, number: int) -> None:
        """Count many at once; nought counts too, so that a graph shows that somebody looked."""
        self._count(metric, number)

    def health(self, oldest_claim_seconds: float | None, token_hours_left: float | None) -> None:
        """Give what a run found out about the service as a whole; None for what it did not."""
        with self._lock:
            if oldest_claim_seconds is not None:
                self._metrics.add_metric("OldestClaimAge", MetricUnit.Seconds, oldest_claim_seconds)
            if token_hours_left is not None:
                self._metrics.add_metric("TokenHoursLeft", MetricUnit.NoUnit, max(0.0, token_hours_left))
            if oldest_claim_seconds is not None or token_hours_left is not None:
                self._metrics.flush_metrics()

    def flush(self, source: str) -> None:
        """Write the metrics since the last time, for the service as a whole and for the source."""
        with self._lock:
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
            shown = {_printable(name): reason for name, reason in islice(reasons.items(), _MOST_NAMES)}
            self._logger.warning(message, contactId=contact.contact_id, reasons=shown)

    def _count(self, metric: str, by: int = 1) -> None:
        with self._lock:
            self._counts[metric] += by


def _known(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value not in (None, (), "")}


def _printable(name: str) -> str:
    return name[:_LONGEST_NAME].encode("ascii", "backslashreplace").decode()
