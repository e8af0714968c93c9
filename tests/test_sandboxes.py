"""Sandboxes that are killed, frozen, many at once: real processes, against a table that checks and sets at once."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.contacts import contact_event, flow_event, new_id
from tests.interruptions import AFTER, BEFORE, PATCH, PATIENT, PATIENT_CONTEXT, interrupted
from tests.missed import QUOTAS_LIFTED, ended, pass_time, put, updated
from tests.sandbox import (
    RECONCILE,
    SCHEDULED,
    ProcessSandbox,
    Result,
    Sandbox,
    ShiftedClock,
    fork_server_is_loaded,
)
from tools.local.stack import LocalStack

Finished = Callable[[str], str]
LONG_AFTER = 3600.0


@pytest.fixture
def environment(stack: LocalStack) -> dict[str, str]:
    return {**stack.environment(), **PATIENT, **QUOTAS_LIFTED}


def long_after(event: object) -> Result:
    """Deliver an event to another sandbox an hour later, when whoever had the contact must be dead."""
    return Sandbox(ShiftedClock(LONG_AFTER)).invoke(event)


def in_another_process(environment: dict[str, str], event: object, ahead: float = 0.0) -> Result:
    with ProcessSandbox(environment, event, context=PATIENT_CONTEXT, ahead=ahead) as sandbox:
        return sandbox.result()


def test_a_process_costs_no_more_than_it_must() -> None:
    """Three hundred of them are started: each would load a third of a second's worth of modules, and nobody notice."""
    assert fork_server_is_loaded()


def test_sixteen_sandboxes_on_one_event(stack: LocalStack, environment: dict[str, str], finished: Finished) -> None:
    contact_id = finished(new_id())
    event = contact_event(contact_id)
    start_together(stack, "PutItem", 16)
    statuses = statuses_of(environment, [event] * 16)
    assert statuses == {"UPDATED": 1, "DUPLICATE": 15}
    assert stack.salesforce.applied(contact_id) == 1
    assert stack.state(contact_id) == "UPDATED"


def test_sixteen_sandboxes_claim_again_together(
    stack: LocalStack, environment: dict[str, str], finished: Finished
) -> None:
    contact_id = finished(new_id())
    event = contact_event(contact_id)
    stack.salesforce.stop()
    assert Sandbox().invoke(event).status == "raised"
    stack.salesforce.start()
    start_together(stack, "PutItem", 16)
    statuses = statuses_of(environment, [event] * 16)
    assert statuses == {"UPDATED": 1, "DUPLICATE": 15}
    assert stack.salesforce.applied(contact_id) == 1


def test_a_flow_and_an_event_at_once(stack: LocalStack, environment: dict[str, str], finished: Finished) -> None:
    contact_id = finished(new_id())
    events = [flow_event(contact_id), contact_event(contact_id)] * 4
    # A flow has 8 seconds at the most, which a small machine may use up.
    statuses = statuses_of({**environment, "TEST_AWS_SECONDS": "1.5", "TEST_FLOW_SECONDS": "8"}, events)
    assert statuses.keys() <= {"UPDATED", "DUPLICATE", "RETRY_LATER"}
    assert stack.salesforce.applied(contact_id) == statuses["UPDATED"] <= 1
    assert statuses["UPDATED"] == 1 or stack.state(contact_id) == "NOT_APPLIED"


def statuses_of(environment: dict[str, str], events: list[dict[str, object]]) -> Counter[str]:
    """Run each event in a process of its own, all at once; they have started before, however long that takes."""
    with ExitStack() as running:
        sandboxes = [
            running.enter_context(ProcessSandbox(environment, event, context=PATIENT_CONTEXT, held=True))
            for event in events
        ]
        for sandbox in sandboxes:
            sandbox.wait_until_warm()
        for sandbox in sandboxes:
            sandbox.let_go()
        return Counter(sandbox.result(60).status for sandbox in sandboxes)


def start_together(stack: LocalStack, operation: str, parties: int) -> None:
    """Hold back the operation's first calls until that many are there, so that they really race."""
    barrier = threading.Barrier(parties)
    held = iter(range(parties))
    lock = threading.Lock()

    def wait(called: str) -> None:
        if called == operation:
            with lock:
                first = next(held, None) is not None
            if first:
                barrier.wait(30)

    stack.gateway.before = wait


CALLS = ["DescribeContact", "GetSecretValue", "PutItem", PATCH, "UpdateItem"]


