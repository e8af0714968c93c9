"""Watches a contact that was just enqueued, until it is settled."""

from __future__ import annotations

import time
from datetime import datetime

from rich.console import Console
from rich.text import Text

from voicecall_cli import records
from voicecall_cli.tables import styled
from voicecall_cli.target import Target, command_for
from voicecall_cli.terminal import INTERRUPTED, say, shown
from voicecall_sync.ledger.record import Record
from voicecall_sync.outcome import State

LONGEST_SECONDS = 120.0
LOOK_SECONDS = 2.0
NOT_DONE = 1


def until_settled(target: Target, before: Record, console: Console) -> int:
    """Show the contact's states, or the reason why it waits; return 0 once it is UPDATED.

    Args:
        target: Where it is.
        before: Its record as it was before it was released or enqueued again.
        console: Where to show it.
    """
    contact_id = before.contact_id
    say("watching it for two minutes at the most; Ctrl-C ends that, and nothing else")
    try:
        first, last = _watched(target, contact_id)
    except KeyboardInterrupt:
        say("interrupted. The contact goes on by itself")
        return INTERRUPTED
    if last is None:
        console.print(Text("Its record is gone: it was deleted by hand.", style="red"))
        return NOT_DONE
    _tell(target, last, console, met=_met(before, first, last))
    if last.state is State.UPDATED:
        return 0
    console.print(Text(f"What it means:\n  {command_for(target, 'show', contact_id)}"), soft_wrap=True)
    return NOT_DONE


def _watched(target: Target, contact_id: str) -> tuple[Record | None, Record | None]:
    """Return the record as it was first. Return it also as it is once the contact is settled or the time is over."""
    latest = time.monotonic() + LONGEST_SECONDS
    first = last = records.read(target, contact_id)
    while last is not None and not _settled(last) and time.monotonic() < latest:
        time.sleep(LOOK_SECONDS)
        before, last = last, records.read(target, contact_id)
        if last is not None and not _settled(last) and _standing(last) != _standing(before):
            say(f"{last.state}: {last.detail or '-'}")
    return first, last


def _met(before: Record, first: Record | None, last: Record) -> bool:
    """Tell whether the worker has processed it: an attempt, or a message that comes back, changes the record."""
    failures = before.failures if before.state is State.NOT_APPLIED else 0  # a release counts anew
    tried = last.attempts > before.attempts or last.failures != failures
    return tried or first is None or first.back_by != last.back_by


def _settled(record: Record) -> bool:
    """Tell whether it has come to an end. A contact that waits without a message was ignored, or is dead-lettered."""
    if record.state is State.NOT_APPLIED:
        return record.back_by is None
    return record.state is not State.CLAIMED


def _standing(record: Record) -> tuple[State | None, int, int, datetime | None, str]:
    return record.state, record.attempts, record.failures, record.back_by, record.detail


def _tell(target: Target, last: Record, console: Console, *, met: bool) -> None:
    if _settled(last):
        console.print(_ended(last))
    elif last.state is State.CLAIMED:
        console.print(Text(f"An invocation has it, until {shown(last.owner_until, seconds=True)} UTC at the latest."))
    elif not met:
        console.print(Text("The worker has not looked at it yet: it is paused, or other messages come first."))
        console.print(Text(f"Contact queue: {target.queues.contacts()}"))
    else:
        console.print(Text(f"It waits: {last.detail or '-'}", style="yellow"))
        if last.retry_at is not None:
            console.print(Text(f"It may be sent from {shown(last.retry_at, seconds=True)} UTC on."))
        console.print(Text(f"Its message is back by {shown(last.back_by, seconds=True)} UTC at the latest."))


def _ended(record: Record) -> Text:
    if record.state is not State.NOT_APPLIED:
        return Text.assemble(styled(str(record.state)), f": {record.detail or '-'}")
    word = "in the dead-letter queue" if record.dead_lettered_at is not None else "IGNORED"
    return Text.assemble(styled(word), f": {record.detail or '-'}")
