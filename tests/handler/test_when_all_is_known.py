"""When a contact is sent: once its call, after-contact work and recording are over, or were waited for long enough."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import boto3
import pytest

from tests.support.contacts import RECORDING, contact_event, flow_event
from tests.support.simulated import DAY, HOUR, MINUTE, World
from tools.local.misbehaviour import Answer
from voicecall_sync.ledger.open_contacts import OpenContacts
from voicecall_sync.ledger.table import Table
from voicecall_sync.outcome import State

SECOND = timedelta(seconds=1)
NewWorld = Callable[..., World]


@pytest.fixture
def world(new_world: NewWorld) -> World:
    return new_world()


def agent(world: World, *, work_ended: timedelta | None, ended: timedelta = timedelta()) -> dict[str, Any]:
    """An agent who talked until `ended` ago; None for after-contact work of which Connect tells no end."""
    times = {"ConnectedToAgentTimestamp": world.now - ended - 3 * MINUTE, "AgentInitiatedHoldDuration": 10}
    if work_ended is not None:
        times |= {
            "AfterContactWorkStartTimestamp": world.now - ended,
            "AfterContactWorkEndTimestamp": world.now - work_ended,
        }
    return {"Id": "agent-jane", **times}


def applied(world: World, contact_id: str) -> int:
    return world.stack.salesforce.applied(contact_id)


def attempts_in_minutes(world: World, contact_id: str) -> list[float]:
    return [moment / MINUTE for moment in world.attempts_at(contact_id)]


def counted(capfd: pytest.CaptureFixture[str]) -> Callable[[str], float]:
    """Return what gives the sum of a metric in what was printed until now."""
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if '"_aws"' in line]
    return lambda name: sum(sum(line.get(name, [])) for line in lines)


def release(world: World, contact_id: str) -> None:
    """Release a contact that Salesforce refused, as ``operate release`` does."""
    open_contacts = OpenContacts(Table(boto3.client("dynamodb"), world.stack.table), lambda: "owner")
    [record] = [one for one in open_contacts.open(State.REJECTED) if one.contact_id == contact_id]
    assert open_contacts.release(record, "jane", world.now)
    release_by_an_operator(world, contact_id)


def release_by_an_operator(world: World, contact_id: str) -> None:
    world.stack.queue.send({"contactId": contact_id, "source": "operator"}, delay=0)


# --- the recording ----------------------------------------------------------------------------------------------------


def test_a_late_recording_is_sent_with_hold_and_talk_time(world: World) -> None:
    contact_id = world.told(world.answered(Recordings=None))
    world.run(2 * MINUTE)
    assert applied(world, contact_id) == 0
    assert world.record(contact_id)["waitsFor"] == "recording"
    world.change(contact_id, Recordings=[RECORDING])
    world.run(2 * MINUTE)
    call = world.stack.salesforce.voice_calls[contact_id]
    assert call.recording is not None
    assert call.recording.location == RECORDING["Location"]
    assert (call.customer_hold_duration, call.agent_interaction_duration) == (10, 170)


def test_without_a_recording_it_is_sent_after_five_minutes(
    world: World, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    contact_id = world.told(world.answered(Recordings=None))
    world.run(5 * MINUTE - SECOND)
    assert applied(world, contact_id) == 0
    record = world.record(contact_id)
    assert "recording may still come" in record["detail"]
    assert "failures" not in record
    world.run(2 * SECOND)
    assert applied(world, contact_id) == 1
    assert attempts_in_minutes(world, contact_id) == [0, 1, 3, 3.5]
    sum_of = counted(capfd)
    assert (sum_of("WaitingForRecording"), sum_of("RetryLater")) == (3, 0)
    assert {(line.levelname, vars(line)["awaits"]) for line in caplog.records if "awaits" in vars(line)} == {
        ("INFO", "recording")
    }


@pytest.mark.parametrize(("minutes", "sent_after"), [("0", 1.5), ("1", 1.5), ("2", 2.0), ("60", 60.0)])
def test_how_long_a_recording_may_take_is_a_setting(
    world: World, monkeypatch: pytest.MonkeyPatch, minutes: str, sent_after: float
) -> None:
    world.set(monkeypatch, RECORDING_WAIT_MINUTES=minutes, every=None)
    contact_id = world.told(world.answered(Recordings=None))
    world.run(sent_after * MINUTE - SECOND)
    assert applied(world, contact_id) == 0
    world.run(2 * SECOND)
    assert applied(world, contact_id) == 1


@pytest.mark.parametrize("time", [None, "yesterday", 2 * DAY, -10 * MINUTE], ids=["none", "no time", "later", "before"])
def test_an_events_time_counts_only_after_the_calls_end(world: World, time: Any) -> None:
    """Where it does not count, the wait counts from the end of after-contact work: two minutes ago."""
    contact_id = world.answered(ago=4 * MINUTE, Recordings=None, AgentInfo=agent(world, work_ended=2 * MINUTE))
    event = {
        **contact_event(contact_id),
        "time": (world.now + time).isoformat() if isinstance(time, timedelta) else time,
    }
    world.stack.queue.send(json.dumps(event), delay=0)
    world.run(3 * MINUTE - SECOND)
    assert applied(world, contact_id) == 0
    world.run(2 * SECOND)
    assert applied(world, contact_id) == 1


def test_a_late_event_is_not_waited_for_anew(world: World) -> None:
    contact_id = world.answered(ago=HOUR, Recordings=None)
    sent = world.now - 30 * MINUTE
    world.stack.queue.send(json.dumps({**contact_event(contact_id), "time": sent.isoformat()}), delay=0)
    world.run(SECOND)
    assert applied(world, contact_id) == 1


def test_an_ivr_recording_is_not_the_agents(world: World) -> None:
    of_ivr = {**RECORDING, "Location": "connect/x/CallRecordings/ivr/2026/call.wav"}
    contact_id = world.told(world.answered(Recordings=[of_ivr]))
    world.run(3 * MINUTE)
    assert world.record(contact_id)["waitsFor"] == "recording"


def test_a_call_without_an_agent_is_not_waited_for(world: World) -> None:
    contact_id = world.told(world.abandoned())
    world.run(90 * SECOND)
    assert applied(world, contact_id) == 1


# --- after-contact work -----------------------------------------------------------------------------------------------


@pytest.fixture
def found(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which contacts come by the reconciliation alone, after three quarters of an hour."""
    made = new_world(every=45 * MINUTE)
    monkeypatch.setenv("RECONCILE_SCOPE", "all")
    made.run(45 * MINUTE)
    return made


