"""``python3 -m tools day``: a contact center's day with everything that goes wrong, on a clock that jumps.

Thousands of calls end. Amazon Connect's descriptions of them grow: agents work on after the call, and recordings come
later. Salesforce answers 503 for an hour, and does not answer for another. 2 % of the events are lost, and some
messages come twice. Sandboxes are killed, and the worker is paused for an hour. Afterwards the command takes every
contact from Amazon Connect's own list of finished contacts. It looks each one up in Salesforce and in the ledger. It
ends with status 1 in two cases:

- A contact was not updated once. UNCERTAIN is allowed if the breaker or a kill spent its one update.
- An update lacked a value that Amazon Connect knew later. Recordings later than the longest wait may be missing.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO
from uuid import UUID

from boto3 import Session
from rich.console import Console

from tools.in_process import forget_own_environment, local_folder, shown
from tools.local.hand_clock import HandClock
from tools.local.local_stack import INSTANCE_ARN, LocalStack
from tools.local.misbehaviour import Answer, Close, Reset
from tools.local.simulation import Simulation
from voicecall_cli import tables
from voicecall_sync.connect.described import from_described
from voicecall_sync.connect.search import PAGE
from voicecall_sync.contact import Contact
from voicecall_sync.outcome import Source
from voicecall_sync.queue.breaker import FAILURES
from voicecall_sync.salesforce.custom_fields import CustomField, parse_setting
from voicecall_sync.salesforce.voice_call import from_contact
from voicecall_sync.settings import OPTIONAL

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
CONCURRENCY = 4
"""The template's default."""
BUSY = timedelta(seconds=0.4)
"""How long an invocation of the worker takes: an assumption, because neither Connect nor Salesforce is real here."""
SHORT = timedelta(seconds=0.05)
"""The same of one that ends at the record or at the breaker: an assumption too."""
LOST_EVENTS = 0.02
TWICE = 0.01
KILLS = 30
MEMORY_GB = 0.5
BREAKER_BOUND = 11
"""So many updates a sandbox spends in an hour's outage. Three, then a probe after 1, 2, 4, 8, 10, … minutes."""
PRICES = {
    "Lambda, requests": 0.20e-6,
    "Lambda, GB-seconds": 0.0000166667,
    "DynamoDB, reads": 0.125e-6,
    "DynamoDB, writes": 0.625e-6,
    "SQS, requests": 0.40e-6,
    "CloudWatch Logs, bytes": 0.50e-9,
}
"""Dollars for one, in us-east-1, on demand, as of November 2026's public price lists."""
LATE_TO_DESCRIBE = 0.01
"""So many calls does Amazon Connect describe as ended only minutes after their event: eventual consistency."""
NO_WORK = 0.2
"""So many agents have no after-contact work. Amazon Connect then never reports its end."""
RECORDING_WAIT = timedelta(minutes=float(OPTIONAL["RECORDING_WAIT_MINUTES"]))
WORK = {15: 0.4, 40: 0.3, 120: 0.25, 900: 0.04, 3 * 3600: 0.01}
"""Seconds of after-contact work: an assumption."""
RECORDED_AFTER = {0: 0.5, 20: 0.25, 65: 0.2, 280: 0.05}
"""Seconds from the end of after-contact work to the recording; three public contact records closed after 64 to 67."""
LATE_RECORDINGS = 0.02
WITH_THE_RECORDING = {"recordingLocation", "totalHoldDuration", "agentInteractionDuration", "totalRecordingDuration"}
RECORDING = {"StorageType": "S3", "MediaStreamType": "AUDIO", "Location": "bucket/call.wav", "Status": "AVAILABLE"}
KINDS = {"answered": 0.75, "hung up in the queue": 0.15, "ended in the flow": 0.05, "transferred": 0.05}


@dataclass
class Ledger:
    """What the day did, counted as it happened.

    Attributes:
        calls: AWS operation -> how often it was called.
        describes: second -> how often DescribeContact was called in it.
        most_live: the most messages that any contact had in the contact queue at once.
        log_bytes: how much the functions logged.
    """

    calls: Counter[str] = field(default_factory=Counter)
    describes: Counter[int] = field(default_factory=Counter)
    events: int = 0
    lost: int = 0
    most_live: int = 0
    log_bytes: int = 0


