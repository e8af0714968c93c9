"""Claim, settle, read: the table that lets a contact be sent once.

    (none) ──left waiting──> NOT_APPLIED (see ``waiting``)
    (none) ──claim──> CLAIMED ──settle──> UPDATED <──────────────────────── close ─┐
                         │  └───settle──> REJECTED ──────release──┐                │
                         │  └───settle──> UNCERTAIN ─────release──┤── UNCERTAIN ───┘
                         │                    ↑                   ↓
                         │  └───settle──> NOT_APPLIED ──claim, from retryAt on──> CLAIMED
                         └──claim expired──> UNCERTAIN

Every write is conditional on the *owner*, a fresh uuid4 for each claim. A write may come late: it was sent again, or
its sandbox was frozen. It then finds another owner, or its own finished work, and changes nothing. A lost answer does
no harm either. The second write fails its condition and finds its own owner in the record: the first one got through.

A contact's own update needs this module only. ``waiting`` writes how contacts wait; ``open_contacts`` is for the
reconciliation and for operators.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from voicecall_sync.errors import LedgerUnavailable
from voicecall_sync.ledger.record import Record, forgotten_at, record_of, stored
from voicecall_sync.ledger.table import NO_RECORD, OURS, STILL_AS_READ, ConditionFailedError, Table
from voicecall_sync.outcome import Settlement, Source, State

CLAIM_EXPIRED = "its claim expired: the invocation ended between claim and settle"


@dataclass(frozen=True, slots=True)
class Claim:
    """Our right to send, and to settle.

    Attributes:
        attempts: The number of this contact's claims, this one included.
    """

    contact_id: str
    owner: str
    attempts: int


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """The values that a claim puts into the record.

    Attributes:
        lease: When the claiming invocation must be over, by the time of day.
        properties, custom_fields: The names of the properties and custom fields in the PATCH.
    """

    contact_id: str
    source: Source
    now: datetime
    lease: datetime
    properties: tuple[str, ...] = ()
    custom_fields: tuple[str, ...] = ()


class ClaimUnconfirmedError(LedgerUnavailable):
    """The function cannot know whether its claim got through. It must not send, and may take the claim back.

    Attributes:
        claim: The claim.
    """

    def __init__(self, claim: Claim, failure: LedgerUnavailable) -> None:
        super().__init__(str(failure))
        self.claim = claim


class Ledger:
    """The idempotency table, for one contact's update. Each method makes one request, or tries it twice.

    Args:
        table: The table of the records.
        new_owner: Gives a fresh uuid4 each time. It must not be the request id. An asynchronous retry keeps that, and
            would take the claim of an ended invocation for its own.
    """

    def __init__(self, table: Table, new_owner: Callable[[], str]) -> None:
        self._table = table
        self._new_owner = new_owner

    def claim(self, request: ClaimRequest, over: Record | None = None) -> Claim | Record:
        """Take the right to send, or return the record that prevents it.

        Args:
            request: The values to write.
            over: The record as it was read: it is due, and the claim replaces it if it is unchanged. None for a contact
                without a record.

        Raises:
            ClaimUnconfirmedError: The table refused, or did not answer.
        """
        claim = Claim(request.contact_id, self._new_owner(), over.attempts + 1 if over else 1)
        as_read = {":state": State.NOT_APPLIED.value, ":owner": over.owner} if over else None
        try:
            self._table.put(_claimed(claim, request, over), STILL_AS_READ if over else NO_RECORD, as_read)
        except ConditionFailedError as failure:
            if not failure.standing:
                raise LedgerUnavailable("the record was deleted while it was being claimed") from None
            standing = record_of(claim.contact_id, failure.standing)
            # Our own owner: an earlier write got through, and only its answer was lost.
            return claim if standing.owner == claim.owner else standing
        except LedgerUnavailable as failure:
            raise ClaimUnconfirmedError(claim, failure) from None
        return claim

    def take_back(self, claim: Claim, now: datetime) -> None:
        """Take back a claim that perhaps got through. Nothing was sent, so another invocation may send.

        The claim may still arrive after this. It then becomes UNCERTAIN, like any expired claim.

        Raises:
            LedgerUnavailable: The table failed, or does not hold the claim.
        """
        unsent = Settlement(State.NOT_APPLIED, "not sent: the table did not confirm the claim")
        self.settle(claim, unsent, now)

    def settle(self, claim: Claim, settlement: Settlement, now: datetime) -> None:
        """Write how a claim ended.

        It also replaces the UNCERTAIN of an expired claim: only this invocation knows the result.

        Raises:
            LedgerUnavailable: The table failed, or the claim is no longer ours. The record stays as it is.
        """
        closed = settlement.state is State.UPDATED
        again = now + timedelta(seconds=settlement.retry_after or 0)
        values = {
            "state": settlement.state.value,
            "settledAt": stored(now),
            "detail": settlement.detail,
            "httpStatus": settlement.http_status,
            "open": None if closed else settlement.state.value,
            "since": None if closed else stored(now),
            "retryAt": stored(again) if settlement.state is State.NOT_APPLIED else None,
        }
        self._table.update(claim.contact_id, values, OURS, {":owner": claim.owner})

    def expire_claim(self, standing: Record, now: datetime) -> Record:
        """Turn an expired claim UNCERTAIN. The owner stays in the record, so that a late settle still wins.

        Raises:
            LedgerUnavailable: The table failed.
        """
        values = {
            "state": State.UNCERTAIN.value,
            "detail": CLAIM_EXPIRED,
            "open": State.UNCERTAIN.value,
            "since": stored(now),
        }
        as_read = {":state": State.CLAIMED.value, ":owner": standing.owner}
        try:
            self._table.update(standing.contact_id, values, STILL_AS_READ, as_read)
        except ConditionFailedError as failure:
            # Another invocation did this, or the owner settled after all: the record has the result.
            return record_of(standing.contact_id, failure.standing) if failure.standing else standing
        return replace(standing, state=State.UNCERTAIN, expired_claim=True)

    def read(self, contact_id: str) -> Record | None:
        """Return a contact's record; None if it has none.

        Raises:
            LedgerUnavailable: The table failed.
        """
        item = self._table.get(contact_id)
        return record_of(contact_id, item) if item else None


def _claimed(claim: Claim, request: ClaimRequest, standing: Record | None) -> dict[str, Any]:
    return {
        "contactId": claim.contact_id,
        "state": State.CLAIMED.value,
        "open": State.CLAIMED.value,
        "since": stored(request.now),
        "owner": claim.owner,
        "ownerUntil": stored(request.lease),
        "source": request.source.value,
        "claimedAt": stored(request.now),
        "attempts": claim.attempts,
        "properties": list(request.properties),
        "customFields": list(request.custom_fields),
        "expiresAt": forgotten_at(request.now),
        "metAt": stored(request.now),
        "firstSource": request.source.value,
        **(standing.history if standing else {}),
    }
