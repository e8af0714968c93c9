from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.builders import ANY_JSON, ANY_TEXT
from voicecall_sync.contact import is_empty
from voicecall_sync.errors import WrongSettings
from voicecall_sync.salesforce.custom_fields import (
    LONGEST_VALUE,
    MOST_BYTES,
    CustomField,
    FieldType,
    collect,
    convert,
    is_field_name,
    parse_setting,
    parse_time,
    utc_text,
)

TEXT, NUMBER, BOOLEAN, DATE, DATETIME = FieldType
MARKER = "Zaphod7731"

AWARE = st.datetimes(
    min_value=datetime(1000, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


# --- convert -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "to", "expected"),
    [
        ("gold", TEXT, "gold"),
        ("", TEXT, ""),
        (" gold ", TEXT, " gold "),
        ("Käse 🧀", TEXT, "Käse 🧀"),
        ("a\tb\r\nc", TEXT, "a\tb\r\nc"),
        (True, TEXT, True),
        (41, TEXT, 41),
        (4.5, TEXT, 4.5),
        ("41", NUMBER, 41),
        (" 41 ", NUMBER, 41),
        ("+41", NUMBER, 41),
        ("-41", NUMBER, -41),
        ("41.0", NUMBER, 41),
        ("41.", NUMBER, 41),
        (".5", NUMBER, 0.5),
        ("4.25", NUMBER, 4.25),
        ("1e3", NUMBER, 1000),
        ("1.5E-3", NUMBER, 0.0015),
        ("0e999", NUMBER, 0),
        ("007", NUMBER, 7),
        ("999999999999999999", NUMBER, 999999999999999999),
        (41, NUMBER, 41),
        (4.5, NUMBER, 4.5),
        ("true", BOOLEAN, True),
        ("False", BOOLEAN, False),
        (" TRUE ", BOOLEAN, True),
        (True, BOOLEAN, True),
        ("2026-11-22", DATE, "2026-11-22"),
        (" 20261122 ", DATE, "2026-11-22"),
        ("2024-02-29", DATE, "2024-02-29"),
        ("2026-11-22T09:30:00Z", DATETIME, "2026-11-22T09:30:00Z"),
        (" 2026-11-22T09:30:00Z ", DATETIME, "2026-11-22T09:30:00Z"),
        ("2026-11-22T10:30:00+01:00", DATETIME, "2026-11-22T09:30:00Z"),
        ("2026-11-22 09:30:00.5Z", DATETIME, "2026-11-22T09:30:00.500Z"),
        ("2026-11-22T00:15:00+05:45", DATETIME, "2026-11-21T18:30:00Z"),
    ],
)
def test_a_value_is_converted(value: object, to: FieldType, expected: object) -> None:
    converted = convert(value, to)
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("value", "to"),
    [
        ("\ud800", TEXT),
        ("a\0b", TEXT),
        ("\x1b[31m", TEXT),
        ("a\x7f", TEXT),
        ("a\x85", TEXT),
        ("41\0", NUMBER),
        (None, TEXT),
        (["a"], TEXT),
        ({"a": "b"}, TEXT),
        (math.nan, TEXT),
        (math.inf, TEXT),
        (10**18, TEXT),
        ("", NUMBER),
        ("forty", NUMBER),
        ("4 1", NUMBER),
        ("1,000", NUMBER),
        ("0x10", NUMBER),
        ("NaN", NUMBER),
        ("Infinity", NUMBER),
        ("٤١", NUMBER),
        ("1e18", NUMBER),
        ("1e9999", NUMBER),
        ("-1000000000000000000", NUMBER),
        pytest.param("9" * 40_000, NUMBER, id="40000 digits"),
        (-math.inf, NUMBER),
        (True, NUMBER),
        ("yes", BOOLEAN),
        ("1", BOOLEAN),
        ("", BOOLEAN),
        (1, BOOLEAN),
        ("22.11.2026", DATE),
        ("2026-02-30", DATE),
        ("2026-11-22T09:30:00Z", DATE),
        ("", DATE),
        (20261122, DATE),
        ("2026-11-22", DATETIME),
        ("2026-11-22T09:30:00", DATETIME),
        ("09:30:00Z", DATETIME),
        ("2026-11-22T25:00:00Z", DATETIME),
        ("0001-01-01T00:00:00+23:00", DATETIME),
        ("9999-12-31T23:59:59-23:00", DATETIME),
        (1795339800, DATETIME),
    ],
)
def test_a_value_that_does_not_convert_says_so(value: object, to: FieldType) -> None:
    with pytest.raises(ValueError, match=r"^not "):
        convert(value, to)


