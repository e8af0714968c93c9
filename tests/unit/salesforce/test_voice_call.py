from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from itertools import product
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.builders import (
    ANY_JSON,
    ANY_TEXT,
    CUSTOMER_NUMBER,
    INSTANCE_ID,
    RECORDING,
    STARTED,
    SYSTEM_NUMBER,
    described,
    finished_contact,
    flow_contact,
    flow_event,
    one_field_replaced,
)
from tools.local.voice_call_rules import PROPERTIES, complaints, missing_to_create
from voicecall_sync.connect.described import from_described
from voicecall_sync.connect.events import asked_by, from_flow
from voicecall_sync.contact import CallSubType, Contact, Initiation, Recording
from voicecall_sync.errors import InvalidInput, NotFinishedYet, NotOurs
from voicecall_sync.outcome import Source
from voicecall_sync.salesforce.custom_fields import parse_setting
from voicecall_sync.salesforce.voice_call import LARGEST_BODY, VoiceCallUpdate, from_contact

CALL_CENTER = "ContactCenter1"
INT32_MAX = 2**31 - 1
HERE: Mapping[str, object] = {"recordingLocation": RECORDING}

CONFIGURED = parse_setting('{"tier": "Tier__c", "age": {"field": "Age__c", "type": "number"}}')


def body_of(contact: Contact) -> Mapping[str, Any]:
    return from_contact(contact, CONFIGURED).properties


def fields_of(contact: Contact) -> Mapping[str, Any]:
    """Return what callAttributes holds; nothing where it is not sent."""
    text = body_of(contact).get("callAttributes", "{}")
    assert isinstance(text, str)
    fields = json.loads(text)
    assert isinstance(fields, dict)
    return fields


# --- the field map ---------------------------------------------------------------------------------------------------

DESCRIBED = {
    "startTime": "2026-11-22T09:30:00Z",
    "endTime": "2026-11-22T09:35:31Z",
    "enqueueTime": "2026-11-22T09:30:10Z",
    "acceptTime": "2026-11-22T09:30:30Z",
    "fromNumber": CUSTOMER_NUMBER,
    "toNumber": SYSTEM_NUMBER,
    "initiationMethod": "INBOUND",
    "callSubType": "PSTN",
    "totalHoldDuration": 40,
    "agentInteractionDuration": 260,
    "callOrigin": "Preview",
    "recordingLocation": RECORDING,
    "isActiveCall": False,
    "disconnectReason": {"value": "CUSTOMER_DISCONNECT", "isError": False},
    "callAttributes": '{"Tier__c": "gold"}',
}

FLOW = {
    "fromNumber": CUSTOMER_NUMBER,
    "toNumber": SYSTEM_NUMBER,
    "initiationMethod": "INBOUND",
    "callSubType": "PSTN",
    "queue": "Support",
    "isActiveCall": True,
    "callAttributes": '{"Tier__c": "gold"}',
}


def test_the_body_of_a_described_contact() -> None:
    contact = from_described(described(), Source.CONTACT_EVENT)
    voice_call = from_contact(contact, CONFIGURED)
    assert voice_call.properties == DESCRIBED
    assert voice_call.left_out == {}
    assert voice_call.ignored_parameters == ()


def test_the_names_of_queue_and_agent_are_sent() -> None:
    contact = replace(from_described(described(), Source.CONTACT_EVENT), queue="Support", agent="ada")
    assert body_of(contact) == {**DESCRIBED, "queue": "Support", "agent": "ada"}


def test_the_body_of_a_flows_contact() -> None:
    voice_call = from_contact(flow_contact(), CONFIGURED)
    assert voice_call.properties == FLOW
    assert voice_call.left_out == {}


def test_hold_counts_are_sent_where_a_source_knows_them() -> None:
    contact = finished_contact(longest_hold_seconds=30, number_of_holds=2)
    assert body_of(contact) == {"isActiveCall": False, "longestHoldDuration": 30, "numberOfHolds": 2}


def test_an_unknown_value_is_not_sent() -> None:
    assert body_of(finished_contact()) == {"isActiveCall": False}


