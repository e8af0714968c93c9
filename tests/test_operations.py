"""What docs/operations.md gives: its commands, run as they stand there over a real table; nothing left out."""

import json
import re
import shlex
import time

import pytest

from tests.contacts import flow_event, new_id
from tests.sandbox import Sandbox
from tools.local.misbehaviour import Answer
from tools.local.stack import ROOT, LocalStack
from tools.operate.command_line import COMMANDS, parsed
from tools.template import load
from voicecall_sync.outcome import State, Status

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def update_command(heading: str) -> dict[str, str]:
    """Options of the `aws dynamodb update-item` under a heading, its shell substitutions made."""
    section = PAGE.split(f"### {heading}\n")[1].split("\n### ")[0]
    found = re.search(r"```sh\n(aws dynamodb update-item .*?)```", section, re.DOTALL)
    assert found is not None
    line = re.sub(r"\$\(python3[^)]*\)\)\'\)", "a-fresh-owner", found[1])
    line = line.replace("$(date +%s)", str(int(time.time()))).replace("$USER", "operator")
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
    run(stack, "Releasing by hand", contact_id)
    assert sandbox.invoke(flow_event(contact_id)).status == "UPDATED"
    record = stack.record(contact_id)
    assert record is not None
    assert record["attempts"] == {"N": "2"}
    assert record["releasedBy"] == {"S": "operator"}


def test_a_contact_that_was_updated_is_not_released(stack: LocalStack, sandbox: Sandbox) -> None:
    contact_id = new_id()
    sandbox.invoke(flow_event(contact_id))
    with pytest.raises(stack.dynamodb.exceptions.ConditionalCheckFailedException):
        run(stack, "Releasing by hand", contact_id)
    assert stack.state(contact_id) == "UPDATED"


def test_a_closed_contact_is_open_no_more(stack: LocalStack, sandbox: Sandbox) -> None:
    contact_id = new_id()
    stack.salesforce.next(Answer(500, applied=True))
    sandbox.invoke(flow_event(contact_id))
    run(stack, "Closing by hand", contact_id)
    record = stack.record(contact_id)
    assert record is not None
    assert record["state"] == {"S": "UPDATED"}
    assert "open" not in record
    assert sandbox.invoke(flow_event(contact_id)).status == "DUPLICATE"
    assert stack.salesforce.applied(contact_id) == 1


OPERATE = re.findall(r"^python3 -m tools operate (.*)$", PAGE, re.MULTILINE)


def rows(heading: str) -> dict[str, str]:
    """The first table under a heading: first cell -> the whole line."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0].split("\n### ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return {line.split("|")[1].strip(): line for line in lines[1:]}


@pytest.mark.parametrize("line", OPERATE)
def test_its_commands_are_commands(line: str) -> None:
    gone_by = re.sub(r"\b20\d\d-", "2020-", line)  # a moment to begin at lies in the past, whatever today is
    assert parsed(shlex.split(gone_by)).command in COMMANDS


def test_it_shows_every_command() -> None:
    assert {shlex.split(line)[0] for line in OPERATE} == set(COMMANDS)
    assert {name.strip("`").split()[0] for name in rows("The commands")} == set(COMMANDS)


def test_its_runbook_has_every_alarm() -> None:
    resources = load(ROOT / "template.yaml")["Resources"].items()
    alarms = {name.removesuffix("Alarm") for name, made in resources if made["Type"] == "AWS::CloudWatch::Alarm"}

    assert {name for names in rows("The alarms") for name in names.split(", ")} == alarms


def test_its_runbook_has_every_status_and_state() -> None:
    described = set(rows("The statuses")) | {"RETRY_LATER"}

    assert described == {*State, *Status}
    assert "\n### RETRY_LATER\n" in PAGE


def test_its_links_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= anchors
    assert set(re.findall(r"docs/operations\.md#([^)]*)\)", readme)) <= anchors
