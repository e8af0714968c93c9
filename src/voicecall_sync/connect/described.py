"""A contact as ``DescribeContact`` and ``SearchContacts`` give it (botocore's shapes)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from voicecall_sync.connect.fields import (
    INITIATIONS,
    VOICE,
    call_sub_type_of,
    direction_of,
    filled,
    mapping_of,
    method_of,
    parent_of,
    require_voice,
    text_of,
)
from voicecall_sync.contact import (
    Contact,
    FoundContact,
    Initiation,
    Recording,
    contact_id_of,
    usable_id,
)
from voicecall_sync.errors import NotFinishedYet
from voicecall_sync.outcome import Source

# Connect writes 1970-01-01T00:00:00.001Z for an event that never happened.
_FIRST_REAL_TIME = datetime(1971, 1, 1, tzinfo=UTC)


_IVR_FOLDER = "/CallRecordings/ivr/"
_IN_S3 = ("S3", "Amazon S3")  # the API's spelling, and the documentation's of contact records
_WENT_ON = "THIRD_PARTY_DISCONNECT"
"""The disconnect reason of a call that went on without the agent."""
_AGENTS_OWN_QUEUE = "agent/"


def from_described(described: Mapping[str, object], source: Source) -> Contact:
    """Make a contact from the answer of DescribeContact. The answer lacks the names of the queue and the agent.

    Args:
        described: The contact.
        source: The source of the request for an update.

    Raises:
        InvalidInput: The described contact has no usable id.
        NotFinishedYet: It has no DisconnectTimestamp yet.
        NotOurs: It is not a voice contact.
    """
    contact_id = contact_id_of(described.get("Id"), "Contact.Id")
    require_voice(described.get("Channel"), "Contact.Channel")
    disconnected_at = _time(described.get("DisconnectTimestamp"))
    if disconnected_at is None:
        raise NotFinishedYet("Amazon Connect does not describe the contact as finished yet")
    agent_info = mapping_of(described.get("AgentInfo"))
    connected_at = _time(agent_info.get("ConnectedToAgentTimestamp"))
    hold_seconds = _seconds(agent_info.get("AgentInitiatedHoldDuration")) if connected_at else None
    handed_on = bool(described.get("NextContacts"))
    reason = text_of(described.get("DisconnectReason"))
    talked_until = _time(agent_info.get("AfterContactWorkStartTimestamp"))
    if talked_until is None and not handed_on and (reason or "").upper() != _WENT_ON:
        talked_until = disconnected_at
    attributes = filled(mapping_of(described.get("Attributes")))
    initiation, from_number, to_number = direction_of(described, attributes)
    return Contact(
        contact_id=contact_id,
        source=source,
        still_up=False,
        initiation=initiation,
        from_number=from_number,
        to_number=to_number,
        call_sub_type=call_sub_type_of(described),
        parent_contact_id=parent_of(described.get("PreviousContactId"), contact_id),
        initiated_at=_time(described.get("InitiationTimestamp")),
        enqueued_at=_time(mapping_of(described.get("QueueInfo")).get("EnqueueTimestamp")),
        connected_to_agent_at=connected_at,
        disconnected_at=disconnected_at,
        disconnect_reason=reason,
        hold_seconds=hold_seconds,
        interaction_seconds=_interaction(connected_at, talked_until, hold_seconds),
        work_ended_at=_time(agent_info.get("AfterContactWorkEndTimestamp")),
        recording=_recording(described.get("Recordings"), answered=connected_at is not None),
        handed_on=handed_on,
        method=method_of(described),
        has_recordings=bool(described.get("Recordings")),
        attributes=attributes,
    )


def from_hit(contact: object) -> FoundContact | None:
    """Read one contact in an answer of SearchContacts; None if it is not a voice contact."""
    hit = mapping_of(contact)
    contact_id = usable_id(hit.get("Id"))
    if not contact_id or (text_of(hit.get("Channel")) or "").upper() != VOICE:
        return None
    return FoundContact(
        contact_id=contact_id,
        disconnected_at=_time(hit.get("DisconnectTimestamp")),
        enqueued_at=_time(mapping_of(hit.get("QueueInfo")).get("EnqueueTimestamp")),
        connected_to_agent_at=_time(mapping_of(hit.get("AgentInfo")).get("ConnectedToAgentTimestamp")),
        callback=INITIATIONS.get(method_of(hit)) is Initiation.CALLBACK,
        method=method_of(hit),
        previous=parent_of(hit.get("PreviousContactId"), contact_id),
    )


def queue_id(described: Mapping[str, object]) -> str | None:
    """Return the id of a described contact's queue; None without one. An agent's own queue does not count: no name."""
    queue = text_of(mapping_of(described.get("QueueInfo")).get("Id"))
    return None if queue is None or queue.lower().startswith(_AGENTS_OWN_QUEUE) else queue


def agent_id(described: Mapping[str, object]) -> str | None:
    """Return the id of the agent of a described contact; None if the contact was never connected to an agent."""
    agent_info = mapping_of(described.get("AgentInfo"))
    return text_of(agent_info.get("Id")) if _time(agent_info.get("ConnectedToAgentTimestamp")) else None


def _interaction(connected: datetime | None, talked_until: datetime | None, hold: int | None) -> int | None:
    """Return talk time: from the agent's connection to the start of after-contact work, less the hold time.

    Without after-contact work, the end of the call is taken, unless the call went on without the agent. Hold time is in
    whole seconds, so a result may be up to a second below zero: that is rounding. If it is further below, the figures
    contradict each other, and the talk time is not known.
    """
    if connected is None or talked_until is None:
        return None
    seconds = (talked_until - connected) / timedelta(seconds=1) - (hold or 0)
    return max(0, int(seconds)) if seconds > -1 else None


def _recording(recordings: object, *, answered: bool) -> Recording | None:
    """Return the agent's first usable recording: audio, in S3, not deleted.

    If no agent was connected, the recording of the automated part is taken. Amazon Connect promises no order.
    """
    if not isinstance(recordings, Sequence) or isinstance(recordings, str):
        return None
    usable = [recording for recording in map(mapping_of, recordings) if _is_usable(recording)]
    of_agents = [recording for recording in usable if not _is_of_ivr(recording)]
    return next(map(_as_recording, of_agents if of_agents or answered else usable), None)


def _is_usable(recording: Mapping[str, object]) -> bool:
    stream, status = recording.get("MediaStreamType"), recording.get("Status")
    is_there = text_of(recording.get("Location")) is not None and recording.get("StorageType") in _IN_S3
    return is_there and (stream is None or stream == "AUDIO") and status != "DELETED"


def _is_of_ivr(recording: Mapping[str, object]) -> bool:
    return recording.get("ParticipantType") == "IVR" or _IVR_FOLDER in str(recording.get("Location"))


def _as_recording(recording: Mapping[str, object]) -> Recording:
    start, stop = _time(recording.get("StartTimestamp")), _time(recording.get("StopTimestamp"))
    seconds = int((stop - start).total_seconds()) if start and stop and stop >= start else None
    return Recording(text_of(recording.get("Location")) or "", seconds)


def _time(value: object) -> datetime | None:
    """Return a moment in UTC; None if it never happened. botocore's times are in the machine's own zone."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    moment = value.astimezone(UTC)
    return moment if moment >= _FIRST_REAL_TIME else None


def _seconds(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
