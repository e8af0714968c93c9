"""``preview``: foresees the update of a contact, or of the first contacts of a span of time. It sends nothing.

The command does not claim, write or send, makes no token and reads no secret. It shows values only if the operator asks
for them, and only on the operator's own terminal.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from voicecall_cli.backfill import PAUSED
from voicecall_cli.finding import Finding
from voicecall_cli.outlook import CALL_CENTER, Field, Outlook, Outlooks, Sent, explained
from voicecall_cli.tables import styled, table_of
from voicecall_cli.target import Target, command_for
from voicecall_cli.terminal import (
    INTERRUPTED,
    contact,
    moment,
    positive,
    print_json,
    printable,
    progress,
    say,
    shown,
)
from voicecall_sync.clock import SystemClock
from voicecall_sync.connect.search import ContactSearch, Paced
from voicecall_sync.contact import SEARCHED, Scope
from voicecall_sync.errors import ConnectUnavailable
from voicecall_sync.times import Window

USUAL_FIRST = 20
MOST_FIRST = 500
NOT_DONE = 1
DESCRIBED_PER_SECOND = 1
"""Each contact may have another agent. An account may ask for two agents' names a second; the worker needs the rest."""
_WIDE = 120
"""With fewer columns than this, the verdict stands below the contact."""
_LONGEST_NAME = 64
_MOST_NAMES = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("contact", type=contact, nargs="?", metavar="CONTACT", help="its ContactId; or:")
    parser.add_argument("--from", dest="start", type=moment, metavar="ISO", help="contacts that ended from")
    parser.add_argument("--to", dest="end", type=moment, metavar="ISO", help="... until then")
    parser.add_argument(
        "--scope",
        choices=SEARCHED,
        help="which contacts of a span; by default the deployed ReconcileScope, or `all` instead of `none`",
    )
    parser.add_argument(
        "--first", type=_first, metavar="N", help=f"how many of a span ({USUAL_FIRST}; {MOST_FIRST} at the most)"
    )
    parser.add_argument(
        "--values", action="store_true", help="show the values of one contact too, on your own terminal only"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, without values")
    parser.set_defaults(wrong=_wrong)


def _first(text: str) -> int:
    number = positive(text)
    if number > MOST_FIRST:
        raise argparse.ArgumentTypeError(f"{text} is more than {MOST_FIRST}")
    return number


def _wrong(options: argparse.Namespace) -> str | None:
    """Return how the options contradict each other; None if they do not."""
    if options.contact:
        spans = any(one is not None for one in (options.start, options.end, options.scope, options.first))
        if spans:
            return "CONTACT does not go with --from, --to, --scope or --first"
        return _wrong_values(options)
    if options.start is None or options.end is None:
        return "give CONTACT, or --from and --to"
    if options.start >= options.end:
        return "--from must be before --to"
    if options.start >= datetime.now(UTC):
        return "--from must be a moment in the past"
    return "--values goes with one CONTACT" if options.values else None


def _wrong_values(options: argparse.Namespace) -> str | None:
    if options.values and options.json:
        return "--values and --json do not go together"
    if options.values and not sys.stdout.isatty():
        return "--values needs your own terminal as standard output: values go into no file, pipe or log"
    return None


def run(options: argparse.Namespace, target: Target, console: Console) -> int:
    """Preview; return 1 if Amazon Connect did not answer every request."""
    outlooks = Outlooks(target, SystemClock())
    if options.contact:
        return _run_one(options, target, outlooks, console)
    return _run_span(options, target, outlooks, console)


# ------------------------------------------------------------------------------------------------------ one contact


def _run_one(options: argparse.Namespace, target: Target, outlooks: Outlooks, console: Console) -> int:
    outlook = outlooks.of(options.contact)
    if options.json:
        print_json({**outlook.as_json(), "paused": outlooks.settings.paused})
    else:
        _show(outlook, outlooks, target, console, values=options.values)
    return NOT_DONE if outlook.failed else 0


def _show(outlook: Outlook, outlooks: Outlooks, target: Target, console: Console, *, values: bool) -> None:
    console.print(_head(outlook))
    if outlook.verdict.sent in {Sent.YES, Sent.LATER} and outlooks.settings.paused:
        console.print(Text(PAUSED, style="yellow"))
    if outlook.voice_call is not None:
        _show_update(outlook, outlooks, console, values=values)
    console.print()
    words = ("show", outlook.contact_id) if outlook.record else ("backfill", "--contact", outlook.contact_id)
    heading = "Its story, and what to do" if outlook.record else "To have it updated, should its event not come"
    console.print(Text("Nothing was claimed, written or sent.", style="bold"))
    console.print(Text(f"{heading}:\n  {command_for(target, *words)}"), soft_wrap=True)


def _head(outlook: Outlook) -> Table:
    contact = outlook.contact
    rows = [
        ("contact", Text(outlook.contact_id, style="bold")),
        ("record", _record(outlook)),
        ("method", Text(printable(contact.method, _LONGEST_NAME) or "-") if contact else None),
        ("ended", Text(f"{shown(contact.disconnected_at, seconds=True)} UTC") if contact else None),
        ("update", _verdict(outlook)),
    ]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value is not None:
            table.add_row(Text(name, style="dim"), value)
    return table


def _record(outlook: Outlook) -> Text:
    if outlook.record is None:
        return Text("none: judged as if its contact event came now")
    return styled(outlook.record.state.value if outlook.record.state else "in a state we do not know")


def _verdict(outlook: Outlook, *, brief: bool = False) -> Text:
    verdict = outlook.verdict
    text = verdict.sent.value if brief and verdict.sent is Sent.YES else verdict.text
    return Text(printable(text), style=_STYLES[verdict.sent])


_STYLES = {Sent.YES: "green", Sent.LATER: "yellow", Sent.NO: "red", Sent.UNKNOWN: "red"}


def _show_update(outlook: Outlook, outlooks: Outlooks, console: Console, *, values: bool) -> None:
    later = f"{CALL_CENTER}, a string, is added when it is sent: from the secret, or CALL_CENTER_API_NAME."
    console.print()
    console.print(_fields("property", outlook.properties, values=values))
    console.print(Text(later, style="dim"))
    console.print()
    if outlook.custom_fields:
        console.print(_fields("custom field", outlook.custom_fields, values=values))
    else:
        console.print(Text("No custom field is filled."))
    if unused := outlook.unused(outlooks.settings.custom_fields):
        console.print(Text(f"Attributes that fill no custom field: {_names(unused)}", style="dim"))
    if outlook.left_out:
        console.print()
        console.print(_left_out(outlook))
    if missing := outlook.missing_for_creation:
        console.print()
        warning = "If the call has no VoiceCall yet, Salesforce does not create it. It would need: "
        console.print(Text(f"{warning}{', '.join(missing)}", style="yellow"))


def _fields(heading: str, fields: Sequence[Field], *, values: bool) -> Table:
    table = table_of(heading, "JSON type", *(["value"] if values else []))
    for one in fields:
        table.add_row(Text(printable(one.name)), Text(one.kind), *([Text(printable(one.value))] if values else []))
    return table


def _left_out(outlook: Outlook) -> Table:
    table = table_of("not sent", "is", "detail")
    for name, (kind, reason) in outlook.left_out.items():
        table.add_row(Text(printable(name, _LONGEST_NAME)), Text(kind), Text(reason))
    return table


def _names(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
    return ", ".join([*(printable(name, _LONGEST_NAME) for name in names[:_MOST_NAMES]), *more])


# -------------------------------------------------------------------------------------------------- a span of time


def _run_span(options: argparse.Namespace, target: Target, outlooks: Outlooks, console: Console) -> int:
    now = datetime.now(UTC)
    usual = outlooks.settings.scope
    scope = Scope(options.scope) if options.scope else (Scope.ALL if usual is Scope.NONE else usual)
    finding = Finding(Window(options.start, min(options.end, now)), scope, options.first or USUAL_FIRST, now)
    contacts: list[Outlook] = []
    problem, interrupted = None, False
    try:
        _find(finding, outlooks)
        _look_at(list(finding.contacts), outlooks, contacts)
    except KeyboardInterrupt:
        interrupted = True
    except ConnectUnavailable as failure:
        problem = explained(failure)
    if options.json:
        print_json(_as_json(finding, contacts, problem, paused=outlooks.settings.paused))
    else:
        _tell(finding, contacts, problem, outlooks, target, console)
    if interrupted:
        say("interrupted. Nothing was claimed, written or sent")
        return INTERRUPTED
    return NOT_DONE if problem or any(outlook.failed for outlook in contacts) else 0


def _find(finding: Finding, outlooks: Outlooks) -> None:
    ask = Paced(outlooks.connect.search_page, SystemClock(), outlooks.settings.searches_per_second)
    begun, total = finding.window.start, finding.window.end - finding.window.start
    with progress() as bar:
        task = bar.add_task("minutes searched", total=total.total_seconds() // 60)
        search = ContactSearch(ask, outlooks.settings.eligibility.calls)
        finding.run(search, lambda at: bar.update(task, completed=(at - begun).total_seconds() // 60))


def _look_at(contact_ids: Sequence[str], outlooks: Outlooks, contacts: list[Outlook]) -> None:
    """Add each contact to those looked at, so that an interrupted command can show them."""
    clock = SystemClock()
    with progress() as bar:
        task = bar.add_task("contacts looked at", total=len(contact_ids))
        for index, contact_id in enumerate(contact_ids):
            if index:
                clock.sleep(1 / DESCRIBED_PER_SECOND)
            contacts.append(outlooks.of(contact_id))
            bar.advance(task)


def _tell(
    finding: Finding,
    contacts: Sequence[Outlook],
    problem: str | None,
    outlooks: Outlooks,
    target: Target,
    console: Console,
) -> None:
    span = f"{shown(finding.window.start)} to {shown(finding.window.end)} UTC"
    console.print(Text(f"Ended {span}, scope {finding.scope}", style="bold underline"))
    if contacts:
        console.print(_listing(contacts, console.width))
    counts = Counter(outlook.verdict.sent for outlook in contacts)
    verdicts = "; ".join(f"{sent.value} {counts[sent]}" for sent in Sent if counts[sent])
    console.print(Text(f"Looked at {len(contacts)}{f': {verdicts}' if verdicts else ''}", style="bold"))
    if finding.handed_on:
        console.print(Text(f"Left out because the call went on as another contact: {finding.handed_on}"))
    if problem is not None:
        console.print(Text(f"Stopped: {printable(problem)}", style="red"))
    elif finding.more:
        console.print(Text(f"There may be more: these are the first {len(finding.contacts)}; see others with --first."))
    if outlooks.settings.paused:
        console.print(Text(PAUSED, style="yellow"))
    console.print(Text("Nothing was claimed, written or sent. One contact in full:"))
    console.print(Text(f"  {command_for(target, 'preview', 'CONTACT')}"), soft_wrap=True)


def _listing(contacts: Sequence[Outlook], width: int) -> Table:
    numbers = ("properties\n+ fields", "left\nout")
    narrow = width < _WIDE
    headings = ("contact\ndetail", "ended (UTC)") if narrow else ("contact", "method", "ended (UTC)", "detail")
    table = table_of(*headings, *numbers)
    for outlook in contacts:
        method = printable(outlook.contact.method, _LONGEST_NAME) if outlook.contact else ""
        ended = shown(outlook.contact.disconnected_at) if outlook.contact else "-"
        counts = f"{len(outlook.properties)} + {len(outlook.custom_fields)}", str(len(outlook.left_out))
        contact_id, verdict = Text(outlook.contact_id), _verdict(outlook, brief=True)
        if narrow:
            below = Text.assemble(f"{method or '-'}: ", verdict)
            table.add_row(Text("\n  ").join((contact_id, below)), ended, *counts)
        else:
            table.add_row(contact_id, Text(method or "-"), ended, verdict, *counts)
    return table


def _as_json(finding: Finding, contacts: Sequence[Outlook], problem: str | None, *, paused: bool) -> dict[str, object]:
    return {
        "from": finding.window.start.isoformat(),
        "to": finding.window.end.isoformat(),
        "scope": finding.scope.value,
        "paused": paused,
        "contacts": [outlook.as_json() for outlook in contacts],
        "handedOn": finding.handed_on,
        "more": finding.more,
        "problem": problem,
    }
