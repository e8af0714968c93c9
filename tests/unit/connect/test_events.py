from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.builders import (
    ANY_JSON,
    CONTACT_ID,
    CUSTOMER_NUMBER,
    INSTANCE_ARN,
    INSTANCE_ID,
    SYSTEM_NUMBER,
    Path,
    contact_event,
    described,
    flow_contact,
    flow_event,
    is_one_path_segment,
    one_field_replaced,
    paths,
    with_replaced,
    without,
)
from voicecall_sync.connect.described import from_described
from voicecall_sync.connect.events import asked_by, finished_contact_id, from_flow
from voicecall_sync.contact import Initiation
from voicecall_sync.errors import InvalidInput, NotOurs, VoiceCallSyncError
from voicecall_sync.outcome import Source

OTHER_INSTANCE = INSTANCE_ARN.replace("1a2b3c4d-", "d4c3b2a1-")

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
def test_an_event_without_an_id_has_no_id(event: object) -> None:
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
    ],
)
def test_a_contact_of_our_instance_is_ours(arn: str) -> None:
    assert flow_contact(InstanceARN=arn).contact_id == CONTACT_ID
    assert finished_contact_id(asked_by(contact_event(instanceArn=arn)), INSTANCE_ID) == CONTACT_ID


@pytest.mark.parametrize("arn", [None, "", " ", 5, [INSTANCE_ARN]])
def test_a_flow_says_its_instance_and_an_event_need_not(arn: object) -> None:
    with pytest.raises(InvalidInput, match=r"^Details\.ContactData\.InstanceARN must be the ARN"):
        flow_contact(InstanceARN=arn)
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


@given(ANY_JSON | one_field_replaced(FULL_FLOW) | one_field_replaced(contact_event()))
@example({"Name": []})
@example({"detail-type": {}})
def test_anything_at_all_has_a_source_or_is_invalid(event: object) -> None:
    with suppress(InvalidInput):
        asked = asked_by(event)
        assert asked.source in Source
        assert asked.contact_id == "" or is_one_path_segment(asked.contact_id)


@given(st.text())
def test_an_id_of_any_text_stays_within_the_path(contact_id: str) -> None:
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
