"""Sandboxes that are killed or frozen, or that race: real processes, with a table that has conditional writes."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.contacts import contact_event, flow_event, new_id
from tests.support.interruptions import AFTER, BEFORE, PATCH, PATIENT, PATIENT_CONTEXT, interrupted
from tests.support.missed import QUOTAS_LIFTED, ended, put, updated
from tests.support.sandbox import (
    QUEUE,
    RECONCILE,
    UPDATE,
    Context,
    ProcessSandbox,
    Result,
    Sandbox,
    ShiftedClock,
    batch,
    fork_server_is_loaded,
)
from tools.local.local_stack import LocalStack
from tools.local.mapping import EventSourceMapping

pytestmark = pytest.mark.usefixtures("ready_token")

Finished = Callable[[str], str]
LONG_AFTER = 3600.0


@pytest.fixture
def environment(stack: LocalStack) -> dict[str, str]:
    return {**stack.environment(), **PATIENT, **QUOTAS_LIFTED}


def long_after(event: object) -> Result:
    """Deliver an event to another sandbox an hour later, when the claim has expired."""
    return Sandbox(ShiftedClock(LONG_AFTER)).invoke(event)


def in_another_process(environment: dict[str, str], event: object, ahead: float = 0.0, handler: str = UPDATE) -> Result:
    with ProcessSandbox(environment, event, context=PATIENT_CONTEXT, ahead=ahead, handler=handler) as sandbox:
        return sandbox.result()


def test_a_process_costs_no_more_than_it_must() -> None:
    """Three hundred of them are started. Without the fork server each would load modules for a third of a second."""
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
    # An event that meets a flow's claim raises, so that it comes again: the flow's update may not be applied.
    assert statuses.keys() <= {"UPDATED", "DUPLICATE", "RETRY_LATER", "raised"}
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
    """Hold back the operation's first requests until that many are there, so that they really race."""
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


CALLS = ["GetItem", "DescribeContact", "GetSecretValue", "PutItem", PATCH, "UpdateItem"]


@pytest.mark.parametrize("when", [BEFORE, AFTER])
@pytest.mark.parametrize("call", CALLS)
def test_a_worker_is_killed(
    stack: LocalStack, environment: dict[str, str], finished: Finished, call: str, when: str
) -> None:
    """Killed with a request under way; then SQS gives the message again."""
    contact_id = finished(new_id())
    message = batch(contact_event(contact_id))
    with interrupted(stack, environment, message, call, when, handler=QUEUE) as interruption:
        interruption.sandbox.kill()

    before_the_claim = CALLS.index(call) < 3 or (call, when) == ("PutItem", BEFORE)
    settled = (call, when) == ("UpdateItem", AFTER)
    sent = CALLS.index(call) > 4 or (call, when) == (PATCH, AFTER)
    assert stack.state(contact_id) == (None if before_the_claim else "UPDATED" if settled else "CLAIMED")
    assert stack.salesforce.applied(contact_id) == (1 if sent else 0)

    assert Sandbox().call(QUEUE, message, PATIENT_CONTEXT).status == "done"
    assert Sandbox(ShiftedClock(LONG_AFTER)).call(QUEUE, message, PATIENT_CONTEXT).status == "done"
    assert stack.state(contact_id) == ("UPDATED" if before_the_claim or settled else "UNCERTAIN")
    assert stack.salesforce.applied(contact_id) == (1 if before_the_claim or sent else 0)


