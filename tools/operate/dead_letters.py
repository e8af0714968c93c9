"""The dead-letter queue: events that could not be delivered, each taken at most once in a run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from voicecall_sync.contact import asked_by
from voicecall_sync.errors import InvalidInput
from voicecall_sync.outcome import Status

HIDDEN_SECONDS = 900
"""How long a message taken is hidden from others; what is left is shown again at the end of the run."""
_WAIT_SECONDS = 1
_MOST_MET_AGAIN = 20
_STATUSES = tuple(f"{status}: " for status in Status)


@dataclass(frozen=True, slots=True)
class Letter:
    """One message.

    Attributes:
        body: The event, as JSON. It holds what must not be shown.
        sent_at: When it came into the queue.
        why: Why it did, as far as that may be repeated; "" where nobody says.
    """

    id: str
    receipt: str
    body: str = field(repr=False)
    sent_at: datetime
    why: str

    @property
    def contact_id(self) -> str:
        """Return the contact it is about, "" where it names none."""
        try:
            return asked_by(json.loads(self.body)).contact_id
        except (ValueError, InvalidInput):
            return ""


class DeadLetters:
    """One queue.

    Args:
        client: A client of SQS.
        url: The queue's.
    """

    def __init__(self, client: Any, url: str) -> None:  # noqa: ANN401 - there are no stubs for it here
        self._client = client
        self._url = url

    def count(self) -> int:
        """Return how many messages wait, about."""
        asked = "ApproximateNumberOfMessages"
        answer = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=[asked])
        return int(answer["Attributes"][asked])

    def letters(self) -> Iterator[Letter]:
        """Take one message after the other, none twice, until there are no more."""
        seen: set[str] = set()
        met_again = 0
        while met_again < _MOST_MET_AGAIN:
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=1,
                VisibilityTimeout=HIDDEN_SECONDS,
                WaitTimeSeconds=_WAIT_SECONDS,
                AttributeNames=["SentTimestamp"],
                MessageAttributeNames=["All"],
            )
            messages = answer.get("Messages", [])
            if not messages:
                return
            for message in messages:
                if message["MessageId"] in seen:
                    met_again += 1
                    continue
                seen.add(message["MessageId"])
                yield _letter(message)

    def delete(self, letter: Letter) -> None:
        """Take a message out of the queue for good."""
        self._client.delete_message(QueueUrl=self._url, ReceiptHandle=letter.receipt)

    def put_back(self, letter: Letter) -> None:
        """Let a message be seen again at once. If that fails, it is seen again a little later by itself."""
        with contextlib.suppress(BotoCoreError, ClientError):
            self._client.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=letter.receipt, VisibilityTimeout=0
            )


def _letter(message: Mapping[str, Any]) -> Letter:
    said = {name: str(value.get("StringValue", "")) for name, value in message.get("MessageAttributes", {}).items()}
    return Letter(
        id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"],
        sent_at=datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC),
        why=_why(said),
    )


def _why(said: Mapping[str, str]) -> str:
    """Name the reason: Lambda's attribute holds the exception's message, which may hold a value unless it is ours."""
    message = said.get("ErrorMessage", "")
    if message.startswith(_STATUSES):
        return message
    if message:
        return "the function failed"
    return said.get("ERROR_CODE", "")  # EventBridge's: the event did not even come to the function
