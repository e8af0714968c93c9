"""The pipeline: what happens to one contact, from its event to its outcome.

    Contact ─> VoiceCall ─> token ─> request ─> CLAIM ─> PATCH ─> SETTLE ─> Outcome

Everything that can fail for a reason of ours happens before the claim. Between claim and settle there is the PATCH and
nothing else (and after a 401, once, a fresh token and the PATCH again). If the process dies at any line of
``Sync.update`` after the claim, the record stays CLAIMED: nobody takes it over, and it ends before an operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from voicecall_sync.clock import Clock, Deadline
from voicecall_sync.contact import Contact
from voicecall_sync.custom_fields import CustomField
from voicecall_sync.errors import (
    InvalidInput,
    LedgerUnavailable,
    NotOurs,
    NotReady,
    SecretUnusable,
    TooLittleTime,
)
from voicecall_sync.ledger import Claim, ClaimRequest, Ledger
from voicecall_sync.outcome import Outcome, Settlement, Source, State, Status
from voicecall_sync.record import Record, digests_of
from voicecall_sync.report import Report
from voicecall_sync.telephony import Telephony, explanation, meaning
from voicecall_sync.token import Token, TokenSource
from voicecall_sync.voice_call import VoiceCall, from_contact
from voicecall_sync.wire import Answered, Reply

if TYPE_CHECKING:
    from requests import PreparedRequest

T = TypeVar("T")

SHORTEST_PATCH_SECONDS = 1.0
"""With less time than this for the PATCH, and for settling it, nothing is claimed."""

_STATUS = {
    State.UPDATED: Status.UPDATED,
    State.UNCERTAIN: Status.UNCERTAIN,
    State.REJECTED: Status.REJECTED,
    State.NOT_APPLIED: Status.RETRY_LATER,
}


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long one contact may take.

    Attributes:
        deadline: When the answer must be there.
        owner_until: When the invocation must be over, whatever happens: then Lambda ends it.
        settling: Seconds kept back for settling: two tries that hang, one of them while connecting.
        patch: Seconds that the PATCH may take at the most.
    """

    deadline: Deadline
    owner_until: datetime
    settling: float
    patch: float

    def patch_deadline(self) -> Deadline:
        """Return when to give up the PATCH: early enough to settle it."""
        latest = self.deadline.later(-self.settling)
        capped = Deadline.after(latest.clock, self.patch)
        return capped if capped.left() < latest.left() else latest

    def has_time_to_settle(self) -> bool:
        """Tell whether one more call to the table would be over in time."""
        return self.deadline.left() >= self.settling

    def require_time(self) -> None:
        """Raise TooLittleTime where a PATCH and its settling would not fit into what is left."""
        if self.deadline.left() < SHORTEST_PATCH_SECONDS + self.settling:
            raise TooLittleTime("too little time is left to send and to settle")


@dataclass(frozen=True, slots=True)
class _Prepared:
    """All that is needed to claim and send; nothing of ours can fail from here on but the table."""

    contact: Contact
    voice_call: VoiceCall
    token: Token
    request: PreparedRequest
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Sent:
    """What came of sending; no reply where there was no time to send.

    Attributes:
        seconds: How long it took.
    """

    reply: Reply | None
    settlement: Settlement
    seconds: float

    def adding(self, detail: str) -> _Sent:
        return replace(self, settlement=replace(self.settlement, detail=f"{self.settlement.detail}; {detail}"))


