"""The reconciliation, through its handler: what it finds and enqueues, what it leaves alone, how its passes walk."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.contacts import new_id
from tests.support.missed import open_claim
from tests.support.simulated import DAY, HOUR, LADDER, MINUTE, SPARSE, World
from tools.local.gateway import Fault
from tools.local.misbehaviour import Answer

NewWorld = Callable[..., World]
QUARTER = 15 * MINUTE
SELDOM = DAY + 20 * MINUTE
BOTH_PASSES = SELDOM + 5 * MINUTE
"""In it, with SELDOM, both passes of one run look at a call that ends at its beginning. The worker sends it then."""
NEVER = datetime(1970, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)
NEXT = {"Type": "QUICK_CONNECT", "NextContactMetadata": {"QuickConnectContactData": {"QuickConnectType": "USER"}}}


@pytest.fixture
def begun(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    """Gives a world whose schedule has run once, a while ago, in a scope."""

    def world(
        scope: str = "all", every: timedelta = QUARTER, ladder: tuple[float, ...] = LADDER, **settings: str
    ) -> World:
        made = new_world(every=every, ladder=ladder)
        monkeypatch.setenv("RECONCILE_SCOPE", scope)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        made.run(every)
        return made

    return world


def applied(world: World, *contact_ids: str) -> list[int]:
    return [world.stack.salesforce.applied(contact_id) for contact_id in contact_ids]


def position(world: World, name: str = "first") -> dict[str, Any]:
    return world.record(f"#position {name}")


# --- what it finds ---------------------------------------------------------------------------------------------------


def test_a_lost_event_is_found_after_half_an_hour(begun: Callable[..., World]) -> None:
    world = begun()
    contact_id = world.answered()
    world.run(29 * MINUTE)
    assert world.record(contact_id) == {}
    world.run(16 * MINUTE)
    assert applied(world, contact_id) == [1]
    record = world.record(contact_id)
    assert (record["state"], record["source"], record["scope"]) == ("UPDATED", "reconcile", "all")


def test_calls_before_the_first_run_are_not_enqueued(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = new_world()
    monkeypatch.setenv("RECONCILE_SCOPE", "all")
    contact_id = world.answered(ago=MINUTE)
    world.reconcile()
    world.schedule(SELDOM)
    world.run(BOTH_PASSES)
    assert applied(world, contact_id) == [0]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("none", set()),
        ("abandoned", {"hung up", "sentinel"}),
        ("unanswered", {"hung up", "sentinel", "in the flow", "callback"}),
        ("all", {"hung up", "sentinel", "in the flow", "callback", "answered", "handed on", "transfer"}),
    ],
)
def test_scopes(begun: Callable[..., World], scope: str, expected: set[str]) -> None:
    world = begun(scope, every=SELDOM)
    contacts = {
        "hung up": world.abandoned(),
        "sentinel": world.abandoned(AgentInfo={"Id": "agent-jane", "ConnectedToAgentTimestamp": NEVER}),
        "in the flow": world.abandoned(QueueInfo=None),
        "callback": world.abandoned(InitiationMethod="CALLBACK"),
        "answered": world.answered(),
        "handed on": world.abandoned(),
        "chat": world.abandoned(Channel="CHAT"),
        "still up": world.abandoned(DisconnectTimestamp=None),
    }
    contacts["transfer"] = world.answered(InitiationMethod="TRANSFER", PreviousContactId=contacts["handed on"])
    world.run(BOTH_PASSES)
    assert {name for name, contact_id in contacts.items() if applied(world, contact_id) == [1]} == expected
    handed_on = sum(answer["handedOn"] for answer in world.answers)
    assert handed_on == (2 if scope in {"abandoned", "unanswered"} else 0)  # once by each pass
    assert world.stack.gateway.calls.count("SearchContacts") > 0 or scope == "none"


@pytest.mark.parametrize("method", ["TRANSFER", "QUEUE_TRANSFER", "CALLBACK"])
def test_a_call_that_went_on_hours_later_was_not_missed(begun: Callable[..., World], method: str) -> None:
    world = begun("abandoned")
    handed_on = world.abandoned()
    world.abandoned(
        InitiationMethod=method,
        PreviousContactId=handed_on,
        InitiationTimestamp=world.now + 20 * MINUTE,
        DisconnectTimestamp=None,
    )
    world.run(HOUR)
    assert world.record(handed_on) == {}


def test_a_fresh_contact_is_no_successor_of_itself(begun: Callable[..., World]) -> None:
    world = begun("abandoned")
    contact_id = world.abandoned(InitiationMethod="TRANSFER")
    world.change(contact_id, PreviousContactId=contact_id)
    world.run(HOUR)
    assert applied(world, contact_id) == [1]


@pytest.mark.parametrize(
    ("since", "by_name"),
    [({"AgentInfo": {"Id": "agent-jane"}}, 1), ({"NextContacts": [NEXT]}, 1), ({"Channel": "CHAT"}, 0)],
    ids=str,
)
def test_the_index_lags_and_the_description_decides(
    begun: Callable[..., World], since: dict[str, Any], by_name: int
) -> None:
    """A contact that was not missed is closed. An operator can still have a call sent by its name."""
    world = begun("abandoned", every=HOUR)
    contact_id = world.abandoned()
    if "AgentInfo" in since:
        since = {"AgentInfo": {"Id": "agent-jane", "ConnectedToAgentTimestamp": world.now - MINUTE}}
    world.stack.connect.search_lag = DAY
    world.change(contact_id, **since)
    world.run(HOUR + MINUTE)
    world.schedule(None)
    assert applied(world, contact_id) == [0]
    record = world.record(contact_id)
    assert record["state"] == "NOT_APPLIED"
    assert "open" not in record
    assert world.live(contact_id) == 0
    assert world.reconcile({"contactIds": [contact_id]})["enqueued"] == 1
    world.run(4 * HOUR)
    assert applied(world, contact_id) == [by_name]


def test_the_second_pass_finds_contacts_indexed_late(begun: Callable[..., World]) -> None:
    world = begun(every=HOUR)
    world.stack.connect.search_lag = 5 * HOUR
    contact_id = world.answered()
    world.run(HOUR)  # the first pass looks
    world.schedule(23 * HOUR + 20 * MINUTE)
    world.run(23 * HOUR)
    assert applied(world, contact_id) == [0]
    world.run(HOUR)
    assert applied(world, contact_id) == [1]


def test_a_contact_is_looked_at_twice(begun: Callable[..., World]) -> None:
    world = begun(every=SELDOM)
    contact_ids = [world.told(world.answered()) for _ in range(5)]
    world.run(BOTH_PASSES)
    assert applied(world, *contact_ids) == [1] * 5
    assert sum(answer["found"] for answer in world.answers) == sum(answer["known"] for answer in world.answers) == 10


def test_it_needs_no_secret_no_description_and_no_salesforce(begun: Callable[..., World]) -> None:
    world = begun()
    contact_id = world.answered()
    world.mapping.is_enabled = False
    world.stack.put_secret("nothing of use")
    world.stack.salesforce.stop()
    world.stack.gateway.heal()
    world.run(HOUR)
    assert world.live(contact_id) == 1
    used = {"SearchContacts", "Query", "BatchGetItem", "GetItem", "PutItem", "SendMessageBatch", "GetQueueAttributes"}
    assert set(world.stack.gateway.calls) == used
    assert {answer["stopped"] for answer in world.answers} == {None}


# --- positions -------------------------------------------------------------------------------------------------------


def test_an_interrupted_step_is_repeated_half_as_wide(begun: Callable[..., World]) -> None:
    world = begun()
    world.schedule(None)
    world.run(3 * HOUR)
    world.stack.gateway.fail("SendMessageBatch", Fault.ERROR)
    contact_ids = [world.answered(ago=ago * MINUTE) for ago in (170, 140, 45)]
    answer = world.reconcile()
    assert answer["stopped"]
    assert answer["needsALook"]
    assert "trying" in position(world)
    world.stack.gateway.heal()
    assert world.reconcile()["stopped"] is None
    assert "trying" not in position(world)
    world.run(6 * HOUR)
    world.reconcile()
    world.run(MINUTE)
    assert applied(world, *contact_ids) == [1, 1, 1]


@pytest.mark.parametrize("before", [0, 2], ids=["the step begins", "the step is done"])
def test_a_saved_position_whose_answer_was_lost_is_saved(begun: Callable[..., World], before: int) -> None:
    """Between the two, the run writes the contact's record. The position's width is an hour."""
    world = begun()
    world.schedule(None)
    contact_id = world.answered()
    world.run(40 * MINUTE)
    world.stack.gateway.fail("PutItem", Fault.LOST, skip=before, times=1)
    assert world.reconcile()["stopped"] is None
    assert "trying" not in position(world)
    world.run(MINUTE)
    assert applied(world, contact_id) == [1]


def test_a_position_that_stands_is_measured(begun: Callable[..., World], capfd: pytest.CaptureFixture[str]) -> None:
    world = begun(every=HOUR)
    world.run(HOUR)
    world.stack.gateway.fail("SearchContacts", Fault.ERROR)
    world.run(3 * HOUR)
    capfd.readouterr()
    world.reconcile()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if "PositionStands" in line]
    assert lines[0]["PositionStands"] == [pytest.approx(3 * 3600, abs=1000)]
    world.stack.gateway.heal()
    world.reconcile()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if "PositionStands" in line]
    assert lines[0]["PositionStands"] == [0.0]


def test_an_outage_is_caught_up_for_one_day_only(begun: Callable[..., World], caplog: pytest.LogCaptureFixture) -> None:
    world = begun(every=DAY + HOUR)
    world.stack.gateway.fail("SearchContacts", Fault.ERROR)
    early = world.answered()
    world.run(2 * DAY)
    late = world.answered()
    world.stack.gateway.heal()
    world.run(2 * HOUR + 5 * MINUTE)
    assert applied(world, early, late) == [0, 1]
    skipped = world.answers[-1]["skipped"]
    assert len(skipped) == 2  # by each pass
    assert any("backfill it by hand" in record.message for record in caplog.records)
    window = {"from": min(one["from"] for one in skipped), "to": min(one["to"] for one in skipped)}
    by_hand = world.reconcile({**window, "scope": "all"})
    assert by_hand["enqueued"] == 1
    world.run(MINUTE)
    assert applied(world, early) == [1]


def test_more_hits_than_one_search_gives(begun: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicecall_sync.connect.search.ContactSearch.__init__.__defaults__", (3,))
    world = begun(every=HOUR)
    contact_ids = [world.answered(ago=-number * 4 * MINUTE) for number in range(22)]
    for gives_total in (True, False):
        world.stack.connect.gives_total_count = gives_total
        world.run(HOUR + MINUTE)
    assert applied(world, *contact_ids) == [1] * 22


def test_a_run_out_of_time_goes_on_where_it_was(begun: Callable[..., World]) -> None:
    world = begun(RECONCILE_SEARCHES_PER_SECOND="0.4")
    world.schedule(None)
    world.run(DAY)
    contact_ids = [world.answered(ago=number * MINUTE) for number in range(40, 1400, 120)]
    stopped = [world.reconcile(seconds=40.0)["stopped"] for _ in range(6)]
    assert "time of this run" in stopped[0]
    assert stopped[-1] is None
    world.run(10 * MINUTE)
    assert applied(world, *contact_ids) == [1] * len(contact_ids)


def test_nothing_before_the_bound(begun: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    world = begun(every=SELDOM)
    old = world.answered()
    world.run(MINUTE)
    monkeypatch.setenv("RECONCILE_NOT_BEFORE", world.now.isoformat())
    world.renew()
    young = world.answered()
    world.tell_later(old)
    world.run(BOTH_PASSES)
    assert applied(world, old, young) == [0, 1]
    assert world.reconcile({"contactIds": [old]})["enqueued"] == 1
    world.run(2 * MINUTE)
    assert applied(world, old) == [0]
    assert "RECONCILE_NOT_BEFORE" in world.record(old)["detail"]


@pytest.mark.parametrize(
    ("away", "back"),
    [
        ({"RECONCILE_SCOPE": "none"}, {"RECONCILE_SCOPE": "all"}),
        ({"RECONCILE_SCOPE": "abandoned"}, {"RECONCILE_SCOPE": "all"}),
        ({"every": None}, {"RECONCILE_NOT_BEFORE": "now"}),
        ({"RECONCILE_PAUSED": "true"}, {"RECONCILE_PAUSED": "false", "RECONCILE_NOT_BEFORE": "now"}),
    ],
    ids=["scope none", "narrower scope", "schedule", "paused"],
)
def test_a_hand_over_to_another_system_and_back(
    begun: Callable[..., World], monkeypatch: pytest.MonkeyPatch, away: dict[str, Any], back: dict[str, str]
) -> None:
    """No answered call that ended while another system updated calls is sent."""
    world = begun(every=HOUR)
    before = world.answered()
    world.run(2 * HOUR)
    world.set(monkeypatch, **away)
    theirs = []
    for _ in range(3):
        theirs.append(world.told(world.answered()) if "RECONCILE_PAUSED" in away else world.answered())
        world.run(90 * MINUTE)
    world.set(monkeypatch, **back)
    world.run(HOUR)  # the first run begins with what ends from then on
    ours = world.answered()
    world.schedule(SELDOM)
    world.run(BOTH_PASSES)
    assert applied(world, before, ours) == [1, 1]
    assert applied(world, *theirs) == [0] * 3


def test_a_redrive_after_a_hand_over_sends_nothing_old(
    begun: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = begun("none", every=12 * HOUR, ladder=SPARSE)
    contact_id = world.told()
    world.stack.salesforce.stop()
    world.run(8 * DAY)
    assert world.parked(contact_id) == 1
    world.stack.salesforce.start()
    world.set(monkeypatch, RECONCILE_SCOPE="all", RECONCILE_NOT_BEFORE="now")
    world.redrive()
    world.run(2 * HOUR)
    assert applied(world, contact_id) == [0]
    assert "open" not in world.record(contact_id)


# --- what is left open -----------------------------------------------------------------------------------------------


def test_expired_claims_become_uncertain_even_while_paused(
    begun: Callable[..., World], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    world = begun(RECONCILE_PAUSED="true")
    dead, alive = new_id(), new_id()
    open_claim(world.stack, dead, world.now - 5 * MINUTE)
    open_claim(world.stack, alive, world.now + 20 * MINUTE)
    capfd.readouterr()
    answer = world.reconcile()
    assert (world.stack.state(dead), world.stack.state(alive)) == ("UNCERTAIN", "CLAIMED")
    assert (answer["deadOwners"], answer["paused"], answer["stopped"]) == (1, True, None)
    assert [record.__dict__["contactId"] for record in caplog.records if "claim expired" in record.message] == [dead]
    printed = capfd.readouterr().out
    assert '"Uncertain":[1.0]' in printed
    assert '"Paused":[1.0]' in printed
    assert '"Reconciled":[1.0]' in printed


def test_a_lost_message_is_enqueued_again_once(begun: Callable[..., World]) -> None:
    world = begun("none", every=HOUR / 2)
    contact_id = world.told()
    world.stack.salesforce.always(Answer(401))
    world.run(5 * MINUTE)
    world.lose(contact_id)
    world.run(2 * HOUR)
    assert world.live(contact_id) == 0
    world.mapping.is_enabled = False
    for waited in (30 * MINUTE, 5 * HOUR):  # no second one, though the worker takes none
        world.run(waited)
        assert world.live(contact_id) == 1
    world.mapping.is_enabled = True
    world.stack.salesforce.behave()
    world.run(90 * MINUTE)
    assert applied(world, contact_id) == [1]


def test_a_found_contact_whose_message_was_never_sent_is_enqueued(begun: Callable[..., World]) -> None:
    world = begun(every=HOUR)
    world.stack.gateway.fail("SendMessageBatch", Fault.ERROR, times=2)
    contact_id = world.answered()
    world.run(HOUR + MINUTE)
    assert world.record(contact_id)["state"] == "NOT_APPLIED"
    world.run(3 * HOUR)
    assert applied(world, contact_id) == [1]


def test_a_weeks_outage_leaves_at_most_two_messages_a_contact(
    begun: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = begun(every=SELDOM, ladder=SPARSE)
    world.stack.salesforce.stop()
    told = world.told()
    lost = world.answered()
    twice = world.told(world.told())
    world.run(BOTH_PASSES)
    world.set(monkeypatch, RECONCILE_SCOPE="none", every=12 * HOUR)
    for _ in range(5 * 2 + 1):
        world.run(12 * HOUR)
        assert all(world.live(contact_id) <= 2 for contact_id in (told, lost, twice))
    world.stack.salesforce.start()
    world.run(12 * HOUR)
    assert applied(world, told, lost, twice) == [1, 1, 1]


def test_a_paused_worker_gets_at_most_two_messages_a_contact(begun: Callable[..., World]) -> None:
    world = begun(every=SELDOM)
    world.mapping.is_enabled = False
    told, lost = world.told(), world.answered()
    world.run(BOTH_PASSES)
    world.schedule(3 * HOUR)
    world.run(3 * HOUR)
    assert (world.live(told), world.live(lost)) == (2, 1)
    world.mapping.is_enabled = True
    world.run(4 * HOUR)
    assert applied(world, told, lost) == [1, 1]


def test_while_paused_nothing_moves(begun: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    world = begun(every=HOUR)
    without_message = world.told()
    world.stack.salesforce.always(Answer(401))
    world.run(5 * MINUTE)
    world.lose(without_message)
    world.stack.salesforce.behave()
    world.run(HOUR)
    world.set(monkeypatch, RECONCILE_PAUSED="true")
    told, lost = world.told(), world.answered()
    before = position(world), position(world, "second")
    world.run(4 * HOUR)
    assert (position(world), position(world, "second")) == before
    assert [world.live(contact_id) for contact_id in (told, lost, without_message)] == [1, 0, 0]
    world.set(monkeypatch, RECONCILE_PAUSED="false")
    world.run(4 * HOUR)
    assert applied(world, told, lost, without_message) == [1, 1, 1]


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_a_window_by_hand_says_how_far_it_came(begun: Callable[..., World]) -> None:
    world = begun("none")
    contact_ids = [world.answered(ago=ago * HOUR) for ago in range(1, 10, 3)]
    window = {"from": (world.now - 10 * HOUR).isoformat(), "to": world.now.isoformat(), "scope": "all"}
    listed = world.reconcile({**window, "dryRun": True})
    assert {contact["contactId"] for contact in listed["contacts"]} == set(contact_ids)
    assert world.stack.queue.bodies == []
    assert world.record(contact_ids[0]) == {}
    answer = world.reconcile(window)
    assert (answer["found"], answer["enqueued"], answer["through"]) == (3, 3, answer["window"]["to"])
    assert world.reconcile(window)["known"] == 3
    world.run(2 * MINUTE)
    assert applied(world, *contact_ids) == [1] * 3
    assert position(world)["scope"] == "none"


def test_an_interrupted_window_continues_from_its_answer(begun: Callable[..., World]) -> None:
    world = begun("none", RECONCILE_SEARCHES_PER_SECOND="0.1")
    contact_ids = [world.answered(ago=ago * HOUR) for ago in range(1, 25, 4)]
    start, end = (world.now - 25 * HOUR).isoformat(), world.now.isoformat()
    runs = 0
    while start < end:
        answer = world.reconcile({"from": start, "to": end, "scope": "all"}, seconds=150.0)
        assert answer["through"] > start
        start = answer["through"]
        runs += 1
    assert runs > 1
    world.run(10 * MINUTE)
    assert applied(world, *contact_ids) == [1] * len(contact_ids)


def test_contacts_by_name(begun: Callable[..., World]) -> None:
    world = begun("none")
    unknown, known = world.answered(), world.told()
    world.run(2 * MINUTE)
    world.stack.salesforce.next(Answer(429, headers=(("Retry-After", "3600"),)))
    waiting = world.told()
    world.run(2 * MINUTE)
    assert applied(world, waiting) == [0]
    world.run(HOUR - 2 * MINUTE)
    answer = world.reconcile({"contactIds": [unknown, known, waiting, "../x"]})
    assert (answer["found"], answer["known"], answer["enqueued"]) == (4, 1, 2)
    assert [contact["status"] for contact in answer["contacts"]] == ["INVALID", "enqueued", "known", "enqueued"]
    world.run(3 * MINUTE)
    assert applied(world, unknown, waiting) == [1, 1]
    assert world.record(unknown)["firstSource"] == "operator"


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ([], "event must be"),
        ({"form": "x"}, "not form"),
        ({"from": "yesterday", "scope": "all"}, "from must be"),
        ({"from": "2026-11-02T00:00:00Z", "to": "2026-11-01T00:00:00Z", "scope": "all"}, "from must be before to"),
        ({"from": "2026-11-01T00:00:00Z"}, "scope must be"),
        ({"dryRun": True}, "scope must be"),
        ({"scope": "none"}, "scope must be"),
        ({"dryRun": "yes"}, "dryRun must be"),
        ({"contactIds": "x"}, "contactIds must be"),
    ],
    ids=str,
)
def test_a_wrong_request_is_refused_by_name(begun: Callable[..., World], request_: object, said: str) -> None:
    with pytest.raises(Exception, match=said):
        begun("none").reconcile(request_)


def test_a_step_is_searched_at_the_quotas_pace(begun: Callable[..., World]) -> None:
    world = begun(RECONCILE_SEARCHES_PER_SECOND="0.4")
    for number in range(250):
        world.answered(ago=(number + 1) * 10 * timedelta(seconds=1))
    world.stack.gateway.heal()
    started = world.now
    window = {"from": (world.now - HOUR).isoformat(), "to": world.now.isoformat(), "dryRun": True}
    assert world.reconcile(window)["found"] == 250
    searches = world.stack.gateway.calls.count("SearchContacts")
    assert world.now - started == (searches - 1) * timedelta(seconds=2.5)


# --- events missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["lost", "there"])
def test_calls_whose_events_do_not_come_are_counted(
    begun: Callable[..., World], capfd: pytest.CaptureFixture[str], event: str
) -> None:
    world = begun()
    contact_id = world.answered()
    if event == "there":
        world.told(contact_id)
    capfd.readouterr()
    world.run(HOUR)
    printed = capfd.readouterr().out
    assert printed.count('"Answered":[1.0]') == 1
    assert ('"EventMissing":[1.0]' in printed) is (event == "lost")
