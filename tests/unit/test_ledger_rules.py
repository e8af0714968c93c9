from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicecall_sync.outcome import State
from voicecall_sync.record import Record, retry_at

NOW = datetime(2026, 11, 22, 9, 30, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


# --- when to try again -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempts", "retry_after", "wait"),
    [
        (1, None, 0 * SECOND),
        (2, None, 0 * SECOND),
        (3, None, 2 * MINUTE),
        (4, None, 4 * MINUTE),
        (5, None, 8 * MINUTE),
        (10, None, 256 * MINUTE),
        (11, None, 6 * HOUR),
        (1000, None, 6 * HOUR),
        (10**9, None, 6 * HOUR),
        (1, 0.0, 0 * SECOND),
        (1, 30.0, 30 * SECOND),
        (2, 30.0, 30 * SECOND),
        (3, 30.0, 60 * SECOND),
        (4, 30.0, 120 * SECOND),
        (1, 3600.0, HOUR),
        (3, 3600.0, 2 * HOUR),
        (5, 3600.0, 6 * HOUR),
        (3, 0.0, 2 * MINUTE),
    ],
)
def test_how_long_a_contact_waits(attempts: int, retry_after: float | None, wait: timedelta) -> None:
    assert retry_at(NOW, attempts, retry_after) == NOW + wait


@given(st.integers(0, 10**6), st.none() | st.floats(0, 3600))
def test_a_wait_is_at_least_what_was_asked_for_and_six_hours_at_most(attempts: int, retry_after: float | None) -> None:
    wait = retry_at(NOW, attempts, retry_after) - NOW
    assert timedelta(seconds=retry_after or 0) <= wait <= 6 * HOUR


@given(st.none() | st.floats(0, 3600))
def test_a_wait_never_becomes_shorter(retry_after: float | None) -> None:
    waits = [retry_at(NOW, attempts, retry_after) for attempts in range(1, 40)]
    assert all(earlier <= later for earlier, later in itertools.pairwise(waits))


# --- what a record allows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [*State, None])
def test_only_what_was_not_applied_may_be_claimed_again(state: State | None) -> None:
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
    assert record.owner_dead(NOW) is (state is State.CLAIMED)


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
    assert Record("c-1", State.CLAIMED, owner="o-1", owner_until=owner_until).owner_dead(NOW) is dead
