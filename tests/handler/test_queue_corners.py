"""Corners of the queue and of the reconciliation that once broke: a hunt for faults found them."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.support.contacts import contact_event, flow_event
from tests.support.simulated import DAY, HOUR, MINUTE, SPARSE, World
from tools.local.gateway import Fault
from tools.local.misbehaviour import Answer

QUARTER, HALF = 15 * MINUTE, 30 * MINUTE
SECOND = timedelta(seconds=1)
NewWorld = Callable[..., World]


@pytest.fixture
def begun(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    def world(scope: str = "all", every: timedelta = QUARTER, **settings: Any) -> World:
        made = new_world(every=every, **settings)
        monkeypatch.setenv("RECONCILE_SCOPE", scope)
        made.run(every)
        return made

    return world


@pytest.fixture
def world(new_world: NewWorld) -> World:
    return new_world()


def edit(world: World, contact_id: str, **values: Any) -> None:
    """Change a record by hand; None takes an attribute out."""
    item = dict(world.stack.record(contact_id) or {})
    for name, value in values.items():
        item.pop(name, None)
        if value is not None:
            item[name] = value
    world.stack.dynamodb.put_item(TableName=world.stack.table, Item=item)


# --- redriven while not yet due ---------------------------------------------------------------------------------------


def test_a_message_redriven_early_is_tried_before_it_is_parked(new_world: NewWorld) -> None:
    world = new_world(ladder=SPARSE)
    contact_id = world.told()
    world.stack.salesforce.always(Answer(429, headers=(("Retry-After", "36000"),)))
    world.run(8 * DAY)
    assert world.parked(contact_id) == 1
    world.stack.salesforce.behave()
    edit(world, contact_id, retryAt={"N": str(world.now.timestamp() + 1800)})
    world.redrive()
    world.run(2 * MINUTE)
    assert world.parked(contact_id) == 0
    world.run(2 * HOUR)
    assert world.stack.salesforce.applied(contact_id) == 1


def test_one_table_failure_does_not_park_a_redriven_message(new_world: NewWorld) -> None:
    world = new_world(ladder=SPARSE)
    contact_id = world.told()
    world.stack.salesforce.stop()
    world.run(8 * DAY)
    assert world.parked(contact_id) == 1
    world.stack.salesforce.start()
    world.stack.gateway.fail("UpdateItem", Fault.ERROR, times=2)
    world.redrive()
    world.run(12 * HOUR)
    assert (world.parked(contact_id), world.stack.salesforce.applied(contact_id)) == (0, 1)


# --- positions in the future ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mistaken", ["bound", "clock"])
def test_after_a_run_in_the_future_calls_are_still_found(
    begun: Callable[..., World], monkeypatch: pytest.MonkeyPatch, mistaken: str
) -> None:
    world = begun(every=HOUR)
    if mistaken == "bound":
        monkeypatch.setenv("RECONCILE_NOT_BEFORE", (world.now + 365 * DAY).isoformat())
        world.renew()
        world.run(HOUR)
        monkeypatch.delenv("RECONCILE_NOT_BEFORE")
        world.renew()
    else:
        world.run(HOUR)
        world.clock.wall += 6 * HOUR
        world.reconcile()
        world.clock.wall -= 6 * HOUR
    contact_id = world.answered()
    world.run(3 * HOUR)
    assert world.stack.salesforce.applied(contact_id) == 1


# --- a record without a readable owner --------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", [None, {"N": "1"}], ids=["no owner", "a number"])
def test_a_waiting_record_without_owner_does_not_multiply(begun: Callable[..., World], owner: Any) -> None:
    world = begun("none")
    world.schedule(HALF - 7 * SECOND)  # as in life, no message becomes visible just when a run begins
    world.stack.salesforce.stop()
    contact_id = world.told()
    world.run(5 * MINUTE)
    edit(world, contact_id, owner=owner)
    most = 0
    for _ in range(5):
        world.run(HOUR)
        most = max(most, world.live(contact_id))
    assert most <= 2


# --- the only message is deleted as a duplicate while a flow holds the claim ------------------------------------------


def _flow_meets_message(world: World, contact_id: str) -> dict[str, str]:
    """A flow sends; while its PATCH is under way, the worker takes the contact's message; then Salesforce says 429."""
    done: list[int] = []

    def meanwhile(_: object) -> None:
        if not done:
            done.append(1)
            worker = world.new_sandbox()
            world.mapping.turn(lambda event: worker.app.contact_queue(event, world.context()))

    world.stack.salesforce.before_apply = meanwhile
    world.stack.salesforce.next(Answer(429))
    answer = world.flow(flow_event(contact_id))
    world.stack.salesforce.before_apply = None
    assert done
    return answer