def test_zero_is_known() -> None:
    contact = finished_contact(
        hold_seconds=0, longest_hold_seconds=0, number_of_holds=0, interaction_seconds=0, recording=Recording("b/k", 0)
    )
    without_talk = replace(contact, interaction_seconds=None)
    assert body_of(without_talk)["totalRecordingDuration"] == 0
    assert body_of(contact) == {
        "isActiveCall": False,
        "totalHoldDuration": 0,
        "longestHoldDuration": 0,
        "numberOfHolds": 0,
        "agentInteractionDuration": 0,
        "recordingLocation": "b/k",
    }


def test_a_recordings_length_is_sent_without_talk_time() -> None:
    """Salesforce's default is talk and hold time; Connect's times of a recording are those of its last leg."""
    contact = finished_contact(recording=Recording("b/k", 301), hold_seconds=40, interaction_seconds=260)
    assert "totalRecordingDuration" not in body_of(contact)
    assert from_contact(contact, CONFIGURED).left_out == {}
    assert body_of(replace(contact, interaction_seconds=None))["totalRecordingDuration"] == 301
    unfit = replace(contact, interaction_seconds=INT32_MAX + 1)
    assert body_of(unfit)["totalRecordingDuration"] == 301
    said = replace(contact, parameters={"totalRecordingDuration": "7"})
    assert body_of(said)["totalRecordingDuration"] == 7


def test_the_contact_before_is_the_parent() -> None:
    contact = from_described(described(PreviousContactId="c-0", InitiationMethod="WEBRTC_API"), Source.CONTACT_EVENT)
    body = body_of(contact)
    assert (body["parentCallIdentifier"], body["callSubType"]) == ("c-0", "WebRTC")
    assert type(body["callSubType"]) is str


@pytest.mark.parametrize("initiation", Initiation)
def test_the_initiation_method_is_one_of_four_words(initiation: Initiation) -> None:
    sent = body_of(finished_contact(initiation=initiation))["initiationMethod"]
    assert sent == initiation.value
    assert type(sent) is str


def test_the_call_center_is_added() -> None:
    without = from_contact(flow_contact({"nonsense": "x"}), CONFIGURED)
    voice_call = without.with_call_center(CALL_CENTER)
    assert voice_call.properties == {**FLOW, "callCenterApiName": CALL_CENTER}
    assert voice_call.ignored_parameters == ("nonsense",)
    assert "callCenterApiName" not in without.properties


# --- what a contact's own values must be to be sent ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "is_error"),
    [
        ("TELECOM_PROBLEM", True),
        ("CONTACT_FLOW_DISCONNECT", True),
        ("OTHER", True),
        ("CUSTOMER_DISCONNECT", False),
        ("AGENT_DISCONNECT", False),
        ("EXPIRED", False),
        ("NEW_NEXT_YEAR", False),
    ],
)
def test_a_disconnect_reason_goes_with_whether_it_is_an_error(reason: str, is_error: object) -> None:
    expected = {"value": reason, "isError": is_error}
    assert body_of(finished_contact(disconnect_reason=reason))["disconnectReason"] == expected
    assert body_of(flow_contact({"disconnectReason": reason}))["disconnectReason"] == expected


@pytest.mark.parametrize("reason", ["CUSTOMER_DISCONNECT", "OTHER", None])
def test_an_accepted_callback_is_a_reason_of_its_own(reason: str | None) -> None:
    contact = finished_contact(disconnect_reason=reason, attributes={"callback_flag": "true"})
    assert body_of(contact)["disconnectReason"] == {"value": "CALLBACK", "isError": False}


@pytest.mark.parametrize("reason", [None, "", " "])
def test_without_a_disconnect_reason_neither_half_of_it_is_sent(reason: str | None) -> None:
    contact = from_described(described(DisconnectReason=reason), Source.CONTACT_EVENT)
    assert "disconnectReason" not in body_of(contact)


def test_hold_and_talk_time_stay_behind_without_a_recording() -> None:
    contact = from_described(described(Recordings=None), Source.CONTACT_EVENT)
    voice_call = from_contact(contact, CONFIGURED)
    gone = {"totalHoldDuration", "agentInteractionDuration"}
    assert voice_call.left_out.keys() == gone
    recorded = gone | {"recordingLocation"}
    assert voice_call.properties.keys() == DESCRIBED.keys() - recorded


