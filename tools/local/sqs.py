"""The part of Amazon SQS that VoiceCall Sync and its operators use, AWS's JSON protocol on a real socket.

boto3 finds it through ``AWS_ENDPOINT_URL_SQS`` or ``endpoint_url``. Standard queues only; request signatures and
policies are not checked. `sqs_queue` has the life of a message, `sqs_rules` the checks of requests, `sqs_moves` the
redrive. tests/simulators/test_sqs_simulator.py compares it with MiniStack's SQS.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from tools.local.loopback import Connection, LoopbackServer
from tools.local.messages import Clock, Reply, Request, utc_now
from tools.local.sqs_moves import MOST_PER_SECOND, MoveTasks
from tools.local.sqs_queue import Message, Queue
from tools.local.sqs_rules import (
    LONGEST_VISIBILITY,
    MOST_BYTES,
    MOST_IN_A_BATCH,
    Body,
    SqsError,
    check_attributes,
    check_batch,
    check_message,
    invalid_policy,
    md5,
    md5_of_attributes,
    number,
    redrive_policy,
    required,
    size,
)

ACCOUNT = "111122223333"
REGION = "us-east-1"
TARGET = "AmazonSQS."
"""How the header X-Amz-Target begins where a request is for SQS."""
_CONTENT_TYPE = ("Content-Type", "application/x-amz-json-1.0")
_LOOK_SECONDS = 0.1
_SENDER = "AIDAEXAMPLESENDER"


@dataclass(frozen=True, slots=True)
class LiveMessage:
    """A message that is in a queue; see `sqs_queue.Message`."""

    body: str
    id: str
    attributes: Mapping[str, Body]
    receives: int
    sent_at: datetime
    visible_at: datetime
    is_in_flight: bool

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON
        """The body, read as JSON."""
        return json.loads(self.body)


class LocalQueue:
    """One of the simulator's queues, seen and handled from within this process, past every fault on the way.

    Attributes:
        name, arn, url: the queue's.
    """

    def __init__(self, simulator: SqsSimulator, queue: Queue, url: str) -> None:
        self._simulator = simulator
        self._queue = queue
        self.name, self.arn, self.url = queue.name, queue.arn, url

    @property
    def messages(self) -> list[LiveMessage]:
        """The messages in it, oldest first: visible, delayed and in flight."""
        with self._simulator.at_this_moment() as now:
            return [_live(message, now) for message in self._queue.live(now)]

    @property
    def bodies(self) -> list[str]:
        """Their bodies."""
        return [message.body for message in self.messages]

    @property
    def next_visible_at(self) -> datetime | None:
        """When the next message can be received; None if none will be."""
        with self._simulator.at_this_moment():
            return self._queue.next_visible_at()

    def send(self, body: object, attributes: Mapping[str, str] | None = None, *, delay: int | None = None) -> str:
        """Put a message in without SQS's checks; return its id.

        Args:
            body: text, or what is sent as JSON.
            attributes: the message's own, all of type String.
            delay: seconds; the queue's if None.
        """
        text = body if isinstance(body, str) else json.dumps(body)
        spelled = {name: {"DataType": "String", "StringValue": value} for name, value in (attributes or {}).items()}
        with self._simulator.at_this_moment() as now:
            return self._queue.send(text, spelled, now, delay).id

    def wear_out(self, message_id: str, receives: int) -> None:
        """Let a message have been received so often.

        Raises:
            KeyError: it is not there.
        """
        with self._simulator.at_this_moment():
            self._queue.message(message_id).receives = receives

    def lose(self, message_id: str) -> None:
        """Lose a message without a trace.

        Raises:
            KeyError: it is not there.
        """
        with self._simulator.at_this_moment():
            self._queue.lose(message_id)

    def clear(self) -> None:
        """Lose all messages."""
        with self._simulator.at_this_moment():
            self._queue.clear()

    def deliver_twice(self, times: int = 1) -> None:
        """Let each of the next so many messages received be given out once more by the next receive.

        Also if it is in flight, or was deleted, meanwhile: SQS delivers at least once.
        """
        with self._simulator.at_this_moment():
            self._queue.twice = times

    def turn_round(self, *, newest_first: bool = True) -> None:
        """Let the newest of the visible messages come first: a standard queue's order is a best effort only."""
        with self._simulator.at_this_moment():
            self._queue.newest_first = newest_first


