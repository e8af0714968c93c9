"""Lambda's event source mapping, simulated, in front of the SQS simulator."""

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
    mapping: EventSourceMapping
    answer: Any = None
    changes_visibility: int | None = None
    takes: float = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    def invoke(self, event: dict[str, Any]) -> object:
        self.events.append(event)
        self.clock.move(self.takes)
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
        queue = simulator.create("queue", {"VisibilityTimeout": 360})
        yield Mapped(queue, clock, client, EventSourceMapping(client, queue.url, clock=clock))
        client.close()


def failed(event: dict[str, Any]) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in event["Records"]]}


def test_the_event_is_lambdas(mapped: Mapped) -> None:
    message_id = mapped.queue.send("hello", {"Reason": "why"})
    mapped.clock.move(5)
    (delivery,) = mapped.mapping.turn(mapped.invoke)
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
    ("answer", "is_done"),
    [
        (None, True),
        ({}, True),
        ({"batchItemFailures": None}, True),
        ({"batchItemFailures": []}, True),
        ({"statusCode": 200}, True),
        (failed, False),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, False),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, False),
        ({"batchItemFailures": [{"itemIdentifier": "of no message"}]}, False),
        ({"batchItemFailures": [{"id": "another key"}]}, False),
        ({"batchItemFailures": ["no object"]}, False),
        ({"batchItemFailures": "no list"}, False),
        ("no object", False),
        ({"batchItemFailures": {1, 2}}, False),
        (ValueError("raised"), False),
    ],
)
def test_what_is_not_reported_is_deleted(mapped: Mapped, answer: Any, is_done: bool) -> None:  # noqa: FBT001
    mapped.queue.send("hello")
    mapped.answer = answer
    assert [delivery.is_done for delivery in mapped.mapping.turn(mapped.invoke)] == [is_done]
    assert mapped.queue.bodies == ([] if is_done else ["hello"])
    assert mapped.hidden_for == ([] if is_done else [360])


@pytest.mark.parametrize("answer", [failed, ValueError("raised")])
@pytest.mark.parametrize(
    ("keeps", "changed", "takes", "hidden_for"),
    [(True, 60, 0, 60), (True, 3600, 50, 3600), (False, None, 0, 360), (False, 60, 0, 360), (False, 3600, 50, 310)],
)
def test_what_a_visibility_set_by_the_function_is_worth(
    mapped: Mapped,
    answer: Any,
    keeps: bool,  # noqa: FBT001
    changed: int | None,
    takes: float,
    hidden_for: float,
) -> None:
    """The queue's own time-out counts from the receive."""
    mapped.queue.send("hello")
    mapped.answer, mapped.changes_visibility, mapped.takes = answer, changed, takes
    mapped.mapping.keeps_visibility = keeps
    mapped.mapping.turn(mapped.invoke)
    assert mapped.hidden_for == [hidden_for]


def test_a_disabled_mapping_receives_nothing(mapped: Mapped) -> None:
    mapped.queue.send("hello")
    mapped.mapping.is_enabled = False
    assert mapped.mapping.turn(mapped.invoke) == []
    assert [message.receives for message in mapped.queue.messages] == [0]
