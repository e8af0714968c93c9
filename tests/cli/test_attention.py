"""``attention``: what needs a person, and what waits."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.cli.conftest import DeployedStack, Operate
from tests.support.contacts import contact_event
from tools.local.local_stack import LocalStack

NOW = int(time.time())


def test_nothing(operate: Operate, deployed: DeployedStack, put: Callable[..., str]) -> None:
    put("UPDATED")
    put("CLAIMED", ownerUntil=NOW + 600)
    put("NOT_APPLIED", retryAt=NOW - 60, backBy=NOW + 60)

    done = operate("--stack", deployed.name, "attention")

    assert done.status == 0
    assert done.out.startswith("Nothing in the stack")


@pytest.mark.parametrize(
    ("state", "values", "heading"),
    [
        ("UNCERTAIN", {}, "1 UNCERTAIN"),
        ("REJECTED", {}, "1 REJECTED"),
        ("CLAIMED", {"ownerUntil": NOW - 120}, "1 CLAIMED, stuck"),
        ("NOT_APPLIED", {"deadLetteredAt": NOW - 7200}, "1 in the dead-letter queue"),
    ],
)
def test_each_kind(
    operate: Operate,
    deployed: DeployedStack,
    put: Callable[..., str],
    state: str,
    values: dict[str, object],
    heading: str,
) -> None:
    contact_id = put(state, **values, detail="the reason")

    done = operate("--stack", deployed.name, "attention")

    assert done.status == 1
    assert contact_id in done.out
    assert "the reason" in done.out
    assert done.out.startswith(heading)


def test_waiting_contacts_are_counted_and_shown_with_their_return(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str]
) -> None:
    contacts = [put("NOT_APPLIED", since=NOW - age, failures=3, backBy=NOW + 3600) for age in range(20, 32)]
    put("NOT_APPLIED", since=None, open=None, detail="ignored")

    done = operate("--stack", deployed.name, "attention")
    said = operate("--stack", deployed.name, "attention", "--json").json

    assert done.status == 0
    assert "12 waiting in the contact queue" in done.out
    assert f"{datetime.fromtimestamp(NOW + 3600, UTC):%Y-%m-%d %H:%M}" in done.out
    assert sum(contact_id in done.out for contact_id in contacts) == 10
    assert contacts[0] not in done.out
    assert "These 10 have waited longest" in done.out
    assert said["waiting"]["contacts"][0]["contactId"] == contacts[-1]
    assert (said["waiting"]["contacts"][0]["failures"], len(said["waiting"]["contacts"])) == (3, 12)


def test_those_that_have_waited_longest_come_first(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str]
) -> None:
    """A failed attempt begins the record's state anew, not the wait."""
    second = put("NOT_APPLIED", since=NOW - 600)
    first = put("NOT_APPLIED", since=NOW - 60, failedSince=NOW - 7200)
    said = operate("--stack", deployed.name, "attention", "--json").json
    assert [contact["contactId"] for contact in said["waiting"]["contacts"]] == [first, second]


def test_a_waiting_record_with_an_unknown_state_is_shown(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str]
) -> None:
    contact_id = put("EDITED BY HAND", since=NOW - 60, open="NOT_APPLIED")
    assert contact_id in operate("--stack", deployed.name, "attention").out


def test_contacts_are_counted_and_not_messages(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack
) -> None:
    contact_id = put("NOT_APPLIED", deadLetteredAt=NOW - 60)
    for _ in range(2):
        stack.dead_letters.send({"contactId": contact_id, "source": "reconcile"})

    done = operate("--stack", deployed.name, "attention")

    assert done.out.startswith("1 in the dead-letter queue")
    assert "Dead-letter queue: 2 ready, 0 in work or waiting to come back, 0 delayed; age" in done.flat


def test_a_message_that_names_no_contact_needs_a_person_too(
    operate: Operate, deployed: DeployedStack, stack: LocalStack
) -> None:
    stack.dead_letters.send("no JSON", {"Reason": "the message must be an event"})

    done = operate("--stack", deployed.name, "attention")

    assert done.status == 1
    assert f"voicecall-sync --stack {deployed.name} redrive --dry-run" in done.flat