def test_a_flows_contact_keeps_a_message(begun: Callable[..., World]) -> None:
    world = begun()
    contact_id = world.abandoned(DisconnectTimestamp=None)
    world.stack.salesforce.next(Answer(429))
    world.flow(flow_event(contact_id))
    world.clock.pass_time(91)
    answer = _flow_meets_message(world, contact_id)
    assert answer["status"] == "RETRY_LATER"
    assert "comes back through the contact queue" in answer["detail"]
    assert world.live(contact_id) >= 1


def test_a_flows_contact_with_a_replaced_message_goes_on(begun: Callable[..., World]) -> None:
    world = begun("none")
    contact_id = world.abandoned(DisconnectTimestamp=None)
    world.stack.salesforce.next(Answer(429))
    world.flow(flow_event(contact_id))
    world.lose(contact_id)
    world.run(2 * HOUR)
    assert world.live(contact_id) == 0
    world.mapping.is_enabled = False
    world.run(20 * MINUTE)
    assert world.live(contact_id) == 1
    world.mapping.is_enabled = True
    _flow_meets_message(world, contact_id)
    world.change(contact_id, DisconnectTimestamp=world.now)
    world.schedule(HOUR)
    world.run(6 * HOUR)
    assert world.stack.salesforce.applied(contact_id) == 1


# --- the second pass stands, unseen -----------------------------------------------------------------------------------


