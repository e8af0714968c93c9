"""Foresees the update of a contact: described, mapped and judged as the worker does it. It writes and sends nothing.

    Outlooks.of(CONTACT) ─> record ─> description ─> VoiceCall ─> verdict

A contact without a record is judged as if its contact event came now. A contact with a record is judged as its own
message would be. The command reads the ledger's record, Amazon Connect's descriptions and the project's own rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus

from voicecall_cli import records
from voicecall_cli.target import CannotOperateError, Target
from voicecall_cli.terminal import shown
from voicecall_sync.clock import Clock
from voicecall_sync.connect.api import Connect
from voicecall_sync.contact import Asked, Contact
from voicecall_sync.eligibility import WRAP_UP_WAIT, Eligibility, still_up
from voicecall_sync.errors import ConnectUnavailable, InvalidInput, NotFinishedYet, NotOurs, NotYet, WrongSettings
from voicecall_sync.ledger.record import Record
from voicecall_sync.outcome import Source, State
from voicecall_sync.queue.coming_back import DELAY
from voicecall_sync.salesforce.custom_fields import CustomField, has_prefix
from voicecall_sync.salesforce.voice_call import VoiceCallUpdate, from_contact
from voicecall_sync.settings import read_previewing

CALL_CENTER = "callCenterApiName"
_DECIDED = frozenset({State.UPDATED, State.UNCERTAIN, State.REJECTED, State.CLAIMED})
_JSON_TYPES: Mapping[type, str] = {bool: "boolean", int: "number", float: "number", str: "string", dict: "object"}


class Sent(StrEnum):
    """Whether a contact would be sent."""

    YES = "would be sent"
    LATER = "not yet"
    NO = "would not be sent"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a contact would be sent, and why not.

    Attributes:
        detail: The reason, or the condition. It holds no value of the contact.
        due: For LATER: when the worker looks again; None if an event decides that.
        otherwise: The verdict without the condition in the detail; None if it would be the same.
    """

    sent: Sent
    detail: str
    due: datetime | None = None
    otherwise: Verdict | None = None

    @property
    def text(self) -> str:
        """Return it as a sentence."""
        due = f"; looked at again at {shown(self.due, seconds=True)} UTC" if self.due else ""
        otherwise = f". Apart from that: {self.otherwise.text}" if self.otherwise else ""
        return f"{self.sent}: {self.detail}{due}{otherwise}"

    def as_json(self) -> dict[str, object]:
        """Return it as JSON; times in UTC."""
        return {
            "sent": self.sent.value,
            "detail": self.detail,
            "due": self.due and self.due.isoformat(),
            "otherwise": self.otherwise and self.otherwise.as_json(),
        }


