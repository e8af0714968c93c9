"""Claim, settle, read: the table that lets a contact be sent once.

    (none) ──claim──> CLAIMED ──settle──> UPDATED
                         │  └───settle──> REJECTED ──────release──┐
                         │  └───settle──> UNCERTAIN ─────release──┤
                         │                    ↑                   ↓
                         │  └───settle──> NOT_APPLIED ──claim, from retryAt on──> CLAIMED
                         └──owner long dead──> UNCERTAIN

Every write is conditional, and conditional on the *owner*, a fresh uuid4 for each attempt to claim. So whatever comes
late (a write whose answer was lost and which was sent again, a sandbox that thaws) meets another owner, or its own
finished work, and changes nothing. An answer that is lost costs nothing either: the second try of the same write fails
its condition, finds its own owner in the record, and knows that the first one did get through.

Times are stored as seconds since 1970, durations in seconds. A record holds no phone number, attribute value or token:
of the properties sent it keeps digests of two bytes, salted with the contact id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from voicecall_sync.errors import LedgerUnavailable, TooLittleTime, aws_reason
from voicecall_sync.outcome import Settlement, Source, State

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

KEPT = timedelta(days=775)
"""25 months: Connect keeps a contact for 24, and a claim forgotten before that is a second PATCH."""
DEAD_AFTER = timedelta(seconds=60)
"""How long past ``ownerUntil`` an owner counts as dead: clocks differ."""
LONGEST_RETRY = timedelta(hours=6)
FIRST_BACKOFF = timedelta(minutes=1)
MOST_ATTEMPTS = 1_000_000

_NOBODYS = "attribute_not_exists(contactId)"
_STILL_AS_READ = "#state = :state AND #owner = :owner"
_OURS = "#owner = :owner"
_serialize, _deserialize = TypeSerializer().serialize, TypeDeserializer().deserialize


@dataclass(frozen=True, slots=True)
class Claim:
    """Our right to send, and to settle.

    Attributes:
        attempts: How many claims this contact has had, this one included.
    """

    contact_id: str
    owner: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Record:
    """What the table says of a contact. Whatever is not there, or not readable, is None or empty.

    Attributes:
        state: None where it is none of the five: such a record is never claimed.
        history: What a further claim carries over.
        given_up: Its owner was found dead just now, by us.
    """

    contact_id: str
    state: State | None
    owner: str | None = None
    owner_until: datetime | None = None
    retry_at: datetime | None = None
    source: str | None = None
    attempts: int = 0
    digests: Mapping[str, str] = field(default_factory=dict)
    history: Mapping[str, Any] = field(default_factory=dict)
    given_up: bool = False

    def due(self, now: datetime) -> bool:
        """Tell whether it may be claimed again."""
        due = self.retry_at is None or now >= self.retry_at
        return self.state is State.NOT_APPLIED and self.owner is not None and due

    def owner_dead(self, now: datetime) -> bool:
        """Tell whether its owner must have died between claim and settle."""
        return self.state is State.CLAIMED and (self.owner_until is not None and now - DEAD_AFTER > self.owner_until)


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What a claim puts into the record.

    Attributes:
        owner_until: When the claiming invocation must be over.
        digests: See ``digests_of``.
        has_time: Whether there is time for one more call to the table; asked before each call after the first.
    """

    contact_id: str
    source: Source
    now: datetime
    owner_until: datetime
    digests: Mapping[str, str]
    has_time: Callable[[], bool] = lambda: True


def digests_of(contact_id: str, properties: Mapping[str, object]) -> Mapping[str, str]:
    """Return two bytes, in hex, for each property: enough to name those that differ, not to reveal them."""

    def digest(name: str, value: object) -> str:
        text = json.dumps([contact_id, name, value], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:4]

    return MappingProxyType({name: digest(name, value) for name, value in properties.items()})


def retry_at(now: datetime, attempts: int, retry_after: float | None) -> datetime:
    """Return when a contact that was not applied may be tried again.

    Args:
        now: When it was found out.
        attempts: How many claims there were. From the third on the wait doubles, to six hours at most.
        retry_after: Seconds that Salesforce asked for, if it did. Without them the first two waits are none.
    """
    wait = timedelta(seconds=retry_after or 0)
    doublings = min(attempts, 20) - 2
    if doublings > 0:
        wait = min((wait or FIRST_BACKOFF) * 2**doublings, LONGEST_RETRY)
    return now + wait


