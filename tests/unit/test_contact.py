from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.builders import (
    AFTER_CALL,
    ANY_JSON,
    CONNECTED,
    CONTACT_ID,
    CUSTOMER_NUMBER,
    ENDED,
    ENQUEUED,
    INSTANCE_ARN,
    INSTANCE_ID,
    NEVER,
    RECORDING,
    STARTED,
    SYSTEM_NUMBER,
    Path,
    contact_event,
    described,
    flow_contact,
    flow_event,
    one_field_replaced,
    paths,
    recording,
    with_replaced,
    without,
)
from voicecall_sync.connect.described import agent_id, from_described, queue_id
from voicecall_sync.connect.events import asked_by, finished_contact_id, from_flow
from voicecall_sync.contact import CallSubType, Contact, Initiation, Recording
from voicecall_sync.errors import InvalidInput, NotFinishedYet, NotOurs, VoiceCallSyncError
from voicecall_sync.outcome import Source

OTHER_INSTANCE = INSTANCE_ARN.replace("1a2b3c4d-", "d4c3b2a1-")

TELEPHONE = {"Type": "TELEPHONE_NUMBER", "Address": CUSTOMER_NUMBER}
SOUND_IDS = (CONTACT_ID, "a", "0", "x" * 256, "0LQ_contact-id")
UNSOUND_IDS: tuple[object, ...] = (
    None,
    "",
    5,
    True,
    [],
    {},
    ".",
    "..",
    "a.b",
    "a/b",
    "../x",
    "a b",
    "a?b",
    "a%20b",
    "é",
    "a\n",
    "-a",
    "x" * 257,
)


def is_one_path_segment(contact_id: str) -> bool:
    """It means itself as the last segment of a URL's path."""
    return bool(contact_id) and quote(contact_id, safe="") == contact_id and contact_id.strip(".") == contact_id


# --- which source --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "source"),
    [
        pytest.param(flow_event(), Source.CONTACT_FLOW, id="flow"),
        pytest.param({**flow_event(), "Name": "ContactFlowExecution"}, Source.CONTACT_FLOW, id="name in AWS's samples"),
        pytest.param({"Details": {}}, Source.CONTACT_FLOW, id="flow without a name"),
        pytest.param({"Name": "ContactFlowEvent"}, Source.CONTACT_FLOW, id="flow without details"),
        pytest.param({"Name": "ContactFlowExecution"}, Source.CONTACT_FLOW, id="the same, as named in AWS's samples"),
        pytest.param(contact_event(), Source.CONTACT_EVENT, id="contact event"),
    ],
)
def test_an_event_tells_its_source(event: object, source: Source) -> None:
    assert asked_by(event).source is source


