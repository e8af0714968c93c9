"""Contact -> body of the PATCH. The only module with Salesforce's property names.

The rules are in "Update a Voice Call Record" (Service Cloud Voice Telephony Integration REST API), quoted where they
apply. Article 000395378 has those for creating a VoiceCall. Salesforce sets totalHoldDuration, numberOfHolds and
agentInteractionDuration to zero if a PATCH lacks them. So everything known is sent, once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from voicecall_sync.calls import callback_accepted
from voicecall_sync.contact import CallSubType, Contact, Initiation, is_empty
from voicecall_sync.errors import InvalidInput
from voicecall_sync.parse import boolean_of
from voicecall_sync.salesforce.custom_fields import (
    PREFIX,
    CustomField,
    collect,
    has_prefix,
    is_clean,
    parse_time,
    utc_text,
)

JsonValue = str | int | bool | dict[str, str | bool]

CREATION_PROPERTIES = (
    "startTime",
    "endTime",
    "fromNumber",
    "toNumber",
    "initiationMethod",
    "callCenterApiName",
)
"""A PATCH must hold these to create the record of a call without one (article 000395378)."""

# The documentation of the first two: "If you set this value, you must also set the recording location". The third is
# a field of a recording, and recordingLocation "is required when updating any fields related to a recording".
_NEED_RECORDING = ("totalHoldDuration", "agentInteractionDuration", "totalRecordingDuration")

# Salesforce's own Lambdas send these reasons as errors. Connect's list of reasons grows.
_ERROR_REASONS = frozenset({"TELECOM_PROBLEM", "CONTACT_FLOW_DISCONNECT", "OTHER"})

LARGEST_BODY = 262_144
"""In bytes. Half of it is the bound of the custom fields; nine texts of 1,024 characters fit into the other half."""
_LARGEST_INT32 = 2**31 - 1
_LONGEST_TEXT = 1024
_WHOLE_NUMBER = re.compile(r"\d{1,10}", re.ASCII)


@dataclass(frozen=True, slots=True)
class VoiceCallUpdate:
    """The properties of one PATCH, and notes on them for operators.

    Attributes:
        properties: Property name -> value, ready for JSON. ``callAttributes`` is a string holding JSON.
        left_out: Names of properties and attributes with a value that could not be sent -> the reason.
        ignored_parameters: The flow's Parameters without a property of that name.
        attributes_left_out: Those of ``left_out`` that are attributes; each was to fill a custom field.
        custom_fields: The names of the fields in ``callAttributes``.
        says_something: Attributes or Parameters fill a custom field or set a property. Otherwise a contact flow must
            not use the contact's one update.
    """

    properties: Mapping[str, JsonValue]
    left_out: Mapping[str, str]
    ignored_parameters: tuple[str, ...] = ()
    attributes_left_out: frozenset[str] = frozenset()
    custom_fields: tuple[str, ...] = ()
    says_something: bool = True

    def with_call_center(self, api_name: str) -> VoiceCallUpdate:
        """Return the same with callCenterApiName, which comes from the secret or a setting."""
        properties = {**self.properties, "callCenterApiName": api_name}
        return replace(self, properties=MappingProxyType(properties))

    @property
    def final(self) -> bool:
        """Whether the call of these values is over."""
        return not self.properties["isActiveCall"]

    def missing_for_creation(self) -> tuple[str, ...]:
        """Name the properties that creating a record still needs, for a call that is over. Salesforce does not tell."""
        if not self.final:
            return ()
        return tuple(name for name in CREATION_PROPERTIES if name not in self.properties)

    def as_json(self) -> bytes:
        """Return the body, in ASCII."""
        return json.dumps(dict(self.properties), separators=(",", ":"), allow_nan=False).encode("ascii")


def from_contact(contact: Contact, custom_fields: Mapping[str, CustomField]) -> VoiceCallUpdate:
    """Map a contact onto the properties of a PATCH.

    For each property, a contact flow's Parameter comes before the contact's own value.

    Raises:
        InvalidInput: A Parameter does not fit its property. (A contact's own value that does not fit is left out: the
            flow's author could not correct it.)
    """
    parameters = {name: value for name, value in contact.parameters.items() if not is_empty(value)}
    left_out: dict[str, str] = {}
    properties: dict[str, JsonValue] = {}
    for rule in _PROPERTIES:
        if rule.name in parameters:
            properties[rule.name] = _from_parameter(rule, parameters[rule.name])
        elif (known := rule.known(contact)) is not None:
            try:
                properties[rule.name] = rule.convert(known)
            except ValueError as unfit:
                left_out[rule.name] = str(unfit)
    _require_recording_location(properties, parameters, left_out)
    if "agentInteractionDuration" in properties and "totalRecordingDuration" not in parameters:
        # Salesforce then uses talk and hold time. Connect's times of a recording cover only its last leg.
        properties.pop("totalRecordingDuration", None)
    _require_order(properties, parameters)
    attributes = _over(_over(contact.attributes, _call_attributes(parameters)), _prefixed(parameters))
    fields = collect(attributes, custom_fields)
    if fields.values:
        properties["callAttributes"] = json.dumps(dict(fields.values), ensure_ascii=False, allow_nan=False)
    property_names = {rule.name for rule in _PROPERTIES}
    known_names = property_names | {"callAttributes"}
    ignored = (name for name in contact.parameters if name not in known_names and not has_prefix(name))
    return VoiceCallUpdate(
        MappingProxyType(properties),
        {**left_out, **fields.left_out},
        tuple(ignored),
        frozenset(fields.left_out),
        tuple(fields.values),
        bool(fields.values) or "callOrigin" in properties or not property_names.isdisjoint(parameters),
    )


def _over(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    """Return both. If two names differ only in case, the one above is kept."""
    names = {name.casefold() for name in above}
    return {**{name: value for name, value in below.items() if name.casefold() not in names}, **above}


def _prefixed(parameters: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in parameters.items() if has_prefix(name)}


def _call_attributes(parameters: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of the Parameter callAttributes, each with the prefix. It is a JSON object or its text."""
    value = parameters.get("callAttributes", {})
    if isinstance(value, str):
        value = _json_object(value)
    if not isinstance(value, Mapping):
        raise InvalidInput("Details.Parameters.callAttributes", "a JSON object: custom field -> value")
    return {f"{PREFIX}{name}": field for name, field in value.items() if not is_empty(field)}


def _from_parameter(rule: _Property, value: object) -> JsonValue:
    try:
        return rule.convert(value)
    except ValueError as unfit:
        raise InvalidInput(f"Details.Parameters.{rule.name}", str(unfit)) from None


def _require_recording_location(
    properties: dict[str, JsonValue], parameters: Mapping[str, object], left_out: dict[str, str]
) -> None:
    if "recordingLocation" in properties:
        return
    for name in _NEED_RECORDING:
        if name in parameters:
            raise InvalidInput(
                f"Details.Parameters.{name}",
                "accompanied by recordingLocation: Salesforce takes it only with that",
            )
        if properties.pop(name, None) is not None:
            left_out[name] = "no recordingLocation, without which Salesforce does not take it"


def _require_order(properties: Mapping[str, JsonValue], parameters: Mapping[str, object]) -> None:
    if not {"startTime", "endTime"} <= parameters.keys():
        return
    if parse_time(str(properties["endTime"])) < parse_time(str(properties["startTime"])):
        raise InvalidInput("Details.Parameters.endTime", "no earlier than startTime")


# --- one converter for each kind of property; a ValueError says which value is expected ----


def _time(value: object) -> str:
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, str):
        try:
            return utc_text(parse_time(value))
        except ValueError:
            pass
    raise ValueError("an ISO 8601 time with its zone, such as 2026-11-22T09:30:00Z")