class Ledger:
    """The idempotency table.

    Args:
        client: A DynamoDB client, with short time-outs and a second try.
        table: Its name.
        new_owner: Gives a fresh uuid4 at each call. Not the request id: an asynchronous retry keeps that, and would
            take a dead invocation's claim for its own.
    """

    def __init__(self, client: DynamoDBClient, table: str, new_owner: Callable[[], str]) -> None:
        self._client = client
        self._table = table
        self._new_owner = new_owner

    def claim(self, request: ClaimRequest) -> Claim | Record:
        """Take the right to send, or return the record that stands against it.

        A record that is NOT_APPLIED and due is claimed again. A CLAIMED one whose owner is long dead is turned
        UNCERTAIN, and returned as that.

        Raises:
            LedgerUnavailable: The table refused, or we never learnt whether the claim got through. Then nothing may
                be sent, and we try to take the claim back; if that fails too, the record may stay CLAIMED.
            TooLittleTime: The contact is due, and there is no time left to claim it again.
        """
        claim = Claim(request.contact_id, self._new_owner(), attempts=1)
        standing = self._put(claim, request, None)
        if standing is not None and standing.due(request.now):
            if not request.has_time():
                raise TooLittleTime("too little time is left to claim it again")
            claim = Claim(request.contact_id, claim.owner, standing.attempts + 1)
            standing = self._put(claim, request, standing)
        if standing is None or standing.owner == claim.owner:
            return claim
        if standing.owner_dead(request.now) and request.has_time():
            return self.give_up_dead_owner(standing, request.now)
        return standing

    def settle(self, claim: Claim, settlement: Settlement, now: datetime) -> None:
        """Write how a claim ended.

        It also overrides an UNCERTAIN that somebody wrote over our CLAIMED: we know better than they could.

        Raises:
            LedgerUnavailable: The table failed, or the claim is no longer ours. The record stays as it is.
        """
        closed = settlement.state is State.UPDATED
        again = retry_at(now, claim.attempts, settlement.retry_after)
        values = {
            "state": settlement.state.value,
            "settledAt": _stored(now),
            "detail": settlement.detail,
            "httpStatus": settlement.http_status,
            "open": None if closed else settlement.state.value,
            "since": None if closed else _stored(now),
            "retryAt": _stored(again) if settlement.state is State.NOT_APPLIED else None,
        }
        self._update(claim.contact_id, values, _OURS, {":owner": claim.owner})

    def give_up_dead_owner(self, standing: Record, now: datetime) -> Record:
        """Turn a dead owner's claim UNCERTAIN. The owner stays in the record, so that a late settle still wins.

        Raises:
            LedgerUnavailable: The table failed.
        """
        values = {
            "state": State.UNCERTAIN.value,
            "detail": "its owner died between claim and settle",
            "open": State.UNCERTAIN.value,
            "since": _stored(now),
        }
        as_read = {":state": State.CLAIMED.value, ":owner": standing.owner}
        try:
            self._update(standing.contact_id, values, _STILL_AS_READ, as_read)
        except _ConditionFailedError:
            # Somebody else did it, or its owner settled after all: whatever is there now is the truth.
            return self.read(standing.contact_id) or standing
        return replace(standing, state=State.UNCERTAIN, given_up=True)

    def read(self, contact_id: str) -> Record | None:
        """Return what the table says of a contact, or None for nothing.

        Raises:
            LedgerUnavailable: The table failed.
        """
        try:
            answer = self._client.get_item(
                TableName=self._table, Key={"contactId": {"S": contact_id}}, ConsistentRead=True
            )
            item = answer.get("Item")
        except Exception as failure:  # noqa: BLE001 - see _put
            raise _unavailable("read", failure) from None
        return _record(contact_id, item) if item else None

    def _put(self, claim: Claim, request: ClaimRequest, standing: Record | None) -> Record | None:
        """Put a claim over nothing, or over the record read; return None, or the record that was in the way."""
        arguments: dict[str, Any] = {"ConditionExpression": _NOBODYS}
        if standing is not None:
            arguments = {
                "ConditionExpression": _STILL_AS_READ,
                "ExpressionAttributeNames": {"#state": "state", "#owner": "owner"},
                "ExpressionAttributeValues": _marshalled({":state": State.NOT_APPLIED.value, ":owner": standing.owner}),
            }
        try:
            self._client.put_item(
                TableName=self._table,
                Item=_marshalled(_claimed(claim, request, standing)),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **arguments,
            )
        except Exception as failure:  # noqa: BLE001 - an answer that botocore cannot read makes it raise anything
            if _condition_failed(failure):
                return self._in_the_way(claim.contact_id, failure)
            if request.has_time():
                self._take_back(claim, request.now)
            raise _unavailable("claim", failure) from None
        return None

    def _in_the_way(self, contact_id: str, failure: ClientError) -> Record:
        item = cast("Mapping[str, Any] | None", failure.response.get("Item"))
        record = _record(contact_id, item) if item else self.read(contact_id)
        if record is None:
            raise LedgerUnavailable("the record went away while it was being claimed")
        return record

    def _take_back(self, claim: Claim, now: datetime) -> None:
        """Make the best of a claim that perhaps got through: nothing was sent, so let the next one send it.

        The claim may yet arrive after this, on a connection we no longer hear from. It is then a claim of an owner
        that never sends, and ends UNCERTAIN before an operator, as any dead owner's does.
        """
        with suppress(LedgerUnavailable):
            unsent = Settlement(State.NOT_APPLIED, "not sent: the table did not confirm the claim")
            self.settle(claim, unsent, now)

    def _update(
        self, contact_id: str, values: Mapping[str, object], condition: str, expected: Mapping[str, object]
    ) -> None:
        """Set what has a value, ``state`` among it, and remove what has None; the condition names the owner."""
        assigned = {name: value for name, value in values.items() if value is not None}
        removed = [f"#{name}" for name in values if name not in assigned]
        expression = f"SET {', '.join(f'#{name} = :new_{name}' for name in assigned)}"
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"contactId": {"S": contact_id}},
                UpdateExpression=expression + (f" REMOVE {', '.join(removed)}" if removed else ""),
                ConditionExpression=condition,
                ExpressionAttributeNames={f"#{name}": name for name in (*values, "owner")},
                ExpressionAttributeValues=_marshalled(
                    {**{f":new_{name}": value for name, value in assigned.items()}, **expected}
                ),
            )
        except Exception as failure:  # noqa: BLE001 - see _put
            if _condition_failed(failure):
                raise _ConditionFailedError("the claim is no longer ours") from None
            raise _unavailable("settle", failure) from None


