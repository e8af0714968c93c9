"""``python3 -m tools reconcile``: a day's missed calls, found and updated by the real handler, here.

Makes up a day of calls (hung up in the queue, ended in the flow, answered, transferred, turned into callbacks), some of
which the ledger knows, two of which it has open; then runs the reconciliation against Connect's quotas until nothing is
left, and once more. Ends with status 1 if any contact got more than one PATCH.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO, cast
from uuid import UUID

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from tools import tables
from tools.invocation import FUNCTION_SECONDS, Raised, forget_own_environment, invoke, local_folder, shown
from tools.local.connect_quotas import DEFAULT_QUOTAS
from tools.local.misbehaviour import Answer
from tools.local.stack import LocalStack
from voicecall_sync.handlers import reconcile
from voicecall_sync.reconcile_request import Scope

MOST_RUNS = 50
QUEUE = "5e0b6c1d-2f3a-4b5c-8d6e-7f8091a2b3c4"
AGENT = "924fa051-637e-4f90-91a2-b3c4d5e6f708"
KINDS: Mapping[str, float] = {
    "hung up in the queue": 0.50,
    "hung up, and in the ledger already": 0.15,
    "ended in the flow": 0.10,
    "answered by an agent": 0.15,
    "transferred": 0.06,
    "turned into a callback": 0.04,
}
"""Kind of call -> its share of the day."""
MISSED = {
    Scope.ABANDONED: {"hung up in the queue"},
    Scope.UNANSWERED: {"hung up in the queue", "ended in the flow"},
    Scope.ALL: set(KINDS) - {"hung up, and in the ledger already"},
}
"""Scope -> the kinds of call that are to be updated."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the day, and the contact it went on as, if it did."""

    kind: str
    contact: Mapping[str, Any]
    successor: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """The calls of one day up to now, the same for the same seed.

    Attributes:
        count: how many calls.
        now: when the day ends.
    """

    count: int
    now: datetime
    chance: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 - no secret is made of it

    def calls(self) -> Iterator[Call]:
        """Make the calls up, spread over the day."""
        kinds = [kind for kind, share in KINDS.items() for _ in range(round(share * self.count))]
        self.chance.shuffle(kinds)
        for number, kind in enumerate(kinds):
            yield self._call(kind, self.now - timedelta(minutes=15 + 1400 * number / len(kinds)))

    def _call(self, kind: str, end: datetime) -> Call:
        contact = self._contact(end, seconds=self.chance.randint(20, 600))
        if kind == "ended in the flow":
            contact.pop("QueueInfo")
        if kind == "answered by an agent":
            contact["AgentInfo"] = _agent(end)
        if kind not in {"transferred", "turned into a callback"}:
            return Call(kind, contact)
        method = "QUEUE_TRANSFER" if kind == "transferred" else "CALLBACK"
        later = self._contact(end + timedelta(minutes=5), seconds=300)
        later |= {"InitiationMethod": method, "PreviousContactId": contact["Id"], "AgentInfo": _agent(end)}
        return Call(kind, contact, later)

    def _contact(self, end: datetime, seconds: int) -> dict[str, Any]:
        start = end - timedelta(seconds=seconds)
        return {
            "Id": str(UUID(int=self.chance.getrandbits(128), version=4)),
            "Channel": "VOICE",
            "InitiationMethod": "INBOUND",
            "CustomerEndpoint": {"Type": "TELEPHONE_NUMBER", "Address": f"+1206555{self.chance.randint(100, 199):04}"},
            "SystemEndpoint": {"Type": "TELEPHONE_NUMBER", "Address": "+12065550100"},
            "InitiationTimestamp": start,
            "QueueInfo": {"Id": QUEUE, "EnqueueTimestamp": start + timedelta(seconds=10)},
            "DisconnectTimestamp": end,
            "DisconnectReason": "CUSTOMER_DISCONNECT",
            "Attributes": {"tier": self.chance.choice(["gold", "silver"])},
        }


