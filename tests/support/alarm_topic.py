"""An alarm topic of MiniStack's with one subscriber, a queue, which keeps what was published."""

import json
from dataclasses import dataclass, field
from uuid import uuid4

from tools.local.local_stack import aws_client


@dataclass(frozen=True, slots=True)
class Published:
    """A message as its subscribers get it."""

    subject: str
    text: str


@dataclass
class AlarmTopic:
    """The topic. Its faults are the gateway's, by the name ``Publish``."""

    aws: str
    arn: str = field(init=False)
    _queue: str = field(init=False)
    _published: list[Published] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        name = f"alarms-{uuid4()}"
        sns, sqs = aws_client("sns", self.aws), aws_client("sqs", self.aws)
        self.arn = sns.create_topic(Name=name)["TopicArn"]
        self._queue = sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=attributes["QueueArn"])

    @property
    def published(self) -> list[Published]:
        """Everything that was published so far, in no certain order."""
        sqs = aws_client("sqs", self.aws)
        while messages := sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                envelope = json.loads(message["Body"])
                self._published.append(Published(envelope["Subject"], envelope["Message"]))
                sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return list(self._published)
