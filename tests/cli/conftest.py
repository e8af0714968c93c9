"""A deployed stack as the commands find one: in MiniStack's CloudFormation, with the real handlers behind it."""

import contextlib
import io
import json
import os
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import boto3
import pytest
from boto3.dynamodb.types import TypeSerializer

from tests.conftest import QUICK
from tests.support.sandbox import Context, Sandbox, frugal_session
from tools.local.local_stack import ROOT, LocalStack
from tools.local.mapping import EventSourceMapping
from voicecall_cli import account, watch
from voicecall_cli.command_line import main

# What Lambda would find in the artifact, this Python's packages and the sources; what the template would set.
HANDLERS = """
import os, sys
os.environ.update({variables!r})
sys.path[:0] = {paths!r}
from voicecall_sync.handlers import reconcile
"""

# What the template sets of the reconciliation's function alone.
_RECONCILIATIONS = {
    *("RECONCILE_SCOPE", "RECONCILE_LOOK_BACK_HOURS", "RECONCILE_SEARCHES_PER_SECOND", "RECONCILE_PAUSED"),
}


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def flat(self) -> str:
        """What it said, as if no line had an end."""
        return " ".join(self.out.split())

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Operate = Callable[..., Done]


def session(*, profile_name: str | None, region_name: str | None) -> boto3.Session:
    """As boto3's, but one for all commands that name neither: making their clients takes most of a command's time."""
    if profile_name or region_name or "AWS_ACCESS_KEY_ID" not in os.environ:
        return SESSION(profile_name=profile_name, region_name=region_name)
    return frugal_session()


SESSION = boto3.Session


