"""Nothing secret or personal in anything we write: at the most talkative level, in a real process, on every failure.

The tests search the log with its metrics, the answers, the records and our own messages. They also search the reasons
in the dead-letter queue, and the texts of the alarms.
"""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.contacts import CUSTOMER, SECRET_VALUE, SYSTEM, contact_event, described, flow_event, new_id
from tests.support.missed import ended, put
from tools.local.gateway import Fault
from tools.local.local_stack import ROOT, LocalStack, pem
from tools.local.mapping import EventSourceMapping
from tools.local.misbehaviour import Answer, Behaviour, Close, Garbage
from tools.template import load
from voicecall_sync.asked import asked_in
from voicecall_sync.errors import InvalidInput

TALKATIVE = {"LOG_LEVEL": "DEBUG", "POWERTOOLS_LOG_LEVEL": "DEBUG", "AWS_LAMBDA_LOG_LEVEL": "DEBUG"}
# Imports and botocore's models are most of a process's cost. So each run is a fork of a process that has loaded them.
PROGRAM = """
import functools, json, logging, os, signal, sys
import boto3, botocore.session

botocore.session.create_loader = functools.cache(botocore.session.create_loader)
for service in ("dynamodb", "secretsmanager", "connect", "sqs"):
    boto3.client(service, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")
boto3.DEFAULT_SESSION = None
logging.basicConfig(level=logging.DEBUG)
from voicecall_sync import handlers

def run(events):
    for event in events:
        handler = handlers.update_voice_call if "detail" in event or "Details" in event else handlers.reconcile
        handler = handlers.contact_queue if "Records" in event else handler
        try:
            print("answer", handler(event, None), flush=True)
        except Exception:
            logging.exception("raised")

for line in sys.stdin:
    asked = json.loads(line)
    if os.fork() == 0:
        signal.alarm(60)
        os.environ.update(asked["environment"])
        said = os.open(asked["said"], os.O_WRONLY | os.O_CREAT)
        os.dup2(said, 1)
        os.dup2(said, 2)
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
        said = tmp_path / f"said-{new_id()}"
        environment = {**os.environ, **TALKATIVE, **variables}
        program.stdin.write(json.dumps({"environment": environment, "events": events, "said": str(said)}) + "\n")
        program.stdin.flush()
        assert program.stdout.readline() == "0\n"
        return said.read_text(encoding="utf-8")

    return send


@pytest.fixture
def secrets(stack: LocalStack) -> list[str]:
    """What must not appear: numbers, an attribute's value, the key's text, and a part of any token."""
    key = pem(stack.private_key).decode().splitlines()[1:-1]
    header = base64.urlsafe_b64encode(b'{"alg":"RS256"').decode()[:16]
    return [CUSTOMER[1:], SYSTEM[1:], SECRET_VALUE, *key, "BEGIN PRIVATE KEY", header, "Bearer "]


@pytest.fixture
def kept(stack: LocalStack) -> Callable[[], str]:
    """Gives all that the functions keep: every record, our own messages, and the reasons beside dead letters.

    An event's message is not ours: the queues hold it as it came.
    """

    def kept() -> str:
        records = stack.dynamodb.scan(TableName=stack.table, ConsistentRead=True)["Items"]
        messages = [*stack.queue.messages, *stack.dead_letters.messages]
        ours = [message.body for message in messages if is_ours(message.body)]
        return json.dumps([records, ours, [message.attributes for message in messages]], default=str)

    return kept


def is_ours(body: str) -> bool:
    """Tell whether the functions may have made this message."""
    try:
        asked_in(body)
    except InvalidInput:
        return False
    return set(json.loads(body)) == {"contactId", "source"}


def deliver(stack: LocalStack, *bodies: object) -> list[object]:
    """Put messages into the contact queue; return the events with which Lambda invokes the worker."""
    mapping = EventSourceMapping(stack.sqs, stack.queue.url)
    events: list[object] = []
    for body in bodies:
        stack.queue.send(body, delay=0)
        events.append(mapping.receive())
    return events


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
def test_nothing_secret_is_kept_for_any_answer(
    stack: LocalStack, run: Run, kept: Callable[[], str], secrets: list[str], behaviour: Behaviour | None
) -> None:
    stack.salesforce.always(behaviour)
    contact_id, queued = new_id(), new_id()
    for one in (contact_id, queued):
        stack.connect.put_contact(described(one))
    parameters = {"fromNumber": CUSTOMER, "sfdc-Note__c": SECRET_VALUE, SECRET_VALUE[:9]: SECRET_VALUE}
    events = [flow_event(new_id(), parameters), contact_event(contact_id), contact_event(contact_id)]
    said = run([*events, *deliver(stack, contact_event(queued, tags={"number": CUSTOMER}))])
    assert said.count("voicecall-sync") > 3
    assert queued in kept()
    assert [secret for secret in secrets if secret in said + kept()] == []


@pytest.mark.parametrize("operation", ["GetSecretValue", "DescribeContact", "PutItem", "UpdateItem"])
@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.LOST])
def test_nothing_secret_is_kept_for_any_failure(
    stack: LocalStack, run: Run, kept: Callable[[], str], secrets: list[str], operation: str, fault: Fault
) -> None:
    contact_id, queued = new_id(), new_id()
    for one in (contact_id, queued):
        stack.connect.put_contact(described(one))
    delivered = deliver(stack, contact_event(queued, tags={"number": CUSTOMER}))
    stack.gateway.fail(operation, fault)
    # A short time-out, because the test only waits for a request that hangs, and no request has to succeed here.
    said = run([flow_event(new_id()), contact_event(contact_id), *delivered], TEST_AWS_SECONDS="0.3")
    assert "RETRY_LATER" in said or "SettleFailed" in said or fault is Fault.LOST
    assert said.count("voicecall-sync") > 3
    assert [secret for secret in secrets if secret in said + kept()] == []


@pytest.mark.parametrize("operation", ["ChangeMessageVisibility", "SendMessage"])
def test_nothing_secret_is_kept_for_any_failure_of_the_queue(
    stack: LocalStack, run: Run, kept: Callable[[], str], secrets: list[str], operation: str
) -> None:
    contact_id = new_id()
    stack.connect.put_contact(described(contact_id))
    stack.salesforce.always(Answer(429, body=ECHO))
    delivered = deliver(stack, contact_event(contact_id), SECRET_VALUE)
    stack.gateway.fail(operation, Fault.ERROR)
    said = run([*delivered, flow_event(new_id())])
    assert "the contact queue failed" in said
    assert [secret for secret in secrets if secret in said + kept()] == []


def test_a_message_that_cannot_be_read_is_not_repeated(
    stack: LocalStack, run: Run, kept: Callable[[], str], secrets: list[str]
) -> None:
    bodies: list[object] = [
        f"{SECRET_VALUE} {CUSTOMER}",
        {"contactId": SECRET_VALUE + "/" + CUSTOMER, "source": "operator"},
        {"contactId": new_id(), "source": SECRET_VALUE},
        {"contactId": new_id(), "source": "reconcile", SECRET_VALUE: CUSTOMER},
        flow_event(new_id(), {"fromNumber": CUSTOMER}),
        contact_event(f"../{SECRET_VALUE}"),
        contact_event(new_id(), eventType=[SECRET_VALUE]),
        contact_event(new_id(), channel={CUSTOMER: SECRET_VALUE}),
    ]
    said = run(deliver(stack, *bodies))
    assert said.count('"status":"INVALID"') == len(bodies) - 1
    assert "must be" in kept()
    assert [secret for secret in secrets if secret in said + kept()] == []


def test_an_alarms_text_is_fixed_except_for_the_stacks_name() -> None:
    """An alarm's e-mail holds its text, the metric and its value. No contact is named there."""
    resources = load(ROOT / "template.yaml")["Resources"]
    alarms = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::CloudWatch::Alarm"]
    texts = [json.dumps([alarm.get("AlarmName"), alarm["AlarmDescription"]]) for alarm in alarms]
    assert len(texts) > 10
    assert {name for text in texts for name in re.findall(r"\$\{([^}]*)\}", text)} == {"AWS::StackName"}
    dimensions = re.findall(r'"Dimensions": (\[.*?\])', json.dumps(alarms))
    assert [one for one in dimensions if re.search("contact ?id", one, re.IGNORECASE)] == []


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
    said = run([flow_event(new_id(), parameters) for parameters in WRONG])
    answers = [line for line in said.splitlines() if line.startswith("answer ")]
    for answer, parameters in zip(answers, WRONG, strict=True):
        assert f"Details.Parameters.{next(iter(parameters))} must be" in answer
    assert [secret for secret in secrets if secret in said] == []


