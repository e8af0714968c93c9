"""A stack on AWS, found by its name through CloudFormation, with boto3's usual credentials."""

from __future__ import annotations

import functools
import getpass
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import (
    ConnectionError as AwsConnectionError,
)

from voicecall_cli.log_lines import LogLines, from_cloudwatch
from voicecall_cli.queues import Queues
from voicecall_cli.target import Answer, CannotOperateError, reason
from voicecall_cli.terminal import printable, printable_json, say
from voicecall_sync.errors import aws_reason
from voicecall_sync.ledger.table import Table
from voicecall_sync.queue.api import ContactQueue

if TYPE_CHECKING:
    from types_boto3_connect import ConnectClient

DEFAULT_STACK = "voicecall-sync"
_LOG_GROUPS = {
    "flow": "LogGroupName",
    "worker": "ContactQueueLogGroupName",
    "reconcile": "ReconcileLogGroupName",
}
"""Function -> the output that names its log group."""
_OF_FINISHED_CALLS = ("ReconcileFunctionArn", "ContactQueueFunctionArn")
"""The outputs that name the functions for finished calls. Variables of the second replace the first one's."""
_METRIC_LAGS = timedelta(minutes=15)
LONGEST_INVOCATION_SECONDS = 900
BUSY_FOR_SECONDS = 20 * 60
"""How long to wait for a function that is running and must not run twice at a time."""
BUSY_PAUSE_SECONDS = 5
_ORDINARY = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 4},
)
_BRIEF = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})
"""For values that a command does not need."""
_INVOKING = Config(
    connect_timeout=5,
    read_timeout=LONGEST_INVOCATION_SECONDS + 30,
    # If an invocation's answer is lost, a second request would be a second run.
    retries={"total_max_attempts": 1},
    # Routers drop a connection that is silent for minutes.
    tcp_keepalive=True,
)


class Deployed:
    """A stack, as its outputs describe it.

    Args:
        session: boto3's, with a Region.
        stack: The stack's name.
        command: The words that begin a command line for it.

    Raises:
        CannotOperateError: There is no such stack.
    """

    reconciles_by_itself = True

    def __init__(self, session: boto3.Session, stack: str, command: Sequence[str]) -> None:
        self._session = session
        self._stack = stack
        self.command = command
        self._outputs = self._described()

    @property
    def title(self) -> str:
        """Return the stack's name and Region."""
        return f"the stack {self._stack} in {self._session.region_name}"

    @functools.cached_property
    def table(self) -> Table:
        """Return the ledger's table."""
        return Table(self._client("dynamodb"), self._output("IdempotencyTableName"))

    @functools.cached_property
    def queue(self) -> ContactQueue:
        """Return the contact queue, to send to."""
        return ContactQueue(lambda: self._sqs, self._output("ContactQueueUrl"))

    @functools.cached_property
    def queues(self) -> Queues:
        """Return both queues, to look at and to redrive; the ages of their messages are CloudWatch's."""
        urls = self._output("ContactQueueUrl"), self._output("DeadLetterQueueUrl")
        return Queues(self._sqs, *urls, self._age_of_oldest_message)

    @functools.cached_property
    def connect(self) -> ConnectClient:
        """Return Amazon Connect's client, with the operator's own credentials."""
        client: ConnectClient = self._client("connect")
        return client

    def variables(self) -> Mapping[str, str]:
        """Read the environments of the functions that find and update finished calls."""
        client = self._client("lambda")
        variables: dict[str, str] = {}
        for output in _OF_FINISHED_CALLS:
            answer = client.get_function_configuration(FunctionName=self._output(output))
            variables |= self._shown_variables(answer.get("Environment") or {})
        return variables

    def reconcile(self, request: Mapping[str, object]) -> Answer:
        """Run the reconciliation once, and wait for its end."""
        return self._invoke(self._output("ReconcileFunctionArn"), json.dumps(request))

    def log_lines(self, contact_id: str, since: datetime) -> LogLines:
        """Search the log groups of all functions."""
        groups = {function: self._output(name) for function, name in _LOG_GROUPS.items()}
        return from_cloudwatch(self._client("logs"), groups, contact_id, since)

    def operator(self) -> str:
        """Return the name of the user or of the role's session, up to an @. If AWS fails: the machine's user."""
        try:
            arn = str(self._client("sts").get_caller_identity()["Arn"])
        except (BotoCoreError, ClientError):
            return getpass.getuser()
        return arn.rpartition(":")[2].rpartition("/")[2].partition("@")[0] or getpass.getuser()

    def _client(self, service: str, config: Config = _ORDINARY) -> Any:  # noqa: ANN401 - stubs for some services only
        made: Any = self._session
        return made.client(service, config=config)

    @functools.cached_property
    def _sqs(self) -> Any:  # noqa: ANN401
        return self._client("sqs")

    def _age_of_oldest_message(self, queue: str) -> timedelta | None:
        """Return the age that CloudWatch has; None if it has none or refuses the request."""
        now = datetime.now(UTC)
        try:
            answer = self._client("cloudwatch", _BRIEF).get_metric_statistics(
                Namespace="AWS/SQS",
                MetricName="ApproximateAgeOfOldestMessage",
                Dimensions=[{"Name": "QueueName", "Value": queue}],
                StartTime=now - _METRIC_LAGS,
                EndTime=now,
                Period=60,
                Statistics=["Maximum"],
            )
        except (BotoCoreError, ClientError):
            return None
        latest = max(answer.get("Datapoints", []), key=lambda point: point["Timestamp"], default=None)
        return timedelta(seconds=float(latest["Maximum"])) if latest else None

    def _shown_variables(self, environment: Mapping[str, Any]) -> Mapping[str, str]:
        if "Error" in environment:  # encrypted with a key that the operator may not use, for example
            code = printable(str(environment["Error"].get("ErrorCode", "unknown")))
            raise CannotOperateError(f"AWS does not show the variables of the functions of {self.title} ({code})")
        return environment.get("Variables") or {}

    @functools.cached_property
    def _functions(self) -> Any:  # noqa: ANN401
        made: Any = self._session
        return made.client("lambda", config=_INVOKING)

    def _described(self) -> Mapping[str, str]:
        try:
            [stack] = self._client("cloudformation").describe_stacks(StackName=self._stack)["Stacks"]
        except ClientError as failure:
            if aws_reason(failure) == "ValidationError":
                raise CannotOperateError(
                    f"there is no stack {self._stack} in {self._session.region_name}: name it with --stack and its"
                    " Region with --region"
                ) from None
            raise
        return {output["OutputKey"]: printable(output["OutputValue"]) for output in stack.get("Outputs", [])}

    def _output(self, name: str) -> str:
        if name not in self._outputs:
            raise CannotOperateError(
                f"{self.title} has no output {name}: its template is older than these commands, or it was never"
                " deployed to the end; deploy it again (sam build && sam deploy)"
            )
        return self._outputs[name]

    def _invoke(self, arn: str, payload: str) -> Answer:
        functions = self._functions
        latest = time.monotonic() + BUSY_FOR_SECONDS
        announced = False
        while True:
            try:
                answer = functions.invoke(FunctionName=arn, InvocationType="RequestResponse", Payload=payload.encode())
                break
            except functions.exceptions.TooManyRequestsException:
                # This one did not run. Another run is under way, for example the schedule's: wait for it.
                if time.monotonic() > latest:
                    return Answer({}, "the function was busy all the time (TooManyRequestsException)")
                if not announced:
                    say("the function runs already, for the schedule or another operator: waiting for its turn ...")
                announced = True
                time.sleep(BUSY_PAUSE_SECONDS)
            except (HTTPClientError, AwsConnectionError) as failure:
                return Answer({}, f"no answer came ({type(failure).__name__}): it may still be running")
        return _answer(answer)