def test_other_hold_figures_need_no_recording() -> None:
    voice_call = from_contact(finished_contact(longest_hold_seconds=3, number_of_holds=1), CONFIGURED)
    assert voice_call.left_out == {}


@pytest.mark.parametrize("location", ["arn:aws:kinesisvideo:eu-central-1:1:stream/x/1", "x" * 1025, "\ud800", "b/k\0"])
def test_without_a_valid_location_no_recording_is_sent(location: str) -> None:
    voice_call = from_contact(finished_contact(recording=Recording(location, 9), hold_seconds=1), CONFIGURED)
    assert voice_call.properties == {"isActiveCall": False}
    assert voice_call.left_out.keys() == {"recordingLocation", "totalRecordingDuration", "totalHoldDuration"}


@pytest.mark.parametrize("origin", ["Preview", "Progressive", "Voicemail"])
def test_an_attribute_says_the_call_origin(origin: str) -> None:
    assert body_of(flow_contact(Attributes={"callOrigin": origin}))["callOrigin"] == origin


@pytest.mark.parametrize("origin", ["preview", "Predictive", 5, True, ["Preview"], {"a": "b"}])
def test_an_attribute_with_another_call_origin_is_left_out(origin: object) -> None:
    voice_call = from_contact(flow_contact(Attributes={"callOrigin": origin}), CONFIGURED)
    assert "callOrigin" not in voice_call.properties
    assert voice_call.left_out.keys() == {"callOrigin"}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"from_number": "\ud800"}, "fromNumber"),
        ({"queue": "x" * 1025}, "queue"),
        ({"queue": "a\x1b"}, "queue"),
        ({"number_of_holds": INT32_MAX + 1}, "numberOfHolds"),
        ({"longest_hold_seconds": -1}, "longestHoldDuration"),
        ({"disconnect_reason": "\udfff"}, "disconnectReason"),
    ],
)
def test_a_contacts_unfitting_value_alone_is_left_out(fields: Mapping[str, Any], name: str) -> None:
    voice_call = from_contact(finished_contact(to_number="+1", **fields), CONFIGURED)
    assert voice_call.properties == {"isActiveCall": False, "toNumber": "+1"}
    assert voice_call.left_out.keys() == {name}


# --- parameters of a contact flow ----------------------------------------------------------------------------------

TIME = "2026-11-22T09:30:00Z"
TIMES = ("startTime", "endTime", "enqueueTime", "acceptTime")
COUNTS = (
    "totalHoldDuration",
    "longestHoldDuration",
    "numberOfHolds",
    "agentInteractionDuration",
    "totalRecordingDuration",
)
TEXTS = ("fromNumber", "toNumber", "queue", "agent", "recordingLocation", "parentCallIdentifier")


