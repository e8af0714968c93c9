"""Valid events and contacts, ways to spoil them, and a clock that is moved by hand."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from voicecall_sync.connect.events import asked_by, from_flow
from voicecall_sync.contact import Contact
from voicecall_sync.outcome import Source

INSTANCE_ID = "1a2b3c4d-1234-4321-abcd-1234567890ef"
INSTANCE_ARN = f"arn:aws:connect:eu-central-1:111122223333:instance/{INSTANCE_ID}"
CONTACT_ID = "4a573372-1f28-4e26-b97b-5e2f6c1d7a11"
CUSTOMER_NUMBER = "+498912345678"
SYSTEM_NUMBER = "+18005550100"
RECORDING = "recordings-bucket/connect/example/CallRecordings/2026/11/22/call.wav"

STARTED = datetime(2026, 11, 22, 9, 30, 0, tzinfo=UTC)
ENQUEUED = STARTED + timedelta(seconds=10)
CONNECTED = STARTED + timedelta(seconds=30)
AFTER_CALL = STARTED + timedelta(seconds=330)
ENDED = STARTED + timedelta(seconds=331)
NEVER = datetime(1970, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)
"""Connect's "never happened"."""


# --- events, as Connect sends them -----------------------------------------------------------------------------------


def flow_event(parameters: Mapping[str, object] | None = None, **contact_data: object) -> dict[str, Any]:
    """Return the event of a contact flow; keywords replace fields of its ContactData."""
    return {
        "Name": "ContactFlowEvent",
        "Details": {
            "ContactData": {
                "Attributes": {"sfdc-Tier__c": "gold", "language": "de"},
                "AwsRegion": "eu-central-1",
                "Channel": "VOICE",
                "ContactId": CONTACT_ID,
                "CustomerEndpoint": {"Address": CUSTOMER_NUMBER, "Type": "TELEPHONE_NUMBER"},
                "CustomerId": None,
                "Description": "",
                "InitialContactId": CONTACT_ID,
                "InitiationMethod": "INBOUND",
                "InstanceARN": INSTANCE_ARN,
                "LanguageCode": "de-DE",
                "MediaStreams": {"Customer": {"Audio": None}},
                "Name": "",
                "PreviousContactId": CONTACT_ID,
                "Queue": {"ARN": f"{INSTANCE_ARN}/queue/q-1", "Name": "Support", "OutboundCallerId": None},
                "References": {},
                "RelatedContactId": None,
                "SegmentAttributes": {"connect:Subtype": {"ValueString": "connect:Telephony"}},
                "SystemEndpoint": {"Address": SYSTEM_NUMBER, "Type": "TELEPHONE_NUMBER"},
                "Tags": {"aws:connect:instanceId": INSTANCE_ID},
                **contact_data,
            },
            "Parameters": {} if parameters is None else dict(parameters),
        },
    }


def contact_event(**detail: object) -> dict[str, Any]:
    """Return EventBridge's event of a contact; keywords replace fields of its detail."""
    return {
        "version": "0",
        "id": "1c3b5a7d-0000-4000-8000-5e2f6c1d7a11",
        "detail-type": "Amazon Connect Contact Event",
        "source": "aws.connect",
        "account": "111122223333",
        "time": "2026-11-22T09:35:31Z",
        "region": "eu-central-1",
        "resources": [INSTANCE_ARN, f"{INSTANCE_ARN}/contact/{CONTACT_ID}"],
        "detail": {
            "eventType": "COMPLETED",
            "contactId": CONTACT_ID,
            "initialContactId": CONTACT_ID,
            "previousContactId": CONTACT_ID,
            "channel": "VOICE",
            "instanceArn": INSTANCE_ARN,
            "initiationMethod": "INBOUND",
            "initiationTimestamp": "2026-11-22T09:30:00.000Z",
            "disconnectTimestamp": "2026-11-22T09:35:31.000Z",
            "queueInfo": {"queueArn": f"{INSTANCE_ARN}/queue/q-1", "queueType": "STANDARD"},
            "agentInfo": {"agentArn": f"{INSTANCE_ARN}/agent/a-1"},
            "tags": {},
            **detail,
        },
    }