def found(stack: str, region: str | None, profile: str | None, command: Sequence[str]) -> Deployed:
    """Return a stack by its name.

    Raises:
        CannotOperateError: There is no such stack, no Region or no such profile.
    """
    try:
        session = boto3.Session(profile_name=profile, region_name=region)
    except ProfileNotFound:
        raise CannotOperateError(
            f"there is no AWS profile {profile}: `aws configure list-profiles` names them"
        ) from None
    if session.region_name is None:
        raise CannotOperateError("no Region is set: give --region, or set AWS_DEFAULT_REGION")
    return Deployed(session, stack, command)


def explained(failure: BotoCoreError | ClientError) -> str:
    """Say in a line what went wrong at AWS and what to do."""
    if isinstance(failure, ClientError):
        return _refused(printable(aws_reason(failure)), failure.operation_name)
    if isinstance(failure, NoCredentialsError | CredentialRetrievalError | TokenRetrievalError | SSOError):
        return "there are no AWS credentials: sign in (aws sso login, aws configure), or name a --profile"
    if isinstance(failure, HTTPClientError | AwsConnectionError):
        return f"AWS cannot be reached from here ({type(failure).__name__}): is the Region right, and the network up?"
    return f"AWS cannot be used: {printable(str(failure))}"


def _refused(code: str, operation: str) -> str:
    if code.startswith("AccessDenied") or code == "UnauthorizedOperation":
        return f"AWS refused {operation} ({code}): docs/operations.md lists the rights an operator needs"
    if "Token" in code or code == "SignatureDoesNotMatch":
        return f"AWS does not take these credentials ({code}): sign in again"
    return f"AWS failed at {operation}: {code}"


def _answer(answer: Mapping[str, Any]) -> Answer:
    value = printable_json(answer["Payload"].read())
    fields = value if isinstance(value, dict) else {}
    if answer.get("FunctionError"):
        kind, message = (str(fields.get(name, "")) for name in ("errorType", "errorMessage"))
        return Answer({}, reason(kind or printable(str(answer["FunctionError"])), message))
    return Answer(fields)
