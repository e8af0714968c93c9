"""The built artifact under Lambda's own runtime, from an event to Salesforce: killed, timed out, misconfigured."""

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.contacts import contact_event, flow_event, new_id
from tests.missed import answered, ended, open_claim, put, updated
from tests.sandbox import SCHEDULED
from tools.local.runtime import Kit, LambdaRuntime
from tools.local.stack import ROOT, LocalStack
from tools.template import load, translate
from voicecall_sync.settings import REQUIRED

Start = Callable[..., LambdaRuntime]
Finished = Callable[[str], str]
RESOURCES = translate(load(ROOT / "template.yaml"))["Resources"]


@pytest.fixture
def start(kit: Kit, artifact: Path, stack: LocalStack, tmp_path: Path) -> Iterator[Start]:
    """Starts a function of the template, with its handler and time-out, against the local stack."""
    quick = {"RECONCILE_SEARCHES_PER_SECOND": "100"}
    with ExitStack() as running:

        def function(
            name: str = "UpdateVoiceCallFunction",
            *,
            folder: Path = artifact,
            timeout: int | None = None,
            without: str = "",
            **changes: str,
        ) -> LambdaRuntime:
            properties = RESOURCES[name]["Properties"]
            variables = {**stack.environment(), **quick, **changes}
            variables.pop(without, None)
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


def test_an_event_a_flow_and_the_same_again(stack: LocalStack, start: Start, finished: Finished) -> None:
    function, contact_id, by_flow = start(), finished(new_id()), new_id()
    assert function.invoke(contact_event(contact_id))["status"] == "UPDATED"
    assert function.invoke(contact_event(contact_id))["status"] == "DUPLICATE"
    answer = function.invoke(flow_event(by_flow))
    assert {type(value) for value in answer.values()} == {str}
    assert answer["status"] == "UPDATED"
    assert [stack.salesforce.applied(call_id) for call_id in (contact_id, by_flow)] == [1, 1]


def test_a_cold_start_inside_a_flows_eight_seconds(stack: LocalStack, start: Start) -> None:
    """Initialisation counts against the time-out, so this is what a flow's first call has."""
    contact_id = new_id()
    assert start(timeout=8).invoke(flow_event(contact_id))["status"] == "UPDATED"
    assert stack.salesforce.applied(contact_id) == 1


def test_a_reconciliation(stack: LocalStack, start: Start) -> None:
    missed = put(stack, *(ended(60 + number) for number in range(5)))
    function = start("ReconcileFunction")
    assert function.invoke({"dryRun": True})["would"] == {"update": 5}
    assert function.invoke(SCHEDULED)["outcomes"] == {"UPDATED": 5}
    assert function.invoke(SCHEDULED)["skipped"] == 5
    assert updated(stack) == set(missed)
    refused = function.invoke({"from": "yesterday"})
    assert refused["errorType"] == "InvalidInput"
    assert refused["errorMessage"] == "from must be a moment with its zone, such as 2026-11-01T00:00:00Z"


@pytest.mark.parametrize("when", ["before_apply", "after_apply"])
def test_a_runtime_killed_in_the_middle_of_the_patch(
    stack: LocalStack, start: Start, when: str, finished: Finished
) -> None:
    function, contact_id = start(), finished(new_id())

    def kill(_: object) -> None:
        setattr(stack.salesforce, when, None)
        function.signal(signal.SIGKILL)

    setattr(stack.salesforce, when, kill)
    died = function.invoke(contact_event(contact_id))
    assert "status" not in died
    assert stack.state(contact_id) == "CLAIMED"
    assert function.invoke(contact_event(contact_id))["status"] == "DUPLICATE"
    assert stack.salesforce.applied(contact_id) <= 1