def cases(names: tuple[str, ...], *values: tuple[object, object]) -> list[Any]:
    return [(name, given_value, sent) for name in names for given_value, sent in values]


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        *cases(
            TIMES,
            (TIME, TIME),
            ("2026-11-22T10:30:00+01:00", TIME),
            ("2026-11-22 09:30:00.25Z", "2026-11-22T09:30:00.250Z"),
        ),
        *cases(
            COUNTS,
            (7, 7),
            ("7", 7),
            (" 7 ", 7),
            (7.0, 7),
            ("0", 0),
            (0, 0),
            (INT32_MAX, INT32_MAX),
            (str(INT32_MAX), INT32_MAX),
        ),
        *cases(TEXTS, ("some text", "some text"), ("Zoë 🧀", "Zoë 🧀")),
        *cases(("initiationMethod",), *((word, word) for word in ("INBOUND", "OUTBOUND", "TRANSFER", "CALLBACK"))),
        *cases(("callSubType",), ("PSTN", "PSTN"), ("WebRTC", "WebRTC")),
        *cases(("callOrigin",), *((word, word) for word in ("Preview", "Progressive", "Voicemail"))),
        *cases(("isActiveCall",), ("false", False), ("FALSE", False), (False, False), (" true ", True), (True, True)),
        *cases(
            ("disconnectReason",),
            ("EXPIRED", {"value": "EXPIRED", "isError": False}),
            ({"value": "CALLBACK", "isError": False}, {"value": "CALLBACK", "isError": False}),
            ({"isError": "true", "value": "OWN"}, {"value": "OWN", "isError": True}),
        ),
    ],
)
def test_a_parameter_sets_its_property(name: str, value: object, sent: object) -> None:
    body = body_of(flow_contact({**HERE, name: value}))
    assert body[name] == sent
    assert type(body[name]) is type(sent)


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (TIMES, ("2026-11-22T09:30:00", "2026-11-22", "09:30", "yesterday", 1795339800, True, [TIME], {})),
        (
            COUNTS,
            (
                -1,
                "-1",
                INT32_MAX + 1,
                str(INT32_MAX + 1),
                7.5,
                "7.0",
                "seven",
                True,
                [7],
                {},
                float("nan"),
                float("inf"),
            ),
        ),
        (TEXTS, (7, True, ["x"], {}, "x" * 1025, "\ud800", "a\0")),
        (("callSubType",), ("pstn", "VoIP", 5)),
        (("initiationMethod",), ("API", "inbound", "QUEUE_TRANSFER", 1, ["INBOUND"])),
        (("callOrigin",), ("preview", "Predictive", 1, ["Preview"], {})),
        (("isActiveCall",), ("yes", "1", 1, 0, [], {})),
        (
            ("disconnectReason",),
            (
                5,
                True,
                [],
                {},
                {"value": "X"},
                {"isError": True},
                {"value": "X", "isError": None},
                {"value": "", "isError": True},
                {"value": None, "isError": True},
                {"value": 5, "isError": True},
                {"value": "X", "isError": True, "more": 1},
                "\ud800",
            ),
        ),
        (("recordingLocation",), ("arn:aws:kinesisvideo:eu-central-1:1:stream/x/1",)),
    ],
)
def test_a_parameter_unfit_for_its_property_is_invalid(names: tuple[str, ...], values: tuple[object, ...]) -> None:
    for name, value in product(names, values):
        with pytest.raises(InvalidInput, match=rf"^Details\.Parameters\.{name} must be ") as raised:
            body_of(flow_contact({**HERE, name: value}))
        assert raised.value.field == f"Details.Parameters.{name}"


@pytest.mark.parametrize("blank", [None, "", "  \t"])
def test_a_blank_parameter_is_absent(blank: object) -> None:
    for name in (*FLOW, *TIMES, *COUNTS, *TEXTS, "disconnectReason", "callOrigin", "sfdc-Tier__c"):
        voice_call = from_contact(flow_contact({name: blank}), CONFIGURED)
        assert voice_call.properties == FLOW, name
        assert voice_call.ignored_parameters == (), name


def test_parameters_go_before_the_contacts_values() -> None:
    parameters = {
        "fromNumber": "+1",
        "toNumber": "+2",
        "initiationMethod": "TRANSFER",
        "queue": "Sales",
        "isActiveCall": "false",
    }
    body = body_of(flow_contact(parameters))
    assert body == {**FLOW, **parameters, "isActiveCall": False}


def test_a_parameter_goes_before_an_attribute_call_origin() -> None:
    for origin in ("Progressive", "nonsense"):
        contact = flow_contact({"callOrigin": "Preview"}, Attributes={"callOrigin": origin})
        voice_call = from_contact(contact, CONFIGURED)
        assert voice_call.properties["callOrigin"] == "Preview"
        assert voice_call.left_out == {}


@pytest.mark.parametrize("name", ["totalHoldDuration", "agentInteractionDuration", "totalRecordingDuration"])
@pytest.mark.parametrize("location", [{}, {"recordingLocation": ""}, {"recordingLocation": None}])
def test_hold_talk_and_recording_time_without_a_location_are_invalid(name: str, location: Mapping[str, object]) -> None:
    with pytest.raises(InvalidInput, match=rf"^Details\.Parameters\.{name} must be accompanied by recordingLocation"):
        body_of(flow_contact({name: "5", **location}))
    assert body_of(flow_contact({name: "5", **HERE}))[name] == 5


