"""The reconciliation, through its handler: whom it finds, whom it leaves alone, and what it says of both."""

import json
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.contacts import contact_event, flow_event, new_id
from tests.missed import answered, ended, in_the_flow, open_claim, pass_time, put, table, updated
from tests.sandbox import RECONCILE, SHORT_RUN, Context, Paced, Sandbox
from tools.local.gateway import Fault
from tools.local.misbehaviour import Answer, Hang
from tools.local.stack import LocalStack
from voicecall_sync.backlog import Backlog
from voicecall_sync.ledger import Ledger
from voicecall_sync.table import Table
from voicecall_sync.token import LIFETIME, issue, parse_secret

DAY = 86_400.0
QUARTER = 900.0
NEXT = {"Type": "QUICK_CONNECT", "NextContactMetadata": {"QuickConnectContactData": {"QuickConnectType": "USER"}}}
SCHEDULER = {"detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": "{}"}


def calls(stack: LocalStack, operation: str) -> int:
    return stack.gateway.calls.count(operation)


# --- whom it finds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [None, SCHEDULER, {}], ids=["rule", "scheduler", "by hand"])
def test_a_schedule_updates_whom_nobody_answered(stack: LocalStack, sandbox: Sandbox, payload: object) -> None:
    missed = put(stack, ended(11), ended(600), ended(1440))
    put(stack, ended(5), ended(1500), answered(60), in_the_flow(60), ended(60, Channel="CHAT"))
    put(stack, ended(60, DisconnectTimestamp=None))
    answer = sandbox.reconcile(payload)
    assert updated(stack) == set(missed)
    assert answer["outcomes"] == {"UPDATED": 3}
    assert (answer["found"], answer["skipped"], answer["leftOver"], answer["stopped"]) == (3, 0, 0, None)
    start, end = (datetime.fromisoformat(answer["window"][name]) for name in ("from", "to"))
    assert end - start == timedelta(hours=24)
    assert timedelta(minutes=10) <= datetime.now(UTC) - end < timedelta(minutes=11)
    assert {stack.record(contact_id)["source"]["S"] for contact_id in missed} == {"reconcile"}  # type: ignore[index]


def test_an_abandoned_call_gets_its_record_in_salesforce(stack: LocalStack, sandbox: Sandbox) -> None:
    (contact_id,) = put(stack, ended(30))
    sandbox.reconcile()
    assert stack.salesforce.not_created == {}
    call = stack.salesforce.voice_calls[contact_id]
    assert (call.queue, call.agent, call.closed, call.call_duration_in_seconds) == ("Support", None, True, 300)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("abandoned", {"hung up", "sentinel"}),
        ("unanswered", {"hung up", "sentinel", "in the flow", "callback"}),
        ("all", {"hung up", "sentinel", "in the flow", "callback", "answered", "handed on", "transfer"}),
    ],
)
def test_scopes(stack: LocalStack, monkeypatch: pytest.MonkeyPatch, scope: str, expected: set[str]) -> None:
    never = datetime(1970, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)
    contacts = {
        "hung up": ended(60),
        "sentinel": ended(60, AgentInfo={"Id": "agent-jane", "ConnectedToAgentTimestamp": never}),
        "in the flow": in_the_flow(60),
        "callback": ended(60, InitiationMethod="CALLBACK"),
        "answered": answered(60),
        "handed on": ended(60),
    }
    contacts["transfer"] = answered(50, InitiationMethod="TRANSFER", PreviousContactId=contacts["handed on"]["Id"])
    put(stack, *contacts.values())
    monkeypatch.setenv("RECONCILE_SCOPE", scope)
    answer = Sandbox().reconcile()
    names = {contact["Id"]: name for name, contact in contacts.items()}
    assert {names[contact_id] for contact_id in updated(stack)} == expected
    assert answer["scope"] == scope
    assert answer["handedOn"] == (0 if scope == "all" else 1)


