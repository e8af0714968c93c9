"""The commands that docs/operations.md gives, run as they stand there over a real table."""

import json
import re
import shlex

import pytest

from tests.contacts import flow_event, new_id
from tests.sandbox import Sandbox
from tools.local.misbehaviour import Answer
from tools.local.stack import ROOT, LocalStack

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def update_command(heading: str) -> dict[str, str]:
    """Options of the `aws dynamodb update-item` under a heading, its shell substitutions made."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    found = re.search(r"```sh\n(aws dynamodb update-item .*?)```", section, re.DOTALL)
    assert found is not None
    line = re.sub(r"\$\(python3[^)]*\)\)\'\)", "a-fresh-owner", found[1])
    line = line.replace("$(date +%s)", "1795000000").replace("$USER", "operator")
    words = shlex.split(line.replace("\\\n", " "))[3:]
    return dict(zip(words[::2], words[1::2], strict=True))


def run(stack: LocalStack, heading: str, contact_id: str) -> None:
    options = update_command(heading)
    stack.dynamodb.update_item(
        TableName=stack.table,
        Key={"contactId": {"S": contact_id}},
        ConditionExpression=options["--condition-expression"],
        UpdateExpression=options["--update-expression"],
        ExpressionAttributeNames=json.loads(options["--expression-attribute-names"]),
        ExpressionAttributeValues=json.loads(options["--expression-attribute-values"]),
    )


@pytest.mark.parametrize("status", [500, 400])
def test_a_released_contact_is_sent_once_more(stack: LocalStack, sandbox: Sandbox, status: int) -> None:
    contact_id = new_id()
    stack.salesforce.next(Answer(status))
    sandbox.invoke(flow_event(contact_id))
    run(stack, "Releasing a contact", contact_id)
    assert sandbox.invoke(flow_event(contact_id)).status == "UPDATED"
    record = stack.record(contact_id)
    assert record is not None
    assert record["attempts"] == {"N": "2"}
    assert record["releasedBy"] == {"S": "operator"}


def test_a_contact_that_was_updated_is_not_released(stack: LocalStack, sandbox: Sandbox) -> None:
    contact_id = new_id()
    sandbox.invoke(flow_event(contact_id))
    with pytest.raises(stack.dynamodb.exceptions.ConditionalCheckFailedException):
        run(stack, "Releasing a contact", contact_id)
    assert stack.state(contact_id) == "UPDATED"


def test_a_closed_contact_is_open_no_more(stack: LocalStack, sandbox: Sandbox) -> None:
    contact_id = new_id()
    stack.salesforce.next(Answer(500, applied=True))
    sandbox.invoke(flow_event(contact_id))
    run(stack, "Closing a contact", contact_id)
    record = stack.record(contact_id)
    assert record is not None
    assert record["state"] == {"S": "UPDATED"}
    assert "open" not in record
    assert sandbox.invoke(flow_event(contact_id)).status == "DUPLICATE"
    assert stack.salesforce.applied(contact_id) == 1
