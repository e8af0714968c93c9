"""What a run says of itself: counts that add up, and lists that do not grow without end."""

import json
from datetime import UTC, datetime, timedelta

from voicecall_sync.outcome import Outcome, Status
from voicecall_sync.reconcile_request import ReconcileRequest, Scope, Window
from voicecall_sync.summary import MOST_NAMED, Summary

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
WINDOW = Window(NOW - timedelta(days=1), NOW)
SCHEDULED = ReconcileRequest(WINDOW, Scope.ABANDONED, cursor="")
RETRY = Outcome(Status.RETRY_LATER, "c", "detail")


def test_ten_thousand_failures_are_counted_and_a_hundred_named() -> None:
    summary = Summary(SCHEDULED)
    for _ in range(10_000):
        summary.add(RETRY)
        summary.leave(["c"], to_come=1)
    answer = summary.as_answer()
    assert answer["outcomes"] == {"RETRY_LATER": 10_000}
    assert answer["leftOver"] == 20_000
    assert len(answer["contacts"]) == MOST_NAMED  # type: ignore[arg-type]
    assert len(answer["left"]["contactIds"]) == MOST_NAMED  # type: ignore[index]
    assert len(json.dumps(answer)) < 100_000


def test_what_was_updated_is_counted_and_not_named() -> None:
    summary = Summary(SCHEDULED)
    summary.add(Outcome(Status.UPDATED, "c", "detail"))
    assert summary.as_answer()["contacts"] == []


def test_the_first_reason_to_stop_counts() -> None:
    summary = Summary(SCHEDULED)
    summary.stop("Salesforce refused a fresh token (401)")
    summary.stop("the time of this run is used up", harmless=True)
    assert summary.stopped == "Salesforce refused a fresh token (401)"
    assert "Reconciled" not in summary.metrics()


def test_only_a_scheduled_run_that_came_through_counts_as_reconciled() -> None:
    harmless = Summary(SCHEDULED, position=NOW)
    harmless.stop("the time of this run is used up", harmless=True)
    assert harmless.metrics()["Reconciled"] == 1
    assert "Reconciled" not in Summary(ReconcileRequest(WINDOW, Scope.ALL, cursor=" scope=all")).metrics()
    assert "Reconciled" not in Summary(ReconcileRequest(WINDOW, Scope.ABANDONED, dry_run=True, cursor="")).metrics()


def test_a_run_that_saw_no_page_did_not_come_through_where_there_was_one_to_see() -> None:
    unseeing, searching_nothing = Summary(SCHEDULED), Summary(ReconcileRequest(WINDOW, Scope.NONE, cursor=""))
    for summary in (unseeing, searching_nothing):
        summary.stop("the time of this run is used up", harmless=True)
    assert "Reconciled" not in unseeing.metrics()
    assert searching_nothing.metrics()["Reconciled"] == 1
