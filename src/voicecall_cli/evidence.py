"""The columns in Salesforce that show whether one record's PATCH was applied.

The record says which properties the PATCH carried, never their values. The names lead to the columns of VoiceCall to
look at. They also lead to the SOQL for them, and to what a value in them proves. The sources of the rules:

    Object     Salesforce Object Reference: VoiceCall, VoiceCallRecording
    Update     Voice Developer Guide: Update a Voice Call Record
    Create     Voice Developer Guide: Create a Voice Call Record
    CTRDataSync  Voice Developer Guide: CTRDataSync

No column proves that a PATCH was *not* applied. Salesforce applies it later, its state cannot be queried, and the pages
do not name a longest delay (Update). So an empty column only tells an operator something after a long wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from textwrap import fill
from types import MappingProxyType

from voicecall_cli.terminal import shown
from voicecall_sync.contact import contact_id_of
from voicecall_sync.ledger.record import Record
from voicecall_sync.outcome import Source

ALWAYS = (
    "Id",
    "VendorCallKey",
    "CallStartDateTime",
    "CallDisposition",
    "CustomerHoldDuration",
    "NumberOfHolds",
    "CreatedDate",
    "SystemModstamp",
)
"""Columns that help for every record. CallEndDateTime is not among them, because it is never empty (Object). An
operator who looks for it closes contacts that were never updated."""
PROCESSED = ("CustomerHoldDuration", "NumberOfHolds")
"""They have no value until an update was applied (CTRDataSync); an update that lacks them writes 0 (Update)."""
OTHER_WRITERS = (
    "Who else may have written these columns: CTRDataSync, where it still runs; the voicemail packager (contacts with"
    " the attribute vm_flag); a contact flow that calls Salesforce itself; for custom fields also agents, flows and"
    " triggers in Salesforce. Their values look the same."
)
_CUSTOM_FIELDS = "custom fields"
_NEVER_EMPTY = "CallStartDateTime"
_LOG = 'the log has "truly UPDATED"'  # settling failed after a 2xx; see log_lines
_OF_RECORDING = ("VoiceCallId", "DurationInSeconds", "CreatedDate")
_WIDTH = 78
_SENT_AFTER_THE_CALL = frozenset(Source) - {Source.CONTACT_FLOW}


@dataclass(frozen=True, slots=True)
class Rule:
    """What a property of the PATCH leaves in Salesforce.

    Attributes:
        column: The column to compare; "" where comparing proves nothing.
        limit: What limits the proof, or why nothing is to be compared; "" for no limit.
    """

    column: str = ""
    limit: str = ""


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        # Never empty (Object), because it is filled when the row is created.
        "startTime": Rule("CallStartDateTime", "never empty: no proof alone"),
        "enqueueTime": Rule("CallQueuedDateTime"),
        "acceptTime": Rule("CallAcceptDateTime"),
        # "Salesforce sets this value to zero (0) if no value is passed" (Update). Every update does that.
        "totalHoldDuration": Rule("CustomerHoldDuration", "0 may come from any update"),
        "numberOfHolds": Rule("NumberOfHolds", "0 may come from any update"),
        "longestHoldDuration": Rule("LongestHoldDuration"),
        "queue": Rule("QueueName"),
        "callOrigin": Rule("CallOrigin"),
        "callSubType": Rule("CallSubtype"),
        "disconnectReason": Rule("DisconnectReason", "empty in contact centers before 13.0"),
        "callAttributes": Rule(_CUSTOM_FIELDS, "agents and flows change them too"),
        "endTime": Rule(limit="CallEndDateTime is never empty"),
        # "If set to false ... CallDisposition is set to completed" (Update); Salesforce's own events do that as well.
        "isActiveCall": Rule(limit="CallDisposition is set to completed by others too"),
        "fromNumber": Rule(limit="Salesforce may store FromPhoneNumber in another form"),
        "toNumber": Rule(limit="ToPhoneNumber is set only when the row is created"),
        "initiationMethod": Rule(limit="CallType is set only when the row is created"),
        # CTRDataSync: it only adds to the duration of the recording.
        "agentInteractionDuration": Rule(limit="VoiceCall has no column for it"),
        # "two separate database updates": the first makes the recording, the second does all the rest (Update).
        "recordingLocation": Rule(limit="a VoiceCallRecording proves the recording part only"),
        "totalRecordingDuration": Rule(limit="proves the recording part only (DurationInSeconds)"),
        "agent": Rule(limit="no column that only an update writes"),
        "callCenterApiName": Rule(limit="the same for every call"),
        "parentCallIdentifier": Rule(limit="Salesforce links transferred calls itself"),
    }
)
_UNKNOWN = Rule(limit="no column is known for it")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What to look for in Salesforce for one record.

    Attributes:
        sent_at: When its PATCH was sent, a moment earlier at the most; None if the record does not say.
        carried: The properties that its PATCH carried, by name. Empty if the record does not say.
        perhaps_in_call: A contact flow sent it, so the call may not have been over.
    """

    contact_id: str
    sent_at: datetime | None
    carried: tuple[str, ...]
    perhaps_in_call: bool

    @property
    def compared(self) -> Mapping[str, str]:
        """Return the columns to compare -> the property."""
        return {RULES[name].column: name for name in self.carried if RULES.get(name, _UNKNOWN).column}

    @property
    def silent(self) -> Mapping[str, str]:
        """Return the properties that prove nothing -> why."""
        rules = {name: RULES.get(name, _UNKNOWN) for name in self.carried}
        return {name: rule.limit for name, rule in rules.items() if not rule.column}

    @property
    def recognisable(self) -> bool:
        """Tell whether anything that the PATCH carried can be told from what the row's creator wrote."""
        return bool(self.compared.keys() - {_NEVER_EMPTY})

    @property
    def has_custom_fields(self) -> bool:
        """Tell whether the PATCH carried custom fields. The record does not name them."""
        return _CUSTOM_FIELDS in self.compared

    @property
    def queries(self) -> tuple[str, ...]:
        """Return the SOQL to paste. The key is no unique one (Create): all its rows are read."""
        columns = dict.fromkeys((*ALWAYS, *(column for column in self.compared if column != _CUSTOM_FIELDS)))
        calls = _soql(columns, "VoiceCall", "VendorCallKey", self.contact_id)
        if "recordingLocation" not in self.carried:
            return (calls,)
        return (calls, _soql(_OF_RECORDING, "VoiceCallRecording", "VoiceCall.VendorCallKey", self.contact_id))

    def as_json(self) -> dict[str, object]:
        """Return it as JSON; times in UTC."""
        return {
            "sentAt": self.sent_at and self.sent_at.isoformat(),
            "perhapsInCall": self.perhaps_in_call,
            "queries": list(self.queries),
            "compare": dict(self.compared),
            "provesNothing": dict(self.silent),
        }