@pytest.mark.parametrize("when", [BEFORE, AFTER])
@pytest.mark.parametrize("call", CALLS)
def test_a_worker_is_frozen_and_thaws_an_hour_later(
    stack: LocalStack, environment: dict[str, str], finished: Finished, call: str, when: str
) -> None:
    """Meanwhile the message is given again: at once, and an hour later, when the claim has expired."""
    contact_id = finished(new_id())
    message = batch(contact_event(contact_id))
    with interrupted(stack, environment, message, call, when, handler=QUEUE) as interruption:
        interruption.sandbox.freeze()
        others = [in_another_process(environment, message, ahead, handler=QUEUE).status for ahead in (0.0, LONG_AFTER)]
        interruption.sandbox.jump(LONG_AFTER)
        interruption.release()
        interruption.sandbox.thaw()
        thawed = interruption.sandbox.result().status
    before_the_claim = CALLS.index(call) < 3 or (call, when) == ("PutItem", BEFORE)
    assert others == ["done", "done"]
    if before_the_claim:
        assert thawed in {"done", "comes back"}  # it finds the contact done, or its own time over
        assert stack.salesforce.applied(contact_id) == 1
        assert stack.state(contact_id) == "UPDATED"
        return
    sent = CALLS.index(call) > 4 or (call, when) == (PATCH, AFTER)
    assert stack.salesforce.applied(contact_id) == (1 if sent else 0)
    ends = {"PutItem": {"NOT_APPLIED"}, "UpdateItem": {"UPDATED"}, PATCH: {"UNCERTAIN"}}[call]
    if (call, when) == (PATCH, AFTER):
        ends = {"UPDATED", "UNCERTAIN"}  # an hour later, the answer is there or is not
    assert stack.state(contact_id) in ends


def test_a_frozen_owner_thaws_after_an_operator_released_the_contact(
    stack: LocalStack, environment: dict[str, str], finished: Finished
) -> None:
    """The worst case: it had the claim and had not sent yet. Meanwhile another sandbox has sent, as it may."""
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


def test_a_late_settle_wins_over_anothers_uncertain(
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


def test_the_claim_of_a_slow_owner_does_not_expire(
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


@contextmanager
def gone_afterwards(stack: LocalStack) -> Iterator[None]:
    """Wait in the end until every connection to AWS that was made inside is closed.

    The gateway may handle a killed process's last request late, even after the next run has begun.
    """
    server = stack.gateway._server  # noqa: SLF001 - what is under way does not count what has not been read yet
    before = server.connections_open
    yield
    with server.changed:
        assert server.changed.wait_for(lambda: server.connections_open <= before, 60)


@pytest.mark.parametrize("when", [BEFORE, AFTER])
@pytest.mark.parametrize(
    ("call", "nth"), [("SearchContacts", 1), ("BatchGetItem", 1), ("PutItem", 5), ("SendMessageBatch", 2)]
)
def test_a_killed_reconciliation_loses_nothing(
    stack: LocalStack, environment: dict[str, str], call: str, when: str, nth: int
) -> None:
    contact_ids = put(stack, *(ended(60 + number) for number in range(11)))  # in two batches
    window = {"from": (datetime.now(UTC) - timedelta(hours=2)).isoformat(), "scope": "all"}
    with (
        gone_afterwards(stack),
        interrupted(stack, environment, window, call, when, nth=nth, handler=RECONCILE) as interruption,
    ):
        interruption.sandbox.kill()
    sandbox = Sandbox()
    assert sandbox.reconcile(window)["stopped"] is None
    drain(stack, sandbox)
    # Two hours later a run finds the contacts that had a record and no message.
    assert Sandbox(ShiftedClock(3 * LONG_AFTER)).reconcile()["stopped"] is None
    drain(stack, sandbox)
    assert updated(stack) == set(contact_ids)
    assert {stack.state(contact_id) for contact_id in contact_ids} == {"UPDATED"}


def test_reconciliations_and_events_at_once(stack: LocalStack, environment: dict[str, str]) -> None:
    contact_ids = put(stack, *(ended(60 + number) for number in range(20)))
    window = {"from": (datetime.now(UTC) - timedelta(hours=2)).isoformat(), "scope": "all"}
    with ExitStack() as running:
        sandboxes = [
            running.enter_context(ProcessSandbox(environment, window, context=PATIENT_CONTEXT, handler=RECONCILE))
            for _ in range(4)
        ]
        for contact_id in contact_ids[::4]:
            stack.queue.send(contact_event(contact_id), delay=0)
        answers = [sandbox.result().answer for sandbox in sandboxes]
    assert all(answer is not None and answer["stopped"] is None for answer in answers)
    assert sum(answer["enqueued"] for answer in answers if answer is not None) == 20
    drain(stack, Sandbox())
    assert updated(stack) == set(contact_ids)


def drain(stack: LocalStack, sandbox: Sandbox) -> None:
    """Let a sandbox of the worker take what is visible in the queue."""
    mapping = EventSourceMapping(stack.sqs, stack.queue.url)
    mapping.drain(lambda event: sandbox.app.contact_queue(event, Context()))
