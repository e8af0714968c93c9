"""Nothing secret or personal in anything we write: at the most talkative level, in a real process, on every failure."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.contacts import CUSTOMER, SECRET_VALUE, SYSTEM, contact_event, described, flow_event, new_id
from tests.support.missed import ended, put
from tools.local.gateway import Fault
from tools.local.misbehaviour import Answer, Behaviour, Close, Garbage
from tools.local.stack import ROOT, LocalStack, pem

TALKATIVE = {"LOG_LEVEL": "DEBUG", "POWERTOOLS_LOG_LEVEL": "DEBUG", "AWS_LAMBDA_LOG_LEVEL": "DEBUG"}
# Imports are most of a process's cost. So each run is a fork of a process that has only imported.
PROGRAM = """
import json, logging, os, signal, sys
logging.basicConfig(level=logging.DEBUG)
from voicecall_sync import handlers

def run(events):
    for event in events:
        handler = handlers.update_voice_call if "detail" in event or "Details" in event else handlers.reconcile
        try:
            print("answer", handler(event, None), flush=True)
        except Exception:
            logging.exception("raised")

for line in sys.stdin:
    asked = json.loads(line)
    if os.fork() == 0:
        signal.alarm(60)
        os.environ.update(asked["environment"])
        output = os.open(asked["output"], os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        run(asked["events"])
        sys.stdout.flush()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""
Run = Callable[..., str]


@pytest.fixture(scope="module")
def program() -> Iterator["subprocess.Popen[str]"]:
    environment = {**os.environ, **TALKATIVE, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        yield running
        running.kill()


@pytest.fixture
def run(
    program: "subprocess.Popen[str]",
    stack: LocalStack,  # noqa: ARG001 - it has set the environment
    tmp_path: Path,
) -> Run:
    """Sends events through the handlers in a process of their own; returns all that it wrote."""

    def send(events: list[object], **variables: str) -> str:
        assert program.stdin is not None
        assert program.stdout is not None
        output = tmp_path / f"output-{new_id()}"
        environment = {**os.environ, **TALKATIVE, **variables}
        program.stdin.write(json.dumps({"environment": environment, "events": events, "output": str(output)}) + "\n")
        program.stdin.flush()
        assert program.stdout.readline() == "0\n"
        return output.read_text(encoding="utf-8")

    return send


@pytest.fixture
def secrets(stack: LocalStack) -> list[str]:
    """What must not appear: numbers, an attribute's value, the key's text, and a part of any token."""
    key = pem(stack.private_key).decode().splitlines()[1:-1]
    header = base64.urlsafe_b64encode(b'{"alg":"RS256"').decode()[:16]
    return [CUSTOMER[1:], SYSTEM[1:], SECRET_VALUE, *key, "BEGIN PRIVATE KEY", header, "Bearer "]


ECHO = f'{{"message": "{SECRET_VALUE} {CUSTOMER} {SYSTEM}", "errorCode": "BAD_VALUE"}}'.encode()
ANSWERS: dict[str, Behaviour | None] = {
    "accepted": None,
    "refused, and the values repeated": Answer(400, body=ECHO),
    "redirected to an address with them": Answer(302, headers=(("Location", f"https://x.invalid/{CUSTOMER}"),)),
    "token refused": Answer(401, body=ECHO),
    "failed": Answer(500, body=ECHO),
    "closed": Close(applied=False),
    "garbage that repeats them": Garbage(ECHO, applied=False),
}


@pytest.mark.parametrize("behaviour", ANSWERS.values(), ids=ANSWERS)
def test_nothing_secret_is_logged_for_any_answer(
    stack: LocalStack, run: Run, secrets: list[str], behaviour: Behaviour | None
) -> None:
    stack.salesforce.always(behaviour)
    contact_id = new_id()
    stack.connect.put_contact(described(contact_id))
    parameters = {"fromNumber": CUSTOMER, "sfdc-Note__c": SECRET_VALUE, SECRET_VALUE[:9]: SECRET_VALUE}
    output = run([flow_event(new_id(), parameters), contact_event(contact_id), contact_event(contact_id)])
    assert output.count("voicecall-sync") > 2
    assert [secret for secret in secrets if secret in output] == []


@pytest.mark.parametrize("operation", ["GetSecretValue", "DescribeContact", "PutItem", "UpdateItem"])
@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.LOST])
def test_nothing_secret_is_logged_for_any_failure(
    stack: LocalStack, run: Run, secrets: list[str], operation: str, fault: Fault
) -> None:
    stack.gateway.fail(operation, fault)
    contact_id = new_id()
    stack.connect.put_contact(described(contact_id))
    # A short time-out, because the test only waits for a request that hangs, and no request has to succeed here.
    output = run([flow_event(new_id()), contact_event(contact_id)], TEST_AWS_SECONDS="0.3")
    assert "RETRY_LATER" in output or "SettleFailed" in output or fault is Fault.LOST
    assert output.count("voicecall-sync") > 2
    assert [secret for secret in secrets if secret in output] == []


