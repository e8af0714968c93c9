"""``attention``: what needs a person, without looking for it contact by contact."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from uuid import uuid4

from rich.console import Console
from rich.text import Text

from tools.operate import records
from tools.operate.target import Target, command_for
from tools.operate.terminal import positive, print_json
from voicecall_sync.backlog import Backlog
from voicecall_sync.outcome import State
from voicecall_sync.record import Record

USUAL_LIMIT = 50
MOST_LOOKED_AT = 10_000
"""How many records of a state are looked at for stuck ones."""


@dataclass(frozen=True, slots=True)
class Group:
    """What needs a person, of one state.

    Attributes:
        more: Whether there are more than are held here.
    """

    state: State
    title: str
    records: Sequence[Record]
    more: bool

    @property
    def heading(self) -> str:
        """Return how many there are, and what they are."""
        return f"{len(self.records)}{' and more' if self.more else ''} {self.title}"


_TITLES = {
    State.UNCERTAIN: "UNCERTAIN: sent, and nobody can know whether it was applied",
    State.REJECTED: "REJECTED: refused for good, or given up",
    State.CLAIMED: "CLAIMED, stuck: the invocation died",
    State.NOT_APPLIED: f"NOT_APPLIED, stuck: overdue for an hour, or tried {records.MANY_ATTEMPTS} times and more",
}
_WAITING_FOR_A_PERSON = (State.UNCERTAIN, State.REJECTED)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--limit", type=positive, default=USUAL_LIMIT, metavar="N", help=f"of each state ({USUAL_LIMIT})"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(given: argparse.Namespace, target: Target, console: Console) -> int:
    """Show what needs a person; return 1 if something does."""
    now = datetime.now(UTC)
    backlog = Backlog(target.table, lambda: str(uuid4()))
    groups = [_group(backlog, state, given.limit, now) for state in _TITLES]
    needed = any(group.records for group in groups)
    if given.json:
        print_json({"needsAttention": needed, **{group.state.value: _as_json(group) for group in groups}})
    elif not needed:
        console.print(Text(f"Nothing in the ledger of {target.title} needs a person.", style="green"))
    else:
        _show(groups, target, console)
    return 1 if needed else 0


def _group(backlog: Backlog, state: State, limit: int, now: datetime) -> Group:
    """Read a state's records from the index: the newest first, but where those that are stuck are looked for.

    Stuck ones have been so the longest. Read newest first, they would come after all that is well on its way.
    """
    if state in _WAITING_FOR_A_PERSON:
        found = list(islice(backlog.open(state, newest_first=True), limit + 1))
        return Group(state, _TITLES[state], found[:limit], len(found) > limit)
    looked_at = islice(backlog.open(state), MOST_LOOKED_AT)
    found = list(islice((record for record in looked_at if records.stuck(record, now)), limit + 1))
    return Group(state, _TITLES[state], found[:limit][::-1], len(found) > limit)


def _show(groups: Sequence[Group], target: Target, console: Console) -> None:
    for group in groups:
        if not group.records:
            continue
        console.print(Text(group.heading, style="bold underline"))
        console.print(records.listing(group.records, console.width))
        if group.more:
            console.print(Text("…and more: see them with --limit"))
        console.print()
    console.print(Text("The newest first; of the stuck ones the longest stuck. What each means, and what to do:"))
    console.print(Text(f"  {command_for(target, 'show')} CONTACT"), soft_wrap=True)


def _as_json(group: Group) -> dict[str, object]:
    return {"contacts": [records.as_json(record) for record in group.records], "more": group.more}
