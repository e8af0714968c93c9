"""``redrive``: lets SQS move the messages of the dead-letter queue to the contact queue (StartMessageMoveTask)."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from voicecall_cli.queues import DeadLetter, DepthAndAge, Move, Queues
from voicecall_cli.tables import NARROW, table_of
from voicecall_cli.target import Target, command_for
from voicecall_cli.terminal import INTERRUPTED, ask, progress, say, shown

LONGEST_SECONDS = 900.0
"""How long the command watches; SQS moves about 500 messages a second, and goes on without it."""
LOOK_SECONDS = 1.0
NOT_DONE = 1

_COMPLETED = "COMPLETED"
_GOES_ON = "SQS goes on moving by itself; the same command shows how far it is"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--dry-run", action="store_true", help="only show what is in the queue")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(options: argparse.Namespace, target: Target, console: Console) -> int:
    """Redrive the queue; return 0 if everything was moved."""
    queues = target.queues
    latest = queues.latest_move()
    if latest is not None and latest.running and not options.dry_run:
        say("a redrive is under way already: this shows how far it is")
        return _watched(queues, None, target, console)
    dead_letters = queues.dead_letters()
    if dead_letters.total == 0:
        console.print(Text("The dead-letter queue is empty."))
        return 0
    _show(dead_letters, queues.sample(), console)
    if options.dry_run:
        console.print(Text("Nothing was moved."))
        return 0
    if not options.yes and not ask(f"Move about {dead_letters.total} messages back to the contact queue?"):
        console.print(Text("Nothing was moved."))
        return NOT_DONE
    queues.start_move()
    return _watched(queues, latest, target, console)


def _show(dead_letters: DepthAndAge, sample: Sequence[DeadLetter], console: Console) -> None:
    console.print(Text(f"Dead-letter queue: {dead_letters}", style="bold underline"))
    narrow = console.width < NARROW
    table = table_of("contact\ndetail", "sent (UTC)") if narrow else table_of("contact", "sent (UTC)", "detail")
    for letter in sample:
        contact = Text(letter.contact_id or "names no contact")
        reason = Text(letter.reason or "no reason is given")
        if narrow:
            table.add_row(Text("\n  ").join((contact, reason)), shown(letter.sent_at))
        else:
            table.add_row(contact, shown(letter.sent_at), reason)
    if sample:
        console.print(table)
    if dead_letters.total > len(sample):
        console.print(
            Text(f"These are {len(sample)} of about {dead_letters.total}. `attention` lists contacts, by reason.")
        )
    console.print(
        Text(
            "Each message is looked at anew. What failed is tried for another week. What was invalid comes back here"
            " at once, with the same reason, until what sends it is corrected. A contact that is updated already is"
            " not sent again. If another system has updated calls meanwhile, set ReconcileNotBefore first."
        )
    )


def _watched(queues: Queues, earlier: Move | None, target: Target, console: Console) -> int:
    """Show how far SQS is, until it is done. `earlier`: the latest redrive before this one, which is still listed."""
    try:
        move = _until_done(queues, earlier)
    except KeyboardInterrupt:
        say(f"interrupted. {_GOES_ON}")
        return INTERRUPTED
    if move is None or move.running:
        console.print(Text(f"Not done after {LONGEST_SECONDS / 60:.0f} minutes. {_GOES_ON}", style="yellow"))
        return NOT_DONE
    if move.status != _COMPLETED:
        why = f": {move.failure}" if move.failure else ""
        console.print(Text(f"The redrive ended {move.status}{why}. Messages moved: {move.moved}", style="red"))
        return NOT_DONE
    console.print(Text(f"Messages moved: {move.moved}. The worker looks at them now.", style="green"))
    console.print(Text(f"What needs a person afterwards:\n  {command_for(target, 'attention')}"), soft_wrap=True)
    return 0


def _until_done(queues: Queues, earlier: Move | None) -> Move | None:
    latest = time.monotonic() + LONGEST_SECONDS
    with progress() as bar:
        task = bar.add_task("moving", total=None)
        while True:
            move = queues.latest_move()
            if move is not None and earlier is not None and move.started_at == earlier.started_at:
                move = None  # SQS does not list the new one yet
            if move is not None:
                bar.update(task, total=move.to_move or None, completed=move.moved)
            if (move is not None and not move.running) or time.monotonic() > latest:
                return move
            time.sleep(LOOK_SECONDS)
