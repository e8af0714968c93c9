"""``python3 -m tools bench``: what a contact costs, against a floor of boto3 and one connection, in one run.

Builds the artifact, puts the floor into it, and runs both under Lambda's interface emulator. Python 3.13 runs both
from bytecode. It measures both in turn, for contacts of contact flows and of the queue:

- cold start to first answer
- CPU and wall time per warm contact
- peak memory

Then it measures a PATCH on a kept and on a new connection, and a reconciliation that grows. The simulators run in this
process. The function runs in its own, whose CPU and memory the kernel reports. Salesforce speaks TLS 1.3, as it does in
the cloud; AWS's simulators don't.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import certifi
from rich.console import Console
from rich.table import Table

from tools.in_process import forget_own_environment
from tools.local.certificates import Certificate, issue
from tools.local.local_stack import INSTANCE_ARN, ROOT, LocalStack
from tools.local.runtime import Kit, LambdaRuntime, fetch_client, fetch_sam, find_python
from voicecall_cli import tables
from voicecall_sync.salesforce.token import issue as issue_token
from voicecall_sync.salesforce.token import parse_secret

OURS, FLOOR = "VoiceCall Sync", "floor"
FLOOR_IMPORTED = "floor after our imports"
FLOORS = {FLOOR: "floor.handler", FLOOR_IMPORTED: "floor.after_our_imports"}
FLOW, QUEUE = "contact flow", "contact queue"
HANDLERS = {FLOW: "voicecall_sync.handlers.update_voice_call", QUEUE: "voicecall_sync.handlers.contact_queue"}
PROGRAMS = ("floor.py", "patches.py")
"""Files put into the artifact, so that all have the same packages beside them."""
WAYS = {
    "session": "requests.Session, kept alive",
    "kept": "one connection, kept alive",
    "new": "a new connection each",
}
"""Of ``patches.py``."""
# List prices of us-east-1 in US dollars, x86, on demand, as of November 2026; look yours up.
GB_SECOND, INVOCATION, WRITE_UNIT, READ_UNIT, QUEUE_REQUEST = 0.0000166667, 0.20e-6, 0.625e-6, 0.125e-6, 0.40e-6
MILLION = 1_000_000
MEMORIES = (256, 512, 1024)
SALESFORCE_SECONDS = 0.3
"""Assumed, for its answer and the network."""
LOOKS = 2
"""How often the reconciliation looks at a contact."""
LOOKED_AT_PER_SECOND = 40.0
"""By the default pace: 0.4 pages of a hundred."""
ROUNDS = 50
WRITE_UNITS = 4
"""For a contact: put and update, each once in the table and once in its index."""
READ_UNITS = {FLOW: 0, QUEUE: 1}
"""For a contact: the worker reads its record first."""
QUEUE_REQUESTS = {FLOW: 0, QUEUE: 3}
"""For a contact: sent, received, deleted; what Lambda asks an empty queue is not counted."""


@dataclass(frozen=True, slots=True)
class Warm:
    """What warm contacts took, in milliseconds each, and the peak memory in MB."""

    cpu: float
    wall: float
    peak: float


@dataclass(frozen=True, slots=True)
class Growth:
    """What a reconciliation took, start included: seconds, milliseconds of CPU for each contact, and the peak in MB."""

    contacts: int
    seconds: float
    cpu: float
    peak: float


@dataclass(frozen=True, slots=True)
class Patches:
    """What PATCHes on one kind of connection took, in milliseconds each, and how many connections for each."""

    cpu: float
    wall: float
    connections: float


@dataclass(frozen=True, slots=True)
class Bench:
    """What everything is measured with."""

    kit: Kit
    artifact: Path
    stack: LocalStack
    scratch: Path

    def runtime(self, handler: str, **variables: str) -> LambdaRuntime:
        """Return a function that is not yet running."""
        environment = {**self.stack.environment(), **variables}
        log = self.scratch / "function.log"
        return LambdaRuntime(self.kit, self.artifact, handler, timeout=900, environment=environment, log=log)

    def events(self, kind: str, count: int) -> list[dict[str, Any]]:
        """Return events of so many contacts, which Connect knows from now on if they come through the queue."""
        ids = [str(uuid4()) for _ in range(count)]
        if kind == FLOW:
            return [_flow_event(contact_id) for contact_id in ids]
        self.stack.connect.put_contacts(_answered(ids))
        return [_queue_event(contact_id) for contact_id in ids]

    def cold(self, kind: str) -> dict[str, float]:
        """Return the milliseconds from starting a sandbox of each to its first answer."""
        taken: dict[str, float] = {}
        for name, handler in {OURS: HANDLERS[kind], **FLOORS}.items():
            (event,) = self.events(kind, 1)
            began = time.perf_counter()
            with self.runtime(handler) as function:
                _require(function.invoke(event))
                taken[name] = (time.perf_counter() - began) * 1000
        return taken

    def warm(self, kind: str, contacts: int, rounds: int) -> dict[str, list[Warm]]:
        """Measure both in turn, some contacts at a time."""
        handlers = {OURS: HANDLERS[kind], FLOOR: FLOORS[FLOOR]}
        measured: dict[str, list[Warm]] = {name: [] for name in handlers}
        with ExitStack() as running:
            functions = {name: running.enter_context(self.runtime(handler)) for name, handler in handlers.items()}
            for function in functions.values():
                for event in self.events(kind, 20):
                    _require(function.invoke(event))
            for _ in range(rounds):
                for name, function in functions.items():
                    measured[name].append(_measure(function, self.events(kind, contacts)))
        return measured

    def patches(self, requests: int, rounds: int) -> dict[str, list[Patches]]:
        """Measure PATCHes over TLS in turn, so many in each round."""
        measured: dict[str, list[Patches]] = {way: [] for way in WAYS}
        token = _jwt(self.stack)
        with self.runtime("patches.handler") as function:
            for turn in range(rounds + 1):
                for way, results in measured.items():
                    opened = self.stack.salesforce.connections_accepted
                    cpu, began = _cpu(function) if turn else 0.0, time.perf_counter()
                    _require(function.invoke({"way": way, "requests": requests, "jwt": token}))
                    if turn == 0:  # the start
                        continue
                    wall, cpu = time.perf_counter() - began, _cpu(function) - cpu
                    opened = self.stack.salesforce.connections_accepted - opened
                    results.append(Patches(cpu * 1000 / requests, wall * 1000 / requests, opened / requests))
        return measured

    def reconcile(self, contacts: int, known: int) -> Growth:
        """Measure a window by hand that holds so many contacts, some of them known already."""
        end = datetime.now(UTC) - timedelta(minutes=20)
        window = {"from": (end - timedelta(hours=23)).isoformat(), "to": end.isoformat(), "scope": "all"}
        ids = [str(uuid4()) for _ in range(contacts)]
        self.stack.connect.put_contacts(_missed(ids, end - timedelta(minutes=1)))
        _know(self.stack, ids[:known])
        with self.runtime("voicecall_sync.handlers.reconcile", RECONCILE_SEARCHES_PER_SECOND="10000") as function:
            began = time.perf_counter()
            enqueued = seen = 0
            while window["from"] != window["to"]:  # an invocation takes 15 minutes at most; the next carries on
                answer = function.invoke(window, patience=900)
                if answer.get("through") in {None, window["from"]}:
                    raise SystemExit(f"the reconciliation did not come through: {answer}")
                enqueued, seen = enqueued + answer["enqueued"], seen + answer["known"]
                window["from"] = answer["through"]
            seconds = time.perf_counter() - began
            if seen < known or enqueued != contacts - known:  # steps share the moment in which they meet
                raise SystemExit(f"{seen} known and {enqueued} enqueued of {contacts}, {known} of them known")
            return Growth(contacts, seconds, _cpu(function) * 1000 / contacts, _peak(function))


def main(arguments: Sequence[str]) -> int:
    """Measure, and print tables in Markdown for the docs."""
    parser = argparse.ArgumentParser(prog="python3 -m tools bench", description=__doc__.partition("\n\n")[2])
    parts = ("contacts", "connections", "windows")
    parser.add_argument("--only", choices=parts, nargs="*", default=parts, help="what to measure (all)")
    parser.add_argument("--contacts", type=int, default=20, help="warm contacts in each of 50 rounds (20)")
    parser.add_argument("--starts", type=int, default=11, help="cold starts of each (11)")
    parser.add_argument("--patches", type=int, default=50, help="PATCHes in each of 50 rounds (50)")
    parser.add_argument("--windows", type=int, nargs="*", default=[100, 1000, 10_000], help="(100 1000 10000)")
    parser.add_argument("--known", type=int, nargs="*", default=[1000, 10_000, 100_000], help="(1000 10000 100000)")
    parser.add_argument("--python", default=find_python(), help="a Python 3.13, if none is found")
    options = parser.parse_args(arguments)
    if options.python is None:
        parser.error("no Python 3.13 is found, Lambda's own: name one with --python")
    forget_own_environment()
    console = tables.console()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        scratch = Path(folder)
        console.print("building the artifact, and fetching Lambda's runtime ...")
        fetch_sam(scratch / "sam")
        fetch_client(scratch / "client")
        kit = Kit.of(scratch / "client", scratch / "sam", options.python)
        certificate = _certificate(scratch)
        stack = opened.enter_context(LocalStack(certificate=certificate))
        _furnish(stack)
        bench = Bench(kit, _build(scratch, options.python), stack, scratch)
        if "contacts" in options.only:
            for kind in HANDLERS:
                starts = [bench.cold(kind) for _ in range(options.starts)]
                cold = {name: [start[name] for start in starts] for name in starts[0]}
                console.print(f"cold starts of the {kind} done; warm contacts ...")
                _show_contacts(console, kind, cold, bench.warm(kind, options.contacts, rounds=ROUNDS))
        if "connections" in options.only:
            _show_patches(console, bench.patches(options.patches, rounds=ROUNDS))
        if "windows" in options.only:
            for title, sizes, known in (("enqueued", options.windows, 0), ("known already", options.known, 1)):
                _show_growth(console, title, _growing(bench, certificate, sizes, known))
    return 0


def _growing(bench: Bench, certificate: Certificate, sizes: Sequence[int], known: int) -> Iterator[Growth]:
    for size in sizes:
        with LocalStack(certificate=certificate) as stack:
            _furnish(stack)
            yield replace(bench, stack=stack).reconcile(size, known * size)


def _certificate(scratch: Path) -> Certificate:
    """Return a certificate whose authority is trusted beside the public ones: a start in the cloud loads those too."""
    certificate = issue(scratch)
    trusted = scratch / "trusted.pem"
    trusted.write_text(certifi.contents() + certificate.ca_file.read_text(encoding="ascii"), encoding="utf-8")
    return replace(certificate, ca_file=trusted)


def _build(scratch: Path, python: str) -> Path:
    """Build the artifact, with our programs beside it; bytecode for all."""
    artifact = scratch / "artifact"
    artifact.mkdir()
    command = ["make", "build-UpdateVoiceCallFunction", f"ARTIFACTS_DIR={artifact}"]
    environment = os.environ | {"PYTHON": sys.executable, "PATH": f"{Path(python).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    copies = [shutil.copy(ROOT / "tools" / "bench" / program, artifact) for program in PROGRAMS]
    compiled = [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", *map(str, copies)]
    subprocess.run(compiled, check=True)
    return artifact


def _furnish(stack: LocalStack) -> None:
    stack.put_secret(json.dumps({"jwt": _jwt(stack)}))
    stack.connect.put_queue("queue-support", "Support")
    stack.connect.put_user("agent-jane", "jane@example.com")


def _jwt(stack: LocalStack) -> str:
    """Return a signed token, so that neither side signs: the floor could not."""
    return issue_token(parse_secret(stack.provisioned_secret(), "", ""), datetime.now(UTC)).text


def _flow_event(contact_id: str) -> dict[str, Any]:
    data = {
        "Attributes": {"tier": "gold", "sfdc-Reason__c": "billing"},
        "Channel": "VOICE",
        "ContactId": contact_id,
        "InitiationMethod": "INBOUND",
        "InstanceARN": INSTANCE_ARN,
        "Queue": {"Name": "Support"},
    }
    return {"Name": "ContactFlowEvent", "Details": {"ContactData": data, "Parameters": {}}}


def _queue_event(contact_id: str) -> dict[str, Any]:
    """Return a batch of one message, as Lambda hands it over. It is not in SQS."""
    body = {
        "detail-type": "Amazon Connect Contact Event",
        "source": "aws.connect",
        "detail": {
            "contactId": contact_id,
            "channel": "VOICE",
            "instanceArn": INSTANCE_ARN,
            "eventType": "COMPLETED",
        },
    }
    sent = str(int(time.time() * 1000))
    counts = {"ApproximateReceiveCount": "1", "SentTimestamp": sent}
    message = {"messageId": contact_id, "receiptHandle": "none", "body": json.dumps(body), "attributes": counts}
    return {"Records": [message]}


def _missed(ids: Sequence[str], end: datetime) -> Iterator[dict[str, Any]]:
    """Return calls without an agent, spread over the 22 hours before that."""
    step = timedelta(hours=22) / max(1, len(ids))
    for number, contact_id in enumerate(ids):
        yield _call(contact_id, end - number * step)


def _answered(ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Return calls that an agent took."""
    ended = datetime.now(UTC) - timedelta(minutes=2)
    agent = {
        "Id": "agent-jane",
        "ConnectedToAgentTimestamp": ended - timedelta(minutes=3),
        "AfterContactWorkStartTimestamp": ended,
        "AfterContactWorkEndTimestamp": ended + timedelta(seconds=30),
    }
    for contact_id in ids:
        attributes = {"tier": "gold", "sfdc-Reason__c": "billing"}
        call = {**_call(contact_id, ended), "AgentInfo": agent, "Attributes": attributes}
        yield {**call, "Recordings": [{"StorageType": "S3", "MediaStreamType": "AUDIO", "Location": "bucket/call.wav"}]}


