"""Contact attributes -> the custom fields of ``callAttributes``.

An attribute ``sfdc-Tier__c`` fills the custom field ``Tier__c``, as it does for Salesforce's own Lambdas. The setting
CUSTOM_FIELDS names further attributes, and may give a type and a length. Names are compared without case.

Names and values come from outside: callers' apps, campaign lists, flow authors. So the prefix alone fills no standard
field. A field has one type and length, for every attribute that fills it, and all fields together have a bound. A value
that does not fit is left out; the contact is updated without that field.
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

from voicecall_sync.contact import is_empty
from voicecall_sync.errors import WrongSettings
from voicecall_sync.parse import boolean_of, instant_of

PREFIX = "sfdc-"
"""An attribute with this prefix, in upper or lower case, fills the custom field that the rest names."""
LONGEST_VALUE = 32_768
"""Connect's own limit for all attributes of a contact, in bytes."""
MOST_BYTES = 4 * LONGEST_VALUE
"""The limit for all fields in the body of the request. JSON within JSON takes four bytes for a quotation mark. So all
attributes that Connect can hold have room; only a flow's Parameters can exceed it."""

# A letter, then letters, digits and single underscores. "__" comes only after a namespace and before the suffix
# (Salesforce, "Custom Field API names"). 40 characters for the name, 15 for the namespace, and the suffix.
_WORD = "[A-Za-z](?:_?[A-Za-z0-9])*"
_FIELD = re.compile(rf"{_WORD}|(?:{_WORD}__)?{_WORD}__p?c", re.ASCII)
_CUSTOM = ("__c", "__pc")
_LONGEST_FIELD = 80
# All but tab and line breaks.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
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
    """A Salesforce field, the type of its values, and how long a text may be.

    Attributes:
        max_length: As Salesforce counts: a character outside of Unicode's first plane counts as two.
    """

    name: str
    type: FieldType = FieldType.TEXT
    max_length: int = LONGEST_VALUE


@dataclass(frozen=True, slots=True)
class CustomFields:
    """The fields to send, and the names of the attributes left out, each with the reason."""

    values: Mapping[str, Scalar]
    left_out: Mapping[str, str]


def parse_setting(text: str) -> Mapping[str, CustomField]:
    """Read the setting CUSTOM_FIELDS: attribute name -> field.

    Args:
        text: A JSON object such as ``{"tier": "Tier__c", "age": {"field": "Age__c", "type": "number"}}``, or empty. A
            field of type text may have a ``maxLength``.

    Raises:
        WrongSettings: It is not such an object, or contradicts itself; the message names the attribute.
    """
    if not text.strip():
        return MappingProxyType({})
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        raise WrongSettings("CUSTOM_FIELDS must be a JSON object: attribute name -> field") from None
    if not isinstance(parsed, dict):
        raise WrongSettings("CUSTOM_FIELDS must be a JSON object: attribute name -> field")
    configured = {name: _custom_field(name, value) for name, value in parsed.items()}
    _require_one_meaning(configured)
    return MappingProxyType(configured)


def _custom_field(attribute: str, value: object) -> CustomField:
    where = f"CUSTOM_FIELDS: {attribute!r}"
    if isinstance(value, str):
        value = {"field": value}
    if not isinstance(value, dict) or not set(value) <= {"field", "type", "maxLength"}:
        raise WrongSettings(f'{where} must be a field name, or {{"field": …, "type": …, "maxLength": …}}')
    name, type_name = value.get("field"), value.get("type", FieldType.TEXT.value)
    if not isinstance(name, str) or not is_field_name(name):
        raise WrongSettings(f"{where}: the field must be a Salesforce API name such as Tier__c")
    if type_name not in list(FieldType):
        raise WrongSettings(f"{where}: the type must be one of {', '.join(FieldType)}")
    return CustomField(name, FieldType(type_name), _max_length(where, value, type_name))


def _max_length(where: str, value: Mapping[str, object], type_name: str) -> int:
    longest = value.get("maxLength", LONGEST_VALUE)
    if "maxLength" in value and type_name != FieldType.TEXT:
        raise WrongSettings(f"{where}: only a field of type text has a maxLength")
    if isinstance(longest, bool) or not isinstance(longest, int) or not 1 <= longest <= LONGEST_VALUE:
        raise WrongSettings(f"{where}: the maxLength must be a whole number from 1 to {LONGEST_VALUE}")
    return longest


def _require_one_meaning(configured: Mapping[str, CustomField]) -> None:
    """Require that names differ in more than case, and that a field has one type for all its attributes."""
    attributes: set[str] = set()
    fields: dict[str, CustomField] = {}
    for name, field in configured.items():
        where = f"CUSTOM_FIELDS: {name!r}"
        if name.casefold() in attributes:
            raise WrongSettings(f"{where} is there twice: names are compared without case")
        attributes.add(name.casefold())
        if fields.setdefault(field.name.casefold(), field) != field:
            raise WrongSettings(f"{where}: another attribute fills the same field, spelled, typed or bounded otherwise")


