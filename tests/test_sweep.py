"""Every external call the pipeline makes x every way it can go wrong x every source x redelivery.

Each combination runs one invocation with the fault, in a cold sandbox; then delivers the event again to healthy ones,
until nothing changes any more; then once more ten minutes later, when dead owners are known to be dead. Whatever
happened, the invariants at the end of this module must hold. How many combinations there were is printed in the end.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from tests.conftest import QUICK
from tests.contacts import contact_event, described, flow_event, new_id
from tests.interruptions import AFTER, BEFORE, PATCH, interrupted
from tests.sandbox import Result, Sandbox, ShiftedClock
from tools.local.gateway import Fault
from tools.local.ministack import MiniStack
from tools.local.misbehaviour import Answer, Behaviour, CloseUnread, Hang, Reset
from tools.local.stack import LocalStack
from voicecall_sync.token import issue, parse_secret

FLOW, EVENT = "contact flow", "contact event"
CRASH_BEFORE, CRASH_AFTER = "crash before", "crash after"
ONCE, FROM_THEN_ON = "once", "from then on"

DESCRIBE = ["DescribeContact", "DescribeQueue", "DescribeUser"]
CALLS = {
    "fresh": ["GetSecretValue", "PutItem", PATCH, "UpdateItem"],
    "again": ["GetSecretValue", "PutItem", "PutItem", PATCH, "UpdateItem"],
    "token refused": ["GetSecretValue", "PutItem", PATCH, "UpdateItem"],
    "dead owner": ["GetSecretValue", "PutItem", "UpdateItem"],
}
"""What each scenario calls, in this order; a contact event describes the contact first. A test keeps it true."""

PATCH_FAULTS: dict[Fault, Behaviour] = {
    Fault.REFUSED: CloseUnread(),
    Fault.ERROR: Answer(500, applied=False),
    Fault.LOST: Reset(applied=True),
    Fault.HANG: Hang(applied=False),
    Fault.LATE_HANG: Hang(applied=True),
}
# For the sandbox with the fault. A healthy call that takes longer on a busy machine is one more fault, and must do no
# more harm than the others.
IMPATIENT = {"TEST_AWS_SECONDS": "0.2", "TEST_PATCH_SECONDS": "0.6", "AWS_MAX_ATTEMPTS": "2"}
# Before a second try botocore waits a random part of a second. From this seed on the first four are below 0.06 s; how
# long they are changes nothing here, and elsewhere they stay what they are.
SHORT_PAUSES = 95689
CONNECT_HANGS_SECONDS = "0.1"
"""TEST_AWS_SECONDS while it does: Connect is given four times as long, twice."""


def calls_of(scenario: str, source: str) -> list[str]:
    return [*(DESCRIBE if source == EVENT else []), *CALLS[scenario]]


@dataclass(frozen=True)
class Call:
    """The nth call of an operation, in a scenario, from a source."""

    scenario: str
    source: str
    operation: str
    nth: int

    def __str__(self) -> str:
        return f"{self.scenario}, {self.source}, {self.operation} {self.nth}"


def every_call() -> Iterator[Call]:
    for scenario, source in product(CALLS, (FLOW, EVENT)):
        calls = calls_of(scenario, source)
        for index, operation in enumerate(calls):
            if scenario == "token refused" and operation != "UpdateItem":
                continue  # up to Salesforce's answer it is the fresh one
            yield Call(scenario, source, operation, calls[: index + 1].count(operation))


class Sweep:
    """One contact after another through a shared stack."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        credentials = parse_secret(stack.provisioned_secret(), "", "")
        self.ready_jwt = issue(credentials, datetime.now(UTC) + timedelta(seconds=30)).text
        # These two soon know the names of queue and agent; the sandboxes with a fault are cold, and ask for them.
        stack.connect.put_queue("queue-support", "Support")
        stack.connect.put_user("agent-jane", "jane@example.com")
        self.healthy, self.later = Sandbox(), Sandbox(ShiftedClock(600))
        self._secret = ""

    def event(self, source: str, contact_id: str) -> dict[str, object]:
        return flow_event(contact_id) if source == FLOW else contact_event(contact_id)

    def prepare(self, scenario: str) -> str:
        """Bring a new contact into the state the scenario begins with."""
        # Parsing a key is most of what a cold start costs here, so all but the scenario about tokens do without.
        refused = scenario == "token refused"
        secret = self.stack.provisioned_secret() if refused else json.dumps({"jwt": self.ready_jwt})
        if secret != self._secret:
            self.stack.put_secret(secret)
            self._secret = secret
        contact_id = new_id()
        self.stack.connect.put_contact(described(contact_id))
        if scenario in {"again", "dead owner"}:
            self.stack.dynamodb.put_item(
                TableName=self.stack.table,
                Item={
                    "contactId": {"S": contact_id},
                    "state": {"S": "NOT_APPLIED" if scenario == "again" else "CLAIMED"},
                    "owner": {"S": new_id()},
                    "ownerUntil": {"N": "1700000000"},
                    "retryAt": {"N": "1700000000"},
                    "attempts": {"N": "1"},
                },
            )
        return contact_id

    def run(self, call: Call, way: str, how_often: str) -> tuple[str, Result]:
        """Run the invocation with the fault; return the contact and what the invocation ended in."""
        contact_id = self.prepare(call.scenario)
        event = self.event(call.source, contact_id)
        if call.scenario == "token refused":
            self.stack.salesforce.next(Answer(401))
        if way in {CRASH_BEFORE, CRASH_AFTER}:
            return contact_id, self._crash(call, event, BEFORE if way == CRASH_BEFORE else AFTER)
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
            return contact_id, Sandbox().invoke(event)

    def _crash(self, call: Call, event: object, when: str) -> Result:
        # A flow has 8 s at the most, of which two and a half times the time-out of a call are kept back for settling.
        limits = {"TEST_AWS_SECONDS": "1", "TEST_PATCH_SECONDS": "60", "TEST_FLOW_SECONDS": "8"}
        with interrupted(
            self.stack, {**self.stack.environment(), **limits}, event, call.operation, when, nth=call.nth
        ) as interruption:
            interruption.sandbox.kill()
        return Result()

    def heal(self) -> None:
        self.stack.gateway.heal()
        self.stack.salesforce.behave()

    def redeliver(self, contact_id: str, sources: tuple[str, ...]) -> list[Result]:
        """Deliver to a healthy sandbox until nothing changes any more, and once more ten minutes later."""
        results: list[Result] = []
        for source in sources * 4:
            results.append(self.healthy.invoke(self.event(source, contact_id)))
            if results[-1].status in {"UPDATED", "DUPLICATE"}:
                break
        return [*results, *(self.later.invoke(self.event(source, contact_id)) for source in sources)]


