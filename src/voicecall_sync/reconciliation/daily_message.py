"""The daily message to operators: once a day, what is open, through the alarm topic.

An alarm sends one e-mail when it goes off. While it stands, it hides what is new. So the first scheduled run of a day,
in UTC, tells what is open. It sends the message first, and then notes the day. If it is killed in between, the next
run sends a second message. That is better than a day without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from voicecall_sync.alarm_topic import AlarmTopic
from voicecall_sync.ledger.open_contacts import RELEASABLE, OpenContacts
from voicecall_sync.ledger.record import Record
from voicecall_sync.outcome import State
from voicecall_sync.queue.api import ContactQueue
from voicecall_sync.reconciliation.summary import MOST_COUNTED, Look, look_of, subject_of, summary_of, text_of

_NOTE = "daily message"
_OPEN = (State.CLAIMED, State.NOT_APPLIED, State.UNCERTAIN, State.REJECTED)
"""Contacts move from the first to the last. So one that moves meanwhile is counted twice at most, and never missed."""


@dataclass(frozen=True, slots=True)
class DailyMessage:
    """Sends the daily message.

    Attributes:
        queue: The contact queue and the dead-letter queue.
        topic: None if the stack has no alarm topic: no message is sent.
        stack: The stack's name, as operators give it to their command.
    """

    open_contacts: OpenContacts
    queue: ContactQueue
    topic: AlarmTopic | None
    stack: str

    def send_once_a_day(self, now: datetime, require_time: Callable[[], None], *, paused: bool) -> None:
        """Send the message if operators must hear of something, unless today's is noted already.

        Args:
            now: The time of day, in UTC.
            require_time: Raises TooLittleTime once the run has too little time left.
            paused: The worker receives no messages.

        Raises:
            NotReady: Something failed, and the next run tries again.
        """
        if self.topic is None:
            return
        before = look_of(self.open_contacts.note(_NOTE))
        if before is not None and before.at.date() == now.date():
            return
        records, depths = self._open_contacts(require_time), (self.queue.depth(), self.queue.dead_letters())
        summary = summary_of(records, now, before, *depths, paused=paused)
        if summary.worth_a_message:
            self.topic.publish(subject_of(summary, self.stack), text_of(summary, self.stack, now))
        self.open_contacts.save_note(_NOTE, Look(now, summary.unmet).as_stored(), None)

    def _open_contacts(self, require_time: Callable[[], None]) -> Iterator[Record]:
        for state in _OPEN:
            # Of those that wait, the oldest matter; of the others, the newest.
            open_ones = self.open_contacts.open(state, newest_first=state in RELEASABLE)
            for record in islice(open_ones, MOST_COUNTED):
                require_time()
                yield record
