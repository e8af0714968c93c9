"""The daily message, through the reconciliation's handler: when operators get one, how often, and what it says."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.support.alarm_topic import AlarmTopic, Published
from tests.support.contacts import CUSTOMER, SECRET_VALUE
from tests.support.simulated import DAY, HOUR, MINUTE, SPARSE, World
from tools.local.gateway import Fault
from tools.local.ministack import MiniStack
from tools.local.misbehaviour import Answer, Close

NewWorld = Callable[..., World]
STACK = "contoso-calls"


@pytest.fixture
def topic(ministack: MiniStack) -> AlarmTopic:
    return AlarmTopic(ministack.url)


@pytest.fixture
def world(new_world: NewWorld, topic: AlarmTopic, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world at one in the morning, UTC, whose schedule is run by hand, and does not search."""
    made = new_world(ladder=SPARSE)
    for name, value in {
        "ALARM_TOPIC_ARN": topic.arn,
        "POWERTOOLS_SERVICE_NAME": STACK,
        "RECONCILE_SCOPE": "none",
    }.items():
        monkeypatch.setenv(name, value)
    made.renew()
    morning = made.now.replace(hour=1, minute=0, second=0, microsecond=0) + DAY
    made.run(morning - made.now)
    return made


@pytest.fixture
def evening(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The same at ten to midnight; its schedule searches, and has run."""
    world.set(monkeypatch, RECONCILE_SCOPE="all", every=None)
    world.run(22 * HOUR + 50 * MINUTE)
    world.reconcile()
    return world


def uncertain(world: World) -> str:
    """A call whose update was sent, and whose result is unknown."""
    world.stack.salesforce.always(Close(applied=False))
    contact_id = world.told()
    world.run(2 * MINUTE)
    assert world.record(contact_id)["state"] == "UNCERTAIN"
    world.stack.salesforce.always(None)
    return contact_id


def only(topic: AlarmTopic) -> Published:
    (published,) = topic.published
    return published


# --- when ------------------------------------------------------------------------------------------------------------


def test_nothing_open_sends_nothing(world: World, topic: AlarmTopic) -> None:
    world.told()
    world.run(2 * MINUTE)
    world.reconcile()
    assert topic.published == []


def test_calls_that_wait_for_their_recording_send_nothing(world: World, topic: AlarmTopic) -> None:
    contact_id = world.told(world.answered(Recordings=None))
    world.run(2 * MINUTE)
    assert world.record(contact_id)["waitsFor"] == "recording"
    world.reconcile()
    assert topic.published == []


def test_once_a_day_while_an_operator_must_look(world: World, topic: AlarmTopic) -> None:
    uncertain(world)
    for _ in range(3):
        world.reconcile()
        world.run(HOUR)
    assert only(topic).subject == f"VoiceCall Sync: 1 need an operator, 1 new: {STACK}"
    world.run(DAY)
    world.reconcile()
    (second,) = topic.published[1:]
    assert second.subject == f"VoiceCall Sync: 1 need an operator, 0 new: {STACK}"


def test_what_begins_later_is_told_the_next_day(world: World, topic: AlarmTopic) -> None:
    """An alarm tells it at once."""
    world.reconcile()
    uncertain(world)
    world.reconcile()
    assert topic.published == []
    world.run(DAY - HOUR / 2)
    world.reconcile()
    assert "1 (1 new)  UNCERTAIN" in only(topic).text


def test_a_clock_that_ran_ahead_costs_no_day(world: World, topic: AlarmTopic) -> None:
    tomorrow = str((world.now + DAY).timestamp())
    note = {"contactId": {"S": "#daily message"}, "at": {"N": tomorrow}, "unmet": {"N": "0"}}
    world.stack.dynamodb.put_item(TableName=world.stack.table, Item=note)
    uncertain(world)
    world.reconcile()
    assert len(topic.published) == 1


def test_a_paused_stack_tells_of_waiting_calls(
    world: World, topic: AlarmTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.set(monkeypatch, RECONCILE_PAUSED="true")
    world.told()
    world.reconcile()
    assert only(topic).subject == f"VoiceCall Sync: calls wait: {STACK}"
    assert "Contact queue: 0 ready, 0 in work or waiting to come back, 1 delayed" in only(topic).text
    assert "Updates from the queue are paused" in only(topic).text


def test_a_worker_that_takes_nothing_is_told(world: World, topic: AlarmTopic) -> None:
    world.run(22 * HOUR)
    world.mapping.is_enabled = False
    world.told()
    for _ in range(2):  # before and after midnight
        assert topic.published == []
        world.run(40 * MINUTE)
        world.reconcile()
    assert "Contact queue: 1 ready" in only(topic).text


def test_a_worker_that_cannot_begin_is_told(world: World, topic: AlarmTopic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its messages come back again and again, and no contact has a record."""
    world.set(monkeypatch, CUSTOM_FIELDS="{broken", every=None)
    world.run(22 * HOUR)
    contact_id = world.told()
    for _ in range(2):  # before and after midnight
        assert topic.published == []
        world.run(40 * MINUTE)
        world.reconcile()
    assert world.record(contact_id) == {}
    assert "Contact queue: 0 ready, 1 in work" in only(topic).text


def test_a_call_that_has_waited_long_is_told(world: World, topic: AlarmTopic) -> None:
    world.stack.salesforce.always(Answer(429))
    world.told()
    world.run(DAY - 2 * HOUR)
    world.reconcile()
    assert topic.published == []
    world.run(DAY)
    world.reconcile()
    assert "for more than a day: 1\n" in only(topic).text


def test_a_dead_letter_without_a_contact_is_told(world: World, topic: AlarmTopic) -> None:
    world.stack.queue.send(f"{SECRET_VALUE} {CUSTOMER}", delay=0)
    world.run(MINUTE)
    world.reconcile()
    published = only(topic)
    assert published.subject == f"VoiceCall Sync: 1 in the dead-letter queue: {STACK}"
    assert "Contacts that need an operator: 0\n" in published.text
    assert "Dead-letter queue: 1 ready" in published.text


@pytest.mark.parametrize("request_", [{"dryRun": True, "scope": "all"}, {"scope": "all"}, {"contactIds": ["c-1"]}])
def test_a_run_by_hand_sends_no_message(world: World, topic: AlarmTopic, request_: object) -> None:
    uncertain(world)
    world.reconcile(request_)
    assert topic.published == []


def test_without_a_topic_there_is_no_message(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALARM_TOPIC_ARN")
    world.renew()
    uncertain(world)
    assert world.reconcile()["needsALook"] is False
    assert "Publish" not in world.stack.gateway.calls


# --- what ------------------------------------------------------------------------------------------------------------


def test_the_message_counts_and_names_no_contact(world: World, topic: AlarmTopic) -> None:
    world.stack.salesforce.always(Answer(400))
    contact_ids = [world.told(), world.told()]
    world.run(2 * MINUTE)
    contact_ids.append(uncertain(world))
    contact_ids.append(world.told(world.answered(Recordings=None)))
    world.run(2 * MINUTE)
    world.reconcile()
    published = only(topic)
    assert published == Published(
        f"VoiceCall Sync: 3 need an operator, 3 new: {STACK}",
        f"""{STACK}, {world.now:%Y-%m-%d %H:%M} UTC

Contacts that need an operator: 3
  1 (1 new)  UNCERTAIN: sent, and its result is unknown
  2 (2 new)  REJECTED: refused for good
  New means: since {world.now - DAY:%Y-%m-%d %H:%M} UTC.
Contacts that wait in the contact queue: 1
  for more than a day: 0

Contact queue: 0 ready, 1 in work or waiting to come back, 0 delayed
Dead-letter queue: 0 ready, 0 in work or waiting to come back, 0 delayed

To see the contacts, and what to do about each:
  voicecall-sync --stack {STACK} attention

This message comes once a day while an operator must look.
""",
    )
    assert [one for one in (*contact_ids, CUSTOMER, SECRET_VALUE) if one in str(published)] == []


def test_an_expired_claim_is_told_as_uncertain(world: World, topic: AlarmTopic) -> None:
    contact_id = world.told()
    world.run(89 * timedelta(seconds=1))
    world.stack.gateway.fail("UpdateItem", Fault.ERROR)  # the settle fails
    world.run(timedelta(seconds=5))
    world.stack.gateway.heal()
    assert world.record(contact_id)["state"] == "CLAIMED"
    world.run(HOUR)
    world.reconcile()
    assert "1 (1 new)  UNCERTAIN" in only(topic).text


def test_it_comes_before_the_search(evening: World, topic: AlarmTopic) -> None:
    """A search may take all the time of a run, on each day."""
    uncertain(evening)
    evening.run(HOUR)
    evening.stack.gateway.heal()
    evening.reconcile()
    assert len(topic.published) == 1
    calls = evening.stack.gateway.calls
    assert calls.index("Publish") < calls.index("SearchContacts")


# --- if something fails ----------------------------------------------------------------------------------------------

BEFORE_IT_IS_OUT = ["Publish", "GetQueueAttributes", "Query", "GetItem"]


@pytest.mark.parametrize("operation", BEFORE_IT_IS_OUT)
def test_the_next_run_sends_what_was_not_sent(world: World, topic: AlarmTopic, operation: str) -> None:
    uncertain(world)
    world.stack.gateway.fail(operation, Fault.ERROR)
    assert world.reconcile()["needsALook"] is True
    world.stack.gateway.heal()
    world.reconcile()
    assert len(topic.published) == 1


def test_a_failing_topic_does_not_stop_the_run(
    evening: World, topic: AlarmTopic, caplog: pytest.LogCaptureFixture
) -> None:
    contact_id = evening.answered()
    uncertain(evening)
    evening.run(HOUR)
    evening.stack.gateway.fail("Publish", Fault.ERROR)
    answer = evening.reconcile()
    assert (answer["enqueued"], answer["stopped"], answer["needsALook"]) == (1, None, True)
    assert "the daily message was not sent: the alarm topic failed: " in answer["notTold"]
    assert evening.record(contact_id)["state"] == "NOT_APPLIED"
    assert topic.published == []
    assert "operators were not told what is open" in caplog.messages


def test_a_run_that_dies_early_leaves_a_second_message(world: World, topic: AlarmTopic) -> None:
    """Twice is better than never."""
    uncertain(world)
    world.stack.gateway.after = lambda operation: (
        world.stack.gateway.fail("PutItem", Fault.ERROR) if operation == "Publish" else None
    )
    assert "the idempotency table failed" in world.reconcile()["notTold"]
    world.stack.gateway.heal()
    world.reconcile()
    world.reconcile()
    assert len(topic.published) == 2


def test_too_little_time_leaves_it_to_the_next_run(world: World, topic: AlarmTopic) -> None:
    uncertain(world)
    world.stack.gateway.before = lambda operation: world.clock.sleep(500.0) if operation == "Query" else None
    assert "the time of this run is used up" in world.reconcile()["notTold"]
    assert topic.published == []
    world.stack.gateway.heal()
    world.reconcile()
    assert len(topic.published) == 1
