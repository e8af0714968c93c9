"""Any JSON at all: a clear INVALID, or the raise for an asynchronous source; no PATCH, no record, no defect."""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.contacts import contact_event, flow_event, new_id
from tests.support.sandbox import Sandbox
from tools.local.local_stack import LocalStack

pytestmark = pytest.mark.usefixtures("ready_token")

STATUSES = {"UPDATED", "DUPLICATE", "RETRY_LATER", "REJECTED", "UNCERTAIN", "IGNORED", "INVALID"}

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
any_json = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
many = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@contextmanager
def nothing_sent(stack: LocalStack) -> Iterator[None]:
    before = len(stack.salesforce.received)
    yield
    assert len(stack.salesforce.received) == before


def records(stack: LocalStack) -> int:
    return int(stack.dynamodb.scan(TableName=stack.table, Select="COUNT")["Count"])


def paths(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from paths(inner, (*path, name))


def replaced(event: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    changed = copy.deepcopy(event)
    place = changed
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return changed


@many
@given(event=any_json)
def test_any_json(stack: LocalStack, sandbox: Sandbox, event: object) -> None:
    with nothing_sent(stack):
        result = sandbox.invoke(event)
    assert result.status in {"raised", "INVALID"}
    assert records(stack) == 0


FLOW = flow_event("11111111-1111-4111-8111-111111111111", {"startTime": "2026-11-20T09:30:00Z", "queue": "Support"})
EVENT = contact_event("22222222-2222-4222-8222-222222222222")


@many
@given(path=st.sampled_from(list(paths(FLOW))), value=any_json)
def test_a_flow_event_with_one_field_replaced(sandbox: Sandbox, path: tuple[Any, ...], value: object) -> None:
    """A live call gets a status to branch on, for any value in an event that comes from a flow."""
    result = sandbox.invoke(replaced(FLOW, path, value))
    assert result.answer is not None
    assert result.answer["status"] in STATUSES
    assert all(isinstance(text, str) for text in result.answer.values())
    assert len(json.dumps(result.answer)) < 32_000
    if result.answer["status"] == "INVALID":
        assert "must be" in result.answer["detail"]


@many
@given(path=st.sampled_from(list(paths(EVENT))), value=any_json)
def test_a_contact_event_with_one_field_replaced(
    stack: LocalStack, sandbox: Sandbox, path: tuple[Any, ...], value: object
) -> None:
    """Connect knows of no such contact here, so none is updated; but nothing breaks either."""
    with nothing_sent(stack):
        result = sandbox.invoke(replaced(EVENT, path, value))
    assert result.status in {"raised", "IGNORED"}
    assert records(stack) == 0


BAD_IDS: list[Any] = [
    "",
    " ",
    ".",
    "..",
    "../voiceCalls/other",
    "a/b",
    "a%2Fb",
    "a?b=c",
    "a#b",
    "a\r\nX-Evil: 1",
    "a b",
    "a@example.com",
    "//example.com/x",
    "-starts-with-a-dash",
    "ünï",
    "١٢٣",
    "x" * 257,
    "ends-with-newline\n",
    "\ud800",
    None,
    7,
    ["a"],
    {"a": "b"},
]


def test_an_invalid_contact_id(stack: LocalStack, sandbox: Sandbox) -> None:
    expected = "must be a contact id: 1 to 256 letters, digits, - or _"
    for contact_id in BAD_IDS:
        with nothing_sent(stack):
            flow = sandbox.invoke(flow_event(contact_id))
            event = sandbox.invoke(contact_event(contact_id))
        assert flow.answer == {
            "status": "INVALID",
            "contactId": "",
            "detail": f"Details.ContactData.ContactId {expected}",
        }, ascii(contact_id)
        assert event.raised == f"INVALID: detail.contactId {expected}", ascii(contact_id)
    assert records(stack) == 0


def test_the_two_spellings_of_a_uuid_are_one_contact(stack: LocalStack, sandbox: Sandbox) -> None:
    contact_id = new_id()
    statuses = [sandbox.invoke(flow_event(spelled)).status for spelled in (contact_id, contact_id.upper())]
    assert statuses == ["UPDATED", "DUPLICATE"]
    assert [request.call_id for request in stack.salesforce.received] == [contact_id]


PARAMETERS: dict[str, list[object]] = {
    "startTime": ["yesterday", "2026-11-20T09:30:00", "2026-11-20", 7, True, ["x"]],
    "endTime": ["24:00"],
    "enqueueTime": ["1e9"],
    "acceptTime": [{}],
    "fromNumber": [5, ["x"], "x" * 2000],
    "initiationMethod": ["API", "inbound", 1],
    "totalHoldDuration": ["-1", "1.5", "2147483648", "ten", True, -1, 1e300, [], "\u0661"],
    "numberOfHolds": ["x"],
    "longestHoldDuration": [1.5],
    "callOrigin": ["preview", "Robot"],
    "recordingLocation": ["arn:aws:kinesisvideo:us-east-1:111122223333:stream/x", 5],
    "isActiveCall": ["yes", 1, "0"],
    "disconnectReason": [
        {"value": "X"},
        {"isError": True},
        {"value": "", "isError": True},
        {"value": 1, "isError": False},
        5,
    ],
    "callAttributes": ["[]", "x", 5, "[" * 5000],
}


def test_a_parameter_that_is_wrong_is_named(stack: LocalStack, sandbox: Sandbox) -> None:
    for name, value in ((name, value) for name, values in PARAMETERS.items() for value in values):
        location = {} if name == "recordingLocation" else {"recordingLocation": "bucket/call.wav"}
        with nothing_sent(stack):
            result = sandbox.invoke(flow_event(new_id(), {**location, name: value}))
        assert result.answer is not None
        assert result.answer["status"] == "INVALID", (name, value)
        assert result.answer["detail"].startswith(f"Details.Parameters.{name} must be "), (name, value)
    assert records(stack) == 0


@pytest.mark.parametrize("name", ["totalHoldDuration", "agentInteractionDuration", "totalRecordingDuration"])
def test_hold_and_talk_time_need_a_recording(stack: LocalStack, sandbox: Sandbox, name: str) -> None:
    result = sandbox.invoke(flow_event(new_id(), {name: "5"}))
    assert result.answer is not None
    assert result.answer["status"] == "INVALID"
    assert "recordingLocation" in result.answer["detail"]
    assert records(stack) == 0


def test_a_wrong_parameter_is_invalid_though_everything_else_is_down(stack: LocalStack, sandbox: Sandbox) -> None:
    stack.put_secret("unusable")
    assert sandbox.invoke(flow_event(new_id(), {"endTime": "soon"})).status == "INVALID"