@given(ANY_JSON, st.sampled_from(FieldType))
def test_a_conversion_gives_what_json_can_hold_or_says_so(value: object, to: FieldType) -> None:
    try:
        converted = convert(value, to)
    except ValueError:
        return
    assert isinstance(converted, str | int | float)
    json.dumps(converted, allow_nan=False, ensure_ascii=False).encode()


@given(ANY_TEXT, st.sampled_from(FieldType))
def test_converting_twice_is_converting_once(text: str, to: FieldType) -> None:
    try:
        once = convert(text, to)
    except ValueError:
        return
    assert convert(once, to) == once


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_whole_numbers_round_trip(number: int) -> None:
    assert convert(str(number), NUMBER) == number


@given(st.floats(min_value=-1e17, max_value=1e17))
@example(5e-324)
@example(-0.0)
def test_numbers_round_trip(number: float) -> None:
    assert float(convert(repr(number), NUMBER)) == number


@given(st.booleans())
def test_booleans_round_trip(value: object) -> None:
    assert convert(str(value), BOOLEAN) is value


@given(st.dates())
def test_dates_round_trip(day: date) -> None:
    assert convert(day.isoformat(), DATE) == day.isoformat()


@given(AWARE)
def test_times_round_trip_to_the_millisecond(moment: datetime) -> None:
    converted = convert(moment.isoformat(), DATETIME)
    milliseconds = moment.microsecond // 1000 * 1000
    assert parse_time(str(converted)) == moment.replace(microsecond=milliseconds)


# --- time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 22, 9, 30, tzinfo=UTC), "2026-11-22T09:30:00Z"),
        (datetime(2026, 11, 22, 9, 30, 0, 999, tzinfo=UTC), "2026-11-22T09:30:00Z"),
        (datetime(2026, 11, 22, 9, 30, 0, 1000, tzinfo=UTC), "2026-11-22T09:30:00.001Z"),
        (datetime(2026, 11, 22, 9, 30, 0, 999_999, tzinfo=UTC), "2026-11-22T09:30:00.999Z"),
        (datetime(2026, 11, 22, 9, 30, tzinfo=timezone(timedelta(hours=-8))), "2026-11-22T17:30:00Z"),
    ],
)
def test_a_moment_is_written_in_utc(moment: datetime, text: str) -> None:
    assert utc_text(moment) == text


@given(AWARE)
def test_a_time_is_read_in_utc(moment: datetime) -> None:
    read = parse_time(moment.isoformat())
    assert read == moment
    assert read.utcoffset() == timedelta(0)


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Tier__c",
        "ns__Tier__c",
        "Customer_Tier__c",
        "T1__c",
        "Description",
        "Tier__pc",
        "a" * 40 + "__c",
        "x" * 12 + "__Tier__c",
    ],
)
def test_a_field_can_be_named(name: str) -> None:
    assert is_field_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "__c",
        "_Tier__c",
        "1Tier__c",
        "Tier___c",
        "Tier_",
        "Tier__c ",
        "Tier__c\n",
        "Tier.c",
        "Tier-c",
        "Töpfe__c",
        "Tier__\u0661",
        "a__b__c__d",
        "Tier__x",
        "ns__Tier",
        "ns__Tier__x",
        pytest.param("a" * 100 + "__c", id="too long"),
    ],
)
def test_no_field_can_be_named(name: str) -> None:
    assert not is_field_name(name)