def test_without_end_of_work_it_is_sent_after_four_hours(found: World, capfd: pytest.CaptureFixture[str]) -> None:
    contact_id = found.answered(AgentInfo=agent(found, work_ended=None))
    found.run(HOUR)
    found.schedule(None)
    found.run(HOUR)
    found.change(contact_id, Attributes={"sfdc-Outcome__c": "sold"})  # the agent sets it at the end of the work
    found.run(2 * HOUR - SECOND)
    assert applied(found, contact_id) == 0
    found.run(2 * SECOND)
    assert found.stack.salesforce.voice_calls[contact_id].custom_fields == {"Outcome__c": "sold"}
    looks = attempts_in_minutes(found, contact_id)
    assert looks[:4] == [0, 5, 20, 80]
    assert len(looks) == 5
    sum_of = counted(capfd)
    assert (sum_of("NotFinishedYet"), sum_of("RetryLater")) == (4, 0)


def test_after_contact_work_it_is_sent_at_the_next_look(found: World) -> None:
    contact_id = found.answered(AgentInfo=agent(found, work_ended=None))
    found.run(50 * MINUTE)
    assert found.record(contact_id)["waitsFor"] == "wrap-up"
    found.change(contact_id, AgentInfo=agent(found, work_ended=10 * MINUTE, ended=50 * MINUTE))
    found.run(20 * MINUTE)
    assert applied(found, contact_id) == 1


def test_a_completed_event_vouches_that_after_contact_work_is_over(world: World) -> None:
    contact_id = world.told(world.answered(AgentInfo=agent(world, work_ended=None)))
    world.run(90 * SECOND)
    assert applied(world, contact_id) == 1


def test_the_events_word_outlives_its_message(found: World) -> None:
    """The event was met, then its message was lost: the one of the reconciliation is sent without a further wait."""
    contact_id = found.told(found.answered(AgentInfo=agent(found, work_ended=None)))
    found.fail_describing(1)
    found.run(95 * SECOND)
    assert found.record(contact_id)["failures"] == "1"
    found.lose(contact_id)
    found.run(2.5 * HOUR)
    assert applied(found, contact_id) == 1


