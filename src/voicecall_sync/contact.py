"""A contact, and how it is made from each source. The only module, with connect.py, that knows Connect's spelling.

Shapes: the contact flow's event and the contact event are documented in the Amazon Connect Administrator
Guide ("Grant Amazon Connect access to your AWS Lambda functions", "Amazon Connect contact events"); the
described contact is botocore's ``DescribeContact`` output. Real events are dirtier than their documentation,
so everything here reads defensively: what is absent, null or of another type is "not known", but for the
few fields without which there is no contact to update; those raise ``InvalidInput`` and name the field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from voicecall_sync.errors import InvalidInput, NotFinishedYet, NotOurs
from voicecall_sync.outcome import Source

FINISHED_EVENT_TYPE = "COMPLETED"
"""DISCONNECTED comes before it, while after-contact work may go on: the time the agent talked is not known then."""
CALLBACK_DIALED, CALLBACK_QUEUED = "CALLBACK_CUSTOMER_FIRST_DIALED", "CALLBACK_CUSTOMER_FIRST_QUEUED"
"""The two legs of a callback that calls the customer first (Administrator Guide); the second one only waits."""

_CONTACT_EVENT = "Amazon Connect Contact Event"
_FLOW_EVENT_NAMES = frozenset({"ContactFlowEvent", "ContactFlowExecution"})
_VOICE = "VOICE"

# The id becomes the last segment of a URL's path. Letters, digits, "-" and "_" mean themselves there; a dot is
# left out because ".." is a path of its own. The API's limit is 256 characters.
_CONTACT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,255}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)

# Connect writes 1970-01-01T00:00:00.001Z for "never happened".
_FIRST_REAL_TIME = datetime(1971, 1, 1, tzinfo=UTC)


class Initiation(StrEnum):
    """How a contact began, as far as a VoiceCall tells the difference."""

    INBOUND = "INBOUND"
    OUTBOUND = "OUTBOUND"
    TRANSFER = "TRANSFER"
    CALLBACK = "CALLBACK"


# API is missing here: it depends on the endpoints. MONITOR, DISCONNECT, FLOW and the like begin no call of a
# customer's in a direction one could name; they stay unknown rather than guessed.
_INITIATIONS = MappingProxyType(
    {
        "INBOUND": Initiation.INBOUND,
        "WEBRTC_API": Initiation.INBOUND,
        "OUTBOUND": Initiation.OUTBOUND,
        "EXTERNAL_OUTBOUND": Initiation.OUTBOUND,
        "TRANSFER": Initiation.TRANSFER,
        "QUEUE_TRANSFER": Initiation.TRANSFER,
        "CALLBACK": Initiation.CALLBACK,
        CALLBACK_DIALED: Initiation.CALLBACK,
    }
)


@dataclass(frozen=True, slots=True)
class Recording:
    """Where the recording of a call lies, and how long it is, in whole seconds."""

    location: str
    seconds: int | None


@dataclass(frozen=True, slots=True)
class FoundContact:
    """A voice contact, as far as a search tells. Times are in UTC.

    Attributes:
        disconnected_at: When it ended; None while it goes on.
        callback: It is a callback, which waits in its queue without its customer.
        method: Its initiation method, in upper case.
        previous: The contact that it goes on from; None for none. A fresh contact may carry its own id there.
    """

    contact_id: str
    disconnected_at: datetime | None
    enqueued_at: datetime | None
    connected_to_agent_at: datetime | None
    callback: bool
    method: str = ""
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class Contact:
    """What we know of one voice contact. Times are in UTC, durations in whole seconds; None is "not known".

    Attributes:
        contact_id: Connect's ContactId, fit to stand in a URL's path.
        still_up: The call is not over; it must not be closed by an update.
        attributes: The contact attributes. Connect's are strings, but dirty events hold other scalars.
        parameters: What a contact flow's block passes as function input parameters; empty elsewhere.
        interaction_seconds: Talk time without hold time.
        work_ended_at: When the agent's after-contact work ended.
        handed_on: Connect names a contact that goes on from this one.
        method: Its initiation method, in upper case.
        has_recordings: Connect names any recording of it, a video stream among them.
    """

    contact_id: str
    source: Source
    still_up: bool
    initiation: Initiation | None = None
    from_number: str | None = None
    to_number: str | None = None
    queue: str | None = None
    agent: str | None = None
    initiated_at: datetime | None = None
    enqueued_at: datetime | None = None
    connected_to_agent_at: datetime | None = None
    disconnected_at: datetime | None = None
    disconnect_reason: str | None = None
    hold_seconds: int | None = None
    longest_hold_seconds: int | None = None
    number_of_holds: int | None = None
    interaction_seconds: int | None = None
    work_ended_at: datetime | None = None
    recording: Recording | None = None
    handed_on: bool = False
    method: str = ""
    has_recordings: bool = False
    attributes: Mapping[str, object] = field(default_factory=dict)
    parameters: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """What an event says, read once.

    Attributes:
        contact_id: "" where the event holds none that may be repeated in an answer.
        details: A contact flow's ``Details``; a contact event's ``detail``, with its names in lower case, because
            Amazon's samples have contactId and ContactId, instanceArn, InstanceArn and InstanceARN.
    """

    source: Source
    contact_id: str
    details: Mapping[str, object]


def asked_by(event: object) -> Asked:
    """Read an event, as far as it says which contact it is about; `from_flow` and `finished_contact_id` go on.

    Raises:
        InvalidInput: It is neither a contact flow's event nor a contact event.
    """
    if isinstance(event, Mapping):
        if "Details" in event or _text(event.get("Name")) in _FLOW_EVENT_NAMES:
            details = _mapping(event.get("Details"))
            contact_id = _usable_id(_mapping(details.get("ContactData")).get("ContactId"))
            return Asked(Source.CONTACT_FLOW, contact_id, details)
        if event.get("detail-type") == _CONTACT_EVENT:
            detail = {str(name).lower(): value for name, value in _mapping(event.get("detail")).items()}
            return Asked(Source.CONTACT_EVENT, _usable_id(detail.get("contactid")), detail)
    raise InvalidInput("event", f'a contact flow\'s event, or an EventBridge event of type "{_CONTACT_EVENT}"')


def _usable_id(value: object) -> str:
    return _canonical(value) if isinstance(value, str) and _CONTACT_ID.fullmatch(value) else ""


def from_flow(asked: Asked, instance_id: str) -> Contact:
    """Make a contact of the event that an "Invoke AWS Lambda function" block sends.

    The event holds no timestamps, disconnect reason, agent or recording: those can only come as Parameters.

    Args:
        asked: Its details are ``{"ContactData": {…}, "Parameters": {…}}``.
        instance_id: The Connect instance that is ours.

    Raises:
        InvalidInput: A field without which there is no update is missing or wrong.
        NotOurs: The contact is no voice contact, or another instance's.
    """
    details = asked.details
    data = _required_mapping(details, "ContactData", "Details.ContactData")
    contact_id = contact_id_of(data.get("ContactId"), "Details.ContactData.ContactId")
    _require_instance(data.get("InstanceARN"), instance_id, "Details.ContactData.InstanceARN")
    _require_voice(data.get("Channel"), "Details.ContactData.Channel")
    initiation, from_number, to_number = _direction(data)
    return Contact(
        contact_id=contact_id,
        source=Source.CONTACT_FLOW,
        still_up=True,
        initiation=initiation,
        from_number=from_number,
        to_number=to_number,
        queue=_text(_mapping(data.get("Queue")).get("Name")),
        attributes=_optional_mapping(data, "Attributes", "Details.ContactData.Attributes"),
        parameters=_optional_mapping(details, "Parameters", "Details.Parameters"),
    )


def finished_contact_id(asked: Asked, instance_id: str) -> str:
    """Return the id of the finished voice contact that a contact event tells of.

    Contact events lack the attributes, the customer's endpoint, the queue's name and the disconnect reason, so
    the id is all that is taken from them; the rest is described by Connect.

    Args:
        asked: Its details are the event's ``detail``, with names in lower case.
        instance_id: The Connect instance that is ours.

    Raises:
        InvalidInput: A field without which the event means nothing is missing or wrong.
        NotOurs: Not a voice contact, not finished, or another instance's.
    """
    detail = asked.details
    contact_id = contact_id_of(detail.get("contactid"), "detail.contactId")
    _require_instance(detail.get("instancearn"), instance_id, "detail.instanceArn")
    _require_voice(detail.get("channel"), "detail.channel")
    event_type = _text(detail.get("eventtype"))
    if event_type is None:
        raise InvalidInput("detail.eventType", "the name of a contact event, such as COMPLETED")
    if event_type.upper() != FINISHED_EVENT_TYPE:
        raise NotOurs("the contact is not finished: detail.eventType is not COMPLETED")
    return contact_id


def from_described(described: Mapping[str, object], source: Source) -> Contact:
    """Make a contact of what DescribeContact says. It does not say the names of the queue and the agent.

    Raises:
        InvalidInput: The described contact has no usable id.
        NotFinishedYet: It has no DisconnectTimestamp yet.
        NotOurs: It is no voice contact.
    """
    contact_id = contact_id_of(described.get("Id"), "Contact.Id")
    _require_voice(described.get("Channel"), "Contact.Channel")
    disconnected_at = _time(described.get("DisconnectTimestamp"))
    if disconnected_at is None:
        raise NotFinishedYet("Amazon Connect does not describe the contact as finished yet")
    agent_info = _mapping(described.get("AgentInfo"))
    connected_at = _time(agent_info.get("ConnectedToAgentTimestamp"))
    hold_seconds = _seconds(agent_info.get("AgentInitiatedHoldDuration")) if connected_at else None
    initiation, from_number, to_number = _direction(described)
    return Contact(
        contact_id=contact_id,
        source=source,
        still_up=False,
        initiation=initiation,
        from_number=from_number,
        to_number=to_number,
        initiated_at=_time(described.get("InitiationTimestamp")),
        enqueued_at=_time(_mapping(described.get("QueueInfo")).get("EnqueueTimestamp")),
        connected_to_agent_at=connected_at,
        disconnected_at=disconnected_at,
        disconnect_reason=_text(described.get("DisconnectReason")),
        hold_seconds=hold_seconds,
        interaction_seconds=_interaction(
            connected_at, _time(agent_info.get("AfterContactWorkStartTimestamp")), hold_seconds
        ),
        work_ended_at=_time(agent_info.get("AfterContactWorkEndTimestamp")),
        recording=_recording(described.get("Recordings")),
        handed_on=bool(described.get("NextContacts")),
        method=_method(described),
        has_recordings=bool(described.get("Recordings")),
        attributes=_mapping(described.get("Attributes")),
    )


def from_hit(found: object) -> FoundContact | None:
    """Make of a hit of SearchContacts what a search tells of a contact; None where it is no voice contact."""
    hit = _mapping(found)
    contact_id = hit.get("Id")
    if not isinstance(contact_id, str) or not _CONTACT_ID.fullmatch(contact_id):
        return None
    if (_text(hit.get("Channel")) or "").upper() != _VOICE:
        return None
    return FoundContact(
        contact_id=_canonical(contact_id),
        disconnected_at=_time(hit.get("DisconnectTimestamp")),
        enqueued_at=_time(_mapping(hit.get("QueueInfo")).get("EnqueueTimestamp")),
        connected_to_agent_at=_time(_mapping(hit.get("AgentInfo")).get("ConnectedToAgentTimestamp")),
        callback=_INITIATIONS.get(_method(hit)) is Initiation.CALLBACK,
        method=_method(hit),
        previous=_previous(hit),
    )


def _previous(hit: Mapping[str, object]) -> str | None:
    previous, own = hit.get("PreviousContactId"), hit.get("Id")
    if not isinstance(previous, str) or not isinstance(own, str) or _canonical(previous) == _canonical(own):
        return None
    return _canonical(previous)


def _method(data: Mapping[str, object]) -> str:
    return (_text(data.get("InitiationMethod")) or "").upper()


def queue_id(described: Mapping[str, object]) -> str | None:
    """Return the id of the queue a described contact was in, if any."""
    return _text(_mapping(described.get("QueueInfo")).get("Id"))


def agent_id(described: Mapping[str, object]) -> str | None:
    """Return the id of the agent a described contact was connected to; None if it never was."""
    agent_info = _mapping(described.get("AgentInfo"))
    return _text(agent_info.get("Id")) if _time(agent_info.get("ConnectedToAgentTimestamp")) else None


def contact_id_of(value: object, path: str) -> str:
    """Return a contact id, as Connect writes it.

    Args:
        value: What may be one.
        path: Where it stands, for the error.

    Raises:
        InvalidInput: It is none.
    """
    if not isinstance(value, str) or not _CONTACT_ID.fullmatch(value):
        raise InvalidInput(path, "a contact id: 1 to 256 letters, digits, - or _")
    return _canonical(value)


def _canonical(contact_id: str) -> str:
    """Write a UUID in lower case, as Connect does: one contact must not be two keys."""
    return contact_id.lower() if _UUID.fullmatch(contact_id) else contact_id


def _require_instance(arn: object, instance_id: str, path: str) -> None:
    """Let pass an ARN of our instance, or none: the ARN of some samples lacks parts, so only its end counts."""
    text = _text(arn)
    if text is None:
        return
    if text.rpartition("instance/")[2].partition("/")[0].lower() != instance_id.lower():
        raise NotOurs(f"the contact belongs to another Amazon Connect instance ({path})")


def _require_voice(channel: object, path: str) -> None:
    text = _text(channel)
    if text is None:
        raise InvalidInput(path, "the channel of the contact, VOICE for a call")
    if text.upper() != _VOICE:
        raise NotOurs(f"not a voice contact ({path})")


def _direction(data: Mapping[str, object]) -> tuple[Initiation | None, str | None, str | None]:
    """Return how the contact began, and the numbers it went from and to.

    Salesforce's own Lambdas take the system's number as the caller's for OUTBOUND and CALLBACK, and the
    customer's otherwise. They call every API contact INBOUND; yet for a voice contact with a customer's telephone
    number it is StartOutboundVoiceContact that made it, so that one is OUTBOUND.
    """
    customer, system = _mapping(data.get("CustomerEndpoint")), _mapping(data.get("SystemEndpoint"))
    method = _method(data)
    initiation = _INITIATIONS.get(method)
    if method == "API":
        called = customer.get("Type") == "TELEPHONE_NUMBER" and _text(customer.get("Address")) is not None
        initiation = Initiation.OUTBOUND if called else Initiation.INBOUND
    ours, theirs = _text(system.get("Address")), _text(customer.get("Address"))
    if initiation in {Initiation.OUTBOUND, Initiation.CALLBACK}:
        return initiation, ours, theirs
    return initiation, theirs, ours


def _interaction(connected: datetime | None, work_started: datetime | None, hold: int | None) -> int | None:
    """Return talk time: from the agent's connection to the start of after-contact work, less the hold time.

    The end of the call will not do in place of the start of after-contact work: after a transfer it comes later.
    Less than a second below zero is the rounding of hold to whole seconds; further below, the figures contradict
    each other and nothing is known.
    """
    if connected is None or work_started is None:
        return None
    seconds = (work_started - connected) / timedelta(seconds=1) - (hold or 0)
    return max(0, int(seconds)) if seconds > -1 else None


def _recording(recordings: object) -> Recording | None:
    """Return the first recording one could listen to: audio, in S3, not deleted."""
    if not isinstance(recordings, Sequence) or isinstance(recordings, str):
        return None
    for entry in map(_mapping, recordings):
        location = _text(entry.get("Location"))
        in_s3 = entry.get("StorageType") == "S3"
        audio = entry.get("MediaStreamType", "AUDIO") == "AUDIO"
        if location and in_s3 and audio and entry.get("Status") != "DELETED":
            start, stop = _time(entry.get("StartTimestamp")), _time(entry.get("StopTimestamp"))
            seconds = int((stop - start).total_seconds()) if start and stop and stop >= start else None
            return Recording(location, seconds)
    return None


def _time(value: object) -> datetime | None:
    """Return a moment in UTC; None for what never happened. botocore gives the machine's own zone, so convert."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    moment = value.astimezone(UTC)
    return moment if moment >= _FIRST_REAL_TIME else None


def _seconds(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _optional_mapping(parent: Mapping[str, object], name: str, path: str) -> Mapping[str, object]:
    value = parent.get(name)
    return {} if value is None else _required_mapping(parent, name, path)


def _required_mapping(parent: Mapping[str, object], name: str, path: str) -> Mapping[str, object]:
    value = parent.get(name)
    if not isinstance(value, Mapping):
        raise InvalidInput(path, "an object")
    return value
