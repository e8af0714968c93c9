"""Salesforce's handling of the body of a PATCH, as pure functions: `complaints` and `apply`.

A rule marked with a parameter's name is from that row of "Update a Voice Call Record" (Salesforce's telephony API). The
others name their source.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NoReturn

Check = Callable[[object], str | None]

_INT32_MAX = 2**31 - 1
_UTC_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z", re.ASCII)
# Letters, digits and single underscores, beginning with a letter and not ending with an underscore. A custom field ends
# in __c (or __pc, seen from a person account) and may carry a package's namespace.
_WORD = r"[A-Za-z](?:_?[A-Za-z0-9])*"
_FIELD_NAME = re.compile(rf"(?:{_WORD}|(?:{_WORD}__)?{_WORD}__p?c)", re.ASCII)

NEEDED_TO_CREATE = ("startTime", "endTime", "fromNumber", "toNumber", "initiationMethod", "callCenterApiName")
"""What a PATCH must hold to create the VoiceCall: Salesforce knowledge article 000395378."""

NEED_A_RECORDING = ("totalHoldDuration", "agentInteractionDuration", "totalRecordingDuration")
"""Cannot be set without recordingLocation: the rows of these parameters and of recordingLocation."""


def complaints(body: Mapping[str, object]) -> list[str]:
    """Return what Salesforce would object to in the body, each naming its property; empty if acceptable."""
    objections = [f"{name} is not a property of this call" for name in body if name not in PROPERTIES]
    for name, check in PROPERTIES.items():
        if name in body and (complaint := check(body[name])):
            objections.append(f"{name} {complaint}")
    if not body.get("recordingLocation"):
        objections += [f"{name} needs recordingLocation" for name in NEED_A_RECORDING if name in body]
    return objections


def too_long(body: Mapping[str, object], lengths: Mapping[str, int]) -> list[str]:
    """Return the custom fields in callAttributes whose text is longer than the field, by the fields' lengths."""
    fields = parse_object(str(body.get("callAttributes", "{}"))) or {}
    return [
        name for name, value in fields.items() if isinstance(value, str) and len(value) > lengths.get(name, len(value))
    ]


def missing_to_create(body: Mapping[str, object]) -> tuple[str, ...]:
    """Return the properties without which the body cannot create a VoiceCall; empty if it can."""
    return tuple(name for name in NEEDED_TO_CREATE if name not in body)


