"""``release`` and ``close``: only what may be, only when asked for, and only if nothing changed meanwhile."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.contacts import contact_event, new_id
from tests.operate.conftest import DeployedStack, Operate
from tests.sandbox import Sandbox
from tools.local.misbehaviour import Answer
from tools.local.stack import ROOT, LocalStack

NOW = int(time.time())


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


# --------------------------------------------------------------------------------------------------- one contact


def test_a_released_contact_is_sent_once_more(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, sandbox: Sandbox, finished: Callable[[str], str]
) -> None:
    contact_id = finished(new_id())
    stack.salesforce.next(Answer(400))
    sandbox.invoke(contact_event(contact_id))

    done = operate("--stack", deployed.name, "release", contact_id, typed="yes\n")

    assert done.status == 0
    for told in ("totalHoldDuration, numberOfHolds and agentInteractionDuration", "becomes zero", "closes the conv"):
        assert told in done.flat
    assert "The next reconciliation (within 15 minutes) sends it" in done.flat
    assert sandbox.invoke(contact_event(contact_id)).status == "UPDATED"
    record = stack.record(contact_id)
    assert record is not None
    assert (record["attempts"], record["releasedBy"]) == ({"N": "2"}, {"S": "root"})  # MiniStack's caller


@pytest.mark.parametrize("typed", ["no\n", "\n", "", "YES please\n"])
@pytest.mark.parametrize("command", ["release", "close"])
def test_nothing_is_done_without_a_yes(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack, command: str, typed: str
) -> None:
    contact_id = put("UNCERTAIN")
    before = stack.record(contact_id)

    done = operate("--stack", deployed.name, command, contact_id, typed=typed)

    assert done.status == 1
    assert done.out.endswith("Nothing was changed.\n")
    assert stack.record(contact_id) == before


@pytest.mark.parametrize(
    ("command", "state"),
    [
        *(("release", state) for state in ("UPDATED", "CLAIMED", "NOT_APPLIED", "SOMETHING")),
        *(("close", state) for state in ("UPDATED", "CLAIMED", "NOT_APPLIED", "REJECTED", "SOMETHING")),
    ],
)
def test_other_states_are_refused(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack, command: str, state: str
) -> None:
    contact_id = put(state)
    before = stack.record(contact_id)

    done = operate("--stack", deployed.name, command, contact_id, "--yes")

    assert done.status == 1
    assert f"contacts can be {command}d. Nothing was changed." in done.flat
    assert stack.record(contact_id) == before


@pytest.mark.parametrize("command", ["release", "close"])
def test_a_contact_without_a_record(operate: Operate, deployed: DeployedStack, command: str) -> None:
    done = operate("--stack", deployed.name, command, new_id(), "--yes")

    assert done.status == 1
    assert "nothing was ever sent for it" in done.flat


@pytest.mark.parametrize("command", ["release", "close"])
def test_a_contact_that_moved_on_while_it_was_shown(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack, command: str
) -> None:
    contact_id = put("UNCERTAIN")

    def settle_late(operation: str) -> None:
        if operation == "UpdateItem":
            stack.dynamodb.update_item(
                TableName=stack.table,
                Key={"contactId": {"S": contact_id}},
                UpdateExpression="SET #state = :updated",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={":updated": {"S": "UPDATED"}},
            )

    stack.gateway.before = settle_late

    done = operate("--stack", deployed.name, command, contact_id, "--yes")

    assert done.status == 1
    assert "It has moved on while it was shown: now UPDATED" in done.flat
    record = stack.record(contact_id)
    assert record is not None
    assert not {"releasedBy", "closedBy"} & record.keys()


def test_released_and_sent_at_once(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, sandbox: Sandbox, finished: Callable[[str], str]
) -> None:
    contact_id = finished(new_id())
    stack.salesforce.next(Answer(500))
    sandbox.invoke(contact_event(contact_id))
    deployed.deploy()

    done = operate("--stack", deployed.name, "release", contact_id, "--yes", "--now")

    assert (done.status, done.err) == (0, "")
    assert "UPDATED: Salesforce answered 200" in done.out
    assert stack.salesforce.applied(contact_id) == 1


def test_released_and_not_updated_at_once(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, sandbox: Sandbox, finished: Callable[[str], str]
) -> None:
    contact_id = finished(new_id())
    for _ in range(2):
        stack.salesforce.next(Answer(400))
    sandbox.invoke(contact_event(contact_id))
    deployed.deploy()

    done = operate("--stack", deployed.name, "release", contact_id, "--yes", "--now")

    assert done.status == 1
    assert "REJECTED: Salesforce answered 400" in done.out
    assert f"operate --stack {deployed.name} show {contact_id}" in done.flat


def test_closed(operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack) -> None:
    contact_id = put("UNCERTAIN")

    done = operate("--stack", deployed.name, "close", contact_id, typed="yes\n")

    assert done.status == 0
    record = stack.record(contact_id)
    assert record is not None
    assert (record["state"], record["closedBy"]) == ({"S": "UPDATED"}, {"S": "root"})
    assert "open" not in record
    assert operate("--stack", deployed.name, "attention").status == 0


@pytest.mark.parametrize(("line", "state"), [("release CONTACT", "NOT_APPLIED"), ("close CONTACT", "UPDATED")])
def test_as_the_page_on_operating_has_it(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack, line: str, state: str
) -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    contact_id = put("UNCERTAIN")

    assert f"\npython3 -m tools operate {line}\n" in page
    operate("--stack", deployed.name, *line.replace("CONTACT", contact_id).split(), typed="yes\n")

    assert stack.state(contact_id) == state


# --------------------------------------------------------------------------------------------------- many contacts


def test_many_are_released_by_what_they_have_in_common(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack
) -> None:
    wanted = {put("REJECTED", httpStatus=400, since=NOW - 100) for _ in range(23)}
    others = {
        put("REJECTED", httpStatus=403, since=NOW - 100),
        put("REJECTED", httpStatus=400, since=NOW - 1000),
        put("REJECTED", httpStatus=400, since=NOW),
        put("UNCERTAIN", httpStatus=400, since=NOW - 100),
    }
    words = ("release", "--state", "REJECTED", "--http-status", "400", "--since", iso(NOW - 500), "--until", iso(NOW))

    tried = operate("--stack", deployed.name, *words, "--dry-run")
    before = {stack.state(contact_id) for contact_id in wanted}
    done = operate("--stack", deployed.name, *words, typed="yes\n")

    assert (tried.status, done.status) == (0, 0)
    for said in (tried, done):
        assert "Contacts that match: 23" in said.out
        assert sum(contact_id in said.out for contact_id in wanted) == 20
        assert "…and 3 more" in said.out
    assert before == {"REJECTED"}
    assert "released 23; moved on meanwhile and left alone 0" in done.out
    assert {stack.state(contact_id) for contact_id in wanted} == {"NOT_APPLIED"}
    assert {stack.state(contact_id) for contact_id in others} == {"REJECTED", "UNCERTAIN"}


@pytest.mark.parametrize(("typed", "state"), [("yes\n", "UNCERTAIN"), ("3\n", "UNCERTAIN"), ("2\n", "NOT_APPLIED")])
def test_a_whole_state_is_released_only_by_its_number(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack, typed: str, state: str
) -> None:
    contacts = [put("UNCERTAIN") for _ in range(2)]

    done = operate("--stack", deployed.name, "release", "--state", "UNCERTAIN", typed=typed)

    assert "Type 2 to go on" in done.err
    assert {stack.state(contact_id) for contact_id in contacts} == {state}


def test_those_that_moved_on_are_counted(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack
) -> None:
    first, second = put("UNCERTAIN", since=NOW), put("UNCERTAIN", since=NOW - 1)

    def release_the_second(operation: str) -> None:
        if operation == "UpdateItem":
            stack.gateway.before = None
            operate("--stack", deployed.name, "release", second, "--yes")

    stack.gateway.before = release_the_second
    done = operate("--stack", deployed.name, "release", "--state", "UNCERTAIN", "--yes")

    assert "released 1; moved on meanwhile and left alone 1" in done.out
    assert {stack.state(contact_id) for contact_id in (first, second)} == {"NOT_APPLIED"}


def test_none_match(operate: Operate, deployed: DeployedStack) -> None:
    done = operate("--stack", deployed.name, "release", "--state", "REJECTED")

    assert (done.status, done.out) == (0, "No contact matches. Nothing was changed.\n")
