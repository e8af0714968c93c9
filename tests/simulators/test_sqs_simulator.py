"""The SQS simulator through boto3: what becomes of messages, what is refused, and whether MiniStack's SQS agrees."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError

from tests.simulators.conftest import NOW
from tools.local.gateway import AwsGateway, Fault
from tools.local.ministack import MiniStack
from tools.local.sqs import LocalQueue, SqsSimulator

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

DAY = 24 * 3600
MEBIBYTE = 1_048_576


@dataclass
class Hand:
    """A clock moved by hand."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def make_sqs_client(url: str) -> "SQSClient":
    return boto3.client(
        "sqs",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1, "mode": "standard"}),
    )


@dataclass
class Sqs:
    """The simulator, its clock, a client, and a queue with a dead-letter queue of its own."""

    simulator: SqsSimulator
    clock: Hand
    client: "SQSClient"
    dead: LocalQueue = field(init=False)
    queue: LocalQueue = field(init=False)

    def __post_init__(self) -> None:
        self.dead = self.simulator.create("dead", {"MessageRetentionPeriod": 14 * DAY})
        policy = json.dumps({"deadLetterTargetArn": self.dead.arn, "maxReceiveCount": 2})
        self.queue = self.simulator.create(
            "queue", {"DelaySeconds": 90, "VisibilityTimeout": 360, "RedrivePolicy": policy}
        )

    def send(self, body: str = "hello", **given: Any) -> str:
        return self.client.send_message(QueueUrl=self.queue.url, MessageBody=body, **given)["MessageId"]

    def receive(self, queue: LocalQueue | None = None, **given: Any) -> list[Any]:
        asked = {"MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
        url = (queue or self.queue).url
        return list(self.client.receive_message(QueueUrl=url, **{**asked, **given}).get("Messages", []))

    def bodies(self, queue: LocalQueue | None = None, **given: Any) -> list[str]:
        return [message["Body"] for message in self.receive(queue, **given)]

    def change(self, handle: str, seconds: int) -> None:
        self.client.change_message_visibility(QueueUrl=self.queue.url, ReceiptHandle=handle, VisibilityTimeout=seconds)

    def delete(self, handle: str) -> None:
        self.client.delete_message(QueueUrl=self.queue.url, ReceiptHandle=handle)

    def counts(self) -> tuple[int, int, int]:
        """Visible, in flight, delayed."""
        told: Any = self.client.get_queue_attributes(QueueUrl=self.queue.url, AttributeNames=["All"])["Attributes"]
        names = ("", "NotVisible", "Delayed")
        visible, hidden, delayed = (int(told[f"ApproximateNumberOfMessages{name}"]) for name in names)
        return visible, hidden, delayed

    def tasks(self, source: LocalQueue | None = None) -> list[Any]:
        arn = (source or self.dead).arn
        return list(self.client.list_message_move_tasks(SourceArn=arn, MaxResults=10)["Results"])


@pytest.fixture
def sqs() -> Iterator[Sqs]:
    clock = Hand()
    with SqsSimulator(clock=clock, waits=False) as simulator:
        client = make_sqs_client(simulator.url)
        yield Sqs(simulator, clock, client)
        client.close()


def code(call: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as refused:
        call()
    return refused.value.response["Error"]["Code"]


# --- when a message can be received ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "after", "bodies"),
    [
        ({}, 89, []),
        ({}, 90, ["hello"]),
        ({"DelaySeconds": 0}, 0, ["hello"]),
        ({"DelaySeconds": 900}, 899, []),
        ({"DelaySeconds": 900}, 900, ["hello"]),
    ],
)
def test_a_messages_own_delay_goes_before_the_queues(
    sqs: Sqs, given: dict[str, Any], after: int, bodies: list[str]
) -> None:
    sqs.send(**given)
    sqs.clock.move(after)
    assert sqs.bodies() == bodies


@pytest.mark.parametrize(
    ("given", "changed", "after", "bodies"),
    [
        ({}, None, 359, []),
        ({}, None, 360, ["hello"]),
        ({"VisibilityTimeout": 0}, None, 0, ["hello"]),
        ({"VisibilityTimeout": 5}, None, 5, ["hello"]),
        ({}, 0, 0, ["hello"]),
        ({}, 3600, 3599, []),
        ({}, 3600, 3600, ["hello"]),
    ],
)
def test_a_received_message_is_hidden(
    sqs: Sqs, given: dict[str, Any], changed: int | None, after: int, bodies: list[str]
) -> None:
    sqs.send(DelaySeconds=0)
    (message,) = sqs.receive(**given)
    if changed is not None:
        sqs.change(message["ReceiptHandle"], changed)
    sqs.clock.move(after)
    assert sqs.bodies() == bodies


def test_a_message_tells_of_itself(sqs: Sqs) -> None:
    attributes: Any = {
        "Reason": {"DataType": "String", "StringValue": "why"},
        "Bytes": {"DataType": "Binary", "BinaryValue": b"\0\1"},
    }
    sent = sqs.client.send_message(QueueUrl=sqs.queue.url, MessageBody="hello", MessageAttributes=attributes)
    sqs.clock.move(100)
    sqs.receive(VisibilityTimeout=10)
    sqs.clock.move(10)
    (message,) = sqs.receive()
    at = int(NOW.timestamp() * 1000)
    assert message["MessageId"] == sent["MessageId"]
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"] == "5d41402abc4b2a76b9719d911017c592"
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["MessageAttributes"] == attributes
    assert message["Attributes"]["ApproximateReceiveCount"] == "2"
    assert message["Attributes"]["SentTimestamp"] == str(at)
    assert message["Attributes"]["ApproximateFirstReceiveTimestamp"] == str(at + 100_000)


@pytest.mark.parametrize(
    ("asked", "told"), [([], set()), (["Reason"], {"Reason"}), (["Re.*"], {"Reason"}), (["All"], {"Reason", "Other"})]
)
def test_only_the_attributes_asked_for_are_told(sqs: Sqs, asked: list[str], told: set[str]) -> None:
    value = {"DataType": "String", "StringValue": "x"}
    sqs.send(DelaySeconds=0, MessageAttributes={"Reason": value, "Other": value})
    (message,) = sqs.receive(MessageAttributeNames=asked, MessageSystemAttributeNames=[])
    assert set(message.get("MessageAttributes", ())) == told
    assert "Attributes" not in message


def test_counts(sqs: Sqs) -> None:
    sqs.send("in flight", DelaySeconds=0)
    sqs.receive()
    sqs.send("visible", DelaySeconds=0)
    sqs.send("delayed")
    assert sqs.counts() == (1, 1, 1)
    assert [(message.body, message.is_in_flight, message.receives) for message in sqs.queue.messages] == [
        ("in flight", True, 1),
        ("visible", False, 0),
        ("delayed", False, 0),
    ]
    sqs.clock.move(360)
    assert sqs.counts() == (3, 0, 0)


def test_deleted_messages_are_gone_and_an_older_handle_deletes_nothing(sqs: Sqs) -> None:
    sqs.send(DelaySeconds=0)
    (first,) = sqs.receive(VisibilityTimeout=0)
    (second,) = sqs.receive()
    sqs.delete(first["ReceiptHandle"])
    assert sqs.queue.bodies == ["hello"]
    sqs.delete(second["ReceiptHandle"])
    sqs.delete(second["ReceiptHandle"])
    assert sqs.queue.bodies == []


def test_retention_counts_from_sending_and_expired_messages_go(sqs: Sqs) -> None:
    sqs.send("old", DelaySeconds=0)
    sqs.clock.move(4 * DAY - 1)
    assert sqs.bodies() == ["old"]
    sqs.clock.move(1)
    assert sqs.counts() == (0, 0, 0)
    assert sqs.bodies() == []


def test_a_dead_letter_keeps_the_moment_of_sending(sqs: Sqs) -> None:
    message_id = sqs.send(DelaySeconds=0)
    for _ in range(2):
        assert sqs.bodies() == ["hello"]
        sqs.clock.move(360)
    assert sqs.dead.bodies == []
    assert sqs.bodies() == []
    (letter,) = sqs.receive(sqs.dead)
    assert letter["MessageId"] == message_id
    assert letter["Attributes"]["SentTimestamp"] == str(int(NOW.timestamp() * 1000))
    assert letter["Attributes"]["DeadLetterQueueSourceArn"] == sqs.queue.arn
    sqs.clock.move(14 * DAY - 720)
    assert sqs.dead.bodies == []


def test_receiving_waits_for_a_message_on_a_running_clock() -> None:
    with SqsSimulator() as simulator:
        queue = simulator.create("queue")
        queue.send("soon", delay=1)
        client = make_sqs_client(simulator.url)
        assert "Messages" not in client.receive_message(QueueUrl=queue.url)
        (message,) = client.receive_message(QueueUrl=queue.url, WaitTimeSeconds=20)["Messages"]
        assert message["Body"] == "soon"
        client.close()


# --- what may happen as well -----------------------------------------------------------------------------------------


def test_the_order_can_be_turned_round(sqs: Sqs) -> None:
    for body in ("1", "2", "3"):
        sqs.send(body, DelaySeconds=0)
        sqs.clock.move(1)
    sqs.queue.turn_round()
    assert sqs.bodies(MaxNumberOfMessages=1) + sqs.bodies() == ["3", "2", "1"]


@pytest.mark.parametrize("deleted", [True, False])
def test_a_message_may_come_twice_and_then_is_there_again(sqs: Sqs, deleted: bool) -> None:  # noqa: FBT001
    sqs.send(DelaySeconds=0)
    sqs.queue.deliver_twice()
    (first,) = sqs.receive()
    if deleted:
        sqs.delete(first["ReceiptHandle"])
    assert sqs.queue.bodies == ([] if deleted else ["hello"])
    (second,) = sqs.receive()
    assert second["MessageId"] == first["MessageId"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    assert sqs.bodies() == []
    assert sqs.queue.bodies == ["hello"]
    sqs.delete(second["ReceiptHandle"])
    sqs.clock.move(3600)
    assert sqs.queue.bodies == sqs.bodies() == []


def test_a_message_can_be_lost(sqs: Sqs) -> None:
    sqs.queue.lose(sqs.send(DelaySeconds=0))
    assert sqs.queue.bodies == sqs.bodies() == []


# --- what is refused -------------------------------------------------------------------------------------------------

NO_QUEUE = "AWS.SimpleQueueService.NonExistentQueue"
NOT_IN_FLIGHT = "AWS.SimpleQueueService.MessageNotInflight"


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ("", "MissingParameter"),
        ("\0", "InvalidMessageContents"),
        ("\ufffe", "InvalidMessageContents"),
        ("\x7f\u20ac\U0001f600\n", None),
        ("a" * MEBIBYTE, None),
        ("a" * (MEBIBYTE + 1), "InvalidParameterValue"),
        ("\u20ac" * (MEBIBYTE // 3 + 1), "InvalidParameterValue"),
    ],
)
def test_what_a_body_may_be(sqs: Sqs, body: str, refused: str | None) -> None:
    if refused is None:
        sqs.send(body)
        assert sqs.queue.bodies == [body]
    else:
        assert code(lambda: sqs.send(body)) == refused


def test_attributes_count_and_the_older_limit_can_be_set() -> None:
    attributes: Any = {"Reason": {"DataType": "String", "StringValue": "why"}}
    room = 262_144 - len("ReasonStringwhy")
    with SqsSimulator(most_bytes=262_144) as simulator:
        client, url = make_sqs_client(simulator.url), simulator.create("queue").url
        client.send_message(QueueUrl=url, MessageBody="a" * room, MessageAttributes=attributes)
        assert (
            code(lambda: client.send_message(QueueUrl=url, MessageBody="a" * (room + 1), MessageAttributes=attributes))
            == "InvalidParameterValue"
        )
        client.close()


@pytest.mark.parametrize(
    ("seconds", "refused"),
    [(-1, "InvalidParameterValue"), (43_200, None), (43_201, "InvalidParameterValue")],
)
def test_visibility_has_a_range(sqs: Sqs, seconds: int, refused: str | None) -> None:
    sqs.send(DelaySeconds=0)
    (message,) = sqs.receive()
    if refused is None:
        sqs.change(message["ReceiptHandle"], seconds)
    else:
        assert code(lambda: sqs.change(message["ReceiptHandle"], seconds)) == refused


def test_twelve_hours_are_counted_from_the_receive(sqs: Sqs) -> None:
    sqs.send(DelaySeconds=0)
    (message,) = sqs.receive()
    sqs.clock.move(60)
    assert code(lambda: sqs.change(message["ReceiptHandle"], 43_141)) == "InvalidParameterValue"
    sqs.change(message["ReceiptHandle"], 43_140)


def test_only_what_is_in_flight_changes_its_visibility(sqs: Sqs) -> None:
    sqs.send(DelaySeconds=0)
    (message,) = sqs.receive()
    sqs.clock.move(360)
    assert code(lambda: sqs.change(message["ReceiptHandle"], 60)) == NOT_IN_FLIGHT
    (again,) = sqs.receive()
    assert code(lambda: sqs.change(message["ReceiptHandle"], 60)) == "InvalidParameterValue"
    sqs.delete(again["ReceiptHandle"])
    assert code(lambda: sqs.change(again["ReceiptHandle"], 60)) == "InvalidParameterValue"
    assert code(lambda: sqs.change("no handle", 60)) == "ReceiptHandleIsInvalid"
    assert code(lambda: sqs.delete("no handle")) == "ReceiptHandleIsInvalid"


def entries(*ids: str, body: str = "hello") -> list[Any]:
    return [{"Id": one, "MessageBody": body} for one in ids]


@pytest.mark.parametrize(
    ("batch", "refused"),
    [
        ([], "EmptyBatchRequest"),
        (entries(*map(str, range(11))), "TooManyEntriesInBatchRequest"),
        (entries("1", "1"), "BatchEntryIdsNotDistinct"),
        (entries("1."), "InvalidBatchEntryId"),
        (entries("1", "2", body="a" * (MEBIBYTE // 2 + 1)), "BatchRequestTooLong"),
    ],
)
def test_batches_that_are_refused(sqs: Sqs, batch: list[Any], refused: str) -> None:
    sent = code(lambda: sqs.client.send_message_batch(QueueUrl=sqs.queue.url, Entries=batch))
    assert sent == f"AWS.SimpleQueueService.{refused}"
    assert sqs.queue.bodies == []


def test_the_entries_of_a_batch_fail_one_by_one(sqs: Sqs) -> None:
    batch = [*entries("well"), *entries("bad", body="\0"), {"Id": "late", "MessageBody": "x", "DelaySeconds": 901}]
    sent = sqs.client.send_message_batch(QueueUrl=sqs.queue.url, Entries=batch)
    assert [entry["Id"] for entry in sent["Successful"]] == ["well"]
    assert [(entry["Id"], entry["Code"]) for entry in sent["Failed"]] == [
        ("bad", "InvalidMessageContents"),
        ("late", "InvalidParameterValue"),
    ]
    sqs.clock.move(90)
    (message,) = sqs.receive()
    done = sqs.client.delete_message_batch(
        QueueUrl=sqs.queue.url,
        Entries=[{"Id": "1", "ReceiptHandle": message["ReceiptHandle"]}, {"Id": "2", "ReceiptHandle": "no handle"}],
    )
    assert [entry["Id"] for entry in done["Successful"]] == ["1"]
    assert [entry["Code"] for entry in done["Failed"]] == ["ReceiptHandleIsInvalid"]
    assert sqs.queue.bodies == []


@pytest.mark.parametrize(
    ("attributes", "refused"),
    [
        ({"DelaySeconds": "901"}, "InvalidAttributeValue"),
        ({"VisibilityTimeout": "-1"}, "InvalidAttributeValue"),
        ({"MessageRetentionPeriod": "59"}, "InvalidAttributeValue"),
        ({"Unheard": "1"}, "InvalidAttributeName"),
        ({"RedrivePolicy": "{}"}, "InvalidAttributeValue"),
        ({"RedrivePolicy": json.dumps({"deadLetterTargetArn": "none", "maxReceiveCount": 1})}, "InvalidAttributeValue"),
        ({"RedrivePolicy": json.dumps({"deadLetterTargetArn": "none", "maxReceiveCount": 0})}, "InvalidAttributeValue"),
    ],
)
def test_attributes_that_a_queue_cannot_have(sqs: Sqs, attributes: Any, refused: str) -> None:
    assert code(lambda: sqs.client.create_queue(QueueName="new", Attributes=attributes)) == refused
    assert code(lambda: sqs.client.set_queue_attributes(QueueUrl=sqs.queue.url, Attributes=attributes)) == refused


def test_a_queue_is_made_once(sqs: Sqs) -> None:
    assert sqs.client.create_queue(QueueName="queue")["QueueUrl"] == sqs.queue.url
    same = sqs.client.create_queue(QueueName="queue", Attributes={"DelaySeconds": "90"})
    assert same["QueueUrl"] == sqs.client.get_queue_url(QueueName="queue")["QueueUrl"] == sqs.queue.url
    assert (
        code(lambda: sqs.client.create_queue(QueueName="queue", Attributes={"DelaySeconds": "1"}))
        == "QueueAlreadyExists"
    )
    assert sqs.client.list_queues(QueueNamePrefix="q")["QueueUrls"] == [sqs.queue.url]


def test_attributes_are_set_and_hold_from_then_on(sqs: Sqs) -> None:
    changed: Any = {"DelaySeconds": "0", "RedrivePolicy": ""}
    sqs.client.set_queue_attributes(QueueUrl=sqs.queue.url, Attributes=changed)
    sqs.send()
    for _ in range(3):
        assert sqs.bodies() == ["hello"]
        sqs.clock.move(360)


def test_a_queue_that_is_not_there(sqs: Sqs) -> None:
    sqs.client.delete_queue(QueueUrl=sqs.queue.url)
    with pytest.raises(sqs.client.exceptions.QueueDoesNotExist):
        sqs.send()
    assert code(sqs.receive) == code(lambda: sqs.client.get_queue_url(QueueName="queue")) == NO_QUEUE
    other = sqs.dead.url.replace("111122223333", "444455556666")
    assert code(lambda: sqs.client.purge_queue(QueueUrl=other)) == NO_QUEUE


def test_purging_is_for_once_a_minute(sqs: Sqs) -> None:
    sqs.send()
    sqs.client.purge_queue(QueueUrl=sqs.queue.url)
    assert sqs.queue.bodies == []
    refused = "AWS.SimpleQueueService.PurgeQueueInProgress"
    assert code(lambda: sqs.client.purge_queue(QueueUrl=sqs.queue.url)) == refused
    sqs.clock.move(60)
    sqs.client.purge_queue(QueueUrl=sqs.queue.url)


def test_nothing_more_is_received_with_too_many_in_flight(sqs: Sqs) -> None:
    for body in ("1", "2", "3"):
        sqs.send(body, DelaySeconds=0)
    sqs.queue.limit_in_flight(2)
    assert len(sqs.receive(MaxNumberOfMessages=2)) == 2
    assert sqs.receive() == []
    sqs.clock.move(360)
    assert len(sqs.receive()) == 3


# --- moving dead letters ---------------------------------------------------------------------------------------------


def start(sqs: Sqs, source: LocalQueue | None = None, **given: Any) -> str:
    return sqs.client.start_message_move_task(SourceArn=(source or sqs.dead).arn, **given)["TaskHandle"]


def die(sqs: Sqs, body: str) -> None:
    """Let a message become a dead letter by the redrive policy."""
    sqs.queue.send(body, delay=0)
    for _ in range(3):
        sqs.receive()
        sqs.clock.move(360)


def test_moved_messages_are_new_ones(sqs: Sqs) -> None:
    sent_id = sqs.dead.send("letter", {"Reason": "why"})
    sqs.receive(sqs.dead, VisibilityTimeout=0)
    sqs.clock.move(13 * DAY)
    start(sqs, DestinationArn=sqs.queue.arn)
    (task,) = sqs.tasks()
    told = {name: task[name] for name in ("Status", "SourceArn", "DestinationArn")}
    assert told == {"Status": "COMPLETED", "SourceArn": sqs.dead.arn, "DestinationArn": sqs.queue.arn}
    assert (task["ApproximateNumberOfMessagesMoved"], task["ApproximateNumberOfMessagesToMove"]) == (1, 1)
    assert "TaskHandle" not in task
    assert sqs.dead.messages == []
    (moved,) = sqs.queue.messages
    assert moved.id != sent_id
    assert (moved.body, moved.receives, moved.sent_at) == ("letter", 0, sqs.clock.now)
    assert moved.attributes["Reason"]["StringValue"] == "why"


def test_without_a_destination_a_message_goes_to_its_source(sqs: Sqs) -> None:
    die(sqs, "of the policy's")
    start(sqs)
    assert [task["Status"] for task in sqs.tasks()] == ["COMPLETED"]
    assert sqs.queue.bodies == ["of the policy's"]


def test_without_a_destination_a_directly_sent_message_fails(sqs: Sqs) -> None:
    die(sqs, "of the policy's")
    sqs.dead.send("sent there")
    sqs.clock.move(1)
    start(sqs)
    (task,) = sqs.tasks()
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert sqs.dead.bodies == ["sent there"]


def test_one_task_a_queue_runs_until_cancelled(sqs: Sqs) -> None:
    for number in range(5):
        sqs.dead.send(str(number))
    handle = start(sqs, DestinationArn=sqs.queue.arn, MaxNumberOfMessagesPerSecond=1)
    assert code(lambda: start(sqs, DestinationArn=sqs.queue.arn)) == "InvalidParameterValue"
    sqs.clock.move(1)
    assert sqs.tasks()[0]["ApproximateNumberOfMessagesMoved"] == 2
    assert sqs.client.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"] == 2
    sqs.clock.move(60)
    assert (len(sqs.dead.bodies), len(sqs.queue.bodies)) == (3, 2)
    start(sqs, DestinationArn=sqs.queue.arn)
    assert [task["Status"] for task in sqs.tasks()] == ["COMPLETED", "CANCELLED"]
    assert code(lambda: sqs.client.cancel_message_move_task(TaskHandle=handle)) == "ResourceNotFoundException"


def test_tasks_that_cannot_start(sqs: Sqs) -> None:
    unknown = f"{sqs.dead.arn}-other"
    assert code(lambda: start(sqs, sqs.queue, DestinationArn=sqs.dead.arn)) == "InvalidParameterValue"
    assert code(lambda: start(sqs, DestinationArn=unknown)) == "ResourceNotFoundException"
    assert code(lambda: start(sqs, DestinationArn=sqs.dead.arn)) == "InvalidParameterValue"
    missing = code(lambda: sqs.client.start_message_move_task(SourceArn=unknown, DestinationArn=sqs.queue.arn))
    assert missing == "ResourceNotFoundException"


# --- behind the gateway ----------------------------------------------------------------------------------------------


def test_the_gateway_makes_any_call_of_sqs_go_wrong(sqs: Sqs) -> None:
    with AwsGateway(aws="http://127.0.0.1:9", sqs=sqs.simulator.url) as gateway:
        client = make_sqs_client(gateway.url)
        gateway.fail("SendMessage", Fault.LOST, times=1)
        with pytest.raises(HTTPClientError):
            client.send_message(QueueUrl=sqs.queue.url, MessageBody="had its effect")
        gateway.fail("SendMessage", Fault.ERROR, times=1)
        with pytest.raises(ClientError):
            client.send_message(QueueUrl=sqs.queue.url, MessageBody="had none")
        client.send_message(QueueUrl=sqs.queue.url, MessageBody="well")
        assert gateway.calls == ["SendMessage"] * 3
        client.close()
    assert sqs.queue.bodies == ["had its effect", "well"]


# --- the same calls of MiniStack's SQS and of ours -------------------------------------------------------------------


@dataclass
class Script:
    """The same calls for any SQS, and what the answers have that does not differ by chance.

    The clock is the machine's.
    """

    client: "SQSClient"
    mark: str = field(default_factory=lambda: uuid4().hex)

    def __post_init__(self) -> None:
        self.dead = self.client.create_queue(QueueName=f"dead-{self.mark}")["QueueUrl"]
        arn = self.attributes(self.dead)["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
        self.wanted: Any = {"DelaySeconds": "1", "VisibilityTimeout": "30", "RedrivePolicy": policy}
        self.url = self.client.create_queue(QueueName=f"queue-{self.mark}", Attributes=self.wanted)["QueueUrl"]

    def attributes(self, queue: str) -> dict[str, str]:
        told: Any = self.client.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        return dict(told)

    def counts(self, queue: str) -> object:
        return {name: value for name, value in self.attributes(queue).items() if name.startswith("Approximate")}

    def receive(self, queue: str, wait: int = 0, **given: Any) -> list[Any]:
        asked: Any = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"], **given}
        return list(self.client.receive_message(QueueUrl=queue, WaitTimeSeconds=wait, **asked).get("Messages", []))

    def answers(self) -> dict[str, object]:
        return dict(itertools.chain(self.queues(), self.messages(), self.batches(), refusals(self.client, self.url)))

    def queues(self) -> Iterator[tuple[str, object]]:
        name, made = f"queue-{self.mark}", self.client.create_queue
        yield "made again", made(QueueName=name, Attributes=self.wanted)["QueueUrl"] == self.url
        yield "its URL", self.client.get_queue_url(QueueName=name)["QueueUrl"] == self.url
        yield "made otherwise", code(lambda: made(QueueName=name, Attributes={"DelaySeconds": "2"}))
        told = self.attributes(self.url)
        numbers = ("DelaySeconds", "VisibilityTimeout", "MessageRetentionPeriod", "MaximumMessageSize")
        yield "attributes", [told[number] for number in numbers]
        yield "redrive policy", json.loads(told["RedrivePolicy"])["maxReceiveCount"]
        yield "names of attributes", sorted(told)

    def messages(self) -> Iterator[tuple[str, object]]:
        own: Any = {"Reason": {"DataType": "String", "StringValue": "why"}}
        sent = self.client.send_message(QueueUrl=self.url, MessageBody="hello", MessageAttributes=own)
        yield "digests", (sent["MD5OfMessageBody"], sent["MD5OfMessageAttributes"])
        yield "delayed", (self.receive(self.url), self.counts(self.url))
        (first,) = self.receive(self.url, wait=10)
        yield "received", {name: first[name] for name in first.keys() - {"MessageId", "ReceiptHandle", "Attributes"}}
        yield "same id", first["MessageId"] == sent["MessageId"]
        yield "types", {name: type(value).__name__ for name, value in first["Attributes"].items()}
        yield "first receive", first["Attributes"]["ApproximateReceiveCount"]
        yield "hidden", (self.receive(self.url), self.counts(self.url))
        self.client.change_message_visibility(
            QueueUrl=self.url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0
        )
        (second,) = self.receive(self.url, VisibilityTimeout=0)
        yield "second receive", second["Attributes"]["ApproximateReceiveCount"]
        yield "another handle", second["ReceiptHandle"] != first["ReceiptHandle"]
        moment = "ApproximateFirstReceiveTimestamp"
        yield "first receive again", first["Attributes"][moment] == second["Attributes"][moment]
        yield "spent", self.receive(self.url)
        (letter,) = self.receive(self.dead)
        yield "dead letter", (letter["Body"], letter["MessageAttributes"], letter["MessageId"] == sent["MessageId"])
        yield "its receives", letter["Attributes"]["ApproximateReceiveCount"]
        yield "its sending", letter["Attributes"]["SentTimestamp"] == first["Attributes"]["SentTimestamp"]
        yield "its source", letter["Attributes"]["DeadLetterQueueSourceArn"].endswith(f":queue-{self.mark}")
        self.client.delete_message(QueueUrl=self.dead, ReceiptHandle=letter["ReceiptHandle"])
        yield "deleted", self.counts(self.dead)

    def batches(self) -> Iterator[tuple[str, object]]:
        batch: Any = [
            {"Id": "now", "MessageBody": "1", "DelaySeconds": 0},
            {"Id": "bad", "MessageBody": "\0"},
            {"Id": "later", "MessageBody": "2", "DelaySeconds": 900},
        ]
        done = self.client.send_message_batch(QueueUrl=self.url, Entries=batch)
        yield "batch", [entry["Id"] for entry in done["Successful"]]
        yield "failed", [(entry["Id"], entry["Code"], entry["SenderFault"]) for entry in done["Failed"]]
        yield "after the batch", self.counts(self.url)
        (message,) = self.receive(self.url)
        ends: Any = [{"Id": "1", "ReceiptHandle": message["ReceiptHandle"]}, {"Id": "2", "ReceiptHandle": "none"}]
        removed = self.client.delete_message_batch(QueueUrl=self.url, Entries=ends)
        yield "removed", [entry["Id"] for entry in removed["Successful"]]
        yield "not removed", [(entry["Id"], entry["Code"]) for entry in removed["Failed"]]
        self.client.purge_queue(QueueUrl=self.url)
        yield "purged", self.counts(self.url)


def refusals(client: "SQSClient", url: str) -> Iterator[tuple[str, object]]:
    """What is refused, and the error's code."""
    refused: dict[str, Callable[[], object]] = {
        "no body": lambda: client.send_message(QueueUrl=url, MessageBody=""),
        "no characters of XML": lambda: client.send_message(QueueUrl=url, MessageBody="\0"),
        "too long": lambda: client.send_message(QueueUrl=url, MessageBody="a" * (MEBIBYTE + 1)),
        "too many": lambda: client.receive_message(QueueUrl=url, MaxNumberOfMessages=11),
        "no handle": lambda: client.delete_message(QueueUrl=url, ReceiptHandle="none"),
        "no handle to hide": lambda: client.change_message_visibility(
            QueueUrl=url, ReceiptHandle="none", VisibilityTimeout=0
        ),
        "empty batch": lambda: client.send_message_batch(QueueUrl=url, Entries=[]),
        "long batch": lambda: client.send_message_batch(QueueUrl=url, Entries=entries(*map(str, range(11)))),
        "an id twice": lambda: client.send_message_batch(QueueUrl=url, Entries=entries("1", "1")),
        "no id": lambda: client.send_message_batch(QueueUrl=url, Entries=entries(".")),
        "large batch": lambda: client.send_message_batch(
            QueueUrl=url, Entries=entries("1", "2", body="a" * (MEBIBYTE // 2 + 1))
        ),
        "long delay": lambda: client.create_queue(QueueName="x", Attributes={"DelaySeconds": "901"}),
        "bad policy": lambda: client.create_queue(QueueName="x", Attributes={"RedrivePolicy": "{}"}),
        "unknown queue": lambda: client.send_message(QueueUrl=f"{url}-none", MessageBody="x"),
        "unknown name": lambda: client.get_queue_url(QueueName="none"),
    }
    for what, call in refused.items():
        yield what, code(call)


def test_ministacks_sqs_answers_alike(ministack: MiniStack) -> None:
    """Without message move tasks, which MiniStack does not have (InvalidAction)."""
    with SqsSimulator() as simulator:
        answers = []
        for url in (simulator.url, ministack.url):
            client = make_sqs_client(url)
            answers.append(Script(client).answers())
            client.close()
    ours, theirs = answers
    assert ours == theirs
