"""The local dead-letter queue: beside the table, in MiniStack, for events that a handler raised for."""

from __future__ import annotations

import json
from typing import Any


def queue_url(client: Any, table: str) -> str:  # noqa: ANN401 - there are no stubs for SQS here
    """Return the queue's address; it is made if there is none yet.

    Args:
        client: A client of SQS.
        table: The stack's table, after which the queue is named.
    """
    return str(client.create_queue(QueueName=f"{table}-dead-letters")["QueueUrl"])


def keep(client: Any, table: str, event: object, message: str) -> None:  # noqa: ANN401
    """Keep an event as Lambda does when its retries are used up: whole, with the exception's message beside it."""
    said = {"ErrorMessage": {"DataType": "String", "StringValue": message[:1024]}}
    client.send_message(QueueUrl=queue_url(client, table), MessageBody=json.dumps(event), MessageAttributes=said)
