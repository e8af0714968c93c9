"""``redrive``: SQS moves the messages of the dead-letter queue, always to the contact queue."""

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import DeployedStack, Operate
from tests.support.contacts import CUSTOMER, contact_event, new_id
from tools.local.local_stack import LocalStack
from voicecall_cli import redrive

WEEK = {"Reason": "not for a week: Salesforce answered 429"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrive, "LOOK_SECONDS", 0.01)


def test_all_is_moved_to_the_contact_queue(operate: Operate, deployed: DeployedStack, stack: LocalStack) -> None:
    contact_id = new_id()
    stack.dead_letters.send(contact_event(contact_id, customer=CUSTOMER), WEEK)
    stack.dead_letters.send({"contactId": new_id(), "source": "reconcile"})

    done = operate("--stack", deployed.name, "redrive", typed="yes\n")

    assert done.status == 0, done.err
    assert contact_id in done.out
    assert WEEK["Reason"] in done.flat
    assert "Dead-letter queue: 2 ready" in done.out
    assert "Messages moved: 2. The worker looks at them now." in done.out
    assert f"voicecall-sync --stack {deployed.name} attention" in done.flat
    assert max(map(len, done.out.splitlines())) <= 80
    assert CUSTOMER not in done.out + done.err
    assert (len(stack.dead_letters.messages), len(stack.queue.messages)) == (0, 2)


@pytest.mark.parametrize("typed", ["no\n", ""])
def test_nothing_is_moved_without_a_yes(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, typed: str
) -> None:
    stack.dead_letters.send(contact_event(new_id()), WEEK)

    done = operate("--stack", deployed.name, "redrive", typed=typed)

    assert done.status == 1
    assert "Move about 1 messages" in done.err
    assert done.out.endswith("Nothing was moved.\n")
    assert len(stack.dead_letters.messages) == 1


def test_a_dry_run_only_looks_and_hides_nothing(operate: Operate, deployed: DeployedStack, stack: LocalStack) -> None:
    stack.dead_letters.send({"detail-type": "something else", "customer": CUSTOMER}, {"Reason": "the message must be"})
    stack.dead_letters.send(f"no JSON {CUSTOMER}", {"ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": CUSTOMER})
    stack.dead_letters.send("something")

    done = operate("--stack", deployed.name, "redrive", "--dry-run")

    assert done.status == 0
    assert done.out.count("names no contact") == 3
    for told in ("the message must be", "NO_PERMISSIONS", "no reason is given", "What was invalid comes back here"):
        assert told in done.flat
    assert CUSTOMER not in done.out + done.err
    assert not any(message.is_in_flight for message in stack.dead_letters.messages)
    assert len(stack.dead_letters.messages) == 3


def test_more_than_are_shown(operate: Operate, deployed: DeployedStack, stack: LocalStack) -> None:
    for _ in range(12):
        stack.dead_letters.send(contact_event(new_id()), WEEK)

    tried = operate("--stack", deployed.name, "redrive", "--dry-run")
    done = operate("--stack", deployed.name, "redrive", "--yes")

    assert "These are 10 of about 12." in tried.flat
    assert "Messages moved: 12." in done.out


def test_an_empty_queue(operate: Operate, deployed: DeployedStack) -> None:
    done = operate("--stack", deployed.name, "redrive")

    assert (done.status, done.out) == (0, "The dead-letter queue is empty.\n")


def test_a_redrive_after_another(operate: Operate, deployed: DeployedStack, stack: LocalStack) -> None:
    """The earlier one is listed, too, and must not be taken for the new one."""
    for number in (1, 2):
        for _ in range(number):
            stack.dead_letters.send(contact_event(new_id()), WEEK)
        done = operate("--stack", deployed.name, "redrive", "--yes")

        assert f"Messages moved: {number}." in done.out


def test_one_that_is_under_way_is_followed(operate: Operate, deployed: DeployedStack, stack: LocalStack) -> None:
    for _ in range(3):
        stack.dead_letters.send(contact_event(new_id()), WEEK)
    stack.sqs.start_message_move_task(
        SourceArn=stack.dead_letters.arn, DestinationArn=stack.queue.arn, MaxNumberOfMessagesPerSecond=1
    )

    done = operate("--stack", deployed.name, "redrive")

    assert done.status == 0
    assert "a redrive is under way already" in done.err
    assert "Messages moved: 3." in done.out


def test_one_that_failed_says_why(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does where no destination was named."""
    stack.dead_letters.send(contact_event(new_id()), WEEK)
    monkeypatch.setattr(
        "voicecall_cli.queues.Queues.start_move",
        lambda _: stack.sqs.start_message_move_task(SourceArn=stack.dead_letters.arn),
    )

    done = operate("--stack", deployed.name, "redrive", "--yes")

    assert done.status == 1
    assert "The redrive ended FAILED: CouldNotDetermineMessageSource. Messages moved: 0" in done.flat
    assert len(stack.dead_letters.messages) == 1


def test_not_watched_for_ever(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redrive, "LONGEST_SECONDS", 0.0)
    for _ in range(5):
        stack.dead_letters.send(contact_event(new_id()), WEEK)
    stack.sqs.start_message_move_task(
        SourceArn=stack.dead_letters.arn, DestinationArn=stack.queue.arn, MaxNumberOfMessagesPerSecond=1
    )

    done = operate("--stack", deployed.name, "redrive")

    assert done.status == 1
    assert "SQS goes on moving by itself; the same command shows how far it is" in done.flat


def test_interrupted(
    operate: Operate,
    deployed: DeployedStack,
    stack: LocalStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack.dead_letters.send(contact_event(new_id()), WEEK)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(redrive, "_until_done", interrupt)

    done = operate("--stack", deployed.name, "redrive", "--yes")

    assert done.status == 130
    assert "SQS goes on moving by itself" in done.err


def test_without_a_queue_nothing_is_said_of_it(operate: Operate, stack: LocalStack) -> None:
    older = DeployedStack(stack).create(without="DeadLetterQueueUrl")

    refused = operate("--stack", older.name, "redrive")

    assert (refused.status, refused.out) == (2, "")
    assert "has no output DeadLetterQueueUrl" in refused.err


def test_a_redriven_contact_is_tried_for_another_week(
    operate: Operate,
    deployed: DeployedStack,
    stack: LocalStack,
    finished: Callable[[str], str],
    put: Callable[..., str],
) -> None:
    contact_id = finished(put("NOT_APPLIED", attempts=0, deadLetteredAt=1_700_000_000, failures=30))
    stack.dead_letters.send(json.dumps({"contactId": contact_id, "source": "operator"}), WEEK)

    needed = operate("--stack", deployed.name, "attention", "--json").json
    operate("--stack", deployed.name, "redrive", "--yes")

    assert [contact["contactId"] for contact in needed["DEAD_LETTERED"]["contacts"]] == [contact_id]
    assert [message.json["contactId"] for message in stack.queue.messages] == [contact_id]
