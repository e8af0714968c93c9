"""The table of answers, row by row, over real sockets: each row from one source, each outcome from both."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.contacts import contact_event, flow_event, new_id
from tests.support.sandbox import Context, Sandbox, send_to
from tools.local.gateway import Fault
from tools.local.local_stack import LocalStack
from tools.local.misbehaviour import (
    Answer,
    Behaviour,
    Close,
    CloseUnread,
    Drip,
    Garbage,
    Hang,
    Reset,
    Truncated,
)

pytestmark = pytest.mark.usefixtures("ready_token")

FLOW, EVENT = "contact flow", "contact event"
sources = pytest.mark.parametrize("source", [FLOW, EVENT])
Finished = Callable[[str], str]


def event_of(source: str, contact_id: str) -> dict[str, object]:
    return flow_event(contact_id) if source == FLOW else contact_event(contact_id)


@dataclass(frozen=True)
class Row:
    behaviour: Behaviour
    state: str
    flow: str
    event: str
    http_status: int | None = None


def redelivered(behaviour: Behaviour, http_status: int) -> Row:
    return Row(behaviour, "NOT_APPLIED", "RETRY_LATER", "raised", http_status)


def rejected(behaviour: Behaviour, http_status: int) -> Row:
    return Row(behaviour, "REJECTED", "REJECTED", "REJECTED", http_status)


def uncertain(behaviour: Behaviour, http_status: int | None = None) -> Row:
    return Row(behaviour, "UNCERTAIN", "UNCERTAIN", "UNCERTAIN", http_status)


def accepted(behaviour: Behaviour, http_status: int = 200) -> Row:
    return Row(behaviour, "UPDATED", "UPDATED", "UPDATED", http_status)


ROWS = {
    "200": accepted(Answer(200, applied=True)),
    "201": accepted(Answer(201, applied=True), 201),
    "204 without a body": accepted(Answer(204, applied=True), 204),
    "202 with a body that is no JSON": accepted(Answer(202, body=b"<html>", applied=True), 202),
    "200 whose headers never end": accepted(Drip("headers", applied=True)),
    "200 whose body never ends": accepted(Drip("body", applied=True)),
    "200 and nothing after the status line": accepted(Truncated(b"HTTP/1.1 200 OK\r\n", applied=True)),
    "200 and half a header": accepted(Truncated(b"HTTP/1.1 200 OK\r\nContent-Le", applied=True)),
    "301": rejected(Answer(301, headers=(("Location", "https://example.com/"),)), 301),
    "307, which would repeat the PATCH": rejected(Answer(307, headers=(("Location", "/elsewhere"),)), 307),
    "308": rejected(Answer(308, headers=(("Location", "/elsewhere"),)), 308),
    "304": rejected(Answer(304), 304),
    "400": rejected(Answer(400), 400),
    "403": rejected(Answer(403), 403),
    "404": rejected(Answer(404), 404),
    "409": rejected(Answer(409), 409),
    "422": rejected(Answer(422), 422),
    "451": rejected(Answer(451), 451),
    "401": redelivered(Answer(401), 401),
    "408": redelivered(Answer(408), 408),
    "425": redelivered(Answer(425), 425),
    "429": redelivered(Answer(429), 429),
    "429 with Retry-After": redelivered(Answer(429, headers=(("Retry-After", "30"),)), 429),
    "503 with Retry-After": redelivered(Answer(503, headers=(("Retry-After", "5"),)), 503),
    "503 without": uncertain(Answer(503), 503),
    "503 with an invalid Retry-After": uncertain(Answer(503, headers=(("Retry-After", "soon"),)), 503),
    "503 whose headers never end": uncertain(Drip("headers", applied=False, code=503), 503),
    "500 before it was applied": uncertain(Answer(500), 500),
    "500 after it was applied": uncertain(Answer(500, applied=True), 500),
    "502 after it was applied": uncertain(Answer(502, applied=True), 502),
    "504 after it was applied": uncertain(Answer(504, applied=True), 504),
    "599": uncertain(Answer(599), 599),
    "an unknown status": uncertain(Answer(799, applied=True), 799),
    "no answer, not applied": uncertain(Hang(applied=False)),
    "no answer, applied": uncertain(Hang(applied=True)),
    "a status line that drips": uncertain(Drip("status", applied=True)),
    "reset after it was applied": uncertain(Reset(applied=True)),
    "reset before": uncertain(Reset(applied=False)),
    "closed after it was applied": uncertain(Close(applied=True)),
    "closed before it was read": uncertain(CloseUnread()),
    "garbage": uncertain(Garbage(b"\x00\xff" * 40 + b"\r\n\r\n", applied=True)),
    "an SMTP greeting": uncertain(Garbage(b"220 mail.example.com ESMTP\r\n", applied=False)),
    "half a status line": uncertain(Truncated(b"HTTP/1.1 200", applied=True)),
    "half a status code": uncertain(Truncated(b"HTTP/1.1 20", applied=True)),
    "a status line of a megabyte": uncertain(Garbage(b"HTTP/1.1 200 " + b"x" * 1_000_000, applied=True)),
    "100 before the 200": accepted(Truncated(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", applied=True)),
    "another interim answer before the 200": uncertain(
        Truncated(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", applied=True), 103
    ),
    "interim answers before the 429": uncertain(
        Truncated(b"HTTP/1.1 102 Processing\r\n\r\n" * 3 + b"HTTP/1.1 429 Slow\r\n\r\n", applied=False), 102
    ),
    "200 with two lengths": accepted(
        Answer(200, headers=(("Content-Length", "2"), ("Content-Length", "3")), body=b"{}", applied=True)
    ),
    "429 with an invalid length": redelivered(Answer(429, headers=(("Content-Length", "2, 3"),), body=b"{}"), 429),
    "200 with an invalid header": accepted(
        Truncated(b"HTTP/1.1 200 OK\r\nnot a header\r\nContent-Length: 0\r\n\r\n", applied=True)
    ),
    **{
        f"200 with a Content-Type that breaks the parser: {boundary!r}": accepted(
            Truncated(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; " + boundary + b"\r\n\r\n", applied=True)
        )
        for boundary in (b"boundary*=a; boundary*0=b", b"boundary*=\0''abc", b"boundary*=idna''%ff%ff")
    },
    "400 and half a header": rejected(Truncated(b"HTTP/1.1 400 Bad Request\r\nContent-Le", applied=False), 400),
    "400 whose headers never end": rejected(Drip("headers", applied=False, code=400), 400),
    "400 whose body never ends": rejected(Drip("body", applied=False, code=400), 400),
    "400 with 200 headers": rejected(
        Truncated(b"HTTP/1.1 400 Bad Request\r\n" + b"X: y\r\n" * 200 + b"\r\n", applied=False), 400
    ),
    "400 with a header of a megabyte": rejected(
        Truncated(b"HTTP/1.1 400 Bad Request\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n", applied=False), 400
    ),
    "400 with invalid chunks": rejected(
        Truncated(
            b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n" + b"y" * 1_000_000, applied=False
        ),
        400,
    ),
    "a space before the 200": uncertain(Truncated(b" HTTP/1.1 200 OK\r\n\r\n", applied=True)),
    "odd white space before the 200": uncertain(Truncated(b"\xa0HTTP/7.1 2_00 OK\r\n\r\n", applied=True)),
    "100 before a line that is no status line": uncertain(
        Truncated(b"HTTP/1.1 100 Continue\r\n\r\n HTTP/1.1 2_00 OK\r\n\r\n", applied=True)
    ),
    "a status of four digits": uncertain(Truncated(b"HTTP/1.1 2000 OK\r\n\r\n", applied=True)),
    "a status with a sign": uncertain(Truncated(b"HTTP/1.1 +200 OK\r\n\r\n", applied=True)),
    "another protocol's 200": uncertain(Truncated(b"HTTP/2 200\r\n\r\n", applied=True)),
    "switching protocols": uncertain(Answer(101, applied=True), 101),
    "a flood of interim answers": uncertain(Truncated(b"HTTP/1.1 100 Continue\r\n\r\n" * 500, applied=True)),
    "only interim answers": uncertain(Truncated(b"HTTP/1.1 100 Continue\r\n\r\n" * 3, applied=True)),
}


BY_BOTH = ("200", "400", "429", "429 with Retry-After", "500 after it was applied", "no answer, applied")
"""One row of each outcome, and of each way to come back. The meaning of an answer does not depend on the source."""
EACH = [(FLOW, EVENT) if name in BY_BOTH else ((FLOW, EVENT)[number % 2],) for number, name in enumerate(ROWS)]


@pytest.mark.parametrize(
    ("source", "row"),
    [
        pytest.param(source, row, id=f"{name}-{source}")
        for (name, row), by in zip(ROWS.items(), EACH, strict=True)
        for source in by
    ],
)
def test_an_answer_of_salesforce(
    stack: LocalStack, finished: Finished, source: str, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact_id = finished(new_id())
    stack.salesforce.always(row.behaviour)
    with monkeypatch.context() as patch:
        if isinstance(row.behaviour, Hang | Drip):
            patch.setenv("TEST_PATCH_SECONDS", "0.9")
        result = Sandbox().invoke(event_of(source, contact_id))

    assert result.status == (row.flow if source == FLOW else row.event)
    record = stack.record(contact_id)
    assert record is not None
    assert record["state"]["S"] == row.state
    assert record.get("httpStatus") == (None if row.http_status is None else {"N": str(row.http_status)})
    assert ("open" in record) is (row.state != "UPDATED")
    assert ("retryAt" in record) is (row.state == "NOT_APPLIED")

    # Salesforce recovers, and the event comes again, and then again.
    stack.salesforce.always(None)
    before = stack.salesforce.applied(contact_id)
    sandbox = Sandbox()
    again = [sandbox.invoke(event_of(source, contact_id)).status for _ in range(2)]
    waits = float(record["retryAt"]["N"]) > float(record["settledAt"]["N"]) if "retryAt" in record else False
    if waits:
        assert again == ["RETRY_LATER" if source == FLOW else "raised"] * 2
    elif row.state == "NOT_APPLIED":
        assert again == ["UPDATED", "DUPLICATE"]
        before += 1
    else:
        assert again == ["DUPLICATE", "DUPLICATE"]
    assert stack.salesforce.applied(contact_id) == before <= 1


@sources
def test_a_redirect_is_never_followed(stack: LocalStack, sandbox: Sandbox, finished: Finished, source: str) -> None:
    contact_id = finished(new_id())
    stack.salesforce.next(Answer(307, headers=(("Location", f"/telephony/v1/voiceCalls/{contact_id}"),)))
    sandbox.invoke(event_of(source, contact_id))
    assert len(stack.salesforce.received) == 1


@sources
def test_connection_refused(stack: LocalStack, sandbox: Sandbox, finished: Finished, source: str) -> None:
    contact_id = finished(new_id())
    stack.salesforce.stop()
    result = sandbox.invoke(event_of(source, contact_id))
    assert result.status == ("RETRY_LATER" if source == FLOW else "raised")
    assert not stack.was_claimed(contact_id)

    stack.salesforce.start()
    assert sandbox.invoke(event_of(source, contact_id)).status == "UPDATED"
    assert stack.salesforce.applied(contact_id) == 1


@sources
def test_a_host_that_does_not_resolve(
    stack: LocalStack, finished: Finished, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact_id = finished(new_id())
    send_to("https://nowhere.invalid", stack, monkeypatch)
    result = Sandbox().invoke(event_of(source, contact_id))
    assert result.status == ("RETRY_LATER" if source == FLOW else "raised")
    assert not stack.was_claimed(contact_id)


@sources
def test_a_connection_that_is_not_accepted_in_time(
    stack: LocalStack, finished: Finished, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact_id = finished(new_id())
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        host, port = full.getsockname()
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:  # the queue of a listener that never accepts: once full, the kernel ignores the next
            one.setblocking(False)  # noqa: FBT003 - socket's own signature
            one.connect_ex((host, port))
        send_to(f"http://{host}:{port}", stack, monkeypatch)
        result = Sandbox().invoke(event_of(source, contact_id), Context(remaining=8.0))
        for one in waiting:
            one.close()
    assert result.status == ("RETRY_LATER" if source == FLOW else "raised")
    assert not stack.was_claimed(contact_id)


@sources
@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.ERROR, Fault.HANG])
def test_settling_fails_after_salesforce_accepted(
    stack: LocalStack, sandbox: Sandbox, finished: Finished, source: str, fault: Fault
) -> None:
    contact_id = finished(new_id())
    stack.gateway.fail("UpdateItem", fault)
    assert sandbox.invoke(event_of(source, contact_id)).status == "UPDATED"
    assert stack.state(contact_id) == "CLAIMED"

    stack.gateway.heal()
    assert sandbox.invoke(event_of(source, contact_id)).status == "DUPLICATE"
    assert stack.salesforce.applied(contact_id) == 1


@sources
@pytest.mark.parametrize("answer", [429, 400, 500])
def test_settling_fails_after_anything_else(
    stack: LocalStack,
    sandbox: Sandbox,
    finished: Finished,
    source: str,
    answer: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    contact_id = finished(new_id())
    stack.salesforce.next(Answer(answer))
    stack.gateway.fail("UpdateItem", Fault.REFUSED)
    assert sandbox.invoke(event_of(source, contact_id)).status == "UNCERTAIN"
    assert stack.state(contact_id) == "CLAIMED"
    assert {record.__dict__.get("httpStatus") for record in caplog.records} == {answer}

    stack.gateway.heal()
    assert sandbox.invoke(event_of(source, contact_id)).status == "DUPLICATE"
    assert stack.salesforce.applied(contact_id) == 0


FAILURES_OF_OURS = {
    "the secret": ("GetSecretValue", "the secret cannot be read"),
    "the table": ("PutItem", "the idempotency table failed at write"),
}


@sources
@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.ERROR, Fault.HANG])
@pytest.mark.parametrize(("operation", "says"), FAILURES_OF_OURS.values(), ids=FAILURES_OF_OURS)
def test_our_side_fails_before_the_claim(
    stack: LocalStack,
    sandbox: Sandbox,
    finished: Finished,
    source: str,
    operation: str,
    says: str,
    fault: Fault,
) -> None:
    contact_id = finished(new_id())
    stack.gateway.fail(operation, fault)
    result = sandbox.invoke(event_of(source, contact_id))
    assert result.status == ("RETRY_LATER" if source == FLOW else "raised")
    assert says in (result.answer["detail"] if result.answer else str(result.raised))
    assert not stack.was_claimed(contact_id)
    assert stack.salesforce.received == []

    stack.gateway.heal()
    assert sandbox.invoke(event_of(source, contact_id)).status == "UPDATED"


@sources
@pytest.mark.parametrize("fault", [Fault.LOST, Fault.LATE_HANG])
@pytest.mark.parametrize("again", [False, True], ids=["first claim", "claimed again"])
def test_a_claim_with_a_lost_answer_is_still_ours(
    stack: LocalStack, sandbox: Sandbox, finished: Finished, source: str, fault: Fault, *, again: bool
) -> None:
    contact_id = finished(new_id())
    if again:
        stack.salesforce.next(Answer(429))
        sandbox.invoke(event_of(source, contact_id))
    stack.gateway.fail("PutItem", fault, skip=1 if again else 0, times=1)
    assert sandbox.invoke(event_of(source, contact_id)).status == "UPDATED"
    assert stack.state(contact_id) == "UPDATED"
    assert stack.salesforce.applied(contact_id) == 1


@sources
def test_a_claim_that_is_never_confirmed_is_taken_back(
    stack: LocalStack, sandbox: Sandbox, finished: Finished, source: str
) -> None:
    contact_id = finished(new_id())
    stack.gateway.fail("PutItem", Fault.LOST)
    assert sandbox.invoke(event_of(source, contact_id)).status == ("RETRY_LATER" if source == FLOW else "raised")
    assert stack.state(contact_id) == "NOT_APPLIED"
    assert stack.salesforce.received == []

    stack.gateway.heal()
    assert sandbox.invoke(event_of(source, contact_id)).status == "UPDATED"
    assert stack.salesforce.applied(contact_id) == 1


@sources
@pytest.mark.parametrize("fault", [Fault.LOST, Fault.LATE_HANG])
def test_settling_is_tried_again(
    stack: LocalStack, sandbox: Sandbox, finished: Finished, source: str, fault: Fault
) -> None:
    contact_id = finished(new_id())
    stack.gateway.fail("UpdateItem", fault, times=1)
    assert sandbox.invoke(event_of(source, contact_id)).status == "UPDATED"
    assert stack.state(contact_id) == "UPDATED"


@pytest.mark.parametrize("operation", ["DescribeContact", "DescribeQueue", "DescribeUser"])
def test_connect_fails(stack: LocalStack, sandbox: Sandbox, finished: Finished, operation: str) -> None:
    contact_id = finished(new_id())
    stack.connect.fail_next(operation, times=2)
    result = sandbox.invoke(contact_event(contact_id))
    assert result.raised == f"RETRY_LATER: Amazon Connect failed at {operation}: TooManyRequestsException"
    assert not stack.was_claimed(contact_id)
    assert sandbox.invoke(contact_event(contact_id)).status == "UPDATED"


@sources
def test_too_little_time(stack: LocalStack, sandbox: Sandbox, finished: Finished, source: str) -> None:
    contact_id = finished(new_id())
    result = sandbox.invoke(event_of(source, contact_id), Context(remaining=1.0))
    assert result.status == ("RETRY_LATER" if source == FLOW else "raised")
    assert not stack.was_claimed(contact_id)
    assert stack.salesforce.received == []


def test_the_event_says_finished_but_the_contact_is_not(stack: LocalStack, sandbox: Sandbox) -> None:
    contact_id = new_id()
    stack.connect.put_contact({"Id": contact_id, "Channel": "VOICE"})
    result = sandbox.invoke(contact_event(contact_id))
    assert result.raised is not None
    assert "not describe the contact as finished yet" in result.raised
    assert not stack.was_claimed(contact_id)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"channel": "CHAT"}, "not a voice contact"),
        ({"event_type": "CONNECTED_TO_AGENT"}, "not finished"),
        ({"event_type": "SOMETHING_NEW"}, "not finished"),
        ({"instanceArn": "arn:aws:connect:us-east-1:111122223333:instance/another"}, "another"),
    ],
)
def test_a_contact_event_out_of_scope(
    stack: LocalStack, sandbox: Sandbox, finished: Finished, changes: dict[str, str], reason: str
) -> None:
    contact_id = finished(new_id())
    result = sandbox.invoke(contact_event(contact_id, **changes))
    assert result.answer is not None
    assert result.answer["status"] == "IGNORED"
    assert reason in result.answer["detail"]
    assert stack.gateway.calls == []
    assert not stack.was_claimed(contact_id)


@pytest.mark.parametrize(
    "changes",
    [{"Channel": "CHAT"}, {"InstanceARN": "arn:aws:connect:us-east-1:111122223333:instance/another"}],
)
def test_a_flow_out_of_scope(stack: LocalStack, sandbox: Sandbox, changes: dict[str, Any]) -> None:
    contact_id = new_id()
    assert sandbox.invoke(flow_event(contact_id, **changes)).status == "IGNORED"
    assert stack.gateway.calls == []
    assert stack.salesforce.received == []


def test_a_contact_that_turns_out_to_be_a_chat(stack: LocalStack, sandbox: Sandbox) -> None:
    contact_id = new_id()
    stack.connect.put_contact({"Id": contact_id, "Channel": "CHAT"})
    assert sandbox.invoke(contact_event(contact_id)).status == "IGNORED"
    assert not stack.was_claimed(contact_id)


@pytest.mark.parametrize("state", ["CLAIMED", "UPDATED", "UNCERTAIN", "REJECTED", "SOMETHING_ELSE"])
@sources
def test_a_contact_that_is_known_already(
    stack: LocalStack, sandbox: Sandbox, finished: Finished, source: str, state: str
) -> None:
    contact_id = finished(new_id())
    record = {"contactId": {"S": contact_id}, "state": {"S": state}, "owner": {"S": "another"}}
    stack.dynamodb.put_item(TableName=stack.table, Item=record)
    result = sandbox.invoke(event_of(source, contact_id))
    assert result.answer is not None
    assert result.answer["status"] == "DUPLICATE"
    assert (state if state != "SOMETHING_ELSE" else "we do not know") in result.answer["detail"]
    assert stack.record(contact_id) == record
    assert stack.salesforce.received == []
