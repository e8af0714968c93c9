"""``python3 -m tools demo``: a morning of calls, on a clock that jumps, and the results.

Starts an AWS, an Amazon Connect and a Salesforce on this machine. Contact flows invoke their function. Contact events
go into the queue, from which the worker takes them. The reconciliation runs every 15 minutes. One event is lost;
Salesforce is busy once, and once it fails for six minutes. Then shows what Salesforce holds, what the ledger says, and
what the queues hold. Ends with status 1 if any contact got more than one PATCH.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO
from uuid import NAMESPACE_URL, uuid5

from boto3 import Session
from boto3.dynamodb.types import TypeDeserializer
from rich.console import Console, RenderableType
from rich.text import Text

import voicecall_cli.tables
from tools import tables
from tools.examples import CONTACTS, ENDED, EVENTS, Examples, moved
from tools.in_process import forget_own_environment, load_contacts, local_folder, settings_for, shown
from tools.local.hand_clock import HandClock
from tools.local.local_stack import LocalStack
from tools.local.misbehaviour import Answer
from tools.local.simulation import Simulation
from tools.local.sqs import LocalQueue
from tools.tables import Chapter, LedgerRow, Row, Shown
from voicecall_cli.terminal import printable, printable_json
from voicecall_sync.connect.events import asked_by
from voicecall_sync.outcome import State, Status

BEGINS = timedelta(hours=9, minutes=45)
"""When the morning begins, yesterday. The reconciliation runs a quarter of an hour later for the first time."""
FLOWS = ("contact-flow", "contact-flow-awkward")
EVENTS_IN_ORDER = (
    "contact-event-completed",
    "contact-event-completed",
    "contact-event-queue-transfer",
    "contact-event-webrtc",
    "contact-event-sentinel",
)
LOST = "contact-event-abandoned"
THROTTLED = "contact-event-outbound"
RETRY_AFTER = 120
BROKEN = "contact-event-callback"
OUTAGE = timedelta(minutes=6)
CALLS = 20
"""How many calls end during the outage, every two seconds."""
WRONG = '{"contact": "c3a85f17-6e2d-4b9c-8d41-0f1e2d3c4b5a", "source": "operator"}'
"""A message that names no contact: the key is contactId."""
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class LoggedOutcome:
    """What became of a contact, once, as the log tells it.

    Attributes:
        sent: Salesforce's status for each PATCH since the last outcome.
    """

    at: datetime
    contact_id: str
    source: str
    status: str
    detail: str
    sent: tuple[str, ...]


class Story(io.TextIOBase):
    """The functions' log, written elsewhere, and read: it tells what became of each contact, and when.

    Args:
        log: where it is written.
        clock: the simulated one; log lines have the machine's time.
        salesforce: gives the statuses of the PATCHes so far.
    """

    def __init__(self, log: TextIO, clock: HandClock, salesforce: Callable[[], Sequence[str]]) -> None:
        self._log = log
        self._clock = clock
        self._salesforce = salesforce
        self._told = 0
        self._outcomes: list[LoggedOutcome] = []

    def writable(self) -> bool:
        """Tell that it is."""
        return True

    def write(self, text: str) -> int:
        """Write on, and note what became of a contact."""
        self._log.write(text)
        line = printable_json(text)
        if isinstance(line, dict):
            self._note(line)
        return len(text)

    def take(self) -> list[LoggedOutcome]:
        """Return what happened since the last time."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def _note(self, line: Mapping[str, Any]) -> None:
        message = str(line.get("message", ""))
        if message.startswith("contact ") and "status" in line:
            contact_id, source, status = line.get("contactId", ""), str(line["source"]), str(line["status"])
            sent = tuple(self._salesforce()[self._told :])
            self._told += len(sent)
            detail = str(line.get("detail", ""))
        elif message == "reconciled" and line.get("enqueued"):
            contact_id, source, status, sent = "", "reconcile", "found", ()
            detail = f"{line['enqueued']} call without a record: a message goes into the queue"
        else:
            return
        self._outcomes.append(LoggedOutcome(self._clock.now(), contact_id, source, status, detail, sent))


