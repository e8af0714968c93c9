"""Every request x every way it can go wrong x every source x redelivery.

Each combination runs one invocation with the fault in a cold sandbox, for a message or for a contact flow. Then SQS and
Lambda do what they would do, on a clock that jumps. The contact's event comes twice more, newest first every other
time. In the end `check_in_the_end` must hold. The number of combinations is printed.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from tests.conftest import QUICK
from tests.support.contacts import contact_event, flow_event, new_id
from tests.support.interruptions import AFTER, BEFORE, PATCH, interrupted
from tests.support.sandbox import QUEUE, UPDATE, Result
from tests.support.simulated import HOUR, MINUTE, World
from tools.local.gateway import AwsGateway, Fault
from tools.local.hand_clock import HandClock
from tools.local.local_stack import LocalStack
from tools.local.ministack import MiniStack
from tools.local.misbehaviour import Answer, Behaviour, CloseUnread, Hang, Reset

CRASH_BEFORE, CRASH_AFTER = "crash before", "crash after"
ONCE, FROM_THEN_ON = "once", "from then on"

DESCRIBE = ["DescribeContact", "DescribeQueue", "DescribeUser"]
SEND = ["GetSecretValue", "PutItem", PATCH, "UpdateItem"]
COME_BACK = ["GetItem", "UpdateItem", "ChangeMessageVisibility"]
CALLS = {
    "flow": SEND,
    "flow, put off": [*SEND, "GetItem", "UpdateItem", "SendMessage"],
    "flow, unreachable": ["GetSecretValue", "GetItem", "PutItem", "SendMessage"],
    "event": ["GetItem", *DESCRIBE, *SEND],
    "event, put off": ["GetItem", *DESCRIBE, *SEND, *COME_BACK],
    "event, not finished": ["GetItem", "DescribeContact", "GetItem", "PutItem", "ChangeMessageVisibility"],
    "event, token refused": ["GetItem", *DESCRIBE, *SEND, *COME_BACK],
    "event, expired claim": ["GetItem", "UpdateItem"],
    "event, not ours": ["GetItem", *DESCRIBE[:1], "GetItem", "UpdateItem"],
    "found": ["GetItem", *DESCRIBE, *SEND],
    "released": ["GetItem", *DESCRIBE, *SEND],
    "redriven": ["GetItem", "UpdateItem", "GetItem", *DESCRIBE, *SEND],
    "after a week": ["GetItem", *DESCRIBE[:1], "GetItem", "SendMessage", "GetItem", "UpdateItem"],
    "invalid": ["SendMessage"],
}
"""The requests that the invocation of each scenario makes, in this order. A test keeps it true."""
SWEPT_ELSEWHERE = {
    "event, put off": [*DESCRIBE, *SEND[:3]],
    "event, token refused": [*DESCRIBE, *SEND[:3], *COME_BACK],
    "event, not finished": ["GetItem", "DescribeContact"],
    "event, not ours": ["GetItem", "DescribeContact"],
    "after a week": ["GetItem", "DescribeContact"],
    "flow, put off": SEND[:3],
    "flow, unreachable": ["GetSecretValue"],
    "released": [*DESCRIBE, "GetSecretValue", PATCH, "UpdateItem"],
    "redriven": [*DESCRIBE, "GetSecretValue", PATCH],
    "found": [*DESCRIBE, "GetSecretValue"],
}
"""Requests that are the same case as in the scenarios above."""
ENDS: dict[str, set[str | None]] = {
    "event, not ours": {"NOT_APPLIED"},
    "after a week": {"NOT_APPLIED", "UPDATED", "UNCERTAIN"},
    "invalid": {None},
}
"""What the contact's record may say in the end, where it is not UPDATED or UNCERTAIN."""

PATCH_FAULTS: dict[Fault, Behaviour] = {
    Fault.REFUSED: CloseUnread(),
    Fault.ERROR: Answer(500, applied=False),
    Fault.LOST: Reset(applied=True),
    Fault.HANG: Hang(applied=False),
    Fault.LATE_HANG: Hang(applied=True),
}
# For the sandbox with the fault. On a busy machine a healthy request may take longer. That is one more fault, and must
# do no more harm than the others.
IMPATIENT = {"TEST_AWS_SECONDS": "0.2", "TEST_PATCH_SECONDS": "0.6", "AWS_MAX_ATTEMPTS": "2"}
# Before a second try botocore waits a random part of a second. From this seed on the first four are below 0.06 s.
# The length of these pauses changes nothing here.
SHORT_PAUSES = 95689
CONNECT_HANGS_SECONDS = "0.1"
"""TEST_AWS_SECONDS while it does. Requests to Connect have four times as long, twice."""


