"""A contact as values: a described contact, a contact that a search found, and the scopes of a run.

The folder ``connect`` makes them from Amazon Connect's answers and events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import assert_never

from voicecall_sync.errors import InvalidInput
from voicecall_sync.outcome import Source

CALLBACK_DIALED, CALLBACK_QUEUED = "CALLBACK_CUSTOMER_FIRST_DIALED", "CALLBACK_CUSTOMER_FIRST_QUEUED"
"""The two legs of a callback that calls the customer first (Administrator Guide); the second one only waits."""

UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""The ``completed_at`` of a contact whose COMPLETED event did not say when it was sent."""

# The id becomes the last segment of a URL's path. Letters, digits, "-" and "_" need no quoting there. A dot is not
# allowed, because ".." is a path of its own. The API's limit is 256 characters.
_CONTACT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,255}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


class Initiation(StrEnum):
    """How a contact began; the values are those of a VoiceCall."""

    INBOUND = "INBOUND"
    OUTBOUND = "OUTBOUND"
    TRANSFER = "TRANSFER"
    CALLBACK = "CALLBACK"


class CallSubType(StrEnum):
    """How the customer's voice came. The initiation method decides, as in Salesforce's own Lambda."""

    PSTN = "PSTN"
    WEBRTC = "WebRTC"


@dataclass(frozen=True, slots=True)
class Recording:
    """The location of a call's recording, and its length in whole seconds."""

    location: str
    seconds: int | None


@dataclass(frozen=True, slots=True)
class FoundContact:
    """A voice contact as a search describes it. Times are in UTC.

    Attributes:
        disconnected_at: When it ended; None while it goes on.
        callback: It is a callback, which waits in its queue without its customer.
        method: Its initiation method, in upper case.
        previous: The id of the contact before it; None for a call's first contact.
    """

    contact_id: str
    disconnected_at: datetime | None
    enqueued_at: datetime | None
    connected_to_agent_at: datetime | None
    callback: bool
    method: str = ""
    previous: str | None = None


class Scope(StrEnum):
    """The finished voice contacts to update, among those without a record."""

    NONE = "none"
    """No contact. A run still looks for expired claims and lost messages."""
    ABANDONED = "abandoned"
    """Waited in a queue, and was never connected to an agent."""
    UNANSWERED = "unanswered"
    """Never connected to an agent: abandoned, or ended in the contact flow."""
    ALL = "all"
    """Every one, so that lost events and outages cost no update."""

    def takes(self, contact: FoundContact, *, enqueued: bool) -> bool:
        """Tell whether a contact is in the scope. A contact queued for callback is not abandoned.

        Args:
            contact: The contact.
            enqueued: Its call waited in a queue, in this leg or a later one.
        """
        if self is Scope.ALL:
            return True
        if self is Scope.NONE or contact.connected_to_agent_at is not None:
            return False
        return self is Scope.UNANSWERED or (enqueued and not contact.callback)


SEARCHED = tuple(scope for scope in Scope if scope is not Scope.NONE)
"""The scopes that a request by hand may name."""


@dataclass(frozen=True, slots=True)
class Contact:
    """One voice contact. Times are in UTC, durations in whole seconds; None is "not known".

    Attributes:
        contact_id: Connect's ContactId, which needs no quoting in a URL's path.
        still_up: The call is not over, and an update must not close it.
        attributes: The contact attributes that are not empty. Connect's are strings; some events hold other scalars.
        parameters: The function input parameters of a contact flow's block; empty for other sources.
        parent_contact_id: The id of the contact before this one.
        names_gone: The names that Connect no longer had: "queue", "agent".
        interaction_seconds: Talk time without hold time.
        work_ended_at: When the agent's after-contact work ended.
        handed_on: The call went on as another contact.
        method: Its initiation method, in upper case.
        has_recordings: Connect lists a recording of any kind, also a video stream.
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
    """The content of an event or message, read once.

    Attributes:
        contact_id: "" if there is no valid one, which an answer could repeat.
        details: A contact flow's ``Details``; a contact event's ``detail``, with its names in lower case. Amazon's
            samples write them in several ways, such as instanceArn, InstanceArn and InstanceARN.
        event_time: When a contact event was sent, by its envelope; None for other sources, or without a valid time.
    """

    source: Source
    contact_id: str
    details: Mapping[str, object]
    event_time: datetime | None = None

    @property
    def completed_at(self) -> datetime | None:
        """When the COMPLETED event was sent: after-contact work is over. None for a source that cannot know that."""
        match self.source:
            case Source.CONTACT_EVENT:
                return self.event_time or UNKNOWN_TIME
            case Source.CONTACT_FLOW | Source.RECONCILE | Source.OPERATOR:
                return None
            case _:
                assert_never(self.source)


def usable_id(value: object) -> str:
    """Return a contact id, as Connect writes it; "" if the value is not one."""
    return canonical_id(value) if isinstance(value, str) and _CONTACT_ID.fullmatch(value) else ""


def contact_id_of(value: object, path: str) -> str:
    """Return a contact id, as Connect writes it.

    Args:
        value: The value to check.
        path: The path of the value in its event, for the error.

    Raises:
        InvalidInput: It is not a valid contact id.
    """
    if not isinstance(value, str) or not _CONTACT_ID.fullmatch(value):
        raise InvalidInput(path, "a contact id: 1 to 256 letters, digits, - or _")
    return canonical_id(value)


def canonical_id(contact_id: str) -> str:
    """Write a UUID in lower case, as Connect does, because one contact must not have two keys."""
    return contact_id.lower() if _UUID.fullmatch(contact_id) else contact_id


def is_empty(value: object) -> bool:
    """Tell whether an attribute or a Parameter is empty. A flow's reference without a value is null or empty text."""
    return value is None or (isinstance(value, str) and not value.strip())
