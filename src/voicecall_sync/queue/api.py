"""The edge to SQS: the contact queue and its dead-letter queue.

SQS takes ten messages at once, and 256 KiB in a message. Newer queues take more (Amazon SQS message quotas).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from voicecall_sync.errors import QueueUnavailable, aws_reason, failing_as
from voicecall_sync.outcome import Source
from voicecall_sync.queue.coming_back import whole_seconds
from voicecall_sync.queue.depth import Depth
from voicecall_sync.queue.messages import Message, body_of

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

REASON = "Reason"
"""The message attribute with the reason why the worker moved a message to the dead-letter queue."""
BATCH = 10
_LARGEST = 256 * 1024
_LONGEST_REASON = 1024
_ROOM_FOR_REASON = _LONGEST_REASON + 100


class ContactQueue:
    """The contact queue and its dead-letter queue.

    Every method raises QueueUnavailable if SQS failed.

    Args:
        client: Gives an SQS client; the first request asks for it.
        url: The contact queue's address.
        dead_letter_url: The dead-letter queue's address; "" if the caller does not use that queue.
    """

    def __init__(self, client: Callable[[], SQSClient], url: str, dead_letter_url: str = "") -> None:
        self._client = client
        self._url = url
        self._dead_letter_url = dead_letter_url

    def send(self, contact_id: str, source: Source, delay: timedelta | None = None) -> None:
        """Send one message.

        Args:
            contact_id: The contact.
            source: The sender.
            delay: How long SQS holds it back; None for the queue's own delay.
        """
        arguments: dict[str, Any] = {} if delay is None else {"DelaySeconds": whole_seconds(delay)}
        with failing_as(_unavailable("send")):
            self._client().send_message(QueueUrl=self._url, MessageBody=body_of(contact_id, source), **arguments)

    def send_all(self, contact_ids: Sequence[str], source: Source) -> None:
        """Send a message for each contact, without delay.

        Raises:
            QueueUnavailable: Not every message was accepted. Some may have been.
        """
        for start in range(0, len(contact_ids), BATCH):
            entries: Any = [
                {"Id": str(index), "MessageBody": body_of(contact_id, source), "DelaySeconds": 0}
                for index, contact_id in enumerate(contact_ids[start : start + BATCH])
            ]
            with failing_as(_unavailable("send")):
                answer = self._client().send_message_batch(QueueUrl=self._url, Entries=entries)
                accepted = len(answer.get("Successful", ()))
            if accepted < len(entries):
                raise QueueUnavailable(f"the contact queue did not accept {len(entries) - accepted} messages")

    def come_back(self, message: Message, after: timedelta) -> None:
        """Let SQS give a message again after this time, once the worker has reported it as failed."""
        with failing_as(_unavailable("change of visibility")):
            self._client().change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=message.receipt, VisibilityTimeout=whole_seconds(after)
            )

    def set_apart(self, message: Message, reason: str) -> None:
        """Send a copy of a message to the dead-letter queue, with the reason beside it if there is room."""
        arguments: dict[str, Any] = {}
        if len(message.body.encode("utf-8", "replace")) + _ROOM_FOR_REASON <= _LARGEST:
            text = reason.encode("ascii", "backslashreplace").decode()[:_LONGEST_REASON]
            arguments["MessageAttributes"] = {REASON: {"DataType": "String", "StringValue": text or "unknown"}}
        with failing_as(_unavailable("send to the dead-letter queue")):
            self._client().send_message(QueueUrl=self._dead_letter_url, MessageBody=message.body, **arguments)

    def depth(self) -> Depth:
        """Return how much is in the contact queue."""
        with failing_as(_unavailable("read of its length")):
            return depth_of(self._client(), self._url)

    def dead_letters(self) -> Depth:
        """Return how much is in the dead-letter queue."""
        with failing_as(_unavailable("read of the dead-letter queue's length")):
            return depth_of(self._client(), self._dead_letter_url)


def depth_of(client: SQSClient, url: str) -> Depth:
    """Return how much is in a queue.

    Raises:
        Exception: Any of botocore's, or one that an unreadable answer causes.
    """
    names: Any = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
    attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return Depth(*(int(attributes[name]) for name in names))


def _unavailable(operation: str) -> Callable[[Exception], QueueUnavailable]:
    return lambda failure: QueueUnavailable(f"the contact queue failed at {operation}: {aws_reason(failure)}")
