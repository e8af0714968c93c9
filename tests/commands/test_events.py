"""What the handlers make of each file in events/."""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.sandbox import QUEUE, Context, Sandbox
from tools.examples import AGE, CONTACTS, ENDED, EVENTS, Examples, files, moved, read_json
from tools.in_process import HANDLERS, handler_for, load_contacts
from tools.local.local_stack import INSTANCE_ID, ROOT, LocalStack
from tools.local.messages import utc_now
from tools.local.simulation import TIMEOUTS
from tools.local.sqs_rules import md5
from tools.template import load
from voicecall_sync.asked import asked_in
from voicecall_sync.queue.messages import messages_of

EXPECTED = {
    "contact-flow": "UPDATED",
    "contact-flow-awkward": "UPDATED",
    "contact-event-completed": "UPDATED",
    "contact-event-abandoned": "UPDATED",
    "contact-event-queue-transfer": "IGNORED",
    "contact-event-webrtc": "UPDATED",
    "contact-event-sentinel": "UPDATED",
    "contact-event-outbound": "UPDATED",
    "contact-event-callback": "UPDATED",
    "contact-event-chat": "IGNORED",
    "contact-event-initiated": "IGNORED",
    "contact-event-disconnected": "IGNORED",
}
QUEUED = ("contact-queue", "contact-queue-operator")
RECONCILED: dict[str, list[str]] = {
    "scheduled": [],
    "scheduler-default": [],
    "reconcile-dry-run": ["dry run", "dry run", "dry run"],
    "reconcile-window": ["dry run", "dry run"],
    "reconcile-contacts": ["INVALID", "enqueued"],
}
"""For the reconciliation: what it says of each contact that it names."""
OTHERS = {**dict.fromkeys(QUEUED, "contact_queue"), **dict.fromkeys(RECONCILED, "reconcile")}
FILES = [path for path in files() if path != CONTACTS and path.stem not in OTHERS]


@pytest.fixture
def examples(stack: LocalStack) -> Examples:
    """The files as they are read now; their contacts are in Amazon Connect."""
    examples = Examples.at(utc_now())
    load_contacts(stack, examples)
    return examples


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_status(path: Path, examples: Examples, sandbox: Sandbox) -> None:
    result = sandbox.invoke(examples.read(path))

    assert result.status == EXPECTED[path.stem]


@pytest.mark.parametrize("name", [name for name, status in EXPECTED.items() if status == "UPDATED"])
def test_what_is_updated_exists_in_salesforce(
    name: str, stack: LocalStack, examples: Examples, sandbox: Sandbox
) -> None:
    result = sandbox.invoke(examples.read(EVENTS / f"{name}.json"))

    assert result.answer is not None
    assert result.answer["contactId"] in stack.salesforce.voice_calls
    assert stack.salesforce.applied(result.answer["contactId"]) == 1


@pytest.mark.parametrize("name", RECONCILED)
def test_what_the_reconciliation_makes_of_its_events(name: str, examples: Examples, sandbox: Sandbox) -> None:
    event = examples.read(EVENTS / f"{name}.json")

    answer = sandbox.reconcile(event)

    assert sorted(contact["status"] for contact in answer["contacts"]) == RECONCILED[name]
    assert answer["stopped"] is None


@pytest.mark.parametrize("name", QUEUED)
def test_what_the_worker_makes_of_its_messages(
    name: str, stack: LocalStack, examples: Examples, sandbox: Sandbox
) -> None:
    event: Any = examples.read(EVENTS / f"{name}.json")

    result = sandbox.call(QUEUE, event, Context())

    (contact_id,) = (asked_in(message.body).contact_id for message in messages_of(event))
    assert result.answer == {"batchItemFailures": []}
    assert stack.salesforce.applied(contact_id) == 1