WAYS = [
    *product(Fault, (ONCE,)),
    # What is refused or lost, or hangs late, from then on is to the caller what fails or hangs from then on.
    (Fault.ERROR, FROM_THEN_ON),
    (Fault.HANG, FROM_THEN_ON),
    (CRASH_BEFORE, ONCE),
    (CRASH_AFTER, ONCE),
]


@pytest.fixture(scope="module")
def sweep(ministack: MiniStack) -> Iterator[Sweep]:
    with LocalStack(ministack=ministack, table=f"sweep-{new_id()}") as stack, pytest.MonkeyPatch.context() as patch:
        for name, value in {**stack.environment(), **QUICK}.items():
            patch.setenv(name, value)
        yield Sweep(stack)


@pytest.mark.parametrize("call", list(every_call()), ids=str)
def test_whatever_goes_wrong_at_a_call(
    sweep: Sweep, call: Call, record_property: Callable[[str, object], None]
) -> None:
    # A PATCH is made once, so that it fails "from then on" is no other case.
    ways = [way for way in WAYS if not (call.operation == PATCH and way[1] == FROM_THEN_ON)]
    # It is delivered again by both sources, in turn; which comes first alternates from way to way and call to call.
    for number, (way, how_often) in enumerate(ways, start=len(str(call))):
        sources = (FLOW, EVENT) if number % 2 else (EVENT, FLOW)
        contact_id, result = sweep.run(call, way, how_often)
        sweep.heal()
        found = f"{call}; {way} {how_often}; redelivered by {sources[0]} first: {result}"
        check_at_once(sweep.stack, contact_id, call.source, result, found)
        again = sweep.redeliver(contact_id, sources)
        check_in_the_end(sweep.stack, contact_id, [result, *again], f"{found} {again}")
    record_property("fault combinations", len(ways))


def check_at_once(stack: LocalStack, contact_id: str, source: str, result: Result, found: str) -> None:
    """What must hold right after the invocation with the fault."""
    applied, state = stack.salesforce.applied(contact_id), stack.state(contact_id)
    assert applied <= 1, found
    assert source == EVENT or result.status != "raised", found
    if result.status == "UPDATED":
        assert applied == 1, found
    if state == "UPDATED":
        assert applied == 1, found
    if state in {None, "NOT_APPLIED"}:
        # Nobody was told that it is done, and whoever delivers knows that it is not.
        assert applied == 0, found
        assert result.status in {"RETRY_LATER", "raised", "died"}, found
    if applied == 1:
        assert state in {"CLAIMED", "UPDATED", "UNCERTAIN"}, found


def check_in_the_end(stack: LocalStack, contact_id: str, results: list[Result], found: str) -> None:
    """What must hold after everything: applied once, or not and an operator sees it."""
    applied, state = stack.salesforce.applied(contact_id), stack.state(contact_id)
    assert applied <= 1, found
    assert applied == 1 or state == "UNCERTAIN", found
    assert state in {"UPDATED", "UNCERTAIN"}, found
    assert sum(result.status == "UPDATED" for result in results) <= 1, found


@pytest.mark.parametrize("source", [FLOW, EVENT])
@pytest.mark.parametrize("scenario", CALLS)
def test_the_calls_swept_are_all_the_calls_there_are(
    sweep: Sweep, scenario: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_AWS_SECONDS", "1")  # here a slow answer is no fault to be swept
    monkeypatch.setenv("TEST_FLOW_SECONDS", "8")
    contact_id = sweep.prepare(scenario)
    sweep.stack.gateway.heal()
    if scenario == "token refused":
        sweep.stack.salesforce.next(Answer(401))
    patches_before = len(sweep.stack.salesforce.received)
    in_order: list[str] = []
    sweep.stack.gateway.before = in_order.append
    sweep.stack.salesforce.before_apply = lambda _: in_order.append(PATCH)
    Sandbox().invoke(sweep.event(source, contact_id))
    sweep.stack.salesforce.before_apply = None
    sweep.heal()
    assert in_order == calls_of(scenario, source)
    assert len(sweep.stack.salesforce.received) - patches_before == in_order.count(PATCH)
