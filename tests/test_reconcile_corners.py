"""Corners of the reconciliation in which a contact once got lost, or the rest never had its turn."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.contacts import new_id
from tests.missed import answered, ended, in_the_flow, pass_time, put, table, updated
from tests.sandbox import SHORT_RUN, Context, Paced, Sandbox, ShiftedClock
from tests.test_reconcile import DAY, NEXT, QUARTER, know
from tools.local.gateway import Fault
from tools.local.misbehaviour import Answer
from tools.local.stack import LocalStack
from voicecall_sync.backlog import Backlog
from voicecall_sync.errors import LedgerUnavailable
from voicecall_sync.ledger import Claim, ClaimRequest, Ledger
from voicecall_sync.outcome import Settlement, Source, State
from voicecall_sync.table import Table

HOUR = 3600.0


def later(stack: LocalStack, seconds: float, *contacts: dict[str, Any]) -> None:
    """Let time pass for the ledger, and for these contacts."""
    pass_time(stack, seconds)
    for contact in contacts:
        for name in ("InitiationTimestamp", "DisconnectTimestamp"):
            contact[name] -= timedelta(seconds=seconds)
    stack.connect.put_contacts(contacts)


def not_applied(stack: LocalStack, contact_id: str, age: float, source: str = "contact-event") -> str:
    since = str(time.time() - age)
    stack.dynamodb.put_item(
        TableName=stack.table,
        Item={
            "contactId": {"S": contact_id},
            "state": {"S": "NOT_APPLIED"},
            "open": {"S": "NOT_APPLIED"},
            "since": {"N": since},
            "retryAt": {"N": since},
            "owner": {"S": new_id()},
            "source": {"S": source},
            "claimedAt": {"N": since},
            "firstClaimedAt": {"N": since},
            "attempts": {"N": "1"},
        },
    )
    return contact_id


# --- lost without a trace -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["not to be described", "indexed late"])
def test_behind_the_cursor(stack: LocalStack, sandbox: Sandbox, why: str) -> None:
    """A window takes more than one run; who failed before the claim in the part that is done is looked for again."""
    contact = ended(22.5 * 60)
    crowd = [ended(22 * 60 - number) for number in range(99)]
    rest = [ended(600 - number) for number in range(3)]
    if why == "indexed late":
        stack.connect.search_lag = timedelta(hours=1)
    put(stack, contact)
    stack.connect.search_lag = timedelta()
    know(stack, put(stack, *crowd))
    if why == "indexed late":
        know(stack, put(stack, ended(22.5 * 60)))
    put(stack, *rest)
    if why != "indexed late":
        stack.connect.fail_next("DescribeContact", "AccessDeniedException", 403)
    stack.salesforce.always(Answer(401))
    first = sandbox.reconcile()
    assert "401" in first["stopped"]
    stack.salesforce.behave()
    stack.connect.index_now()
    later(stack, 3 * HOUR, contact, *crowd, *rest)  # the token is mended three hours later
    for _ in range(4):
        answer = sandbox.reconcile()
        assert answer["leftOver"] == 0
        later(stack, 2 * QUARTER, contact, *crowd, *rest)
    assert contact["Id"] in updated(stack) or stack.state(contact["Id"]) is not None


def test_a_stretch_of_contacts_that_fail_before_their_claim(stack: LocalStack, paced: Paced) -> None:
    """Connect refuses DescribeContact while a window of several runs is worked off: the cursor runs over all of it."""
    contacts = [ended((22.8 if number < 60 else 15) * 60 - number / 10) for number in range(160)]
    put(stack, *contacts)
    stack.connect.fail_next("DescribeContact", "AccessDeniedException", 403, times=100_000)
    runs: list[dict[str, Any]] = []
    while not runs or runs[-1]["leftOver"]:
        runs.append(paced(describes="3").reconcile(context=SHORT_RUN))
        later(stack, 2 * HOUR, *contacts)  # or eight runs of a quarter of an hour each
        assert len(runs) < 20
    assert len(runs) > 1
    stack.connect.behave()
    for _ in range(2):
        paced(describes="1000").reconcile(context=Context(remaining=900.0))
        later(stack, 2 * QUARTER, *contacts)
    traced = {item["contactId"]["S"] for item in table(stack)} - {"#reconcile"}
    assert len(traced) == 160


def test_a_trace_that_could_not_be_kept(stack: LocalStack, sandbox: Sandbox) -> None:
    contact = ended(24 * 60 + 5)
    crowd = [ended(22 * 60 - number) for number in range(99)]
    rest = [ended(600 - number) for number in range(3)]
    put(stack, contact, *rest)
    know(stack, put(stack, *crowd))
    stack.connect.fail_next("DescribeContact", "AccessDeniedException", 403)
    stack.gateway.fail("PutItem", Fault.ERROR, times=2)
    answer = sandbox.reconcile()
    assert "idempotency table" in answer["stopped"]
    for _ in range(2):
        later(stack, 2 * QUARTER, contact, *crowd, *rest)
        sandbox.reconcile()
    assert contact["Id"] in updated(stack)


def test_by_hand_the_cursor_leaves_behind_who_failed(stack: LocalStack, sandbox: Sandbox) -> None:
    """Scope all by hand, while the schedule's is abandoned: nobody else will look for it."""
    (lost,) = put(stack, answered(10 * 60))
    know(stack, put(stack, *(answered(9 * 60 - number) for number in range(99))))
    put(stack, *(answered(60 + number) for number in range(3)))
    stack.connect.fail_next("DescribeContact", "AccessDeniedException", 403)
    stack.salesforce.always(Answer(401))
    window = {"scope": "all", "from": (datetime.now(UTC) - timedelta(hours=12)).isoformat()}
    assert sandbox.reconcile(window)["stopped"]
    stack.salesforce.behave()
    again = sandbox.reconcile(window)
    assert (again["leftOver"], again["stopped"]) == (0, None)
    assert lost in updated(stack) or stack.state(lost) is not None