def test_the_scope_none_searches_nothing_and_still_does_the_rest(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECONCILE_SCOPE", "none")
    (missed,), (due,), dead = put(stack, ended(60)), put(stack, answered(30)), dead_claim(stack)
    stack.salesforce.next(Answer(429))
    Sandbox().invoke(contact_event(due))
    answer = Sandbox().reconcile()
    assert answer["outcomes"] == {"UNCERTAIN": 1, "UPDATED": 1}
    assert (answer["scope"], answer["window"], answer["found"], answer["stopped"]) == ("none", None, 0, None)
    assert (stack.state(missed), stack.state(due), stack.state(dead)) == (None, "UPDATED", "UNCERTAIN")
    assert calls(stack, "SearchContacts") == 0
    assert '"Reconciled":[1.0]' in capfd.readouterr().out
    assert Sandbox().reconcile({"scope": "abandoned"})["outcomes"] == {"UPDATED": 1}
    assert updated(stack) == {missed, due}


def test_what_ended_while_the_scope_was_none_is_not_caught_up_with(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another system may have updated it. Without a run in between, five days would be caught up with."""
    Sandbox().reconcile()
    monkeypatch.setenv("RECONCILE_SCOPE", "none")
    for _ in range(5):
        pass_time(stack, DAY)
        Sandbox().reconcile()
    monkeypatch.setenv("RECONCILE_SCOPE", "abandoned")
    put(stack, ended(3 * 24 * 60))
    window = Sandbox().reconcile()["window"]
    start, end = (datetime.fromisoformat(window[name]) for name in ("from", "to"))
    assert end - start == pytest.approx(timedelta(hours=24), abs=timedelta(minutes=1))
    assert updated(stack) == set()


@pytest.mark.parametrize("method", ["TRANSFER", "QUEUE_TRANSFER", "CALLBACK"])
def test_a_call_that_goes_on_until_now_was_not_missed(stack: LocalStack, sandbox: Sandbox, method: str) -> None:
    handed_on = ended(20)
    put(
        stack,
        handed_on,
        # Not over yet, and begun within the last ten minutes.
        ended(
            0,
            InitiationMethod=method,
            PreviousContactId=handed_on["Id"],
            InitiationTimestamp=datetime.now(UTC) - timedelta(minutes=2),
            DisconnectTimestamp=None,
        ),
    )
    answer = sandbox.reconcile()
    assert updated(stack) == set()
    assert (answer["found"], answer["handedOn"]) == (0, 1)


def test_a_fresh_contact_is_no_successor_of_itself(stack: LocalStack, sandbox: Sandbox) -> None:
    transfer = ended(60, InitiationMethod="TRANSFER")
    transfer["PreviousContactId"] = transfer["Id"]
    missed = put(stack, transfer)
    sandbox.reconcile()
    assert updated(stack) == set(missed)


@pytest.mark.parametrize(
    "since",
    [
        answered(60),
        ended(60, NextContacts=[NEXT]),
        ended(60, Channel="CHAT"),
    ],
    ids=["answered", "handed on", "no call"],
)
def test_the_index_lags_and_the_description_decides(stack: LocalStack, sandbox: Sandbox, since: dict[str, Any]) -> None:
    put(stack, ended(60, Id=since["Id"]))
    stack.connect.search_lag = timedelta(hours=1)
    put(stack, since)
    answer = sandbox.reconcile()
    assert answer["outcomes"] == {"IGNORED": 1}
    assert updated(stack) == set()
    assert stack.state(since["Id"]) is None


def test_what_the_index_shows_late_is_found_by_a_later_run(stack: LocalStack, sandbox: Sandbox) -> None:
    stack.connect.search_lag = timedelta(hours=1)
    missed = put(stack, ended(60))
    assert sandbox.reconcile()["found"] == 0
    stack.connect.index_now()
    assert sandbox.reconcile()["found"] == 1
    assert updated(stack) == set(missed)


def test_nothing_before_the_bound(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    old, young = put(stack, ended(61), ended(59))
    monkeypatch.setenv("RECONCILE_NOT_BEFORE", (datetime.now(UTC) - timedelta(hours=1)).isoformat())
    sandbox = Sandbox()
    sandbox.reconcile()
    assert updated(stack) == {young}
    by_hand = sandbox.reconcile({"from": (datetime.now(UTC) - timedelta(days=300)).isoformat()})
    assert by_hand["skipped"] == 1
    named = sandbox.reconcile({"contactIds": [old]})
    assert named["outcomes"] == {"IGNORED": 1}
    assert "RECONCILE_NOT_BEFORE" in named["contacts"][0]["detail"]
    assert updated(stack) == {young}


def test_a_bound_that_lies_ahead(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    put(stack, ended(60))
    monkeypatch.setenv("RECONCILE_NOT_BEFORE", (datetime.now(UTC) + timedelta(hours=1)).isoformat())
    answer = Sandbox().reconcile()
    assert (answer["found"], answer["leftOver"]) == (0, 0)
    assert calls(stack, "SearchContacts") == 0


# --- what it costs ---------------------------------------------------------------------------------------------------


def test_known_contacts_are_skipped_by_batched_reads(stack: LocalStack, sandbox: Sandbox) -> None:
    know(stack, put(stack, *(ended(60 + number) for number in range(150))))
    fresh = put(stack, ended(30))
    stack.gateway.heal()
    answer = sandbox.reconcile()
    assert (answer["found"], answer["skipped"], answer["outcomes"]) == (151, 150, {"UPDATED": 1})
    assert updated(stack) == set(fresh)
    counted = Counter(stack.gateway.calls)
    assert counted["BatchGetItem"] == 2
    assert counted["DescribeContact"] == 1
    # The claim; and how far the window was worked off, after its first page and at its end.
    assert counted["PutItem"] == 3
    assert stack.state(fresh[0]) == "UPDATED"


def test_one_search_goes_over_the_whole_window(stack: LocalStack, sandbox: Sandbox) -> None:
    know(stack, put(stack, *(ended(60 + number) for number in range(250))))
    assert sandbox.reconcile()["found"] == 250
    # Three pages of those that ended, and one of those that may have taken them over.
    assert calls(stack, "SearchContacts") == 4


def test_within_the_quotas_nothing_is_turned_away(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    put(stack, *(ended(60 + number) for number in range(40)))
    stack.connect.quotas(10.0)
    # As the defaults are to the account's quotas: four fifths of the searches, half of the describes.
    monkeypatch.setenv("RECONCILE_SEARCHES_PER_SECOND", "4")
    monkeypatch.setenv("RECONCILE_DESCRIBES_PER_SECOND", "50")
    assert Sandbox().reconcile()["outcomes"] == {"UPDATED": 40}
    assert dict(stack.connect.throttled) == {}


def test_turned_away_it_slows_down_and_gets_there(stack: LocalStack) -> None:
    missed = put(stack, *(ended(20 + number) for number in range(480)))
    know(stack, missed[20:])
    stack.connect.quotas(1.5)  # asked for a thousand times a second
    answer = Sandbox().reconcile(context=Context(remaining=120.0))
    assert (answer["outcomes"], answer["skipped"], answer["stopped"]) == ({"UPDATED": 20}, 460, None)
    assert updated(stack) == set(missed[:20])
    assert stack.connect.throttled["SearchContacts"] > 0


def test_so_many_at_once_and_no_more(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILE_CONCURRENCY", "4")
    monkeypatch.setenv("TEST_PATCH_SECONDS", "20")
    put(stack, *(ended(60 + number) for number in range(30)))
    counting = threading.Condition()
    under_way, most = 0, 0

    def enter(_: object) -> None:
        nonlocal under_way, most
        with counting:
            under_way += 1
            most = max(most, under_way)
            counting.notify_all()
            # The first goes alone; then they wait for one another, so that four are seen together.
            if len(updated(stack)) > 0:
                counting.wait_for(lambda: most >= 4, timeout=10)

    def leave(_: object) -> None:
        nonlocal under_way
        with counting:
            under_way -= 1

    stack.salesforce.before_apply, stack.salesforce.after_apply = enter, leave
    answer = Sandbox().reconcile(context=Context(remaining=120.0))
    stack.salesforce.before_apply = stack.salesforce.after_apply = None
    assert answer["outcomes"] == {"UPDATED": 30}
    assert most == 4


# --- time, and what is left ------------------------------------------------------------------------------------------


def test_a_window_larger_than_one_run_gets_done(stack: LocalStack, paced: Paced) -> None:
    contacts = put(stack, *(ended(1200 - 4 * number) for number in range(220)))
    know(stack, contacts[1::2])
    missed = contacts[::2]
    answers: list[dict[str, Any]] = []
    while not answers or answers[-1]["leftOver"]:
        answers.append(paced(describes="1.5").reconcile(context=SHORT_RUN))
        assert len(answers) < 20, answers[-1]
    assert len(answers) > 2
    assert updated(stack) == set(missed)
    for sooner, after in pairwise(answers):
        # Each carries on where the one before left off.
        began, left = (datetime.fromisoformat(window["from"]) for window in (after["window"], sooner["left"]["window"]))
        assert abs(began - left) < timedelta(milliseconds=2)
        assert set(sooner["left"]["contactIds"]) <= set(missed)
        assert sooner["stopped"] == "the time of this run is used up"
    starts = [answer["window"]["from"][:23] for answer in answers]  # the cursor is kept to the millisecond
    assert starts == sorted(starts)
    assert len(set(starts)) > 2
    # Done: the next one looks back over the whole day again.
    again = Sandbox().reconcile()
    assert again["skipped"] == again["found"] == 220


def test_a_window_by_hand_has_a_cursor_of_its_own(stack: LocalStack, paced: Paced) -> None:
    missed = put(stack, *(ended(4000 - 4 * number) for number in range(60)))
    window = {
        "from": (datetime.now(UTC) - timedelta(days=4)).isoformat(),
        "to": (datetime.now(UTC) - timedelta(days=2)).isoformat(),
    }
    answers: list[dict[str, Any]] = []
    while not answers or answers[-1]["leftOver"]:
        answers.append(paced(describes="2").reconcile(window, SHORT_RUN))
        assert len(answers) < 20, answers[-1]
    assert updated(stack) == set(missed)
    assert Sandbox().reconcile()["found"] == 0
    assert len(answers) > 1


def test_what_an_outage_left_unseen_is_seen_afterwards(stack: LocalStack, sandbox: Sandbox) -> None:
    sandbox.reconcile()
    missed = put(stack, ended(60), ended(3 * 24 * 60))
    pass_time(stack, 2.5 * DAY)
    answer = sandbox.reconcile()
    assert updated(stack) == set(missed)
    start, end = (datetime.fromisoformat(answer["window"][name]) for name in ("from", "to"))
    assert timedelta(days=3.4) < end - start < timedelta(days=3.6)


def test_after_a_long_outage_it_goes_back_a_week_and_its_look_back(stack: LocalStack, sandbox: Sandbox) -> None:
    sandbox.reconcile()
    pass_time(stack, 60 * DAY)
    answer = sandbox.reconcile()
    start, end = (datetime.fromisoformat(answer["window"][name]) for name in ("from", "to"))
    assert timedelta(days=7.9) < end - start < timedelta(days=8.1)


def test_a_contact_that_fails_before_its_claim_is_kept_when_no_search_will_find_it_again(
    stack: LocalStack, sandbox: Sandbox
) -> None:
    old, young = put(stack, ended(23.5 * 60), ended(60))
    stack.connect.fail_next("DescribeContact", "AccessDeniedException", 403, times=2)
    assert sandbox.reconcile()["outcomes"] == {"RETRY_LATER": 2}
    assert (stack.state(old), stack.state(young)) == ("NOT_APPLIED", None)
    answer = sandbox.reconcile()
    assert answer["outcomes"] == {"UPDATED": 2}
    assert answer["retried"] == 1
    assert updated(stack) == {old, young}


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_named_contacts_whatever_the_scope_and_a_bad_one_among_them(stack: LocalStack, sandbox: Sandbox) -> None:
    good = put(stack, answered(60), in_the_flow(90 * 24 * 60))
    known = put(stack, answered(60))
    sandbox.invoke(contact_event(known[0]))
    unknown = new_id()
    answer = sandbox.reconcile({"contactIds": [good[0], "../../x", known[0], unknown, 7, good[1]]})
    assert answer["outcomes"] == {"INVALID": 2, "UPDATED": 2, "RETRY_LATER": 1}
    assert (answer["found"], answer["skipped"], answer["leftOver"]) == (6, 1, 0)
    said = {entry["contactId"] or entry["detail"].split()[0]: entry["status"] for entry in answer["contacts"]}
    assert said == {
        "contactIds[1]": "INVALID",
        "contactIds[4]": "INVALID",
        known[0]: "skipped",
        unknown: "RETRY_LATER",
        good[0]: "UPDATED",
        good[1]: "UPDATED",
    }
    assert updated(stack) == {*good, *known}
    assert calls(stack, "SearchContacts") == 0


def test_a_dry_run_reads_and_says_what_it_would_do(stack: LocalStack, sandbox: Sandbox) -> None:
    fresh = put(stack, ended(60), ended(70))
    known = put(stack, ended(80))
    sandbox.reconcile({"contactIds": known})
    (due,) = put(stack, answered(30))
    stack.salesforce.next(Answer(429))
    sandbox.invoke(contact_event(due))
    dead = dead_claim(stack)
    (unclear,) = put(stack, ended(60))
    stack.connect.search_lag = timedelta(hours=1)
    put(stack, answered(60, Id=unclear))
    before = table(stack)
    received = len(stack.salesforce.received)
    answer = sandbox.reconcile({"dryRun": True})
    assert answer["would"] == {"update": 3, "becomeUncertain": 1}
    assert (answer["found"], answer["skipped"], answer["retried"]) == (4, 1, 1)
    assert answer["outcomes"] == {"IGNORED": 1}
    assert {entry["contactId"] for entry in answer["contacts"]} == {*fresh, due, dead, unclear}
    assert (table(stack), len(stack.salesforce.received)) == (before, received)
    named = sandbox.reconcile({"dryRun": True, "contactIds": [fresh[0], known[0]]})
    assert (named["would"], named["skipped"]) == ({"update": 1}, 1)
    assert (table(stack), len(stack.salesforce.received)) == (before, received)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"from": "yesterday"}, "from must be a moment with its zone"),
        ({"dryrun": True}, "not dryrun"),
        ({"contactIds": "x"}, "contactIds must be a list"),
        (["x"], "event must be an object"),
        (contact_event("x"), "event must be a schedule's"),
    ],
    ids=str,
)
def test_a_bad_request_is_refused_with_its_reason(
    stack: LocalStack, sandbox: Sandbox, payload: object, said: str
) -> None:
    put(stack, ended(60))
    result = sandbox.call(RECONCILE, payload, Context())
    assert result.raised is not None
    assert said in result.raised
    assert updated(stack) == set()


def test_wrong_settings_are_named(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.delenv("IDEMPOTENCY_TABLE")
    assert Sandbox().call(RECONCILE, {}, Context()).raised == "not set: IDEMPOTENCY_TABLE"


# --- what is left open -----------------------------------------------------------------------------------------------


def dead_claim(stack: LocalStack) -> str:
    """A contact whose invocation died between claim and settle, long enough ago."""
    contact_id = new_id()
    open_claim(stack, contact_id, datetime.now(UTC) - timedelta(minutes=5))
    return contact_id


def know(stack: LocalStack, contact_ids: list[str]) -> None:
    """Let the ledger have records of contacts that were updated."""
    for batch in batched(contact_ids, 25):
        puts: list[Any] = [
            {"PutRequest": {"Item": {"contactId": {"S": contact_id}, "state": {"S": "UPDATED"}, "owner": {"S": "x"}}}}
            for contact_id in batch
        ]
        stack.dynamodb.batch_write_item(RequestItems={stack.table: puts})


def batched(contact_ids: list[str], size: int) -> list[list[str]]:
    return [contact_ids[start : start + size] for start in range(0, len(contact_ids), size)]


def test_dead_owners_become_uncertain(
    stack: LocalStack, sandbox: Sandbox, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    dead, alive = dead_claim(stack), new_id()
    open_claim(stack, alive, datetime.now(UTC) + timedelta(seconds=20))
    answer = sandbox.reconcile()
    assert (stack.state(dead), stack.state(alive)) == ("UNCERTAIN", "CLAIMED")
    assert (answer["outcomes"], answer["deadOwners"]) == ({"UNCERTAIN": 1}, 1)
    assert answer["contacts"][0]["contactId"] == dead
    assert [record.__dict__["contactId"] for record in caplog.records if "an owner died" in record.message] == [dead]
    printed = capfd.readouterr().out
    assert '"Uncertain":[1.0]' in printed
    age = next(line for line in map(json.loads, printed.splitlines()) if "OldestClaimAge" in line)
    assert 300 < age["OldestClaimAge"][0] < 400


def test_what_is_due_is_taken_up_once_whatever_its_source(
    stack: LocalStack, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    by_event, by_flow = put(stack, answered(30), answered(30))
    stack.salesforce.always(Answer(429))
    sandbox.invoke(contact_event(by_event))
    sandbox.invoke(flow_event(by_flow, {"agent": "jane@example.com"}))
    tried = len(stack.salesforce.received)
    assert sandbox.reconcile()["outcomes"] == {"RETRY_LATER": 2}
    assert len(stack.salesforce.received) == tried + 2
    assert sandbox.reconcile()["outcomes"] == {"RETRY_LATER": 2}
    assert len(stack.salesforce.received) == tried + 4
    stack.salesforce.behave()
    # After the third try the wait doubles.
    assert sandbox.reconcile()["retried"] == 0
    caplog.clear()
    pass_time(stack, QUARTER)
    answer = sandbox.reconcile()
    assert (answer["outcomes"], answer["retried"]) == ({"UPDATED": 2}, 2)
    assert updated(stack) == {by_event, by_flow}
    (gone,) = [record for record in caplog.records if "Parameters" in record.message]
    assert gone.__dict__["contactId"] == by_flow
    assert "queue" in gone.__dict__["propertiesSentBefore"]


def test_a_call_still_up_is_left_until_it_has_ended(stack: LocalStack, sandbox: Sandbox) -> None:
    contact_id = new_id()
    put(stack, answered(0, Id=contact_id, DisconnectTimestamp=None))
    stack.salesforce.next(Answer(429))
    sandbox.invoke(flow_event(contact_id))
    assert sandbox.reconcile()["outcomes"] == {"RETRY_LATER": 1}
    record = stack.record(contact_id)
    assert record is not None
    assert record["attempts"] == {"N": "1"}
    put(stack, answered(0, Id=contact_id))
    assert sandbox.reconcile()["outcomes"] == {"UPDATED": 1}
    (body,) = stack.salesforce.applied_bodies(contact_id)
    assert body["isActiveCall"] is False


@pytest.mark.parametrize("reason", ["refused for now", "not to be described"])
def test_after_a_week_of_trying_it_is_given_up(stack: LocalStack, sandbox: Sandbox, reason: str) -> None:
    (contact_id,) = put(stack, answered(30))
    stack.salesforce.always(Answer(429))
    sandbox.invoke(contact_event(contact_id))
    pass_time(stack, 6 * DAY)
    assert sandbox.reconcile()["outcomes"] == {"RETRY_LATER": 1}
    pass_time(stack, 2 * DAY)
    if reason == "not to be described":
        stack.connect.fail_next("DescribeContact", "ResourceNotFoundException", 404)
    answer = sandbox.reconcile()
    assert (answer["outcomes"], answer["givenUp"]) == ({"REJECTED": 1}, 1)
    record = stack.record(contact_id)
    assert record is not None
    assert (record["state"], record["open"]) == ({"S": "REJECTED"}, {"S": "REJECTED"})
    assert record["detail"]["S"].startswith("given up after 7 days: ")
    assert sandbox.reconcile()["retried"] == 0


def test_the_last_try_may_still_succeed(stack: LocalStack, sandbox: Sandbox) -> None:
    (contact_id,) = put(stack, answered(30))
    stack.salesforce.next(Answer(429))
    sandbox.invoke(contact_event(contact_id))
    pass_time(stack, 8 * DAY)
    assert sandbox.reconcile()["outcomes"] == {"UPDATED": 1}
    assert updated(stack) == {contact_id}


def test_a_release_begins_the_week_anew(stack: LocalStack, sandbox: Sandbox) -> None:
    (contact_id,) = put(stack, answered(30))
    stack.salesforce.next(Answer(400), Answer(429))
    sandbox.invoke(contact_event(contact_id))
    pass_time(stack, 8 * DAY)
    table_of_it = Table(stack.dynamodb, stack.table)
    record = Ledger(table_of_it, new_id).read(contact_id)
    assert record is not None
    assert Backlog(table_of_it, new_id).release(record, "operator", datetime.now(UTC))
    assert sandbox.reconcile()["outcomes"] == {"RETRY_LATER": 1}
    assert sandbox.reconcile()["outcomes"] == {"UPDATED": 1}


# --- what stops it, and what does not --------------------------------------------------------------------------------


def test_a_refused_token_ends_the_run_after_one_contact(stack: LocalStack, sandbox: Sandbox) -> None:
    missed = put(stack, *(ended(60 + number) for number in range(20)))
    stack.salesforce.always(Answer(401))
    answer = sandbox.reconcile()
    assert len(stack.salesforce.received) == 1
    assert (answer["outcomes"], answer["leftOver"]) == ({"RETRY_LATER": 1}, 19)
    assert "401" in answer["stopped"]
    assert set(answer["left"]["contactIds"]) < set(missed)
    stack.salesforce.behave()
    assert sandbox.reconcile()["outcomes"] == {"UPDATED": 20}
    assert updated(stack) == set(missed)


def test_a_secret_that_cannot_be_read_ends_the_run_before_any_contact(stack: LocalStack, sandbox: Sandbox) -> None:
    put(stack, ended(60))
    dead = dead_claim(stack)
    stack.put_secret("nothing of use")
    answer = sandbox.reconcile()
    assert "the secret must be" in answer["stopped"]
    assert answer["outcomes"] == {"UNCERTAIN": 1}
    assert stack.state(dead) == "UNCERTAIN"
    stack.put_secret(stack.provisioned_secret())
    assert sandbox.reconcile()["outcomes"] == {"UPDATED": 1}


def test_one_contacts_failure_does_not_stop_the_others(stack: LocalStack, sandbox: Sandbox) -> None:
    contacts = put(stack, *(ended(60 + number) for number in range(24)))
    stack.salesforce.next(
        Answer(400), Answer(500), Answer(429), Answer(302), Hang(applied=False), Answer(503, (("Retry-After", "1"),))
    )
    stack.connect.fail_next("DescribeContact", "ResourceNotFoundException", 404)
    answer = sandbox.reconcile()
    assert answer["outcomes"] == {"UPDATED": 17, "REJECTED": 2, "UNCERTAIN": 2, "RETRY_LATER": 3}
    assert len(answer["contacts"]) == 7
    assert answer["stopped"] is None
    assert len(updated(stack)) == 17
    assert updated(stack) < set(contacts)


def test_a_broken_salesforce_does_not_make_a_day_of_work_for_an_operator(stack: LocalStack, sandbox: Sandbox) -> None:
    put(stack, *(ended(60 + number) for number in range(80)))
    stack.salesforce.always(Answer(500))
    answer = sandbox.reconcile()
    assert 25 <= answer["outcomes"]["UNCERTAIN"] < 25 + 8
    assert answer["leftOver"] == 80 - answer["outcomes"]["UNCERTAIN"]
    assert "in a row" in answer["stopped"]


@pytest.mark.parametrize("operation", ["SearchContacts", "BatchGetItem", "Query", "GetItem", "GetSecretValue"])
@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.REFUSED])
def test_what_fails_for_good_ends_the_run_and_is_said(
    stack: LocalStack, sandbox: Sandbox, operation: str, fault: Fault
) -> None:
    missed = put(stack, ended(60))
    stack.gateway.fail(operation, fault)
    answer = sandbox.reconcile()
    assert answer["stopped"] is not None
    assert answer["outcomes"] == {}
    stack.gateway.heal()
    sandbox.reconcile()
    assert updated(stack) == set(missed)


def test_what_fails_in_passing_is_tried_again(stack: LocalStack, sandbox: Sandbox) -> None:
    missed = put(stack, ended(60))
    for operation in ("SearchContacts", "DescribeContact", "BatchGetItem", "Query"):
        stack.gateway.fail(operation, Fault.ERROR, times=1)
    assert sandbox.reconcile()["outcomes"] == {"UPDATED": 1}
    assert updated(stack) == set(missed)


# --- what it says ----------------------------------------------------------------------------------------------------


def test_metrics_of_a_run(stack: LocalStack, sandbox: Sandbox, capfd: pytest.CaptureFixture[str]) -> None:
    put(stack, *(ended(60 + number) for number in range(95)))
    capfd.readouterr()
    sandbox.reconcile()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if '"_aws"' in line]
    by_source = [line for line in lines if line.get("source") == "reconcile"]
    totals = Counter[str]()
    for line in by_source:
        for metric in ("Updated", "Found", "Skipped", "LeftOver", "HandedOn", "Reconciled"):
            totals[metric] += int(sum(line.get(metric, [])))
        assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"], ["service", "source"]]
    assert totals == {"Updated": 95, "Found": 95, "Skipped": 0, "LeftOver": 0, "HandedOn": 0, "Reconciled": 1}
    assert sum(len(line.get("PatchLatency", [])) for line in by_source) == 95
    assert [line["OldestClaimAge"] for line in lines if "OldestClaimAge" in line] == [[0.0]]


def test_a_run_that_stopped_does_not_count_as_reconciled(
    stack: LocalStack, sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    put(stack, ended(60))
    stack.salesforce.always(Answer(401))
    sandbox.reconcile()
    sandbox.reconcile({"dryRun": True})
    assert '"Reconciled"' not in capfd.readouterr().out


@pytest.mark.parametrize(("hours", "said"), [(5.0, 5.0), (-1.0, 0.0)])
def test_how_long_a_ready_jwt_is_good_for(
    stack: LocalStack, capfd: pytest.CaptureFixture[str], hours: float, said: float
) -> None:
    stack.put_secret(json.dumps({"jwt": jwt_until(stack, datetime.now(UTC) + timedelta(hours=hours))}))
    Sandbox().reconcile()
    left = [json.loads(line) for line in capfd.readouterr().out.splitlines() if "TokenHoursLeft" in line]
    assert [line["TokenHoursLeft"][0] for line in left] == [pytest.approx(said, abs=0.1)]


def jwt_until(stack: LocalStack, expires: datetime) -> str:
    return issue(parse_secret(stack.provisioned_secret(), "", ""), expires - LIFETIME).text
