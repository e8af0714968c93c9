"""``backfill``: drives the reconciliation over a span of time, window by window.

There is nothing to keep between two runs of this command: the ledger knows which contacts are done, and a cursor in
the ledger how far a window was worked off. So whatever interrupts it, the same command carries on.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools.operate.target import Target
from tools.operate.terminal import moment, positive, print_json, progress, say, shown
from tools.tables import table_of
from voicecall_sync.backlog import Backlog
from voicecall_sync.errors import LedgerUnavailable
from voicecall_sync.outcome import State, Status
from voicecall_sync.reconcile_request import SEARCHED, Window, moment_of

USUAL_HOURS = 24
MOST_NOTES = 10
INTERRUPTED = 130

_SENT = frozenset({Status.UPDATED.value, Status.REJECTED.value, Status.UNCERTAIN.value})
_FAILED = frozenset({Status.RETRY_LATER.value, Status.REJECTED.value, Status.UNCERTAIN.value, Status.INVALID.value})


@dataclass(slots=True)
class Progress:
    """One window, over all the runs it took.

    Attributes:
        searched: What the first run really searched, where that is not the window asked for.
        left: How many contacts the last run left over; more may be unseen where ``left_from`` is set.
        left_from: From where on the last run left the window.
        retried: How often a contact due again was tried: every run begins with those, wherever they ended.
        failures: Contacts met that are not updated and should have been, and why; a run names a hundred at the most.
        problem: Why it was left; None where it was worked off.
        fatal: The problem would meet the other windows too.
    """

    window: Window
    runs: int = 0
    found: int = 0
    handed_on: int = 0
    skipped: int = 0
    retried: int = 0
    left: int = 0
    left_from: datetime | None = None
    scope: str = ""
    searched: Window | None = None
    problem: str | None = None
    fatal: bool = False
    outcomes: Counter[str] = field(default_factory=Counter)
    would: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Tell whether all of the window was looked at."""
        return self.runs > 0 and self.left == 0 and self.left_from is None and self.problem is None

    def add(self, answer: Mapping[str, Any]) -> bool:
        """Count what one run did; tell whether it got on."""
        left_from = _left_from(answer)
        left = int(answer["leftOver"])
        moved = left_from is not None and left_from > (self.left_from or self.window.start)
        got_on = (
            moved or any(answer["outcomes"].get(status) for status in _SENT) or (self.runs > 0 and left < self.left)
        )
        if self.runs == 0:
            self.searched = _other_window(answer, self.window)
        self.runs += 1
        self.found += int(answer["found"])
        self.handed_on += int(answer["handedOn"])
        self.skipped += int(answer["skipped"])
        self.retried += int(answer["retried"])
        for contact in answer["contacts"]:
            if contact["status"] in _FAILED:
                self.failures[contact["contactId"]] = f"{contact['status']}: {contact['detail']}"
        self.outcomes.update(answer["outcomes"])
        self.would.update(answer.get("would", {}))
        self.left, self.left_from, self.scope = left, left_from, str(answer["scope"])
        if answer["needsALook"]:  # otherwise the next run simply carries on
            self.problem, self.fatal = str(answer["stopped"]), True
        return got_on

    def as_json(self) -> dict[str, object]:
        """Return it as JSON; times in UTC."""
        return {
            "from": self.window.start.isoformat(),
            "to": self.window.end.isoformat(),
            "searched": self.searched and [self.searched.start.isoformat(), self.searched.end.isoformat()],
            "runs": self.runs,
            "found": self.found,
            "handedOn": self.handed_on,
            "skipped": self.skipped,
            "retried": self.retried,
            "outcomes": dict(self.outcomes),
            "would": dict(self.would),
            "leftOver": self.left,
            "leftFrom": self.left_from and self.left_from.isoformat(),
            "problem": self.problem,
            "failures": self.failures,
            "finished": self.finished,
        }


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--from", dest="start", type=moment, required=True, metavar="ISO", help="contacts that ended from"
    )
    parser.add_argument("--to", dest="end", type=moment, required=True, metavar="ISO", help="... until then")
    parser.add_argument(
        "--scope",
        choices=SEARCHED,
        help="which of them; what is deployed (ReconcileScope) if not given, unless that is none",
    )
    parser.add_argument("--dry-run", action="store_true", help="send nothing, and say what would be sent")
    parser.add_argument(
        "--window-hours", type=positive, default=USUAL_HOURS, metavar="N", help=f"hours for one run ({USUAL_HOURS})"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(wrong=_wrong)


def _wrong(given: argparse.Namespace) -> str | None:
    """Return what is wrong with the moments, None if nothing is."""
    if given.start >= given.end:
        return "--from must be before --to"
    if given.start >= datetime.now(UTC):
        return "--from must be a moment in the past"
    return None


def run(given: argparse.Namespace, target: Target, console: Console) -> int:
    """Work off the span; return 1 if something is left or failed."""
    windows = list(_windows(given, datetime.now(UTC)))
    done: list[Progress] = []
    interrupted = False
    try:
        _work_off(windows, given, target, done)
    except KeyboardInterrupt:
        interrupted = True
    except (BotoCoreError, ClientError):  # credentials that ran out in the middle of it, say
        _tell(done, windows, given, console)
        raise
    _forget_what_went_through_later(done, target)
    whole = _tell(done, windows, given, console)
    if interrupted:
        say(
            "interrupted. A run under way ends by itself; the same command carries on, for the ledger knows what is"
            " done"
        )
        return INTERRUPTED
    return 0 if whole else 1


def _tell(done: Sequence[Progress], windows: Sequence[Window], given: argparse.Namespace, console: Console) -> bool:
    """Show what was done; return whether that is all there was to do."""
    not_begun = len(windows) - len(done)
    whole = not_begun == 0 and all(one.finished and not one.failures for one in done)
    if given.json:
        print_json({"windows": [one.as_json() for one in done], "notBegun": not_begun, "complete": whole})
    else:
        _show(done, not_begun, console)
    return whole


def _windows(given: argparse.Namespace, now: datetime) -> Iterator[Window]:
    """Cut the span; the same one is always cut alike, so that a second run finds the first one's cursors."""
    start: datetime = given.start
    while start < min(given.end, now):
        end = min(start + timedelta(hours=given.window_hours), given.end)
        yield Window(start, end)
        start = end


def _forget_what_went_through_later(done: Sequence[Progress], target: Target) -> None:
    """Leave out of the failures what a later run has updated: the ledger knows."""
    named = [contact_id for one in done for contact_id in one.failures if contact_id]
    try:
        records = Backlog(target.table, lambda: str(uuid4())).known(named)
    except LedgerUnavailable:
        return
    updated = {contact_id for contact_id, record in records.items() if record.state is State.UPDATED}
    for one in done:
        one.failures = {contact_id: why for contact_id, why in one.failures.items() if contact_id not in updated}


def _work_off(windows: Sequence[Window], given: argparse.Namespace, target: Target, done: list[Progress]) -> None:
    hours = [(window.end - window.start) / timedelta(hours=1) for window in windows]
    with progress() as bar:
        task = bar.add_task("hours", total=round(sum(hours)))
        for number, window in enumerate(windows):
            one = Progress(window)
            done.append(one)
            before = sum(hours[:number])

            def come_to(at: datetime, before: float = before, start: datetime = window.start) -> None:
                bar.update(task, completed=round(before + (at - start) / timedelta(hours=1)))

            _work_off_one(one, given, target, come_to)
            if one.fatal:
                return
            come_to(window.end)


def _work_off_one(
    one: Progress, given: argparse.Namespace, target: Target, come_to: Callable[[datetime], None]
) -> None:
    """Ask for a window until nothing of it is left, or it does not get on."""
    while True:
        # A dry run keeps no cursor: where it left off has to be said.
        start = one.left_from if given.dry_run and one.left_from else one.window.start
        request: dict[str, object] = {"from": start.isoformat(), "to": one.window.end.isoformat()}
        if given.scope:
            request["scope"] = given.scope
        if given.dry_run:
            request["dryRun"] = True
        answer = target.reconcile(request)
        if answer.failed is not None:
            one.problem, one.fatal = answer.failed, True
            return
        try:
            got_on = one.add(answer.value)
        except (KeyError, TypeError, ValueError, AttributeError) as unreadable:
            one.problem = f"its answer is none that we know ({type(unreadable).__name__})"
            one.fatal = True
            return
        if one.problem is not None or (one.left == 0 and one.left_from is None):
            return
        if not got_on:
            one.problem = "it does not get on: its last run left over as much as the one before"
            return
        come_to(one.left_from or one.window.start)


def _left_from(answer: Mapping[str, Any]) -> datetime | None:
    window = answer["left"]["window"]
    return moment_of(window["from"]) if window else None


def _other_window(answer: Mapping[str, Any], asked: Window) -> Window | None:
    """Return the window a run answers with, where it is another than the one asked for."""
    said = answer["window"]
    start, end = (moment_of(said[name]) for name in ("from", "to")) if said else (None, None)
    if start is None or end is None or (start, end) == (asked.start, asked.end):
        return None
    return Window(start, end)


def _show(done: Sequence[Progress], not_begun: int, console: Console) -> None:
    scopes = ", ".join(sorted({one.scope for one in done if one.scope}))
    if scopes:
        console.print(Text(f"Contacts in the scope: {scopes}", style="bold underline"))
    console.print(_table(done))
    if any(one.runs > 1 for one in done):
        console.print(
            Text("Of a window with several runs, what more than one met is counted as found and skipped again.")
        )
    if any(one.retried for one in done):
        console.print(Text("The outcomes hold those of contacts due again, too: every run begins with them."))
    for one in [one for one in done if one.problem][:MOST_NOTES]:
        console.print(Text(f"{_span(one.window)}: {one.problem}", style="red"))
    for one in [one for one in done if one.searched][:MOST_NOTES]:
        console.print(Text(f"{_span(one.window)}: {_clipped(one)}"))
    if not_begun:
        console.print(Text(f"not begun: {not_begun} windows. The same command carries on.", style="yellow"))
    _show_failures(done, console)


def _show_failures(done: Sequence[Progress], console: Console) -> None:
    failures = {contact_id: why for one in done for contact_id, why in one.failures.items()}
    if failures:
        console.print(Text(f"Not updated: {len(failures)}", style="bold underline"))
        table = table_of("contact", "detail")
        for contact_id, why in list(failures.items())[:MOST_NOTES]:
            table.add_row(contact_id, Text(why))
        console.print(table)
    if len(failures) > MOST_NOTES:
        console.print(Text(f"…and {len(failures) - MOST_NOTES} more: --json names them"))


def _table(done: Sequence[Progress]) -> Table:
    table = table_of("from (UTC)", "runs", "found", "handed on", "skipped", "outcomes", "left")
    total = Progress(Window(datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)))
    for one in done:
        table.add_row(shown(one.window.start), *_cells(one))
        total.runs += one.runs
        total.found += one.found
        total.handed_on += one.handed_on
        total.skipped += one.skipped
        total.left += one.left
        total.left_from = total.left_from or one.left_from
        total.outcomes += one.outcomes
        total.would += one.would
    if len(done) > 1:
        table.add_section()
        table.add_row(Text(f"{len(done)} windows", style="bold"), *_cells(total))
    return table


def _cells(one: Progress) -> list[str]:
    outcomes = [f"{status} {count}" for status, count in sorted(one.outcomes.items())]
    would = [f"would {what} {count}" for what, count in sorted(one.would.items())]
    left = f"{one.left}+" if one.left_from else str(one.left)
    return [
        *map(str, (one.runs, one.found, one.handed_on, one.skipped)),
        ", ".join(outcomes + would) or "-",
        left,
    ]


def _clipped(one: Progress) -> str:
    searched = one.searched
    if searched is None or searched.empty:
        return "not searched: all of it is before RECONCILE_NOT_BEFORE, or was worked off"
    why = "" if searched.start == one.window.start else " (RECONCILE_NOT_BEFORE, or where an earlier run left off)"
    return f"searched from {shown(searched.start, seconds=True)}{why} to {shown(searched.end, seconds=True)}"


def _span(window: Window) -> str:
    return f"{shown(window.start)} to {shown(window.end)}"