def evidence_of(record: Record) -> Evidence:
    """Return what shows whether the last PATCH of a record was applied.

    Raises:
        InvalidInput: Its key is not a contact id, and must not get into SOQL.
    """
    contact_id = contact_id_of(record.contact_id, "contactId")
    known = set(record.properties)
    carried = (*(name for name in RULES if name in known), *sorted(known - RULES.keys()))
    return Evidence(contact_id, record.claimed_at, carried, record.source not in _SENT_AFTER_THE_CALL)


# --------------------------------------------------------------------------------------------------- in words


def paragraphs(evidence: Evidence, close: str, release: str) -> Sequence[str]:
    """Say all of it: where to look, what to compare, what it proves, who else may have written it.

    Args:
        evidence: What to look for.
        close: The command that closes the contact.
        release: The command that releases it.
    """
    verdicts = (
        "What it proves (several VoiceCalls may have this key, after a transfer for example: look at every row):",
        f"- {when_to_close(evidence)} Then close it:\n  {close}",
        f"- {_filled_by_another(evidence)}",
        f"- {when_to_release(evidence)} If you accept that, release it:\n  {release}",
        "- Anything else proves nothing: leave it. So does no row at all: a row that you may not see is not shown.",
    )
    return (
        where_to_look(evidence),
        what_to_compare(evidence),
        "\n".join(verdicts),
        (
            f"A row whose SystemModstamp is earlier than {_sent(evidence)} did not have this update when you looked;"
            " it may still get it."
        ),
        OTHER_WRITERS,
    )


