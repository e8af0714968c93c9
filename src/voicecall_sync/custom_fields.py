"""Contact attributes -> the custom fields of ``callAttributes``.

An attribute ``sfdc-Tier__c`` fills the field ``Tier__c``, as it does for Salesforce's own Lambdas; the setting
CUSTOM_FIELDS names further attributes, and may give a type. What does not convert, or has a name no Salesforce
field can have, leaves that one field out and the others in: one bad attribute must not cost a contact its update.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from voicecall_sync.errors import WrongSettings

PREFIX = "sfdc-"
"""An attribute with this prefix fills the Salesforce field named by the rest. Case counts."""

# A letter first, letters, digits and single underscores after; "__" only between a namespace and the name and
# before the suffix (Salesforce, "Custom Field API names"). 40 for the name, 15 for the namespace, and the suffix.
_WORD = "[A-Za-z](?:_?[A-Za-z0-9])*"
_FIELD = re.compile(rf"{_WORD}|(?:{_WORD}__)?{_WORD}__p?c", re.ASCII)
_LONGEST_FIELD = 80
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_LARGEST_NUMBER = Decimal(10) ** 18

Scalar = str | int | float | bool


class FieldType(StrEnum):
    """What a value is converted to before it is sent."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"


@dataclass(frozen=True, slots=True)
class CustomField:
    """A Salesforce field and the type of its values."""

    name: str
    type: FieldType = FieldType.TEXT


@dataclass(frozen=True, slots=True)
class CustomFields:
    """The fields to send, and the names of the attributes that gave none, each with the reason."""

    values: Mapping[str, Scalar]
    left_out: Mapping[str, str]


def parse_setting(text: str) -> Mapping[str, CustomField]:
    """Read the setting CUSTOM_FIELDS: attribute name -> field.

    Args:
        text: A JSON object such as ``{"tier": "Tier__c", "age": {"field": "Age__c", "type": "number"}}``; empty for
            none.

    Raises:
        WrongSettings: It is not that; the message names the attribute.
    """
    if not text.strip():
        return MappingProxyType({})
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        raise WrongSettings("CUSTOM_FIELDS must be a JSON object: attribute name -> field") from None
    if not isinstance(parsed, dict):
        raise WrongSettings("CUSTOM_FIELDS must be a JSON object: attribute name -> field")
    return MappingProxyType({name: _custom_field(name, value) for name, value in parsed.items()})


def _custom_field(attribute: str, value: object) -> CustomField:
    where = f"CUSTOM_FIELDS: {attribute!r}"
    if isinstance(value, str):
        value = {"field": value}
    if not isinstance(value, dict) or not set(value) <= {"field", "type"}:
        raise WrongSettings(f'{where} must be a field name, or {{"field": …, "type": …}}')
    name, type_name = value.get("field"), value.get("type", FieldType.TEXT.value)
    if not isinstance(name, str) or not is_field_name(name):
        raise WrongSettings(f"{where}: the field must be a Salesforce API name such as Tier__c")
    if type_name not in list(FieldType):
        raise WrongSettings(f"{where}: the type must be one of {', '.join(FieldType)}")
    return CustomField(name, FieldType(type_name))


def is_field_name(name: str) -> bool:
    """Tell whether Salesforce could have a field of this API name."""
    return len(name) <= _LONGEST_FIELD and _FIELD.fullmatch(name) is not None


def collect(attributes: Mapping[str, object], configured: Mapping[str, CustomField]) -> CustomFields:
    """Return the custom fields that a contact's attributes fill.

    An attribute named in ``configured`` is converted as it says there, with or without the prefix. Where two
    attributes fill one field, the one with the prefix wins: it was set in the flow for just that.

    Args:
        attributes: Name -> value; strings in Connect, other scalars in dirty events.
        configured: The parsed setting CUSTOM_FIELDS.
    """
    values: dict[str, Scalar] = {}
    left_out: dict[str, str] = {}
    for name in sorted(attributes, key=lambda attribute: attribute.startswith(PREFIX)):
        if name in configured:
            target = configured[name]
        elif name.startswith(PREFIX):
            target = CustomField(name.removeprefix(PREFIX))
        else:
            continue
        if not is_field_name(target.name):
            left_out[name] = "not a name that a Salesforce field can have"
            continue
        try:
            values[target.name] = convert(attributes[name], target.type)
        except ValueError as unconvertible:
            left_out[name] = str(unconvertible)
    return CustomFields(values, left_out)


def convert(value: object, to: FieldType) -> Scalar:
    """Return a value as the type asks for.

    Raises:
        ValueError: It does not convert; the message says what it should have been, and not what it was.
    """
    if isinstance(value, bool | int | float) and to in {FieldType.TEXT, _NATIVE.get(type(value))}:
        return _finite(value)
    if not isinstance(value, str):
        raise ValueError(f"not a {to.value}")  # noqa: TRY004 - the one error this function promises
    if not _encodable(value):
        raise ValueError("not valid text")
    return _CONVERSIONS[to](value)


def _finite(value: float) -> Scalar:  # bool and int among them
    if not abs(value) < int(_LARGEST_NUMBER):
        raise ValueError("not a number of at most 18 digits")
    return value


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(text: str) -> Scalar:
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError("not a number")
    number = Decimal(text.strip())
    if abs(number) >= _LARGEST_NUMBER:
        raise ValueError("not a number of at most 18 digits")
    return int(number) if number == number.to_integral_value() else float(number)


def _boolean(text: str) -> Scalar:
    word = text.strip().lower()
    if word not in {"true", "false"}:
        raise ValueError("not true or false")
    return word == "true"


def _date(text: str) -> Scalar:
    try:
        return date.fromisoformat(text.strip()).isoformat()
    except ValueError:
        raise ValueError("not a date such as 2026-11-22") from None


def _datetime(text: str) -> Scalar:
    return utc_text(parse_time(text))


def parse_time(text: str) -> datetime:
    """Return an ISO 8601 moment in UTC.

    Raises:
        ValueError: It is none, or does not say its zone: "10:00" alone would be another moment in each office.
    """
    expected = "not a time with its zone, such as 2026-11-22T09:30:00Z"
    try:
        moment = datetime.fromisoformat(text.strip())
        in_utc = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(expected) from None
    if moment.tzinfo is None:
        raise ValueError(expected)
    return in_utc


def utc_text(moment: datetime) -> str:
    """Return a moment as Connect's contact records write it: whole seconds where it is whole, else milliseconds."""
    precision = "milliseconds" if moment.microsecond >= 1000 else "seconds"  # noqa: PLR2004 - a millisecond
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


_NATIVE = MappingProxyType({bool: FieldType.BOOLEAN, int: FieldType.NUMBER, float: FieldType.NUMBER})
_CONVERSIONS: Mapping[FieldType, Callable[[str], Scalar]] = MappingProxyType(
    {
        FieldType.TEXT: str,
        FieldType.NUMBER: _number,
        FieldType.BOOLEAN: _boolean,
        FieldType.DATE: _date,
        FieldType.DATETIME: _datetime,
    }
)
