"""What the handler makes of each file in events/."""

import json
import re
from pathlib import Path

import pytest

from tests.sandbox import Sandbox
from tools.invocation import EVENTS, handler_for, load_contacts, read_event
from tools.local.stack import CONTACTS, INSTANCE_ID, LocalStack

EXPECTED = {
    "contact-flow": "UPDATED",
    "contact-flow-awkward": "UPDATED",
    "contact-event-completed": "UPDATED",
    "contact-event-disconnected-abandoned": "UPDATED",
    "contact-event-queue-transfer": "UPDATED",
    "contact-event-webrtc": "UPDATED",
    "contact-event-sentinel": "UPDATED",
    "contact-event-outbound": "UPDATED",
    "contact-event-callback": "UPDATED",
    "contact-event-chat": "IGNORED",
    "contact-event-initiated": "IGNORED",
}
RECONCILED: dict[str, tuple[dict[str, int], dict[str, int] | None]] = {
    "scheduled": ({}, None),
    "scheduler-default": ({}, None),
    "reconcile-dry-run": ({}, {"update": 3}),
    "reconcile-window": ({}, {}),
    "reconcile-contacts": ({"INVALID": 1, "UPDATED": 1}, None),
}
"""For the other function: outcomes, and in a dry run what it would do."""
FILES = sorted(path for path in EVENTS.glob("*.json") if path != CONTACTS and path.stem not in RECONCILED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_status(path: Path, stack: LocalStack, sandbox: Sandbox) -> None:
    load_contacts(stack)

    result = sandbox.invoke(read_event(path))

    assert result.status == EXPECTED[path.stem]


@pytest.mark.parametrize("name", [name for name, status in EXPECTED.items() if status == "UPDATED"])
def test_what_is_updated_exists_in_salesforce(name: str, stack: LocalStack, sandbox: Sandbox) -> None:
    load_contacts(stack)

    result = sandbox.invoke(read_event(EVENTS / f"{name}.json"))

    assert result.answer is not None
    assert result.answer["contactId"] in stack.salesforce.voice_calls
    assert stack.salesforce.applied(result.answer["contactId"]) == 1


@pytest.mark.parametrize("name", RECONCILED)
def test_what_the_reconciliation_makes_of_its_events(name: str, stack: LocalStack, sandbox: Sandbox) -> None:
    load_contacts(stack)
    event = read_event(EVENTS / f"{name}.json")

    answer = sandbox.reconcile(event)

    assert handler_for(event) == "reconcile"
    assert (answer["outcomes"], answer.get("would")) == RECONCILED[name]
    assert answer["stopped"] is None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_which_handler_an_event_is_for(path: Path) -> None:
    assert handler_for(read_event(path)) == "update_voice_call"


def test_a_schedule_is_refused_clearly(stack: LocalStack, sandbox: Sandbox) -> None:
    result = sandbox.invoke(read_event(EVENTS / "scheduled.json"))

    assert result.raised is not None
    assert "INVALID: event must be a contact flow's event" in result.raised
    assert stack.salesforce.received == []


def test_the_sentinel_is_no_agent(stack: LocalStack, sandbox: Sandbox) -> None:
    load_contacts(stack)

    result = sandbox.invoke(read_event(EVENTS / "contact-event-sentinel.json"))

    assert result.answer is not None
    [body] = stack.salesforce.applied_bodies(result.answer["contactId"])
    assert "agent" not in body
    assert "acceptTime" not in body
    assert body["disconnectReason"] == {"value": "TELECOM_PROBLEM", "isError": True}


@pytest.mark.parametrize("path", [*FILES, CONTACTS], ids=lambda path: path.stem)
def test_nothing_in_them_is_anybodys(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    numbers = re.findall(r"\+\d+", text)
    assert all(re.fullmatch(r"\+1\d{3}55501\d{2}", number) for number in numbers)
    assert set(re.findall(r":(\d{12}):", text)) <= {"111122223333"}
    assert set(re.findall(r"instance/([0-9a-f-]+)", text)) <= {INSTANCE_ID}


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "event.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": "ü"}, ensure_ascii=False).encode())

    assert read_event(path) == {"a": "ü"}
