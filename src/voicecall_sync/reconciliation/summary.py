"""What is open, in numbers: when operators must hear of it, and the text of the daily message.

The text has only fixed words, numbers and the stack's name, because e-mail is not encrypted everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from voicecall_sync.ledger.attention import MEANING, Need, need_of
from voicecall_sync.ledger.record import Record
from voicecall_sync.outcome import State
from voicecall_sync.queue.depth import Depth

DAY = timedelta(days=1)
MOST_COUNTED = 10_000
"""How many contacts of a state are counted. Reading so many takes some seconds."""
MANY_READY = 100
"""So many messages are ready only if the worker is behind. A working one takes a message at once."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number of contacts.

    Attributes:
        contacts: How many there are.
        new: For contacts that need an operator: how many of them do so for less than a day.
    """

    contacts: int = 0
    new: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """What is open.

    Attributes:
        needs: The contacts that need an operator, by the reason.
        waiting: The contacts that wait in the contact queue.
        waiting_long: How many of these have waited for more than a day.
        capped: There may be more contacts than were counted.
        contact_queue, dead_letter_queue: The messages in the queues.
        paused: The worker receives no messages.
    """

    needs: Mapping[Need, Number]
    waiting: int
    waiting_long: int
    capped: bool
    contact_queue: Depth
    dead_letter_queue: Depth
    paused: bool

    @property
    def needed(self) -> int:
        """Return how many contacts need an operator."""
        return sum(number.contacts for number in self.needs.values())

    @property
    def behind(self) -> bool:
        """Tell whether the worker does not keep up with the contact queue. A paused one takes nothing from it."""
        return self.contact_queue.total > 0 if self.paused else self.contact_queue.ready > MANY_READY

    @property
    def worth_a_message(self) -> bool:
        """Tell whether operators must hear of it.

        Some contacts always wait for a few minutes, for example for their recording. A message about those alone would
        come every day, and operators would no longer read it.
        """
        return self.needed > 0 or self.dead_letter_queue.total > 0 or self.waiting_long > 0 or self.behind


def summary_of(
    records: Iterable[Record], now: datetime, contact_queue: Depth, dead_letter_queue: Depth, *, paused: bool
) -> Summary:
    """Count open contacts, of which at most MOST_COUNTED of each state are given."""
    needs = dict.fromkeys(Need, Number())
    waiting = waiting_long = 0
    counted: Counter[State | None] = Counter()
    for record in records:
        counted[record.state] += 1
        need = need_of(record, now)
        if need is not None:
            before = needs[need]
            needs[need] = Number(before.contacts + 1, before.new + _needed_since(need, record, now - DAY))
        elif record.waits and record.waiting_since is not None:
            waiting += 1
            waiting_long += record.waiting_since < now - DAY
    capped = any(number >= MOST_COUNTED for number in counted.values())
    return Summary(needs, waiting, waiting_long, capped, contact_queue, dead_letter_queue, paused)


def _needed_since(need: Need, record: Record, moment: datetime) -> bool:
    """Tell whether the contact has needed an operator only since this moment."""
    began = record.dead_lettered_at if need is Need.DEAD_LETTERED else record.since
    return began is not None and began > moment


def subject_of(summary: Summary, stack: str) -> str:
    """Return the subject of the daily message."""
    if summary.needed or summary.dead_letter_queue.total:
        return f"VoiceCall Sync needs an operator: {stack}"
    return f"VoiceCall Sync, calls wait: {stack}"


def text_of(summary: Summary, stack: str, now: datetime) -> str:
    """Return the text of the daily message."""
    needs = [_line(MEANING[need], number) for need, number in summary.needs.items() if number.contacts]
    capped = [f"At most {MOST_COUNTED:,} contacts of a state are counted: there may be more."]
    paused = ["Updates from the queue are paused: the parameter Paused is true."]
    lines = [
        f"{stack}, {now:%Y-%m-%d %H:%M} UTC",
        "",
        f"Contacts that need an operator: {summary.needed}",
        *needs,
        f"Contacts that wait, and are tried again without an operator: {summary.waiting}",
        f"  for more than a day: {summary.waiting_long}",
        *(capped if summary.capped else ()),
        "",
        f"Contact queue: {summary.contact_queue}",
        f"Dead-letter queue: {summary.dead_letter_queue}",
        *(paused if summary.paused else ()),
        "",
        "To see the contacts, and what to do about each:",
        f"  voicecall-sync --stack {stack} attention",
        "",
        "This message comes once a day while an operator must look.",
    ]
    return "\n".join(lines) + "\n"


def _line(meaning: str, number: Number) -> str:
    return f"  {number.contacts} ({number.new} new in the last day)  {meaning}"
