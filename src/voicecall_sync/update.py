"""The pipeline for one contact, from its values to its outcome.

    Contact ─> VoiceCall ─> token ─> request ─> CONNECT ─> CLAIM ─> PATCH ─> SETTLE ─> Outcome

Everything that can fail for a reason of ours comes before the claim. Between claim and settle there is one look at the
lease, the PATCH and nothing else. If the process dies at any line after the claim, the record stays CLAIMED. No other
invocation takes it over, and an operator must decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus
from itertools import islice

from voicecall_sync.clock import Clock, Moments, Timings
from voicecall_sync.contact import Contact
from voicecall_sync.errors import InvalidInput, LedgerUnavailable, NotOurs, NotReady, SalesforceFailing, TooLittleTime
from voicecall_sync.ledger.claims import Claim, ClaimRequest, ClaimUnconfirmedError, Ledger
from voicecall_sync.ledger.record import Record
from voicecall_sync.outcome import Awaited, Outcome, Settlement, Source, State, Status
from voicecall_sync.queue.breaker import FAILURES, FAILURES_IN_A_FLOW, Breaker
from voicecall_sync.report import Metric, Report, printable
from voicecall_sync.salesforce import answers
from voicecall_sync.salesforce.attempt import Connection, NotSent, Reply, Salesforce, composed
from voicecall_sync.salesforce.custom_fields import CustomField
from voicecall_sync.salesforce.token import Token, TokenSource
from voicecall_sync.salesforce.voice_call import VoiceCallUpdate, from_contact

_STATUS = {
    State.UPDATED: Status.UPDATED,
    State.UNCERTAIN: Status.UNCERTAIN,
    State.REJECTED: Status.REJECTED,
    State.NOT_APPLIED: Status.RETRY_LATER,
}
_MOST_NAMES = 5
"""How many names left out a detail has; the log has more."""
_FLOW_SENT = frozenset({State.UPDATED, State.UNCERTAIN})


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The values needed to claim and send. From here on only the table can fail on our side."""

    contact: Contact
    voice_call: VoiceCallUpdate
    request: bytes


