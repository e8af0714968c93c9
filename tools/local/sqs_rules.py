"""What Amazon SQS accepts: limits, names and characters, and the errors for what it does not.

The numbers and error codes are from the API reference: SendMessage, SendMessageBatch, SetQueueAttributes and the
others, https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

Body = Mapping[str, Any]
"""A request's body, or a part of it, as JSON holds it."""

_QUERY_CODES = {
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    **{
        name: f"AWS.SimpleQueueService.{name}"
        for name in (
            "BatchEntryIdsNotDistinct",
            "BatchRequestTooLong",
            "EmptyBatchRequest",
            "InvalidBatchEntryId",
            "MessageNotInflight",
            "TooManyEntriesInBatchRequest",
        )
    },
}
"""Errors that had another name in SQS's older protocol; clients still get that one, from a header."""

LONGEST_VISIBILITY = 43_200
MOST_IN_A_BATCH = 10
MOST_BYTES = 1_048_576
"""Of a message, and of all messages in a batch."""
DEFAULTS = {
    "DelaySeconds": "0",
    "MaximumMessageSize": str(MOST_BYTES),
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "VisibilityTimeout": "30",
}
"""What a queue has that is made without attributes."""
_RANGES = {
    "DelaySeconds": (0, 900),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, LONGEST_VISIBILITY),
}
_RECEIVES = (1, 1000)
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_NOT_ALLOWED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class SqsError(Exception):
    """A request that SQS refuses.

    Attributes:
        code: the name of the error in the API's model.
        status: the answer's.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status

    @property
    def query_code(self) -> str:
        """The name that boto3 shows as the error's code."""
        return _QUERY_CODES.get(self.code, self.code)


def invalid(message: str) -> SqsError:
    """Return the error for a parameter's value."""
    return SqsError("InvalidParameterValue", message)


def required(body: Body, name: str) -> str:
    """Return a parameter that must be given, as text.

    Raises:
        SqsError: it is missing or empty.
    """
    value = body.get(name)
    if not value:
        raise SqsError("MissingParameter", f"The request must contain the parameter {name}.")
    return str(value)


def number(body: Body, name: str, default: int, least: int, most: int) -> int:
    """Return a parameter that is a whole number in a range.

    Raises:
        SqsError: it is not.
    """
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or not least <= value <= most:
        raise invalid(
            f"Value {value} for parameter {name} is invalid. Reason: Must be between {least} and {most}, if provided."
        )
    return value


def check_attributes(attributes: Mapping[str, str]) -> None:
    """Check the attributes that a queue is to have.

    Raises:
        SqsError: one is unknown or has a value that it cannot have.
    """
    for name, value in attributes.items():
        if name in _RANGES:
            least, most = _RANGES[name]
            if not str(value).isdecimal() or not least <= int(value) <= most:
                raise SqsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
        elif name == "RedrivePolicy":
            redrive_policy(value)
        else:
            raise SqsError("InvalidAttributeName", f"Unknown Attribute {name}.")


def redrive_policy(text: str) -> tuple[str, int]:
    """Return the dead-letter queue's ARN and how often a message may be received.

    Raises:
        SqsError: it is not a redrive policy.
    """
    try:
        policy = json.loads(text)
        target, receives = str(policy["deadLetterTargetArn"]), int(policy["maxReceiveCount"])
    except (ValueError, KeyError, TypeError):
        raise invalid_policy(text, "Not a redrive policy.") from None
    if not _RECEIVES[0] <= receives <= _RECEIVES[1]:
        raise invalid_policy(text, "maxReceiveCount must be from 1 to 1000.")
    return target, receives


def invalid_policy(text: str, reason: str) -> SqsError:
    """Return the error for a redrive policy."""
    return SqsError("InvalidAttributeValue", f"Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}")


def check_batch(entries: Sequence[Body]) -> None:
    """Check what lets a batch fail as a whole.

    Raises:
        SqsError: it is empty or too long, or the entries' ids will not do.
    """
    if not entries:
        raise SqsError("EmptyBatchRequest", "There should be at least one entry in the request.")
    if len(entries) > MOST_IN_A_BATCH:
        raise SqsError("TooManyEntriesInBatchRequest", f"Maximum number of entries per request are {MOST_IN_A_BATCH}.")
    ids = [str(entry.get("Id", "")) for entry in entries]
    if not all(map(_ENTRY_ID.fullmatch, ids)):
        raise SqsError("InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, - and _.")
    if repeated := next((one for one in ids if ids.count(one) > 1), None):
        raise SqsError("BatchEntryIdsNotDistinct", f"Id {repeated} repeated.")


def check_message(message: Body) -> None:
    """Check a message that is to be sent: its body and its attributes.

    Raises:
        SqsError: SQS would not take it.
    """
    attributes: Mapping[str, Body] = message.get("MessageAttributes") or {}
    texts = [required(message, "MessageBody"), *(one.get("StringValue", "") for one in attributes.values())]
    if any(map(_NOT_ALLOWED.search, texts)):
        raise SqsError("InvalidMessageContents", "Invalid characters: only those of XML 1.0 are allowed.")
    for name, attribute in attributes.items():
        if not attribute.get("StringValue"):
            raise invalid(f"The message attribute '{name}' must contain a non-empty message attribute value.")
    if size(message) > MOST_BYTES:
        raise invalid(f"One or more parameters are invalid. Reason: Message must be shorter than {MOST_BYTES} bytes.")


def size(message: Body) -> int:
    """Return a message's bytes: the body, and of each attribute its name, type and text."""
    attributes: Mapping[str, Body] = message.get("MessageAttributes") or {}
    parts = [str(message.get("MessageBody", "")).encode()]
    for name, attribute in attributes.items():
        parts += [name.encode(), attribute["DataType"].encode(), attribute["StringValue"].encode()]
    return sum(map(len, parts))


def md5(text: str) -> str:
    """Return the digest that SQS tells of a body."""
    return _digest(text.encode())


def md5_of_attributes(attributes: Mapping[str, Body]) -> str:
    """Return the digest that SQS tells of a message's attributes, which are texts.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
    """
    encoded = bytearray()
    for name, attribute in sorted(attributes.items()):
        for kind, text in ((b"", name), (b"", attribute["DataType"]), (b"\1", attribute["StringValue"])):
            part = text.encode()
            encoded += kind + struct.pack("!I", len(part)) + part
    return _digest(bytes(encoded))


def _digest(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