@pytest.mark.parametrize("name", ["longestHoldDuration", "numberOfHolds"])
def test_other_hold_parameters_need_no_location(name: str) -> None:
    assert body_of(flow_contact({name: "5"}))[name] == 5


def test_a_call_cannot_end_before_it_begins() -> None:
    with pytest.raises(InvalidInput, match=r"^Details\.Parameters\.endTime must be no earlier"):
        body_of(flow_contact({"startTime": "2026-11-22T09:30:00Z", "endTime": "2026-11-22T09:29:59Z"}))


def test_times_are_compared_as_moments() -> None:
    body = body_of(flow_contact({"startTime": "2026-11-22T10:30:00+01:00", "endTime": "2026-11-22T09:30:00Z"}))
    assert (body["startTime"], body["endTime"]) == (TIME, TIME)


def test_parameters_no_property_goes_by_are_ignored_and_named() -> None:
    contact = flow_contact({"color": "blue", "STARTTIME": TIME, "callCenterApiName": "Other", "empty": ""})
    voice_call = from_contact(contact, CONFIGURED)
    assert voice_call.properties == FLOW
    assert voice_call.ignored_parameters == ("color", "STARTTIME", "callCenterApiName", "empty")


# --- callAttributes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "fields"),
    [
        pytest.param({"sfdc-Tier__c": "gold", "language": "de"}, {"Tier__c": "gold"}, id="prefixed"),
        pytest.param({"tier": "gold", "age": "41"}, {"Tier__c": "gold", "Age__c": 41}, id="configured"),
        pytest.param({"tier": True, "age": 4.5}, {"Tier__c": True, "Age__c": 4.5}, id="no strings"),
        pytest.param({"sfdc-Name__c": "Zoë 🧀"}, {"Name__c": "Zoë 🧀"}, id="not ASCII"),
    ],
)
def test_attributes_fill_call_attributes(attributes: Mapping[str, object], fields: Mapping[str, object]) -> None:
    assert fields_of(flow_contact(Attributes=attributes)) == fields
    assert fields_of(from_described(described(Attributes=attributes), Source.CONTACT_EVENT)) == fields


def test_without_fields_there_are_no_call_attributes() -> None:
    assert "callAttributes" not in body_of(flow_contact(Attributes={"language": "de"}))


@pytest.mark.parametrize(
    ("parameters", "fields"),
    [
        pytest.param({"sfdc-tier__c": "lead"}, {"Tier__c": "lead"}, id="prefixed"),
        pytest.param({"SFDC-TIER__C": "lead"}, {"Tier__c": "lead"}, id="the prefix, too"),
        pytest.param({"callAttributes": {"TIER__c": "lead"}}, {"Tier__c": "lead"}, id="in callAttributes"),
        pytest.param({"sfdc-age__c": "41"}, {"Tier__c": "gold", "Age__c": 41}, id="the configured type holds"),
        pytest.param({"callAttributes": {"Age__c": ""}}, {"Tier__c": "gold"}, id="empty in callAttributes"),
        pytest.param({"sfdc-OwnerId": "x"}, {"Tier__c": "gold"}, id="no standard field by the prefix"),
        pytest.param({"callAttributes": {"OwnerId": "x"}}, {"Tier__c": "gold"}, id="nor in callAttributes"),
    ],
)
def test_names_are_compared_without_case(parameters: Mapping[str, object], fields: Mapping[str, object]) -> None:
    assert fields_of(flow_contact(parameters)) == fields
    assert from_contact(flow_contact(parameters), CONFIGURED).ignored_parameters == ()


def test_one_bad_attribute_costs_one_field() -> None:
    attributes = {"sfdc-Good__c": "kept", "age": "forty", "sfdc-no name": "x"}
    voice_call = from_contact(flow_contact(Attributes=attributes), CONFIGURED)
    assert voice_call.properties["callAttributes"] == '{"Good__c": "kept"}'
    assert voice_call.left_out.keys() == {"age", "sfdc-no name"}