def test_for_a_flows_message_no_event_vouches(world: World) -> None:
    contact_id = world.answered(AgentInfo=agent(world, work_ended=None))
    world.stack.salesforce.next(Answer(429))
    assert world.flow(flow_event(contact_id))["status"] == "RETRY_LATER"
    world.run(HOUR)
    assert world.record(contact_id)["waitsFor"] == "wrap-up"
    world.told(contact_id)
    world.run(90 * SECOND)
    assert applied(world, contact_id) == 1


def test_the_events_word_outlives_its_own_attempt(world: World) -> None:
    """The event came, its update was refused, then released: an operator need not wait for the event again."""
    contact_id = world.answered(AgentInfo=agent(world, work_ended=None))
    world.stack.salesforce.next(Answer(400))
    world.told(contact_id)
    world.run(91 * SECOND)
    release(world, contact_id)
    world.run(SECOND)
    assert applied(world, contact_id) == 1


def test_a_call_that_ended_long_ago_is_not_waited_for(world: World) -> None:
    contact_id = world.answered(ago=4 * HOUR, AgentInfo=agent(world, work_ended=None, ended=4 * HOUR), Recordings=None)
    release_by_an_operator(world, contact_id)
    world.run(SECOND)
    assert applied(world, contact_id) == 1


# --- the call ---------------------------------------------------------------------------------------------------------


def test_a_running_call_is_checked_less_and_less_often(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    contact_id = world.told(world.abandoned(DisconnectTimestamp=None))
    world.run(5 * HOUR)
    assert attempts_in_minutes(world, contact_id) == [0, 5, 15, 35, 95, 155, 215, 275]
    assert world.record(contact_id)["waitsFor"] == "call"
    assert "failures" not in world.record(contact_id)
    sum_of = counted(capfd)
    assert (sum_of("NotFinishedYet"), sum_of("RetryLater")) == (8, 0)
    world.change(contact_id, DisconnectTimestamp=world.now)
    world.run(HOUR)
    assert applied(world, contact_id) == 1


def test_a_call_without_end_needs_an_operator_after_a_week(world: World) -> None:
    contact_id = world.told(world.abandoned(DisconnectTimestamp=None))
    world.run(7 * DAY)
    assert (world.live(contact_id), world.parked(contact_id)) == (1, 0)
    assert max(delivery.receives for _, delivery in world.deliveries) < 990  # SQS parks it after a thousand
    world.run(2 * HOUR)
    assert (world.live(contact_id), world.parked(contact_id)) == (0, 1)
    assert "deadLetteredAt" in world.record(contact_id)
    world.redrive()
    world.run(MINUTE)
    assert (world.live(contact_id), world.parked(contact_id)) == (1, 0), "another week"


def test_waits_of_two_kinds_each_begin_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.set(monkeypatch, RECORDING_WAIT_MINUTES="60", every=None)
    contact_id = world.told(world.answered(DisconnectTimestamp=None, Recordings=None))
    world.run(20 * MINUTE)
    world.change(contact_id, DisconnectTimestamp=world.now, AgentInfo=agent(world, work_ended=timedelta()))
    world.run(22 * MINUTE)
    assert attempts_in_minutes(world, contact_id) == [0, 5, 15, 35, 36, 38, 40]


# --- what does not wait -----------------------------------------------------------------------------------------------


def test_a_contact_sent_by_a_flow_is_reported_without_waiting(world: World) -> None:
    contact_id = world.answered(Recordings=None)
    assert world.flow(flow_event(contact_id))["status"] == "UPDATED"
    world.told(contact_id)
    world.run(90 * SECOND)
    assert world.live(contact_id) == 0


def test_a_flows_running_call_is_checked_less_and_less_often(world: World) -> None:
    contact_id = world.abandoned(DisconnectTimestamp=None)
    assert world.flow(flow_event(contact_id))["status"] == "UPDATED"
    world.told(contact_id)
    world.run(5 * HOUR)
    assert attempts_in_minutes(world, contact_id) == [0, 3.5, 13.5, 33.5, 93.5, 153.5, 213.5, 273.5]
    world.change(contact_id, DisconnectTimestamp=world.now)
    world.run(HOUR)
    assert (world.live(contact_id), world.parked(contact_id)) == (0, 0)


def test_an_event_given_directly_raises_while_the_recording_may_come(world: World) -> None:
    contact_id = world.answered(Recordings=None)
    event = {**contact_event(contact_id), "time": world.now.isoformat()}
    with pytest.raises(Exception, match="recording may still come"):
        world.flow(event)
    assert applied(world, contact_id) == 0