class _ConditionFailedError(LedgerUnavailable):
    """The record was not as the write expected it."""


def _claimed(claim: Claim, request: ClaimRequest, standing: Record | None) -> dict[str, Any]:
    return {
        "contactId": claim.contact_id,
        "state": State.CLAIMED.value,
        "open": State.CLAIMED.value,
        "since": _stored(request.now),
        "owner": claim.owner,
        "ownerUntil": _stored(request.owner_until),
        "source": request.source.value,
        "claimedAt": _stored(request.now),
        "attempts": claim.attempts,
        "digests": dict(request.digests),
        "expiresAt": int((request.now + KEPT).timestamp()),
        "firstClaimedAt": _stored(request.now),
        **(standing.history if standing else {}),
    }


def _record(contact_id: str, item: Mapping[str, Any]) -> Record:
    """Read a record defensively: one that somebody edited must stop a contact, not a program."""
    try:
        values = {name: _deserialize(value) for name, value in item.items()}
    except (ArithmeticError, TypeError, AttributeError):
        return Record(contact_id, state=None)
    state, owner, digests = values.get("state"), values.get("owner"), values.get("digests")
    attempts = values.get("attempts")
    return Record(
        contact_id=contact_id,
        state=State(state) if state in list(State) else None,
        owner=owner if isinstance(owner, str) else None,
        owner_until=_moment(values.get("ownerUntil")),
        retry_at=_moment(values.get("retryAt")),
        source=str(values.get("source", "")),
        attempts=min(int(attempts), MOST_ATTEMPTS) if isinstance(attempts, Decimal) else 0,
        digests=digests if isinstance(digests, Mapping) else {},
        history={name: values[name] for name in _HISTORY if name in values},
    )


_HISTORY = ("firstClaimedAt", "releasedAt", "releasedBy")


def _stored(moment: datetime) -> Decimal:
    return Decimal(f"{moment.timestamp():.3f}")


def _moment(value: object) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(value), UTC) if isinstance(value, Decimal) else None
    except (ValueError, OverflowError, OSError):
        return None


def _marshalled(values: Mapping[str, object]) -> dict[str, Any]:
    return {name: _serialize(value) for name, value in values.items()}


def _condition_failed(failure: Exception) -> TypeGuard[ClientError]:
    return aws_reason(failure) == "ConditionalCheckFailedException"


def _unavailable(what: str, failure: Exception) -> LedgerUnavailable:
    return LedgerUnavailable(f"the idempotency table failed at {what}: {aws_reason(failure)}")