@pytest.mark.parametrize(
    ("parameters", "fields"),
    [
        pytest.param({"sfdc-Vip__c": "yes"}, {"Tier__c": "gold", "Vip__c": "yes"}, id="prefixed"),
        pytest.param(
            {"sfdc-Vip__c": True, "sfdc-N__c": 4.5}, {"Tier__c": "gold", "Vip__c": True, "N__c": 4.5}, id="JSON"
        ),
        pytest.param({"sfdc-Tier__c": "lead"}, {"Tier__c": "lead"}, id="a parameter goes before an attribute"),
        pytest.param({"callAttributes": {"Age__c": 41}}, {"Tier__c": "gold", "Age__c": 41}, id="an object"),
        pytest.param({"callAttributes": '{"Age__c": 41}'}, {"Tier__c": "gold", "Age__c": 41}, id="its text"),
        pytest.param({"callAttributes": {"Tier__c": "lead"}}, {"Tier__c": "lead"}, id="it goes before an attribute"),
        pytest.param(
            {"callAttributes": {"Tier__c": "a"}, "sfdc-Tier__c": "b"}, {"Tier__c": "b"}, id="and after a prefix"
        ),
        pytest.param({"callAttributes": {}}, {"Tier__c": "gold"}, id="empty"),
        pytest.param({"tier": "lead"}, {"Tier__c": "gold"}, id="configured names are attributes, not parameters"),
    ],
)
def test_parameters_fill_call_attributes(parameters: Mapping[str, object], fields: Mapping[str, object]) -> None:
    assert fields_of(flow_contact(parameters)) == fields


@pytest.mark.parametrize(
    "value", ["text", "[]", "5", "null", [], 5, True, '{"a":', pytest.param("[" * 9999, id="deep")]
)
def test_a_parameter_call_attributes_that_is_no_object_is_invalid(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"^Details\.Parameters\.callAttributes must be a JSON object"):
        body_of(flow_contact({"callAttributes": value}))


@pytest.mark.parametrize(
    "field",
    [
        '"Age__c": [1]',
        '"Age__c": {"a": 1}',
        '"Age__c": NaN',
        '"Age__c": -Infinity',
        '"Age__c": 1e400',
        '"Age__c": 1000000000000000000',
        '"Age__c": "\\ud800"',
        '"no name": 1',
        '"\\ud800": 1',
    ],
)
def test_a_parameters_unfitting_field_alone_is_left_out(field: str) -> None:
    contact = flow_contact({"callAttributes": f'{{"Good__c": "kept", {field}}}'}, Attributes={})
    voice_call = from_contact(contact, CONFIGURED)
    assert voice_call.properties["callAttributes"] == '{"Good__c": "kept"}'
    assert len(voice_call.left_out) == 1


# --- a record to create ----------------------------------------------------------------------------------------------


def test_properties_missing_for_a_creation_are_named() -> None:
    voice_call = from_contact(finished_contact(initiated_at=STARTED, to_number="+1"), CONFIGURED)
    assert voice_call.missing_for_creation() == ("endTime", "fromNumber", "initiationMethod", "callCenterApiName")


def test_nothing_is_missing_once_all_six_are_known() -> None:
    contact = from_described(described(), Source.CONTACT_EVENT)
    assert from_contact(contact, CONFIGURED).with_call_center(CALL_CENTER).missing_for_creation() == ()


def test_a_call_that_is_up_has_its_record() -> None:
    assert from_contact(flow_contact(), CONFIGURED).missing_for_creation() == ()
    ended = from_contact(flow_contact({"isActiveCall": "false"}), CONFIGURED)
    assert ended.missing_for_creation() == ("startTime", "endTime", "callCenterApiName")


# --- laws ------------------------------------------------------------------------------------------------------------