def where_to_look(evidence: Evidence) -> str:
    """Give the SOQL, in lines that may be pasted as they are."""
    pasted = "\n\n".join(
        fill(query, _WIDTH, initial_indent="  ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for query in evidence.queries
    )
    added = (
        "\nAdd the API names of your custom fields to the SELECT: the record does not keep them."
        if evidence.has_custom_fields
        else ""
    )
    return f"Read its VoiceCalls in Salesforce (for example Developer Console, Query Editor):\n{pasted}{added}"


def what_to_compare(evidence: Evidence) -> str:
    """Name the columns to compare, and the properties that prove nothing."""
    if not evidence.carried:
        return "The record does not say which properties its PATCH carried: nothing can be compared."
    compared = [(column, _named(name)) for column, name in evidence.compared.items()]
    parts = []
    if compared:
        sent = "the contact in Amazon Connect" + (", and what the flow passed" if evidence.perhaps_in_call else "")
        parts.append(f"Compare with what was sent ({sent}; times to the second):")
        parts.append(_columns(compared))
    if evidence.silent:
        parts.append("These prove nothing, although its PATCH carried them:")
        parts.append(_columns(list(evidence.silent.items())))
    if evidence.perhaps_in_call:
        parts.append(
            "A contact flow sent it, perhaps during the call: then CallDisposition stays in-progress. A column that is"
            f" not in the first list was not sent. If it is empty ({_listed(PROCESSED)} too), that proves nothing."
        )
    return "\n".join(parts)


def when_to_close(evidence: Evidence) -> str:
    """Say what proves that Salesforce has the values of the PATCH. Another update may have sent the same."""
    if not evidence.recognisable:
        return f"No row can show it, because nothing that its PATCH carried can be recognised. But {_LOG}."
    also = "" if evidence.perhaps_in_call else f", and {_listed(PROCESSED)} filled (0 counts)"
    return f"One row has {_listed(evidence.compared)} as they were sent{also}: its values are there. Or {_LOG}."


def when_to_release(evidence: Evidence) -> str:
    """Say when an operator may risk a second update. It is never proof."""
    risk = "No update shows so far. This one may still be applied later; then there are two."
    if not evidence.perhaps_in_call:
        return f"Hours after {_sent(evidence)}, {_listed(PROCESSED)} are empty in every row. {risk}"
    if not evidence.recognisable:
        return f"Hours later, SystemModstamp is still earlier than {_sent(evidence)} in every row. {risk}"
    sent = dict.fromkeys((*(column for column in evidence.compared if column != _NEVER_EMPTY), *PROCESSED))
    return f"Hours after {_sent(evidence)}, {_listed(sent)} are empty in every row. {risk}"


def question(evidence: Evidence) -> str:
    """Ask what an operator must have seen before the contact is closed."""
    if not evidence.recognisable:
        return 'Nothing it sent can be recognised in Salesforce. Does the log say "truly UPDATED"?'
    columns = _listed(evidence.compared)
    return f'Does one VoiceCall with this key have what was sent in {columns}, or does the log say "truly UPDATED"?'


def _filled_by_another(evidence: Evidence) -> str:
    others = " and the others differ" if evidence.recognisable else ""
    return (
        f"{_listed(PROCESSED)} are filled{others}: some update was applied, perhaps another one. Never release it."
        " Leave it, or close it if the values that are there may stay."
    )


def _soql(columns: Iterable[str], rows: str, key: str, contact_id: str) -> str:
    return f"SELECT {', '.join(columns)} FROM {rows} WHERE {key} = '{contact_id}'"  # noqa: S608 - a checked id


def _listed(columns: Iterable[str]) -> str:
    *before, last = columns
    return f"{', '.join(before)} and {last}" if before else last


def _named(name: str) -> str:
    limit = RULES[name].limit
    return f"{name} ({limit})" if limit else name


def _columns(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:{width}}  {text}" for name, text in rows)


def _sent(evidence: Evidence) -> str:
    return f"{shown(evidence.sent_at, seconds=True)} UTC" if evidence.sent_at else "the moment it was sent"
