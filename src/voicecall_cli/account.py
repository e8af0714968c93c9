"""The states of contacts that a backfill enqueued: follows the queue, then asks the ledger."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from voicecall_cli import records
from voicecall_cli.target import Target
from voicecall_cli.terminal import progress
from voicecall_sync.ledger.record import Record
from voicecall_sync.outcome import Source, State

LOOK_SECONDS = 5.0
MOST_LOOKED_AT = 10_000
"""How many records of a state are looked at."""
DEAD_LETTERED = "in the dead-letter queue"
IGNORED = "ignored"
DONE = "updated, or ignored"
"""Contacts of a window that are no longer open. The index of open records holds neither of the two."""
_CLOCKS_DIFFER = timedelta(minutes=1)


@dataclass(slots=True)
class Account:
    """The states of contacts.

    Attributes:
        counts: State, or another result -> the number of contacts.
        need: The contacts that need an operator.
        waits: The contacts whose message was processed, and comes back.
        untouched: The number of contacts that the worker has not processed yet, or is processing now.
    """

    counts: Counter[str] = field(default_factory=Counter)
    need: list[Record] = field(default_factory=list)
    waits: list[Record] = field(default_factory=list)
    untouched: int = 0

    def add(self, record: Record, now: datetime) -> None:
        """Count a contact."""
        self.counts[_named(record)] += 1
        if records.needs_a_person(record, now):
            self.need.append(record)
        elif record.state is State.CLAIMED or (_open(record) and not record.failures and not record.attempts):
            self.untouched += 1
        elif _open(record):
            self.waits.append(record)

    def as_json(self) -> dict[str, object]:
        """Return it as JSON."""
        return {
            "states": dict(self.counts),
            "needAPerson": [records.as_json(record) for record in self.need],
            "waiting": [records.as_json(record) for record in self.waits],
        }


def of_named(target: Target, contact_ids: Sequence[str]) -> Account:
    """Return the states of contacts, by their ids."""
    account, now = Account(), datetime.now(UTC)
    for contact_id in contact_ids:
        record = records.read(target, contact_id)
        if record is None:
            account.counts["no record"] += 1
        else:
            account.add(record, now)
    return account


def of_found(target: Target, enqueued: int, since: datetime) -> Account:
    """Return the states of contacts that the reconciliation found since a moment. It reads open records only.

    Contacts that scheduled runs found meanwhile are among them.
    """
    account, now = Account(), datetime.now(UTC)
    for state in (State.NOT_APPLIED, State.CLAIMED, State.UNCERTAIN, State.REJECTED):
        for record in _found_since(target, state, since - _CLOCKS_DIFFER):
            account.add(record, now)
    done = enqueued - account.counts.total()
    if done > 0:
        account.counts[DONE] = done
    return account


def _found_since(target: Target, state: State, since: datetime) -> Iterator[Record]:
    """Return the open records of a state that the reconciliation made since a moment; they are not open longer."""
    for record in islice(records.opened(target, state, newest_first=True), MOST_LOOKED_AT):
        if record.since is None or record.since < since:
            return
        if record.first_source == Source.RECONCILE and record.met_at is not None and record.met_at >= since:
            yield record


def followed(target: Target, account: Callable[[], Account], minutes: int) -> Account:
    """Show how the queue empties, until the worker has looked at each contact or the time is over."""
    latest = time.monotonic() + minutes * 60
    most = 1
    with progress() as bar:
        task = bar.add_task("taken from the queue", total=None)
        while True:
            depth = target.queues.contacts().depth
            ready = depth.ready + depth.delayed
            most = max(most, ready)
            bar.update(task, total=most, completed=most - ready)
            over = time.monotonic() >= latest
            if ready == 0 or over:
                became = account()
                if not became.untouched or over:
                    return became
            time.sleep(LOOK_SECONDS)


def _open(record: Record) -> bool:
    return record.state is State.NOT_APPLIED and record.since is not None


def _named(record: Record) -> str:
    if record.dead_lettered:
        return DEAD_LETTERED
    if record.state is State.NOT_APPLIED and not _open(record):
        return IGNORED
    return record.state.value if record.state else "in a state we do not know"
