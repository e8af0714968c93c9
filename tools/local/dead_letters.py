"""The dead-letter queue beside the table, in the SQS simulator or in MiniStack."""

from __future__ import annotations

from typing import Any


def queue_url(client: Any, table: str) -> str:  # noqa: ANN401 - there are no stubs for SQS here
    """Return the queue's address; it is made if there is none yet.

    Args:
        client: A client of SQS.
        table: The stack's table, after which the queue is named.
    """
    return str(client.create_queue(QueueName=f"{table}-dead-letters")["QueueUrl"])