@dataclass(frozen=True)
class Call:
    """The nth request of an operation, in a scenario."""

    scenario: str
    operation: str
    nth: int

    def __str__(self) -> str:
        return f"{self.scenario}, {self.operation} {self.nth}"

    @property
    def of_a_flow(self) -> bool:
        return self.scenario.startswith("flow")


def every_call() -> Iterator[Call]:
    for scenario, calls in CALLS.items():
        left_out = list(SWEPT_ELSEWHERE.get(scenario, ()))
        for index, operation in enumerate(calls):
            if operation in left_out:
                left_out.remove(operation)
                continue
            yield Call(scenario, operation, calls[: index + 1].count(operation))


class Sweep:
    """One contact after another through a shared stack, on one clock."""

    def __init__(self, stack: LocalStack, clock: HandClock) -> None:
        self.stack = stack
        self.world = World(stack, clock)
        self.healthy = self.world.new_sandbox()
        stack.connect.put_queue("queue-support", "Support")
        stack.connect.put_user("agent-jane", "jane@example.com")
        # The healthy one learns the names and parses the key here, which is most of what a cold start costs.
        self.world.use(self.healthy)
        self.settle(self.world.told())

    def prepare(self, scenario: str) -> str:
        """Bring a new contact, and the services, into the state that the scenario begins with."""
        changes: dict[str, dict[str, Any]] = {
            "event, not finished": {"DisconnectTimestamp": None},
            "event, not ours": {"Channel": "CHAT"},
        }
        contact_id = self.world.answered(**changes.get(scenario, {}))
        self._leave_record(scenario, contact_id)
        if scenario == "event, token refused":
            self.stack.put_secret(self.stack.provisioned_secret())  # a key signs another token, a stored token stays
            self.stack.salesforce.next(Answer(401))
        if scenario.endswith("put off"):
            self.stack.salesforce.next(Answer(429))
        if scenario == "flow, unreachable":
            self.stack.salesforce.stop()
        return contact_id

    def _leave_record(self, scenario: str, contact_id: str) -> None:
        now = self.world.now.timestamp()
        waiting: dict[str, Any] = {"state": "NOT_APPLIED", "open": "NOT_APPLIED", "attempts": 0, "backBy": now}
        by_reconciliation = {**waiting, "source": "reconcile", "firstSource": "reconcile", "scope": "all"}
        week_ago = {"failedSince": now - 8 * 86_400, "failures": 100}
        records = {
            "event, expired claim": {"state": "CLAIMED", "open": "CLAIMED", "ownerUntil": now - 600, "attempts": 1},
            "event, not ours": waiting,
            "found": by_reconciliation,
            "released": {**waiting, "attempts": 1, "releasedAt": now, "releasedBy": "operator"},
            "redriven": {**waiting, **week_ago, "deadLetteredAt": now - 60},
            "after a week": {**waiting, **week_ago},
        }
        values = records.get(scenario)
        if values is not None:
            values = {"contactId": contact_id, "owner": new_id(), "since": now, "detail": "waits", **values}
            item = {name: {"N": str(v)} if isinstance(v, int | float) else {"S": v} for name, v in values.items()}
            self.stack.dynamodb.put_item(TableName=self.stack.table, Item=item)

    def message(self, scenario: str, contact_id: str) -> object:
        ours = {"found": "reconcile", "released": "operator"}.get(scenario)
        if scenario == "invalid":
            return {"contactId": contact_id, "source": "stranger"}
        return {"contactId": contact_id, "source": ours} if ours else contact_event(contact_id)

    def invoke(self, scenario: str, contact_id: str) -> Result:
        """Run the scenario's invocation in a cold sandbox."""
        cold = self.world.new_sandbox()
        self.world.use(cold)
        if scenario == "after a week":
            self.stack.connect.fail_next("DescribeContact", "ResourceNotFoundException", 404)
        if scenario.startswith("flow"):
            return Result(answer=dict(self.world.flow(flow_event(contact_id))))
        self.stack.queue.send(self.message(scenario, contact_id), delay=0)
        self.world.run(timedelta())
        return Result()

    def run(self, call: Call, way: str, how_often: str) -> tuple[str, Result]:
        """Run the invocation with the fault; return the contact, and for a flow what the invocation ended in."""
        contact_id = self.prepare(call.scenario)
        if way in {CRASH_BEFORE, CRASH_AFTER}:
            return contact_id, self._crash(call, contact_id, BEFORE if way == CRASH_BEFORE else AFTER)
        fault = Fault(way)
        if call.operation == PATCH:
            self.stack.salesforce.next(PATCH_FAULTS[fault])
            self.stack.salesforce.always(None if how_often == ONCE else PATCH_FAULTS[fault])
        else:
            times = 1 if how_often == ONCE else 1_000_000
            self.stack.gateway.fail(call.operation, fault, skip=call.nth - 1, times=times)
        random.seed(SHORT_PAUSES)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in IMPATIENT.items():
                patch.setenv(name, value)
            if call.operation in DESCRIBE and fault in {Fault.HANG, Fault.LATE_HANG}:
                patch.setenv("TEST_AWS_SECONDS", CONNECT_HANGS_SECONDS)
            return contact_id, self.invoke(call.scenario, contact_id)

    def _crash(self, call: Call, contact_id: str, when: str) -> Result:
        """Kill the invocation at the request: a real process, with a message that SQS then gives again."""
        # A flow has 8 s at the most. Of these, two and a half times the time-out of a request are kept for settling.
        limits = {"TEST_AWS_SECONDS": "1", "TEST_PATCH_SECONDS": "60", "TEST_FLOW_SECONDS": "8"}
        if call.scenario == "after a week":
            self.stack.connect.fail_next("DescribeContact", "ResourceNotFoundException", 404)
        if call.of_a_flow:
            event, handler = flow_event(contact_id), UPDATE
        else:
            self.stack.queue.send(self.message(call.scenario, contact_id), delay=0)
            event, handler = self.world.mapping.receive(), QUEUE
        ahead = (self.world.now - datetime.now(UTC)).total_seconds()
        environment = {**self.stack.environment(), **limits}
        with interrupted(
            self.stack, environment, event, call.operation, when, nth=call.nth, handler=handler, ahead=ahead
        ) as interruption:
            interruption.sandbox.kill()
        return Result()

    def heal(self, scenario: str) -> None:
        self.stack.gateway.heal()
        self.stack.salesforce.behave()
        self.stack.salesforce.start()
        self.world.use(self.healthy)
        if scenario == "event, token refused":
            self.stack.put_secret(self.stack.jwt_secret())

    def redeliver(self, call: Call, contact_id: str, *, newest_first: bool) -> None:
        """Deliver the messages that remain, and the contact's event twice more."""
        if call.scenario == "event, not finished":
            self.world.change(contact_id, DisconnectTimestamp=self.world.now)
        if call.of_a_flow:
            self.world.flow(flow_event(contact_id))
        if call.scenario != "invalid":
            self.stack.queue.turn_round(newest_first=newest_first)
            for _ in range(2):
                self.stack.queue.send(contact_event(contact_id), delay=0)
        self.settle(contact_id)
        self.stack.queue.turn_round(newest_first=False)

    def settle(self, contact_id: str) -> None:
        """Let time pass until the contact is done; if that takes hours, run the schedule once."""
        for span in (7 * MINUTE, 20 * MINUTE, 3 * HOUR):
            self.world.run(span)
            if self.world.live(contact_id) == 0 and self.stack.state(contact_id) not in {"CLAIMED", "NOT_APPLIED"}:
                return
        self.world.reconcile()
        self.world.run(2 * HOUR)