@dataclass(frozen=True, slots=True)
class Sync:
    """What the pipeline needs; the composition root puts it together."""

    ledger: Ledger
    tokens: TokenSource
    telephony: Telephony
    custom_fields: Mapping[str, CustomField]
    clock: Clock
    report: Report

    def update(self, contact: Contact, limits: TimeLimits) -> Outcome:
        """Update the VoiceCall of a contact, unless that was done, or tried, before.

        Raises:
            InvalidInput: A parameter is wrong. Nothing was claimed.
            NotReady: Something of ours failed before the claim. Nothing was sent.
        """
        prepared = self._prepare(contact)
        limits.require_time()
        claim = self._claim(prepared, limits)
        if isinstance(claim, Record):
            return self._known_already(claim, prepared)
        sent = self._send(prepared, limits)
        return self._settle(claim, prepared, sent)

    def rehearse(self, contact: Contact) -> tuple[str, ...]:
        """Do all that comes before the claim, and return the names of the properties that would be sent.

        Raises:
            InvalidInput, NotReady: As for ``update``.
        """
        return tuple(self._prepare(contact).voice_call.properties)

    def _prepare(self, contact: Contact) -> _Prepared:
        voice_call = from_contact(contact, self.custom_fields)
        token = self.tokens.current(self.clock.now())
        voice_call = voice_call.with_call_center(token.call_center_api_name)
        request = self.telephony.prepare(contact.contact_id, token.text, voice_call.as_json())
        digests = digests_of(contact.contact_id, voice_call.properties)
        return _Prepared(contact, voice_call, token, request, digests)

    def _claim(self, prepared: _Prepared, limits: TimeLimits) -> Claim | Record:
        contact = prepared.contact
        return self.ledger.claim(
            ClaimRequest(
                contact.contact_id,
                contact.source,
                self.clock.now(),
                limits.owner_until,
                prepared.digests,
                has_time=limits.has_time_to_settle,
            )
        )

    def _send(self, prepared: _Prepared, limits: TimeLimits) -> _Sent:
        """Send once; once more after a 401, with a token that is another one, if there is time for all that."""
        sent = self._patch(prepared.request, limits)
        if sent.settlement.http_status != HTTPStatus.UNAUTHORIZED:
            return sent
        if limits.deadline.left() < 2 * limits.settling:
            return sent.adding("no time for a fresh token")
        try:
            fresh = self.tokens.replacement(prepared.token, self.clock.now())
        except SecretUnusable as failure:
            return sent.adding(f"no fresh token: {failure}")
        if fresh is None:
            return sent.adding("the secret still holds the token that was refused")
        body = prepared.voice_call.with_call_center(fresh.call_center_api_name).as_json()
        request = self.telephony.prepare(prepared.contact.contact_id, fresh.text, body)
        return self._patch(request, limits)

    def _patch(self, request: PreparedRequest, limits: TimeLimits) -> _Sent:
        """Send once, if there still is time to settle what comes of it."""
        deadline = limits.patch_deadline()
        if deadline.left() < SHORTEST_PATCH_SECONDS / 2:
            unsent = Settlement(State.NOT_APPLIED, "not sent: too little time was left after the claim")
            return _Sent(None, unsent, 0)
        started = self.clock.monotonic()
        reply = self.telephony.patch(request, deadline)
        return _Sent(reply, meaning(reply, self.clock.now()), self.clock.monotonic() - started)

    def _settle(self, claim: Claim, prepared: _Prepared, sent: _Sent) -> Outcome:
        contact_id, settlement = claim.contact_id, sent.settlement
        try:
            self.ledger.settle(claim, settlement, self.clock.now())
        except LedgerUnavailable as failure:
            self.report.settle_failed(contact_id, settlement, failure)
            return _unsettled(contact_id, settlement)
        self.report.sent(prepared.contact, prepared.voice_call, sent.seconds)
        detail = settlement.detail
        if settlement.state is State.REJECTED and isinstance(sent.reply, Answered):
            detail = f"{detail} {explanation(sent.reply.body, prepared.voice_call)}".rstrip()
        status = _STATUS[settlement.state]
        redeliver = settlement.state is State.NOT_APPLIED
        return Outcome(status, contact_id, detail, redeliver, settlement.state, settlement.http_status)

    def _known_already(self, record: Record, prepared: _Prepared) -> Outcome:
        """Say why nothing was sent: somebody else has the contact, or had it, or it is not yet time again."""
        contact_id = record.contact_id
        if record.given_up:
            self.report.owner_died(contact_id)
        if record.state is State.NOT_APPLIED:
            due = f", due again at {record.retry_at.isoformat()}" if record.retry_at else ""
            return Outcome(Status.RETRY_LATER, contact_id, f"not applied yet{due}", redeliver=True, state=record.state)
        ours, theirs = prepared.digests, record.digests
        differs = tuple(name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name))
        detail = f"already {record.state or 'in the ledger, in a state we do not know'}"
        if differs:
            detail += f"; differs in {', '.join(differs)}"
        blocked = prepared.voice_call.final and bool(differs) and record.source == Source.CONTACT_FLOW
        return Outcome(Status.DUPLICATE, contact_id, detail, state=record.state, differs=differs, final_blocked=blocked)


def _unsettled(contact_id: str, settlement: Settlement) -> Outcome:
    """Report a PATCH whose end the table did not take: the record stays CLAIMED, so no delivery sends it again."""
    detail = f"{settlement.detail}; the ledger could not be told, and may still say CLAIMED"
    status = Status.UPDATED if settlement.state is State.UPDATED else Status.UNCERTAIN
    return Outcome(status, contact_id, detail, state=State.CLAIMED, http_status=settlement.http_status)


def expecting(contact_id: str, work: Callable[[], T]) -> T | Outcome:
    """Do the work, and turn the failures we expect before the claim into outcomes. Defects are not caught."""
    try:
        return work()
    except NotOurs as reason:
        return Outcome(Status.IGNORED, contact_id, str(reason))
    except InvalidInput as reason:
        return Outcome(Status.INVALID, contact_id, str(reason), redeliver=True)
    except NotReady as reason:
        return Outcome(Status.RETRY_LATER, contact_id, str(reason), redeliver=True)