def test_a_cursor_is_of_its_scope(stack: LocalStack, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    (lost,) = put(stack, answered(10 * 60))
    know(stack, put(stack, *(ended(9 * 60 - number) for number in range(100))))
    put(stack, *(ended(60 + number) for number in range(3)))
    stack.salesforce.always(Answer(401))
    window = {
        "from": (datetime.now(UTC) - timedelta(hours=12)).isoformat(),
        "to": (datetime.now(UTC) - timedelta(minutes=30)).isoformat(),
    }
    assert sandbox.reconcile(window)["stopped"]
    stack.salesforce.behave()
    monkeypatch.setenv("RECONCILE_SCOPE", "all")
    again = Sandbox().reconcile(window)
    assert (again["scope"], again["leftOver"], again["stopped"]) == ("all", 0, None)
    assert lost in updated(stack)


def test_the_first_days_without_a_secret(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deployed on Friday with a secret that is none, mended on Monday: no run has ever begun its window."""
    monkeypatch.setenv("RECONCILE_NOT_BEFORE", (datetime.now(UTC) - timedelta(days=3)).isoformat())
    missed = put(stack, ended(2.5 * 24 * 60), ended(1.5 * 24 * 60), ended(60))
    stack.put_secret("nothing of use")
    for days in (3, 2, 1):
        answer = Sandbox(ShiftedClock(-days * DAY)).reconcile()
        assert "the secret must be" in answer["stopped"]
    stack.put_secret(stack.provisioned_secret())
    Sandbox().reconcile()
    assert updated(stack) == set(missed)


# --- what ought not be sent -----------------------------------------------------------------------------------------


def test_a_kept_contact_is_looked_at_again_before_it_is_sent(stack: LocalStack, sandbox: Sandbox) -> None:
    put(stack, ended(23.5 * 60, NextContacts=[NEXT]))
    stack.connect.fail_next("DescribeContact", "AccessDeniedException", 403)
    assert sandbox.reconcile()["outcomes"] == {"RETRY_LATER": 1}
    answer = sandbox.reconcile()
    assert answer["retried"] == 1
    assert updated(stack) == set()


# --- one contact's failure ------------------------------------------------------------------------------------------


def test_giving_up_that_fails_hides_nobody_else(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEST_PATCH_SECONDS", "5")
    first, unclear = put(stack, answered(30), answered(31))
    not_applied(stack, first, 8 * DAY + 30)
    gone = not_applied(stack, new_id(), 8 * DAY + 20)
    not_applied(stack, unclear, 8 * DAY + 10)
    (missed,) = put(stack, ended(60))
    asked = threading.Event()

    def before(_: str) -> None:
        if stack.gateway.calls.count("GetItem") == 3:
            asked.set()

    def hold(_: object) -> None:
        """Hold the second, which gets a 500, until the one that is gone was read."""
        if updated(stack):
            asked.wait(4)
            time.sleep(0.3)

    stack.salesforce.next(Answer(200, applied=True), Answer(500))
    stack.gateway.before, stack.salesforce.before_apply = before, hold
    stack.gateway.fail("GetItem", Fault.ERROR, skip=1, times=2)
    run = Sandbox().reconcile()
    stack.salesforce.before_apply = None
    assert (stack.state(unclear), stack.state(gone)) == ("UNCERTAIN", "NOT_APPLIED")
    assert run["outcomes"].get("UNCERTAIN") == 1, f"neither counted nor logged: {run}"
    assert '"Uncertain"' in capfd.readouterr().out
    assert missed in updated(stack)


def test_contacts_given_up_are_no_failures_in_a_row(stack: LocalStack, sandbox: Sandbox) -> None:
    """Nothing was sent for any of them, so they say nothing about Salesforce."""
    for number in range(30):
        not_applied(stack, new_id(), 8 * DAY + number)
    missed = put(stack, ended(60))
    answer = sandbox.reconcile()
    assert len(stack.salesforce.received) <= 1
    assert answer["stopped"] is None
    assert updated(stack) == set(missed)


@pytest.mark.parametrize("kind", ["no call", "no channel"])
def test_what_can_never_be_sent_is_given_up_too(stack: LocalStack, sandbox: Sandbox, kind: str) -> None:
    (contact_id,) = put(stack, answered(30, Channel="CHAT" if kind == "no call" else None))
    not_applied(stack, contact_id, 30 * DAY)
    sandbox.reconcile()
    assert stack.state(contact_id) != "NOT_APPLIED"


# --- the rest never gets its turn -----------------------------------------------------------------------------------


def test_a_run_that_saw_no_page_does_not_count_as_reconciled(
    stack: LocalStack, paced: Paced, capfd: pytest.CaptureFixture[str]
) -> None:
    """It takes two searches to see one, of which the second would come later than the last may."""
    put(stack, ended(60))
    answer = paced(searches="0.2").reconcile(context=Context(remaining=28.0))
    assert updated(stack) == set()
    assert '"Reconciled"' not in capfd.readouterr().out, answer


def test_due_contacts_take_turns(stack: LocalStack, paced: Paced) -> None:
    """Those that cannot be described keep their place at the head of the queue, run after run."""
    sandbox = paced(describes="0.5")
    for number in range(30):
        not_applied(stack, new_id(), HOUR + 100 - number)
    (last,) = put(stack, answered(30))
    not_applied(stack, last, HOUR)
    for _ in range(8):
        answer = sandbox.reconcile(context=SHORT_RUN)
    assert last in updated(stack), answer


# --- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operations", [("DescribeQueue",), ("DescribeQueue", "late DescribeContact")], ids=str)
def test_hanging_connect_is_over_before_the_function_is(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, operations: tuple[str, ...]
) -> None:
    remaining = 12.0
    monkeypatch.setenv("TEST_AWS_SECONDS", "0.4")
    monkeypatch.setenv("RECONCILE_SCOPE", "unanswered")
    put(stack, in_the_flow(600))
    queues = [f"queue-{number}" for number in range(16)]
    for queue in queues:
        stack.connect.put_queue(queue, queue)
    put(stack, *(ended(500 - number, QueueInfo={"Id": queue}) for number, queue in enumerate(queues)))
    for operation in operations:
        skip = {"DescribeContact": 1, "late DescribeContact": 2}.get(operation, 0)
        stack.gateway.fail(operation.removeprefix("late "), Fault.HANG, skip=skip)
    began = time.monotonic()
    answer = Sandbox().reconcile(context=Context(remaining=remaining))
    took = time.monotonic() - began
    assert took < remaining, (took, answer["stopped"], answer["outcomes"])


# --- further ones ---------------------------------------------------------------------------------------------------


def test_a_kept_contact_from_before_the_bound(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never touched, whoever asks: the bound is set right after a first run with none (or an earlier one)."""
    put(stack, ended(23.5 * 60))
    stack.connect.fail_next("DescribeContact", "AccessDeniedException", 403)
    Sandbox().reconcile()
    monkeypatch.setenv("RECONCILE_NOT_BEFORE", (datetime.now(UTC) - timedelta(hours=1)).isoformat())
    Sandbox().reconcile()
    assert updated(stack) == set()


def test_a_page_is_begun_again_and_again(stack: LocalStack, paced: Paced) -> None:
    """Who fails before the claim at the head of a page is tried first in each run, and the page never ends."""
    sandbox = paced(describes="1")
    hidden = [ended(600 - number / 10, NextContacts=[NEXT]) for number in range(60)]
    put(stack, *hidden)
    for contact in hidden:
        stack.connect.remove_contact(contact["Id"])
    missed = put(stack, ended(60))
    for _ in range(8):
        answer = sandbox.reconcile(context=SHORT_RUN)
    assert updated(stack) == set(missed), answer


def test_what_an_operator_closed_stays_closed(stack: LocalStack, sandbox: Sandbox) -> None:
    """An owner thought dead settles after the operator noted that the update is in Salesforce: it is sent again."""
    (contact_id,) = put(stack, answered(30))
    rows = Table(stack.dynamodb, stack.table)
    ledger, backlog = Ledger(rows, new_id), Backlog(rows, new_id)
    now = datetime.now(UTC)
    claim = ledger.claim(ClaimRequest(contact_id, Source.CONTACT_EVENT, now, now - timedelta(minutes=5)))
    assert isinstance(claim, Claim)
    record = ledger.read(contact_id)
    assert record is not None
    record = ledger.give_up_dead_owner(record, now)
    assert backlog.close(record, "operator", now)
    assert stack.state(contact_id) == "UPDATED"
    with pytest.raises(LedgerUnavailable):
        ledger.settle(claim, Settlement(State.NOT_APPLIED, "no connection in time"), now)
    sandbox.reconcile()
    assert updated(stack) == set()


def test_a_gap_is_named(stack: LocalStack, sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """After a long outage contacts older than the catch-up are not looked for: that must be said somewhere."""
    sandbox.reconcile()
    put(stack, ended(15 * 24 * 60))
    pass_time(stack, 20 * DAY)
    caplog.clear()
    answer = sandbox.reconcile()
    (named,) = [record for record in caplog.records if "never searched" in record.message]
    assert answer["unseen"] == {"from": named.__dict__["from"], "to": named.__dict__["to"]}