class CountingLog(io.TextIOBase):
    """A log that is counted and kept."""

    def __init__(self, file: TextIO, ledger: Ledger) -> None:
        self._file = file
        self._ledger = ledger

    def write(self, text: str) -> int:
        """Write."""
        self._ledger.log_bytes += len(text)
        return self._file.write(text)

    def flush(self) -> None:
        """Flush."""
        self._file.flush()


class Day:
    """The day: plans it, plays it, and checks it.

    Args:
        stack: on `clock`.
        clock: at the beginning of the day.
        calls: how many end.
        seed: for what is random.
        ordinary: without outages, kills and the pause; events are lost and messages come twice all the same.
    """

    def __init__(self, stack: LocalStack, clock: HandClock, calls: int, seed: int, *, ordinary: bool = False) -> None:
        self.stack = stack
        self.clock = clock
        self.ledger = Ledger()
        self.finished: list[str] = []
        self.late_recordings: set[str] = set()
        self._contacts: dict[str, dict[str, Any]] = {}
        self._begins = clock.now()
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        session = Session()
        self.world = Simulation(
            stack, clock, sandboxes=CONCURRENCY, busy=BUSY, every=15 * MINUTE, session=lambda: session
        )
        stack.gateway.before = self._count
        stack.connect.put_queue("queue-support", "Support")
        stack.connect.put_user("agent-jane", "jane@example.com")
        self._plan_calls(calls)
        if not ordinary:
            self._plan_troubles()

    def play(self) -> Iterator[timedelta]:
        """Play the day, and another for the second pass; after each hour tell how far it is."""
        for hour in range(1, 51):
            for _ in range(6):
                self.world.run(10 * MINUTE)
                self._look_at_the_queue()
            yield hour * HOUR

    def _count(self, operation: str) -> None:
        self.ledger.calls[operation] += 1
        if operation == "DescribeContact":
            self.ledger.describes[int(self.clock.now().timestamp())] += 1

    def _look_at_the_queue(self) -> None:
        live = Counter(body[body.index('"contactId": "') :][14:50] for body in self.stack.queue.bodies)
        self.ledger.most_live = max(self.ledger.most_live, *live.values(), 0)

    # ---------------------------------------------------------------- what happens

    def _plan_calls(self, calls: int) -> None:
        kinds = self._random.choices(list(KINDS), list(KINDS.values()), k=calls)
        for kind in kinds:
            ended = self._begins + timedelta(seconds=self._random.triangular(600, 86_000, 40_000))
            self.world.plan(ended, lambda kind=kind: self._end(kind))  # type: ignore[misc]

    def _end(self, kind: str, previous: str | None = None) -> None:
        """A contact ends: Connect describes it, and its event comes, unless it is lost."""
        contact_id = str(UUID(int=self._random.getrandbits(128), version=4))
        self.finished.append(contact_id)
        self._describe(contact_id, self._described(kind, contact_id, previous))
        work = self._work_on(contact_id) if kind == "answered" else timedelta()
        if self._random.random() < LATE_TO_DESCRIBE:
            self._describe_late(contact_id, work)
        if self._random.random() < TWICE:
            self.stack.queue.deliver_twice()
        if self._random.random() < LOST_EVENTS:
            self.ledger.lost += 1
        else:
            self.ledger.events += 1
            self.world.plan(self.clock.now() + work + timedelta(seconds=1), lambda: self._tell(contact_id))
        if kind == "transferred":
            later = self.clock.now() + timedelta(seconds=self._random.uniform(30, 900))
            self.world.plan(later, lambda: self._end("answered", previous=contact_id))

    def _describe(self, contact_id: str, changes: dict[str, Any]) -> None:
        self._contacts[contact_id] = {**self._contacts.get(contact_id, {}), **changes}
        self.stack.connect.put_contact(self._contacts[contact_id])

    def _work_on(self, contact_id: str) -> timedelta:
        """Let an agent work on after a call, and let its recording come; return how long the work takes."""
        end, agent = self.clock.now(), self._contacts[contact_id]["AgentInfo"]
        work = timedelta()
        if self._random.random() >= NO_WORK:
            work = timedelta(seconds=self._random.choices(list(WORK), list(WORK.values()))[0])
            self._describe(contact_id, {"AgentInfo": {**agent, "AfterContactWorkStartTimestamp": end}})
        self.world.plan(end + work, lambda: self._end_of_work(contact_id, with_times=bool(work)))
        lag = timedelta(seconds=self._random.choices(list(RECORDED_AFTER), list(RECORDED_AFTER.values()))[0])
        if self._random.random() < LATE_RECORDINGS:
            self.late_recordings.add(contact_id)
            lag = RECORDING_WAIT + 25 * MINUTE
        self.world.plan(end + work + lag, lambda: self._describe(contact_id, {"Recordings": [RECORDING]}))
        return work

    def _end_of_work(self, contact_id: str, *, with_times: bool) -> None:
        """The agent set an attribute last; only after-contact work has an end of its own."""
        changes: dict[str, Any] = {"Attributes": {"tier": "gold", "sfdc-Result__c": "sold"}}
        if with_times:
            agent = self._contacts[contact_id]["AgentInfo"]
            changes["AgentInfo"] = {**agent, "AfterContactWorkEndTimestamp": self.clock.now()}
        self._describe(contact_id, changes)

    def _describe_late(self, contact_id: str, work: timedelta) -> None:
        """Describe a call as still up until some minutes after its event."""
        ended = self._contacts[contact_id].pop("DisconnectTimestamp")
        self._describe(contact_id, {})
        self.world.plan(
            self.clock.now() + work + 4 * MINUTE, lambda: self._describe(contact_id, {"DisconnectTimestamp": ended})
        )

    def _tell(self, contact_id: str) -> None:
        self.world.tell(_event(contact_id, self.clock.now()))

    def _described(self, kind: str, contact_id: str, previous: str | None) -> dict[str, Any]:
        end = self.clock.now()
        contact: dict[str, Any] = {
            "Id": contact_id,
            "Channel": "VOICE",
            "InitiationMethod": "TRANSFER" if previous else "INBOUND",
            "InitiationTimestamp": end - 5 * MINUTE,
            "DisconnectTimestamp": end,
            "DisconnectReason": "CUSTOMER_DISCONNECT",
            "CustomerEndpoint": {"Type": "TELEPHONE_NUMBER", "Address": "+15555550123"},
            "SystemEndpoint": {"Type": "TELEPHONE_NUMBER", "Address": "+15555550199"},
            "Attributes": {"tier": "gold"},
            **({"PreviousContactId": previous} if previous else {}),
        }
        if kind != "ended in the flow":
            contact["QueueInfo"] = {"Id": "queue-support", "EnqueueTimestamp": end - 4 * MINUTE}
        if kind == "answered":
            contact["AgentInfo"] = {"Id": "agent-jane", "ConnectedToAgentTimestamp": end - 3 * MINUTE}
        return contact

    def _plan_troubles(self) -> None:
        salesforce, begins = self.stack.salesforce, self._begins
        self.world.plan(begins + 8 * HOUR, lambda: salesforce.always(Answer(503)))
        self.world.plan(begins + 9 * HOUR, salesforce.behave)
        # Silence, as a connection that ends without an answer: half of the requests had been applied.
        self.world.plan(begins + 11 * HOUR, lambda: salesforce.always(Close(applied=False)))
        self.world.plan(begins + 11.5 * HOUR, lambda: salesforce.always(Reset(applied=True)))
        self.world.plan(begins + 12 * HOUR, salesforce.behave)
        self.world.plan(begins + 14 * HOUR, lambda: self._pause(paused=True))
        self.world.plan(begins + 15 * HOUR, lambda: self._pause(paused=False))
        for _ in range(KILLS):
            moment = begins + timedelta(seconds=self._random.uniform(3600, 80_000))
            looks = self._random.randint(1, 40)
            self.world.plan(moment, lambda looks=looks: self.world.kill_next(looks))  # type: ignore[misc]

    def _pause(self, *, paused: bool) -> None:
        os.environ["RECONCILE_PAUSED"] = str(paused).lower()
        self.world.mapping.is_enabled = not paused
        self.world.renew()

    # ---------------------------------------------------------------- what came of it

    def wrong(self) -> list[str]:
        """Name each finished contact that is neither updated once, nor shown to an operator."""
        wrong = []
        for contact_id in self.finished:
            applied, state = self.stack.salesforce.applied(contact_id), self.stack.state(contact_id)
            if not ((state == "UPDATED" and applied == 1) or (state == "UNCERTAIN" and applied <= 1)):
                wrong.append(f"{contact_id}: {state}, applied {applied} times")
        return wrong

    def too_early(self) -> list[str]:
        """Name each contact whose update lacks what Amazon Connect had of it later."""
        custom_fields = parse_setting(self.stack.environment()["CUSTOM_FIELDS"])
        early = []
        for contact_id in self.finished:
            for body in self.stack.salesforce.applied_bodies(contact_id):
                known = from_described(self._contacts[contact_id], Source.CONTACT_EVENT)
                lacking = _lacking(body, known, custom_fields)
                if lacking and not (contact_id in self.late_recordings and lacking <= WITH_THE_RECORDING):
                    early.append(f"{contact_id}: {', '.join(sorted(lacking))}")
        return early

    def uncertain(self) -> int:
        """Return how many contacts an operator has to look at."""
        return sum(self.stack.state(contact_id) == "UNCERTAIN" for contact_id in self.finished)

    def bound(self) -> int:
        """Return how many may be UNCERTAIN: for two outages, and for each kill its contact and a new breaker."""
        return 2 * CONCURRENCY * BREAKER_BOUND + self.world.kills * (1 + FAILURES)

    def dollars(self) -> dict[str, float]:
        """Return what AWS would charge for a million contacts, by what for."""
        calls, invocations = self.ledger.calls, len(self.world.deliveries) + self.world.kills
        reconciled = self.ledger.calls["BatchGetItem"] * PAGE  # at most a hundred keys each
        used = {
            "Lambda, requests": invocations + len(self.world.answers),
            "Lambda, GB-seconds": MEMORY_GB
            * (
                calls["DescribeContact"] * BUSY.total_seconds()
                + max(0, invocations - calls["DescribeContact"]) * SHORT.total_seconds()
                + self.world.reconciled_for.total_seconds()
            ),
            # A read of many need not be consistent, and costs half.
            "DynamoDB, reads": calls["GetItem"] + min(reconciled, 2 * len(self.finished)) / 2 + calls["Query"],
            # Each write also changes the index of what is open.
            "DynamoDB, writes": 2 * (calls["PutItem"] + calls["UpdateItem"]),
            "SQS, requests": self.ledger.events
            + 2 * invocations
            + sum(calls[name] for name in ("SendMessage", "SendMessageBatch", "ChangeMessageVisibility")),
            "CloudWatch Logs, bytes": self.ledger.log_bytes,
        }
        return {name: used[name] * price * 1e6 / len(self.finished) for name, price in PRICES.items()}

    def looks(self) -> float:
        """Return how often the reconciliation looked at a contact."""
        return float(sum(answer["found"] for answer in self.world.answers) / len(self.finished))


