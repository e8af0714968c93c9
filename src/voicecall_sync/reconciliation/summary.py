"""What is open, in numbers: when operators must hear of it, and the text of the daily message.

The text has only fixed words, numbers and the stack's name, because e-mail is not encrypted everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from voicecall_sync.ledger.attention import MEANING, Need, need_of
from voicecall_sync.ledger.record import Record, from_stored, stored
from voicecall_sync.outcome import State
from voicecall_sync.queue.depth import Depth

DAY = timedelta(days=1)
MOST_COUNTED = 10_000
"""How many contacts of a state are counted, so that no run spends its time on counting."""


@dataclass(frozen=True, slots=True)
class Look:
    """When the last daily message was due, and what remains of it.

    Attributes:
        at: When.
        unmet: How many messages the worker had not met; see ``Summary.unmet``.
    """

    at: datetime
    unmet: int

    def as_stored(self) -> Mapping[str, object]:
        """Return it as the table keeps it."""
        return {"at": stored(self.at), "unmet": self.unmet}


def look_of(values: Mapping[str, Any] | None) -> Look | None:
    """Read a look as the table keeps it; None if it is absent or not readable."""
    at, unmet = (values or {}).get("at"), (values or {}).get("unmet")
    moment = from_stored(at)
    return Look(moment, int(unmet)) if moment is not None and isinstance(unmet, Decimal) else None


@dataclass(frozen=True, slots=True)
class Number:
    """A number of contacts that need an operator.

    Attributes:
        contacts: How many there are.
        new: How many of them need an operator only since the last look.
    """

    contacts: int = 0
    new: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """What is open.

    Attributes:
        since: The last look, or a day ago. What is new has begun later.
        needs: The contacts that need an operator, by the reason.
        waiting: The contacts that wait in the contact queue.
        waiting_long: How many of these have waited for more than a day.
        capped: There may be more contacts than were counted.
        contact_queue, dead_letter_queue: The messages in the queues.
        unmet_before: ``unmet`` at the last look.
        paused: The worker receives no messages.
    """

    since: datetime
    needs: Mapping[Need, Number]
    waiting: int
    waiting_long: int
    capped: bool
    contact_queue: Depth
    dead_letter_queue: Depth
    unmet_before: int
    paused: bool

    @property
    def needed(self) -> Number:
        """Return how many contacts need an operator, for any reason."""
        numbers = self.needs.values()
        return Number(sum(number.contacts for number in numbers), sum(number.new for number in numbers))

    @property
    def unmet(self) -> int:
        """Return how many messages are no longer delayed, and their contact has no record.

        A message of the rule for contact events has no record until the worker meets its contact, in a moment.
        """
        return max(0, self.contact_queue.ready + self.contact_queue.in_flight - self.waiting)

    @property
    def stuck(self) -> bool:
        """Tell whether the worker takes nothing from the queue: it is paused, or met some messages at neither look."""
        return self.contact_queue.total > 0 if self.paused else min(self.unmet, self.unmet_before) > 0

    @property
    def worth_a_message(self) -> bool:
        """Tell whether operators must hear of it.

        Some contacts always wait for a few minutes, for example for their recording. A message about those alone would
        come every day, and operators would no longer read it.
        """
        dead_letters = self.dead_letter_queue.total > 0
        return self.needed.contacts > 0 or dead_letters or self.waiting_long > 0 or self.stuck


def summary_of(
    records: Iterable[Record],
    now: datetime,
    before: Look | None,
    contact_queue: Depth,
    dead_letter_queue: Depth,
    *,
    paused: bool,
) -> Summary:
    """Count open contacts.

    Args:
        records: At most MOST_COUNTED of each state.
        now: The time of day.
        before: The last look.
        contact_queue: How much is in the contact queue.
        dead_letter_queue: How much is in the dead-letter queue.
        paused: The worker receives no messages.
    """
    since = before.at if before is not None else now - DAY
    needs = dict.fromkeys(Need, Number())
    waiting = waiting_long = 0
    counted: Counter[State | None] = Counter()
    for record in records:
        counted[record.state] += 1
        need = need_of(record, now)
        if need is not None:
            needs[need] = Number(needs[need].contacts + 1, needs[need].new + _needed_since(need, record, since))
        elif record.waits and record.waiting_since is not None:
            waiting += 1
            waiting_long += record.waiting_since < now - DAY
    capped = any(number >= MOST_COUNTED for number in counted.values())
    unmet_before = before.unmet if before is not None else 0
    return Summary(since, needs, waiting, waiting_long, capped, contact_queue, dead_letter_queue, unmet_before, paused)


def _needed_since(need: Need, record: Record, moment: datetime) -> bool:
    """Tell whether the contact has needed an operator only since this moment."""
    began = record.dead_lettered_at if need is Need.DEAD_LETTERED else record.since
    return began is not None and began > moment


def subject_of(summary: Summary, stack: str) -> str:
    """Return the subject of the daily message."""
    needed, dead_letters = summary.needed, summary.dead_letter_queue.total
    if needed.contacts:
        return f"VoiceCall Sync: {needed.contacts} need an operator, {needed.new} new: {stack}"
    if dead_letters:
        return f"VoiceCall Sync: {dead_letters} in the dead-letter queue: {stack}"
    return f"VoiceCall Sync: calls wait: {stack}"


def text_of(summary: Summary, stack: str, now: datetime) -> str:
    """Return the text of the daily message."""
    needs = [
        f"  {number.contacts} ({number.new} new)  {MEANING[need]}"
        for need, number in summary.needs.items()
        if number.contacts
    ]
    capped = [f"At most {MOST_COUNTED:,} contacts of a state are counted: there may be more."]
    paused = ["Updates from the queue are paused: the parameter Paused is true."]
    lines = [
        f"{stack}, {now:%Y-%m-%d %H:%M} UTC",
        "",
        f"Contacts that need an operator: {summary.needed.contacts}",
        *needs,
        f"  New means: since {summary.since:%Y-%m-%d %H:%M} UTC.",
        f"Contacts that wait in the contact queue: {summary.waiting}",
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
