"""What docs/personal-data.md says of a request for erasure: what may be erased of a record, and what must stay."""

import json
import re
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from tests.support.contacts import contact_event, new_id
from tests.support.sandbox import Sandbox
from tools.local.local_stack import ROOT, LocalStack

PAGE = (ROOT / "docs" / "personal-data.md").read_text(encoding="utf-8")
[COMMAND] = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


def option(name: str) -> str:
    [value] = re.findall(rf"--{name} '([^']*)'", COMMAND)
    return str(value)


def edit(stack: LocalStack, contact_id: str) -> None:
    """Do what the page's command does."""
    stack.dynamodb.update_item(
        TableName=stack.table,
        Key=json.loads(option("key").replace("CONTACT", contact_id)),
        ConditionExpression=option("condition-expression"),
        UpdateExpression=option("update-expression"),
        ExpressionAttributeNames=json.loads(option("expression-attribute-names")),
        ExpressionAttributeValues=json.loads(option("expression-attribute-values")),
    )


@pytest.fixture
def updated(stack: LocalStack, sandbox: Sandbox, finished: Callable[[str], str]) -> str:
    """A contact that was released and closed by an operator, and is UPDATED."""
    contact_id = finished(new_id())
    assert sandbox.invoke(contact_event(contact_id)).status == "UPDATED"
    names = {name: {"S": "jane"} for name in ("releasedBy", "closedBy")}
    stack.dynamodb.put_item(TableName=stack.table, Item={**(stack.record(contact_id) or {}), **names})
    return contact_id


def delete(stack: LocalStack, contact_id: str) -> None:
    stack.dynamodb.delete_item(TableName=stack.table, Key={"contactId": {"S": contact_id}})


def test_operators_names_can_be_erased_and_the_claim_stays(stack: LocalStack, sandbox: Sandbox, updated: str) -> None:
    before = stack.record(updated)
    assert before is not None

    edit(stack, updated)

    after = stack.record(updated)
    assert after == {name: value for name, value in before.items() if name not in {"releasedBy", "closedBy"}}
    assert {"state", "owner", "expiresAt"} <= after.keys()
    assert sandbox.invoke(contact_event(updated)).status == "DUPLICATE"
    assert stack.salesforce.applied(updated) == 1


def test_a_record_that_is_in_work_is_not_changed(stack: LocalStack, updated: str) -> None:
    before = stack.record(updated)
    for state in ("CLAIMED", "NOT_APPLIED", "UNCERTAIN"):
        stack.dynamodb.put_item(TableName=stack.table, Item={**(before or {}), "state": {"S": state}})
        with pytest.raises(ClientError, match="ConditionalCheckFailed"):
            edit(stack, updated)


def test_without_its_record_a_contact_is_sent_again(stack: LocalStack, sandbox: Sandbox, updated: str) -> None:
    """This is why the page says to leave the record."""
    delete(stack, updated)

    assert sandbox.invoke(contact_event(updated)).status == "UPDATED"
    assert stack.salesforce.applied(updated) == 2


def test_without_its_contact_nothing_is_sent_even_without_its_record(stack: LocalStack, sandbox: Sandbox) -> None:
    forgotten = new_id()  # as Amazon Connect answers for a contact that it keeps no longer

    assert sandbox.invoke(contact_event(forgotten)).status == "raised"
    assert stack.salesforce.received == []