def _lacking(body: dict[str, Any], known: Contact, custom_fields: Mapping[str, CustomField]) -> set[str]:
    """Name what an update lacks of what is known of its contact."""
    properties = from_contact(known, custom_fields).properties
    return {name for name, value in properties.items() if body.get(name) != value}


def _event(contact_id: str, sent_at: datetime) -> dict[str, Any]:
    return {
        "detail-type": "Amazon Connect Contact Event",
        "source": "aws.connect",
        "time": sent_at.isoformat(timespec="seconds"),
        "detail": {"contactId": contact_id, "eventType": "COMPLETED", "channel": "VOICE", "instanceArn": INSTANCE_ARN},
    }


def main(arguments: Sequence[str]) -> int:
    """Play a day; return 0 if it ended as it must."""
    options = _parser().parse_args(arguments)
    console = tables.console()
    forget_own_environment()
    log_path = local_folder() / "day.log"
    beginning = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
    clock = HandClock(beginning)
    started = time.monotonic()
    with ExitStack() as opened:
        file = opened.enter_context(log_path.open("w", encoding="utf-8"))
        stack = opened.enter_context(LocalStack(clock=clock.now))
        os.environ.update(stack.environment() | {"RECONCILE_SCOPE": "all", "RECONCILE_PAUSED": "false"})
        os.environ["RECONCILE_NOT_BEFORE"] = beginning.isoformat()
        ledger = Ledger()
        with contextlib.redirect_stdout(CountingLog(file, ledger)):
            day = Day(stack, clock, options.calls, options.seed, ordinary=options.ordinary)
            day.ledger = ledger
            for hour in day.play():
                _progress(day, hour)
        return _told(console, day, options, time.monotonic() - started, shown(log_path))


