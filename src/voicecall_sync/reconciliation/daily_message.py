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
from voicecall_sync.reconciliation.summary import MOST_COUNTED, subject_of, summary_of, text_of

_NOTE = "daily message"
_OPEN = (State.UNCERTAIN, State.REJECTED, State.CLAIMED, State.NOT_APPLIED)


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
        """Send the message if operators must hear of something and today's message is not noted yet.

        Args:
            now: The time of day, in UTC.
            require_time: Raises TooLittleTime once the run has too little time left.
            paused: The worker receives no messages.

        Raises:
            NotReady: Something failed, and the next run tries again.
        """
        today = f"{now:%Y-%m-%d}"
        if self.topic is None or (self.open_contacts.note(_NOTE) or {}).get("day") == today:
            return
        records = self._open_contacts(require_time)
        summary = summary_of(records, now, self.queue.depth(), self.queue.dead_letters(), paused=paused)
        if summary.worth_a_message:
            self.topic.publish(subject_of(summary, self.stack), text_of(summary, self.stack, now))
        self.open_contacts.save_note(_NOTE, {"day": today}, None)

    def _open_contacts(self, require_time: Callable[[], None]) -> Iterator[Record]:
        for state in _OPEN:
            # Of those that wait, the oldest matter; of the others, the newest.
            open_ones = self.open_contacts.open(state, newest_first=state in RELEASABLE)
            for record in islice(open_ones, MOST_COUNTED):
                require_time()
                yield record