class Demo:
    """The morning: plays it, chapter by chapter, and looks at what both ends then hold.

    Args:
        stack: on `clock`.
        clock: at the beginning of the morning.
        examples: the events, of the same day.
        log: where the functions' log goes.
    """

    def __init__(self, stack: LocalStack, clock: HandClock, examples: Examples, log: TextIO) -> None:
        self.stack = stack
        self._clock = clock
        self._examples = examples
        self._existing = load_contacts(stack, examples)
        self._names: dict[str, str] = {}
        self._in_outage: set[str] = set()
        self._story = Story(log, clock, self._statuses)
        session = Session()
        with contextlib.redirect_stdout(self._story):
            self._simulation = Simulation(
                stack, clock, busy=timedelta(seconds=1), every=15 * _MINUTE, session=lambda: session
            )

    def chapters(self) -> Iterator[Chapter]:
        """Play the morning."""
        yield self._play("Two contact flows update their calls, which go on", self._flows, "10:01")
        title = "Calls end: each event waits 90 seconds in the queue; one comes twice, and one message is wrong"
        yield self._play(title, self._events, "10:59")
        title = "A call was abandoned at 10:17 and its event was lost: the reconciliation finds it"
        yield self._play(title, None, "11:05")
        yield self._play(f"Salesforce is busy: 429 with Retry-After {RETRY_AFTER}", self._throttled, "11:20")
        minutes = OUTAGE // _MINUTE
        title = f"{CALLS} calls end while Salesforce answers 503 for {minutes} minutes: the breaker stops after 3"
        yield self._play(title, self._outage, "12:30")

    def voice_calls(self) -> list[Shown]:
        """Return the VoiceCalls of the files' contacts that Salesforce updated, the earliest call first."""
        salesforce = self.stack.salesforce
        calls = [
            call
            for call in salesforce.voice_calls.values()
            if call.call_id not in self._in_outage and salesforce.applied(call.call_id)
        ]
        calls.sort(key=lambda call: call.start_time or self._clock.now())
        return [Shown(call, salesforce.applied(call.call_id), call.call_id not in self._existing) for call in calls]

    def records(self) -> list[dict[str, Any]]:
        """Return the ledger's records, the first one met first."""
        items = self.stack.dynamodb.scan(TableName=self.stack.table, ConsistentRead=True)["Items"]
        deserialize = TypeDeserializer().deserialize
        read: list[dict[str, Any]] = [{name: deserialize(value) for name, value in item.items()} for item in items]
        records = [record for record in read if not record["contactId"].startswith("#")]  # others are positions
        return sorted(records, key=lambda record: record["metAt"])

    def ledger(self) -> list[LedgerRow]:
        """Return what the ledger says: those of the outage together, if they ended alike."""
        entries: dict[object, LedgerRow] = {}
        for record in self.records():
            entry = _ledger_row(record)
            alike = (
                (entry.state, entry.attempts, entry.detail) if record["contactId"] in self._in_outage else entry.contact
            )
            met = entries.get(alike)
            entries[alike] = entry.merged(met) if met else entry
        return list(entries.values())

    def _play(self, title: str, plan: Callable[[], None] | None, until: str) -> Chapter:
        hour, minute = map(int, until.split(":"))
        end = self._clock.now().replace(hour=hour, minute=minute, second=0)
        with contextlib.redirect_stdout(self._story):
            if plan is not None:
                plan()
            self._simulation.run(end - self._clock.now())
        return Chapter(title, _rows(self._story.take(), self._name))

    def _flows(self) -> None:
        for index, name in enumerate(FLOWS):
            event: Any = self._read(name)
            moment = self._clock.now().replace(hour=10, minute=0, second=10 + 20 * index)
            self._simulation.plan(moment, lambda event=event: self._simulation.flow(event))  # type: ignore[misc]

    def _events(self) -> None:
        for index, name in enumerate(EVENTS_IN_ORDER):
            again = name in EVENTS_IN_ORDER[:index]
            self._plan_event(self._read(name), _MINUTE * again)
        self._name_of(self._read(LOST), LOST)
        wrong_at = self._clock.now().replace(hour=10, minute=57)
        self._simulation.plan(wrong_at, lambda: self.stack.queue.send(WRONG))

    def _throttled(self) -> None:
        self.stack.salesforce.next(Answer(429, headers=(("Retry-After", str(RETRY_AFTER)),)))
        self._plan_event(self._read(THROTTLED))

    def _outage(self) -> None:
        event: Any = self._read(BROKEN)
        begins = datetime.fromisoformat(event["time"]) + _MINUTE
        self._simulation.plan(begins, lambda: self.stack.salesforce.always(Answer(503)))
        self._simulation.plan(begins + OUTAGE, self.stack.salesforce.behave)
        contacts: Any = self._examples.read(CONTACTS)
        broken = event["detail"]["contactId"]
        (contact,) = (contact for contact in contacts["contacts"] if contact["Id"] == broken)
        for number in range(CALLS):
            call_id = str(uuid5(NAMESPACE_URL, f"demo-{number}")) if number else broken
            later = timedelta(seconds=2 * number)
            more: Any = moved(json.loads(json.dumps([contact, event]).replace(broken, call_id)), later)
            self.stack.connect.load({"contacts": [more[0]]})
            self.stack.salesforce.seed(call_id)
            self._plan_event(more[1])
            self._in_outage.add(call_id)

    def _plan_event(self, event: Any, later: timedelta = timedelta()) -> None:  # noqa: ANN401 - any JSON
        moment = datetime.fromisoformat(event["time"]) + later
        self._simulation.plan(moment, lambda: self._simulation.tell(event))

    def _read(self, name: str) -> object:
        event = self._examples.read(EVENTS / f"{name}.json")
        self._name_of(event, name)
        return event

    def _name_of(self, event: object, name: str) -> None:
        self._names[asked_by(event).contact_id] = name

    def _name(self, outcome: LoggedOutcome) -> str:
        if outcome.status == "found":
            return "reconciliation"
        if not outcome.contact_id:
            return "a wrong message"
        return "1 call" if outcome.contact_id in self._in_outage else self._names[outcome.contact_id]

    def _statuses(self) -> list[str]:
        return [str(entry.status or "no answer") for entry in self.stack.salesforce.received]