# --- the setting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("  ", {}),
        ("{}", {}),
        ('{"tier": "Tier__c"}', {"tier": CustomField("Tier__c", TEXT)}),
        ('{"tier": {"field": "Tier__c"}}', {"tier": CustomField("Tier__c", TEXT)}),
        ('{"age": {"field": "Age__c", "type": "number"}}', {"age": CustomField("Age__c", NUMBER)}),
        ('{"vip": {"field": "Vip__c", "type": "boolean"}}', {"vip": CustomField("Vip__c", BOOLEAN)}),
        ('{"day": {"field": "Day__c", "type": "date"}}', {"day": CustomField("Day__c", DATE)}),
        ('{"at": {"field": "At__c", "type": "datetime"}}', {"at": CustomField("At__c", DATETIME)}),
        ('{"note": {"field": "Note__c", "maxLength": 255}}', {"note": CustomField("Note__c", TEXT, 255)}),
        ('{"note": {"field": "N__c", "type": "text", "maxLength": 32768}}', {"note": CustomField("N__c", TEXT)}),
        ('{"a": "Tier__c", "b": {"field": "Tier__c"}}', dict.fromkeys("ab", CustomField("Tier__c"))),
        ('{"owner": "OwnerId"}', {"owner": CustomField("OwnerId")}),
        ('{"$accepted_terms": "Terms__c"}', {"$accepted_terms": CustomField("Terms__c", TEXT)}),
    ],
)
def test_the_setting_is_read(text: str, expected: object) -> None:
    assert parse_setting(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "tier",
        '{"tier":',
        "[]",
        '"Tier__c"',
        "null",
        "5",
        pytest.param("[" * 4000, id="as deep as a variable is long"),
    ],
)
def test_a_setting_that_is_no_object_is_wrong(text: str) -> None:
    with pytest.raises(WrongSettings, match=r"^CUSTOM_FIELDS must be a JSON object"):
        parse_setting(text)


@pytest.mark.parametrize(
    "field",
    [
        None,
        5,
        [],
        {},
        {"type": "number"},
        {"field": None},
        {"field": "Tier__c", "typ": "number"},
        {"field": "Tier__c", "type": "integer"},
        {"field": "Tier__c", "type": None},
        {"field": "Tier__c", "type": {"number": 1}},
        {"field": "not a name"},
        {"field": "Tier__c", "maxLength": 0},
        {"field": "Tier__c", "maxLength": 32769},
        {"field": "Tier__c", "maxLength": "255"},
        {"field": "Tier__c", "maxLength": 2.0},
        {"field": "Tier__c", "maxLength": True},
        {"field": "Tier__c", "maxLength": None},
        {"field": "Tier__c", "type": "number", "maxLength": 5},
        "not a name",
        "",
    ],
)
def test_a_wrong_field_is_told_by_its_attribute(field: object) -> None:
    with pytest.raises(WrongSettings, match=r"^CUSTOM_FIELDS: 'tier'"):
        parse_setting(json.dumps({"ok": "Ok__c", "tier": field}))


@pytest.mark.parametrize(
    "other",
    [
        {"Tier": "Other__c"},
        {"level": {"field": "Tier__c", "type": "number"}},
        {"level": {"field": "Tier__c", "maxLength": 5}},
        {"level": "tier__c"},
    ],
)
def test_a_setting_that_contradicts_itself_is_wrong(other: dict[str, object]) -> None:
    (name,) = other
    with pytest.raises(WrongSettings, match=f"^CUSTOM_FIELDS: '{name}'"):
        parse_setting(json.dumps({"tier": "Tier__c", **other}))


@given(ANY_JSON)
def test_any_json_is_a_setting_or_wrong(value: object) -> None:
    try:
        parsed = parse_setting(json.dumps(value))
    except WrongSettings:
        return
    assert isinstance(value, dict)
    assert parsed.keys() == value.keys()


