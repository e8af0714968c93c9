"""``redrive``: gives what lies in the dead-letter queue to the function again, and deletes what it takes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.text import Text

from tools.operate.dead_letters import DeadLetters, Letter
from tools.operate.target import Answer, Target
from tools.operate.terminal import positive, progress, say, shown
from tools.tables import NARROW, styled, table_of
from voicecall_sync.outcome import Status

_KEPT_ANSWERS = frozenset({Status.RETRY_LATER.value, Status.INVALID.value})
"""A contact flow's event never raises: it answers so where an event of Connect's would have raised."""
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one message.

    Attributes:
        done: The function took it, and it is deleted.
    """

    letter: Letter
    status: str
    detail: str
    done: bool = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--limit", type=positive, metavar="N", help="take so many messages at the most")
    parser.add_argument("--dry-run", action="store_true", help="only show what is in the queue")


def run(given: argparse.Namespace, target: Target, console: Console) -> int:
    """Redrive the queue; return 1 if something is left of what was tried."""
    results: list[Result] = []
    interrupted = False
    try:
        _redrive(given, target, results)
    except KeyboardInterrupt:
        interrupted = True
        say("interrupted; what was not deleted stays in the queue")
    except (BotoCoreError, ClientError):
        if results:
            _show(results, console, dry=given.dry_run)
        raise
    _show(results, console, dry=given.dry_run)
    if interrupted:
        return INTERRUPTED
    return 0 if given.dry_run or all(result.done for result in results) else 1


def _redrive(given: argparse.Namespace, target: Target, results: list[Result]) -> None:
    queue = target.dead_letters()
    with _taken(queue) as left, progress() as bar:
        count = queue.count()
        task = bar.add_task("messages", total=min(count, given.limit) if given.limit else count)
        for letter in islice(queue.letters(), given.limit):
            left.append(letter)
            if given.dry_run:
                result = Result(letter, "waiting", letter.why or "nobody says why it is here")
            else:
                result = _redriven(letter, target)
            if result.done:
                queue.delete(letter)
                left.remove(letter)
            results.append(result)
            bar.advance(task)


@contextmanager
def _taken(queue: DeadLetters) -> Iterator[list[Letter]]:
    """Give a list for what is taken out of the queue and not deleted; at the end others may see it again."""
    left: list[Letter] = []
    try:
        yield left
    finally:
        for letter in left:
            queue.put_back(letter)


def _redriven(letter: Letter, target: Target) -> Result:
    try:
        json.loads(letter.body)
    except ValueError:
        return Result(letter, Status.INVALID.value, "the message's body is no JSON")
    return _judged(letter, target.update(letter.body))


def _judged(letter: Letter, answer: Answer) -> Result:
    if answer.failed is not None:
        status, separator, detail = answer.failed.partition(": ")
        if separator and status in list(Status):
            return Result(letter, status, detail)
        return Result(letter, "failed", answer.failed)
    status, detail = (str(answer.value.get(name, "-")) for name in ("status", "detail"))
    return Result(letter, status, detail, done=status in list(Status) and status not in _KEPT_ANSWERS)


def _show(results: list[Result], console: Console, *, dry: bool) -> None:
    if not results:
        console.print(Text("The dead-letter queue holds nothing that can be taken now."))
        return
    narrow = console.width < NARROW
    columns = ("kept since (UTC)", "status", "message")
    table = table_of("contact\ndetail", *columns) if narrow else table_of("contact", *columns, "detail")
    for result in results:
        contact, detail = Text(result.letter.contact_id or "names no contact"), Text(result.detail)
        kept = Text("deleted", style="green") if result.done else Text("stays")
        cells = (shown(result.letter.sent_at), styled(result.status), kept)
        if narrow:
            table.add_row(Text("\n  ").join((contact, detail)), *cells)
        else:
            table.add_row(contact, *cells, detail)
    console.print(table)
    if dry:
        console.print(Text(f"Messages: {len(results)}. Nothing was sent or deleted."))
        return
    done = sum(result.done for result in results)
    console.print(Text(f"{done} taken and deleted, {len(results) - done} left in the queue"))
    if any(result.status == Status.INVALID for result in results):
        console.print(
            Text("What is INVALID stays so, however often it is sent: correct what sent it, then delete the message.")
        )