def main(arguments: Sequence[str]) -> int:
    """Run the demo and print its tables; return 1 if a contact got more than one PATCH."""
    parser = argparse.ArgumentParser(prog="python3 -m tools demo", description=__doc__.partition("\n\n")[2])
    parser.add_argument("--logs", action="store_true", help="print what the functions log, as it comes, to stderr")
    shows_log = parser.parse_args(arguments).logs
    console = voicecall_cli.tables.console()
    forget_own_environment()
    yesterday = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    clock = HandClock(yesterday + BEGINS)
    with ExitStack() as opened:
        log_file = local_folder() / "demo.log"
        log = sys.stderr if shows_log else opened.enter_context(log_file.open("w", encoding="utf-8"))
        stack = opened.enter_context(_started(console, clock))
        os.environ |= settings_for(stack) | {"RECONCILE_SCOPE": "all"}
        demo = Demo(stack, clock, Examples(yesterday - ENDED.replace(hour=0, minute=0)), log)
        _show_chapters(demo, console)
        calls, entries = demo.voice_calls(), demo.ledger()
        title = "What Salesforce holds now (the calls of the outage left out)"
        _show(console, title, tables.voice_calls(calls, console.width))
        _show(console, "What the ledger says", tables.ledger(entries))
        _explain(entries, console)
        _show_queues(stack, console)
        if not shows_log:
            console.print(Text(f"What the functions logged is in {shown(log_file)} (or see it with --logs)."))
        return _conclude(demo, console)


