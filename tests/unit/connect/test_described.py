from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given

from tests.support.builders import (
    AFTER_CALL,
    CONNECTED,
    ENDED,
    ENQUEUED,
    NEVER,
    RECORDING,
    STARTED,
    described,
    is_one_path_segment,
    one_field_replaced,
    recording,
    without,
)
from voicecall_sync.connect.described import agent_id, from_described, queue_id
from voicecall_sync.contact import Recording
from voicecall_sync.errors import InvalidInput, NotFinishedYet, NotOurs
from voicecall_sync.outcome import Source

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
def test_talk_time_is_unknown_if_the_call_went_on(contact: Mapping[str, Any]) -> None:
    went_on = from_described(without_work(**contact), Source.CONTACT_EVENT)
    assert went_on.interaction_seconds is None
    worked = from_described(described(**contact), Source.CONTACT_EVENT)
    assert worked.interaction_seconds == 260, "after-contact work says when the agent's part was over"


def test_no_next_contact_follows_a_third_partys_end() -> None:
    """It says something of the talk, and nothing of a missed call."""
    assert not from_described(described(DisconnectReason="THIRD_PARTY_DISCONNECT"), Source.CONTACT_EVENT).handed_on


def test_talk_time_ends_where_after_contact_work_begins() -> None:
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
def test_an_unusable_recording_is_left_out(recordings: object) -> None:
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


def test_a_customers_folder_named_ivr_is_not_the_automated_part() -> None:
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


# --- a law ---


@given(one_field_replaced(described()))
def test_a_spoilt_description_gives_a_contact_or_is_refused(contact: dict[str, Any]) -> None:
    try:
        made = from_described(contact, Source.CONTACT_EVENT)
    except (InvalidInput, NotOurs, NotFinishedYet):
        return
    assert is_one_path_segment(made.contact_id)
    queue_id(contact)
    agent_id(contact)