def _int32(value: object) -> int:
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_INT32:
        raise ValueError(f"a whole number from 0 to {_LARGEST_INT32}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or not is_clean(value):
        raise ValueError(f"text of at most {_LONGEST_TEXT} characters, no control characters but tab and line breaks")
    return value


def _one_of(*values: str) -> Callable[[object], str]:
    def convert(value: object) -> str:
        if not isinstance(value, str) or value not in values:
            raise ValueError(f"one of {', '.join(values)}")
        return str(value)

    return convert


def _boolean(value: object) -> bool:
    if isinstance(value, str):
        value = boolean_of(value)
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004 - see above
    return value


def _recording_location(value: object) -> str:
    location = _text(value)
    if "kinesisvideo" in location.lower():
        raise ValueError("the recording's location in S3, not a Kinesis video stream")
    return location


def _disconnect_reason(value: object) -> dict[str, str | bool]:
    """Return the pair that Salesforce wants: "the value and isError attributes are required"."""
    expected = "a reason such as CUSTOMER_DISCONNECT, or an object with both value and isError"
    if isinstance(value, str) and value.lstrip().startswith("{"):  # a flow's parameters are mostly text
        value = _json_object(value)
    if isinstance(value, Mapping):
        if set(value) != {"value", "isError"} or is_empty(value["value"]):
            raise ValueError(expected)
        return {"value": _text(value["value"]), "isError": _boolean(value["isError"])}
    if not isinstance(value, str):
        raise ValueError(expected)  # noqa: TRY004 - see above
    reason = _text(value)
    return {"value": reason, "isError": reason in _ERROR_REASONS}


def _reason_of(contact: Contact) -> str | None:
    return "CALLBACK" if callback_accepted(contact) else contact.disconnect_reason


def _json_object(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True, slots=True)
class _Property:
    name: str
    convert: Callable[[object], JsonValue]
    known: Callable[[Contact], object]


_PROPERTIES = (
    _Property("startTime", _time, lambda contact: contact.initiated_at),
    _Property("endTime", _time, lambda contact: contact.disconnected_at),
    _Property("enqueueTime", _time, lambda contact: contact.enqueued_at),
    _Property("acceptTime", _time, lambda contact: contact.connected_to_agent_at),
    _Property("fromNumber", _text, lambda contact: contact.from_number),
    _Property("toNumber", _text, lambda contact: contact.to_number),
    _Property("initiationMethod", _one_of(*Initiation), lambda contact: contact.initiation),
    _Property("parentCallIdentifier", _text, lambda contact: contact.parent_contact_id),
    _Property("callSubType", _one_of(*CallSubType), lambda contact: contact.call_sub_type),
    _Property("totalHoldDuration", _int32, lambda contact: contact.hold_seconds),
    _Property("longestHoldDuration", _int32, lambda contact: contact.longest_hold_seconds),
    _Property("numberOfHolds", _int32, lambda contact: contact.number_of_holds),
    _Property("agentInteractionDuration", _int32, lambda contact: contact.interaction_seconds),
    _Property("queue", _text, lambda contact: contact.queue),
    _Property("agent", _text, lambda contact: contact.agent),
    _Property(
        "callOrigin",
        _one_of("Preview", "Progressive", "Voicemail"),
        lambda contact: contact.attributes.get("callOrigin"),
    ),
    _Property(
        "recordingLocation",
        _recording_location,
        lambda contact: contact.recording and contact.recording.location,
    ),
    _Property("totalRecordingDuration", _int32, lambda contact: contact.recording and contact.recording.seconds),
    _Property("isActiveCall", _boolean, lambda contact: contact.still_up),
    _Property("disconnectReason", _disconnect_reason, _reason_of),
)