def _call(contact_id: str, ended: datetime) -> dict[str, Any]:
    return {
        "Id": contact_id,
        "Channel": "VOICE",
        "InitiationMethod": "INBOUND",
        "InitiationTimestamp": ended - timedelta(minutes=5),
        "DisconnectTimestamp": ended,
        "QueueInfo": {"Id": "queue-support", "EnqueueTimestamp": ended - timedelta(minutes=4)},
    }


def _know(stack: LocalStack, ids: Sequence[str]) -> None:
    for start in range(0, len(ids), 25):
        puts: list[Any] = [
            {"PutRequest": {"Item": {"contactId": {"S": contact_id}, "state": {"S": "UPDATED"}}}}
            for contact_id in ids[start : start + 25]
        ]
        stack.dynamodb.batch_write_item(RequestItems={stack.table: puts})


def _measure(function: LambdaRuntime, events: Sequence[object]) -> Warm:
    cpu, began, contacts = _cpu(function), time.perf_counter(), len(events)
    for event in events:
        _require(function.invoke(event))
    wall = time.perf_counter() - began
    return Warm((_cpu(function) - cpu) * 1000 / contacts, wall * 1000 / contacts, _peak(function))


def _cpu(function: LambdaRuntime) -> float:
    """Return the CPU seconds the function's process has used, system time included."""
    (runtime,) = function.runtimes()
    return time.clock_gettime((~runtime.pid << 3) | 2)  # Linux's id of a process's CPU clock (clock_getcpuclockid)


