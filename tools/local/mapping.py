"""Lambda's event source mapping between an SQS queue and a function, through boto3 and against any endpoint.

    event, what is deleted             https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
    batchItemFailures and answers      https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html

A function may set a message's visibility time-out and then report the message as failed. AWS does not say whether that
time-out then lasts: `keeps_visibility` chooses.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from tools.local.messages import Clock, utc_now
from tools.local.sqs import REGION

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

Invoke = Callable[[dict[str, Any]], object]
"""Runs the function with an event; returns its answer, and raises what it raises."""

_IDLE_SECONDS = 0.2
_MOST_TURNS = 1000


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that was handed to the function.

    Attributes:
        message_id: the message's.
        body: the message's.
        receives: how often it had been received by then, this time included.
        is_done: whether it was deleted; otherwise it comes back.
        error: what the function raised, or what was wrong with its answer; None if nothing was.
    """

    message_id: str
    body: str
    receives: int
    is_done: bool
    error: str | None = None


class UnreadableAnswerError(Exception):
    """An answer for which Lambda takes the whole batch as failed."""


class EventSourceMapping:
    """A mapping with ReportBatchItemFailures and batches of one message.

    Attributes:
        is_enabled: whether it receives anything.
        keeps_visibility: whether a visibility time-out that the function set lasts after a failure. Otherwise the
            queue's own counts, from the receive.
    """

    def __init__(self, client: SQSClient, queue_url: str, *, clock: Clock = utc_now) -> None:
        """Make a mapping, enabled.

        Args:
            client: for SQS, as the queue's consumer.
            queue_url: the queue's.
            clock: gives the present moment, aware; the queue's.
        """
        self.is_enabled = True
        self.keeps_visibility = True
        self._client = client
        self._url = queue_url
        self._clock = clock
        queue = client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn", "VisibilityTimeout"])
        self._arn = queue["Attributes"]["QueueArn"]
        self._visibility = timedelta(seconds=int(queue["Attributes"]["VisibilityTimeout"]))

    def turn(self, invoke: Invoke, *, wait_seconds: int = 0) -> list[Delivery]:
        """Receive one batch of what is visible, invoke the function with it, and delete what it does not report.

        Args:
            invoke: the function.
            wait_seconds: how long to wait for a message, 20 at most.

        Returns:
            The delivery of each message; empty without a message, or if the mapping is disabled.
        """
        if not self.is_enabled:
            return []
        received_at = self._clock()
        batch = self._receive(wait_seconds)
        if not batch:
            return []
        failed, error = _outcome(invoke, self._event(batch))
        deliveries = []
        for message in batch:
            is_done = failed is not None and message["MessageId"] not in failed
            if is_done:
                self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
            elif not self.keeps_visibility:
                self._hide_since(received_at, message["ReceiptHandle"])
            receives = int(message["Attributes"]["ApproximateReceiveCount"])
            deliveries.append(Delivery(message["MessageId"], message["Body"], receives, is_done, error))
        return deliveries

    def receive(self) -> dict[str, Any]:
        """Receive one batch, as an event, and leave it at that: what is invoked with it dies."""
        return self._event(self._receive(0))

    def drain(self, invoke: Invoke) -> list[Delivery]:
        """Take turns until nothing is visible; return all deliveries.

        Raises:
            RuntimeError: there is still something visible after a thousand turns.
        """
        deliveries: list[Delivery] = []
        for _ in range(_MOST_TURNS):
            turn = self.turn(invoke)
            if not turn:
                return deliveries
            deliveries += turn
        raise RuntimeError(f"still something visible after {_MOST_TURNS} turns")

    def run(self, invoke: Invoke) -> NoReturn:
        """Take turns for ever.

        Failed requests to SQS are repeated. A queue that is missing for a while only delays its messages.
        """
        while True:
            deliveries: list[Delivery] = []
            with contextlib.suppress(BotoCoreError, ClientError):
                deliveries = self.turn(invoke, wait_seconds=1)
            if not deliveries:
                time.sleep(_IDLE_SECONDS)

    def _receive(self, wait_seconds: int) -> list[Any]:
        answer = self._client.receive_message(
            QueueUrl=self._url,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
            WaitTimeSeconds=wait_seconds,
        )
        return list(answer.get("Messages", []))

    def _event(self, batch: list[Any]) -> dict[str, Any]:
        return {
            "Records": [
                {
                    "messageId": message["MessageId"],
                    "receiptHandle": message["ReceiptHandle"],
                    "body": message["Body"],
                    "attributes": dict(message["Attributes"]),
                    "messageAttributes": {
                        name: _attribute(attribute) for name, attribute in message.get("MessageAttributes", {}).items()
                    },
                    "md5OfBody": message["MD5OfBody"],
                    "eventSource": "aws:sqs",
                    "eventSourceARN": self._arn,
                    "awsRegion": REGION,
                }
                for message in batch
            ]
        }

    def _hide_since(self, received_at: datetime, handle: str) -> None:
        left = (received_at + self._visibility - self._clock()).total_seconds()
        with contextlib.suppress(ClientError):  # visible already, deleted, or received again meanwhile
            self._client.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=handle, VisibilityTimeout=max(0, math.ceil(left))
            )


def _outcome(invoke: Invoke, event: dict[str, Any]) -> tuple[frozenset[str] | None, str | None]:
    """Invoke the function; return the ids that it reports, None for all of them, and what went wrong."""
    ids = {record["messageId"] for record in event["Records"]}
    try:
        return reported(invoke(event), ids), None
    except Exception as error:  # noqa: BLE001 - after any exception its messages come back
        return None, f"{type(error).__name__}: {error}"


def reported(answer: object, ids: set[str]) -> frozenset[str]:
    """Return the messages that a function's answer reports as failed.

    Args:
        answer: what the function returned.
        ids: the batch's.

    Raises:
        UnreadableAnswerError: for Lambda, the whole batch has failed.
    """
    try:
        read = json.loads(json.dumps(answer))
    except (TypeError, ValueError) as error:
        raise UnreadableAnswerError("not JSON") from error
    if not isinstance(read, Mapping | None):
        raise UnreadableAnswerError("not an object")
    failures = (read or {}).get("batchItemFailures") or []
    if not isinstance(failures, list):
        raise UnreadableAnswerError("batchItemFailures is not a list")
    named = [failure.get("itemIdentifier") if isinstance(failure, dict) else None for failure in failures]
    if unknown := [name for name in named if name not in ids]:
        raise UnreadableAnswerError(f"not in the batch: {unknown}")
    return frozenset(str(name) for name in named)


def _attribute(attribute: Mapping[str, Any]) -> dict[str, Any]:
    """Spell a message's attribute, which is a text, as an event does."""
    return {
        "stringValue": attribute["StringValue"],
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": attribute["DataType"],
    }