def described(**contact: object) -> dict[str, Any]:
    """Return the Contact of a DescribeContact answer; keywords replace its fields."""
    return {
        "Id": CONTACT_ID,
        "Arn": f"{INSTANCE_ARN}/contact/{CONTACT_ID}",
        "InitiationMethod": "INBOUND",
        "Channel": "VOICE",
        "InitiationTimestamp": STARTED,
        "DisconnectTimestamp": ENDED,
        "DisconnectReason": "CUSTOMER_DISCONNECT",
        "QueueInfo": {"Id": "q-1", "EnqueueTimestamp": ENQUEUED},
        "AgentInfo": {
            "Id": "a-1",
            "ConnectedToAgentTimestamp": CONNECTED,
            "AgentInitiatedHoldDuration": 40,
            "AfterContactWorkStartTimestamp": AFTER_CALL,
        },
        "CustomerEndpoint": {"Type": "TELEPHONE_NUMBER", "Address": CUSTOMER_NUMBER},
        "SystemEndpoint": {"Type": "TELEPHONE_NUMBER", "Address": SYSTEM_NUMBER},
        "Recordings": [recording()],
        "Attributes": {"sfdc-Tier__c": "gold", "callOrigin": "Preview"},
        **contact,
    }


def recording(**changes: object) -> dict[str, Any]:
    """Return an entry of Recordings; keywords replace its fields."""
    return {
        "StorageType": "S3",
        "Location": RECORDING,
        "MediaStreamType": "AUDIO",
        "ParticipantType": "ALL",
        "StartTimestamp": CONNECTED,
        "StopTimestamp": CONNECTED + timedelta(seconds=301),
        "Status": "AVAILABLE",
        **changes,
    }


def flow_contact(parameters: Mapping[str, object] | None = None, **contact_data: object) -> Contact:
    return from_flow(asked_by(flow_event(parameters, **contact_data)), INSTANCE_ID)


def finished_contact(**fields: Any) -> Contact:
    """Return a contact that is over, of which nothing is known but what the keywords say."""
    return Contact(CONTACT_ID, Source.CONTACT_EVENT, still_up=False, **fields)


# --- valid except one field -------------------------------------------------------------------------------------------

Path = tuple[str | int, ...]


def paths(value: object, here: Path = ()) -> Iterator[Path]:
    """Walk to everything inside a value: each member of each mapping, each entry of each list."""
    entries: Sequence[tuple[str | int, object]] = ()
    if isinstance(value, Mapping):
        entries = list(value.items())
    elif isinstance(value, list):
        entries = list(enumerate(value))
    for name, inner in entries:
        yield (*here, name)
        yield from paths(inner, (*here, name))


def with_replaced(whole: Mapping[str, Any], path: Path, value: object) -> dict[str, Any]:
    """Return a copy in which another value stands at the path."""
    changed = copy.deepcopy(dict(whole))
    _holder(changed, path)[path[-1]] = value
    return changed


def without(whole: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return a copy that lacks what is at the path."""
    changed = copy.deepcopy(dict(whole))
    del _holder(changed, path)[path[-1]]
    return changed


def _holder(whole: Any, path: Path) -> Any:
    for name in path[:-1]:
        whole = whole[name]
    return whole


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
"""Lone surrogates among it: JSON's escapes can spell them."""

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)

HOSTILE = st.sampled_from(
    [
        "",
        " ",
        ".",
        "..",
        "../x",
        "a/b",
        "a?b",
        "a#b",
        "a%2Fb",
        "a b",
        "a\n",
        "é",
        "\ud800",
        "x" * 257,
        "-",
        "API",
        "NaN",
    ]
)


@st.composite
def one_field_replaced(draw: st.DrawFn, valid: Mapping[str, Any]) -> dict[str, Any]:
    """Give the valid event back with one field, at any depth, gone or replaced by any JSON."""
    path = draw(st.sampled_from(list(paths(valid))))
    if draw(st.integers(0, 9)) == 0:
        return without(valid, path)
    return with_replaced(valid, path, draw(ANY_JSON | HOSTILE))


def is_one_path_segment(contact_id: str) -> bool:
    """It means itself as the last segment of a URL's path."""
    return bool(contact_id) and quote(contact_id, safe="") == contact_id and contact_id.strip(".") == contact_id
