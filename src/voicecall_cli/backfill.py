"""``backfill``: lets the reconciliation find and enqueue the calls of a span of time, or calls by name.

The command keeps nothing between two starts, because the ledger knows which contacts were found. If it is interrupted,
the same command continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.text import Text

from voicecall_cli import account, records
from voicecall_cli.account import Account
from voicecall_cli.tables import table_of
from voicecall_cli.target import Target, command_for
from voicecall_cli.terminal import INTERRUPTED, contact, moment, print_json, progress, say, shown
from voicecall_cli.walk import Walk
from voicecall_sync.contact import SEARCHED
from voicecall_sync.errors import LedgerUnavailable
from voicecall_sync.times import Window

USUAL_MINUTES = 10
MOST_LISTED = 20
NOT_DONE = 1
_ENQUEUED = "enqueued"
PAUSED = "The worker is paused (parameter Paused): nothing is sent until that ends."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--from", dest="start", type=moment, metavar="ISO", help="contacts that ended from")
    parser.add_argument("--to", dest="end", type=moment, metavar="ISO", help="... until then; or:")
    parser.add_argument("--contact", type=contact, action="append", metavar="CONTACT", help="a contact by its id")
    parser.add_argument(
        "--scope",
        choices=SEARCHED,
        help="which contacts of a span; by default the deployed ReconcileScope, which must not be `none`",
    )
    parser.add_argument("--dry-run", action="store_true", help="enqueue nothing, and list what would be enqueued")
    parser.add_argument(
        "--follow",
        type=_minutes,
        default=USUAL_MINUTES,
        metavar="MINUTES",
        help=f"how long to watch the queue empty ({USUAL_MINUTES}; 0: not at all)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(wrong=_wrong)


def _minutes(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 4:  # noqa: PLR2004 - a week has 10,080 minutes
        raise argparse.ArgumentTypeError(f"{text} is not a number of minutes")
    return int(text)


def _wrong(options: argparse.Namespace) -> str | None:
    """Return how the options contradict each other; None if they do not."""
    spans = options.start is not None or options.end is not None or options.scope is not None
    if options.contact:
        return "--contact does not go with --from, --to or --scope" if spans else None
    if options.start is None or options.end is None:
        return "give --from and --to, or --contact"
    if options.start >= options.end:
        return "--from must be before --to"
    if options.start >= datetime.now(UTC):
        return "--from must be a moment in the past"
    return None


def run(options: argparse.Namespace, target: Target, console: Console) -> int:
    """Backfill; return 1 if a contact needs an operator, or a part was not done."""
    return _run_named(options, target, console) if options.contact else _run_span(options, target, console)


# ---------------------------------------------------------------------------------------------------- a span of time


def _run_span(options: argparse.Namespace, target: Target, console: Console) -> int:
    begun = datetime.now(UTC)
    walk = Walk(Window(options.start, min(options.end, begun)), options.scope, options.dry_run)
    became: Account | None = None
    interrupted = False
    try:
        _walk(walk, target)
        if walk.enqueued and not walk.paused:
            became = account.followed(target, lambda: account.of_found(target, walk.enqueued, begun), options.follow)
    except KeyboardInterrupt:
        interrupted = True
    except (BotoCoreError, ClientError, LedgerUnavailable):  # for example, the credentials expired meanwhile
        _tell_span(walk, None, options, target, console)
        raise
    _tell_span(walk, became, options, target, console)
    if interrupted:
        say("interrupted. A run under way ends by itself; the same command goes on, for the ledger knows what is done")
        return INTERRUPTED
    return NOT_DONE if not walk.finished or (walk.paused and walk.enqueued) or (became and became.need) else 0


def _walk(walk: Walk, target: Target) -> None:
    begun, total = walk.window.start, walk.window.end - walk.window.start
    with progress() as bar:
        task = bar.add_task("minutes searched", total=total.total_seconds() // 60)
        walk.run(target, lambda at: bar.update(task, completed=(at - begun).total_seconds() // 60))


def _tell_span(
    walk: Walk, became: Account | None, options: argparse.Namespace, target: Target, console: Console
) -> None:
    if options.json:
        print_json({**walk.as_json(), "became": became and became.as_json()})
        return
    span = f"{shown(walk.window.start)} to {shown(walk.at)} UTC"
    console.print(Text(f"Searched: {span}, scope {walk.scope or 'as deployed'}", style="bold underline"))
    if walk.searched_from is not None:
        console.print(Text(f"Nothing before {shown(walk.searched_from)} UTC: RECONCILE_NOT_BEFORE bars it."))
    console.print(
        Text(
            f"found {walk.found}, of these known {walk.known} and {_ENQUEUED} {walk.enqueued};"
            f" gone on as another contact {walk.handed_on}"
        )
    )
    if walk.dry_run:
        _list(walk, console)
    if walk.problem is not None:
        console.print(Text(f"Stopped: {walk.problem}", style="red"))
    if not walk.finished:
        console.print(Text(f"Not searched: {shown(walk.at)} to {shown(walk.window.end)} UTC.", style="yellow"))
        console.print(Text("The same command goes on; what it has enqueued is known then."))
    _tell_became(became, target, console)
    if walk.paused and walk.enqueued:
        console.print(Text(PAUSED, style="yellow"))
    elif walk.known and not walk.dry_run:
        console.print(Text(f"What known ones need:\n  {command_for(target, 'attention')}"), soft_wrap=True)


def _list(walk: Walk, console: Console) -> None:
    would = walk.found - walk.known
    console.print(Text(f"Would be {_ENQUEUED}: {would}. Nothing was written or sent.", style="bold"))
    for contact_id in walk.listed[:MOST_LISTED]:
        console.print(Text(f"  {contact_id}"))
    if would > MOST_LISTED:
        console.print(Text(f"…and {would - MOST_LISTED} more; --json names a thousand of each run"))


# ------------------------------------------------------------------------------------------------------------ by name


@dataclass(frozen=True, slots=True)
class _NamedRun:
    """The reconciliation's answer about contacts that the operator named.

    Attributes:
        contacts: Contact -> its status and a detail.
        stopped: Why the run stopped before the last contact.
    """

    contacts: Mapping[str, tuple[str, str]]
    paused: bool
    stopped: str | None

    @property
    def enqueued(self) -> bool:
        """Tell whether a message was sent."""
        return any(status == _ENQUEUED for status, _ in self.contacts.values())

    def as_json(self) -> dict[str, object]:
        """Return it as JSON."""
        contacts = [{"contactId": one, "status": word, "detail": why} for one, (word, why) in self.contacts.items()]
        return {"contacts": contacts, "paused": self.paused, "stopped": self.stopped}


def _run_named(options: argparse.Namespace, target: Target, console: Console) -> int:
    named = list(dict.fromkeys(options.contact))
    answer = _asked_for(target, {"contactIds": named, **({"dryRun": True} if options.dry_run else {})})
    if isinstance(answer, str):
        console.print(Text(f"The reconciliation did not do it: {answer}", style="red"))
        return NOT_DONE
    if not options.json:
        _tell_named(answer, console)
    minutes = options.follow if answer.enqueued and not answer.paused else 0
    try:
        became = account.followed(target, lambda: account.of_named(target, named), minutes)
    except KeyboardInterrupt:
        say("interrupted. What was enqueued goes on by itself")
        return INTERRUPTED
    if options.json:
        print_json({**answer.as_json(), "became": became.as_json()})
    elif not options.dry_run:
        _tell_became(became, target, console)
    undone = answer.stopped is not None or (answer.paused and answer.enqueued)
    return NOT_DONE if undone or became.need else 0


def _asked_for(target: Target, request: Mapping[str, object]) -> _NamedRun | str:
    """Ask for contacts by name; return the answer, or why there is no answer."""
    answer = target.reconcile(request)
    if answer.failed is not None:
        return answer.failed
    value: Mapping[str, Any] = answer.value
    try:
        contacts = {str(one["contactId"]): (str(one["status"]), str(one["detail"])) for one in value["contacts"]}
        return _NamedRun(contacts, bool(value["paused"]), str(value["stopped"]) if value["stopped"] else None)
    except (KeyError, TypeError) as unreadable:
        return f"its answer cannot be read ({type(unreadable).__name__})"


def _tell_named(answer: _NamedRun, console: Console) -> None:
    table = table_of("contact", "done", "detail")
    for contact_id, (status, detail) in answer.contacts.items():
        table.add_row(Text(contact_id), Text(status), Text(detail))
    console.print(table)
    if answer.stopped is not None:
        console.print(Text(f"Stopped: {answer.stopped}. The same command goes on.", style="red"))
    if answer.paused and answer.enqueued:
        console.print(Text(PAUSED, style="yellow"))


# ---------------------------------------------------------------------------------------------- what became of them


def _tell_became(became: Account | None, target: Target, console: Console) -> None:
    if became is None:
        return
    console.print(Text("What became of them:", style="bold underline"))
    for what, number in sorted(became.counts.items()):
        console.print(Text(f"  {what}: {number}"))
    if became.waits:
        console.print(Text("Tried again by themselves, the longest waiting last:"))
        console.print(records.waiting(became.waits[:MOST_LISTED], console.width))
    if became.untouched:
        console.print(Text(f"Not looked at yet: {became.untouched}. Contact queue: {target.queues.contacts()}"))
    if became.need:
        console.print(Text(f"{len(became.need)} need a person:", style="bold red"))
        console.print(records.listing(became.need[:MOST_LISTED], console.width))
        console.print(Text(f"All of them:\n  {command_for(target, 'attention')}"), soft_wrap=True)