@contextmanager
def _started(console: Console, clock: HandClock) -> Iterator[LocalStack]:
    began = time.monotonic()
    console.print("starting MiniStack and simulators of SQS, Connect and Salesforce ...", end=" ")
    with LocalStack(clock=clock.now) as stack:
        console.print(f"{time.monotonic() - began:.1f} s")
        yield stack


def _show_chapters(demo: Demo, console: Console) -> None:
    began = time.monotonic()
    chapters = list(demo.chapters())
    title = f"What happened, on a clock that jumps: two and a half hours in {time.monotonic() - began:.1f} s"
    _show(console, title, tables.chapters(chapters, console.width))


def _show(console: Console, title: str, table: RenderableType) -> None:
    console.print()
    console.print(Text(title, style="bold underline"))
    console.print(table)


def _show_queues(stack: LocalStack, console: Console) -> None:
    console.print(Text("\nWhat the queues hold", style="bold underline"))
    for title, queue in (("contact queue", stack.queue), ("dead-letter queue", stack.dead_letters)):
        console.print(Text(f"{title}: {_held(queue)}"))
    console.print()


def _held(queue: LocalQueue) -> str:
    told = []
    for message in queue.messages:
        reason = message.attributes.get("Reason", {}).get("StringValue", "")
        told.append(f"{printable(message.body)}\n  {printable(reason)}")
    return "\n".join(told) or "empty"


def _conclude(demo: Demo, console: Console) -> int:
    salesforce = demo.stack.salesforce
    known = {record["contactId"] for record in demo.records()} | salesforce.voice_calls.keys()
    applied = {contact_id: salesforce.applied(contact_id) for contact_id in known}
    twice = sorted(contact_id for contact_id, count in applied.items() if count > 1)
    end = f"more than one for {', '.join(twice)}" if twice else "none twice"
    style = "bold red" if twice else "bold green"
    console.print(Text(f"{len(applied)} calls, {sum(applied.values())} PATCHes applied, {end}", style=style))
    return 1 if twice else 0


def _explain(entries: Sequence[LedgerRow], console: Console) -> None:
    count = sum(entry.count for entry in entries if entry.state == State.UNCERTAIN)
    if count:
        reason = "Salesforce may have applied it, so nothing sends it again by itself; an operator decides."
        console.print(Text(f"\nUNCERTAIN ({count} calls): {reason}", style="red"))


def _rows(outcomes: Sequence[LoggedOutcome], name: Callable[[LoggedOutcome], str]) -> list[Row]:
    """Return what happened as rows: calls without a name that fared alike, one after another, together."""
    rows = []
    start = 0
    for (status, sent, title), group in itertools.groupby(outcomes, key=lambda one: (one.status, one.sent, name(one))):
        alike = list(group)
        first, start = alike[0], start + len(alike)
        back = next((later.at for later in outcomes[start:] if later.contact_id == first.contact_id), None)
        detail = first.detail
        if status == Status.RETRY_LATER and back is not None:
            detail += f"; back at {back:%H:%M:%S}"
        if status == Status.INVALID:
            detail += "; moved to the dead-letter queue"
        rows.append(Row(first.at, title, len({one.contact_id for one in alike}), first.source, status, sent, detail))
    return rows


def _ledger_row(record: Mapping[str, Any]) -> LedgerRow:
    return LedgerRow(
        contact=printable(record["contactId"]),
        state=printable(record["state"]),
        source=printable(record["source"]),
        attempts=int(record["attempts"]),
        http_status=int(record["httpStatus"]) if "httpStatus" in record else None,
        detail=printable(record.get("detail", "")),
        at=datetime.fromtimestamp(float(record.get("settledAt") or record["metAt"]), UTC),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