def _peak(function: LambdaRuntime) -> float:
    """Return the peak of the process's resident memory, in MB."""
    (runtime,) = function.runtimes()
    status = Path(f"/proc/{runtime.pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def _require(answer: Any) -> None:  # noqa: ANN401 - JSON
    of_flow = isinstance(answer, Mapping) and answer.get("status") == "UPDATED"
    if not of_flow and answer != {"batchItemFailures": []}:
        raise SystemExit(f"not updated: {answer}")


def _show_contacts(
    console: Console, kind: str, cold: Mapping[str, list[float]], warm: Mapping[str, list[Warm]]
) -> None:
    table = tables.table_of(f"{kind}, median", FLOOR, OURS, "ratio")
    rows = {
        "cold start to first answer, ms": (cold[FLOOR], cold[OURS]),
        "the same, the floor with our imports": (cold[FLOOR_IMPORTED], cold[OURS]),
        "CPU of a warm contact, ms": ([one.cpu for one in warm[FLOOR]], [one.cpu for one in warm[OURS]]),
        "wall of a warm contact, ms": ([one.wall for one in warm[FLOOR]], [one.wall for one in warm[OURS]]),
        "peak memory, MB": ([one.peak for one in warm[FLOOR]], [one.peak for one in warm[OURS]]),
    }
    for title, (floor, ours) in rows.items():
        # Of those measured one after the other: how fast a machine is, changes while it is measured.
        ratio = statistics.median(one / other for one, other in zip(ours, floor, strict=True))
        table.add_row(title, f"{statistics.median(floor):.1f}", f"{statistics.median(ours):.1f}", f"{ratio:.2f}")
    console.print(table)
    seconds = MILLION * (statistics.median(one.wall for one in warm[OURS]) / 1000 + SALESFORCE_SECONDS)
    charges = {
        "write units": (WRITE_UNITS * MILLION, WRITE_UNIT),
        "read units": (READ_UNITS[kind] * MILLION, READ_UNIT),
        "SQS requests": (QUEUE_REQUESTS[kind] * MILLION, QUEUE_REQUEST),
    }
    console.print(_cost(f"a million of the {kind}", seconds, MILLION, charges))
    if kind == QUEUE:
        looks = LOOKS * MILLION
        charges = {"read units": (looks, READ_UNIT)}
        console.print(_cost("a million looked at twice", looks / LOOKED_AT_PER_SECOND, 0, charges))


def _show_patches(console: Console, measured: Mapping[str, list[Patches]]) -> None:
    table = tables.table_of("a PATCH over TLS 1.3, median", "CPU, ms", "wall, ms", "connections")
    for way, results in measured.items():
        cpu, wall = (statistics.median(of) for of in zip(*((one.cpu, one.wall) for one in results), strict=True))
        connections = statistics.median(one.connections for one in results)
        table.add_row(WAYS[way], f"{cpu:.2f}", f"{wall:.2f}", f"{connections:.2f}")
    console.print(table)


def _cost(title: str, seconds: float, invocations: int, charges: Mapping[str, tuple[int, float]]) -> Table:
    """Return what a million contacts cost, by memory size.

    Args:
        title: Of the last column.
        seconds: How long Lambda runs for all of them.
        invocations: How often it is invoked for them.
        charges: What else is paid for: how many, and dollars for each.
    """
    charged = {what: count * price for what, (count, price) in charges.items() if count}
    table = tables.table_of("MB", "GB-seconds", "Lambda, $", *(f"{what}, $" for what in charged), f"{title}, $")
    for memory in MEMORIES:
        used = seconds * memory / 1024
        function = used * GB_SECOND + invocations * INVOCATION
        dollars = (f"{one:.2f}" for one in (function, *charged.values(), function + sum(charged.values())))
        table.add_row(str(memory), f"{used:,.0f}", *dollars)
    return table


def _show_growth(console: Console, title: str, measured: Iterator[Growth]) -> None:
    table = tables.table_of(f"contacts, {title}", "seconds", "contacts a second", "CPU of each, ms", "peak MB")
    for one in measured:
        console.print(f"{one.contacts} {title}: {one.seconds:.1f} s", style="dim")
        rate = one.contacts / one.seconds
        table.add_row(f"{one.contacts:,}", f"{one.seconds:.1f}", f"{rate:.0f}", f"{one.cpu:.2f}", f"{one.peak:.1f}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
