"""One standard queue of Amazon SQS, and what becomes of a message in it. Every moment is handed in.

The rules, with their pages of https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/:

    delay            of the queue, or the message's own in its place           sqs-delay-queues.html
    visibility       counted from the receive, changed while in flight,
                     12 hours after the receive at most                        sqs-visibility-timeout.html
    receipt handle   another one with each receive; only the last one deletes  sqs-queue-message-identifiers.html
    dead letters     moved when received more than maxReceiveCount times;
                     they keep the moment they were first sent                 sqs-dead-letter-queues.html
    retention        from the first sending; what expires is gone silently     sqs-basic-architecture.html
    at least once    a copy may come again, even of a deleted message        standard-queues-at-least-once-delivery.html
"""

from __future__ import annotations

import base64
import binascii
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import uuid4

from tools.local.sqs_rules import DEFAULTS, LONGEST_VISIBILITY, Body, SqsError, invalid, redrive_policy

_AMONG = 50
"""Out of so many that are visible the newest is taken where the order is turned round."""


@dataclass(slots=True, eq=False)
class Message:
    """A message in a queue.

    Attributes:
        id: stays when SQS moves it by a redrive policy.
        attributes: the sender's, as the API spells them.
        sent_at: when it was first sent.
        visible_at: when it can be received, again or at all.
        receives: how often it was received.
        first_received_at: None before it was.
        received_at: when it was received last.
        handle: the receipt handle of the last receive.
        source: the ARN of the queue that a redrive policy moved it from; None for one that was sent here.
        place: tells its entry in the queue's order from former ones.
    """

    body: str
    attributes: Mapping[str, Body]
    sent_at: datetime
    visible_at: datetime
    id: str = field(default_factory=lambda: str(uuid4()))
    receives: int = 0
    first_received_at: datetime | None = None
    received_at: datetime | None = None
    handle: str | None = None
    source: str | None = None
    place: int = -1

    def is_in_flight(self, now: datetime) -> bool:
        """Tell whether it was received, and is hidden for it."""
        return self.handle is not None and now < self.visible_at


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages can be received, were received and are hidden for it, are not to be received yet."""

    visible: int = 0
    in_flight: int = 0
    delayed: int = 0


class Queue:
    """A queue; not safe for threads.

    Attributes:
        attributes: those that were set, and the defaults of the others.
        newest_first: whether the order of what is received is turned round, among 50 that are visible.
        twice: how many of the next messages received are given out once more.
    """

    def __init__(self, name: str, arn: str, attributes: Mapping[str, str]) -> None:
        self.name = name
        self.arn = arn
        self.attributes = {**DEFAULTS, **attributes}
        self.newest_first = False
        self.twice = 0
        self._messages: dict[str, Message] = {}
        self._order: list[tuple[datetime, int, Message]] = []
        self._places = itertools.count()
        self._again: deque[Message] = deque()

    def number(self, attribute: str) -> int:
        """Return an attribute that is a number."""
        return int(self.attributes[attribute])

    @property
    def redrive(self) -> tuple[str, int] | None:
        """The dead-letter queue's ARN and maxReceiveCount; None without a redrive policy."""
        text = self.attributes.get("RedrivePolicy")
        return redrive_policy(text) if text else None

    def send(self, body: str, attributes: Mapping[str, Body], now: datetime, delay: int | None = None) -> Message:
        """Take a message; without a delay of its own, the queue's holds."""
        seconds = self.number("DelaySeconds") if delay is None else delay
        message = Message(body, attributes, sent_at=now, visible_at=now + timedelta(seconds=seconds))
        self._place(message)
        return message

    def take_over(self, message: Message, source: str, now: datetime) -> None:
        """Take a message that the redrive policy of the queue `source` moves here."""
        message.source, message.handle, message.visible_at = source, None, now
        self._place(message)

    def receive(self, most: int, visibility: int, now: datetime, spent: Callable[[Message], None]) -> list[Message]:
        """Give out messages that are visible, and hide them.

        Args:
            most: how many at most.
            visibility: seconds to hide them for.
            now: the present moment.
            spent: called with each that was received as often as the redrive policy allows, which is then not here.
        """
        taken = [message for message in self._copies(most) if self._is_kept(message, now)]
        allowed = self.redrive[1] if self.redrive else None
        while len(taken) < most and (message := self._next(now)) is not None:
            if allowed is not None and message.receives >= allowed:
                del self._messages[message.id]
                spent(message)
            else:
                taken.append(message)
                if self.twice > 0:
                    self.twice -= 1
                    self._again.append(message)
        for message in taken:
            self._hide(message, visibility, now)
        return taken

    def delete(self, handle: str) -> None:
        """Delete the message that was last received with this handle; nothing with an older one.

        Raises:
            SqsError: it is no handle of this queue's.
        """
        message = self._messages.get(self._id_of(handle))
        if message is not None and message.handle == handle:
            del self._messages[message.id]

    def change_visibility(self, handle: str, seconds: int, now: datetime) -> None:
        """Let the message be visible so many seconds from now.

        Raises:
            SqsError: it is no handle of this queue's, or the message is gone, received again or not in flight.
        """
        message = self._messages.get(self._id_of(handle))
        if message is None or message.handle != handle or message.received_at is None:
            raise invalid(
                f"Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not"
                " available for visibility timeout change."
            )
        if not message.is_in_flight(now):
            raise SqsError("MessageNotInflight", "The message referred to isn't in flight.")
        message_ends = now + timedelta(seconds=seconds)
        if message_ends > message.received_at + timedelta(seconds=LONGEST_VISIBILITY):
            raise invalid(
                f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the"
                f" message is beyond the limit [{LONGEST_VISIBILITY} seconds]"
            )
        message.visible_at = message_ends
        self._place(message)

    def live(self, now: datetime) -> list[Message]:
        """Return the messages that are there, oldest first, visible or not."""
        kept = [message for message in list(self._messages.values()) if self._is_kept(message, now)]
        return sorted(kept, key=lambda message: message.sent_at)

    def counts(self, now: datetime) -> Counts:
        """Count the messages."""
        live = self.live(now)
        hidden = [message for message in live if message.visible_at > now]
        in_flight = sum(message.is_in_flight(now) for message in hidden)
        return Counts(len(live) - len(hidden), in_flight, len(hidden) - in_flight)

    def next_visible_at(self) -> datetime | None:
        """Return when the next message can be received, None if none will be."""
        while self._order and not self._is_there(*self._order[0][1:]):
            heapq.heappop(self._order)
        return self._order[0][0] if self._order else None

    def pop(self, now: datetime) -> Message | None:
        """Take a visible message out of the queue, the oldest first; None without one."""
        message = self._next(now)
        if message is not None:
            del self._messages[message.id]
        return message

    def put_back(self, message: Message) -> None:
        """Undo `pop`."""
        self._place(message)

    def message(self, message_id: str) -> Message:
        """Return a message.

        Raises:
            KeyError: it is not there.
        """
        return self._messages[message_id]

    def lose(self, message_id: str) -> None:
        """Forget a message, as if it had never been.

        Raises:
            KeyError: it is not there.
        """
        del self._messages[message_id]

    def clear(self) -> None:
        """Forget all messages."""
        self._messages.clear()
        self._order.clear()
        self._again.clear()

    def _copies(self, most: int) -> list[Message]:
        """Take the messages to be given out once more; one that was deleted meanwhile is there again."""
        taken = [self._again.popleft() for _ in range(min(most, len(self._again)))]
        for message in taken:
            self._place(message)
            message.place = -1  # so that it is not taken out of the order as well
        return taken

    def _next(self, now: datetime) -> Message | None:
        """Take the next visible message out of the order, though not out of the queue."""
        if not self.newest_first:
            return self._first(now)
        among = list(itertools.takewhile(bool, (self._first(now) for _ in range(_AMONG))))
        for message in among[:-1]:
            if message is not None:
                self._place(message)
        return among[-1] if among else None

    def _first(self, now: datetime) -> Message | None:
        while self._order and self._order[0][0] <= now:
            _, place, message = heapq.heappop(self._order)
            if message.place == place and self._is_kept(message, now):
                return message
        return None

    def _is_there(self, place: int, message: Message) -> bool:
        return message.place == place and self._messages.get(message.id) is message

    def _is_kept(self, message: Message, now: datetime) -> bool:
        """Tell whether the message is there; one past its retention is forgotten."""
        if self._messages.get(message.id) is not message:
            return False
        if message.sent_at + timedelta(seconds=self.number("MessageRetentionPeriod")) > now:
            return True
        del self._messages[message.id]
        return False

    def _hide(self, message: Message, visibility: int, now: datetime) -> None:
        message.receives += 1
        message.received_at = now
        message.first_received_at = message.first_received_at or now
        message.visible_at = now + timedelta(seconds=visibility)
        message.handle = base64.b64encode(f"{self.arn} {message.id} {uuid4()}".encode()).decode()
        self._place(message)

    def _place(self, message: Message) -> None:
        self._messages[message.id] = message
        message.place = next(self._places)
        heapq.heappush(self._order, (message.visible_at, message.place, message))

    def _id_of(self, handle: str) -> str:
        try:
            arn, message_id, _ = base64.b64decode(handle, validate=True).decode().split(" ")
        except (binascii.Error, ValueError):
            arn = message_id = ""
        if arn != self.arn:
            raise SqsError("ReceiptHandleIsInvalid", f'"{handle}" is not a valid receipt handle.')
        return message_id
