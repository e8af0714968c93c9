"""Events and contacts for the tests, as Amazon Connect spells them; numbers from the range reserved for fiction."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from tools.local.local_stack import INSTANCE_ARN

STARTED = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
CUSTOMER = "+15555550123"
SYSTEM = "+15555550199"
RECORDING = {
    "StorageType": "S3",
    "MediaStreamType": "AUDIO",
    "Location": "recordings/2026/11/20/call.wav",
    "Status": "AVAILABLE",
    "StartTimestamp": STARTED + timedelta(seconds=30),
    "StopTimestamp": STARTED + timedelta(minutes=5),
}
# What must never appear in a log: values that could not be there by chance.
SECRET_VALUE = "attribute-value-7f3a"


def new_id() -> str:
    return str(uuid4())


def flow_event(contact_id: str, parameters: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    data = {
        "Attributes": {"sfdc-Tier__c": SECRET_VALUE, "age": "41", "internal": SECRET_VALUE},
        "Channel": "VOICE",
        "ContactId": contact_id,
        "CustomerEndpoint": {"Address": CUSTOMER, "Type": "TELEPHONE_NUMBER"},
        "InitialContactId": contact_id,
        "InitiationMethod": "INBOUND",
        "InstanceARN": INSTANCE_ARN,
        "PreviousContactId": contact_id,
        "Queue": {"ARN": f"{INSTANCE_ARN}/queue/support", "Name": "Support", "OutboundCallerId": None},
        "SystemEndpoint": {"Address": SYSTEM, "Type": "TELEPHONE_NUMBER"},
        **changes,
    }
    return {"Name": "ContactFlowEvent", "Details": {"ContactData": data, "Parameters": parameters or {}}}


def contact_event(contact_id: str, event_type: str = "COMPLETED", **changes: Any) -> dict[str, Any]:
    detail = {
        "eventType": event_type,
        "contactId": contact_id,
        "initialContactId": contact_id,
        "channel": "VOICE",
        "instanceArn": INSTANCE_ARN,
        "initiationMethod": "INBOUND",
        "initiationTimestamp": "2026-11-20T09:30:00.000Z",
        "disconnectTimestamp": "2026-11-20T09:35:00.000Z",
        **changes,
    }
    return {
        "version": "0",
        "id": "00000000-0000-4000-8000-00000000ev01",
        "detail-type": "Amazon Connect Contact Event",
        "source": "aws.connect",
        "account": "111122223333",
        "region": "us-east-1",
        "resources": [],
        "time": "2026-11-20T09:35:01Z",
        "detail": detail,
    }


def described(contact_id: str, **changes: Any) -> dict[str, Any]:
    """A recorded inbound call that an agent took and held for ten seconds. A change to None removes a field."""
    contact = {
        "Id": contact_id,
        "Channel": "VOICE",
        "InitiationMethod": "INBOUND",
        "InitiationTimestamp": STARTED,
        "DisconnectTimestamp": STARTED + timedelta(minutes=5),
        "DisconnectReason": "CUSTOMER_DISCONNECT",
        "CustomerEndpoint": {"Type": "TELEPHONE_NUMBER", "Address": CUSTOMER},
        "SystemEndpoint": {"Type": "TELEPHONE_NUMBER", "Address": SYSTEM},
        "QueueInfo": {"Id": "queue-support", "EnqueueTimestamp": STARTED + timedelta(seconds=10)},
        "AgentInfo": {
            "Id": "agent-jane",
            "ConnectedToAgentTimestamp": STARTED + timedelta(seconds=30),
            "AgentInitiatedHoldDuration": 10,
            "AfterContactWorkStartTimestamp": STARTED + timedelta(minutes=5),
        },
        "Recordings": [RECORDING],
        "Attributes": {"sfdc-Tier__c": SECRET_VALUE, "age": "41", "internal": SECRET_VALUE},
        **changes,
    }
    return {name: value for name, value in contact.items() if value is not None}


def abandoned(contact_id: str, **changes: Any) -> dict[str, Any]:
    """A caller who waited in the queue and hung up."""
    return described(contact_id, **{"AgentInfo": None, "Recordings": None, **changes})
