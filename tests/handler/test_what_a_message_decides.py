"""A message chooses which contact of our instance is looked at, and nothing else; see also test_contact_queue.py.

That an event's time counts only between the described end and now is in test_when_all_is_known.py.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.handler.test_which_calls import metric
from tests.support.contacts import CUSTOMER, SECRET_VALUE, contact_event, flow_event, new_id
from tests.support.sandbox import Sandbox
from tests.support.simulated import HOUR, MINUTE, World
from tools.local.local_stack import INSTANCE_ARN, LocalStack
from tools.local.misbehaviour import Answer

OTHER = "arn:aws:connect:us-east-1:111122223333:instance/99999999-9999-4999-8999-999999999999"
MORE: dict[str, Any] = {
    **dict.fromkeys(("releasedAt", "namedAt", "retryAt", "completedAt", "ownerUntil"), 1),
    **dict.fromkeys(("scope", "firstSource", "releasedBy", "owner", "state", "instanceId"), "contact-flow"),
    "attributes": {"sfdc-Tier__c": "forged"},
    "Attributes": {"sfdc-Tier__c": "forged"},
    "parameters": {"fromNumber": "+15555550111"},
    "queue": "forged",
    "callAttributes": '{"Tier__c": "forged"}',
    "disconnectTimestamp": "2001-01-01T00:00:00Z",
    "agentInfo": {"agentArn": "forged"},
    "queueInfo": {"queueArn": "forged"},
}


@pytest.fixture
def world(new_world: Callable[..., World]) -> World:
    return new_world()


def says(world: World, contact_id: str, source: str, **more: Any) -> None:
    world.stack.queue.send(json.dumps({"contactId": contact_id, "source": source, **more}), delay=0)


@pytest.mark.parametrize("source", ["operator", "contact-flow", "reconcile"])
@pytest.mark.parametrize("fails", [0, 1, 2])
def test_only_the_ledger_knows_who_asked_for_a_contact(world: World, source: str, fails: int) -> None:
    """Another method's contact is sent only if an operator or a contact flow asked for it."""
    contact_id = world.answered(InitiationMethod="QUEUE_TRANSFER")
    world.fail_describing(fails)
    says(world, contact_id, source, **MORE)

    world.run(3 * HOUR)

    assert world.stack.salesforce.applied(contact_id) == 0
    assert world.live(contact_id) == 0
    assert world.record(contact_id).get("firstSource", "reconcile") == "reconcile"


@pytest.mark.parametrize("source", ["operator", "contact-flow"])
def test_a_record_names_only_a_source_that_asked(world: World, source: str) -> None:
    by_itself, by_event = world.answered(), world.told()
    world.stack.salesforce.always(Answer(429))
    world.run(2 * MINUTE)
    says(world, by_itself, source)
    says(world, by_event, source)
    world.run(MINUTE)
    world.stack.salesforce.behave()
    world.run(3 * HOUR)

    sources = [(record["source"], record["firstSource"]) for record in map(world.record, (by_itself, by_event))]
    assert sources == [("reconcile", "reconcile"), ("contact-event", "contact-event")]
    assert [world.stack.salesforce.applied(one) for one in (by_itself, by_event)] == [1, 1]


def test_no_field_of_a_message_is_sent(world: World) -> None:
    plain, ours, told = (world.answered() for _ in range(3))
    says(world, plain, "reconcile")
    says(world, ours, "reconcile", **MORE)
    event = contact_event(told, **{name: value for name, value in MORE.items() if name != "state"})
    world.stack.queue.send({**event, **MORE, "time": world.now.isoformat()}, delay=0)
    world.run(MINUTE)

    bodies = {request.call_id: request.body for request in world.stack.salesforce.received}
    assert bodies[plain]
    assert bodies[plain] == bodies[ours] == bodies[told]
    assert SECRET_VALUE in json.dumps(bodies[plain])


def test_an_event_of_another_instance_is_ignored_and_counted(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    contact_id = world.answered()
    capfd.readouterr()
    world.stack.gateway.heal()
    world.stack.queue.send(contact_event(contact_id, instanceArn=OTHER), delay=0)
    world.run(MINUTE)

    assert metric(capfd, "Ignored") == 1
    assert world.stack.gateway.calls == []
    assert (world.record(contact_id), world.live(contact_id), world.parked(contact_id)) == ({}, 0, 0)


def deep(contact_id: str) -> str:
    """A contact event of ours with a million brackets in it."""
    event = json.dumps(contact_event(contact_id, tags="HERE"))
    return event.replace('"HERE"', "[" * 500_000 + "]" * 500_000)


def big(contact_id: str) -> str:
    """A message of 256 KB whose contact id is as long."""
    body = json.dumps({"contactId": contact_id, "source": "operator"})
    return body.replace(contact_id, contact_id + "x" * (262_144 - len(body)))


@pytest.mark.parametrize(
    "body",
    [
        deep(new_id()),
        big(new_id()),
        "{",
        json.dumps({"source": "operator"}),
        json.dumps(contact_event("")),
        "1" * 5000,
        '{"contactId": "\\ud800", "source": "operator"}',
        '{"detail-type": "Amazon Connect Contact Event", "detail": NaN}',
    ],
    ids=["a million brackets", "256 KB", "no JSON", "no id", "event without id", "a long number", "surrogate", "NaN"],
)
def test_an_unreadable_message_is_counted_and_delays_no_other(
    world: World, capfd: pytest.CaptureFixture[str], body: str
) -> None:
    capfd.readouterr()
    world.stack.queue.send(body, delay=0)
    other = world.answered()
    says(world, other, "reconcile")
    world.run(MINUTE)

    assert metric(capfd, "Invalid") == 1
    assert [message.body for message in world.stack.dead_letters.messages] == [body]
    assert world.stack.queue.bodies == []
    assert world.stack.salesforce.applied(other) == 1


@pytest.mark.parametrize("arn", [None, "", "  ", 5, [INSTANCE_ARN], {}], ids=str)
def test_a_flow_that_does_not_say_its_instance_is_invalid(stack: LocalStack, sandbox: Sandbox, arn: object) -> None:
    contact_id = new_id()

    result = sandbox.invoke(flow_event(contact_id, {"fromNumber": CUSTOMER}, InstanceARN=arn))

    assert result.status == "INVALID"
    assert result.answer is not None
    assert result.answer["detail"].startswith("Details.ContactData.InstanceARN must be ")
    assert stack.salesforce.received == []
    assert stack.record(contact_id) is None
