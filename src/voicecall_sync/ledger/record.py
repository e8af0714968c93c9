"""A contact's record in the ledger, read defensively.

Times are stored as seconds since 1970, durations in seconds. A record holds no phone number, attribute value or token,
and no digest of one. It keeps the names of the properties and custom fields in its PATCH, not their values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from voicecall_sync.outcome import Awaited, State

KEPT = timedelta(days=775)
"""25 months. Connect keeps a contact for 24, and a claim that is forgotten earlier allows a second PATCH."""
LOST_AFTER = timedelta(hours=2)
"""How long past ``backBy`` a message counts as lost."""
EXPIRED_AFTER = timedelta(seconds=60)
"""A claim expires this long after ``ownerUntil``, because clocks differ."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_ATTEMPTS = 1_000_000

_HISTORY = (
    *("metAt", "firstSource", "scope", "failures", "failedSince", "backBy", "completedAt"),
    *("releasedAt", "releasedBy", "namedAt"),
)


@dataclass(frozen=True, slots=True)
class Record:
    """A contact's record. A value that is absent or not readable is None or empty.

    Attributes:
        state: None if it is not one of the five: such a record is never claimed.
        since: When it entered its open state; None once it is UPDATED.
        source: The source of the last claim; of the waiting record if the contact was never claimed.
        first_source: The source of the first message.
        scope: The scope in which the reconciliation found the contact.
        met_at: When the contact first came into the ledger.
        back_by: When its message is there again at the latest; None without a known message.
        failures: How often its message came back because something failed.
        failed_since: When it first did so.
        completed_at: When its COMPLETED event was sent: after-contact work is over. None without such an event.
        waits_for, waits_since: What the contact waited for last, and when the worker first saw that.
        dead_lettered_at: When the worker moved its message to the dead-letter queue.
        named_at: When an operator named it after its first message.
        closed_at, closed_by: When it was closed, and by which operator: the update was found in Salesforce.
        properties, custom_fields: The names of the properties and custom fields in its PATCH.
        history: The attributes that the next claim keeps.
        expired_claim: This invocation has just turned its expired claim UNCERTAIN.
    """

    contact_id: str
    state: State | None
    owner: str | None = None
    owner_until: datetime | None = None
    retry_at: datetime | None = None
    source: str | None = None
    first_source: str | None = None
    scope: str | None = None
    attempts: int = 0
    http_status: int | None = None
    detail: str = ""
    since: datetime | None = None
    claimed_at: datetime | None = None
    settled_at: datetime | None = None
    met_at: datetime | None = None
    back_by: datetime | None = None
    failures: int = 0
    failed_since: datetime | None = None
    completed_at: datetime | None = None
    waits_for: Awaited | None = None
    waits_since: datetime | None = None
    dead_lettered_at: datetime | None = None
    released_at: datetime | None = None
    released_by: str | None = None
    named_at: datetime | None = None
    closed_at: datetime | None = None
    closed_by: str | None = None
    properties: tuple[str, ...] = ()
    custom_fields: tuple[str, ...] = ()
    history: Mapping[str, Any] = field(default_factory=dict)
    expired_claim: bool = False

    def due(self, now: datetime) -> bool:
        """Tell whether it may be claimed again."""
        due = self.retry_at is None or now >= self.retry_at
        return self.state is State.NOT_APPLIED and self.owner is not None and due

    def claim_expired(self, now: datetime) -> bool:
        """Tell whether its claim has expired: the owner's invocation ended without a settle."""
        return self.state is State.CLAIMED and (self.owner_until is not None and now - EXPIRED_AFTER > self.owner_until)

    @property
    def waits(self) -> bool:
        """Tell whether its message waits in the contact queue: it is tried again without an operator."""
        return self.state is State.NOT_APPLIED and self.since is not None and self.dead_lettered_at is None

    @property
    def waiting_since(self) -> datetime | None:
        """Return when it began to wait: a failed attempt begins its state anew, not its wait."""
        return min(filter(None, (self.failed_since, self.waits_since, self.since)), default=None)

    @property
    def dead_lettered(self) -> bool:
        """Tell whether its message is in the dead-letter queue: it is not tried again without an operator."""
        return self.state is State.NOT_APPLIED and self.since is not None and self.dead_lettered_at is not None

    def lost(self, now: datetime) -> bool:
        """Tell whether it waits, and its message is two hours late."""
        back_by = self.back_by or self.since
        return self.waits and back_by is not None and now - LOST_AFTER > back_by


def record_of(contact_id: str, values: Mapping[str, Any]) -> Record:
    """Read a record. One that was edited by hand and is not readable blocks its contact, and nothing else."""
    state, owner = values.get("state"), values.get("owner")
    scope, waits_for = values.get("scope"), values.get("waitsFor")
    return Record(
        contact_id=contact_id,
        state=State(state) if isinstance(state, str) and state in list(State) else None,
        owner=owner if isinstance(owner, str) else None,
        owner_until=from_stored(values.get("ownerUntil")),
        retry_at=from_stored(values.get("retryAt")),
        source=str(values.get("source", "")),
        first_source=str(values.get("firstSource", values.get("source", ""))),
        scope=scope if isinstance(scope, str) else None,
        attempts=_whole(values.get("attempts")) or 0,
        http_status=_whole(values.get("httpStatus")),
        detail=str(values.get("detail", "")),
        since=from_stored(values.get("since")),
        claimed_at=from_stored(values.get("claimedAt")),
        settled_at=from_stored(values.get("settledAt")),
        met_at=from_stored(values.get("metAt")),
        back_by=from_stored(values.get("backBy")),
        failures=_whole(values.get("failures")) or 0,
        failed_since=from_stored(values.get("failedSince")),
        completed_at=from_stored(values.get("completedAt")),
        waits_for=Awaited(waits_for) if isinstance(waits_for, str) and waits_for in list(Awaited) else None,
        waits_since=from_stored(values.get("waitsSince")),
        dead_lettered_at=from_stored(values.get("deadLetteredAt")),
        released_at=from_stored(values.get("releasedAt")),
        released_by=_name(values.get("releasedBy")),
        named_at=from_stored(values.get("namedAt")),
        closed_at=from_stored(values.get("closedAt")),
        closed_by=_name(values.get("closedBy")),
        properties=_names(values.get("properties")),
        custom_fields=_names(values.get("customFields")),
        history={name: values[name] for name in _HISTORY if name in values},
    )


def stored(moment: datetime) -> Decimal:
    """Return a moment as the table keeps it: seconds since 1970, rounded down to the millisecond."""
    return Decimal((moment - _EPOCH) // timedelta(milliseconds=1)) / 1000


def from_stored(value: object) -> datetime | None:
    """Return a moment that the table keeps; None if the value is not a time."""
    try:
        return datetime.fromtimestamp(float(value), UTC) if isinstance(value, Decimal) else None
    except (ValueError, OverflowError, OSError):
        return None


def forgotten_at(now: datetime) -> int:
    """Return the ``expiresAt`` of a record written now (DynamoDB's TTL, in seconds since 1970)."""
    return int((now + KEPT).timestamp())


def _name(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _names(value: object) -> tuple[str, ...]:
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()


def _whole(value: object) -> int | None:
    return min(int(value), MOST_ATTEMPTS) if isinstance(value, Decimal) and value.is_finite() else None