@pytest.mark.parametrize("path", [path for path in files() if path != CONTACTS], ids=lambda path: path.stem)
def test_which_handler_an_event_is_for(path: Path) -> None:
    assert handler_for(read_json(path)) == OTHERS.get(path.stem, "update_voice_call")


def test_functions_have_the_templates_timeouts() -> None:
    resources = load(ROOT / "template.yaml")["Resources"].values()
    functions = [one["Properties"] for one in resources if one["Type"] == "AWS::Serverless::Function"]

    assert {one["Handler"].rpartition(".")[2]: one["Timeout"] for one in functions} == TIMEOUTS
    assert HANDLERS.keys() == TIMEOUTS.keys()


def test_a_schedule_is_refused_clearly(stack: LocalStack, examples: Examples, sandbox: Sandbox) -> None:
    result = sandbox.invoke(examples.read(EVENTS / "scheduled.json"))

    assert result.raised is not None
    assert "INVALID: event must be a contact flow's event" in result.raised
    assert stack.salesforce.received == []


def test_the_sentinel_is_no_agent(stack: LocalStack, examples: Examples, sandbox: Sandbox) -> None:
    result = sandbox.invoke(examples.read(EVENTS / "contact-event-sentinel.json"))

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


def times_in(content: object) -> Iterator[datetime]:
    for text in re.findall(r"\d{4}-\d{2}-\d{2}T[0-9:.]+Z", json.dumps(content)):
        yield datetime.fromisoformat(text)


@pytest.mark.parametrize("path", [*FILES, CONTACTS], ids=lambda path: path.stem)
@pytest.mark.parametrize("now", ["2026-11-22T23:59:59Z", "2028-02-29T00:00:00Z"])
def test_they_are_of_the_day_they_are_read(path: Path, now: str) -> None:
    examples = Examples.at(datetime.fromisoformat(now))
    then, today = list(times_in(read_json(path))), list(times_in(examples.read(path)))

    assert max(then, default=ENDED) <= ENDED
    by = datetime.fromisoformat(now) - AGE - ENDED
    assert today == [time if time.year == 1970 else time + by for time in then]


def test_only_times_are_moved_and_keep_their_spelling() -> None:
    known = {"a": ["2026-11-23T10:00:00Z", "2026-11-23T10:00:00.250Z"], "b": "2026-11-23", "c": "1970-01-01T00:00:00Z"}

    assert moved(known, timedelta(days=1, seconds=1)) == {
        "a": ["2026-11-24T10:00:01Z", "2026-11-24T10:00:01.250Z"],
        "b": "2026-11-23",
        "c": "1970-01-01T00:00:00Z",
    }


def test_a_message_is_moved_with_its_body() -> None:
    """In a body that is text: a contact event as SQS has it."""
    event = {"detail": {"disconnectTimestamp": "2026-11-23T10:00:00.000Z"}}
    attributes = {"SentTimestamp": "1795428494000", "ApproximateReceiveCount": "1"}
    record = {"messageId": "m", "body": json.dumps(event), "md5OfBody": "old", "attributes": attributes}

    later: Any = moved({"Records": [record]}, timedelta(days=1))

    (message,) = later["Records"]
    assert message.keys() == record.keys()
    assert json.loads(message["body"])["detail"] == {"disconnectTimestamp": "2026-11-24T10:00:00.000Z"}
    assert message["md5OfBody"] == md5(message["body"])
    assert message["attributes"] == {"SentTimestamp": "1795514894000", "ApproximateReceiveCount": "1"}


def test_the_digests_of_messages_are_right() -> None:
    for name in QUEUED:
        content = read_json(EVENTS / f"{name}.json")
        assert moved(content, timedelta()) == content


def test_a_file_outside_events_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "event.json"
    path.write_text('{"time": "2026-11-23T10:00:00Z"}')

    assert Examples.at(utc_now()).read(path) == {"time": "2026-11-23T10:00:00Z"}


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "event.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": "ü"}, ensure_ascii=False).encode())

    assert read_json(path) == {"a": "ü"}
