"""Text that others may have written reaches the operator's terminal as text: no escape codes, no links, no crash."""

from collections.abc import Callable

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.cli.conftest import DeployedStack, Done, Operate
from tests.support.contacts import new_id
from tools.local.local_stack import LocalStack
from voicecall_cli import deployed as deployed_stack
from voicecall_cli.target import CannotOperateError
from voicecall_cli.terminal import printable

CLIPBOARD = "\x1b]52;c;cm0gLXJm\x07"
"""OSC 52: most terminals put what it holds into the clipboard."""
LINK = "[link=https://x.invalid]here[/link]"
HOSTILE = f"a{CLIPBOARD}b\x9b2Jc\u202ed\ne[/red]f{LINK}g:bomb:"
SHOWN = printable(HOSTILE)


@pytest.fixture(autouse=True)
def _wide(operate: Operate, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - it has set 80 columns
    monkeypatch.setenv("COLUMNS", "1000")


def harmless(done: Done) -> bool:
    return [one for one in done.out + done.err if not one.isprintable() and one != "\n"] == []


def test_it_is_escaped_and_markup_is_kept() -> None:
    assert SHOWN.isprintable()
    assert rf"a\x1b]52;c;cm0gLXJm\x07b\x9b2Jc\u202ed\ne[/red]f{LINK}g:bomb:" == SHOWN
    assert printable(SHOWN) == SHOWN
    assert printable("\ud800é 你") == "\\ud800é 你"


@pytest.mark.parametrize("state", ["UPDATED", "NOT_APPLIED", "UNCERTAIN", "REJECTED", "CLAIMED", HOSTILE])
def test_in_a_record_that_was_edited_by_hand(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], state: str
) -> None:
    texts = ("source", "scope", "detail", "releasedBy", "closedBy", "owner", "waitsFor")
    lists = {"properties": [HOSTILE, "queue"], "customFields": [HOSTILE]}
    contact_id = put(
        state,
        **dict.fromkeys(texts, HOSTILE),
        **lists,
        firstSource=f"{HOSTILE}!",
        releasedAt=1_000_000_000,
        httpStatus=200,
    )

    shown = operate("--stack", deployed.name, "show", contact_id)

    assert shown.status == 0
    assert harmless(shown)
    assert shown.out.count(SHOWN) >= 8
    read = operate("--stack", deployed.name, "show", contact_id, "--json")
    assert harmless(read)
    assert read.json["record"]["detail"] == SHOWN


def test_in_a_list_of_records(operate: Operate, deployed: DeployedStack, put: Callable[..., str]) -> None:
    for state in ("UNCERTAIN", "REJECTED", "NOT_APPLIED"):
        put(state, detail=HOSTILE, contactId=f"{new_id()}{HOSTILE}", attempts=0)

    for words in (["attention"], ["release", "--state", "UNCERTAIN", "--dry-run"]):
        shown = operate("--stack", deployed.name, *words)
        assert harmless(shown)
        assert shown.out.count(SHOWN) >= 2


def test_in_a_line_of_the_log(operate: Operate, deployed: DeployedStack) -> None:
    contact_id = new_id()
    names = ("level", "message", "source", "status", "detail", "trueState", "requestId")
    line = {**dict.fromkeys(names, HOSTILE), "differs": [HOSTILE], "state": {HOSTILE: [HOSTILE]}}
    deep = f'{{"contactId": "{contact_id}", "detail": {"[" * 100_000}'
    deployed.log("flow", {**line, "contactId": contact_id}, deep)

    shown = operate("--stack", deployed.name, "show", contact_id)

    assert shown.status == 1
    assert harmless(shown)
    assert shown.out.count(SHOWN) >= 5


def test_in_a_dead_letter(operate: Operate, deployed: DeployedStack, stack: LocalStack) -> None:
    stack.dead_letters.send({"contactId": HOSTILE, "source": "operator"}, {"Reason": HOSTILE.replace("\x07", "")})
    stack.dead_letters.send(HOSTILE, {"ERROR_CODE": f"{LINK}[/red]\x9b"})

    shown = operate("--stack", deployed.name, "redrive", "--dry-run")

    assert shown.status == 0
    assert harmless(shown)
    assert printable(HOSTILE.replace("\x07", "")) in shown.out
    assert rf"{LINK}[/red]\x9b" in shown.out


def test_in_what_the_reconciliation_answers_of_a_contact(operate: Operate, deployed: DeployedStack) -> None:
    contact = dict.fromkeys(("contactId", "status", "detail"), HOSTILE)
    deployed.answering({"contacts": [contact], "paused": False, "stopped": HOSTILE})

    done = operate("--stack", deployed.name, "backfill", "--contact", new_id(), "--follow", "0")

    assert done.status == 1
    assert harmless(done)
    assert done.out.count(SHOWN) == 4


def test_in_what_the_reconciliation_answers_of_a_span(operate: Operate, deployed: DeployedStack) -> None:
    answer = {
        "window": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z"},
        "through": "2026-01-01T00:30:00Z",
        "contacts": [{"contactId": HOSTILE}],
        **dict.fromkeys(("known", "enqueued", "handedOn"), 0),
        "found": 1,
        "paused": False,
        "needsALook": True,
        "scope": HOSTILE,
        "stopped": HOSTILE,
    }
    deployed.answering(answer)
    span = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T01:00:00Z")

    done = operate("--stack", deployed.name, "backfill", *span, "--dry-run")

    assert done.status == 1
    assert harmless(done)
    assert done.out.count(SHOWN) == 3


@pytest.mark.parametrize(
    "failure",
    [
        ClientError({"Error": {"Code": HOSTILE, "Message": HOSTILE}}, "DescribeStacks"),
        ClientError({"Error": {"Code": f"AccessDenied{HOSTILE}", "Message": ""}}, "DescribeStacks"),
        ClientError({"Error": {"Code": f"Token{HOSTILE}", "Message": ""}}, "DescribeStacks"),
        type("Odd", (BotoCoreError,), {"fmt": HOSTILE.replace("{", "")})(),
        CannotOperateError(HOSTILE),
    ],
    ids=["code", "access denied", "token", "botocore's text", "ours"],
)
def test_in_an_error(operate: Operate, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(deployed_stack, "found", fail)

    done = operate("attention")

    assert done.status == 2
    assert harmless(done)
    assert SHOWN in done.err
