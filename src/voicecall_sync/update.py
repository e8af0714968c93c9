"""The pipeline: what happens to one contact, from its values to its outcome.

    Contact ─> VoiceCall ─> breaker ─> token ─> request ─> CONNECT ─> CLAIM ─> PATCH ─> SETTLE ─> Outcome

Everything that can fail for a reason of ours happens before the claim. Between claim and settle there is one look at
the lease, the PATCH and nothing else. If the process dies at any line of ``Sync.update`` after the claim, the record
stays CLAIMED: no other invocation takes it over, and an operator must decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus
from itertools import islice
from typing import TypeVar

from voicecall_sync.clock import Clock, Moments, Timings
from voicecall_sync.contact import Contact
from voicecall_sync.errors import InvalidInput, LedgerUnavailable, NotOurs, NotReady, SalesforceFailing, TooLittleTime
from voicecall_sync.ledger.claims import Claim, ClaimRequest, ClaimUnconfirmedError, Ledger
from voicecall_sync.ledger.record import Record
from voicecall_sync.outcome import Awaited, Outcome, Settlement, Source, State, Status
from voicecall_sync.queue.breaker import FAILURES, FAILURES_IN_A_FLOW, Breaker
from voicecall_sync.report import Report, printable
from voicecall_sync.salesforce import answers
from voicecall_sync.salesforce.attempt import Connection, NotSent, Reply, Salesforce, composed
from voicecall_sync.salesforce.custom_fields import CustomField
from voicecall_sync.salesforce.token import Token, TokenSource
from voicecall_sync.salesforce.voice_call import VoiceCall, from_contact

T = TypeVar("T")

_STATUS = {
    State.UPDATED: Status.UPDATED,
    State.UNCERTAIN: Status.UNCERTAIN,
    State.REJECTED: Status.REJECTED,
    State.NOT_APPLIED: Status.RETRY_LATER,
}
_MOST_NAMES = 5
"""Of what was left out, in a detail; the log names more."""
_FLOW_SENT = frozenset({State.UPDATED, State.UNCERTAIN})


@dataclass(frozen=True, slots=True)
class _Prepared:
    """All that is needed to claim and send; nothing of ours can fail from here on but the table."""

    contact: Contact
    voice_call: VoiceCall
    request: bytes


@dataclass(frozen=True, slots=True)
class _Sent:
    """What came of sending.

    Attributes:
        seconds: How long it took.
    """

    reply: Reply
    settlement: Settlement
    seconds: float


@dataclass(frozen=True, slots=True)
class Sync:
    """What the pipeline needs; the composition root puts it together.

    Attributes:
        endpoint_base, provider_name: See ``answers.patch``.
    """

    ledger: Ledger
    tokens: TokenSource
    salesforce: Salesforce
    breaker: Breaker
    endpoint_base: str
    provider_name: str
    custom_fields: Mapping[str, CustomField]
    clock: Clock
    timings: Timings
    report: Report

    def update(self, contact: Contact, moments: Moments, over: Record | None = None) -> Outcome:
        """Update the VoiceCall of a contact, unless that was done, or tried, before.

        Args:
            contact: The contact.
            moments: By when what has to be done.
            over: Its record, if that was read before and is due; None where there was none, or nobody looked.

        Raises:
            InvalidInput: A parameter is wrong. Nothing was claimed.
            NotOurs: A contact flow says nothing that could be sent. Nothing was claimed.
            NotReady: Something of ours failed before the claim. Nothing was sent.
        """
        voice_call = self._voice_call(contact)
        known = self._known_behind_an_open_breaker(contact.contact_id)
        if known is not None:
            return self.standing(known, moments, voice_call)
        prepared = self._prepare(contact, voice_call)
        connection = self.salesforce.connect(moments.claim_before)
        try:
            claim = self._claim(prepared, moments, over)
            if isinstance(claim, Record):
                return self.standing(claim, moments, prepared.voice_call)
            sent = self._send(connection, prepared, moments)
            outcome = self._settle(claim, prepared, sent)
            if outcome.http_status == HTTPStatus.UNAUTHORIZED:
                self.tokens.forget()
            return self._explained(outcome, connection, prepared, moments)
        finally:
            connection.close()

    def blocked(self, record: Record, contact: Contact, moments: Moments) -> Outcome:
        """Say what a contact that was sent before would have brought; nothing is claimed or sent.

        Raises:
            InvalidInput: What Connect describes is wrong.
        """
        return self.standing(record, moments, from_contact(contact, self.custom_fields))

    def _voice_call(self, contact: Contact) -> VoiceCall:
        voice_call = from_contact(contact, self.custom_fields)
        if contact.source is Source.CONTACT_FLOW and contact.still_up and not voice_call.says_something:
            self.report.went_without(contact, voice_call)
            raise NotOurs(_nothing_to_send(voice_call))
        return voice_call

    def _known_behind_an_open_breaker(self, contact_id: str) -> Record | None:
        """Return the record of a contact that was sent before; None where the breaker lets the contact pass."""
        try:
            self.breaker.admit()
        except SalesforceFailing:
            record = self.ledger.read(contact_id)
            if record is None or record.state is State.NOT_APPLIED:
                raise
            return record
        return None

    def _prepare(self, contact: Contact, voice_call: VoiceCall) -> _Prepared:
        token = self._token()
        voice_call = voice_call.with_call_center(token.call_center_api_name)
        request = answers.patch(
            self.endpoint_base, self.provider_name, contact.contact_id, token.text, voice_call.as_json()
        )
        return _Prepared(contact, voice_call, composed(request))

    def _token(self) -> Token:
        now = self.clock.now()
        try:
            return self.tokens.current(now)
        finally:  # also where it has expired
            expires_at = self.tokens.expires_at()
            if expires_at is not None:
                self.report.gauge("TokenHoursLeft", (expires_at - now).total_seconds() / 3600)

    def _claim(self, prepared: _Prepared, moments: Moments, over: Record | None) -> Claim | Record:
        contact, voice_call = prepared.contact, prepared.voice_call
        names = tuple(voice_call.properties), voice_call.custom_fields
        request = ClaimRequest(contact.contact_id, contact.source, self.clock.now(), moments.lease, *names)
        claim = self._claim_once(request, over, moments)
        if isinstance(claim, Record) and claim.due(request.now):
            claim = self._claim_once(request, claim, moments)
        return claim

    def _claim_once(self, request: ClaimRequest, over: Record | None, moments: Moments) -> Claim | Record:
        if moments.claim_before.left() <= 0:
            raise TooLittleTime("too little time is left to claim, to send and to settle")
        try:
            return self.ledger.claim(request, over)
        except ClaimUnconfirmedError as failure:
            if moments.answer_before.left() > 0:
                with suppress(LedgerUnavailable):  # then it expires, like any claim
                    self.ledger.take_back(failure.claim, self.clock.now())
            raise

    def _send(self, connection: Connection, prepared: _Prepared, moments: Moments) -> _Sent:
        """Send once, if the claim still allows it."""
        started = self.clock.monotonic()
        unsent = self._why_not(connection, moments)
        if unsent is not None:
            reply: Reply = NotSent(unsent)
        else:
            before = moments.answer_before.or_after(self.timings.patch)
            reply = connection.send(prepared.request, before, moments.lease)
        settlement = answers.meaning(reply, self.clock.now())
        self.breaker.learn(settlement, FAILURES_IN_A_FLOW if prepared.contact.still_up else FAILURES)
        if settlement.state is not State.REJECTED:
            connection.close()
        return _Sent(reply, settlement, self.clock.monotonic() - started)

    def _why_not(self, connection: Connection, moments: Moments) -> str | None:
        """Look once more, right before the first byte, whether it may be sent; a sandbox may have been frozen."""
        if self.clock.now() >= moments.lease:
            return "the invocation's time was over after the claim"
        if moments.claim_before.left() <= 0:
            return "too little time was left after the claim"
        if not connection.is_open():
            return "Salesforce closed the connection before the request"
        return None

    def _settle(self, claim: Claim, prepared: _Prepared, sent: _Sent) -> Outcome:
        contact_id, settlement = claim.contact_id, sent.settlement
        try:
            self.ledger.settle(claim, settlement, self.clock.now())
        except LedgerUnavailable as failure:
            self.report.settle_failed(contact_id, settlement, failure)
            return _unsettled(contact_id, settlement)
        if not isinstance(sent.reply, NotSent):
            self.report.sent(prepared.contact, prepared.voice_call, sent.seconds)
        status = _STATUS[settlement.state]
        asked_to_wait = settlement.retry_after is not None and status is Status.RETRY_LATER
        due = self.clock.now() + timedelta(seconds=settlement.retry_after or 0) if asked_to_wait else None
        return Outcome(status, contact_id, settlement.detail, settlement.state, settlement.http_status, due=due)

    def _explained(self, outcome: Outcome, connection: Connection, prepared: _Prepared, moments: Moments) -> Outcome:
        """Add what a refusal says, now that it is settled."""
        if outcome.state is not State.REJECTED:
            return outcome
        body = connection.read_body(moments.over.or_after(self.timings.explanation))
        explained = f"{outcome.detail} {answers.explanation(body, prepared.voice_call)}".rstrip()
        return replace(outcome, detail=explained)

    def standing(self, record: Record, moments: Moments, voice_call: VoiceCall | None = None) -> Outcome:
        """Say why nothing was sent: the contact is another's, or was, or it is not yet time again.

        Args:
            record: The record that stands against it.
            moments: By when what has to be done; an expired claim becomes UNCERTAIN.
            voice_call: What would have been sent, where that is known.
        """
        contact_id = record.contact_id
        if record.claim_expired(self.clock.now()) and moments.answer_before.left() > 0:
            record = self.ledger.expire_claim(record, self.clock.now())
        if record.expired_claim:
            self.report.claim_expired(contact_id)
        if record.state is State.NOT_APPLIED:
            due = f", due again at {record.retry_at.isoformat()}" if record.retry_at else ""
            detail = f"not applied yet{due}"
            return Outcome(
                Status.RETRY_LATER,
                contact_id,
                detail,
                record.state,
                due=record.retry_at,
                awaits=Awaited.TURN if record.retry_at else None,
            )
        detail = f"already {record.state or 'in the ledger, in a state we do not know'}"
        if voice_call is None:
            return Outcome(Status.DUPLICATE, contact_id, detail, record.state)
        ours = _carried(voice_call.properties, voice_call.custom_fields)
        differs = tuple(sorted(ours ^ _carried(record.properties, record.custom_fields)))
        if differs:
            detail += f"; differs in {', '.join(differs)}"
        final_blocked = _final_blocked(record, voice_call)
        return Outcome(Status.DUPLICATE, contact_id, detail, record.state, differs=differs, final_blocked=final_blocked)


def _nothing_to_send(voice_call: VoiceCall) -> str:
    """Say why a contact flow's update is not made, with the fields that would have been sent had they fitted."""
    detail = "nothing to send: no custom field and no property; the contact keeps its one update"
    if not voice_call.left_out:
        return detail
    names = [printable(name) for name in islice(voice_call.left_out, _MOST_NAMES)]
    more = ["…"] if len(voice_call.left_out) > _MOST_NAMES else []
    return f"{detail}; left out: {', '.join(names + more)}"


def _carried(properties: Iterable[str], custom_fields: Iterable[str]) -> set[str]:
    """Name what a PATCH carries of the contact; the call center's name is none of it, and not known at once."""
    return {*properties, *custom_fields} - {"callCenterApiName"}


def flow_sent(record: Record) -> bool:
    """Tell whether the PATCH of a contact flow may be in Salesforce, and stands against the finished call's."""
    return record.state in _FLOW_SENT and record.source == Source.CONTACT_FLOW


def _final_blocked(record: Record, voice_call: VoiceCall) -> bool:
    """Tell whether a contact flow's update stands against one that holds more of the finished call."""
    lacking = voice_call.properties.keys() - {*record.properties, "callAttributes"}
    return voice_call.final and flow_sent(record) and bool(lacking)


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
        return Outcome(Status.INVALID, contact_id, str(reason))
    except NotReady as reason:
        return Outcome(Status.RETRY_LATER, contact_id, str(reason), due=reason.due, awaits=reason.awaits)