def _progress(day: Day, hour: timedelta) -> None:
    waiting = len(day.stack.queue.bodies)
    print(
        f"hour {hour // HOUR:2}: {len(day.finished):6} ended, {len(day.world.deliveries):6} messages taken,"
        f" {waiting:5} in the queue, {day.world.kills:2} killed",
        file=sys.stderr,
    )


def _told(console: Console, day: Day, options: argparse.Namespace, seconds: float, log: str) -> int:
    wrong, early, uncertain, dollars = day.wrong(), day.too_early(), day.uncertain(), day.dollars()
    ledger, updated = day.ledger, len(day.finished) - uncertain - len(wrong)
    table = tables.table_of("What", "How many")
    for what, number in (
        ("contacts that ended, as Amazon Connect has them", f"{len(day.finished)}"),
        ("of these, without an event", f"{ledger.lost}"),
        ("updated once", f"{updated}"),
        ("UNCERTAIN, for an operator", f"{uncertain} (at most {day.bound()})"),
        ("anything else", f"{len(wrong)}"),
        ("sent before all was known", f"{len(early)} (goal 0)"),
        ("recordings that came later than the wait", f"{len(day.late_recordings)}"),
        ("messages handed to the worker", f"{len(day.world.deliveries)}"),
        ("sandboxes killed", f"{day.world.kills}"),
        ("left in the contact queue", f"{len(day.stack.queue.bodies)}"),
        ("left in the dead-letter queue", f"{len(day.stack.dead_letters.bodies)}"),
        ("messages of one contact at once, at most", f"{ledger.most_live} (goal 2)"),
        ("looks of the reconciliation at a contact", f"{day.looks():.2f} (goal 2)"),
        ("contacts described in one second, at most", f"{max(ledger.describes.values())} (quota 10)"),
        *((f"dollars a million contacts: {name}", f"{amount:.2f}") for name, amount in dollars.items()),
        ("dollars a million contacts, together", f"{sum(dollars.values()):.2f} (goal 8)"),
    ):
        table.add_row(what, number)
    console.print(table)
    console.print(f"{options.calls} calls, seed {options.seed}, in {seconds:.0f} s; an invocation is taken to last")
    console.print(f"{BUSY.total_seconds()} s at {MEMORY_GB} GB. The functions' log: {log}")
    for line in wrong[:20]:
        console.print(f"wrong: {line}")
    for line in early[:20]:
        console.print(f"sent too early: {line}")
    empty = not day.stack.queue.bodies and not day.stack.dead_letters.bodies
    good = not wrong and not early and uncertain <= day.bound()
    return 0 if good and empty and ledger.most_live <= 2 else 1  # noqa: PLR2004


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tools day", description=__doc__)
    parser.add_argument("--calls", type=int, default=2000, help="how many calls end in the day (default 2000)")
    parser.add_argument("--ordinary", action="store_true", help="without outages, kills and the pause")
    parser.add_argument("--seed", type=int, default=1, help="for what is random (default 1)")
    return parser