WAYS = [
    *product(Fault, (ONCE,)),
    # From then on, a refused or lost request looks like one that fails, and a late hang like a hang.
    (Fault.ERROR, FROM_THEN_ON),
    (Fault.HANG, FROM_THEN_ON),
    (CRASH_BEFORE, ONCE),
    (CRASH_AFTER, ONCE),
]


@pytest.fixture(scope="module")
def sweep(ministack: MiniStack) -> Iterator[Sweep]:
    clock = HandClock(datetime.now(UTC))
    with (
        AwsGateway(aws=ministack.url) as gateway,
        LocalStack(ministack=ministack, gateway=gateway, table=f"sweep-{new_id()}", clock=clock.now) as stack,
        pytest.MonkeyPatch.context() as patch,
    ):
        # Open contacts are looked at in any scope. A search of all the hours that pass here would only take time.
        for name, value in {**stack.environment(), **QUICK, "RECONCILE_SCOPE": "none"}.items():
            patch.setenv(name, value)
        yield Sweep(stack, clock)


@pytest.mark.parametrize("call", list(every_call()), ids=str)
def test_every_fault_at_every_request(
    sweep: Sweep, call: Call, record_property: Callable[[str, object], None], caplog: pytest.LogCaptureFixture
) -> None:
    # A PATCH is sent once, so "from then on" is the same case as "once".
    ways = [way for way in WAYS if not (call.operation == PATCH and way[1] == FROM_THEN_ON)]
    for number, (way, how_often) in enumerate(ways, start=len(str(call))):
        contact_id, result = sweep.run(call, way, how_often)
        sweep.heal(call.scenario)
        record = sweep.world.record(contact_id)
        case = f"{call}; {way} {how_often}: {result} {record}"
        # On a busy machine the settle may come after its time-out: the message is done, and the record still open.
        late = any(vars(line).get("contactId") == contact_id and "trueState" in vars(line) for line in caplog.records)
        check_at_once(sweep, call, contact_id, result, record.get("state"), case, settled_late=late)
        sweep.redeliver(call, contact_id, newest_first=number % 2 == 0)
        record = sweep.world.record(contact_id)
        check_in_the_end(sweep, call, contact_id, record, f"{case}; in the end {record}")
    record_property("fault combinations", len(ways))