WRONG: list[dict[str, object]] = [
    {"startTime": SECRET_VALUE},
    {"totalHoldDuration": SECRET_VALUE},
    {"disconnectReason": {"value": SECRET_VALUE}},
    {"callOrigin": SECRET_VALUE},
    {"isActiveCall": CUSTOMER},
    {"recordingLocation": [SECRET_VALUE]},
    {"callAttributes": SECRET_VALUE},
]


def test_a_wrong_parameter_is_named_and_not_repeated(run: Run, secrets: list[str]) -> None:
    output = run([flow_event(new_id(), parameters) for parameters in WRONG])
    answers = [line for line in output.splitlines() if line.startswith("answer ")]
    for answer, parameters in zip(answers, WRONG, strict=True):
        assert f"Details.Parameters.{next(iter(parameters))} must be" in answer
    assert [secret for secret in secrets if secret in output] == []


@pytest.mark.parametrize(
    "text", ["{key}", '{{"privateKey": "{key}"}}', '{{"privateKey": {{"a": "{key}"}}}}', '["{key}"]']
)
def test_a_secret_of_an_unknown_form(stack: LocalStack, run: Run, secrets: list[str], text: str) -> None:
    stack.put_secret(text.format(key=pem(stack.private_key).decode().replace("\n", " ")))
    output = run([flow_event(new_id()), contact_event(new_id())])
    assert "RETRY_LATER" in output or "UPDATED" in output
    assert [secret for secret in secrets if secret in output] == []


def test_an_invalid_contact_id_is_not_repeated(run: Run, secrets: list[str]) -> None:
    output = run([flow_event(f"../{SECRET_VALUE}"), contact_event(f"{CUSTOMER}\r\nX-Evil: 1")])
    assert "ContactId must be a contact id" in output
    assert [secret for secret in secrets if secret in output] == []


def test_the_record_holds_no_value(stack: LocalStack, run: Run, secrets: list[str]) -> None:
    contact_id = new_id()
    for _ in range(
        5
    ):  # a flow has 8 seconds at the most, and claims nothing where a busy machine leaves too few of them
        run([flow_event(contact_id)])
        record = str(stack.record(contact_id))
        if "UPDATED" in record:
            break
    assert "UPDATED" in record
    assert [secret for secret in secrets if secret in record] == []


@pytest.mark.parametrize("behaviour", [None, Answer(400, body=ECHO), Answer(401, body=ECHO)], ids=str)
def test_a_reconciliation(stack: LocalStack, run: Run, secrets: list[str], behaviour: Behaviour | None) -> None:
    missed = put(stack, ended(60), ended(70))
    stack.salesforce.always(behaviour)
    named = {"contactIds": [f"../{SECRET_VALUE}", CUSTOMER, *missed, {"id": SECRET_VALUE}]}
    output = run([{}, named, {"dryRun": True}, {"from": SECRET_VALUE}, {SECRET_VALUE: CUSTOMER}])
    assert "contactIds[1] must be a contact id" in output
    assert "from must be a moment" in output
    assert [secret for secret in secrets if secret in output] == []
