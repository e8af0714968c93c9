"""How a command invokes a deployed function: once, even after a failure, and patiently while it is busy."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

import boto3
import pytest

from tests.cli.conftest import DeployedStack, Operate
from tests.support.contacts import new_id
from tools.local.gateway import Fault
from tools.local.local_stack import LocalStack
from tools.local.loopback import Connection, LoopbackServer
from tools.local.messages import Reply, utc_now
from voicecall_cli import deployed as deployed_stack
from voicecall_cli.target import Answer


@contextmanager
def answering(*replies: Reply) -> Iterator[str]:
    """A Lambda that answers so, one call after the other; gives its address."""
    left = list(replies)

    def serve(connection: Connection) -> bool:
        connection.read_request()
        connection.answer(left.pop(0))
        return True

    server = LoopbackServer(serve, clock=utc_now)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


BUSY = Reply(429, b'{"Message": "Rate exceeded"}', (("X-Amzn-ErrorType", "TooManyRequestsException"),))


@pytest.fixture
def invoked(deployed: DeployedStack, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """What the command sees of a function that answers so."""

    def invoke(*replies: Reply) -> Answer:
        with answering(*replies) as url:
            monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
            session = boto3.Session(region_name="us-east-1")
            return deployed_stack.Deployed(session, deployed.name, ()).reconcile({})

    return invoke


def test_a_busy_function_is_waited_for(
    invoked: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deployed_stack, "BUSY_PAUSE_SECONDS", 0.01)

    answer = invoked(BUSY, BUSY, Reply(200, b'{"found": 1}'))

    assert answer == Answer({"found": 1})
    assert capsys.readouterr().err.count("waiting for its turn") == 1


def test_not_for_ever(invoked: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployed_stack, "BUSY_FOR_SECONDS", -1)

    assert invoked(BUSY).failed == "the function was busy all the time (TooManyRequestsException)"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"errorType": "Redeliver", "errorMessage": "RETRY_LATER: busy"}, "RETRY_LATER: busy"),
        ({"errorType": "WrongSettings", "errorMessage": "not set: JWT_SECRET_ID"}, "not set: JWT_SECRET_ID"),
        ({"errorType": "KeyError", "errorMessage": "'+15555550123'"}, "KeyError"),
        ({"errorMessage": "2026-11-22 Task timed out after 900.00 seconds"}, "Unhandled"),
        ("no object", "Unhandled"),
    ],
)
def test_a_failure_is_named_without_what_it_may_hold(invoked: Callable[..., Answer], error: object, told: str) -> None:
    assert invoked(Reply(200, json.dumps(error).encode(), (("X-Amz-Function-Error", "Unhandled"),))) == Answer({}, told)


def test_an_answer_that_is_lost_is_not_asked_for_again(
    operate: Operate, deployed: DeployedStack, stack: LocalStack
) -> None:
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{deployed.name}-reconcile"
    path = f"/2015-03-31/functions/{quote(arn, safe='')}/invocations"
    stack.gateway.fail(path, Fault.LOST)

    done = operate("--stack", deployed.name, "backfill", "--contact", new_id())

    assert done.status == 1
    assert "did not do it: no answer came (ConnectionClosedError): it may still be running" in done.flat
    assert stack.gateway.calls.count(path) == 1
