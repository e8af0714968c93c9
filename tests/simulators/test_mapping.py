"""Lambda's event source mapping, simulated, in front of the SQS simulator."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.simulators.conftest import NOW
from tests.simulators.test_sqs_simulator import Hand, make_sqs_client
from tools.local.mapping import EventSourceMapping
from tools.local.sqs import LocalQueue, SqsSimulator


@dataclass
class Mapped:
    """A queue of 360 s, a mapping of it, and a function that answers as it is told."""

    queue: LocalQueue
    clock: Hand
    client: Any
    answer: Any = None
    changes_visibility: int | None = None
    events: list[dict[str, Any]] = field(default_factory=list)

    def mapping(self, batch_size: int = 1) -> EventSourceMapping:
        return EventSourceMapping(self.client, self.queue.url, batch_size=batch_size, clock=self.clock)

    def invoke(self, event: dict[str, Any]) -> object:
        self.events.append(event)
        for record in event["Records"]:
            if self.changes_visibility is not None:
                self.client.change_message_visibility(
                    QueueUrl=self.queue.url,
                    ReceiptHandle=record["receiptHandle"],
                    VisibilityTimeout=self.changes_visibility,
                )
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer(event) if callable(self.answer) else self.answer

    @property
    def hidden_for(self) -> list[float]:
        """Seconds until each message can be received."""
        return [(message.visible_at - self.clock.now).total_seconds() for message in self.queue.messages]


@pytest.fixture
def mapped() -> Iterator[Mapped]:
    clock = Hand()
    with SqsSimulator(clock=clock, waits=False) as simulator:
        client = make_sqs_client(simulator.url)
        yield Mapped(simulator.create("queue", {"VisibilityTimeout": 360}), clock, client)
        client.close()


def every(event: dict[str, Any]) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in event["Records"]]}


def second(event: dict[str, Any]) -> dict[str, Any]:
    return {"batchItemFailures": every(event)["batchItemFailures"][1:2]}


def test_the_event_is_lambdas(mapped: Mapped) -> None:
    message_id = mapped.queue.send("hello", {"Reason": "why"})
    mapped.clock.move(5)
    (delivery,) = mapped.mapping().turn(mapped.invoke)
    assert (delivery.message_id, delivery.body, delivery.receives) == (message_id, "hello", 1)
    assert (delivery.is_done, delivery.error) == (True, None)
    ((record,),) = [event["Records"] for event in mapped.events]
    at = int(NOW.timestamp() * 1000)
    assert record.pop("receiptHandle")
    assert record["attributes"].pop("SenderId")
    assert record == {
        "messageId": message_id,
        "body": "hello",
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": str(at),
            "ApproximateFirstReceiveTimestamp": str(at + 5000),
        },
        "messageAttributes": {
            "Reason": {"stringValue": "why", "stringListValues": [], "binaryListValues": [], "dataType": "String"}
        },
        "md5OfBody": "5d41402abc4b2a76b9719d911017c592",
        "eventSource": "aws:sqs",
        "eventSourceARN": mapped.queue.arn,
        "awsRegion": "us-east-1",
    }


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (None, []),
        ({}, []),
        ({"batchItemFailures": None}, []),
        ({"batchItemFailures": []}, []),
        ({"statusCode": 200}, []),
        (second, ["2"]),
        (every, ["1", "2", "3"]),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, ["1", "2", "3"]),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, ["1", "2", "3"]),
        ({"batchItemFailures": [{"itemIdentifier": "of no message"}]}, ["1", "2", "3"]),
        ({"batchItemFailures": [{"id": "another key"}]}, ["1", "2", "3"]),
        ({"batchItemFailures": ["no object"]}, ["1", "2", "3"]),
        ({"batchItemFailures": "no list"}, ["1", "2", "3"]),
        ("no object", ["1", "2", "3"]),
        ({"batchItemFailures": {1, 2}}, ["1", "2", "3"]),
        (ValueError("raised"), ["1", "2", "3"]),
    ],
)
def test_what_is_not_reported_is_deleted(mapped: Mapped, answer: Any, left: list[str]) -> None:
    for body in ("1", "2", "3"):
        mapped.queue.send(body)
        mapped.clock.move(1)
    mapped.answer = answer
    deliveries = mapped.mapping(batch_size=10).turn(mapped.invoke)
    assert mapped.queue.bodies == left
    assert [delivery.body for delivery in deliveries if not delivery.is_done] == left
    assert mapped.mapping(batch_size=10).turn(mapped.invoke) == []
    mapped.clock.move(360)
    assert [delivery.body for delivery in mapped.mapping(batch_size=10).turn(mapped.invoke)] == left


@pytest.mark.parametrize("answer", [every, ValueError("raised")])
@pytest.mark.parametrize(
    ("keeps", "changed", "hidden_for"),
    [(True, None, 360), (True, 60, 60), (True, 3600, 3600), (False, None, 360), (False, 60, 360), (False, 3600, 360)],
)
def test_what_a_visibility_set_by_the_function_is_worth(
    mapped: Mapped,
    answer: Any,
    keeps: bool,  # noqa: FBT001
    changed: int | None,
    hidden_for: float,
) -> None:
    mapped.queue.send("hello")
    mapped.answer, mapped.changes_visibility = answer, changed
    mapping = mapped.mapping()
    mapping.keeps_visibility = keeps
    mapping.turn(mapped.invoke)
    assert mapped.hidden_for == [hidden_for]


def test_the_queues_own_visibility_is_counted_from_the_receive(mapped: Mapped) -> None:
    def takes_its_time(event: dict[str, Any]) -> object:
        mapped.clock.move(50)
        return every(event)

    mapped.queue.send("hello")
    mapped.answer, mapped.changes_visibility = takes_its_time, 3600
    mapping = mapped.mapping()
    mapping.keeps_visibility = False
    mapping.turn(mapped.invoke)
    assert mapped.hidden_for == [310]


def test_a_disabled_mapping_receives_nothing(mapped: Mapped) -> None:
    mapped.queue.send("hello")
    mapping = mapped.mapping()
    mapping.is_enabled = False
    assert mapping.turn(mapped.invoke) == []
    assert [message.receives for message in mapped.queue.messages] == [0]
    mapping.is_enabled = True
    assert len(mapping.turn(mapped.invoke)) == 1


def test_drained_it_has_taken_all_that_is_visible(mapped: Mapped) -> None:
    for body in ("1", "2", "3"):
        mapped.queue.send(body)
    mapped.queue.send("later", delay=1)
    assert sorted(delivery.body for delivery in mapped.mapping().drain(mapped.invoke)) == ["1", "2", "3"]
    assert mapped.queue.bodies == ["later"]


def test_a_copy_is_delivered_after_the_message_was_deleted(mapped: Mapped) -> None:
    mapped.queue.send("hello")
    mapped.queue.deliver_twice()
    assert [delivery.body for delivery in mapped.mapping().drain(mapped.invoke)] == ["hello", "hello"]
    assert mapped.queue.bodies == []


def test_it_runs_in_parallel_until_it_is_stopped() -> None:
    both_at_work, stop = threading.Barrier(2, timeout=20), threading.Event()
    done = threading.Semaphore(0)

    def invoke(_event: dict[str, Any]) -> object:
        both_at_work.wait()
        done.release()
        return None

    with SqsSimulator() as simulator:
        client = make_sqs_client(simulator.url)
        queue = simulator.create("queue")
        mapping = EventSourceMapping(client, queue.url)
        thread = threading.Thread(target=mapping.run, args=(invoke, stop), kwargs={"concurrency": 2})
        thread.start()
        for body in ("1", "2", "3", "4"):
            queue.send(body)
        assert all(done.acquire(timeout=20) for _ in range(4))
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
        assert queue.bodies == []
        client.close()
