from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import ANY_TEXT
from voicecall_sync.ledger.record import LOST_AFTER, Record, record_of, stored
from voicecall_sync.outcome import State

NOW = datetime(2026, 11, 22, 9, 30, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


# --- what a record allows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [*State, None])
def test_only_a_contact_not_applied_may_be_claimed_again(state: State | None) -> None:
    record = Record("c-1", state, owner="o-1", retry_at=NOW)
    assert record.due(NOW) is (state is State.NOT_APPLIED)


@pytest.mark.parametrize(
    ("retry_at", "due"),
    [(None, True), (NOW, True), (NOW - SECOND, True), (NOW + timedelta(milliseconds=1), False), (NOW + HOUR, False)],
)
def test_and_only_from_its_time_on(retry_at: datetime | None, due: object) -> None:
    assert Record("c-1", State.NOT_APPLIED, owner="o-1", retry_at=retry_at).due(NOW) is due


def test_a_record_without_an_owner_is_never_due() -> None:
    assert not Record("c-1", State.NOT_APPLIED, retry_at=NOW).due(NOW)


@pytest.mark.parametrize("state", [*State, None])
def test_only_who_has_claimed_can_have_died(state: State | None) -> None:
    record = Record("c-1", state, owner="o-1", owner_until=NOW - HOUR)
    assert record.claim_expired(NOW) is (state is State.CLAIMED)


@pytest.mark.parametrize(
    ("owner_until", "dead"),
    [
        (None, False),
        (NOW + HOUR, False),
        (NOW, False),
        (NOW - 59 * SECOND, False),
        (NOW - 60 * SECOND, False),
        (NOW - 61 * SECOND, True),
    ],
)
def test_an_owner_is_dead_a_minute_after_its_time(owner_until: datetime | None, dead: object) -> None:
    assert Record("c-1", State.CLAIMED, owner="o-1", owner_until=owner_until).claim_expired(NOW) is dead


# --- whose message was lost -------------------------------------------------------------------------------------------


def waiting(**changes: Any) -> Record:
    """A contact that waits, and whose message should have been there so long ago that it is lost."""
    values: dict[str, Any] = {
        "contact_id": "c-1",
        "state": State.NOT_APPLIED,
        "owner": "o-1",
        "since": NOW - 24 * HOUR,
        "back_by": NOW - LOST_AFTER - SECOND,
    }
    return Record(**values | changes)


@pytest.mark.parametrize("state", [*State, None])
def test_only_a_waiting_contact_has_a_message_to_lose(state: State | None) -> None:
    assert waiting(state=state).lost(NOW) is (state is State.NOT_APPLIED)


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({}, True),
        ({"back_by": NOW - LOST_AFTER}, False),
        ({"back_by": NOW - HOUR}, False),
        ({"back_by": NOW + HOUR}, False),
        # A release, or a claim before its message was first noted: since then it is open.
        ({"back_by": None}, True),
        ({"back_by": None, "since": NOW - HOUR}, False),
        # Closed: it was IGNORED.
        ({"since": None}, False),
        ({"since": None, "back_by": None}, False),
        # Its message lies in the dead-letter queue.
        ({"dead_lettered_at": NOW - 24 * HOUR}, False),
        ({"dead_lettered_at": NOW - 24 * HOUR, "back_by": None}, False),
        # Retry-After tells when it may be claimed, not where its message is.
        ({"retry_at": NOW + HOUR}, True),
        ({"failures": 40, "failed_since": NOW - 144 * HOUR}, True),
    ],
)
def test_when_a_message_counts_as_lost(changes: dict[str, Any], lost: object) -> None:
    assert waiting(**changes).lost(NOW) is lost


# --- how a record is read ---------------------------------------------------------------------------------------------


MOMENTS = {
    "since": "since",
    "ownerUntil": "owner_until",
    "retryAt": "retry_at",
    "claimedAt": "claimed_at",
    "settledAt": "settled_at",
    "metAt": "met_at",
    "backBy": "back_by",
    "failedSince": "failed_since",
    "deadLetteredAt": "dead_lettered_at",
    "releasedAt": "released_at",
    "closedAt": "closed_at",
}
OTHERS = {
    "state": "state",
    "owner": "owner",
    "source": "source",
    "firstSource": "first_source",
    "scope": "scope",
    "attempts": "attempts",
    "failures": "failures",
    "httpStatus": "http_status",
    "detail": "detail",
    "releasedBy": "released_by",
    "closedBy": "closed_by",
    "properties": "properties",
    "customFields": "custom_fields",
}
STORED = (
    st.none()
    | st.booleans()
    | ANY_TEXT
    | st.decimals()
    | st.binary(max_size=4)
    | st.lists(st.none() | ANY_TEXT | st.decimals(), max_size=3)
    | st.dictionaries(ANY_TEXT, st.none() | ANY_TEXT, max_size=2)
)


@pytest.mark.parametrize(("name", "attribute"), MOMENTS.items())
def test_a_moment_is_read_as_it_was_stored(name: str, attribute: str) -> None:
    moment = NOW + timedelta(milliseconds=123)
    assert getattr(record_of("c-1", {name: stored(moment)}), attribute) == moment


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds
def test_a_stored_moment_is_never_later_than_it_was(moment: datetime) -> None:
    back = record_of("c-1", {"backBy": stored(moment)}).back_by
    assert back is not None
    assert timedelta(0) <= moment - back <= timedelta(milliseconds=1)


@given(st.dictionaries(st.sampled_from([*MOMENTS, *OTHERS, "unknown"]), STORED))
def test_a_record_edited_by_hand_is_read_without_an_error(values: dict[str, Any]) -> None:
    record = record_of("c-1", values)
    assert record.contact_id == "c-1"
    for judge in (record.due, record.claim_expired, record.lost):
        assert judge(NOW) in {True, False}


def test_values_that_a_further_claim_keeps() -> None:
    """What the reconciliation and the operators go by survives a claim; what the last attempt said does not."""
    kept = {
        "metAt": stored(NOW),
        "firstSource": "reconcile",
        "scope": "all",
        "failures": Decimal(3),
        "failedSince": stored(NOW),
        "backBy": stored(NOW),
        "releasedAt": stored(NOW),
        "releasedBy": "jane",
    }
    gone = {"deadLetteredAt": stored(NOW), "retryAt": stored(NOW), "detail": "503", "httpStatus": Decimal(503)}
    assert record_of("c-1", {**kept, **gone}).history == kept
