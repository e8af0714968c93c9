"""A contact, and how it is made from each source. The only module, with connect/api.py, that knows Connect's spelling.

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
from voicecall_sync.times import moment_of

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

_IVR_FOLDER = "/CallRecordings/ivr/"
_IN_S3 = ("S3", "Amazon S3")  # the API's spelling, and the documentation's of contact records
_WENT_ON = "THIRD_PARTY_DISCONNECT"
"""Of the reasons of a disconnect the one that says that the call went on without the agent."""
_SYSTEM_ENDPOINT_TAG = "aws:connect:systemEndpoint"
_DIRECTION = "connect:Direction"
_WEBRTC_API = "WEBRTC_API"
_WEBRTC_NUMBERS = ("WebRTC_From", "WebRTC_To")
_WEBRTC_DEFAULT = "WebRTC_Default"  # what Salesforce's own Lambda sends where nothing is known
_AGENTS_OWN_QUEUE = "agent/"


class Initiation(StrEnum):
    """How a contact began, as far as a VoiceCall tells the difference."""

    INBOUND = "INBOUND"
    OUTBOUND = "OUTBOUND"
    TRANSFER = "TRANSFER"
    CALLBACK = "CALLBACK"


# API is missing here: it depends on the stated direction, or else on the endpoints. MONITOR, DISCONNECT, FLOW and the
# like begin no call of a customer's in a direction one could name; they stay unknown rather than guessed.
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


class CallSubType(StrEnum):
    """How the customer's voice came, as Salesforce's own Lambda tells the difference: by the initiation method."""

    PSTN = "PSTN"
    WEBRTC = "WebRTC"


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


class Scope(StrEnum):
    """Which finished voice contacts to update, of those that have no record."""

    NONE = "none"
    """No contact. A run still looks for expired claims and lost messages."""
    ABANDONED = "abandoned"
    """Waited in a queue, and was never connected to an agent."""
    UNANSWERED = "unanswered"
    """Never connected to an agent: abandoned, or ended in the contact flow."""
    ALL = "all"
    """Every one: it heals lost events and outages."""

    def takes(self, found: FoundContact, *, enqueued: bool) -> bool:
        """Tell whether a contact found is one of these. A contact queued for callback is not abandoned.

        Args:
            found: The contact.
            enqueued: Its call waited in a queue, in this leg or a later one.
        """
        if self is Scope.ALL:
            return True
        if self is Scope.NONE or found.connected_to_agent_at is not None:
            return False
        return self is Scope.UNANSWERED or (enqueued and not found.callback)


SEARCHED = tuple(scope for scope in Scope if scope is not Scope.NONE)
"""The scopes that a request by hand may name."""


@dataclass(frozen=True, slots=True)
class Contact:
    """What we know of one voice contact. Times are in UTC, durations in whole seconds; None is "not known".

    Attributes:
        contact_id: Connect's ContactId, fit to stand in a URL's path.
        still_up: The call is not over; it must not be closed by an update.
        attributes: The contact attributes that are not empty. Connect's are strings, but dirty events hold other
            scalars.
        parameters: What a contact flow's block passes as function input parameters; empty elsewhere.
        parent_contact_id: The contact that this one goes on from.
        names_gone: Which names Connect did not have any more: "queue", "agent".
        interaction_seconds: Talk time without hold time.
        work_ended_at: When the agent's after-contact work ended.
        handed_on: Another contact goes on from this one.
        method: Its initiation method, in upper case.
        has_recordings: Connect names any recording of it, a video stream among them.
    """

    contact_id: str
    source: Source
    still_up: bool
    initiation: Initiation | None = None
    from_number: str | None = None
    to_number: str | None = None
    call_sub_type: CallSubType | None = None
    parent_contact_id: str | None = None
    queue: str | None = None
    agent: str | None = None
    names_gone: tuple[str, ...] = ()
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
        event_time: When a contact event was sent, as its envelope says; None for other sources, and where it does not.
    """

    source: Source
    contact_id: str
    details: Mapping[str, object]
    event_time: datetime | None = None


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
            contact_id = _usable_id(detail.get("contactid"))
            return Asked(Source.CONTACT_EVENT, contact_id, detail, moment_of(event.get("time")))
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
    attributes = _filled(_optional_mapping(data, "Attributes", "Details.ContactData.Attributes"))
    initiation, from_number, to_number = _direction(data, attributes)
    return Contact(
        contact_id=contact_id,
        source=Source.CONTACT_FLOW,
        still_up=True,
        initiation=initiation,
        from_number=from_number,
        to_number=to_number,
        call_sub_type=_call_sub_type(data),
        parent_contact_id=_parent(data.get("PreviousContactId"), contact_id),
        queue=_text(_mapping(data.get("Queue")).get("Name")),
        attributes=attributes,
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

    Args:
        described: The contact.
        source: Who asked for it.

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
    handed_on = bool(described.get("NextContacts"))
    reason = _text(described.get("DisconnectReason"))
    talked_until = _time(agent_info.get("AfterContactWorkStartTimestamp"))
    if talked_until is None and not handed_on and (reason or "").upper() != _WENT_ON:
        talked_until = disconnected_at
    attributes = _filled(_mapping(described.get("Attributes")))
    initiation, from_number, to_number = _direction(described, attributes)
    return Contact(
        contact_id=contact_id,
        source=source,
        still_up=False,
        initiation=initiation,
        from_number=from_number,
        to_number=to_number,
        call_sub_type=_call_sub_type(described),
        parent_contact_id=_parent(described.get("PreviousContactId"), contact_id),
        initiated_at=_time(described.get("InitiationTimestamp")),
        enqueued_at=_time(_mapping(described.get("QueueInfo")).get("EnqueueTimestamp")),
        connected_to_agent_at=connected_at,
        disconnected_at=disconnected_at,
        disconnect_reason=reason,
        hold_seconds=hold_seconds,
        interaction_seconds=_interaction(connected_at, talked_until, hold_seconds),
        work_ended_at=_time(agent_info.get("AfterContactWorkEndTimestamp")),
        recording=_recording(described.get("Recordings"), answered=connected_at is not None),
        handed_on=handed_on,
        method=_method(described),
        has_recordings=bool(described.get("Recordings")),
        attributes=attributes,
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
        previous=_parent(hit.get("PreviousContactId"), _canonical(contact_id)),
    )


def _parent(value: object, own: str) -> str | None:
    """Return the id of the contact that this one goes on from; a fresh contact may carry its own id there."""
    previous = _usable_id(value)
    return previous if previous and previous != own else None


def queue_id(described: Mapping[str, object]) -> str | None:
    """Return the id of the queue a described contact was in, if any; an agent's own queue has no name to look up."""
    queue = _text(_mapping(described.get("QueueInfo")).get("Id"))
    return None if queue is None or queue.lower().startswith(_AGENTS_OWN_QUEUE) else queue


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


def _direction(
    data: Mapping[str, object], attributes: Mapping[str, object]
) -> tuple[Initiation | None, str | None, str | None]:
    """Return how the contact began, and the numbers it went from and to.

    Salesforce's own Lambdas take the system's number as the caller's for OUTBOUND and CALLBACK, and the
    customer's otherwise. They call every API contact INBOUND; yet for a voice contact with a customer's telephone
    number it is StartOutboundVoiceContact that made it, so that one is OUTBOUND, unless Connect says which it is.
    """
    customer = _mapping(data.get("CustomerEndpoint"))
    ours, theirs = _our_number(data), _text(customer.get("Address"))
    method = _method(data)
    initiation = _INITIATIONS.get(method)
    if method == "API":
        called = customer.get("Type") == "TELEPHONE_NUMBER" and theirs is not None
        initiation = _stated_direction(data) or (Initiation.OUTBOUND if called else Initiation.INBOUND)
    if method == _WEBRTC_API:
        of_caller, of_called = (_text(attributes.get(name)) for name in _WEBRTC_NUMBERS)
        return initiation, of_caller or theirs or _WEBRTC_DEFAULT, of_called or ours or _WEBRTC_DEFAULT
    if initiation in {Initiation.OUTBOUND, Initiation.CALLBACK}:
        return initiation, ours, theirs
    return initiation, theirs, ours


def _method(data: Mapping[str, object]) -> str:
    return (_text(data.get("InitiationMethod")) or "").upper()


def _call_sub_type(data: Mapping[str, object]) -> CallSubType | None:
    method = _method(data)
    if not method:
        return None
    return CallSubType.WEBRTC if method == _WEBRTC_API else CallSubType.PSTN


def _our_number(data: Mapping[str, object]) -> str | None:
    """Return the system's number, from the tag that Connect sets where it leaves out SystemEndpoint.

    It does so for callbacks and queue transfers.
    """
    address = _text(_mapping(data.get("SystemEndpoint")).get("Address"))
    return address or _text(_mapping(data.get("Tags")).get(_SYSTEM_ENDPOINT_TAG))


def _stated_direction(data: Mapping[str, object]) -> Initiation | None:
    stated = _text(_mapping(_mapping(data.get("SegmentAttributes")).get(_DIRECTION)).get("ValueString"))
    directions = (Initiation.INBOUND, Initiation.OUTBOUND)
    return next((direction for direction in directions if direction == (stated or "").upper()), None)


def _interaction(connected: datetime | None, talked_until: datetime | None, hold: int | None) -> int | None:
    """Return talk time: from the agent's connection to the start of after-contact work, less the hold time.

    Without after-contact work the end of the call stands in its place, unless the call went on without the agent.
    Less than a second below zero is the rounding of hold to whole seconds; further below, the figures contradict
    each other and nothing is known.
    """
    if connected is None or talked_until is None:
        return None
    seconds = (talked_until - connected) / timedelta(seconds=1) - (hold or 0)
    return max(0, int(seconds)) if seconds > -1 else None


def _recording(recordings: object, *, answered: bool) -> Recording | None:
    """Return the first recording of the agent that one could listen to: audio, in S3, not deleted.

    That of the automated part stands in its place where no agent was connected. Amazon Connect promises no order.
    """
    if not isinstance(recordings, Sequence) or isinstance(recordings, str):
        return None
    usable = [entry for entry in map(_mapping, recordings) if _is_usable(entry)]
    of_agents = [entry for entry in usable if not _is_of_ivr(entry)]
    return next(map(_as_recording, of_agents if of_agents or answered else usable), None)


def _is_usable(entry: Mapping[str, object]) -> bool:
    stream, status = entry.get("MediaStreamType"), entry.get("Status")
    is_there = _text(entry.get("Location")) is not None and entry.get("StorageType") in _IN_S3
    return is_there and (stream is None or stream == "AUDIO") and status != "DELETED"


def _is_of_ivr(entry: Mapping[str, object]) -> bool:
    return entry.get("ParticipantType") == "IVR" or _IVR_FOLDER in str(entry.get("Location"))


def _as_recording(entry: Mapping[str, object]) -> Recording:
    start, stop = _time(entry.get("StartTimestamp")), _time(entry.get("StopTimestamp"))
    seconds = int((stop - start).total_seconds()) if start and stop and stop >= start else None
    return Recording(_text(entry.get("Location")) or "", seconds)


def _time(value: object) -> datetime | None:
    """Return a moment in UTC; None for what never happened. botocore gives the machine's own zone, so convert."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    moment = value.astimezone(UTC)
    return moment if moment >= _FIRST_REAL_TIME else None


def _seconds(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def is_empty(value: object) -> bool:
    """Tell whether an attribute or a parameter holds nothing: a reference that led nowhere is null, or empty text."""
    return value is None or (isinstance(value, str) and not value.strip())


def _filled(attributes: Mapping[str, object]) -> Mapping[str, object]:
    return {name: value for name, value in attributes.items() if not is_empty(value)}


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