UTC_TIMES = st.none() | st.datetimes(timezones=st.just(UTC))
TEXTS_OR_NONE = st.none() | ANY_TEXT
COUNTS_OR_NONE = st.none() | st.integers()
LOCATIONS = ANY_TEXT.filter(bool) | st.just("kinesisvideo") | st.just(RECORDING)
WORDS = st.from_regex(r"[A-Za-z_0-9]{1,8}", fullmatch=True)
FIELD_NAMES = st.sampled_from(["Tier__c", "Age__c", "ns__Tier__c", "Tier__pc", "Description"]) | (
    st.lists(WORDS, min_size=1, max_size=3).map("__".join) | ANY_TEXT
)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["callOrigin", "tier", "age", "language"]) | FIELD_NAMES.map("sfdc-{}".format),
    ANY_TEXT | ANY_JSON,
    max_size=4,
)
SENSIBLE = st.sampled_from(
    [
        TIME,
        "7",
        7,
        "true",
        False,
        "INBOUND",
        "Preview",
        RECORDING,
        "",
        None,
        {"value": "X", "isError": True},
        {"Age__c": 4},
    ]
)
PARAMETERS = st.dictionaries(
    st.sampled_from([*PROPERTIES, "color"]) | FIELD_NAMES.map("sfdc-{}".format), SENSIBLE | ANY_JSON, max_size=4
)
FINISHED = st.builds(
    Contact,
    contact_id=st.just("c-1"),
    source=st.sampled_from(Source),
    still_up=st.booleans(),
    initiation=st.none() | st.sampled_from(Initiation),
    call_sub_type=st.none() | st.sampled_from(CallSubType),
    parent_contact_id=TEXTS_OR_NONE,
    from_number=TEXTS_OR_NONE,
    to_number=TEXTS_OR_NONE,
    queue=TEXTS_OR_NONE,
    agent=TEXTS_OR_NONE,
    initiated_at=UTC_TIMES,
    enqueued_at=UTC_TIMES,
    connected_to_agent_at=UTC_TIMES,
    disconnected_at=UTC_TIMES,
    disconnect_reason=TEXTS_OR_NONE,
    hold_seconds=COUNTS_OR_NONE,
    longest_hold_seconds=COUNTS_OR_NONE,
    number_of_holds=COUNTS_OR_NONE,
    interaction_seconds=COUNTS_OR_NONE,
    recording=st.none() | st.builds(Recording, LOCATIONS, COUNTS_OR_NONE),
    attributes=ATTRIBUTES,
    parameters=st.just({}),
)


def assert_salesforce_takes(voice_call: VoiceCallUpdate) -> None:
    """By the rules the simulator goes by, which were written without a look at our code."""
    sent = voice_call.with_call_center(CALL_CENTER).as_json()
    assert sent.isascii()
    body = json.loads(sent)
    assert complaints(body) == []
    assert len(sent) <= LARGEST_BODY
    assert "isActiveCall" in body


@given(FINISHED)
def test_any_contact_gives_a_body_salesforce_takes(contact: Contact) -> None:
    assert_salesforce_takes(from_contact(contact, CONFIGURED))


@given(FINISHED, PARAMETERS)
@example(finished_contact(), {"callAttributes": '{"Age__c": NaN}'})
@example(finished_contact(), {"callAttributes": "[" * 9999})
def test_any_flow_gives_a_valid_body_or_is_invalid(contact: Contact, parameters: Mapping[str, object]) -> None:
    try:
        voice_call = from_contact(replace(contact, parameters=parameters), CONFIGURED)
    except InvalidInput:
        return
    assert_salesforce_takes(voice_call)


FULL_FLOW = flow_event(
    {
        "startTime": TIME,
        "endTime": "2026-11-22T09:35:31Z",
        "totalHoldDuration": "7",
        "numberOfHolds": 2,
        "recordingLocation": RECORDING,
        "isActiveCall": False,
        "disconnectReason": {"value": "CALLBACK", "isError": False},
        "callAttributes": {"Age__c": 41},
        "sfdc-Vip__c": True,
    },
    Attributes={"callOrigin": "Preview", "tier": "gold", "age": "41"},
)


@given(one_field_replaced(FULL_FLOW))
def test_a_spoilt_flow_event_gives_a_valid_body_or_fails(event: dict[str, Any]) -> None:
    try:
        voice_call = from_contact(from_flow(asked_by(event), INSTANCE_ID), CONFIGURED)
    except (InvalidInput, NotOurs):
        return
    assert_salesforce_takes(voice_call)


@given(one_field_replaced(described()))
def test_a_spoilt_description_gives_a_valid_body_or_fails(contact: dict[str, Any]) -> None:
    try:
        made = from_described(contact, Source.CONTACT_EVENT)
    except (InvalidInput, NotOurs, NotFinishedYet):
        return
    assert_salesforce_takes(from_contact(made, CONFIGURED))


