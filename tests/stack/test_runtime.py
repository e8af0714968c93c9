"""The built artifact under Lambda's own runtime, from an event to Salesforce: killed, timed out, misconfigured."""

import functools
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.alarm_topic import AlarmTopic
from tests.support.contacts import contact_event, flow_event, new_id
from tests.support.delivering import deliver
from tests.support.missed import ended, open_claim, pass_time, put, updated
from tests.support.sandbox import SCHEDULED
from tools.local.local_stack import ROOT, LocalStack
from tools.local.ministack import MiniStack
from tools.local.misbehaviour import Answer
from tools.local.runtime import Kit, LambdaRuntime
from tools.template import load, translate
from voicecall_sync.settings import RECONCILING, SENDING, WITH_DEAD_LETTERS

Start = Callable[..., LambdaRuntime]
Finished = Callable[[str], str]
FLOW, WORKER, RECONCILE = "UpdateVoiceCallFunction", "ContactQueueFunction", "ReconcileFunction"
BUSY = Answer(429, headers=(("Retry-After", "120"),))


@functools.cache
def resources() -> dict[str, Any]:
    translated: dict[str, Any] = translate(load(ROOT / "template.yaml"))["Resources"]
    return translated


@pytest.fixture
def start(kit: Kit, artifact: Path, stack: LocalStack, tmp_path: Path) -> Iterator[Start]:
    """Starts a function of the template against the local stack: its handler, its time-out, its variables alone."""
    quick = {"RECONCILE_SEARCHES_PER_SECOND": "100"}
    with ExitStack() as running:

        def function(
            name: str,
            *,
            folder: Path = artifact,
            timeout: int | None = None,
            without: tuple[str, ...] = (),
            **more: str,
        ) -> LambdaRuntime:
            properties = resources()[name]["Properties"]
            given = properties["Environment"]["Variables"].keys() - set(without)
            variables = {
                variable: value
                for variable, value in {**stack.environment(), **quick, **more}.items()
                if variable in given or variable.startswith("AWS_")
            }
            return running.enter_context(
                LambdaRuntime(
                    kit,
                    folder,
                    properties["Handler"],
                    timeout=timeout or properties["Timeout"],
                    environment=variables,
                    log=tmp_path / "function.log",
                )
            )

        yield function


class FunctionError(Exception):
    """The function raised, or did not live to answer."""


def taking(function: LambdaRuntime) -> Callable[[Any], Any]:
    """The function, as Lambda's event source mapping invokes it."""

    def invoke(event: object) -> object:
        answer = function.invoke(event)
        if not isinstance(answer, dict) or "errorMessage" in answer:
            raise FunctionError(answer)
        return answer

    return invoke


# --- what each function may do, and does -----------------------------------------------------------------------------