@pytest.mark.parametrize("when", [BEFORE, AFTER])
@pytest.mark.parametrize("call", CALLS)
def test_a_sandbox_is_killed(
    stack: LocalStack, environment: dict[str, str], finished: Finished, call: str, when: str
) -> None:
    """Killed with a call under way; then Lambda delivers the event again, with the same request id."""
    contact_id = finished(new_id())
    event = contact_event(contact_id)
    with interrupted(stack, environment, event, call, when) as interruption:
        interruption.sandbox.kill()

    before_the_claim = CALLS.index(call) < 2 or (call, when) == ("PutItem", BEFORE)
    settled = (call, when) == ("UpdateItem", AFTER)
    sent = CALLS.index(call) > 3 or (call, when) == (PATCH, AFTER)
    assert stack.state(contact_id) == (None if before_the_claim else "UPDATED" if settled else "CLAIMED")
    assert stack.salesforce.applied(contact_id) == (1 if sent else 0)

    again = Sandbox().invoke(event, PATIENT_CONTEXT)
    assert again.status == ("UPDATED" if before_the_claim else "DUPLICATE")
    assert long_after(event).status == "DUPLICATE"
    assert stack.state(contact_id) == ("UPDATED" if before_the_claim or settled else "UNCERTAIN")
    assert stack.salesforce.applied(contact_id) == (1 if before_the_claim or sent else 0)


@pytest.mark.parametrize("when", [BEFORE, AFTER])
@pytest.mark.parametrize("call", CALLS)
def test_a_sandbox_is_frozen_and_thaws_an_hour_later(
    stack: LocalStack, environment: dict[str, str], finished: Finished, call: str, when: str
) -> None:
    """Meanwhile the event is delivered again: at once, and when everybody must think the first sandbox dead."""
    contact_id = finished(new_id())
    event = contact_event(contact_id)
    with interrupted(stack, environment, event, call, when) as interruption:
        interruption.sandbox.freeze()
        others = [in_another_process(environment, event).status, in_another_process(environment, event, 3600).status]
        interruption.sandbox.jump(LONG_AFTER)
        interruption.release()
        interruption.sandbox.thaw()
        thawed = interruption.sandbox.result().status
    before_the_claim = CALLS.index(call) < 2 or (call, when) == ("PutItem", BEFORE)
    if before_the_claim:
        assert others == ["UPDATED", "DUPLICATE"]
        assert thawed in {"DUPLICATE", "raised"}  # it finds the contact done, or its own time over
        assert stack.salesforce.applied(contact_id) == 1
        return
    assert others == ["DUPLICATE", "DUPLICATE"]
    sent = CALLS.index(call) > 3 or (call, when) == (PATCH, AFTER)
    assert stack.salesforce.applied(contact_id) == (1 if sent else 0)
    assert stack.state(contact_id) == {"PutItem": "NOT_APPLIED", "UpdateItem": "UPDATED"}.get(
        call, "UPDATED" if when == AFTER else "UNCERTAIN"
    )


def test_a_frozen_owner_thaws_after_an_operator_released_the_contact(
    stack: LocalStack, environment: dict[str, str], finished: Finished
) -> None:
    """The worst of all: it has the claim, had not sent yet, and by now somebody else has, rightly."""
    contact_id = finished(new_id())
    event = contact_event(contact_id)
    with interrupted(stack, environment, event, "PutItem", AFTER) as interruption:
        interruption.sandbox.freeze()
        assert in_another_process(environment, event, 3600).status == "DUPLICATE"
        assert stack.state(contact_id) == "UNCERTAIN"
        release_as_an_operator_would(stack, contact_id)
        assert in_another_process(environment, event).status == "UPDATED"
        interruption.sandbox.jump(LONG_AFTER)
        interruption.release()
        interruption.sandbox.thaw()
        interruption.sandbox.result()
    assert stack.salesforce.applied(contact_id) == 1
    assert stack.state(contact_id) == "UPDATED"


def release_as_an_operator_would(stack: LocalStack, contact_id: str) -> None:
    stack.dynamodb.update_item(
        TableName=stack.table,
        Key={"contactId": {"S": contact_id}},
        UpdateExpression="SET #state = :state, #owner = :owner, retryAt = :now",
        ExpressionAttributeNames={"#state": "state", "#owner": "owner"},
        ExpressionAttributeValues={":state": {"S": "NOT_APPLIED"}, ":owner": {"S": new_id()}, ":now": {"N": "0"}},
    )