def is_field_name(name: str) -> bool:
    """Tell whether Salesforce could have a field of this API name."""
    return len(name) <= _LONGEST_FIELD and _FIELD.fullmatch(name) is not None


def has_prefix(name: str) -> bool:
    """Tell whether an attribute or a parameter fills the custom field that the rest of its name is."""
    return name[: len(PREFIX)].lower() == PREFIX


def collect(attributes: Mapping[str, object], configured: Mapping[str, CustomField]) -> CustomFields:
    """Return the custom fields that a contact's attributes fill.

    An attribute in ``configured`` is converted as it says there, with or without the prefix. If several attributes fill
    one field, the one with the prefix wins: a flow sets it for this purpose. Next, the field's own spelling wins.

    Args:
        attributes: Name -> value. Values are strings in Connect, other scalars in some events; an empty one is absent.
        configured: The parsed setting CUSTOM_FIELDS.
    """
    targets = {name.casefold(): field for name, field in configured.items()}
    fields = {field.name.casefold(): field for field in configured.values()}
    candidates: list[tuple[bool, bool, str, CustomField]] = []
    for name in attributes:
        folded, rest = name.casefold(), name[len(PREFIX) :]
        target = targets.get(folded)
        if target is None and has_prefix(name):
            target = fields.get(rest.casefold(), CustomField(rest))
        if target is not None and not is_empty(attributes[name]):
            own = name in configured or name == PREFIX + target.name
            candidates.append((has_prefix(name), own, name, target))
    values: dict[str, tuple[str, Scalar]] = {}
    left_out: dict[str, str] = {}
    for _, _, name, target in sorted(candidates, key=lambda one: one[:3]):
        try:
            _require_fillable(target, by_prefix=name.casefold() not in targets)
            values[target.name.casefold()] = target.name, _bounded(convert(attributes[name], target.type), target)
        except ValueError as unfit:
            left_out[name] = str(unfit)
    return CustomFields(_with_room(dict(values.values()), left_out), left_out)


def _require_fillable(field: CustomField, *, by_prefix: bool) -> None:
    if not is_field_name(field.name):
        raise ValueError("not a name that a Salesforce field can have")
    if by_prefix and not field.name.endswith(_CUSTOM):
        raise ValueError("not a custom field (…__c, …__pc): for a standard one, CUSTOM_FIELDS must name the attribute")


def _bounded(value: Scalar, field: CustomField) -> Scalar:
    if isinstance(value, str) and len(value.encode("utf-16-le")) // 2 > field.max_length:
        raise ValueError(f"not a text of at most {field.max_length} characters")
    return value


def _with_room(values: Mapping[str, Scalar], left_out: dict[str, str]) -> Mapping[str, Scalar]:
    """Return the fields that have room in the body; the others are named in ``left_out``."""
    kept: dict[str, Scalar] = {}
    room = MOST_BYTES
    for name, value in values.items():
        # The size in the body: JSON, in ASCII, within a JSON text. Each field counts its braces too, which is too much.
        size = len(json.dumps(json.dumps({name: value}, ensure_ascii=False)))
        if size > room:
            left_out[name] = f"not within the {MOST_BYTES} bytes that all custom fields may have together"
            continue
        room -= size
        kept[name] = value
    return kept


def convert(value: object, to: FieldType) -> Scalar:
    """Return a value converted to a type.

    Raises:
        ValueError: It does not convert; the message says what is expected, and never the value.
    """
    if isinstance(value, bool | int | float) and to in {FieldType.TEXT, _NATIVE.get(type(value))}:
        return _finite(value)
    if not isinstance(value, str):
        raise ValueError(f"not a {to.value}")  # noqa: TRY004 - callers expect only this error
    if not is_clean(value):
        raise ValueError("not valid text, without control characters but tab and line breaks")
    return _CONVERSIONS[to](value)


def _finite(value: float) -> Scalar:  # a bool or an int, too
    if not abs(value) < int(_LARGEST_NUMBER):
        raise ValueError("not a number of at most 18 digits")
    return value


def is_clean(text: str) -> bool:
    """Tell whether text can be written as UTF-8, and holds no control characters but tab and line breaks."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return _CONTROL.search(text) is None


def _number(text: str) -> Scalar:
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError("not a number")
    number = Decimal(text.strip())
    if abs(number) >= _LARGEST_NUMBER:
        raise ValueError("not a number of at most 18 digits")
    return int(number) if number == number.to_integral_value() else float(number)


def _boolean(text: str) -> Scalar:
    value = boolean_of(text)
    if value is None:
        raise ValueError("not true or false")
    return value


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
        ValueError: It is not such a moment, or has no zone.
    """
    moment = instant_of(text)
    if moment is None:
        raise ValueError("not a time with its zone, such as 2026-11-22T09:30:00Z")
    return moment


def utc_text(moment: datetime) -> str:
    """Return a moment as Connect's contact records write it: in whole seconds if possible, else with milliseconds."""
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