def test_numbers_of_both_queues(operate: Operate, deployed: DeployedStack, stack: LocalStack) -> None:
    for delay in (0, 0, 60):
        stack.queue.send(contact_event("c"), delay=delay)
    stack.sqs.receive_message(QueueUrl=stack.queue.url, VisibilityTimeout=60)

    done = operate("--stack", deployed.name, "attention")
    said = operate("--stack", deployed.name, "attention", "--json").json

    assert (
        "Contact queue: 1 ready, 1 in work or waiting to come back, 1 delayed; age of the oldest unknown" in done.flat
    )
    assert "Dead-letter queue: 0 ready, 0 in work or waiting to come back, 0 delayed" in done.flat
    assert said["queues"]["contacts"] == {"ready": 1, "inFlight": 1, "delayed": 1, "oldestSeconds": None}


def test_the_age_is_cloudwatchs(operate: Operate, deployed: DeployedStack, stack: LocalStack) -> None:
    stack.queue.send(contact_event("c"), delay=0)
    deployed.client("cloudwatch").put_metric_data(
        Namespace="AWS/SQS",
        MetricData=[
            {
                "MetricName": "ApproximateAgeOfOldestMessage",
                "Dimensions": [{"Name": "QueueName", "Value": stack.queue.name}],
                "Timestamp": datetime.now(UTC),
                "Value": 7500.0,
            }
        ],
    )

    assert "0 delayed; the oldest 2 h 5 min" in operate("--stack", deployed.name, "attention").flat


def test_without_cloudwatch_the_age_is_unknown(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.queue.send(contact_event("c"), delay=0)
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:9")

    done = operate("--stack", deployed.name, "attention")

    assert (done.status, done.err) == (0, "")
    assert "0 delayed; age of the oldest unknown" in done.flat


def test_newest_first_and_no_more_than_asked_for(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str]
) -> None:
    old, older, new = (put("UNCERTAIN", since=NOW - age) for age in (20, 30, 10))

    limited = operate("--stack", deployed.name, "attention", "--limit", "2")
    said = operate("--stack", deployed.name, "attention", "--json").json

    assert limited.out.startswith("2 and more UNCERTAIN")
    assert limited.out.index(new) < limited.out.index(old)
    assert older not in limited.out
    assert "…and more" in limited.out
    assert said["needsAttention"] is True
    assert [contact["contactId"] for contact in said["UNCERTAIN"]["contacts"]] == [new, old, older]
    assert said["UNCERTAIN"]["more"] is False


def test_never_scans_and_never_receives(operate: Operate, deployed: DeployedStack, stack: LocalStack) -> None:
    stack.gateway.heal()

    operate("--stack", deployed.name, "attention")

    asked = {call.rpartition(".")[2] for call in stack.gateway.calls}
    assert asked <= {"DescribeStacks", "Query", "GetQueueAttributes", "GetMetricStatistics"}


@pytest.mark.parametrize("columns", ["80", "160"])
def test_loses_nothing_in_a_narrow_terminal(
    operate: Operate,
    deployed: DeployedStack,
    put: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
) -> None:
    contact_id = put("REJECTED", httpStatus=400, detail="Salesforce answered 400 INVALID_FIELD Tier__c")
    monkeypatch.setenv("COLUMNS", columns)

    done = operate("--stack", deployed.name, "attention")

    assert contact_id in done.out
    assert "Salesforce answered 400 INVALID_FIELD Tier__c" in done.flat
    assert max(map(len, done.out.splitlines())) <= int(columns)


def test_a_table_that_fails_is_said_in_a_line(operate: Operate, stack: LocalStack) -> None:
    gone = DeployedStack(stack)
    stack.dynamodb.delete_table(TableName=stack.table)

    refused = operate("--stack", gone.create().name, "attention")

    assert (refused.status, refused.out) == (2, "")
    assert refused.err == "the idempotency table failed at query: ResourceNotFoundException\n"
