"""The edge to SQS: its requests, and that each failure there is one error."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from voicecall_sync.errors import QueueUnavailable
from voicecall_sync.outcome import Source
from voicecall_sync.queue.api import ContactQueue
from voicecall_sync.queue.depth import Depth
from voicecall_sync.queue.messages import Message

URL, DEAD_LETTERS = "https://sqs/contact-queue", "https://sqs/dead-letters"
LARGEST = 256 * 1024


def message(body: str = "{}") -> Message:
    return Message("m-1", "receipt", body, None, 1)


def accepting(**_: Any) -> dict[str, Any]:
    return {"Successful": [{}] * 10}


def queue_of(client: Mock) -> ContactQueue:
    return ContactQueue(lambda: client, URL, DEAD_LETTERS)


def test_a_message_has_the_queues_own_delay_unless_told_otherwise() -> None:
    client = Mock()
    queue = queue_of(client)
    queue.send("c-1", Source.CONTACT_FLOW)
    queue.send("c-1", Source.OPERATOR, timedelta(0))
    first, second = (call.kwargs for call in client.send_message.call_args_list)
    assert first == {"QueueUrl": URL, "MessageBody": '{"contactId": "c-1", "source": "contact-flow"}'}
    assert second == {
        "QueueUrl": URL,
        "MessageBody": '{"contactId": "c-1", "source": "operator"}',
        "DelaySeconds": 0,
    }


@pytest.mark.parametrize(("contacts", "batches"), [(0, []), (1, [1]), (10, [10]), (11, [10, 1]), (25, [10, 10, 5])])
def test_many_are_sent_ten_at_once(contacts: int, batches: list[int]) -> None:
    client = Mock()
    client.send_message_batch.side_effect = accepting
    ids = [f"c-{number}" for number in range(contacts)]
    queue_of(client).send_all(ids, Source.RECONCILE)
    entries = [call.kwargs["Entries"] for call in client.send_message_batch.call_args_list]
    assert [len(batch) for batch in entries] == batches
    assert all(len({one["Id"] for one in batch}) == len(batch) for batch in entries)
    sent = [one for batch in entries for one in batch]
    assert [json.loads(one["MessageBody"])["contactId"] for one in sent] == ids
    assert {one["DelaySeconds"] for one in sent} <= {0}


@pytest.mark.parametrize("answer", [{}, {"Failed": [{}]}, {"Successful": [{}] * 9, "Failed": [{}]}])
def test_a_batch_of_which_one_was_not_accepted_fails(answer: dict[str, Any]) -> None:
    client = Mock()
    client.send_message_batch.return_value = answer
    with pytest.raises(QueueUnavailable, match="did not accept"):
        queue_of(client).send_all([f"c-{number}" for number in range(25)], Source.RECONCILE)
    assert client.send_message_batch.call_count == 1


def test_a_wait_is_given_in_whole_seconds_never_fewer() -> None:
    client = Mock()
    queue_of(client).come_back(message(), timedelta(seconds=59.2))
    client.change_message_visibility.assert_called_once_with(
        QueueUrl=URL, ReceiptHandle="receipt", VisibilityTimeout=60
    )


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("contactId must be an id", "contactId must be an id"),
        ("", "unknown"),
        ("x" * 5000, "x" * 1024),
        ("é", "\\xe9"),
        ("\ud800", "\\ud800"),
    ],
)
def test_a_copy_in_the_dead_letter_queue_says_why(reason: str, shown: str) -> None:
    client = Mock()
    queue_of(client).set_apart(message("the body"), reason)
    client.send_message.assert_called_once_with(
        QueueUrl=DEAD_LETTERS,
        MessageBody="the body",
        MessageAttributes={"Reason": {"DataType": "String", "StringValue": shown}},
    )


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f4de"])
@pytest.mark.parametrize("spare", [0, 1, 1024, 1123, 1124, 5000])
def test_body_and_reason_together_fit_into_a_message(letter: str, spare: int) -> None:
    """Bytes count, the attribute's name and type among them; without room for the reason the body goes alone."""
    client = Mock()
    body = letter * ((LARGEST - spare) // len(letter.encode()))
    queue_of(client).set_apart(message(body), "y" * 5000)
    sent = client.send_message.call_args.kwargs
    size = len(body.encode())
    for name, attribute in sent.get("MessageAttributes", {}).items():
        size += len(name) + len(attribute["DataType"]) + len(attribute["StringValue"])
    assert sent["MessageBody"] == body
    assert size <= LARGEST
    assert ("MessageAttributes" in sent) is (LARGEST - len(body.encode()) >= 1124)


def numbers(ready: str, in_flight: str, delayed: str) -> dict[str, Any]:
    """SQS's answer, whose numbers are text."""
    names = (
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    )
    return {"Attributes": dict(zip(names, (ready, in_flight, delayed), strict=True))}


@pytest.mark.parametrize(
    ("answer", "depth", "total"),
    [
        (numbers("0", "0", "0"), Depth(0, 0, 0), 0),
        (numbers("120000", "2", "30"), Depth(ready=120_000, in_flight=2, delayed=30), 120_032),
    ],
)
def test_how_much_is_in_a_queue(answer: dict[str, Any], depth: Depth, total: int) -> None:
    client = Mock()
    client.get_queue_attributes.return_value = answer
    queue = queue_of(client)
    assert (queue.depth(), queue.dead_letters(), queue.depth().total) == (depth, depth, total)
    asked = [call.kwargs["QueueUrl"] for call in client.get_queue_attributes.call_args_list]
    assert asked == [URL, DEAD_LETTERS, URL]


REQUESTS: list[Callable[[ContactQueue], object]] = [
    lambda queue: queue.send("c-1", Source.OPERATOR),
    lambda queue: queue.send_all(["c-1"], Source.RECONCILE),
    lambda queue: queue.come_back(message(), timedelta(seconds=60)),
    lambda queue: queue.set_apart(message(), "why"),
    lambda queue: queue.depth(),
    lambda queue: queue.dead_letters(),
]
DENIED = ClientError({"Error": {"Code": "AccessDenied", "Message": "+498912345678"}}, "SendMessage")


@pytest.mark.parametrize("failure", [DENIED, ValueError("+498912345678"), KeyError("Attributes"), OSError()])
@pytest.mark.parametrize("request_of", REQUESTS)
def test_each_failure_is_one_error_without_the_message(
    request_of: Callable[[ContactQueue], object], failure: Exception
) -> None:
    def fail() -> Any:
        raise failure

    with pytest.raises(QueueUnavailable, match=r"AccessDenied|ValueError|KeyError|OSError") as raised:
        request_of(ContactQueue(fail, URL, DEAD_LETTERS))
    assert "+498912345678" not in str(raised.value)


def test_an_answer_that_cannot_be_read_is_that_error_too() -> None:
    client = Mock()
    answers: list[dict[str, Any]] = [
        {},
        {"Attributes": {}},
        {"Attributes": {"ApproximateNumberOfMessages": "1"}},
        numbers("many", "0", "0"),
    ]
    for answer in answers:
        client.get_queue_attributes.return_value = answer
        with pytest.raises(QueueUnavailable):
            queue_of(client).depth()