class SqsSimulator:
    """SQS in one account and region; a context manager that listens inside the ``with``."""

    def __init__(
        self,
        *,
        port: int = 0,
        clock: Clock = utc_now,
        waits: bool = True,
    ) -> None:
        """Make one that is not yet listening and has no queue.

        Args:
            port: 0 for a free one.
            clock: gives the present moment, aware, by which messages are delayed, hidden and kept.
            waits: whether ReceiveMessage waits as long as requested, by the machine's clock. False if `clock` is moved
                by hand.
        """
        self._clock = clock
        self._waits = waits
        self._server = LoopbackServer(self._serve, clock=clock, port=port)
        self._changed = threading.Condition()
        self._queues: dict[str, Queue] = {}
        self._tasks = MoveTasks(lambda: {queue.arn: queue for queue in self._queues.values()})
        self._operations: Mapping[str, Callable[[Body, datetime], Body]] = {
            "GetQueueAttributes": self._get_queue_attributes,
            "SetQueueAttributes": self._set_queue_attributes,
            "SendMessage": lambda body, now: self._send(self._of(body), body, now),
            "SendMessageBatch": self._send_batch,
            "ReceiveMessage": self._receive,
            "DeleteMessage": self._delete,
            "ChangeMessageVisibility": self._change_visibility,
            "StartMessageMoveTask": self._start_move_task,
            "ListMessageMoveTasks": self._list_move_tasks,
        }

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``; known once started."""
        return self._server.url

    def create(self, name: str, attributes: Mapping[str, object]) -> LocalQueue:
        """Make a queue.

        Args:
            name: the queue's.
            attributes: in the API's spelling; numbers may be numbers.

        Raises:
            SqsError: SQS would refuse it.
        """
        spelled = {name: str(value) for name, value in attributes.items()}
        with self._changed:
            self._check(spelled)
            queue = self._queues[name] = Queue(name, _arn(name), spelled)
        return LocalQueue(self, queue, self._url(queue))

    def at_this_moment(self) -> _Moment:
        """Return a context that gives the present moment, and in which no other thread changes the queues."""
        return _Moment(self._changed, self._clock, self._tasks)

    def _serve(self, connection: Connection) -> bool:
        request = connection.read_request()
        connection.answer(self._reply(request, connection.stopping))
        return True

    def _reply(self, request: Request, stopping: threading.Event) -> Reply:
        name = (request.header("X-Amz-Target") or "").removeprefix(TARGET)
        try:
            body = json.loads(request.body or b"{}")
            answer = self._wait(body, stopping) if name == "ReceiveMessage" else self._do(name, body)
        except SqsError as error:
            content = json.dumps({"__type": f"com.amazonaws.sqs#{error.code}", "message": str(error)})
            why = ("x-amzn-query-error", f"{error.query_code};Sender")
            return Reply(error.status, content.encode(), (_CONTENT_TYPE, why))
        return Reply(200, json.dumps(answer).encode(), (_CONTENT_TYPE,))

    def _do(self, name: str, body: Body) -> Body:
        operation = self._operations.get(name)
        if operation is None:
            raise SqsError("InvalidAction", f"The action {name} is not valid for this endpoint.")
        with self.at_this_moment() as now:
            return operation(body, now)

    # --- queues ---

    def _get_queue_attributes(self, body: Body, now: datetime) -> Body:
        queue, names = self._of(body), body.get("AttributeNames") or []
        counts = queue.counts(now)
        everything = {
            "QueueArn": queue.arn,
            "ApproximateNumberOfMessages": str(counts.visible),
            "ApproximateNumberOfMessagesNotVisible": str(counts.in_flight),
            "ApproximateNumberOfMessagesDelayed": str(counts.delayed),
            **queue.attributes,
        }
        return {"Attributes": {name: value for name, value in everything.items() if "All" in names or name in names}}

    def _set_queue_attributes(self, body: Body, _now: datetime) -> Body:
        queue, attributes = self._of(body), body.get("Attributes") or {}
        self._check(attributes)
        queue.attributes.update(attributes)
        return {}

    def _check(self, attributes: Mapping[str, str]) -> None:
        check_attributes(attributes)
        policy = attributes.get("RedrivePolicy")
        if policy and redrive_policy(policy)[0] not in {queue.arn for queue in self._queues.values()}:
            raise invalid_policy(policy, "Dead letter target does not exist.")

    # --- messages ---

    def _send(self, queue: Queue, message: Body, now: datetime) -> Body:
        check_message(message)
        delay = None if message.get("DelaySeconds") is None else number(message, "DelaySeconds", 0, 0, 900)
        attributes = message.get("MessageAttributes") or {}
        sent = queue.send(message["MessageBody"], attributes, now, delay)
        self._changed.notify_all()
        return {"MessageId": sent.id, "MD5OfMessageBody": md5(sent.body), **_digest_of(attributes)}

    def _send_batch(self, body: Body, now: datetime) -> Body:
        queue, entries = self._of(body), body.get("Entries") or []
        check_batch(entries)
        total = sum(map(size, entries))
        if total > MOST_BYTES:
            raise SqsError(
                "BatchRequestTooLong",
                f"Batch requests cannot be longer than {MOST_BYTES} bytes. You have sent {total} bytes.",
            )
        successful: list[Body] = []
        failed: list[Body] = []
        for entry in entries:
            try:
                successful.append({"Id": entry["Id"], **self._send(queue, entry, now)})
            except SqsError as error:
                failed.append({"Id": entry["Id"], "Code": error.code, "Message": str(error), "SenderFault": True})
        return {"Successful": successful, "Failed": failed} if failed else {"Successful": successful}

    def _wait(self, body: Body, stopping: threading.Event) -> Body:
        """Receive as soon as there is something, or when the time to wait is over."""
        with self.at_this_moment() as now:
            queue = self._of(body)
            wait = number(body, "WaitTimeSeconds", queue.number("ReceiveMessageWaitTimeSeconds"), 0, 20)
            until = now + timedelta(seconds=wait if self._waits else 0)
        while True:
            with self.at_this_moment() as now:
                answer = self._receive(body, now)
                if answer or now >= until or stopping.is_set():
                    return answer
                visible = queue.next_visible_at() or until
                seconds = (min(visible, until) - now).total_seconds()
                self._changed.wait(min(max(seconds, 0.001), _LOOK_SECONDS))

    def _receive(self, body: Body, now: datetime) -> Body:
        queue = self._of(body)
        most = number(body, "MaxNumberOfMessages", 1, 1, MOST_IN_A_BATCH)
        visibility = number(body, "VisibilityTimeout", queue.number("VisibilityTimeout"), 0, LONGEST_VISIBILITY)
        taken = queue.receive(most, visibility, now, lambda message: self._move_to_dead_letters(queue, message, now))
        system = set(body.get("MessageSystemAttributeNames", ()))
        own = set(body.get("MessageAttributeNames", ()))
        messages = [_received(message, system, own) for message in taken]
        return {"Messages": messages} if messages else {}

    def _move_to_dead_letters(self, queue: Queue, message: Message, now: datetime) -> None:
        target = queue.redrive[0] if queue.redrive else ""
        for other in self._queues.values():
            if other.arn == target:
                other.take_over(message, queue.arn, now)
        self._changed.notify_all()

    def _delete(self, body: Body, _now: datetime) -> Body:
        self._of(body).delete(required(body, "ReceiptHandle"))
        return {}

    def _change_visibility(self, body: Body, now: datetime) -> Body:
        queue, handle = self._of(body), required(body, "ReceiptHandle")
        if body.get("VisibilityTimeout") is None:
            raise SqsError("MissingParameter", "The request must contain the parameter VisibilityTimeout.")
        seconds = number(body, "VisibilityTimeout", 0, 0, LONGEST_VISIBILITY)
        queue.change_visibility(handle, seconds, now)
        self._changed.notify_all()
        return {}

    # --- message move tasks ---

    def _start_move_task(self, body: Body, now: datetime) -> Body:
        rate = body.get("MaxNumberOfMessagesPerSecond")
        per_second = None if rate is None else number(body, "MaxNumberOfMessagesPerSecond", 1, 1, MOST_PER_SECOND)
        task = self._tasks.start(required(body, "SourceArn"), body.get("DestinationArn") or None, per_second, now)
        return {"TaskHandle": task.id}

    def _list_move_tasks(self, body: Body, _now: datetime) -> Body:
        return {"Results": self._tasks.listed(required(body, "SourceArn"), number(body, "MaxResults", 1, 1, 10))}

    # --- which queue ---

    def _of(self, body: Body) -> Queue:
        """Return the queue that a request is for; its URL may begin with any address."""
        account, _, name = required(body, "QueueUrl").rpartition("/")
        if account.rpartition("/")[2] != ACCOUNT or name not in self._queues:
            raise SqsError("QueueDoesNotExist", "The specified queue does not exist.")
        return self._queues[name]

    def _url(self, queue: Queue) -> str:
        return f"{self.url}/{ACCOUNT}/{queue.name}"


class _Moment:
    """The simulator's lock, and its clock read under it; tasks have then gone on as far as that moment."""

    def __init__(self, lock: threading.Condition, clock: Clock, tasks: MoveTasks) -> None:
        self._lock = lock
        self._clock = clock
        self._tasks = tasks

    def __enter__(self) -> datetime:
        self._lock.acquire()
        try:
            now = self._clock()
            self._tasks.go_on(now)
        except BaseException:
            self._lock.release()
            raise
        return now

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


