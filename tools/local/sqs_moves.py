"""Tasks that move the messages of a dead-letter queue, as Amazon SQS does them.

Pages of https://docs.aws.amazon.com/AWSSimpleQueueService/latest/:

    what is a source, one task a queue   APIReference/API_StartMessageMoveTask.html
    states, at most 10 tasks listed      APIReference/API_ListMessageMoveTasks.html
    new id, moment and retention         SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html
    a message whose source is unknown    SQSDeveloperGuide/troubleshooting-dlq-redrive.html

A task goes on with every request to SQS. It first moves the messages of one second, then as many more for each second
of the clock. The DelaySeconds of the target queue hold for a moved message as for a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from tools.local.sqs_queue import Message, Queue
from tools.local.sqs_rules import Body, SqsError, invalid

MOST_PER_SECOND = 500
_MOST_LISTED = 10
_NO_SOURCE = "CouldNotDetermineMessageSource"
_NO_QUEUE = "AWS.SimpleQueueService.NonExistentQueue"


@dataclass(slots=True)
class MoveTask:
    """One task.

    Attributes:
        destination: the ARN that was given; None moves each message back to the queue that it came from.
        per_second: how many messages it moves a second; None where that was left to SQS.
        to_move: how many there were when it started.
    """

    source: str
    destination: str | None
    per_second: int | None
    to_move: int
    started_at: datetime
    moved: int = 0
    status: str = "RUNNING"
    failure: str | None = None
    id: str = field(default_factory=lambda: str(uuid4()))

    def listed(self) -> Body:
        """Return it as ListMessageMoveTasks does."""
        optional = {
            "TaskHandle": self.id if self.status == "RUNNING" else None,
            "DestinationArn": self.destination,
            "MaxNumberOfMessagesPerSecond": self.per_second,
            "FailureReason": self.failure,
        }
        return {
            "Status": self.status,
            "SourceArn": self.source,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "StartedTimestamp": int(self.started_at.timestamp() * 1000),
            **{name: value for name, value in optional.items() if value is not None},
        }


class MoveTasks:
    """All tasks; not safe for threads.

    Args:
        queues: the queues there are, by ARN.
    """

    def __init__(self, queues: Callable[[], Mapping[str, Queue]]) -> None:
        self._queues = queues
        self._tasks: list[MoveTask] = []

    def start(self, source: str, destination: str | None, per_second: int | None, now: datetime) -> MoveTask:
        """Start a task.

        Raises:
            SqsError: a queue is unknown, the source is not another queue's dead-letter queue or has a task already.
        """
        queues = self._queues()
        for name, arn in (("SourceArn", source), ("DestinationArn", destination)):
            if arn is not None and arn not in queues:
                raise _not_found(name)
        if not any(queue.redrive and queue.redrive[0] == source for queue in queues.values()):
            raise invalid("Source queue must be configured as a Dead Letter Queue.")
        if source == destination:
            raise invalid("Source queue arn and destination queue arn cannot be the same.")
        if any(task.source == source and task.status == "RUNNING" for task in self._tasks):
            raise invalid(
                "There is already a task running. Only one active task is allowed for a source queue arn at a given"
                " time."
            )
        task = MoveTask(source, destination, per_second, queues[source].counts(now).visible, now)
        self._tasks.append(task)
        return task

    def listed(self, source: str, most: int) -> list[Body]:
        """Return the tasks of a queue, the latest first, as the API spells them.

        Raises:
            SqsError: there is no such queue.
        """
        if source not in self._queues():
            raise _not_found("SourceArn")
        return [task.listed() for task in reversed(self._tasks) if task.source == source][: min(most, _MOST_LISTED)]

    def go_on(self, now: datetime) -> None:
        """Let the tasks move what they may have moved by now."""
        for task in self._tasks:
            if task.status == "RUNNING":
                self._move(task, now)

    def _move(self, task: MoveTask, now: datetime) -> None:
        seconds = int((now - task.started_at).total_seconds()) + 1
        may_move = seconds * (task.per_second or MOST_PER_SECOND)
        source = self._queues().get(task.source)
        while source is not None and task.status == "RUNNING" and task.moved < may_move:
            message = source.pop(now)
            if message is None:
                task.status = "COMPLETED"
            elif target := self._target(task, message):
                target.send(message.body, message.attributes, now)
                task.moved += 1
            else:
                source.put_back(message)

    def _target(self, task: MoveTask, message: Message) -> Queue | None:
        """Return where a message goes; None where that cannot be known, and the task has failed for it."""
        arn = task.destination or message.source
        target = self._queues().get(arn) if arn else None
        if target is None:
            task.status, task.failure = "FAILED", _NO_QUEUE if arn else _NO_SOURCE
        return target


def _not_found(parameter: str) -> SqsError:
    message = f"The resource that you specified for the {parameter} parameter doesn't exist."
    return SqsError("ResourceNotFoundException", message, 404)
