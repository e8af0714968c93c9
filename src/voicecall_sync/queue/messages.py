"""A message of the contact queue, as Lambda gives it, and the body of our own messages. ``asked`` reads a body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from voicecall_sync.errors import InvalidInput
from voicecall_sync.outcome import Source


@dataclass(frozen=True, slots=True)
class Message:
    """One message, as Lambda gives it.

    Attributes:
        receipt: SQS's handle of this receive.
        sent_at: When it came into the queue; None if the event lacks that. A redrive makes a new message.
        receives: How often it was received, this time included.
    """

    message_id: str
    receipt: str = field(repr=False)
    body: str = field(repr=False)
    sent_at: datetime | None
    receives: int


def messages_of(event: object) -> tuple[Message, ...]:
    """Read a batch of Lambda's event source mapping of SQS.

    Raises:
        InvalidInput: It is not such a batch.
    """
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list) or not records:
        raise InvalidInput("event", 'a batch of SQS messages: {"Records": [{"messageId": …, "body": …}]}')
    return tuple(_message(record, f"Records[{index}]") for index, record in enumerate(records))


def _message(record: object, path: str) -> Message:
    if not isinstance(record, Mapping):
        raise InvalidInput(path, "an SQS message")
    message_id, body = record.get("messageId"), record.get("body")
    if not isinstance(message_id, str) or not message_id:
        raise InvalidInput(f"{path}.messageId", "the id of an SQS message")
    if not isinstance(body, str):
        raise InvalidInput(f"{path}.body", "text")
    attributes = record.get("attributes")
    numbers = attributes if isinstance(attributes, Mapping) else {}
    sent = _whole(numbers.get("SentTimestamp"))
    return Message(
        message_id=message_id,
        receipt=str(record.get("receiptHandle") or ""),
        body=body,
        sent_at=datetime.fromtimestamp(sent / 1000, UTC) if sent else None,
        receives=_whole(numbers.get("ApproximateReceiveCount")) or 1,
    )


def _whole(value: object) -> int | None:
    """Return a number that SQS writes as text; None if it is too long for a time of this century."""
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) <= 13 else None  # noqa: PLR2004


def body_of(contact_id: str, source: Source) -> str:
    """Return the body of one of our own messages."""
    return json.dumps({"contactId": contact_id, "source": source.value})