def test_a_time_out_in_the_middle_of_the_patch(stack: LocalStack, start: Start, finished: Finished) -> None:
    """The sandbox stands still, as if its processor had been taken away, until Lambda's time for it is up."""
    function, contact_id = start(timeout=6), finished(new_id())
    function.invoke(contact_event(finished(new_id())))  # warm from here on: a slow start would leave no time to send

    def freeze(_: object) -> None:
        stack.salesforce.after_apply = None
        function.signal(signal.SIGSTOP)

    stack.salesforce.after_apply = freeze
    assert "timed out" in str(function.invoke(contact_event(contact_id)))
    assert stack.state(contact_id) == "CLAIMED"
    assert function.invoke(contact_event(contact_id))["status"] == "DUPLICATE"
    assert stack.salesforce.applied(contact_id) == 1


@pytest.mark.parametrize("missing", REQUIRED)
def test_a_missing_variable_is_named_at_the_first_call(
    stack: LocalStack, start: Start, missing: str, finished: Finished
) -> None:
    function, contact_id = start(without=missing), finished(new_id())
    raised = function.invoke(contact_event(contact_id))
    assert (raised["errorType"], raised["errorMessage"]) == ("Redeliver", f"RETRY_LATER: not set: {missing}")
    assert function.invoke(flow_event(contact_id))["detail"] == f"not set: {missing}"
    assert updated(stack) == set()


def test_an_answer_stays_within_what_lambda_returns(start: Start) -> None:
    """Of ten thousand contacts by name, a thousand are named back: 6 MB is the limit."""
    function = start("ReconcileFunction")
    answer = function.invoke({"contactIds": [f"../{number}" for number in range(10_000)], "dryRun": True})
    assert answer["outcomes"] == {"INVALID": 10_000}
    assert len(answer["contacts"]) == 1000


def test_an_artifact_that_lacks_a_package_does_not_pass(
    stack: LocalStack, start: Start, artifact: Path, tmp_path: Path, finished: Finished
) -> None:
    lacking = tmp_path / "lacking"
    shutil.copytree(artifact, lacking, ignore=shutil.ignore_patterns("jwt"))
    raised = start(folder=lacking).invoke(contact_event(finished(new_id())))
    assert "No module named 'jwt'" in str(raised)
    assert updated(stack) == set()


# Asked for only where somebody else's write came in between, or a record went away: no test of this file gets there.
RARE = {"UpdateVoiceCallFunction": {"dynamodb:GetItem"}, "ReconcileFunction": set[str]()}
SERVICES = {
    "secretsmanager": {"GetSecretValue"},
    "connect": {"DescribeContact", "DescribeQueue", "DescribeUser", "SearchContacts"},
}


def allowed(role: str) -> set[str]:
    """The actions of a role's policy, but those that Lambda itself makes for the function, and those of KMS."""
    (policy,) = RESOURCES[role]["Properties"]["Policies"]
    plain = [statement for statement in policy["PolicyDocument"]["Statement"] if "Action" in statement]
    actions = [action for statement in plain for action in _listed(statement["Action"])]
    return {action for action in actions if action.partition(":")[0] not in {"logs", "sqs", "kms"}}


def _listed(actions: str | list[str]) -> list[str]:
    return [actions] if isinstance(actions, str) else actions


def action(operation: str) -> str:
    service = next((name for name, operations in SERVICES.items() if operation in operations), "dynamodb")
    return f"{service}:{operation}"


def test_the_policies_allow_what_is_called_and_nothing_else(
    stack: LocalStack, start: Start, finished: Finished
) -> None:
    stack.gateway.heal()
    start().invoke(contact_event(finished(new_id())))
    called = {action(operation) for operation in stack.gateway.calls}
    assert called | RARE["UpdateVoiceCallFunction"] == allowed("UpdateVoiceCallRole")
    stack.gateway.heal()
    put(stack, answered(60))
    open_claim(stack, new_id(), datetime.now(UTC) - timedelta(minutes=5))
    start("ReconcileFunction", RECONCILE_SCOPE="all").invoke(SCHEDULED)
    called = {action(operation) for operation in stack.gateway.calls}
    assert called | RARE["ReconcileFunction"] == allowed("ReconcileRole")
