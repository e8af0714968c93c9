"""``python3 -m tools demo``: the events of events/ through the real handler, and what comes of them.

Starts an AWS, an Amazon Connect and a Salesforce on this machine, gives the handler each event as Lambda would, one of
them twice, and two while Salesforce fails; then shows what Salesforce holds and what the ledger says. Ends with
status 1 if any contact got more than one PATCH.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO, cast

from boto3.dynamodb.types import TypeDeserializer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools import tables
from tools.examples import EVENTS, Examples
from tools.invocation import (
    Raised,
    forget_own_environment,
    invoke,
    load_contacts,
    local_folder,
    shown,
    source_name,
)
from tools.local.misbehaviour import Answer, Behaviour
from tools.local.stack import LocalStack
from tools.tables import Delivery, Entry, Shown
from voicecall_sync.handlers import update_voice_call
from voicecall_sync.outcome import State

ONCE = (
    "contact-flow",
    "contact-flow-awkward",
    "contact-event-initiated",
    "contact-event-completed",
    "contact-event-disconnected",
    "contact-event-abandoned",
    "contact-event-queue-transfer",
    "contact-event-webrtc",
    "contact-event-sentinel",
    "contact-event-chat",
)
"""Every event for this handler but those that Salesforce fails at."""
REPLAYED = "contact-event-completed"
THROTTLED = "contact-event-outbound"
BROKEN = "contact-event-callback"


@dataclass(frozen=True, slots=True)
class Demo:
    """Delivers events to the handler, and looks at what both ends then hold.

    Attributes:
        examples: the events.
        existing: the calls Salesforce had a record of before.
        log: where the handler's own output goes.
    """

    stack: LocalStack
    examples: Examples
    existing: frozenset[str]
    log: TextIO

    def deliveries(self) -> Iterator[list[Delivery]]:
        """Deliver all there is to deliver, group by group."""
        yield [self._deliver(name) for name in ONCE]
        yield [self._deliver(REPLAYED, "the same event again")]
        yield [
            self._deliver(THROTTLED, "Salesforce answers 429", Answer(429)),
            self._deliver(THROTTLED, "Lambda's second delivery"),
        ]
        yield [
            self._deliver(BROKEN, "Salesforce applies it, answers 500", Answer(500, applied=True)),
            self._deliver(BROKEN, "the same event again"),
        ]

    def _deliver(self, name: str, note: str = "", failure: Behaviour | None = None) -> Delivery:
        if failure is not None:
            self.stack.salesforce.next(failure)
        before = len(self.stack.salesforce.received)
        event = self.examples.read(EVENTS / f"{name}.json")
        answer = invoke(update_voice_call, event, self.log)
        if isinstance(answer, Raised):
            status, detail = "raised", f"{answer.message}; Lambda delivers it again"
        else:
            said = cast("dict[str, str]", answer)
            status, detail = said["status"], said["detail"]
        sent = tuple(str(entry.status or "no answer") for entry in self.stack.salesforce.received[before:])
        return Delivery(name, note, source_name(event), status, sent, detail)

    def voice_calls(self) -> list[Shown]:
        """Return the VoiceCalls Salesforce holds, the earliest call first."""
        salesforce = self.stack.salesforce
        calls = sorted(salesforce.voice_calls.values(), key=lambda call: call.start_time or datetime.now(UTC))
        return [Shown(call, salesforce.applied(call.call_id), call.call_id not in self.existing) for call in calls]

    def ledger(self) -> list[Entry]:
        """Return what the ledger says, the first claimed first."""
        items = self.stack.dynamodb.scan(TableName=self.stack.table, ConsistentRead=True)["Items"]
        deserialize = TypeDeserializer().deserialize
        records: list[dict[str, Any]] = [{name: deserialize(value) for name, value in item.items()} for item in items]
        return [_entry(record) for record in sorted(records, key=lambda record: record["firstClaimedAt"])]


def main(arguments: Sequence[str]) -> int:
    """Run the demo and print its tables; return 1 if a contact got more than one PATCH."""
    parser = argparse.ArgumentParser(prog="python3 -m tools demo", description=__doc__.partition("\n\n")[2])
    parser.add_argument("--logs", action="store_true", help="print what the handler logs, as it comes, to stderr")
    shows_log = parser.parse_args(arguments).logs
    console = tables.console()
    forget_own_environment()
    with ExitStack() as opened:
        log_file = local_folder() / "demo.log"
        log = sys.stderr if shows_log else opened.enter_context(log_file.open("w", encoding="utf-8"))
        stack = opened.enter_context(_started(console))
        os.environ |= stack.environment()
        examples = Examples.at(datetime.now(UTC))
        demo = Demo(stack, examples, load_contacts(stack, examples), log)
        _show_deliveries(demo, console)
        _show(console, "What Salesforce holds now", tables.voice_calls(demo.voice_calls(), console.width))
        entries = demo.ledger()
        _show(console, "What the ledger says", tables.ledger(entries))
        _explain(entries, console)
        if not shows_log:
            console.print(Text(f"\nWhat the handler logged is in {shown(log_file)} (or see it with --logs).\n"))
        return _conclude(stack, entries, console)


@contextmanager
def _started(console: Console) -> Iterator[LocalStack]:
    began = time.monotonic()
    console.print("starting MiniStack, a Connect simulator and a Salesforce simulator ...", end=" ")
    with LocalStack() as stack:
        console.print(f"{time.monotonic() - began:.1f} s")
        yield stack


def _show_deliveries(demo: Demo, console: Console) -> None:
    began = time.monotonic()
    groups = list(demo.deliveries())
    count = sum(map(len, groups))
    title = f"What the handler answered: {count} deliveries in {time.monotonic() - began:.1f} s"
    _show(console, title, tables.deliveries(groups, console.width))


def _show(console: Console, title: str, table: Table) -> None:
    console.print()
    console.print(Text(title, style="bold underline"))
    console.print(table)


def _conclude(stack: LocalStack, entries: Sequence[Entry], console: Console) -> int:
    applied = {entry.contact_id: stack.salesforce.applied(entry.contact_id) for entry in entries}
    twice = [contact_id for contact_id, count in applied.items() if count > 1]
    end = f"more than one for {', '.join(twice)}" if twice else "none twice"
    style = "bold red" if twice else "bold green"
    console.print(Text(f"{len(applied)} contacts, {sum(applied.values())} PATCHes applied, {end}", style=style))
    return 1 if twice else 0


def _explain(entries: Sequence[Entry], console: Console) -> None:
    waiting = [tables.short(entry.contact_id) for entry in entries if entry.state == State.UNCERTAIN]
    if waiting:
        reason = "Salesforce may have applied it, so nothing sends it again by itself; an operator decides."
        console.print(Text(f"\nUNCERTAIN ({', '.join(waiting)}): {reason}", style="red"))


def _entry(record: dict[str, Any]) -> Entry:
    return Entry(
        contact_id=record["contactId"],
        state=record["state"],
        source=record["source"],
        attempts=int(record["attempts"]),
        http_status=int(record["httpStatus"]) if "httpStatus" in record else None,
        detail=record.get("detail", ""),
        at=datetime.fromtimestamp(float(record.get("settledAt", record["claimedAt"])), UTC),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
