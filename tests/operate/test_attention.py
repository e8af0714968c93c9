"""``attention``: what needs a person, and nothing else."""

import time
from collections.abc import Callable

import pytest

from tests.operate.conftest import DeployedStack, Operate
from tools.local.stack import LocalStack

NOW = int(time.time())


def test_nothing(operate: Operate, deployed: DeployedStack, put: Callable[..., str]) -> None:
    put("UPDATED")
    put("CLAIMED", ownerUntil=NOW + 600)
    put("NOT_APPLIED", retryAt=NOW - 60)

    done = operate("--stack", deployed.name, "attention")

    assert done.status == 0
    assert done.out.startswith("Nothing in the ledger of the stack")


@pytest.mark.parametrize(
    ("state", "values"),
    [
        ("UNCERTAIN", {}),
        ("REJECTED", {}),
        ("CLAIMED", {"ownerUntil": NOW - 120}),
        ("NOT_APPLIED", {"retryAt": NOW - 7200}),
        ("NOT_APPLIED", {"retryAt": NOW + 7200, "attempts": 5}),
    ],
)
def test_each_kind(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], state: str, values: dict[str, object]
) -> None:
    contact_id = put(state, **values)

    done = operate("--stack", deployed.name, "attention")

    assert done.status == 1
    assert contact_id in done.out
    assert done.out.startswith(f"1 {state}")


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


def test_never_scans(operate: Operate, deployed: DeployedStack, stack: LocalStack) -> None:
    stack.gateway.heal()

    operate("--stack", deployed.name, "attention")

    assert set(stack.gateway.calls) - {"/"} == {"Query"}


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