@dataclass(frozen=True, slots=True)
class _Sent:
    """The result of sending.

    Attributes:
        seconds: How long it took.
    """

    reply: Reply
    settlement: Settlement
    seconds: float


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The pipeline and its parts; `wiring` builds it.

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

    def update_for_flow(self, contact: Contact, moments: Moments) -> Outcome:
        """Update the VoiceCall of a contact whose contact flow waits for the answer.

        Raises:
            InvalidInput: A parameter is wrong. Nothing was claimed.
            NotOurs: The flow says nothing that could be sent. Nothing was claimed.
            NotReady: Something of ours failed before the claim. Nothing was sent.
        """
        voice_call = from_contact(contact, self.custom_fields)
        if contact.still_up and not voice_call.says_something:
            self.report.went_without(contact, voice_call)
            raise NotOurs(_nothing_to_send(voice_call))
        known = self._known_behind_an_open_breaker(contact.contact_id)
        if known is not None:
            return self.standing(known, moments, voice_call)
        return self._update(contact, voice_call, moments, None)

    def update(self, contact: Contact, moments: Moments, over: Record | None) -> Outcome:
        """Update the VoiceCall of a finished contact, unless that was done, or tried, before.

        The caller has asked the breaker, before it described the contact.

        Args:
            contact: The contact.
            moments: The deadlines.
            over: Its record as it was read, which is due; None if it had no record.

        Raises:
            InvalidInput: Connect's description is wrong. Nothing was claimed.
            NotReady: Something of ours failed before the claim. Nothing was sent.
        """
        return self._update(contact, from_contact(contact, self.custom_fields), moments, over)

    def _update(self, contact: Contact, voice_call: VoiceCallUpdate, moments: Moments, over: Record | None) -> Outcome:
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
        """Return what the finished contact would have added to a flow's update. Nothing is claimed or sent.

        Raises:
            InvalidInput: Connect's description is wrong.
        """
        return self.standing(record, moments, from_contact(contact, self.custom_fields))

    def _known_behind_an_open_breaker(self, contact_id: str) -> Record | None:
        """Return the record of a contact that was sent before; None if the breaker lets the contact pass."""
        try:
            self.breaker.admit()
        except SalesforceFailing:
            record = self.ledger.read(contact_id)
            if record is None or record.state is State.NOT_APPLIED:
                raise
            return record
        return None

    def _prepare(self, contact: Contact, voice_call: VoiceCallUpdate) -> _Prepared:
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
                self.report.gauge(Metric.TOKEN_HOURS_LEFT, (expires_at - now).total_seconds() / 3600)

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
        """Send once, if the lease still allows it."""
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
        """Return why it must not be sent, right before the first byte. The sandbox may have been frozen."""
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
        """Add Salesforce's explanation of a refusal, now that the claim is settled."""
        if outcome.state is not State.REJECTED:
            return outcome
        body = connection.read_body(moments.over.or_after(self.timings.explanation))
        explained = f"{outcome.detail} {answers.explanation(body, prepared.voice_call)}".rstrip()
        return replace(outcome, detail=explained)

    def standing(self, record: Record, moments: Moments, voice_call: VoiceCallUpdate | None = None) -> Outcome:
        """Return why nothing was sent: the contact was claimed before, or its next attempt is not yet due.

        Args:
            record: The record that stands against it.
            moments: The deadlines; an expired claim becomes UNCERTAIN.
            voice_call: The update that was not sent, if known.
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


def _nothing_to_send(voice_call: VoiceCallUpdate) -> str:
    """Return why a contact flow's update is not made. It names the fields that did not fit."""
    detail = "nothing to send: no custom field and no property; the contact keeps its one update"
    if not voice_call.left_out:
        return detail
    names = [printable(name) for name in islice(voice_call.left_out, _MOST_NAMES)]
    more = ["…"] if len(voice_call.left_out) > _MOST_NAMES else []
    return f"{detail}; left out: {', '.join(names + more)}"


def _carried(properties: Iterable[str], custom_fields: Iterable[str]) -> set[str]:
    """Name the contact's values in a PATCH. The call center's name belongs to the secret, not to the contact."""
    return {*properties, *custom_fields} - {"callCenterApiName"}


def flow_sent(record: Record) -> bool:
    """Tell whether a contact flow used the one update: its PATCH is, or may be, in Salesforce."""
    return record.state in _FLOW_SENT and record.source == Source.CONTACT_FLOW


def _final_blocked(record: Record, voice_call: VoiceCallUpdate) -> bool:
    """Tell whether the finished contact has a property that a contact flow's update lacked."""
    lacking = voice_call.properties.keys() - {*record.properties, "callAttributes"}
    return voice_call.final and flow_sent(record) and bool(lacking)


def _unsettled(contact_id: str, settlement: Settlement) -> Outcome:
    """Report a PATCH whose result the table did not take. The record stays CLAIMED, so no message sends it again."""
    detail = f"{settlement.detail}; the ledger could not be told, and may still say CLAIMED"
    status = Status.UPDATED if settlement.state is State.UPDATED else Status.UNCERTAIN
    return Outcome(status, contact_id, detail, state=State.CLAIMED, http_status=settlement.http_status)


def outcome_of(contact_id: str, work: Callable[[], Outcome]) -> Outcome:
    """Do the work, and turn the failures that are expected before the claim into outcomes. Defects are not caught."""
    try:
        return work()
    except NotOurs as reason:
        return Outcome(Status.IGNORED, contact_id, str(reason))
    except InvalidInput as reason:
        return Outcome(Status.INVALID, contact_id, str(reason))
    except NotReady as reason:
        return Outcome(Status.RETRY_LATER, contact_id, str(reason), due=reason.due, awaits=reason.awaits)
