"""Every call a reconciliation makes x ways it can go wrong; then healthy runs, and what must hold after them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import QUICK
from tests.contacts import contact_event, new_id
from tests.missed import ended, open_claim, pass_time, put
from tests.sandbox import Context, Sandbox
from tools.local.gateway import Fault
from tools.local.ministack import MiniStack
from tools.local.misbehaviour import Answer
from tools.local.stack import LocalStack

# For the run in which a call hangs; a healthy call that takes longer on a busy machine does not harm there.
IMPATIENT = {"TEST_AWS_SECONDS": "0.15", "TEST_PATCH_SECONDS": "0.6", "AWS_MAX_ATTEMPTS": "2"}
ONCE, FROM_THEN_ON = 1, 1_000_000
CALLS = (
    ("Query", 1),
    ("Query", 2),
    ("GetSecretValue", 1),
    ("GetItem", 1),
    ("SearchContacts", 1),
    ("SearchContacts", 2),
    ("BatchGetItem", 1),
    ("DescribeContact", 1),
    ("DescribeContact", 3),
    ("PutItem", 1),
    ("PutItem", 4),
    ("UpdateItem", 1),
    ("UpdateItem", 3),
)
"""The nth call of an operation; a test keeps it true that there are so many."""
READING = ((Fault.HANG, ONCE), (Fault.ERROR, FROM_THEN_ON))
WRITING = (*READING, (Fault.LOST, ONCE), (Fault.LATE_HANG, ONCE))


@pytest.fixture(scope="module")
def shared(ministack: MiniStack) -> Iterator[LocalStack]:
    with LocalStack(ministack=ministack, table=f"faults-{new_id()}") as stack, pytest.MonkeyPatch.context() as patch:
        for name, value in {**stack.environment(), **QUICK}.items():
            patch.setenv(name, value)
        stack.connect.put_queue("queue-support", "Support")
        yield stack


def prepare(stack: LocalStack) -> list[str]:
    """Three missed calls, one that is due again, one whose owner died; returns the four that can be updated."""
    missed = put(stack, *(ended(60) for _ in range(3)))
    (due,) = put(stack, ended(60))
    stack.salesforce.next(Answer(429))
    Sandbox().invoke(contact_event(due))
    open_claim(stack, new_id(), datetime.now(UTC) - timedelta(minutes=10))
    stack.gateway.heal()
    return [*missed, due]


@pytest.mark.parametrize(("call", "nth"), CALLS)
def test_whatever_goes_wrong_in_a_run(shared: LocalStack, call: str, nth: int) -> None:
    for fault, times in WRITING if call in {"PutItem", "UpdateItem"} else READING:
        contacts = prepare(shared)
        shared.gateway.fail(call, fault, skip=nth - 1, times=times)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in IMPATIENT.items():
                patch.setenv(name, value)
            first = Sandbox().reconcile(context=Context(remaining=30.0))
        shared.gateway.heal()
        pass_time(shared, 3600)
        again = [Sandbox().reconcile() for _ in range(2)]
        found = f"{call} {nth}; {fault} x {times}: {first}, then {again}"
        for contact_id in contacts:
            applied, state = shared.salesforce.applied(contact_id), shared.state(contact_id)
            assert applied <= 1, found
            assert (applied, state) == (1, "UPDATED") or state == "UNCERTAIN", found
        assert again[1]["outcomes"] == {}, found
        assert again[1]["stopped"] is None, found


def test_the_calls_are_all_the_calls_there_are(shared: LocalStack) -> None:
    prepare(shared)
    Sandbox().reconcile()
    made = shared.gateway.calls
    assert set(made) - {"DescribeQueue"} == {call for call, _ in CALLS}
    assert [call for call in CALLS if made.count(call[0]) < call[1]] == []