@pytest.fixture
def operate(
    stack: LocalStack,  # noqa: ARG001 - it has set the environment
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Operate:
    """Runs a command here, with an operator's answers, in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(boto3, "Session", session)

    def run(*words: str, typed: str = "") -> Done:
        capsys.readouterr()
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        try:
            status = main(list(words))
        except SystemExit as left:
            status = int(str(left.code))
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    return run


@dataclass
class DeployedStack:
    """A CloudFormation stack over a local one.

    Attributes:
        outputs: what its template puts out beside the queue.
    """

    local: LocalStack
    name: str = field(default_factory=lambda: f"voicecall-sync-{uuid4().hex[:8]}")

    def client(self, service: str) -> Any:
        made: Any = frugal_session()
        return made.client(service)

    def create(self, *, without: str = "") -> "DeployedStack":
        outputs = {
            "IdempotencyTableName": self.local.table,
            "ReconcileFunctionArn": self._arn("reconcile"),
            "ContactQueueFunctionArn": self._arn("worker"),
            "LogGroupName": self.group("flow"),
            "ContactQueueLogGroupName": self.group("worker"),
            "ReconcileLogGroupName": self.group("reconcile"),
            "ContactQueueUrl": self.local.queue.url,
            "DeadLetterQueueUrl": self.local.dead_letters.url,
        }
        template = {
            "AWSTemplateFormatVersion": "2010-09-09",
            "Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {}}},
            "Outputs": {name: {"Value": value} for name, value in outputs.items() if name != without},
        }
        client = self.client("cloudformation")
        client.create_stack(StackName=self.name, TemplateBody=json.dumps(template))
        client.get_waiter("stack_create_complete").wait(
            StackName=self.name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200}
        )
        return self

    def deploy(self, settings: Mapping[str, str] | None = None) -> "DeployedStack":
        """Put the real reconciliation behind its function.

        Args:
            settings: further variables.
        """
        variables = {**self.local.environment(), **QUICK, **(settings or {})}
        paths = [str(ROOT / "src"), str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
        self._create_function("reconcile", HANDLERS.format(variables=variables, paths=paths), {})
        return self

    def configure(self, settings: Mapping[str, str] | None = None) -> "DeployedStack":
        """Put functions there that are only looked at: the variables are those that the template would set.

        Args:
            settings: further variables; some are the reconciliation's alone.
        """
        variables = {**self.local.environment(), **QUICK, **(settings or {})}
        shared = {name: value for name, value in variables.items() if name not in _RECONCILIATIONS}
        self._create_function("worker", "", shared)
        self._create_function("reconcile", "", variables)
        return self

    def answering(self, answer: object) -> "DeployedStack":
        """Put a function that gives this answer behind the reconciliation's name."""
        self._create_function("reconcile", f"def reconcile(event, context):\n    return {answer!r}\n", {})
        return self

    def _create_function(self, name: str, code: str, variables: Mapping[str, str]) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("deployed.py", code)
        self.client("lambda").create_function(
            FunctionName=f"{self.name}-{name}",
            Runtime="python3.11",
            Role="arn:aws:iam::000000000000:role/any",
            Handler="deployed.reconcile",
            Code={"ZipFile": packed.getvalue()},
            Timeout=120,
            Environment={"Variables": dict(variables)},
        )

    def group(self, function: str) -> str:
        return f"/voicecall-sync/{self.name}/{function}"

    def log(self, function: str, *lines: Mapping[str, Any] | str, at: datetime | None = None) -> None:
        """Let a function have written lines."""
        client, group = self.client("logs"), self.group(function)
        client.create_log_group(logGroupName=group)
        client.create_log_stream(logGroupName=group, logStreamName="one")
        stamp = int((at or datetime.now(UTC)).timestamp() * 1000)
        events = [
            {"timestamp": stamp + index, "message": line if isinstance(line, str) else json.dumps(line)}
            for index, line in enumerate(lines)
        ]
        client.put_log_events(logGroupName=group, logStreamName="one", logEvents=events)

    def _arn(self, function: str) -> str:
        return f"arn:aws:lambda:us-east-1:000000000000:function:{self.name}-{function}"


@pytest.fixture
def deployed(stack: LocalStack) -> DeployedStack:
    """A stack without functions: most commands need none."""
    return DeployedStack(stack).create()


@pytest.fixture
def put(stack: LocalStack) -> Callable[..., str]:
    """Puts a record, in any state and of any age, and returns its contact."""

    def put(state: str, **values: Any) -> str:
        contact_id = str(uuid4())
        now = int(time.time())
        record = {
            "contactId": contact_id,
            "state": state,
            "owner": str(uuid4()),
            "ownerUntil": now,
            "source": "contact-event",
            "attempts": 1,
            "claimedAt": now,
            "metAt": now,
            "firstSource": "contact-event",
            "detail": "a detail",
            "properties": ["endTime", "queue"],
            **({} if state == "UPDATED" else {"open": state, "since": now}),
            **values,
        }
        serialize = TypeSerializer().serialize
        item = {name: serialize(value) for name, value in record.items() if value is not None}
        stack.dynamodb.put_item(TableName=stack.table, Item=item)
        return contact_id

    return put


class Working:
    """The time of a command that waits: whenever it sleeps, the worker takes the messages there are.

    Attributes:
        slept: how often it slept.
        idle: the worker does not work.
        interrupted: The operator presses Ctrl-C.
    """

    def __init__(self, mapping: EventSourceMapping, sandbox: Sandbox) -> None:
        self.slept = 0
        self.idle = self.interrupted = False
        self._mapping, self._sandbox = mapping, sandbox
        self._ahead = 0.0

    def monotonic(self) -> float:
        return self._ahead

    def sleep(self, seconds: float) -> None:
        self.slept += 1
        self._ahead += seconds
        if self.interrupted:
            raise KeyboardInterrupt
        if self.idle:
            return
        with contextlib.redirect_stdout(io.StringIO()):
            self._mapping.drain(lambda event: self._sandbox.app.contact_queue(event, Context()))


@pytest.fixture
def working(stack: LocalStack, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Working:
    """Lets the worker work while a command waits for it."""
    made = Working(EventSourceMapping(stack.sqs, stack.queue.url), sandbox)
    for module in (account, watch):
        monkeypatch.setattr(module, "time", made)
    return made
