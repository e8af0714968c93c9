"""``attention``: the contacts that need an operator, and the contacts that wait, in one list."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from rich.console import Console
from rich.text import Text

from voicecall_cli import queues, records
from voicecall_cli.queues import DepthAndAge
from voicecall_cli.target import Target, command_for
from voicecall_cli.terminal import positive, print_json
from voicecall_sync.ledger.attention import MEANING, Need, need_of
from voicecall_sync.ledger.record import Record
from voicecall_sync.outcome import State

USUAL_LIMIT = 50
MOST_LOOKED_AT = 10_000
"""How many records of a state are looked at for those to list."""
MOST_WAITING = 10
"""How many of the contacts that wait are listed."""


@dataclass(frozen=True, slots=True)
class Group:
    """Contacts that have something in common.

    Attributes:
        key: Its name in JSON.
        more: Whether there are more contacts than are listed here.
    """

    key: str
    title: str
    records: Sequence[Record]
    more: bool

    @property
    def heading(self) -> str:
        """Return how many there are, and what they are."""
        return f"{len(self.records)}{' and more' if self.more else ''} {self.title}"

    def as_json(self) -> dict[str, object]:
        """Return it as JSON."""
        return {"contacts": [records.as_json(record) for record in self.records], "more": self.more}


@dataclass(frozen=True, slots=True)
class _Attention:
    """The contacts and messages that wait, or need an operator.

    Attributes:
        needs: The contacts that need an operator, a group for each reason.
        waits: The contacts that are retried without an operator.
    """

    needs: Sequence[Group]
    waits: Group
    contacts: DepthAndAge
    dead_letters: DepthAndAge

    @property
    def needed(self) -> bool:
        """Tell whether something needs an operator. An invalid message may not name a contact."""
        return self.dead_letters.total > 0 or any(group.records for group in self.needs)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--limit", type=positive, default=USUAL_LIMIT, metavar="N", help=f"of each kind ({USUAL_LIMIT})"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace, target: Target, console: Console) -> int:
    """Show the contacts that need an operator; return 1 if there are any."""
    attention = _look(target, options.limit, datetime.now(UTC))
    if options.json:
        groups = {group.key: group.as_json() for group in (*attention.needs, attention.waits)}
        numbers = queues.as_json(attention.contacts, attention.dead_letters)
        print_json({"needsAttention": attention.needed, **groups, "queues": numbers})
    else:
        _show(attention, target, console)
    return 1 if attention.needed else 0


def _look(target: Target, limit: int, now: datetime) -> _Attention:
    not_applied = list(islice(records.opened(target, State.NOT_APPLIED), MOST_LOOKED_AT + 1))
    more = len(not_applied) > MOST_LOOKED_AT
    dead = [record for record in not_applied if need_of(record, now) is Need.DEAD_LETTERED][::-1]
    others = (record for record in not_applied[:MOST_LOOKED_AT] if need_of(record, now) is not Need.DEAD_LETTERED)
    waits = sorted(others, key=_waiting_since)
    claimed = islice(records.opened(target, State.CLAIMED), MOST_LOOKED_AT)
    stuck = (record for record in claimed if need_of(record, now) is Need.EXPIRED_CLAIM)
    needs = (
        _group(Need.UNCERTAIN, _newest(target, State.UNCERTAIN), limit),
        _group(Need.REJECTED, _newest(target, State.REJECTED), limit),
        _group(Need.EXPIRED_CLAIM, stuck, limit),
        _group(Need.DEAD_LETTERED, iter(dead), limit),
    )
    waiting = Group("waiting", "waiting in the contact queue: not applied, and tried again by itself", waits, more)
    return _Attention(needs, waiting, target.queues.contacts(), target.queues.dead_letters())


def _waiting_since(record: Record) -> float:
    return record.waiting_since.timestamp() if record.waiting_since else 0.0


def _newest(target: Target, state: State) -> Iterator[Record]:
    return records.opened(target, state, newest_first=True)


def _group(need: Need, needing: Iterator[Record], limit: int) -> Group:
    some = list(islice(needing, limit + 1))
    return Group(need.value, MEANING[need], some[:limit], len(some) > limit)


def _show(attention: _Attention, target: Target, console: Console) -> None:
    for group in attention.needs:
        if group.records:
            _heading(group, console)
            console.print(records.listing(group.records, console.width))
            if group.more:
                console.print(Text("…and more: see them with --limit"))
            console.print()
    if attention.needed:
        show, redrive = command_for(target, "show"), command_for(target, "redrive", "--dry-run")
        if any(group.records for group in attention.needs):
            console.print(Text(f"What each means, and what to do:\n  {show} CONTACT"), soft_wrap=True)
        if attention.dead_letters.total:
            console.print(
                Text(f"What is in the dead-letter queue, also what names no contact:\n  {redrive}"), soft_wrap=True
            )
    else:
        console.print(Text(f"Nothing in {target.title} needs a person.", style="green"))
    console.print()
    _show_waiting(attention.waits, console)
    console.print(queues.lines(attention.contacts, attention.dead_letters))


def _show_waiting(waits: Group, console: Console) -> None:
    if not waits.records:
        return
    _heading(waits, console)
    console.print(records.waiting(waits.records[:MOST_WAITING], console.width))
    if len(waits.records) > MOST_WAITING:
        console.print(Text(f"These {MOST_WAITING} have waited longest; --json names them all."))
    console.print()


def _heading(group: Group, console: Console) -> None:
    console.print(Text(group.heading, style="bold underline"))
