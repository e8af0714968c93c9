"""Contacts for the reconciliation, by how long ago they ended, and what it made of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.contacts import described, new_id
from tools.local.local_stack import LocalStack

MINUTES = timedelta(minutes=1)
QUOTAS_LIFTED = {"RECONCILE_SEARCHES_PER_SECOND": "1000"}
MOMENTS = ("since", "ownerUntil", "claimedAt", "settledAt", "metAt", "retryAt", "backBy", "failedSince")


def ended(minutes_ago: float, **changes: Any) -> dict[str, Any]:
    """A caller who waited in the queue and hung up, so long ago; a change to None takes something out."""
    end = datetime.now(UTC) - minutes_ago * MINUTES
    times = {
        "InitiationTimestamp": end - 5 * MINUTES,
        "QueueInfo": {"Id": "queue-support", "EnqueueTimestamp": end - 4 * MINUTES},
        "DisconnectTimestamp": end,
    }
    return described(new_id(), **{**times, "AgentInfo": None, "Recordings": None, **changes})


def answered(minutes_ago: float, **changes: Any) -> dict[str, Any]:
    """A call that an agent took."""
    end = datetime.now(UTC) - minutes_ago * MINUTES
    agent = {
        "Id": "agent-jane",
        "ConnectedToAgentTimestamp": end - 3 * MINUTES,
        "AgentInitiatedHoldDuration": 10,
        "AfterContactWorkStartTimestamp": end,
        "AfterContactWorkEndTimestamp": end,
    }
    return ended(minutes_ago, **{"AgentInfo": agent, **changes})


def in_the_flow(minutes_ago: float, **changes: Any) -> dict[str, Any]:
    """A call that ended in the contact flow, before any queue."""
    return ended(minutes_ago, **{"QueueInfo": None, **changes})


def put(stack: LocalStack, *contacts: dict[str, Any]) -> list[str]:
    """Let Connect know of contacts, and return their ids."""
    stack.connect.put_contacts(contacts)
    return [contact["Id"] for contact in contacts]


def updated(stack: LocalStack) -> set[str]:
    """The contacts that Salesforce got an update of; never two of one."""
    applied = [call_id for call_id in stack.salesforce.voice_calls if stack.salesforce.applied(call_id)]
    assert all(stack.salesforce.applied(call_id) == 1 for call_id in applied)
    return set(applied)


def table(stack: LocalStack) -> list[dict[str, Any]]:
    items = stack.dynamodb.scan(TableName=stack.table, ConsistentRead=True)["Items"]
    return sorted((dict(item) for item in items), key=lambda item: str(item["contactId"]))


def pass_time(stack: LocalStack, seconds: float) -> None:
    """Let so much time pass for the ledger: all moments in it move into the past."""
    for item in table(stack):
        moved = {
            name: {"N": str(float(value["N"]) - seconds)} if name in MOMENTS else value for name, value in item.items()
        }
        stack.dynamodb.put_item(TableName=stack.table, Item=moved)


def open_claim(stack: LocalStack, contact_id: str, owner_until: datetime) -> None:
    """Let the ledger have an expired claim, of an invocation that was over then."""
    since = str(owner_until.timestamp() - 30)
    stack.dynamodb.put_item(
        TableName=stack.table,
        Item={
            "contactId": {"S": contact_id},
            "state": {"S": "CLAIMED"},
            "open": {"S": "CLAIMED"},
            "since": {"N": since},
            "owner": {"S": new_id()},
            "ownerUntil": {"N": str(owner_until.timestamp())},
            "source": {"S": "contact-event"},
            "claimedAt": {"N": since},
            "metAt": {"N": since},
            "attempts": {"N": "1"},
        },
    )