@dataclass(frozen=True, slots=True)
class Field:
    """A property, or a custom field, as it would go out.

    Attributes:
        kind: Its JSON type.
        value: As JSON. It comes from outside, and is shown only if the operator asks for it.
    """

    name: str
    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """The foreseen update of a contact.

    Attributes:
        contact: As Amazon Connect describes it; None if it does not, or if the contact is not a finished call.
        failed: Why Amazon Connect did not describe it; None where it answered.
    """

    contact_id: str
    record: Record | None
    contact: Contact | None
    voice_call: VoiceCallUpdate | None
    verdict: Verdict
    failed: str | None = None

    @property
    def properties(self) -> tuple[Field, ...]:
        """Return the properties, without those custom fields that callAttributes holds."""
        properties = self.voice_call.properties if self.voice_call else {}
        return tuple(_field(name, value) for name, value in properties.items() if name != "callAttributes")

    @property
    def custom_fields(self) -> tuple[Field, ...]:
        """Return the custom fields."""
        text = self.voice_call.properties.get("callAttributes") if self.voice_call else None
        return tuple(_field(name, value) for name, value in json.loads(str(text or "{}")).items())

    @property
    def left_out(self) -> Mapping[str, tuple[str, str]]:
        """Return the names left out, each with its kind and the reason. Attributes' names come from outside."""
        if self.voice_call is None or self.contact is None:
            return {}
        attributes = self.voice_call.attributes_left_out
        reasons = {
            name: ("attribute" if name in attributes else "property", reason)
            for name, reason in self.voice_call.left_out.items()
        }
        gone = dict.fromkeys(self.contact.names_gone, ("property", "Amazon Connect has no name for it any more"))
        return {**reasons, **gone}

    @property
    def missing_for_creation(self) -> tuple[str, ...]:
        """Name the properties that Salesforce would lack to create a record. The secret knows the call center."""
        return self.voice_call.with_call_center("-").missing_for_creation() if self.voice_call else ()

    def unused(self, configured: Mapping[str, CustomField]) -> tuple[str, ...]:
        """Return the names of the attributes that fill no custom field; they come from outside."""
        targets = {name.casefold() for name in configured}
        names = self.contact.attributes if self.contact else ()
        return tuple(name for name in names if not has_prefix(name) and name.casefold() not in targets)

    def as_json(self) -> dict[str, object]:
        """Return it as JSON, without any value; times in UTC."""
        contact = self.contact
        ended = contact.disconnected_at if contact else None
        return {
            "contactId": self.contact_id,
            "state": self.record.state if self.record else None,
            "method": (contact.method or None) if contact else None,
            "ended": ended and ended.isoformat(),
            "verdict": self.verdict.as_json(),
            "failed": self.failed,
            "properties": {field.name: field.kind for field in self.properties},
            "customFields": {field.name: field.kind for field in self.custom_fields},
            "leftOut": {name: reason for name, (_, reason) in self.left_out.items()},
            "missingForCreation": list(self.missing_for_creation),
        }


class Outlooks:
    """Foresees the updates of contacts.

    Args:
        target: Whose contacts; its ledger and its Amazon Connect are only read.
        clock: Ages the names of queues and agents, and says what is due.

    Raises:
        CannotOperateError: A setting of the target's is missing or wrong.
    """

    def __init__(self, target: Target, clock: Clock) -> None:
        try:
            self.settings = read_previewing(target.variables())
        except WrongSettings as wrong:
            raise CannotOperateError(f"the settings of {target.title} are wrong: {wrong}") from None
        self._target = target
        self._clock = clock
        self.connect = Connect(lambda: target.connect, self.settings.instance_id, clock)

    def of(self, contact_id: str) -> Outlook:
        """Return the foreseen update of a contact.

        Raises:
            LedgerUnavailable: The table failed.
            CannotOperateError: The operator has no right to describe contacts, queues or agents.
        """
        record, now = records.read(self._target, contact_id), self._clock.now()
        asked = _asked(contact_id, record)
        contact = voice_call = failed = None
        try:
            contact = self.connect.finished_contact(contact_id, asked.source)
            voice_call = from_contact(contact, self.settings.custom_fields)
            verdict = _judged(self.settings.eligibility, contact, asked, record, now)
        except NotOurs as reason:
            verdict = Verdict(Sent.NO, str(reason))
        except InvalidInput as wrong:
            verdict = Verdict(Sent.NO, f"what Amazon Connect describes is wrong: {wrong}")
        except ConnectUnavailable as failure:
            failed = explained(failure)
            verdict = Verdict(Sent.UNKNOWN, failed)
        except NotFinishedYet as early:
            # Without a record no message looks again: the event comes when the call is over.
            verdict = Verdict(Sent.LATER, str(early), still_up(record, now).due if record else None)
        return Outlook(contact_id, record, contact, voice_call, _standing(record, verdict, now), failed)


def explained(failure: ConnectUnavailable) -> str:
    """Say why Amazon Connect did not answer.

    Raises:
        CannotOperateError: The operator has no right to ask.
    """
    problem = str(failure)
    if "AccessDenied" in problem:
        raise CannotOperateError(f"{problem}: docs/operations.md lists the rights that a preview needs")
    if problem.endswith("DescribeContact: ResourceNotFoundException"):
        return "Amazon Connect does not know this contact: it is older than 24 months, or of another instance"
    return problem