def _received(message: Message, system: set[str], own: set[str]) -> Body:
    values = {
        "SenderId": _SENDER,
        "SentTimestamp": _milliseconds(message.sent_at),
        "ApproximateReceiveCount": str(message.receives),
        "ApproximateFirstReceiveTimestamp": _milliseconds(message.first_received_at),
        "DeadLetterQueueSourceArn": message.source,
    }
    system_attributes = {name: value for name, value in values.items() if value and ({"All", name} & system)}
    attributes = {name: value for name, value in message.attributes.items() if {"All", name} & own}
    return {
        "MessageId": message.id,
        "ReceiptHandle": message.handle,
        "Body": message.body,
        "MD5OfBody": md5(message.body),
        **({"Attributes": system_attributes} if system_attributes else {}),
        **({"MessageAttributes": attributes} if attributes else {}),
        **_digest_of(attributes),
    }


def _digest_of(attributes: Mapping[str, Body]) -> Mapping[str, str]:
    return {"MD5OfMessageAttributes": md5_of_attributes(attributes)} if attributes else {}


def _milliseconds(moment: datetime | None) -> str | None:
    return None if moment is None else str(int(moment.timestamp() * 1000))


def _live(message: Message, now: datetime) -> LiveMessage:
    return LiveMessage(
        body=message.body,
        id=message.id,
        attributes=message.attributes,
        receives=message.receives,
        sent_at=message.sent_at,
        visible_at=message.visible_at,
        is_in_flight=message.is_in_flight(now),
    )


def _arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