@pytest.mark.parametrize(
    "event",
    [
        None,
        "ContactFlowEvent",
        [],
        [flow_event()],
        {},
        {"Name": "Other"},
        pytest.param({"Name": ["ContactFlowEvent"]}, id="name is a list"),
        pytest.param({"Name": {}}, id="name is an object"),
        pytest.param({"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}, id="scheduled event"),
        pytest.param({"detail-type": ["Amazon Connect Contact Event"]}, id="detail-type is a list"),
        pytest.param({"Records": [{"kinesis": {}}]}, id="kinesis"),
    ],
)
def test_another_event_is_invalid(event: object) -> None:
    with pytest.raises(InvalidInput):
        asked_by(event)


# --- the contact id ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contact_id", SOUND_IDS)
def test_a_sound_id_is_taken_as_it_is(contact_id: str) -> None:
    assert flow_contact(ContactId=contact_id).contact_id == contact_id
    assert finished_contact_id(asked_by(contact_event(contactId=contact_id)), INSTANCE_ID) == contact_id
    assert from_described(described(Id=contact_id), Source.CONTACT_EVENT).contact_id == contact_id
    assert asked_by(flow_event(ContactId=contact_id)).contact_id == contact_id
    assert asked_by(contact_event(contactId=contact_id)).contact_id == contact_id


@pytest.mark.parametrize("contact_id", UNSOUND_IDS)
def test_an_unsound_id_is_invalid_and_never_repeated(contact_id: object) -> None:
    with pytest.raises(InvalidInput, match=r"^Details\.ContactData\.ContactId must be"):
        flow_contact(ContactId=contact_id)
    with pytest.raises(InvalidInput, match=r"^detail\.contactId must be"):
        finished_contact_id(asked_by(contact_event(contactId=contact_id)), INSTANCE_ID)
    with pytest.raises(InvalidInput, match=r"^Contact\.Id must be"):
        from_described(described(Id=contact_id), Source.CONTACT_EVENT)
    assert asked_by(flow_event(ContactId=contact_id)).contact_id == ""
    assert asked_by(contact_event(contactId=contact_id)).contact_id == ""


def test_one_uuid_is_one_key_however_it_is_written() -> None:
    upper = CONTACT_ID.upper()
    assert flow_contact(ContactId=upper).contact_id == CONTACT_ID
    assert finished_contact_id(asked_by(contact_event(contactId=upper)), INSTANCE_ID) == CONTACT_ID
    assert asked_by(flow_event(ContactId=upper)).contact_id == CONTACT_ID


def test_an_id_that_is_no_uuid_keeps_its_case() -> None:
    assert flow_contact(ContactId="AbC").contact_id == "AbC"


@pytest.mark.parametrize(
    "event",
    [
        {"Details": None},
        {"Details": {"ContactData": []}},
        {**contact_event(), "detail": "{}"},
        {"Name": "ContactFlowEvent"},
    ],
)
def test_no_id_is_found_where_there_is_none(event: object) -> None:
    assert asked_by(event).contact_id == ""


def test_the_id_of_a_pascal_case_detail_is_found() -> None:
    assert asked_by({**contact_event(), "detail": {"ContactId": CONTACT_ID}}).contact_id == CONTACT_ID


# --- whose contact, and is it a call -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arn",
    [
        INSTANCE_ARN,
        pytest.param(f"arn:aws::connect:eu-central-1:111122223333:instance/{INSTANCE_ID}", id="arn:aws::connect"),
        pytest.param(f"{INSTANCE_ARN}/contact/{CONTACT_ID}", id="longer than the instance"),
        pytest.param(INSTANCE_ARN.replace("arn:aws:", "arn:aws-us-gov:"), id="another partition"),
        pytest.param(INSTANCE_ARN.upper().replace("INSTANCE/", "instance/"), id="upper case"),
        None,
        "",
    ],
)
def test_a_contact_of_our_instance_or_of_none_stated_is_ours(arn: str | None) -> None:
    assert flow_contact(InstanceARN=arn).contact_id == CONTACT_ID
    assert finished_contact_id(asked_by(contact_event(instanceArn=arn)), INSTANCE_ID) == CONTACT_ID


@pytest.mark.parametrize("arn", [OTHER_INSTANCE, f"{OTHER_INSTANCE}/x/{INSTANCE_ID}", f"{INSTANCE_ARN}0", "nonsense"])
def test_a_contact_of_another_instance_is_not_ours(arn: str) -> None:
    with pytest.raises(NotOurs):
        flow_contact(InstanceARN=arn)
    with pytest.raises(NotOurs):
        finished_contact_id(asked_by(contact_event(instanceArn=arn)), INSTANCE_ID)


@pytest.mark.parametrize("channel", ["VOICE", "Voice", "voice", " VOICE "])
def test_a_call_is_a_call_however_it_is_written(channel: str) -> None:
    assert flow_contact(Channel=channel).contact_id == CONTACT_ID
    assert finished_contact_id(asked_by(contact_event(channel=channel)), INSTANCE_ID) == CONTACT_ID
    assert from_described(described(Channel=channel), Source.CONTACT_EVENT).contact_id == CONTACT_ID


@pytest.mark.parametrize("channel", ["CHAT", "TASK", "EMAIL", "VOICEMAIL"])
def test_what_is_no_call_is_not_ours(channel: str) -> None:
    with pytest.raises(NotOurs):
        flow_contact(Channel=channel)
    with pytest.raises(NotOurs):
        finished_contact_id(asked_by(contact_event(channel=channel)), INSTANCE_ID)
    with pytest.raises(NotOurs):
        from_described(described(Channel=channel), Source.CONTACT_EVENT)


@pytest.mark.parametrize("channel", [None, "", " ", 5, ["VOICE"]])
def test_a_contact_without_a_channel_is_invalid(channel: object) -> None:
    with pytest.raises(InvalidInput, match="Channel"):
        flow_contact(Channel=channel)
    with pytest.raises(InvalidInput, match="channel"):
        finished_contact_id(asked_by(contact_event(channel=channel)), INSTANCE_ID)


# --- contact flow --------------------------------------------------------------------------------------------------


def test_a_flow_event_gives_what_it_knows() -> None:
    contact = flow_contact({"agent": "ada"})
    assert contact.source is Source.CONTACT_FLOW
    assert contact.still_up
    assert contact.initiation is Initiation.INBOUND
    assert (contact.from_number, contact.to_number) == (CUSTOMER_NUMBER, SYSTEM_NUMBER)
    assert contact.queue == "Support"
    assert contact.attributes == {"sfdc-Tier__c": "gold", "language": "de"}
    assert contact.parameters == {"agent": "ada"}


def test_a_flow_event_knows_no_times_reason_agent_or_recording() -> None:
    contact = flow_contact()
    unknown = (
        contact.initiated_at,
        contact.enqueued_at,
        contact.connected_to_agent_at,
        contact.disconnected_at,
        contact.disconnect_reason,
        contact.agent,
        contact.recording,
        contact.hold_seconds,
        contact.interaction_seconds,
    )
    assert set(unknown) == {None}


@pytest.mark.parametrize(
    "name", ["CustomerEndpoint", "SystemEndpoint", "Queue", "Name", "MediaStreams", "SegmentAttributes", "Tags"]
)
def test_what_real_events_leave_out_may_be_null_or_absent(name: str) -> None:
    assert flow_contact(**{name: None}).contact_id == CONTACT_ID
    absent = without(flow_event(), ("Details", "ContactData", name))
    assert from_flow(asked_by(absent), INSTANCE_ID).contact_id == CONTACT_ID


def test_without_endpoints_and_queue_numbers_and_queue_are_unknown() -> None:
    contact = flow_contact(CustomerEndpoint=None, SystemEndpoint=None, Queue=None)
    assert (contact.from_number, contact.to_number, contact.queue) == (None, None, None)


@pytest.mark.parametrize("name", ["Attributes", "Parameters"])
def test_attributes_and_parameters_may_be_null_but_not_something_else(name: str) -> None:
    path: Path = ("Details", "ContactData", "Attributes") if name == "Attributes" else ("Details", "Parameters")
    contact = from_flow(asked_by(with_replaced(flow_event(), path, None)), INSTANCE_ID)
    assert getattr(contact, name.lower()) == {}
    for wrong in ("text", ["a"], 5):
        with pytest.raises(InvalidInput, match=f"^{'.'.join(map(str, path))} must be an object"):
            from_flow(asked_by(with_replaced(flow_event(), path, wrong)), INSTANCE_ID)


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"Name": "ContactFlowEvent"}, "Details.ContactData"),
        ({"Details": []}, "Details.ContactData"),
        ({"Details": {}}, "Details.ContactData"),
        ({"Details": {"ContactData": "x"}}, "Details.ContactData"),
    ],
)
def test_a_flow_event_without_contact_data_is_invalid(event: Mapping[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        from_flow(asked_by(event), INSTANCE_ID)
    assert raised.value.field == field


def test_attributes_that_are_no_strings_are_kept() -> None:
    dirty = {"vip": True, "$accepted_terms": "yes", "age": 41}
    assert flow_contact(Attributes=dirty).attributes == dirty


# --- direction -----------------------------------------------------------------------------------------------------


def made_of(**members: Any) -> tuple[Contact, Contact]:
    """Return the same contact of a flow and as described."""
    return flow_contact(**members), from_described(described(**members), Source.CONTACT_EVENT)


INWARDS = (CUSTOMER_NUMBER, SYSTEM_NUMBER)
OUTWARDS = (SYSTEM_NUMBER, CUSTOMER_NUMBER)


@pytest.mark.parametrize(
    ("method", "initiation", "numbers"),
    [
        ("webrtc_api", Initiation.INBOUND, INWARDS),
        ("INBOUND", Initiation.INBOUND, INWARDS),
        ("Inbound", Initiation.INBOUND, INWARDS),
        ("OUTBOUND", Initiation.OUTBOUND, OUTWARDS),
        ("EXTERNAL_OUTBOUND", Initiation.OUTBOUND, OUTWARDS),
        ("CALLBACK", Initiation.CALLBACK, OUTWARDS),
        ("TRANSFER", Initiation.TRANSFER, INWARDS),
        ("QUEUE_TRANSFER", Initiation.TRANSFER, INWARDS),
        ("WEBRTC_API", Initiation.INBOUND, INWARDS),
        pytest.param("API", Initiation.OUTBOUND, OUTWARDS, id="API to a telephone"),
        ("MONITOR", None, INWARDS),
        ("DISCONNECT", None, INWARDS),
        ("something new", None, INWARDS),
        ("", None, INWARDS),
        (None, None, INWARDS),
        (7, None, INWARDS),
    ],
)
def test_the_way_a_contact_began_decides_who_called_whom(
    method: object, initiation: Initiation | None, numbers: tuple[str, str]
) -> None:
    for contact in (
        flow_contact(InitiationMethod=method),
        from_described(described(InitiationMethod=method), Source.CONTACT_EVENT),
    ):
        assert contact.initiation is initiation
        assert (contact.from_number, contact.to_number) == numbers


@pytest.mark.parametrize(
    "customer",
    [
        None,
        {},
        {"Type": "VOIP", "Address": "sip:x"},
        {"Type": "TELEPHONE_NUMBER", "Address": ""},
        {"Address": CUSTOMER_NUMBER},
    ],
)
def test_an_api_contact_without_a_telephone_called_in(customer: object) -> None:
    contact = flow_contact(InitiationMethod="API", CustomerEndpoint=customer)
    assert contact.initiation is Initiation.INBOUND
    assert contact.to_number == SYSTEM_NUMBER


@pytest.mark.parametrize(
    "endpoint", [{"Type": "VOIP", "Address": "user@example.com"}, {"Type": "CONTACT_FLOW", "Address": "flow"}]
)
def test_an_endpoint_of_another_type_still_has_its_address(endpoint: Mapping[str, str]) -> None:
    assert flow_contact(CustomerEndpoint=endpoint).from_number == endpoint["Address"]


TAGGED = {"aws:connect:instanceId": INSTANCE_ID, "aws:connect:systemEndpoint": "+18005550177"}


@pytest.mark.parametrize("endpoint", [None, {}, {"Address": None}, {"Address": " "}])
@pytest.mark.parametrize("method", ["CALLBACK", "QUEUE_TRANSFER", "INBOUND"])
def test_our_number_is_in_a_tag_where_the_endpoint_is_missing(method: str, endpoint: object) -> None:
    members = {"InitiationMethod": method, "SystemEndpoint": endpoint}
    numbers = {CUSTOMER_NUMBER, "+18005550177"}
    for contact in made_of(Tags=TAGGED, **members):
        assert {contact.from_number, contact.to_number} == numbers
        assert (contact.from_number == CUSTOMER_NUMBER) is (method != "CALLBACK")
    for tags in (None, {}, {"aws:connect:systemEndpoint": ""}, "x"):
        for contact in made_of(Tags=tags, **members):
            assert {contact.from_number, contact.to_number} == {CUSTOMER_NUMBER, None}


def test_the_endpoint_goes_before_its_tag() -> None:
    assert {contact.to_number for contact in made_of(Tags=TAGGED)} == {SYSTEM_NUMBER}


@pytest.mark.parametrize(
    ("attributes", "numbers"),
    [
        ({"WebRTC_From": "web-7", "WebRTC_To": "shop"}, ("web-7", "shop")),
        ({"WebRTC_From": "web-7"}, ("web-7", SYSTEM_NUMBER)),
        ({"WebRTC_To": " shop "}, (CUSTOMER_NUMBER, "shop")),
        ({"WebRTC_From": "", "WebRTC_To": None}, INWARDS),
        ({"WebRTC_From": 7, "WebRTC_To": ["shop"]}, INWARDS),
        ({"webrtc_from": "web-7"}, INWARDS),
    ],
)
def test_attributes_say_the_numbers_of_a_web_call(attributes: Mapping[str, object], numbers: tuple[str, str]) -> None:
    for contact in made_of(InitiationMethod="WEBRTC_API", Attributes=attributes):
        assert (contact.from_number, contact.to_number) == numbers
    for contact in made_of(InitiationMethod="INBOUND", Attributes=attributes):
        assert (contact.from_number, contact.to_number) == INWARDS


def test_a_web_call_of_which_nothing_is_known_has_salesforces_default() -> None:
    nowhere = {"InitiationMethod": "WEBRTC_API", "CustomerEndpoint": None, "SystemEndpoint": None}
    for contact in made_of(**nowhere):
        assert (contact.from_number, contact.to_number) == ("WebRTC_Default", "WebRTC_Default")
    for contact in made_of(**nowhere, Tags=TAGGED):
        assert (contact.from_number, contact.to_number) == ("WebRTC_Default", "+18005550177")


def segment(direction: object) -> dict[str, object]:
    return {"connect:Subtype": {"ValueString": "connect:Telephony"}, "connect:Direction": {"ValueString": direction}}


@pytest.mark.parametrize(
    ("customer", "stated", "initiation"),
    [
        (TELEPHONE, "INBOUND", Initiation.INBOUND),
        (TELEPHONE, "Inbound", Initiation.INBOUND),
        (TELEPHONE, "OUTBOUND", Initiation.OUTBOUND),
        (None, "OUTBOUND", Initiation.OUTBOUND),
        (TELEPHONE, "SIDEWAYS", Initiation.OUTBOUND),
        (TELEPHONE, "", Initiation.OUTBOUND),
        (TELEPHONE, None, Initiation.OUTBOUND),
        (None, "TRANSFER", Initiation.INBOUND),
        (None, 5, Initiation.INBOUND),
    ],
)
def test_the_stated_direction_decides_for_an_api_contact(
    customer: object, stated: object, initiation: Initiation
) -> None:
    members = {"CustomerEndpoint": customer, "SegmentAttributes": segment(stated)}
    for contact in made_of(InitiationMethod="API", **members):
        assert contact.initiation is initiation
        ours = contact.from_number if initiation is Initiation.OUTBOUND else contact.to_number
        assert ours == SYSTEM_NUMBER
    for contact in made_of(InitiationMethod="TRANSFER", **members):
        assert contact.initiation is Initiation.TRANSFER


@pytest.mark.parametrize("segments", [None, "x", {"connect:Direction": "OUTBOUND"}, {"connect:Direction": None}])
def test_segment_attributes_of_another_shape_say_nothing(segments: object) -> None:
    for contact in made_of(InitiationMethod="API", CustomerEndpoint=None, SegmentAttributes=segments):
        assert contact.initiation is Initiation.INBOUND


@pytest.mark.parametrize(
    ("method", "sub_type"),
    [
        ("WEBRTC_API", CallSubType.WEBRTC),
        ("webrtc_api", CallSubType.WEBRTC),
        ("INBOUND", CallSubType.PSTN),
        ("CALLBACK", CallSubType.PSTN),
        ("NEW_NEXT_YEAR", CallSubType.PSTN),
        ("", None),
        (None, None),
    ],
)
def test_the_sub_type_goes_by_the_way_a_contact_began(method: str | None, sub_type: CallSubType | None) -> None:
    assert {contact.call_sub_type for contact in made_of(InitiationMethod=method)} == {sub_type}


PARENT = "5C31E6A0-F7B6-4425-96DA-92A3B4C5D6E7"


@pytest.mark.parametrize(
    ("previous", "parent"),
    [
        (PARENT, PARENT.lower()),
        ("an-older-id", "an-older-id"),
        (CONTACT_ID, None),
        (CONTACT_ID.upper(), None),
        (None, None),
        ("", None),
        ("../x", None),
        (5, None),
    ],
)
def test_the_parent_is_the_contact_before_and_never_the_contact_itself(previous: object, parent: str | None) -> None:
    assert {contact.parent_contact_id for contact in made_of(PreviousContactId=previous)} == {parent}


def test_empty_attributes_are_absent() -> None:
    attributes = {"a": "", "b": " \t", "c": None, "d": "x", "e": False, "f": 0}
    for contact in made_of(Attributes=attributes):
        assert contact.attributes == {"d": "x", "e": False, "f": 0}


@pytest.mark.parametrize("endpoint", [{}, {"Address": None}, {"Address": 49}, {"Address": "  "}, "x", []])
def test_an_endpoint_without_an_address_is_unknown(endpoint: object) -> None:
    assert flow_contact(CustomerEndpoint=endpoint).from_number is None


# --- contact event -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", ["COMPLETED", "Completed"])
def test_a_finished_contact_gives_its_id(event_type: str) -> None:
    assert finished_contact_id(asked_by(contact_event(eventType=event_type)), INSTANCE_ID) == CONTACT_ID


@pytest.mark.parametrize(
    "event_type",
    [
        "INITIATED",
        "CONNECTED_TO_SYSTEM",
        "CONTACT_DATA_UPDATED",
        "QUEUED",
        "CONNECTED_TO_AGENT",
        "DISCONNECTED",
        "PAUSED",
        "RESUMED",
        "AMD_DISABLED",
        "WEBRTC_API",
        "NEW_NEXT_YEAR",
    ],
)
def test_a_contact_that_goes_on_is_not_ours_yet(event_type: str) -> None:
    with pytest.raises(NotOurs, match="not finished"):
        finished_contact_id(asked_by(contact_event(eventType=event_type)), INSTANCE_ID)


@pytest.mark.parametrize("event_type", [None, "", 5, ["COMPLETED"]])
def test_a_contact_event_of_no_type_is_invalid(event_type: object) -> None:
    with pytest.raises(InvalidInput, match=r"^detail\.eventType must be"):
        finished_contact_id(asked_by(contact_event(eventType=event_type)), INSTANCE_ID)


def test_a_pascal_case_detail_is_read_too() -> None:
    event = contact_event()
    event["detail"] = {name[0].upper() + name[1:]: value for name, value in event["detail"].items()}
    assert finished_contact_id(asked_by(event), INSTANCE_ID) == CONTACT_ID


@pytest.mark.parametrize("detail", [None, "{}", [], 5])
def test_a_contact_event_without_a_detail_is_invalid(detail: object) -> None:
    with pytest.raises(InvalidInput, match=r"^detail.contactId must be a contact id"):
        finished_contact_id(asked_by({**contact_event(), "detail": detail}), INSTANCE_ID)


# --- described contact ---------------------------------------------------------------------------------------------


def test_a_described_contact_gives_what_it_knows() -> None:
    contact = from_described(described(), Source.CONTACT_EVENT)
    assert contact.source is Source.CONTACT_EVENT
    assert not contact.still_up
    assert contact.initiated_at == STARTED
    assert contact.enqueued_at == ENQUEUED
    assert contact.connected_to_agent_at == CONNECTED
    assert contact.disconnected_at == ENDED
    assert contact.disconnect_reason == "CUSTOMER_DISCONNECT"
    assert contact.hold_seconds == 40
    assert contact.interaction_seconds == 300 - 40
    assert contact.recording == Recording(RECORDING, 301)
    assert contact.attributes == {"sfdc-Tier__c": "gold", "callOrigin": "Preview"}
    assert contact.parameters == {}


def test_a_described_contact_does_not_know_names_and_hold_counts() -> None:
    contact = from_described(described(), Source.CONTACT_EVENT)
    assert (contact.queue, contact.agent, contact.longest_hold_seconds, contact.number_of_holds) == (None,) * 4


def test_it_knows_whose_names_to_look_up() -> None:
    assert queue_id(described()) == "q-1"
    assert agent_id(described()) == "a-1"
    assert queue_id(described(QueueInfo=None)) is None
    assert agent_id(described(AgentInfo=None)) is None


@pytest.mark.parametrize("queue", ["agent/a-1", "AGENT/a-1"])
def test_an_agents_own_queue_has_no_name(queue: str) -> None:
    assert queue_id(described(QueueInfo={"Id": queue})) is None


@pytest.mark.parametrize("connected", [None, NEVER])
def test_an_agent_who_was_never_connected_is_nobodys_agent(connected: datetime | None) -> None:
    info = {"Id": "a-1", "ConnectedToAgentTimestamp": connected, "AgentInitiatedHoldDuration": 0}
    contact = from_described(described(AgentInfo=info), Source.CONTACT_EVENT)
    assert agent_id(described(AgentInfo=info)) is None
    assert (contact.connected_to_agent_at, contact.hold_seconds, contact.interaction_seconds) == (None, None, None)


@pytest.mark.parametrize("ended", [None, NEVER, "2026-11-22T09:35:31Z", ENDED.replace(tzinfo=None)])
def test_a_contact_without_an_end_is_not_finished_yet(ended: object) -> None:
    with pytest.raises(NotFinishedYet):
        from_described(described(DisconnectTimestamp=ended), Source.CONTACT_EVENT)


@pytest.mark.parametrize(
    ("member", "field"),
    [("InitiationTimestamp", "initiated_at"), ("QueueInfo", "enqueued_at"), ("DisconnectReason", "disconnect_reason")],
)
def test_what_is_absent_is_unknown(member: str, field: str) -> None:
    assert getattr(from_described(without(described(), (member,)), Source.CONTACT_EVENT), field) is None


def test_the_sentinel_means_that_it_never_happened() -> None:
    never = described(InitiationTimestamp=NEVER, QueueInfo={"Id": "q-1", "EnqueueTimestamp": NEVER})
    contact = from_described(never, Source.CONTACT_EVENT)
    assert (contact.initiated_at, contact.enqueued_at) == (None, None)


@pytest.mark.parametrize("hours", [-8, 0, 5.75, 14])
def test_times_are_turned_from_the_machines_zone_into_utc(hours: float) -> None:
    zone = timezone(timedelta(hours=hours))
    contact = from_described(described(InitiationTimestamp=STARTED.astimezone(zone)), Source.CONTACT_EVENT)
    assert contact.initiated_at == STARTED
    assert contact.initiated_at is not None
    assert contact.initiated_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("talked", "hold", "expected"),
    [
        pytest.param(300.0, 40, 260, id="talk is what hold leaves"),
        pytest.param(300.0, 0, 300, id="no hold"),
        pytest.param(300.0, None, 300, id="hold not known"),
        pytest.param(300.0, "40", 300, id="hold is no number"),
        pytest.param(300.9, 40, 260, id="whole seconds, rounded down"),
        pytest.param(40.0, 40, 0, id="on hold all along"),
        pytest.param(39.4, 40, 0, id="below zero by rounding only"),
        pytest.param(39.0, 40, None, id="a second below zero"),
        pytest.param(-5.0, 0, None, id="work began before the call"),
    ],
)
def test_talk_time(talked: float, hold: object, expected: int | None) -> None:
    info = {
        "ConnectedToAgentTimestamp": CONNECTED,
        "AgentInitiatedHoldDuration": hold,
        "AfterContactWorkStartTimestamp": CONNECTED + timedelta(seconds=talked),
    }
    assert from_described(described(AgentInfo=info), Source.CONTACT_EVENT).interaction_seconds == expected


def without_work(started: datetime | None = None, **contact: Any) -> dict[str, Any]:
    """A call whose agent entered no after-contact work."""
    info = {**described()["AgentInfo"], "AfterContactWorkStartTimestamp": started}
    return described(AgentInfo=info, **contact)


@pytest.mark.parametrize("started", [None, NEVER])
def test_without_after_contact_work_talk_time_ends_with_the_call(started: datetime | None) -> None:
    assert from_described(without_work(started), Source.CONTACT_EVENT).interaction_seconds == 261


@pytest.mark.parametrize(
    "contact",
    [
        {"NextContacts": [{"Type": "QUICK_CONNECT"}]},
        {"DisconnectReason": "THIRD_PARTY_DISCONNECT"},
        {"DisconnectReason": "third_party_disconnect"},
    ],
)
def test_talk_time_is_unknown_where_the_call_went_on_without_the_agent(contact: Mapping[str, Any]) -> None:
    went_on = from_described(without_work(**contact), Source.CONTACT_EVENT)
    assert went_on.interaction_seconds is None
    worked = from_described(described(**contact), Source.CONTACT_EVENT)
    assert worked.interaction_seconds == 260, "after-contact work says when the agent's part was over"


def test_a_third_party_that_hung_up_is_no_contact_that_goes_on() -> None:
    """It says something of the talk, and nothing of a missed call."""
    assert not from_described(described(DisconnectReason="THIRD_PARTY_DISCONNECT"), Source.CONTACT_EVENT).handed_on


def test_talk_time_ends_with_after_contact_work_and_not_with_the_call() -> None:
    transferred = described(DisconnectTimestamp=AFTER_CALL + timedelta(hours=1))
    assert from_described(transferred, Source.CONTACT_EVENT).interaction_seconds == 260


@pytest.mark.parametrize(
    "recordings",
    [
        None,
        [],
        "text",
        [None],
        pytest.param([recording(Status="DELETED")], id="deleted"),
        pytest.param([recording(StorageType="KINESIS_VIDEO_STREAM")], id="kinesis"),
        pytest.param([recording(MediaStreamType="VIDEO")], id="video"),
        pytest.param([recording(Location=None)], id="nowhere"),
        pytest.param([recording(Location=" ")], id="blank"),
    ],
)
def test_a_recording_nobody_can_listen_to_is_none(recordings: object) -> None:
    assert from_described(described(Recordings=recordings), Source.CONTACT_EVENT).recording is None


def test_a_recording_may_be_of_no_length() -> None:
    recordings = [recording(StopTimestamp=CONNECTED)]
    assert from_described(described(Recordings=recordings), Source.CONTACT_EVENT).recording == Recording(RECORDING, 0)


@pytest.mark.parametrize("member", ["MediaStreamType", "Status", "ParticipantType"])
def test_a_recording_of_no_stated_kind_is_audio_and_there(member: str) -> None:
    for entry in (without(recording(), (member,)), recording(**{member: None})):
        contact = from_described(described(Recordings=[entry]), Source.CONTACT_EVENT)
        assert contact.recording == Recording(RECORDING, 301)


def test_the_documentations_name_of_the_storage_is_known() -> None:
    entry = recording(StorageType="Amazon S3")
    assert from_described(described(Recordings=[entry]), Source.CONTACT_EVENT).recording == Recording(RECORDING, 301)


IVR_LOCATION = "bucket/connect/example/CallRecordings/ivr/2026/11/22/call.wav"
IVRS = (
    recording(ParticipantType="IVR", Location="bucket/ivr.wav"),
    recording(ParticipantType="IVR", Location=IVR_LOCATION, MediaStreamType=None, Status=None),
    recording(ParticipantType=None, Location=IVR_LOCATION),
)


@pytest.mark.parametrize("ivr", IVRS)
def test_the_agents_recording_goes_before_the_ivrs_in_either_order(ivr: Mapping[str, object]) -> None:
    for recordings in ([ivr, recording()], [recording(), ivr]):
        contact = from_described(described(Recordings=recordings), Source.CONTACT_EVENT)
        assert contact.recording == Recording(RECORDING, 301)


@pytest.mark.parametrize("agents", [[], [recording(Status="DELETED")], [recording(MediaStreamType="VIDEO")]])
@pytest.mark.parametrize("ivr", IVRS)
def test_an_ivrs_recording_is_for_calls_that_no_agent_took(
    ivr: Mapping[str, object], agents: list[Mapping[str, object]]
) -> None:
    answered = from_described(described(Recordings=[ivr, *agents]), Source.CONTACT_EVENT)
    missed = from_described(described(Recordings=[*agents, ivr], AgentInfo=None), Source.CONTACT_EVENT)
    assert answered.recording is None
    assert missed.recording == Recording(str(ivr["Location"]), 301)


def test_a_folder_that_a_customer_named_ivr_is_not_the_automated_part() -> None:
    entry = recording(Location="ivr/connect/ivr/2026/11/22/call.wav")
    assert from_described(described(Recordings=[entry]), Source.CONTACT_EVENT).recording is not None


def test_the_first_recording_one_can_listen_to_is_taken() -> None:
    recordings = [
        recording(StorageType="KINESIS_VIDEO_STREAM", Location="stream"),
        recording(Status="DELETED", Location="gone"),
        recording(Location="bucket/first.wav"),
        recording(Location="bucket/second.wav"),
    ]
    contact = from_described(described(Recordings=recordings), Source.CONTACT_EVENT)
    assert contact.recording == Recording("bucket/first.wav", 301)


@pytest.mark.parametrize(
    "changes",
    [
        {"StartTimestamp": None},
        {"StopTimestamp": None},
        {"StopTimestamp": CONNECTED - timedelta(seconds=1)},
        {"StartTimestamp": NEVER},
    ],
    ids=["no start", "no stop", "stopped before it began", "never began"],
)
def test_the_length_of_a_recording_may_be_unknown(changes: Mapping[str, object]) -> None:
    contact = from_described(described(Recordings=[recording(**changes)]), Source.CONTACT_EVENT)
    assert contact.recording == Recording(RECORDING, None)


# --- laws ----------------------------------------------------------------------------------------------------------

FULL_FLOW = flow_event({"startTime": "2026-11-22T09:30:00Z", "callAttributes": {"Age__c": 41}})


@given(one_field_replaced(FULL_FLOW))
def test_a_spoilt_flow_event_gives_a_contact_or_is_refused(event: dict[str, Any]) -> None:
    try:
        contact = from_flow(asked_by(event), INSTANCE_ID)
    except (InvalidInput, NotOurs):
        return
    assert is_one_path_segment(contact.contact_id)
    assert contact.contact_id == asked_by(event).contact_id


@given(one_field_replaced(contact_event()))
def test_a_spoilt_contact_event_gives_an_id_or_is_refused(event: dict[str, Any]) -> None:
    try:
        contact_id = finished_contact_id(asked_by(event), INSTANCE_ID)
    except (InvalidInput, NotOurs):
        return
    assert is_one_path_segment(contact_id)


@given(one_field_replaced(described()))
def test_a_spoilt_description_gives_a_contact_or_is_refused(contact: dict[str, Any]) -> None:
    try:
        made = from_described(contact, Source.CONTACT_EVENT)
    except (InvalidInput, NotOurs, NotFinishedYet):
        return
    assert is_one_path_segment(made.contact_id)
    queue_id(contact)
    agent_id(contact)


@given(ANY_JSON | one_field_replaced(FULL_FLOW) | one_field_replaced(contact_event()))
@example({"Name": []})
@example({"detail-type": {}})
def test_anything_at_all_has_a_source_or_is_invalid(event: object) -> None:
    with suppress(InvalidInput):
        asked = asked_by(event)
        assert asked.source in Source
        assert asked.contact_id == "" or is_one_path_segment(asked.contact_id)


@given(st.text())
def test_whatever_text_an_id_is_made_of_it_stays_within_the_path(contact_id: str) -> None:
    try:
        taken = flow_contact(ContactId=contact_id).contact_id
    except InvalidInput:
        return
    assert is_one_path_segment(taken)
    assert taken.lower() == contact_id.lower()


# Text and a number that stand in no message of ours.
MARKER = "Zaphod7731"
SPOILERS: Mapping[str, object] = {
    "text": MARKER,
    "text that looks like a path": f"../{MARKER}?x=1",
    "list": [MARKER],
    "object": {MARKER: MARKER},
    "number": 773177317731,
}


@pytest.mark.parametrize("spoiler", SPOILERS.values(), ids=SPOILERS)
def test_no_message_repeats_what_the_event_held(spoiler: object) -> None:
    private = re.compile(rf"{MARKER}|7731|{re.escape(CUSTOMER_NUMBER)}|{re.escape(SYSTEM_NUMBER)}|gold|Support")
    messages = []
    for valid, read in ((FULL_FLOW, from_flow), (contact_event(), finished_contact_id)):
        for path in paths(valid):
            event = with_replaced(valid, path, spoiler)
            try:
                read(asked_by(event), INSTANCE_ID)
            except VoiceCallSyncError as error:
                messages.append("".join(traceback.format_exception(error)))
    assert len(messages) >= 8
    assert [message for message in messages if private.search(message)] == []