# --- collect -------------------------------------------------------------------------------------------------------

CONFIGURED = parse_setting(
    json.dumps(
        {
            "tier": "Tier__c",
            "age": {"field": "Age__c", "type": "number"},
            "sfdc-Since__c": {"field": "Since__c", "type": "date"},
            "note": {"field": "Note__c", "maxLength": 4},
            "owner": "OwnerId",
        }
    )
)


@pytest.mark.parametrize(
    ("attributes", "values"),
    [
        pytest.param({}, {}, id="none"),
        pytest.param({"language": "de"}, {}, id="neither prefixed nor configured"),
        pytest.param({"sfdc-Vip__c": "yes"}, {"Vip__c": "yes"}, id="prefixed"),
        pytest.param({"SFDC-Vip__c": "yes", "Sfdc-A__pc": "b"}, {"Vip__c": "yes", "A__pc": "b"}, id="in any case"),
        pytest.param({"sfdc-Vip__c": "a", "sfdc-vip__c": "b"}, {"vip__c": "b"}, id="one field in any case"),
        pytest.param({"sfdc-vip__c": "b", "sfdc-Vip__c": "a"}, {"vip__c": "b"}, id="the first one wins"),
        pytest.param({"sfdc-Age__c": "41"}, {"Age__c": 41}, id="a field's type holds for the prefix"),
        pytest.param({"SFDC-AGE__C": "41"}, {"Age__c": 41}, id="in any case, by the field's own name"),
        pytest.param({"sfdc-Age__c": "41", "sfdc-age__c": "40"}, {"Age__c": 41}, id="its own spelling wins"),
        pytest.param({"sfdc-Vip__c": "", "tier": " ", "age": None}, {}, id="empty is absent"),
        pytest.param({"sfdc-Tier__c": "", "tier": "gold"}, {"Tier__c": "gold"}, id="empty wins over nothing"),
        pytest.param({"sfdc-Vip__c": True, "sfdc-N__c": 4.5}, {"Vip__c": True, "N__c": 4.5}, id="dirty, and right"),
        pytest.param({"owner": "005x"}, {"OwnerId": "005x"}, id="a standard field that is configured"),
        pytest.param({"note": "Zoë\n", "sfdc-x__c": "x" * 32768}, {"Note__c": "Zoë\n", "x__c": "x" * 32768}, id="full"),
        pytest.param({"Tier": "gold"}, {"Tier__c": "gold"}, id="configured, in any case"),
        pytest.param({"Tier": "a", "tier": "b", "TIER": "c"}, {"Tier__c": "b"}, id="as it is configured wins"),
        pytest.param({"tier": "gold"}, {"Tier__c": "gold"}, id="configured"),
        pytest.param({"age": "41"}, {"Age__c": 41}, id="configured with a type"),
        pytest.param({"sfdc-Since__c": "20261122"}, {"Since__c": "2026-11-22"}, id="prefixed and configured"),
        pytest.param({"tier": "a", "sfdc-Tier__c": "b"}, {"Tier__c": "b"}, id="the prefix wins"),
        pytest.param({"sfdc-Tier__c": "b", "tier": "a"}, {"Tier__c": "b"}, id="in either order"),
    ],
)
def test_attributes_fill_fields(attributes: dict[str, object], values: dict[str, object]) -> None:
    collected = collect(attributes, CONFIGURED)
    assert collected.values == values
    assert collected.left_out == {}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("age", "forty", "not a number"),
        ("age", "1e18", "not a number of at most 18 digits"),
        ("sfdc-Since__c", "yesterday", "not a date"),
        ("sfdc-Age__c", "forty", "not a number"),
        ("SFDC-age__C", "forty", "not a number"),
        ("note", "five!", "not a text of at most 4 characters"),
        ("sfdc-Note__c", "five!", "not a text of at most 4 characters"),
        ("note", "🧀🧀🧀", "not a text of at most 4 characters"),
        ("sfdc-Long__c", "x" * 32769, "not a text of at most 32768 characters"),
        ("sfdc-Bell__c", "a\a", "not valid text, without control characters"),
        ("sfdc-OwnerId", "005x", "not a custom field"),
        ("SFDC-ownerid", "005x", "not a custom field"),
        ("sfdc-RecordTypeId", "012x", "not a custom field"),
        ("sfdc-FromPhoneNumber", "+1", "not a custom field"),
        ("sfdc-Tier__C", ["gold"], "not a text"),
        ("tier", ["gold"], "not a text"),
        ("tier", "\ud800", "not valid text"),
        ("sfdc-", "x", "not a name"),
        ("sfdc-no name", "x", "not a name"),
        ("sfdc-\ud800", "x", "not a name"),
    ],
)
def test_an_unfitting_field_alone_is_left_out(name: str, value: object, reason: str) -> None:
    collected = collect({"sfdc-Good__c": "kept", name: value}, CONFIGURED)
    assert collected.values == {"Good__c": "kept"}
    assert collected.left_out.keys() == {name}
    assert collected.left_out[name].startswith(reason)