FOR_OTHERS = {
    # Lambda's mapping takes the messages with the function's permissions.
    WORKER: {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
    # Connect asks for it beside SearchContacts.
    RECONCILE: {"connect:DescribeContact"},
}
"""What a role allows though the function calls it not."""
SERVICE_OF = {
    "GetSecretValue": "secretsmanager",
    "Publish": "sns",
    **dict.fromkeys(("DescribeContact", "DescribeQueue", "DescribeUser", "SearchContacts"), "connect"),
    **dict.fromkeys(("SendMessage", "ChangeMessageVisibility", "GetQueueAttributes"), "sqs"),
    **dict.fromkeys(("GetItem", "PutItem", "UpdateItem", "BatchGetItem", "Query"), "dynamodb"),
}
OF_ANOTHER_NAME = {"SendMessageBatch": "SendMessage"}
"""Calls that go by the permission of another (Service Authorization Reference, Amazon SQS)."""


def allowed(function: str) -> set[str]:
    """The actions of a function's role, but those that Lambda itself makes for its log, and those of KMS."""
    role = resources()[function]["Properties"]["Role"]["Fn::GetAtt"][0]
    (policy,) = resources()[role]["Properties"]["Policies"]
    plain = [statement for statement in policy["PolicyDocument"]["Statement"] if "Action" in statement]
    actions = [action for statement in plain for action in _listed(statement["Action"])]
    return {action for action in actions if action.partition(":")[0] not in {"logs", "kms"}}


def _listed(actions: str | list[str]) -> list[str]:
    return [actions] if isinstance(actions, str) else actions


def called(stack: LocalStack) -> set[str]:
    """The permissions that the calls so far needed."""
    operations = {OF_ANOTHER_NAME.get(operation, operation) for operation in stack.gateway.calls}
    return {f"{SERVICE_OF[operation]}:{operation}" for operation in operations}


# --- what becomes of an event -----------------------------------------------------------------------------------------


def test_a_cold_start_fits_into_the_flows_eight_seconds(stack: LocalStack, start: Start) -> None:
    """Initialisation counts against the time-out, so this is what a flow's first call has."""
    assert resources()[FLOW]["Properties"]["Timeout"] == 8
    function, contact_id = start(FLOW), new_id()
    answer = function.invoke(flow_event(contact_id))
    assert {type(value) for value in answer.values()} == {str}
    assert answer["status"] == "UPDATED"
    assert function.invoke(flow_event(contact_id))["status"] == "DUPLICATE"
    assert stack.salesforce.applied(contact_id) == 1
    for put_off in (new_id() for _ in range(5)):  # on a busy machine a flow may have no time for SQS, and says so
        stack.salesforce.next(BUSY)
        answer = function.invoke(flow_event(put_off))
        assert answer["status"] == "RETRY_LATER"
        if "could not be left in the contact queue" not in answer["detail"]:
            break
    assert sum(put_off in body for body in stack.queue.bodies) == 1


def test_a_direct_contact_event_raises_to_come_again(stack: LocalStack, start: Start, finished: Finished) -> None:
    """Put off once more by a flow, the function has made each request that its role allows, and no other."""
    function, contact_id, put_off = start(FLOW), finished(new_id()), finished(new_id())
    assert function.invoke(contact_event(contact_id))["status"] == "UPDATED"
    stack.salesforce.next(BUSY)
    raised = function.invoke(contact_event(put_off))
    assert raised["errorType"] == "Redeliver"
    assert raised["errorMessage"].startswith("RETRY_LATER: ")
    assert updated(stack) == {contact_id}
    stack.salesforce.next(BUSY)
    assert function.invoke(flow_event(new_id()))["status"] == "RETRY_LATER"
    assert called(stack) == allowed(FLOW)


def test_messages_are_done_or_come_back_without_an_error(stack: LocalStack, start: Start, finished: Finished) -> None:
    """With an invalid one, the worker has made each request that its role allows, and no other."""
    function, contact_id, put_off = start(WORKER), finished(new_id()), finished(new_id())
    assert deliver(stack, taking(function), contact_event(contact_id)).is_done
    assert deliver(stack, taking(function), contact_event(contact_id)).is_done
    stack.salesforce.next(BUSY)
    answers = []

    def invoke(event: object) -> Any:
        answers.append(function.invoke(event))
        return answers[0]

    back = deliver(stack, invoke, contact_event(put_off))
    assert not back.is_done
    assert answers == [{"batchItemFailures": [{"itemIdentifier": back.message_id}]}]
    (message,) = stack.queue.messages
    assert message.visible_at > datetime.now(UTC) + timedelta(seconds=100)
    assert updated(stack) == {contact_id}
    assert function.invoke(contact_event(contact_id))["errorType"] == "InvalidInput"
    assert deliver(stack, taking(function), {"contactId": "..", "source": "operator"}).is_done
    assert len(stack.dead_letters.bodies) == 1
    assert called(stack) == allowed(WORKER) - FOR_OTHERS[WORKER]
    assert FOR_OTHERS[WORKER] <= allowed(WORKER)


def test_a_reconciliation_finds_and_the_worker_sends(stack: LocalStack, start: Start) -> None:
    missed = put(stack, *(ended(70 + number) for number in range(5)))
    function = start(RECONCILE)
    window = {"from": (datetime.now(UTC) - timedelta(hours=2)).isoformat()}
    listed = function.invoke({**window, "dryRun": True})["contacts"]
    assert {contact["contactId"] for contact in listed} == set(missed)
    assert function.invoke(SCHEDULED)["found"] == 0  # the first run looks at what ends from now on
    assert function.invoke(window)["enqueued"] == 5
    assert function.invoke(window)["known"] == 5
    refused = function.invoke({"from": "yesterday"})
    assert refused["errorType"] == "InvalidInput"
    assert refused["errorMessage"] == "from must be a moment with its zone, such as 2026-11-01T00:00:00Z"
    worker = start(WORKER)
    assert all(deliver(stack, taking(worker)).is_done for _ in missed)
    assert updated(stack) == set(missed)


def test_the_reconciliation_may_do_what_it_does_and_nothing_else(
    ministack: MiniStack, stack: LocalStack, start: Start
) -> None:
    put(stack, ended(60))
    open_claim(stack, new_id(), datetime.now(UTC) - timedelta(minutes=5))
    topic = AlarmTopic(ministack.url)
    function = start(RECONCILE, ALARM_TOPIC_ARN=topic.arn)
    function.invoke(SCHEDULED)
    function.invoke({"from": (datetime.now(UTC) - timedelta(hours=2)).isoformat()})
    assert called(stack) == allowed(RECONCILE) - FOR_OTHERS[RECONCILE]
    assert FOR_OTHERS[RECONCILE] <= allowed(RECONCILE)
    assert len(topic.published) == 1


def comes_again(stack: LocalStack, function: LambdaRuntime, contact_id: str) -> None:
    """A copy of the message comes at once, and the message itself once its visibility time-out is over."""
    assert deliver(stack, taking(function), contact_event(contact_id)).is_done
    assert stack.state(contact_id) == "CLAIMED"
    pass_time(stack, 360)
    assert deliver(stack, taking(function), contact_event(contact_id)).is_done
    assert stack.state(contact_id) == "UNCERTAIN"


@pytest.mark.parametrize("when", ["before_apply", "after_apply"])
def test_a_runtime_killed_in_the_middle_of_the_patch(
    stack: LocalStack, start: Start, when: str, finished: Finished
) -> None:
    function, contact_id = start(WORKER), finished(new_id())

    def kill(_: object) -> None:
        setattr(stack.salesforce, when, None)
        function.signal(signal.SIGKILL)

    setattr(stack.salesforce, when, kill)
    died = deliver(stack, taking(function), contact_event(contact_id))
    assert (died.is_done, "FunctionError" in str(died.error)) == (False, True)
    comes_again(stack, function, contact_id)
    assert stack.salesforce.applied(contact_id) <= 1


def test_a_time_out_in_the_middle_of_the_patch(stack: LocalStack, start: Start, finished: Finished) -> None:
    """The sandbox stands still, as if its processor had been taken away, until Lambda's time for it is up.

    With less than ten seconds the worker would not begin, and a busy machine takes some before it does.
    """
    function, contact_id = start(WORKER, timeout=16), finished(new_id())
    deliver(stack, taking(function), contact_event(finished(new_id())))  # warm from here on

    def freeze(_: object) -> None:
        stack.salesforce.after_apply = None
        function.signal(signal.SIGSTOP)

    stack.salesforce.after_apply = freeze
    assert "timed out" in str(deliver(stack, taking(function), contact_event(contact_id)).error)
    comes_again(stack, function, contact_id)
    assert stack.salesforce.applied(contact_id) == 1


def test_every_missing_variable_is_named_by_a_contact_flows_function(stack: LocalStack, start: Start) -> None:
    answer = start(FLOW, without=SENDING).invoke(flow_event(new_id()))
    assert (answer["status"], answer["detail"]) == ("RETRY_LATER", f"not set: {', '.join(SENDING)}")
    assert updated(stack) == set()


def test_the_worker_names_missing_variables_and_the_message_returns(
    stack: LocalStack, start: Start, finished: Finished
) -> None:
    needed = (*SENDING, *WITH_DEAD_LETTERS)
    function = start(WORKER, without=needed)
    back = deliver(stack, taking(function), contact_event(finished(new_id())))
    assert (back.is_done, back.error) == (False, None)
    assert f'"detail":"not set: {", ".join(needed)}"' in function.log.read_text(encoding="utf-8")
    assert len(stack.queue.bodies) == 1


def test_every_missing_variable_is_named_by_the_reconciliation(start: Start) -> None:
    raised = start(RECONCILE, without=RECONCILING).invoke(SCHEDULED)
    assert (raised["errorType"], raised["errorMessage"]) == ("WrongSettings", f"not set: {', '.join(RECONCILING)}")


def test_an_answer_stays_within_what_lambda_returns(start: Start) -> None:
    """Of ten thousand contacts by name, a thousand are named back: 6 MB is the limit."""
    answer = start(RECONCILE).invoke({"contactIds": [f"../{number}" for number in range(10_000)], "dryRun": True})
    assert answer["found"] == 10_000
    assert len(answer["contacts"]) == 1000


def test_an_artifact_that_lacks_a_package_does_not_pass(
    stack: LocalStack, start: Start, artifact: Path, tmp_path: Path
) -> None:
    lacking = tmp_path / "lacking"
    lacking.mkdir()
    for path in artifact.iterdir():
        if path.name != "jwt":
            (lacking / path.name).symlink_to(path)
    raised = start(FLOW, folder=lacking).invoke(flow_event(new_id()))
    assert "No module named 'jwt'" in str(raised)
    assert updated(stack) == set()