def check_at_once(
    sweep: Sweep, call: Call, contact_id: str, result: Result, state: str | None, case: str, *, settled_late: bool
) -> None:
    """What must hold right after the invocation with the fault."""
    applied = sweep.stack.salesforce.applied(contact_id)
    live, parked = sweep.world.live(contact_id), sweep.world.parked(contact_id)
    assert applied <= 1, case
    assert live <= 1, case
    if state == "UPDATED" or result.status == "UPDATED":
        assert applied == 1, case
    if state in {None, "NOT_APPLIED"}:
        # The queue, or the flow that asked, knows that it is not done.
        assert applied == 0, case
        assert live + parked == 1 or call.of_a_flow or call.scenario in ENDS or settled_late, case
        assert not call.of_a_flow or result.status in {"RETRY_LATER", "died"}, case
        assert result.status != "RETRY_LATER" or live == 1 or state == "NOT_APPLIED" or told_so(result), case
    if applied == 1:
        assert state in {"CLAIMED", "UPDATED", "UNCERTAIN"}, case


def told_so(result: Result) -> bool:
    return result.answer is not None and "could not be left in the contact queue" in result.answer["detail"]


def check_in_the_end(sweep: Sweep, call: Call, contact_id: str, record: dict[str, Any], case: str) -> None:
    """What must hold after everything: applied once, shown to an operator, ignored or parked."""
    applied, state = sweep.stack.salesforce.applied(contact_id), record.get("state")
    live, parked = sweep.world.live(contact_id), sweep.world.parked(contact_id)
    sweep.stack.dead_letters.clear()
    assert applied <= 1, case
    assert live == 0, case
    assert state in ENDS.get(call.scenario, {"UPDATED", "UNCERTAIN"}), case
    assert (state == "UPDATED") == (applied == 1) or state == "UNCERTAIN", case
    if state == "NOT_APPLIED":
        assert "open" not in record or ("deadLetteredAt" in record and parked >= 1), case
    if call.scenario == "invalid":
        assert parked >= 1, case


@pytest.mark.parametrize("scenario", CALLS)
def test_the_requests_swept_are_all_there_are(sweep: Sweep, scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_AWS_SECONDS", "1")  # here a slow answer is not one of the faults
    monkeypatch.setenv("TEST_FLOW_SECONDS", "8")
    contact_id = sweep.prepare(scenario)
    sweep.stack.gateway.heal()
    patches_before = len(sweep.stack.salesforce.received)
    in_order: list[str] = []
    sweep.stack.gateway.before = in_order.append
    sweep.stack.salesforce.before_apply = lambda _: in_order.append(PATCH)
    sweep.invoke(scenario, contact_id)
    sweep.stack.salesforce.before_apply = None
    sweep.heal(scenario)
    assert in_order == CALLS[scenario]
    assert len(sweep.stack.salesforce.received) - patches_before == in_order.count(PATCH)
    sweep.stack.queue.clear()
    sweep.stack.dead_letters.clear()
