"""What docs/operations.md gives: its commands, run as they stand there over a real table; nothing left out."""

import json
import re
import shlex
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.contacts import flow_event, new_id
from tests.support.sandbox import Sandbox
from tools.local.local_stack import ROOT, LocalStack
from tools.local.misbehaviour import Answer
from tools.template import load
from voicecall_cli.command_line import COMMANDS, parsed
from voicecall_cli.evidence import ALWAYS, RULES
from voicecall_sync.asked import asked_in
from voicecall_sync.errors import LedgerUnavailable
from voicecall_sync.ledger.claims import Claim, ClaimRequest, Ledger
from voicecall_sync.ledger.table import Table
from voicecall_sync.outcome import Settlement, Source, State, Status

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
    assert Sandbox().invoke(flow_event(contact_id)).status == "UPDATED"  # the first one's breaker is open
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
    assert Sandbox().invoke(flow_event(contact_id)).status == "DUPLICATE"
    assert stack.salesforce.applied(contact_id) == 1


@pytest.mark.parametrize("heading", ["Releasing by hand", "Closing by hand"])
def test_who_had_the_contact_before_settles_it_no_more(stack: LocalStack, heading: str) -> None:
    """An owner thought dead comes back after the operator decided: what the operator saw counts."""
    contact_id, now = new_id(), datetime.now(UTC)
    ledger = Ledger(Table(stack.dynamodb, stack.table), new_id)
    claim = ledger.claim(ClaimRequest(contact_id, Source.CONTACT_EVENT, now, now - timedelta(minutes=5)))
    assert isinstance(claim, Claim)
    record = ledger.read(contact_id)
    assert record is not None
    ledger.expire_claim(record, now)

    run(stack, heading, contact_id)
    decided = stack.record(contact_id)
    with pytest.raises(LedgerUnavailable, match="no longer ours"):
        ledger.settle(claim, Settlement(State.NOT_APPLIED, "not sent: late"), now)

    assert stack.record(contact_id) == decided


def test_a_retained_table_without_contacts_is_empty(stack: LocalStack, sandbox: Sandbox) -> None:
    section = PAGE.split("## A failed first deployment\n")[1].split("\n## ")[0]
    found = re.search(r"^aws dynamodb scan (.*?)\n```", section, re.DOTALL | re.MULTILINE)
    assert found is not None
    words = shlex.split(found[1].replace("\\\n", " "))
    options = dict(zip(words[::2], words[1::2], strict=True))
    values = json.loads(options["--expression-attribute-values"])

    def contacts() -> int:
        counted = stack.dynamodb.scan(
            TableName=stack.table,
            Select="COUNT",
            FilterExpression=options["--filter-expression"],
            ExpressionAttributeValues=values,
        )
        return int(counted["Count"])

    sandbox.reconcile()  # writes how far it came
    assert stack.dynamodb.scan(TableName=stack.table)["Count"] == 2
    assert contacts() == 0
    sandbox.invoke(flow_event(new_id()))
    assert contacts() == 1


OPERATE = re.findall(r"^voicecall-sync (.*)$", PAGE, re.MULTILINE)


def rows(heading: str) -> dict[str, str]:
    """The first table under a heading: first cell -> the whole line."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0].split("\n### ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return {line.split("|")[1].strip(): line for line in lines[1:]}


@pytest.mark.parametrize("line", OPERATE)
def test_its_commands_are_commands(line: str) -> None:
    gone_by = re.sub(r"\b20\d\d-", "2020-", line)  # a moment to begin at must be in the past
    assert parsed(shlex.split(gone_by)).command in COMMANDS


def test_a_message_by_hand_is_one_that_the_worker_reads() -> None:
    [body] = re.findall(r"--message-body '([^']*)'", PAGE)

    assert asked_in(body.replace("CONTACT", new_id())).source is Source.OPERATOR


def test_it_shows_every_command() -> None:
    assert {shlex.split(line)[0] for line in OPERATE} == set(COMMANDS)
    assert {name.strip("`").split()[0] for name in rows("The commands")} == set(COMMANDS)


def test_the_runbook_says_what_each_column_proves() -> None:
    section = PAGE.split("### UNCERTAIN\n")[1].split("\n### ")[0]
    table = [line.split("|") for line in section.splitlines() if line.startswith("| ")]
    described = {
        (column, name)
        for _, columns, names, *_ in table
        for column, name in zip(columns.strip().split(", "), names.strip().split(", "), strict=True)
    }
    compared = {(rule.column, name) for name, rule in RULES.items() if rule.column}
    asked = section.split("```sql\nSELECT ")[1].split("\nFROM ")[0]

    assert compared <= described
    assert {column.strip() for column in asked.split(",")} == {*ALWAYS, *(column for column, _ in compared)} - {
        "custom fields"
    }


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
