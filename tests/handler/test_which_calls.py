"""Which contacts are calls, through the handlers: by how they began, by their attributes, by how their call went on."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.support.contacts import flow_event, new_id
from tests.support.simulated import HOUR, MINUTE, World
from tools.local.misbehaviour import Answer
from voicecall_sync.calls import METHODS
from voicecall_sync.ledger.open_contacts import OpenContacts
from voicecall_sync.ledger.table import Table

OTHERS = ("QUEUE_TRANSFER", "EXTERNAL_OUTBOUND", "MONITOR", "DISCONNECT", "CALLBACK_CUSTOMER_FIRST_QUEUED")
DIALED = "CALLBACK_CUSTOMER_FIRST_DIALED"
RECORDED = [{"StorageType": "KINESIS_VIDEO_STREAM", "MediaStreamType": "VIDEO", "Location": "arn:aws:kinesisvideo:x"}]
OPTED_OUT: dict[str, Any] = {"Attributes": {"NoVoiceCallSync": "true"}}
VOICEMAIL: dict[str, Any] = {"Attributes": {"vm_flag": "true"}, "Recordings": RECORDED}
NewWorld = Callable[..., World]


@pytest.fixture
def world(new_world: NewWorld) -> World:
    return new_world()


@pytest.fixture
def begun(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> NewWorld:
    """Gives a world whose reconciliation has run once, in a scope."""

    def world(scope: str) -> World:
        made = new_world(every=HOUR)
        monkeypatch.setenv("RECONCILE_SCOPE", scope)
        made.run(HOUR)
        return made

    return world


def applied(world: World, contact_id: str) -> int:
    return world.stack.salesforce.applied(contact_id)


def release(world: World, contact_id: str) -> None:
    """Release a contact as `operate release` does: its record, then a message."""
    stack = world.stack
    open_contacts = OpenContacts(Table(stack.dynamodb, stack.table), new_id)
    record = open_contacts.known([contact_id])[contact_id]
    assert open_contacts.release(record, "an operator", world.now)
    stack.queue.send({"contactId": contact_id, "source": "operator"}, delay=0)


def metric(capfd: pytest.CaptureFixture[str], name: str) -> float:
    """The sum of a metric in what was printed since the last time."""
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if f'"{name}"' in line]
    return sum(sum(line[name]) for line in lines)


# --- by an event -----------------------------------------------------------------------------------------------------


def test_an_event_of_a_method_in_the_list_is_sent(world: World) -> None:
    contact_ids = [world.told(world.answered(InitiationMethod=method)) for method in (*METHODS, DIALED)]
    world.run(5 * MINUTE)
    assert [applied(world, contact_id) for contact_id in contact_ids] == [1] * 7


def test_an_answered_call_of_another_method_is_ignored_and_counted(
    world: World, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    contact_ids = [world.told(world.answered(InitiationMethod=method)) for method in (*OTHERS, "WHAT_IS_NEW")]
    contact_ids.append(world.told(world.abandoned(InitiationMethod="QUEUE_TRANSFER")))
    world.run(HOUR)
    assert [applied(world, contact_id) for contact_id in contact_ids] == [0] * 7
    assert [world.record(contact_id) for contact_id in contact_ids] == [{}] * 7
    assert metric(capfd, "IgnoredAnswered") == 6
    details = {record.__dict__.get("detail") for record in caplog.records}
    assert "its initiation method is not in INITIATION_METHODS: MONITOR" in details


def test_a_method_that_is_added_is_sent_as_a_transfer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.set(monkeypatch, INITIATION_METHODS="INBOUND,QUEUE_TRANSFER", every=None)
    moved, outbound = (world.told(world.answered(InitiationMethod=one)) for one in ("QUEUE_TRANSFER", "OUTBOUND"))
    world.run(5 * MINUTE)
    assert (applied(world, moved), applied(world, outbound)) == (1, 0)
    assert world.stack.salesforce.voice_calls[moved].initiation_method == "TRANSFER"


@pytest.mark.parametrize("attributes", [{"NoVoiceCallSync": "yes"}, {"NoVoiceCallSync": "TRUE", "NoSync": "false"}])
def test_a_contact_that_opted_out_is_ignored(world: World, attributes: dict[str, str]) -> None:
    contact_id = world.told(world.answered(Attributes=attributes))
    world.run(HOUR)
    assert (applied(world, contact_id), world.record(contact_id)) == (0, {})


@pytest.mark.parametrize("attributes", [{"NoVoiceCallSync": "false"}, {"NoVoiceCallSync": ""}, {"NoSync": "true"}])
def test_a_contact_that_did_not_opt_out_is_sent(world: World, attributes: dict[str, str]) -> None:
    contact_id = world.told(world.answered(Attributes=attributes))
    world.run(5 * MINUTE)
    assert applied(world, contact_id) == 1


def test_the_attributes_names_are_settings(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.set(monkeypatch, OPT_OUT_ATTRIBUTE="campaign", VOICEMAIL_ATTRIBUTE="isVoicemail", every=None)
    left_out = [
        world.told(world.answered(Attributes={"campaign": "spring"})),
        world.told(world.abandoned(Attributes={"isVoicemail": "1"}, Recordings=RECORDED)),
    ]
    sent = [world.told(world.answered(**OPTED_OUT)), world.told(world.abandoned(**VOICEMAIL))]
    world.run(10 * MINUTE)
    assert [applied(world, contact_id) for contact_id in (*left_out, *sent)] == [0, 0, 1, 1]


# --- voicemails, callbacks -------------------------------------------------------------------------------------------


def test_a_voicemail_is_left_to_salesforces_packager(world: World) -> None:
    contact_id = world.told(world.abandoned(**VOICEMAIL))
    not_marked = world.told(world.abandoned(**{**VOICEMAIL, "Attributes": {"vm_flag": "false"}}))
    world.run(HOUR)
    assert (applied(world, contact_id), world.record(contact_id)) == (0, {})
    assert applied(world, not_marked) == 1


def test_a_voicemail_with_a_late_recording_is_ignored_too(world: World) -> None:
    contact_id = world.told(world.abandoned(Attributes={"vm_flag": "true"}))
    world.run(3 * MINUTE)
    assert "no recording yet" in world.record(contact_id)["detail"]
    assert "failures" not in world.record(contact_id)
    world.change(contact_id, Recordings=RECORDED)
    world.run(HOUR)
    assert applied(world, contact_id) == 0
    assert "open" not in world.record(contact_id)


def test_a_voicemail_without_recording_is_missed_after_five_minutes(world: World) -> None:
    contact_id = world.told(world.abandoned(Attributes={"vm_flag": "true"}))
    world.run(5 * MINUTE - timedelta(seconds=1))
    assert applied(world, contact_id) == 0
    world.run(timedelta(seconds=2))
    assert applied(world, contact_id) == 1
    _, *later = world.attempts_at(contact_id)
    assert later == [timedelta(seconds=60), timedelta(seconds=180), timedelta(seconds=210)]
    assert world.record(contact_id).get("failures") is None


def test_an_accepted_callback_is_no_abandoned_call(world: World) -> None:
    accepted = world.told(world.abandoned(Attributes={"callback_flag": "true"}))
    answered = world.told(world.answered(Attributes={"callback_flag": "true"}))
    declined = world.told(world.abandoned(Attributes={"callback_flag": "false"}))
    world.run(5 * MINUTE)
    calls = world.stack.salesforce.voice_calls
    reasons = [calls[contact_id].disconnect_reason for contact_id in (accepted, answered, declined)]
    assert [(reason.value, reason.is_error) for reason in reasons if reason] == [
        ("CALLBACK", False),
        ("CUSTOMER_DISCONNECT", False),
        ("CUSTOMER_DISCONNECT", False),
    ]


# --- by whom it is asked for -----------------------------------------------------------------------------------------

UNWANTED: list[dict[str, Any]] = [{"InitiationMethod": "QUEUE_TRANSFER"}, OPTED_OUT, VOICEMAIL]
KINDS = pytest.mark.parametrize("changes", UNWANTED, ids=["method", "opt-out", "voicemail"])


@KINDS
def test_a_search_does_not_ask_for_it(begun: NewWorld, changes: dict[str, Any]) -> None:
    world = begun("all")
    contact_id = world.abandoned(**changes)
    world.run(3 * HOUR)
    assert applied(world, contact_id) == 0
    assert (world.record(contact_id) == {}) is ("InitiationMethod" in changes)
    assert "open" not in world.record(contact_id)


@KINDS
def test_a_flow_that_asks_is_served(world: World, changes: dict[str, Any]) -> None:
    contact_id = world.abandoned(DisconnectTimestamp=None, **changes)
    asked = {name: value for name, value in changes.items() if name != "Recordings"}
    event = flow_event(contact_id, {"sfdc-Tier__c": "gold"}, **asked)
    assert world.flow(event)["status"] == "UPDATED"
    world.told(contact_id)
    world.run(5 * MINUTE)
    assert applied(world, contact_id) == 1


@KINDS
def test_a_flows_message_is_sent_for_any_method(world: World, changes: dict[str, Any]) -> None:
    contact_id = world.abandoned(**changes)
    world.stack.salesforce.next(Answer(429))
    assert world.flow(flow_event(contact_id, {"sfdc-Tier__c": "gold"}))["status"] == "RETRY_LATER"
    world.run(HOUR)
    assert applied(world, contact_id) == ("InitiationMethod" in changes)


@KINDS
def test_a_contact_that_was_released_is_sent(world: World, changes: dict[str, Any]) -> None:
    contact_id = world.told(world.abandoned())
    world.stack.salesforce.next(Answer(400))
    world.run(2 * MINUTE)
    assert world.record(contact_id)["state"] == "REJECTED"
    world.change(contact_id, **changes)
    release(world, contact_id)
    world.run(2 * MINUTE)
    assert applied(world, contact_id) == 1


@KINDS
def test_a_contact_that_is_named_by_hand_is_sent(world: World, changes: dict[str, Any]) -> None:
    contact_id = world.abandoned(**changes)
    assert world.reconcile({"contactIds": [contact_id]})["enqueued"] == 1
    world.run(2 * MINUTE)
    assert applied(world, contact_id) == 1


@KINDS
def test_an_ignored_contact_is_sent_once_an_operator_names_it(world: World, changes: dict[str, Any]) -> None:
    contact_id = world.told(world.abandoned(**changes))
    world.fail_describing(1)
    world.run(HOUR)
    assert applied(world, contact_id) == 0
    assert "open" not in world.record(contact_id)
    assert world.reconcile({"contactIds": [contact_id]})["enqueued"] == 1
    world.run(2 * MINUTE)
    assert applied(world, contact_id) == 1


# --- calls that went on ----------------------------------------------------------------------------------------------


def moved_on(world: World, **last: Any) -> tuple[str, str, str]:
    """A caller who was moved to another queue twice; what became of the last leg is given."""
    first = world.abandoned(ago=30 * MINUTE)
    second = world.abandoned(ago=20 * MINUTE, InitiationMethod="QUEUE_TRANSFER", PreviousContactId=first)
    third = {"InitiationMethod": "QUEUE_TRANSFER", "PreviousContactId": second, **last}
    return first, second, world.answered(**third) if last.get("AgentInfo") else world.abandoned(**third)


@pytest.mark.parametrize("scope", ["abandoned", "unanswered"])
def test_the_last_leg_decides_whether_a_moved_caller_is_missed(begun: NewWorld, scope: str) -> None:
    """The second pass decides. The last leg may be in the list: it is a call of its own, and stands for both others."""
    world = begun(scope)
    world.run(30 * MINUTE)
    agent = {"Id": "agent-jane", "ConnectedToAgentTimestamp": world.now - MINUTE}
    last_legs: dict[str, dict[str, Any]] = {
        "hung up": {},
        "answered": {"AgentInfo": agent},
        "still up": {"DisconnectTimestamp": None},
        "callback": {"InitiationMethod": DIALED, "AgentInfo": agent},
        "waits for a callback": {"InitiationMethod": "CALLBACK_CUSTOMER_FIRST_QUEUED"},
        "in the list": {"InitiationMethod": "TRANSFER"},
    }
    callers = {name: moved_on(world, **last_leg) for name, last_leg in last_legs.items()}

    def sent() -> dict[str, list[int]]:
        return {name: [applied(world, leg) for leg in legs] for name, legs in callers.items()}

    world.run(2 * HOUR)
    by_first_pass = {**{name: [0, 0, 0] for name in last_legs}, "in the list": [0, 0, 1]}
    assert sent() == by_first_pass
    world.schedule(23 * HOUR)
    world.run(23 * HOUR + 5 * MINUTE)
    assert sent() == {**by_first_pass, "hung up": [1, 0, 0]}


def test_with_scope_all_each_leg_is_its_own_contact(begun: NewWorld) -> None:
    world = begun("all")
    first = world.abandoned()
    second = world.abandoned(InitiationMethod="QUEUE_TRANSFER", PreviousContactId=first)
    third = world.answered(InitiationMethod="TRANSFER", PreviousContactId=second)
    world.run(3 * HOUR)
    assert [applied(world, leg) for leg in (first, second, third)] == [1, 0, 1]


def test_a_chain_is_found_by_hand(begun: NewWorld) -> None:
    world = begun("none")
    legs = moved_on(world)
    window = {"from": (world.now - HOUR).isoformat(), "to": world.now.isoformat(), "scope": "abandoned"}
    world.run(2 * HOUR)
    assert world.reconcile(window)["enqueued"] == 1
    world.run(2 * MINUTE)
    assert [applied(world, leg) for leg in legs] == [1, 0, 0]


@pytest.mark.parametrize("taken", [True, False])
def test_a_method_that_connect_refuses_is_dropped_and_counted(
    begun: NewWorld, capfd: pytest.CaptureFixture[str], *, taken: bool
) -> None:
    world = begun("all")
    world.stack.connect.takes_new_methods = taken
    dialed, inbound = world.answered(InitiationMethod=DIALED), world.answered()
    capfd.readouterr()
    world.run(2 * HOUR + 2 * MINUTE)
    assert (applied(world, dialed), applied(world, inbound)) == (int(taken), 1)
    assert metric(capfd, "MethodNotSearched") == (0 if taken else 2)
    assert {answer["stopped"] for answer in world.answers} == {None}
