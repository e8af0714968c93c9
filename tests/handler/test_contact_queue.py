"""The worker behind the contact queue, through its handler: what is done, what comes back and when, what is parked."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.support.contacts import contact_event, flow_event, new_id
from tests.support.simulated import DAY, HOUR, MINUTE, SPARSE, World
from tools.local.gateway import Fault
from tools.local.misbehaviour import Answer, Close

SECOND = timedelta(seconds=1)
BUSY = Answer(429, headers=(("Retry-After", "120"),))


@pytest.fixture
def world(new_world: Callable[..., World]) -> World:
    return new_world()


# --- done ------------------------------------------------------------------------------------------------------------


def test_an_event_becomes_one_update_ninety_seconds_later(world: World) -> None:
    contact_id = world.told()
    world.run(89 * SECOND)
    assert world.stack.salesforce.applied(contact_id) == 0
    world.run(2 * SECOND)
    assert world.stack.salesforce.applied(contact_id) == 1
    assert (world.record(contact_id)["state"], world.record(contact_id)["source"]) == ("UPDATED", "contact-event")
    assert world.live(contact_id) == 0


def test_a_message_that_comes_twice_ends_at_the_record(world: World) -> None:
    contact_id = world.told()
    world.run(2 * MINUTE)
    world.stack.gateway.heal()
    world.told(contact_id)
    world.run(2 * MINUTE)
    assert world.stack.salesforce.applied(contact_id) == 1
    assert world.stack.gateway.calls == ["GetItem"]


def test_an_ignored_message_leaves_no_record(world: World) -> None:
    contact_id = world.answered(Channel="CHAT")
    world.told(contact_id)
    world.run(HOUR)
    assert (world.record(contact_id), world.live(contact_id), world.parked(contact_id)) == ({}, 0, 0)


def test_a_message_about_another_instance_changes_nothing(world: World) -> None:
    contact_id = world.told()
    world.stack.salesforce.next(Answer(429, headers=(("Retry-After", "3000"),)))
    world.run(2 * MINUTE)
    before = world.record(contact_id)
    world.tell(contact_event(contact_id, instanceArn="arn:aws:connect:us-east-1:111122223333:instance/another"))
    world.tell(contact_event(contact_id, "DISCONNECTED"))
    world.tell(contact_event(contact_id, channel=None))
    world.run(91 * SECOND)
    assert world.record(contact_id) == before
    assert "open" in before


# --- what comes back, and when ---------------------------------------------------------------------------------------


def test_the_wait_that_salesforce_names_counts(world: World) -> None:
    contact_id = world.told()
    world.stack.salesforce.next(BUSY)
    world.run(HOUR)
    assert world.attempts_at(contact_id) == [timedelta(), 120 * SECOND]
    assert world.record(contact_id)["state"] == "UPDATED"


def test_a_refused_token_comes_back_by_the_ladder(world: World) -> None:
    contact_id = world.told()
    world.stack.salesforce.always(Answer(401))
    world.run(4 * HOUR)
    assert world.attempts_at(contact_id)[:6] == [
        timedelta(), 1 * MINUTE, 6 * MINUTE, 21 * MINUTE, 81 * MINUTE, 141 * MINUTE,
    ]  # fmt: skip
    world.stack.salesforce.behave()
    world.run(HOUR)
    assert world.record(contact_id)["state"] == "UPDATED"
    assert world.record(contact_id)["failures"] == "7"


@pytest.mark.parametrize("operation", ["GetItem", "DescribeContact", "GetSecretValue", "PutItem"])
def test_a_failure_before_the_claim_leaves_a_waiting_record(world: World, operation: str) -> None:
    contact_id = world.told()
    world.run(80 * SECOND)
    world.stack.gateway.fail(operation, Fault.ERROR, times=2 if operation == "PutItem" else 6)
    world.run(20 * SECOND)
    assert world.stack.salesforce.applied(contact_id) == 0
    assert world.live(contact_id) == 1
    world.stack.gateway.heal()
    world.run(2 * HOUR)
    assert world.stack.salesforce.applied(contact_id) == 1


def test_a_waiting_record_says_when_its_message_is_back(world: World) -> None:
    contact_id = world.told()
    world.fail_describing(100)
    world.run(90 * SECOND)
    record = world.record(contact_id)
    assert (record["state"], record["open"], record["attempts"], record["source"], record["failures"]) == (
        "NOT_APPLIED", "NOT_APPLIED", "0", "contact-event", "1",
    )  # fmt: skip
    assert "DescribeContact" in record["detail"]
    assert round(world.moment(contact_id, "backBy") / MINUTE) == 6
    world.run(30 * MINUTE)
    assert world.record(contact_id)["failures"] == "4"
    assert timedelta() < world.moment(contact_id, "backBy") <= HOUR
    assert world.record(contact_id)["failedSince"] == record["failedSince"]


def test_it_comes_back_where_the_queues_own_time_out_counts(world: World) -> None:
    world.mapping.keeps_visibility = False
    contact_id = world.told()
    world.stack.salesforce.always(Answer(401))
    world.run(30 * MINUTE)
    assert world.attempts_at(contact_id) == [index * 6 * MINUTE for index in range(5)]
    world.stack.salesforce.behave()
    world.run(6 * MINUTE)
    assert world.stack.salesforce.applied(contact_id) == 1


def test_it_comes_back_where_its_visibility_could_not_be_changed(world: World) -> None:
    world.stack.gateway.fail("ChangeMessageVisibility", Fault.ERROR)
    contact_id = world.told()
    world.stack.salesforce.next(BUSY)
    world.run(10 * MINUTE)
    assert world.attempts_at(contact_id) == [timedelta(), 6 * MINUTE]
    assert world.stack.salesforce.applied(contact_id) == 1


def test_a_contact_that_is_not_finished_yet_comes_back(world: World) -> None:
    contact_id = world.abandoned(DisconnectTimestamp=None)
    world.told(contact_id)
    world.run(2 * MINUTE)
    assert world.record(contact_id)["state"] == "NOT_APPLIED"
    world.change(contact_id, DisconnectTimestamp=world.now)
    world.run(10 * MINUTE)
    assert world.stack.salesforce.applied(contact_id) == 1


def test_a_waiting_contact_found_out_of_scope_is_closed(world: World) -> None:
    contact_id = world.told()
    world.fail_describing(1)
    world.run(90 * SECOND)
    world.change(contact_id, Channel="CHAT")
    world.run(HOUR)
    record = world.record(contact_id)
    assert record["state"] == "NOT_APPLIED"
    assert not {"open", "since", "backBy"} & record.keys()
    assert "voice" in record["detail"]
    assert world.live(contact_id) == 0


def test_a_killed_worker_loses_nothing_and_sends_nothing_twice(world: World) -> None:
    contact_ids = [world.told() for _ in range(40)]
    for looks in range(1, 41):
        world.plan(world.now + 90 * SECOND, lambda looks=looks: world.kill_next(looks))  # type: ignore[misc]
    world.run(3 * HOUR)
    assert world.kills > 0
    for contact_id in contact_ids:
        assert world.stack.salesforce.applied(contact_id) <= 1
        assert world.record(contact_id)["state"] in {"UPDATED", "UNCERTAIN"}
        assert world.live(contact_id) == 0


# --- the dead-letter queue -------------------------------------------------------------------------------------------


def test_after_a_week_only_a_redrive_tries_again(new_world: Callable[..., World]) -> None:
    world = new_world(ladder=SPARSE)
    contact_id = world.told()
    world.told(contact_id)
    world.stack.salesforce.stop()
    world.run(7 * DAY)
    assert (world.live(contact_id), world.parked(contact_id)) == (2, 0)
    world.run(12 * HOUR)
    assert (world.live(contact_id), world.parked(contact_id)) == (0, 1)
    record = world.record(contact_id)
    assert (record["state"], record["open"]) == ("NOT_APPLIED", "NOT_APPLIED")
    assert "deadLetteredAt" in record
    (parked,) = world.stack.dead_letters.messages
    assert "Salesforce" in parked.attributes["Reason"]["StringValue"]
    world.stack.salesforce.start()
    world.run(DAY)
    assert world.stack.salesforce.applied(contact_id) == 0
    world.redrive()
    world.run(2 * MINUTE)
    assert world.stack.salesforce.applied(contact_id) == 1
    assert world.live(contact_id) == world.parked(contact_id) == 0


def test_a_redriven_message_has_another_week(new_world: Callable[..., World]) -> None:
    world = new_world(ladder=SPARSE)
    contact_id = world.told()
    world.stack.salesforce.stop()
    world.run(8 * DAY)
    world.redrive()
    world.run(6 * DAY)
    assert (world.live(contact_id), world.parked(contact_id)) == (1, 0)
    world.run(2 * DAY)
    assert (world.live(contact_id), world.parked(contact_id)) == (0, 1)


def test_received_too_often_is_parked_before_sqs_does_it(world: World) -> None:
    contact_id = world.told()
    (message,) = world.stack.queue.messages
    world.stack.queue.wear_out(message.id, 988)
    world.stack.salesforce.stop()
    world.run(2 * MINUTE)
    assert (world.live(contact_id), world.parked(contact_id)) == (1, 0)
    world.run(HOUR)
    assert (world.live(contact_id), world.parked(contact_id)) == (0, 1)
    assert "deadLetteredAt" in world.record(contact_id)


@pytest.mark.parametrize(
    "body",
    [
        "not JSON",
        "[" * 1_000_000,
        "x" * 262_144,
        "{}",
        json.dumps({"contactId": "../x", "source": "operator"}),
        json.dumps({"contactId": new_id(), "source": "unknown"}),
        json.dumps({"contactId": new_id(), "source": "contact-event"}),
        json.dumps(flow_event(new_id())),
        json.dumps(contact_event("")),
        json.dumps({"detail-type": "Amazon Connect Contact Event"}),
    ],
    ids=["text", "brackets", "256 KB", "empty", "bad id", "bad source", "their source", "flow", "no id", "no detail"],
)
def test_an_unreadable_message_is_parked_with_the_reason(world: World, body: str) -> None:
    world.stack.queue.send(body, delay=0)
    other = world.told()
    world.run(2 * MINUTE)
    assert world.stack.salesforce.applied(other) == 1
    assert world.stack.queue.bodies == []
    (parked,) = world.stack.dead_letters.messages
    assert parked.body == body
    reason = parked.attributes.get("Reason", {"StringValue": "must be"})["StringValue"]
    assert "must be" in reason
    assert len(reason) <= 1024


def test_a_message_that_cannot_be_parked_comes_back(world: World) -> None:
    world.stack.gateway.fail("SendMessage", Fault.ERROR, times=2)
    world.stack.queue.send("not JSON", delay=0)
    world.run(MINUTE)
    assert (len(world.stack.queue.bodies), len(world.stack.dead_letters.bodies)) == (1, 0)
    world.run(6 * MINUTE)
    assert (len(world.stack.queue.bodies), len(world.stack.dead_letters.bodies)) == (0, 1)


# --- contact flows ---------------------------------------------------------------------------------------------------


def test_a_flow_that_fails_often_leaves_one_message(world: World) -> None:
    contact_id = world.abandoned(DisconnectTimestamp=None)
    world.stack.salesforce.always(Answer(429))
    answers = []
    for _ in range(4):
        answers.append(world.flow(flow_event(contact_id)))
        world.run(5 * SECOND)
    assert {answer["status"] for answer in answers} == {"RETRY_LATER"}
    assert all("contact queue" in answer["detail"] for answer in answers)
    assert world.live(contact_id) == 1
    world.stack.salesforce.behave()
    world.run(5 * MINUTE)
    assert world.stack.salesforce.applied(contact_id) == 0
    world.change(contact_id, DisconnectTimestamp=world.now)
    world.run(HOUR)
    assert world.stack.salesforce.applied(contact_id) == 1
    record = world.record(contact_id)
    assert (record["state"], record["firstSource"], record["source"]) == ("UPDATED", "contact-flow", "contact-flow")


@pytest.mark.parametrize("failing", [(), ("SendMessage",), ("GetItem", "PutItem")], ids=["none", "queue", "table"])
def test_a_flows_contact_comes_back_by_record_or_message(
    new_world: Callable[..., World], failing: tuple[str, ...]
) -> None:
    world = new_world(every=HOUR)
    contact_id = world.abandoned()
    world.stack.salesforce.stop()
    for operation in failing:
        world.stack.gateway.fail(operation, Fault.ERROR)
    answer = world.flow(flow_event(contact_id))
    assert answer["status"] == "RETRY_LATER"
    world.stack.gateway.heal()
    world.stack.salesforce.start()
    world.run(3 * HOUR)
    assert world.stack.salesforce.applied(contact_id) == 1
    assert world.live(contact_id) == 0


def test_a_flow_that_can_leave_it_nowhere_says_so(world: World, caplog: pytest.LogCaptureFixture) -> None:
    contact_id = world.abandoned()
    for operation in ("GetItem", "PutItem", "SendMessage", "GetSecretValue"):
        world.stack.gateway.fail(operation, Fault.ERROR)
    answer = world.flow(flow_event(contact_id))
    assert answer["status"] == "RETRY_LATER"
    assert "could not be left in the contact queue" in answer["detail"]
    assert [record.__dict__["contactId"] for record in caplog.records if record.levelname == "ERROR"] == [contact_id]


# --- the breaker -----------------------------------------------------------------------------------------------------


def test_an_outage_uses_up_few_contacts(world: World) -> None:
    world.stack.salesforce.always(Answer(503))
    contact_ids: list[str] = []

    def call() -> None:
        contact_ids.append(world.told())

    for minute in range(0, 60, 4):
        world.plan(world.now + minute * MINUTE, call)
    world.run(61 * MINUTE)
    world.stack.salesforce.behave()
    world.run(3 * HOUR)
    states = [world.record(contact_id)["state"] for contact_id in contact_ids]
    assert states.count("UNCERTAIN") <= 11
    assert set(states) == {"UNCERTAIN", "UPDATED"}
    assert all(world.stack.salesforce.applied(contact_id) <= 1 for contact_id in contact_ids)


def test_while_the_breaker_is_open_connect_is_not_asked(world: World) -> None:
    world.stack.salesforce.always(Close(applied=False))
    first = [world.told() for _ in range(3)]
    world.run(91 * SECOND)
    assert {world.record(contact_id)["state"] for contact_id in first} == {"UNCERTAIN"}
    world.stack.gateway.heal()
    fourth = world.answered()
    world.stack.queue.send(contact_event(fourth), delay=0)
    world.run(SECOND)
    assert "DescribeContact" not in world.stack.gateway.calls
    assert "did not answer" in world.record(fourth)["detail"]
    world.stack.salesforce.behave()
    world.run(10 * MINUTE)
    assert world.stack.salesforce.applied(fourth) == 1


def test_a_flows_sandbox_sends_nothing_after_the_first_failure(world: World) -> None:
    first, second, third = (world.abandoned(DisconnectTimestamp=None) for _ in range(3))
    world.stack.salesforce.next(Answer(500))
    assert world.flow(flow_event(first))["status"] == "UNCERTAIN"
    answer = world.flow(flow_event(second))
    assert answer["status"] == "RETRY_LATER"
    assert "did not answer" in answer["detail"]
    world.run(61 * SECOND)
    assert world.flow(flow_event(third))["status"] == "UPDATED"
    assert world.flow(flow_event(second))["status"] == "UPDATED"


# --- the handler itself ----------------------------------------------------------------------------------------------


def test_a_batch_answers_with_the_messages_that_come_back(world: World) -> None:
    good, bad = world.answered(), world.answered(DisconnectTimestamp=None)
    event = {
        "Records": [
            {"messageId": f"m-{name}", "receiptHandle": "r", "body": json.dumps(contact_event(name)), "attributes": {}}
            for name in (good, bad)
        ]
    }
    answer = world.new_sandbox().app.contact_queue(event, None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": f"m-{bad}"}]}
    assert (world.stack.state(good), world.stack.state(bad)) == ("UPDATED", "NOT_APPLIED")


def test_without_settings_each_message_comes_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEAD_LETTER_QUEUE_URL")
    contact_id = world.told()
    world.run(2 * MINUTE)
    assert world.live(contact_id) == 1
    assert {delivery.error for _, delivery in world.deliveries} == {None}


@pytest.mark.parametrize("event", [None, {}, {"Records": []}, {"Records": [1]}, {"Records": [{"messageId": "m"}]}])
def test_what_is_no_batch_is_refused(world: World, event: Any) -> None:
    with pytest.raises(Exception, match="must be"):
        world.new_sandbox().app.contact_queue(event, None)