def test_the_body_has_a_bound() -> None:
    """A flow passes texts as long as they may be, and far more custom fields than have room."""
    longest = "🧀" * 1024
    texts = dict.fromkeys((*TEXTS, "disconnectReason"), longest)
    fields = {f"sfdc-F{number}__c": "🧀" * 1000 for number in range(20)}
    voice_call = from_contact(flow_contact({**texts, **fields}), CONFIGURED).with_call_center(longest)
    assert 131_072 < len(voice_call.as_json()) <= LARGEST_BODY
    assert voice_call.attributes_left_out


@given(FINISHED)
def test_every_known_value_is_sent_or_named(contact: Contact) -> None:
    voice_call = from_contact(contact, CONFIGURED)
    known = {
        "startTime": contact.initiated_at,
        "endTime": contact.disconnected_at,
        "enqueueTime": contact.enqueued_at,
        "acceptTime": contact.connected_to_agent_at,
        "fromNumber": contact.from_number,
        "toNumber": contact.to_number,
        "initiationMethod": contact.initiation,
        "totalHoldDuration": contact.hold_seconds,
        "longestHoldDuration": contact.longest_hold_seconds,
        "numberOfHolds": contact.number_of_holds,
        "agentInteractionDuration": contact.interaction_seconds,
        "queue": contact.queue,
        "agent": contact.agent,
        "callOrigin": contact.attributes.get("callOrigin"),
        "recordingLocation": contact.recording and contact.recording.location,
        "disconnectReason": contact.disconnect_reason,
    }
    expected = {name for name, value in known.items() if value is not None} | {"isActiveCall"}
    sent, left_out = set(voice_call.properties), set(voice_call.left_out)
    assert sent.isdisjoint(left_out)
    assert (sent | left_out) & (known.keys() | {"isActiveCall"}) == expected
    assert not {"agentInteractionDuration", "totalRecordingDuration"} <= sent


@given(FINISHED, st.sampled_from(["", CALL_CENTER]))
def test_the_simulator_misses_what_we_miss(contact: Contact, call_center: str) -> None:
    voice_call = from_contact(replace(contact, still_up=False), CONFIGURED)
    if call_center:
        voice_call = voice_call.with_call_center(call_center)
    assert voice_call.missing_for_creation() == missing_to_create(voice_call.properties)


def test_the_simulator_and_we_know_the_same_properties() -> None:
    """Each as a parameter: not one of them is ignored, but the call center, which is a setting."""
    for name in PROPERTIES.keys() - {"callCenterApiName"}:
        try:
            voice_call = from_contact(flow_contact({name: "x"}), CONFIGURED)
        except InvalidInput:
            continue
        assert voice_call.ignored_parameters == ()
        assert name in voice_call.properties


# --- silence ---------------------------------------------------------------------------------------------------------

MARKER = "Zaphod7731"


SPOILERS = (
    MARKER,
    MARKER + "\ud800",
    f"{{{MARKER}",
    f'"{MARKER}"',
    [MARKER],
    {"value": MARKER},
    {"value": MARKER, "isError": MARKER},
    {"value": [MARKER], "isError": True},
    7731773177317731773177,
    -7731.7731,
    f"2026-11-22T09:30:00 {MARKER}",
    f"kinesisvideo/{MARKER}",
    MARKER * 103,
)


@pytest.mark.parametrize("name", [*PROPERTIES, "sfdc-Tier__c"])
def test_no_message_repeats_a_parameter_or_an_attribute(name: str) -> None:
    for spoiler in SPOILERS:
        for contact in (
            flow_contact({name: spoiler}),
            flow_contact({**HERE, name: spoiler}),
            flow_contact(Attributes={name: spoiler}),
        ):
            try:
                messages = "".join(from_contact(contact, CONFIGURED).left_out.values())
            except InvalidInput as error:
                messages = "".join(traceback.format_exception(error))
            assert "7731" not in messages, spoiler


def test_a_body_is_json_in_ascii() -> None:
    voice_call = VoiceCallUpdate({"queue": "Zoë", "isActiveCall": True}, {})
    assert voice_call.as_json() == b'{"queue":"Zo\\u00eb","isActiveCall":true}'
