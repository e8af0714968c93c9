"""The contact queue and the dead-letter queue, as an operator sees them: numbers, ages, and SQS's own redrive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.text import Text

from voicecall_cli.terminal import lasted, printable
from voicecall_sync.asked import asked_in
from voicecall_sync.errors import InvalidInput
from voicecall_sync.queue.api import BATCH, REASON, depth_of
from voicecall_sync.queue.depth import Depth

MOST_SAMPLED = BATCH
"""How many messages of the dead-letter queue are read: one receive."""
_WAIT_SECONDS = 1
_RUNNING = frozenset({"RUNNING", "CANCELLING"})
_EVENTBRIDGES_REASON = "ERROR_CODE"
_LONGEST_REASON = 1024
"""The worker's own reasons are not longer."""


@dataclass(frozen=True, slots=True)
class DepthAndAge:
    """How much is in a queue, and since when.

    Attributes:
        depth: How many messages it holds.
        oldest: The age of the oldest message; None if unknown.
    """

    depth: Depth
    oldest: timedelta | None

    @property
    def total(self) -> int:
        """Return how many messages there are."""
        return self.depth.total

    def __str__(self) -> str:
        age = f"the oldest {lasted(self.oldest)}" if self.oldest is not None else "age of the oldest unknown"
        return f"{self.depth}{f'; {age}' if self.total else ''}"

    def as_json(self) -> dict[str, object]:
        """Return it as JSON; the age in seconds, null where it is not known."""
        return {
            "ready": self.depth.ready,
            "inFlight": self.depth.in_flight,
            "delayed": self.depth.delayed,
            "oldestSeconds": None if self.oldest is None else int(self.oldest.total_seconds()),
        }


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The part of a message in the dead-letter queue that may be shown.

    Attributes:
        contact_id: The contact it is about; "" if it does not name a contact.
        sent_at: When it came into a queue.
        reason: Why it is here; "" if it does not say.
    """

    contact_id: str
    sent_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Move:
    """A redrive, as SQS describes it.

    Attributes:
        status: RUNNING, COMPLETED, CANCELLING, CANCELLED or FAILED.
        to_move: About how many messages there were when it started; 0 if SQS does not say.
        failure: Why it failed.
    """

    started_at: int
    status: str
    moved: int
    to_move: int
    failure: str

    @property
    def running(self) -> bool:
        """Tell whether it still moves messages."""
        return self.status in _RUNNING


class Queues:
    """Both queues. Every method raises botocore's exceptions.

    Args:
        client: A client of SQS.
        contact_url: The contact queue's address.
        dead_letter_url: The dead-letter queue's.
        age: Gives the age of a queue's oldest message, by the queue's name; None where it is not known.
    """

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - there are stubs for some services only
        contact_url: str,
        dead_letter_url: str,
        age: Callable[[str], timedelta | None],
    ) -> None:
        self._client = client
        self._contact_url = contact_url
        self._dead_letter_url = dead_letter_url
        self._age = age

    def contacts(self) -> DepthAndAge:
        """Return how much is in the contact queue."""
        return self._depth_and_age(self._contact_url)

    def dead_letters(self) -> DepthAndAge:
        """Return how much is in the dead-letter queue."""
        return self._depth_and_age(self._dead_letter_url)

    def sample(self) -> list[DeadLetter]:
        """Read some messages of the dead-letter queue. They stay visible to other readers."""
        answer = self._client.receive_message(
            QueueUrl=self._dead_letter_url,
            MaxNumberOfMessages=MOST_SAMPLED,
            VisibilityTimeout=0,
            WaitTimeSeconds=_WAIT_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp"],
            MessageAttributeNames=["All"],
        )
        received = {message["MessageId"]: message for message in answer.get("Messages", [])}
        return sorted(map(_dead_letter, received.values()), key=lambda one: one.sent_at)

    def start_move(self) -> None:
        """Let SQS move all of the dead-letter queue to the contact queue.

        The request always names the destination, because our functions and the rule send to the dead-letter queue
        directly. Without a destination SQS cannot move such messages (CouldNotDetermineMessageSource).
        """
        self._client.start_message_move_task(
            SourceArn=self._arn(self._dead_letter_url), DestinationArn=self._arn(self._contact_url)
        )

    def latest_move(self) -> Move | None:
        """Return the latest redrive of the dead-letter queue; None if SQS lists no redrive."""
        answer = self._client.list_message_move_tasks(SourceArn=self._arn(self._dead_letter_url), MaxResults=1)
        return next(map(_move, answer.get("Results", [])), None)

    def _depth_and_age(self, url: str) -> DepthAndAge:
        return DepthAndAge(depth_of(self._client, url), self._age(url.rpartition("/")[2]))

    def _arn(self, url: str) -> str:
        answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])


def lines(contacts: DepthAndAge, dead_letters: DepthAndAge) -> Text:
    """Return the numbers of both queues, a line each."""
    return Text(f"Contact queue: {contacts}\nDead-letter queue: {dead_letters}")


def as_json(contacts: DepthAndAge, dead_letters: DepthAndAge) -> dict[str, object]:
    """Return the numbers of both queues as JSON."""
    return {"contacts": contacts.as_json(), "deadLetters": dead_letters.as_json()}


def _dead_letter(message: Mapping[str, Any]) -> DeadLetter:
    attributes = message.get("MessageAttributes", {})
    reasons = (str(attributes.get(name, {}).get("StringValue", "")) for name in (REASON, _EVENTBRIDGES_REASON))
    try:
        contact_id = asked_in(message["Body"]).contact_id
    except InvalidInput:
        contact_id = ""
    sent_at = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)
    return DeadLetter(contact_id, sent_at, printable(next(filter(None, reasons), ""), _LONGEST_REASON))


def _move(task: Mapping[str, Any]) -> Move:
    return Move(
        started_at=int(task.get("StartedTimestamp", 0)),
        status=printable(str(task.get("Status", ""))),
        moved=int(task.get("ApproximateNumberOfMessagesMoved", 0)),
        to_move=int(task.get("ApproximateNumberOfMessagesToMove", 0)),
        failure=printable(str(task.get("FailureReason", ""))),
    )
