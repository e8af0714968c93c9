"""``redrive``: what the function takes is deleted, all else stays; nobody's number is shown."""

import json
from collections.abc import Callable

import pytest
import requests

from tests.contacts import CUSTOMER, SECRET_VALUE, contact_event, flow_event, new_id
from tests.operate.conftest import DeployedStack, Operate
from tools.local.misbehaviour import Answer
from tools.local.stack import LocalStack

WHY = "RETRY_LATER: Salesforce answered 429"


@pytest.fixture
def queue(deployed: DeployedStack) -> DeployedStack:
    """A stack with functions."""
    return deployed.deploy()


def test_what_is_taken_is_deleted(
    operate: Operate, queue: DeployedStack, stack: LocalStack, finished: Callable[[str], str]
) -> None:
    contact_id = finished(new_id())
    queue.fail_to_deliver(contact_event(contact_id, customer=CUSTOMER), WHY)

    done = operate("--stack", queue.name, "redrive")

    assert done.status == 0
    assert contact_id in done.out
    assert "1 taken and deleted, 0 left in the queue" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert CUSTOMER not in done.out + done.err
    assert stack.salesforce.applied(contact_id) == 1
    assert queue.undelivered() == 0


def test_what_fails_again_stays_and_says_why(
    operate: Operate, queue: DeployedStack, stack: LocalStack, finished: Callable[[str], str]
) -> None:
    failing, well = finished(new_id()), finished(new_id())
    stack.salesforce.next(Answer(429))
    queue.fail_to_deliver(contact_event(failing), WHY)
    queue.fail_to_deliver(contact_event(well), WHY)

    done = operate("--stack", queue.name, "redrive")

    assert done.status == 1
    assert "RETRY_LATER stays" in done.flat
    assert "Salesforce answered 429" in done.flat
    assert "1 taken and deleted, 1 left in the queue" in done.out
    assert stack.salesforce.received[0].status == 429
    assert len(stack.salesforce.received) == 2  # none twice in a run
    assert queue.undelivered() == 1  # to be seen by the next run at once
    assert operate("--stack", queue.name, "redrive").status == 0
    assert queue.undelivered() == 0


@pytest.mark.parametrize(
    "body",
    [
        {"detail-type": "something else", "customer": CUSTOMER},
        contact_event("c", eventType=None, customer=CUSTOMER),
        f"no JSON {CUSTOMER}",
    ],
)
def test_what_is_invalid_stays(operate: Operate, queue: DeployedStack, body: object) -> None:
    queue.fail_to_deliver(body, f"'{CUSTOMER}'")

    done = operate("--stack", queue.name, "redrive")

    assert done.status == 1
    assert "INVALID" in done.out
    assert "What is INVALID stays so" in done.out
    assert CUSTOMER not in done.out + done.err
    assert queue.undelivered() == 1


def test_a_flows_event_that_is_put_off_stays_though_nothing_is_raised(
    operate: Operate, queue: DeployedStack, stack: LocalStack
) -> None:
    stack.salesforce.next(Answer(429))
    queue.fail_to_deliver(flow_event(new_id()), "")

    done = operate("--stack", queue.name, "redrive")

    assert done.status == 1
    assert queue.undelivered() == 1
    assert SECRET_VALUE not in done.out


def test_a_dry_run_only_looks(operate: Operate, queue: DeployedStack, stack: LocalStack) -> None:
    contacts = [new_id() for _ in range(3)]
    for contact_id in contacts:
        queue.fail_to_deliver(contact_event(contact_id), WHY)
    queue.fail_to_deliver(contact_event(new_id()), f"KeyError: '{CUSTOMER}'")

    done = operate("--stack", queue.name, "redrive", "--dry-run")

    assert done.status == 0
    assert all(contact_id in done.out for contact_id in contacts)
    assert WHY in done.flat
    assert "the function failed" in done.flat
    assert CUSTOMER not in done.out
    assert "Messages: 4. Nothing was sent or deleted." in done.out
    assert stack.salesforce.received == []
    assert queue.undelivered() == 4


def test_no_more_than_asked_for(
    operate: Operate, queue: DeployedStack, stack: LocalStack, finished: Callable[[str], str]
) -> None:
    for _ in range(3):
        queue.fail_to_deliver(contact_event(finished(new_id())), WHY)

    done = operate("--stack", queue.name, "redrive", "--limit", "2")

    assert done.status == 0
    assert len(stack.salesforce.received) == 2
    assert queue.undelivered() == 1


def test_an_empty_queue(operate: Operate, deployed: DeployedStack) -> None:
    done = operate("--stack", deployed.name, "redrive")

    assert (done.status, done.out) == (0, "The dead-letter queue holds nothing that can be taken now.\n")


def test_without_a_queue_nothing_is_said_of_it(operate: Operate, stack: LocalStack) -> None:
    older = DeployedStack(stack).create(without="DeadLetterQueueUrl")

    refused = operate("--stack", older.name, "redrive")

    assert (refused.status, refused.out) == (2, "")
    assert "has no output DeadLetterQueueUrl" in refused.err


def test_a_function_that_is_not_there_costs_no_message(operate: Operate, deployed: DeployedStack) -> None:
    deployed.fail_to_deliver(contact_event(new_id()), WHY)

    refused = operate("--stack", deployed.name, "redrive")

    assert refused.status == 2
    assert refused.err == "AWS failed at Invoke: ResourceNotFoundException\n"
    assert deployed.undelivered() == 1


# ------------------------------------------------------------------------------------------------------- locally


def test_locally_an_event_that_failed_is_kept_and_redriven(locally: Operate, kept: dict[str, str]) -> None:
    failure = json.dumps({"behaviour": "Answer", "status": 429})
    requests.post(f"{kept['SALESFORCE']}/simulator/next", data=failure, timeout=5).raise_for_status()

    failed = locally("invoke", "events/contact-event-outbound.json")
    redriven = locally("operate", "--local", "redrive")
    empty = locally("operate", "--local", "redrive")

    assert failed.err.splitlines()[-1] == (
        "the event is in the dead-letter queue: python3 -m tools operate --local redrive"
    )
    assert (redriven.status, redriven.err) == (0, "")
    assert "3a1fc48e-d594-4203-b4b8-708192a3b4c5" in redriven.out
    assert "1 taken and deleted" in redriven.out
    assert "holds nothing" in empty.out


def test_locally_the_whole_way_of_a_rejected_contact(locally: Operate, kept: dict[str, str]) -> None:
    contact_id = "c3a85f17-6e2d-4b9c-8d41-0f1e2d3c4b5a"
    failure = json.dumps({"behaviour": "Answer", "status": 400})
    requests.post(f"{kept['SALESFORCE']}/simulator/next", data=failure, timeout=5).raise_for_status()
    locally("invoke", "events/contact-event-completed.json")

    needed = locally("operate", "--local", "attention", "--json")
    released = locally("operate", "--local", "release", contact_id, "--now", typed="yes\n")
    shown = locally("operate", "--local", "show", contact_id)
    settled = locally("operate", "--local", "attention")

    assert [contact["contactId"] for contact in needed.json["REJECTED"]["contacts"]] == [contact_id]
    assert (released.status, needed.status, shown.status, settled.status) == (0, 1, 0, 0)
    story = shown.flat.partition("the oldest first")[2]
    assert story.index("contact REJECTED") < story.index("contact UPDATED")
    assert "+1" not in shown.out