ATTRIBUTE_NAMES = st.sampled_from(["tier", "age", "sfdc-Since__c", "sfdc-Good__c", "sfdc-no name", "language"]) | (
    ANY_TEXT.map("sfdc-{}".format)
)


@given(st.dictionaries(ATTRIBUTE_NAMES, ANY_JSON, max_size=6))
def test_every_attribute_that_counts_is_sent_or_named(attributes: dict[str, object]) -> None:
    collected = collect(attributes, CONFIGURED)
    filled = {name for name, value in attributes.items() if not is_empty(value)}
    count = {name for name in filled if name in CONFIGURED or name.startswith("sfdc-")}
    fields = {
        CONFIGURED[name].name if name in CONFIGURED else name.removeprefix("sfdc-")
        for name in count - collected.left_out.keys()
    }
    assert collected.left_out.keys() <= count
    assert {name.casefold() for name in collected.values} == {name.casefold() for name in fields}
    assert len({name.casefold() for name in collected.values}) == len(collected.values)
    assert all(is_field_name(name) for name in collected.values)
    assert all(name.endswith("__c") or name == "OwnerId" for name in collected.values)


def test_beyond_the_bound_only_the_first_fields_stay() -> None:
    quotes = {f"sfdc-Q{number:02}__c": '"' * 4000 for number in range(20)}
    collected = collect({**quotes, "tier": "gold"}, CONFIGURED)
    assert list(collected.values) == ["Tier__c", *(f"Q{number:02}__c" for number in range(8))]
    assert set(collected.left_out) == {f"Q{number:02}__c" for number in range(8, 20)}
    assert {"gold", "131072"} & {word for reason in collected.left_out.values() for word in reason.split()} == {
        "131072"
    }
    assert len(json.dumps(json.dumps(collected.values, ensure_ascii=False))) <= MOST_BYTES


@pytest.mark.parametrize("character", ['"', "\\", "\n", "é", "€", "🧀", "a"])
def test_a_contact_with_the_most_attributes_has_room(character: str) -> None:
    longest = character * ((LONGEST_VALUE - len("sfdc-A__c")) // len(character.encode()))
    assert collect({"sfdc-A__c": longest}, {}).left_out == {}


@pytest.mark.parametrize("to", FieldType)
@pytest.mark.parametrize("value", [MARKER + "\ud800", [MARKER], {MARKER: MARKER}, 7731 * 10**18, f"{MARKER}T09:30:00Z"])
def test_no_reason_repeats_a_value(value: object, to: FieldType) -> None:
    reasons = collect({"tier": value}, {"tier": CustomField("Tier__c", to)}).left_out
    assert "7731" not in "".join(reasons.values())