def test_a_late_settle_wins_over_somebody_elses_uncertain(
    stack: LocalStack, environment: dict[str, str], finished: Finished
) -> None:
    contact_id = finished(new_id())
    event = contact_event(contact_id)
    with interrupted(stack, environment, event, PATCH, AFTER) as interruption:
        assert long_after(event).status == "DUPLICATE"
        assert stack.state(contact_id) == "UNCERTAIN"
        interruption.release()
        assert interruption.sandbox.result().status == "UPDATED"
    assert stack.state(contact_id) == "UPDATED"
    assert stack.salesforce.applied(contact_id) == 1


def test_an_owner_that_is_only_slow_is_not_taken_for_dead(
    stack: LocalStack, environment: dict[str, str], finished: Finished
) -> None:
    contact_id = finished(new_id())
    event = contact_event(contact_id)
    remaining = PATIENT_CONTEXT.remaining
    with interrupted(stack, environment, event, PATCH, AFTER):
        # Past its own end, but not by the minute that clocks may differ.
        assert Sandbox(ShiftedClock(remaining + 20)).invoke(event).status == "DUPLICATE"
        assert stack.state(contact_id) == "CLAIMED"
        assert Sandbox(ShiftedClock(remaining + 65)).invoke(event).status == "DUPLICATE"
        assert stack.state(contact_id) == "UNCERTAIN"


# --- a reconciliation that is killed -------------------------------------------------------------------------------


@pytest.fixture
def hasty(environment: dict[str, str]) -> dict[str, str]:
    """A run begins no contact where a call to Connect, six times a table call's time, might not be over in time."""
    return {**environment, "TEST_AWS_SECONDS": "8"}


@contextmanager
def gone_afterwards(stack: LocalStack) -> Iterator[None]:
    """Wait in the end until no connection to AWS is left that was made inside.

    A call that a killed process had sent has its effect once the gateway gets round to it, be that after the next
    run's first look.
    """
    server = stack.gateway._server  # noqa: SLF001 - what is under way does not count what has not been read yet
    before = server.connections_open
    yield
    with server.changed:
        assert server.changed.wait_for(lambda: server.connections_open <= before, 60)


@pytest.mark.parametrize(
    ("call", "when", "nth"),
    [
        ("BatchGetItem", AFTER, 1),
        ("DescribeContact", AFTER, 4),
        ("PutItem", BEFORE, 5),
        ("PutItem", AFTER, 5),
        (PATCH, BEFORE, 1),
        (PATCH, AFTER, 5),
        ("UpdateItem", BEFORE, 5),
        ("UpdateItem", AFTER, 5),
    ],
)
def test_a_killed_reconciliation_repeated_gives_each_contact_one_patch(
    stack: LocalStack, hasty: dict[str, str], call: str, when: str, nth: int
) -> None:
    missed = put(stack, *(ended(60 + number) for number in range(12)))
    with (
        gone_afterwards(stack),
        interrupted(stack, hasty, SCHEDULED, call, when, nth=nth, handler=RECONCILE) as interruption,
    ):
        interruption.sandbox.kill()
    pass_time(stack, LONG_AFTER)
    sandbox = Sandbox()
    answers = [sandbox.reconcile() for _ in range(2)]
    assert [
        stack.salesforce.applied(contact_id) for contact_id in missed if stack.salesforce.applied(contact_id) > 1
    ] == []
    states = Counter(stack.state(contact_id) for contact_id in missed)
    # Up to eight were under way: they end before an operator, all others are updated.
    assert states["UPDATED"] + states["UNCERTAIN"] == 12
    assert states["UNCERTAIN"] <= 8
    assert answers[0]["deadOwners"] == states["UNCERTAIN"]
    for contact_id in missed:
        assert stack.salesforce.applied(contact_id) == 1 or stack.state(contact_id) == "UNCERTAIN"
    assert answers[1]["outcomes"] == {}


def test_reconciliations_and_events_at_once(stack: LocalStack, hasty: dict[str, str]) -> None:
    missed = put(stack, *(ended(60 + number) for number in range(20)))
    with ExitStack() as running:
        sandboxes = [
            running.enter_context(ProcessSandbox(hasty, SCHEDULED, context=PATIENT_CONTEXT, handler=RECONCILE))
            for _ in range(4)
        ]
        for contact_id in missed[::4]:
            Sandbox().invoke(contact_event(contact_id))
        answers = [sandbox.result().answer for sandbox in sandboxes]
    assert updated(stack) == set(missed)
    assert all(answer is not None and answer["leftOver"] == 0 for answer in answers)
    assert {stack.state(contact_id) for contact_id in missed} == {"UPDATED"}
