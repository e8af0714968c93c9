"""The SQS simulator through boto3: what becomes of messages, and whether MiniStack's SQS agrees."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.simulators.conftest import NOW
from tools.local.local_stack import CONTACT_QUEUE, DEAD_LETTER_QUEUE, MAX_RECEIVES, ROOT
from tools.local.ministack import MiniStack
from tools.local.sqs import LocalQueue, SqsSimulator
from tools.template import load

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

    def send(self, body: str = "hello", **changes: Any) -> str:
        return self.client.send_message(QueueUrl=self.queue.url, MessageBody=body, **changes)["MessageId"]

    def receive(self, queue: LocalQueue | None = None, **changes: Any) -> list[Any]:
        request = {"MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"], **changes}
        url = (queue or self.queue).url
        return list(self.client.receive_message(QueueUrl=url, **request).get("Messages", []))

    def bodies(self, queue: LocalQueue | None = None, **changes: Any) -> list[str]:
        return [message["Body"] for message in self.receive(queue, **changes)]

    def change(self, handle: str, seconds: int) -> None:
        self.client.change_message_visibility(QueueUrl=self.queue.url, ReceiptHandle=handle, VisibilityTimeout=seconds)

    def delete(self, handle: str) -> None:
        self.client.delete_message(QueueUrl=self.queue.url, ReceiptHandle=handle)

    def tasks(self) -> list[Any]:
        return list(self.client.list_message_move_tasks(SourceArn=self.dead.arn, MaxResults=10)["Results"])


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


def test_the_local_queues_are_as_deployed() -> None:
    resources = load(ROOT / "template.yaml")["Resources"]
    contacts, dead_letters = (resources[name]["Properties"] for name in ("ContactQueue", "DeadLetterQueue"))
    assert {name: contacts[name] for name in CONTACT_QUEUE} == CONTACT_QUEUE
    assert {name: dead_letters[name] for name in DEAD_LETTER_QUEUE} == DEAD_LETTER_QUEUE
    assert contacts["RedrivePolicy"]["maxReceiveCount"] == MAX_RECEIVES


# --- what becomes of a message ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("own", "seconds"), [({}, 90), ({"DelaySeconds": 0}, 0), ({"DelaySeconds": 900}, 900)])
def test_a_messages_own_delay_goes_before_the_queues(sqs: Sqs, own: dict[str, Any], seconds: int) -> None:
    sqs.send(**own)
    sqs.clock.move(seconds - 1)
    assert sqs.bodies() == []
    sqs.clock.move(1)
    assert sqs.bodies() == ["hello"]


@pytest.mark.parametrize(
    ("own", "changed", "seconds"),
    [
        ({}, None, 360),
        ({"VisibilityTimeout": 5}, None, 5),
        ({"VisibilityTimeout": 0}, None, 0),
        ({}, 0, 0),
        ({}, 3600, 3600),
    ],
)
def test_a_received_message_is_hidden(sqs: Sqs, own: dict[str, Any], changed: int | None, seconds: int) -> None:
    sqs.send(DelaySeconds=0)
    (message,) = sqs.receive(**own)
    if changed is not None:
        sqs.change(message["ReceiptHandle"], changed)
    if seconds:
        sqs.clock.move(seconds - 1)
        assert sqs.bodies() == []
        sqs.clock.move(1)
    assert sqs.bodies() == ["hello"]


def test_an_older_handle_deletes_nothing(sqs: Sqs) -> None:
    sqs.send(DelaySeconds=0)
    (first,) = sqs.receive(VisibilityTimeout=0)
    (second,) = sqs.receive()
    sqs.delete(first["ReceiptHandle"])
    assert sqs.queue.bodies == ["hello"]
    sqs.delete(second["ReceiptHandle"])
    assert sqs.queue.bodies == []


def test_visibility_changes_in_flight_until_twelve_hours_after_the_receive(sqs: Sqs) -> None:
    sqs.send(DelaySeconds=0)
    (message,) = sqs.receive()
    sqs.clock.move(60)
    for seconds in (-1, 43_201, 43_141):
        assert code(partial(sqs.change, message["ReceiptHandle"], seconds)) == "InvalidParameterValue"
    sqs.change(message["ReceiptHandle"], 43_140)
    sqs.clock.move(43_140)
    not_in_flight = "AWS.SimpleQueueService.MessageNotInflight"
    assert code(lambda: sqs.change(message["ReceiptHandle"], 60)) == not_in_flight
    (again,) = sqs.receive()
    assert code(lambda: sqs.change(message["ReceiptHandle"], 60)) == "InvalidParameterValue"
    sqs.delete(again["ReceiptHandle"])
    assert code(lambda: sqs.change(again["ReceiptHandle"], 60)) == "InvalidParameterValue"


def test_retention_counts_from_sending_and_expired_messages_go(sqs: Sqs) -> None:
    sqs.send("old", DelaySeconds=0)
    sqs.clock.move(4 * DAY - 1)
    assert sqs.bodies() == ["old"]
    sqs.clock.move(1)
    assert sqs.queue.bodies == sqs.bodies() == []


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
    sqs.clock.move(14 * DAY - 720)
    assert sqs.dead.bodies == []


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


# --- moving dead letters ---------------------------------------------------------------------------------------------


def start(sqs: Sqs, source: str | None = None, **changes: Any) -> str:
    return sqs.client.start_message_move_task(SourceArn=source or sqs.dead.arn, **changes)["TaskHandle"]


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
    assert (task["Status"], task["SourceArn"], task["DestinationArn"]) == ("COMPLETED", sqs.dead.arn, sqs.queue.arn)
    assert (task["ApproximateNumberOfMessagesMoved"], task["ApproximateNumberOfMessagesToMove"]) == (1, 1)
    assert "TaskHandle" not in task
    assert sqs.dead.messages == []
    (moved,) = sqs.queue.messages
    assert moved.id != sent_id
    assert (moved.body, moved.receives, moved.sent_at) == ("letter", 0, sqs.clock.now)
    assert moved.attributes["Reason"]["StringValue"] == "why"


def test_without_a_destination_only_the_policys_dead_letters_move(sqs: Sqs) -> None:
    die(sqs, "of the policy's")
    sqs.dead.send("sent there")
    sqs.clock.move(1)
    start(sqs)
    (task,) = sqs.tasks()
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert (sqs.queue.bodies, sqs.dead.bodies) == (["of the policy's"], ["sent there"])


def test_one_task_a_queue_runs_at_its_rate(sqs: Sqs) -> None:
    for number in range(4):
        sqs.dead.send(str(number))
    handle = start(sqs, DestinationArn=sqs.queue.arn, MaxNumberOfMessagesPerSecond=1)
    assert code(lambda: start(sqs, DestinationArn=sqs.queue.arn)) == "InvalidParameterValue"
    sqs.clock.move(1)
    (task,) = sqs.tasks()
    assert (task["Status"], task["TaskHandle"], task["ApproximateNumberOfMessagesMoved"]) == ("RUNNING", handle, 2)
    sqs.clock.move(3)
    assert [task["Status"] for task in sqs.tasks()] == ["COMPLETED"]
    start(sqs, DestinationArn=sqs.queue.arn)
    assert [task["ApproximateNumberOfMessagesMoved"] for task in sqs.tasks()] == [0, 4]


def test_tasks_that_cannot_start(sqs: Sqs) -> None:
    unknown = f"{sqs.dead.arn}-other"
    refused = [
        (sqs.queue.arn, sqs.dead.arn, "InvalidParameterValue"),
        (sqs.dead.arn, sqs.dead.arn, "InvalidParameterValue"),
        (sqs.dead.arn, unknown, "ResourceNotFoundException"),
        (unknown, sqs.queue.arn, "ResourceNotFoundException"),
    ]
    for source, destination, error in refused:
        assert code(partial(start, sqs, source, DestinationArn=destination)) == error


# --- the same requests to MiniStack's SQS and to ours ----------------------------------------------------------------


def entries(*ids: str, body: str = "hello") -> list[Any]:
    return [{"Id": one, "MessageBody": body} for one in ids]


@dataclass
class Script:
    """The same requests to any SQS, and what the answers have that does not differ by chance.

    The clock is the machine's.
    """

    client: "SQSClient"
    url: str
    dead: str

    def attributes(self, queue: str) -> dict[str, str]:
        answer: Any = self.client.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        return dict(answer)

    def counts(self, queue: str) -> object:
        return {name: value for name, value in self.attributes(queue).items() if name.startswith("Approximate")}

    def receive(self, queue: str, wait: int = 0, **changes: Any) -> list[Any]:
        request: Any = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"], **changes}
        return list(self.client.receive_message(QueueUrl=queue, WaitTimeSeconds=wait, **request).get("Messages", []))

    def answers(self) -> dict[str, object]:
        return dict(itertools.chain(self.queues(), self.messages(), self.batches(), refusals(self.client, self.url)))

    def queues(self) -> Iterator[tuple[str, object]]:
        attributes = self.attributes(self.url)
        numbers = ("DelaySeconds", "VisibilityTimeout", "MessageRetentionPeriod", "MaximumMessageSize")
        yield "attributes", [attributes[number] for number in numbers]
        yield "redrive policy", json.loads(attributes["RedrivePolicy"])["maxReceiveCount"]
        self.client.set_queue_attributes(QueueUrl=self.url, Attributes={"VisibilityTimeout": "31"})
        yield "set attribute", self.attributes(self.url)["VisibilityTimeout"]

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
        yield "its source", letter["Attributes"]["DeadLetterQueueSourceArn"] == self.attributes(self.url)["QueueArn"]
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
        longest = self.client.send_message(QueueUrl=self.url, MessageBody="a" * MEBIBYTE)
        yield "longest", longest["MD5OfMessageBody"]


def refusals(client: "SQSClient", url: str) -> Iterator[tuple[str, object]]:
    """What is refused, and the error's code."""

    def set_to(attributes: Any) -> object:
        return client.set_queue_attributes(QueueUrl=url, Attributes=attributes)

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
        "long delay": lambda: set_to({"DelaySeconds": "901"}),
        "bad policy": lambda: set_to({"RedrivePolicy": "{}"}),
        "unknown queue": lambda: client.send_message(QueueUrl=f"{url}-none", MessageBody="x"),
    }
    for what, call in refused.items():
        yield what, code(call)


def test_ministacks_sqs_answers_alike(ministack: MiniStack) -> None:
    """Without message move tasks, which MiniStack does not have (InvalidAction)."""
    mark = uuid4().hex

    def wanted(arn: str) -> Any:
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
        return {"DelaySeconds": "1", "VisibilityTimeout": "30", "RedrivePolicy": policy}

    theirs = make_sqs_client(ministack.url)
    dead = theirs.create_queue(QueueName=f"dead-{mark}")["QueueUrl"]
    arn = theirs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    queue = theirs.create_queue(QueueName=f"queue-{mark}", Attributes=wanted(arn))["QueueUrl"]
    with SqsSimulator() as simulator:
        dead_letters = simulator.create("dead", {})
        ours = Script(
            make_sqs_client(simulator.url), simulator.create("queue", wanted(dead_letters.arn)).url, dead_letters.url
        )
        assert ours.answers() == Script(theirs, queue, dead).answers()