def parse_object(text: str | bytes) -> dict[str, object] | None:
    """Return the JSON object the text holds, None if it holds anything else; NaN and Infinity are no JSON."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except ValueError:  # JSONDecodeError and UnicodeDecodeError are
        return None
    return value if isinstance(value, dict) else None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _text(value: object) -> str | None:
    return None if isinstance(value, str) else "must be a string"


def _boolean(value: object) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _count(value: object) -> str | None:
    is_int32 = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _INT32_MAX
    return None if is_int32 else "must be an int32, not negative"


def _utc_time(value: object) -> str | None:
    complaint = "must be an ISO 8601 time in UTC, ending in Z"
    if not isinstance(value, str) or not _UTC_TIME.fullmatch(value):
        return complaint
    try:
        datetime.fromisoformat(value)
    except ValueError:  # February 30
        return complaint
    return None


def _one_of(*values: str) -> Check:
    return lambda value: None if value in values else f"must be one of {', '.join(values)}"


def _disconnect_reason(value: object) -> str | None:
    # The table says string, the documented example and Salesforce's own code send an object.
    if not isinstance(value, dict) or value.keys() != {"value", "isError"}:
        return "must be an object of value and isError, both or not at all"
    if not isinstance(value["value"], str) or not isinstance(value["isError"], bool):
        return "must hold a string as value and a boolean as isError"
    return None


def _call_attributes(value: object) -> str | None:
    attributes = parse_object(value) if isinstance(value, str) else None
    if attributes is None:
        return "must be a string that holds a JSON object"
    for name, content in attributes.items():
        if not _FIELD_NAME.fullmatch(name):
            return f"holds {name!r}, which no Salesforce field can be named"
        if not isinstance(content, str | bool | int | float):
            return f"holds {name} with a value that is no string, number or boolean"
    return None


PROPERTIES: Mapping[str, Check] = {
    "startTime": _utc_time,
    "endTime": _utc_time,
    "enqueueTime": _utc_time,
    "acceptTime": _utc_time,
    "fromNumber": _text,
    "totalHoldDuration": _count,
    "longestHoldDuration": _count,
    "numberOfHolds": _count,
    "queue": _text,
    "agent": _text,
    "agentInteractionDuration": _count,
    "callOrigin": _one_of("Preview", "Progressive", "Voicemail"),
    "recordingLocation": _text,
    "totalRecordingDuration": _count,
    "callAttributes": _call_attributes,
    "isActiveCall": _boolean,
    "disconnectReason": _disconnect_reason,
    # in no parameter table, but in knowledge article 000395378 and sent by Salesforce's own Lambda
    "toNumber": _text,
    "initiationMethod": _one_of("INBOUND", "OUTBOUND", "TRANSFER", "CALLBACK"),
    "callCenterApiName": _text,
    # in no parameter table either, and sent by Salesforce's own Lambda
    "parentCallIdentifier": _text,
    "callSubType": _one_of("PSTN", "WebRTC"),
}
"""Every property of the PATCH and what its value must be: the table of the specification."""


@dataclass(frozen=True, slots=True)
class DisconnectReason:
    """Why the call ended (parameter disconnectReason)."""

    value: str
    is_error: bool


@dataclass(frozen=True, slots=True)
class Recording:
    """The VoiceCallRecording the PATCH makes.

    Attributes:
        location: as passed in recordingLocation.
        duration: seconds; agentInteractionDuration + totalHoldDuration where totalRecordingDuration was
            not passed.
    """

    location: str
    duration: int


@dataclass(frozen=True, slots=True)
class VoiceCall:
    """A VoiceCall as it stands in Salesforce, named as the PATCH or, where that says so, VoiceCall does.

    Times are aware and in UTC, durations whole seconds. Beginning values are those of a call that
    Salesforce itself created when it began.

    Attributes:
        call_duration_in_seconds: VoiceCall.CallDurationInSeconds, only ever set by a PATCH that holds both
            startTime and endTime.
        customer_hold_duration: VoiceCall.CustomerHoldDuration, from totalHoldDuration.
        call_disposition: ``in-progress`` or ``completed``.
        closed: the conversation takes no more transcription messages.
        custom_fields: from callAttributes, by field name.
    """

    call_id: str
    start_time: datetime | None = None
    end_time: datetime | None = None
    enqueue_time: datetime | None = None
    accept_time: datetime | None = None
    from_number: str | None = None
    to_number: str | None = None
    initiation_method: str | None = None
    call_center_api_name: str | None = None
    parent_call_identifier: str | None = None
    call_sub_type: str | None = None
    queue: str | None = None
    agent: str | None = None
    call_origin: str | None = None
    call_duration_in_seconds: int | None = None
    customer_hold_duration: int = 0
    longest_hold_duration: int | None = None
    number_of_holds: int = 0
    agent_interaction_duration: int = 0
    recording: Recording | None = None
    call_disposition: str = "in-progress"
    closed: bool = False
    disconnect_reason: DisconnectReason | None = None
    custom_fields: Mapping[str, str | float | bool] = field(default_factory=dict)


_TIMES = ("startTime", "endTime", "enqueueTime", "acceptTime")
_KEPT = (
    "fromNumber",
    "toNumber",
    "initiationMethod",
    "callCenterApiName",
    "parentCallIdentifier",
    "callSubType",
    "queue",
    "agent",
    "callOrigin",
    "longestHoldDuration",
)


def apply(call: VoiceCall, body: Mapping[str, Any]) -> VoiceCall:
    """Return the call after a PATCH with this body, in which `complaints` finds nothing.

    A property that is not passed leaves its value alone, except where the specification says otherwise:
    see `_holds_and_talk` and `_conversation`.
    """
    times = {name: datetime.fromisoformat(body[name]) for name in _TIMES if name in body}
    changes: dict[str, Any] = {_snake_case(name): body[name] for name in _KEPT if name in body}
    changes |= {_snake_case(name): time for name, time in times.items()}
    if "startTime" in times and "endTime" in times:
        changes["call_duration_in_seconds"] = int((times["endTime"] - times["startTime"]).total_seconds())
    if "disconnectReason" in body:
        reason = body["disconnectReason"]
        changes["disconnect_reason"] = DisconnectReason(reason["value"], reason["isError"])
    if "callAttributes" in body:
        changes["custom_fields"] = {**call.custom_fields, **json.loads(body["callAttributes"])}
    changes |= _holds_and_talk(body) | _conversation(body)
    return replace(call, **changes)


def _holds_and_talk(body: Mapping[str, Any]) -> dict[str, Any]:
    """Zero where not passed (totalHoldDuration, numberOfHolds, agentInteractionDuration).

    Closing a conversation also resets the hold values (isActiveCall). The simulator
    writes the passed values after that reset. Otherwise no finished call could ever show a hold.
    """
    hold, talk = body.get("totalHoldDuration", 0), body.get("agentInteractionDuration", 0)
    changes: dict[str, Any] = {
        "customer_hold_duration": hold,
        "number_of_holds": body.get("numberOfHolds", 0),
        "agent_interaction_duration": talk,
    }
    if "recordingLocation" in body:
        duration = body.get("totalRecordingDuration", talk + hold)
        changes["recording"] = Recording(body["recordingLocation"], duration)
    return changes


def _conversation(body: Mapping[str, Any]) -> dict[str, Any]:
    """Absent counts as false; false closes the conversation (isActiveCall)."""
    if body.get("isActiveCall", False):
        return {"call_disposition": "in-progress", "closed": False}
    return {"call_disposition": "completed", "closed": True}


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