def _agent(end: datetime) -> dict[str, Any]:
    return {
        "Id": AGENT,
        "ConnectedToAgentTimestamp": end - timedelta(seconds=15),
        "AfterContactWorkStartTimestamp": end,
    }


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Runs the handler, and shows what it does.

    Attributes:
        seconds: How long a run may take.
        expected: How many contacts are to be updated in all.
    """

    stack: LocalStack
    console: Console
    log: TextIO
    seconds: float
    expected: int

    def runs(self) -> list[Mapping[str, Any]]:
        """Run until nothing is left over, then once more."""
        answers: list[Mapping[str, Any]] = []
        with self._progress() as progress:
            task = progress.add_task("", total=self.expected)
            while len(answers) < MOST_RUNS:
                progress.update(task, description=f"run {len(answers) + 1}")
                answers.append(self._run(progress, task))
                if len(answers) > 1 and not answers[-2]["leftOver"]:
                    break
        return answers

    def _run(self, progress: Progress, task: Any) -> Mapping[str, Any]:  # noqa: ANN401 - rich's own number of it
        answers: list[object] = []

        def work() -> None:
            answers.append(invoke(reconcile, SCHEDULE, self.log, self.seconds))

        running = threading.Thread(target=work)
        running.start()
        while running.is_alive():
            running.join(0.1)
            progress.update(task, completed=len(self.stack.salesforce.received))
        (answer,) = answers
        if isinstance(answer, Raised):
            raise SystemExit(f"the reconciliation raised: {answer.message}")
        return cast("Mapping[str, Any]", answer)

    def _progress(self) -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("PATCHes"))
        return Progress(*columns, TimeElapsedColumn(), console=self.console)


SCHEDULE = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}


def main(arguments: Sequence[str]) -> int:
    """Run the reconciliation over a day of calls; return 1 if a contact got more than one PATCH."""
    given = _parser().parse_args(arguments)
    console = tables.console()
    forget_own_environment()
    with ExitStack() as opened:
        log_file = local_folder() / "reconcile.log"
        log = opened.enter_context(log_file.open("w", encoding="utf-8"))
        console.print("starting MiniStack, a Connect simulator and a Salesforce simulator ...")
        stack = opened.enter_context(LocalStack())
        calls = list(Day(given.calls, datetime.now(UTC)).calls())
        _prepare(stack, calls, given.quota_factor)
        os.environ |= stack.environment() | _settings(given.scope, given.quota_factor)
        missed = [call for call in calls if call.kind in MISSED[given.scope]]
        console.print(_title(f"A day of {len(calls)} calls, as Amazon Connect has them"))
        console.print(_kinds(calls, given.scope))
        began = time.monotonic()
        answers = Reconciler(stack, console, log, given.seconds, len(missed) + 1).runs()
        console.print(_title(f"What each run answered ({time.monotonic() - began:.1f} s in all)"))
        console.print(_runs(answers))
        console.print(_title("What needs a look"))
        console.print(_contacts(answers))
        console.print(_title("What Amazon Connect was asked"))
        console.print(_asked(stack, given.quota_factor))
        console.print(Text(f"\nWhat the handler logged is in {shown(log_file)}.\n"))
        return _conclude(stack, console)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tools reconcile", description=__doc__.partition("\n\n")[2])
    parser.add_argument("--calls", type=int, default=400, metavar="N", help="how many calls the day had (400)")
    parser.add_argument("--scope", type=Scope, choices=list(MISSED), default=Scope.ABANDONED, help="(abandoned)")
    parser.add_argument(
        "--quota-factor",
        type=float,
        default=10.0,
        metavar="X",
        help="Connect's quotas, as so many times those of a new account: 10 by default, so that it takes seconds",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=FUNCTION_SECONDS["reconcile"],
        metavar="S",
        help="time limit of one run; with 25, say, one sees the next one carry on (900, as deployed)",
    )
    return parser


def _prepare(stack: LocalStack, calls: Sequence[Call], quota_factor: float) -> None:
    """Let Connect know the day, and the ledger some of it; let Salesforce fail at two contacts."""
    stack.connect.put_queue(QUEUE, "Support")
    stack.connect.put_user(AGENT, "jane@example.com")
    stack.connect.put_contacts(call.contact for call in calls)
    stack.connect.put_contacts(call.successor for call in calls if call.successor is not None)
    stack.connect.quotas(quota_factor)
    now = datetime.now(UTC).timestamp()
    updated = {"state": {"S": "UPDATED"}, "owner": {"S": "an earlier invocation"}}
    for call in calls:
        if call.kind == "hung up, and in the ledger already":
            _put_record(stack, call.contact["Id"], updated)
    open_records: Mapping[str, Mapping[str, Any]] = {
        "CLAIMED": {"ownerUntil": {"N": str(now - 300)}},
        "NOT_APPLIED": {"retryAt": {"N": str(now - 60)}, "attempts": {"N": "1"}, "source": {"S": "contact-flow"}},
    }
    answered = [call for call in calls if call.kind == "answered by an agent"]
    for (state, others), call in zip(open_records.items(), answered, strict=False):
        held = {"state": {"S": state}, "open": {"S": state}, "since": {"N": str(now - 600)}, "owner": {"S": "gone"}}
        _put_record(stack, call.contact["Id"], {**held, "firstClaimedAt": {"N": str(now - 600)}, **others})
    stack.salesforce.next(Answer(200, applied=True), Answer(400), Answer(500, applied=True))


def _put_record(stack: LocalStack, contact_id: str, values: Mapping[str, Any]) -> None:
    stack.dynamodb.put_item(TableName=stack.table, Item={"contactId": {"S": contact_id}, **values})


def _settings(scope: Scope, quota_factor: float) -> dict[str, str]:
    return {
        "RECONCILE_SCOPE": scope.value,
        "RECONCILE_SEARCHES_PER_SECOND": str(0.4 * quota_factor),
        "RECONCILE_DESCRIBES_PER_SECOND": str(5 * quota_factor),
    }


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold underline")


def _kinds(calls: Sequence[Call], scope: Scope) -> Table:
    table = _table("call", "calls", f"missed, for the scope {scope}")
    for kind in KINDS:
        count = sum(call.kind == kind for call in calls)
        table.add_row(kind, str(count), "yes" if kind in MISSED[scope] else "no")
    return table


def _runs(answers: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("run", "window (UTC)", "found", "handed on", "skipped", "outcomes", "left over")
    for number, answer in enumerate(answers, 1):
        start, end = (datetime.fromisoformat(answer["window"][name]) for name in ("from", "to"))
        outcomes = "\n".join(f"{count} {status}" for status, count in answer["outcomes"].items()) or "-"
        table.add_row(
            str(number),
            f"{start:%b %d %H:%M} - {end:%b %d %H:%M}",
            *(str(answer[name]) for name in ("found", "handedOn", "skipped")),
            outcomes,
            str(answer["leftOver"]),
        )
    return table


def _contacts(answers: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("contact", "status", "detail")
    for answer in answers:
        for contact in answer["contacts"]:
            table.add_row(tables.short(contact["contactId"]), tables.styled(contact["status"]), contact["detail"])
    return table


def _asked(stack: LocalStack, quota_factor: float) -> Table:
    table = _table("operation", "calls", "turned away", "quota a second")
    operations = [entry.split()[0] for entry in stack.connect.received]
    for operation in sorted(set(operations)):
        rate = DEFAULT_QUOTAS[operation].rate * quota_factor
        turned_away = stack.connect.throttled[operation]
        table.add_row(operation, str(operations.count(operation)), str(turned_away), f"{rate:g}")
    return table


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(Text(heading, style="bold"), overflow="fold")
    return table


def _conclude(stack: LocalStack, console: Console) -> int:
    applied = [stack.salesforce.applied(call_id) for call_id in stack.salesforce.voice_calls]
    twice = sum(count > 1 for count in applied)
    end = f"{twice} of them twice" if twice else "none twice"
    style = "bold red" if twice else "bold green"
    console.print(Text(f"{sum(count > 0 for count in applied)} contacts updated in Salesforce, {end}", style=style))
    return 1 if twice else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