@pytest.mark.parametrize(
    "text", ["{key}", '{{"privateKey": "{key}"}}', '{{"privateKey": {{"a": "{key}"}}}}', '["{key}"]']
)
def test_a_secret_of_an_unknown_form(stack: LocalStack, run: Run, secrets: list[str], text: str) -> None:
    stack.put_secret(text.format(key=pem(stack.private_key).decode().replace("\n", " ")))
    said = run([flow_event(new_id()), contact_event(new_id())])
    assert "RETRY_LATER" in said or "UPDATED" in said
    assert [secret for secret in secrets if secret in said] == []


def test_an_invalid_contact_id_is_not_repeated(run: Run, secrets: list[str]) -> None:
    said = run([flow_event(f"../{SECRET_VALUE}"), contact_event(f"{CUSTOMER}\r\nX-Evil: 1")])
    assert "ContactId must be a contact id" in said
    assert [secret for secret in secrets if secret in said] == []


def test_the_metrics_of_a_contact_do_not_name_it(stack: LocalStack, run: Run) -> None:
    contact_id = new_id()
    stack.connect.put_contact(described(contact_id))
    said = run([flow_event(new_id()), *deliver(stack, contact_event(contact_id))])
    metrics = [line for line in said.splitlines() if '"CloudWatchMetrics"' in line]
    assert len(metrics) > 1
    assert [line for line in metrics if contact_id in line or SECRET_VALUE in line] == []


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
def test_a_reconciliation(
    stack: LocalStack, run: Run, kept: Callable[[], str], secrets: list[str], behaviour: Behaviour | None
) -> None:
    missed = put(stack, ended(60), ended(70))
    stack.salesforce.always(behaviour)
    named = {"contactIds": [f"../{SECRET_VALUE}", CUSTOMER, *missed, {"id": SECRET_VALUE}]}
    said = run([{}, named, {"dryRun": True}, {"from": SECRET_VALUE}, {SECRET_VALUE: CUSTOMER}])
    assert "contactIds[1] must be a contact id" in said
    assert "from must be a moment" in said
    assert all(contact_id in kept() for contact_id in missed)
    assert stack.queue.bodies
    said += run(deliver(stack, *stack.queue.bodies))
    assert [secret for secret in secrets if secret in said + kept()] == []