def _asked(contact_id: str, record: Record | None) -> Asked:
    """Return the content of the contact's message: from its event, or from the source that left its record waiting."""
    if record is None:
        return Asked(Source.CONTACT_EVENT, contact_id, {})
    source = Source(record.first_source) if record.first_source in list(Source) else Source.CONTACT_EVENT
    if record.released_at is not None or record.named_at is not None:
        source = Source.OPERATOR
    return Asked(source, contact_id, {}, record.completed_at if source is Source.CONTACT_EVENT else None)


# ------------------------------------------------------------------------------------------------------- the rules


def _judged(rules: Eligibility, contact: Contact, asked: Asked, record: Record | None, now: datetime) -> Verdict:
    """Judge a finished contact. If it ended too early, judge it once more without that limit."""
    verdict = _required(rules, contact, asked, record, now)
    if verdict.sent is Sent.NO and rules.not_before is not None:
        without = _required(replace(rules, not_before=None), contact, asked, record, now)
        return verdict if without == verdict else replace(verdict, otherwise=without)
    return verdict


def _required(rules: Eligibility, contact: Contact, asked: Asked, record: Record | None, now: datetime) -> Verdict:
    try:
        rules.require(contact, asked, record, now)
    except NotOurs as reason:
        return Verdict(Sent.NO, str(reason))
    except NotYet as early:
        return Verdict(Sent.LATER, str(early), early.due)
    may_go_on = record is None and contact.work_ended_at is None and _may_wrap_up(contact, now)
    more = "; after-contact work may still go on, and the event comes when it is over" if may_go_on else ""
    return Verdict(Sent.YES, f"an event's message is looked at {DELAY.seconds} seconds after the event{more}")


def _may_wrap_up(contact: Contact, now: datetime) -> bool:
    ended = contact.disconnected_at
    return contact.connected_to_agent_at is not None and ended is not None and now - ended < WRAP_UP_WAIT


# ------------------------------------------------------------------------------------------------------ the record


def _standing(record: Record | None, judged: Verdict, now: datetime) -> Verdict:
    """Return why the record prevents it, or when its message is due. Without a record, return the judgement."""
    if record is None:
        return judged
    if record.state is not State.NOT_APPLIED:
        return Verdict(Sent.NO, _decided(record, now))
    if record.since is None:
        return Verdict(Sent.NO, f"its record says that it was ignored: {record.detail or '-'}", otherwise=judged)
    if record.dead_lettered_at is not None:
        detail = f"its message is in the dead-letter queue: {record.detail or '-'}"
        return Verdict(Sent.NO, detail, otherwise=judged)
    return judged if judged.sent in {Sent.NO, Sent.UNKNOWN} else _waiting(record, judged, now)


def _waiting(record: Record, judged: Verdict, now: datetime) -> Verdict:
    """Return when a contact that waits for its message would be sent, or looked at."""
    waits = _waits(record, now)
    due = max((one for one in (judged.due, record.retry_at) if one is not None and one > now), default=None)
    if judged.sent is Sent.LATER:
        return replace(judged, detail=f"{judged.detail}; {waits}", due=due)
    return Verdict(Sent.LATER if due else Sent.YES, waits, due)


def _decided(record: Record, now: datetime) -> str:
    if record.state not in _DECIDED:
        return "its record's state is unknown, because the record was changed by hand"
    if record.claim_expired(now):
        return "its record says CLAIMED, and its claim expired"
    by_flow = record.state is State.UPDATED and record.source == Source.CONTACT_FLOW
    answered = f", HTTP {record.http_status}" if record.http_status not in {None, HTTPStatus.OK} else ""
    return f"its record says {record.state}{' by a contact flow' if by_flow else ''}{answered}"


def _waits(record: Record, now: datetime) -> str:
    if record.lost(now):
        return "its message is lost, and the next reconciliation sends another"
    if record.back_by is None:
        return "no message of it is known"
    return f"its message is back by {shown(record.back_by, seconds=True)} UTC at the latest"


def _field(name: str, value: object) -> Field:
    return Field(name, _JSON_TYPES.get(type(value), "object"), json.dumps(value, ensure_ascii=False))