def test_the_age_of_a_starved_second_pass_is_measured(
    begun: Callable[..., World], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    world = begun(every=HOUR)
    world.schedule(None)
    world.run(26 * HOUR)
    world.reconcile()
    monkeypatch.setenv("RECONCILE_SEARCHES_PER_SECOND", "0.1")
    world.renew()
    measured = []
    for _ in range(3):
        world.run(HOUR)
        capfd.readouterr()
        answer = world.reconcile(seconds=15)
        out = [json.loads(line) for line in capfd.readouterr().out.splitlines() if "PositionStands" in line]
        measured += [(answer["stopped"], one["PositionStands"][0]) for one in out]
    assert 3600 < measured[-1][1] < 7200, "the pass that is further behind goes first"


# --- more than two live messages --------------------------------------------------------------------------------------


def test_a_looping_flow_leaves_two_messages_at_most(world: World) -> None:
    contact_id = world.abandoned(DisconnectTimestamp=None)
    for operation in ("GetItem", "PutItem", "UpdateItem"):
        world.stack.gateway.fail(operation, Fault.ERROR)
    for _ in range(6):
        world.flow(flow_event(contact_id))
        world.run(5 * SECOND)
    assert world.live(contact_id) <= 2


def test_while_writes_fail_a_lost_message_is_replaced_once(begun: Callable[..., World]) -> None:
    world = begun("none")
    world.schedule(QUARTER - 7 * SECOND)
    contact_id = world.told()
    world.stack.salesforce.always(Answer(401))
    world.run(5 * MINUTE)
    world.lose(contact_id)
    world.run(2 * HOUR)
    for operation in ("PutItem", "UpdateItem"):
        world.stack.gateway.fail(operation, Fault.ERROR)
    most = 0
    for _ in range(12):
        world.run(QUARTER)
        most = max(most, world.live(contact_id))
    assert most <= 2


# --- a closed record that waits again ---------------------------------------------------------------------------------


@pytest.fixture
def closed(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[World, str]]:
    """Gives a world, and a contact that a mistaken bound closed; the bound is right again."""

    def made(**options: Any) -> tuple[World, str]:
        world = new_world(**options)
        monkeypatch.setenv("RECONCILE_SCOPE", "none")
        contact_id = world.told()
        monkeypatch.setenv("RECONCILE_NOT_BEFORE", (world.now + DAY).isoformat())
        world.renew()
        world.fail_describing(1)
        world.run(HOUR)
        assert "open" not in world.record(contact_id)
        monkeypatch.delenv("RECONCILE_NOT_BEFORE")
        world.renew()
        return world, contact_id

    return made


def test_a_closed_contact_whose_message_comes_back_is_open_again(closed: Callable[..., tuple[World, str]]) -> None:
    world, contact_id = closed(every=HALF)
    assert world.reconcile({"contactIds": [contact_id]})["enqueued"] == 1
    world.stack.salesforce.stop()
    world.run(10 * MINUTE)
    world.lose(contact_id)
    world.stack.salesforce.start()
    world.run(5 * HOUR)
    assert world.stack.salesforce.applied(contact_id) == 1


def test_a_closed_contact_in_the_dead_letter_queue_is_noted(
    closed: Callable[..., tuple[World, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, contact_id = closed(ladder=SPARSE)
    world.reconcile({"contactIds": [contact_id]})
    world.set(monkeypatch, JWT_SECRET_ID="missing", every=12 * HOUR)
    world.run(8 * DAY)
    assert world.parked(contact_id) == 1
    record = world.record(contact_id)
    assert "deadLetteredAt" in record
    assert "open" in record


def test_a_flow_over_a_closed_record_without_message_is_found(closed: Callable[..., tuple[World, str]]) -> None:
    world, contact_id = closed(every=HALF)
    world.stack.salesforce.stop()
    world.stack.gateway.fail("SendMessage", Fault.ERROR)
    answer = world.flow(flow_event(contact_id))
    assert "the reconciliation enqueues it later" in answer["detail"]
    world.stack.gateway.heal()
    world.stack.salesforce.start()
    world.run(5 * HOUR)
    assert world.stack.salesforce.applied(contact_id) == 1


# --- the answer to the note was lost ----------------------------------------------------------------------------------


def test_a_lost_answer_to_the_note_delays_no_message(begun: Callable[..., World]) -> None:
    world = begun()
    contact_id = world.answered()
    world.run(28 * MINUTE)
    world.stack.gateway.fail("PutItem", Fault.LOST, skip=3, times=1)  # three times a position, then the contact's note
    world.run(20 * MINUTE)
    assert world.stack.salesforce.applied(contact_id) == 1


def test_an_unreadable_record_does_not_stop_the_run(begun: Callable[..., World]) -> None:
    world = begun()
    broken = world.told()
    world.fail_describing(1)
    world.run(100 * SECOND)
    edit(world, broken, retryAt={"N": "1E+120"})
    contact_id = world.answered()
    world.run(HOUR)
    assert world.stack.salesforce.applied(contact_id) == 1


# --- lost messages in a queue that is never empty ---------------------------------------------------------------------


@pytest.mark.parametrize("back", ["failed", "waits"])
def test_a_lost_message_is_replaced_in_a_busy_queue(begun: Callable[..., World], back: str) -> None:
    world = begun("none", every=HALF)
    contact_id = world.told(world.answered(Recordings=None) if back == "waits" else None)
    if back == "failed":
        world.stack.salesforce.next(Answer(401))
    world.run(100 * SECOND)
    assert ("waitsFor" if back == "waits" else "failures") in world.record(contact_id)
    world.lose(contact_id)

    # at each run some message has just become visible: a busy contact center
    def busy() -> None:
        other = world.answered()
        world.stack.queue.send(contact_event(other), delay=0)

    for index in range(2 * 3):
        world.plan(world.now + (index + 1) * HALF - 100 * SECOND, busy)
    world.run(3 * HOUR)
    assert world.stack.salesforce.applied(contact_id) == 1


# --- two runs at once, of two settings --------------------------------------------------------------------------------


def test_a_running_run_keeps_a_wider_scopes_position(
    begun: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment widens the scope while a run of the old one, of up to 15 minutes, is under way."""
    world = begun("abandoned", every=HOUR)
    world.schedule(None)
    world.run(HOUR)
    old = world.scheduled
    seen: list[str] = []

    def meanwhile(operation: str) -> None:
        if operation == "SearchContacts" and not seen:
            seen.append(operation)
            monkeypatch.setenv("RECONCILE_SCOPE", "all")
            world.scheduled = world.new_sandbox()
            world.reconcile()
            world.scheduled, new = old, world.scheduled
            seen.append("done")
            world.__dict__["new"] = new

    world.stack.gateway.before = meanwhile
    world.reconcile()
    world.stack.gateway.before = None
    assert seen == ["SearchContacts", "done"]
    world.scheduled = world.__dict__["new"]
    contact_id = world.answered()  # it ends after the first run of the wider scope
    world.run(HOUR)
    for _ in range(3):
        world.reconcile()
        world.run(HOUR)
    assert world.stack.salesforce.applied(contact_id) == 1


# --- what no other test notices --------------------------------------------------------------------------------------


def test_waiting_until_it_is_due_is_no_failure(world: World) -> None:
    contact_id = world.told()
    world.stack.salesforce.next(Answer(429, headers=(("Retry-After", "3600"),)))
    world.run(2 * MINUTE)
    world.told(contact_id)
    world.run(30 * MINUTE)
    assert world.record(contact_id)["failures"] == "1"


def test_a_found_contact_is_judged_again_at_its_message(
    begun: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = begun()
    world.mapping.is_enabled = False
    contact_id = world.answered()
    world.run(HOUR)
    assert world.live(contact_id) == 1
    monkeypatch.setenv("RECONCILE_NOT_BEFORE", world.now.isoformat())
    world.renew()
    world.mapping.is_enabled = True
    world.run(5 * MINUTE)
    assert world.stack.salesforce.applied(contact_id) == 0
    assert "open" not in world.record(contact_id)
