"""When a message comes back: the ladder, known due times, and that a week of it fits into SQS's bounds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voicecall_sync.clock import TIMINGS
from voicecall_sync.queue.coming_back import (
    DELAY,
    MOST_RECEIVES,
    TAKEN_AT_ITS_WORD,
    TRIED_FOR,
    VISIBILITY,
    back_by,
    is_over,
    wait,
    whole_seconds,
)

NOW = datetime(2026, 11, 22, 9, 30, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
LONGEST_VISIBILITY = timedelta(hours=12)
"""SQS refuses a longer one."""


@pytest.mark.parametrize(
    ("failures", "minutes"),
    [(1, 1), (2, 5), (3, 15), (4, 60), (5, 60), (10, 60), (11, 60), (1_000_000, 60)],
)
def test_without_a_known_moment_the_ladder_counts(failures: int, minutes: float) -> None:
    assert wait(TIMINGS.ladder, failures, None, NOW) == minutes * MINUTE


@pytest.mark.parametrize(
    ("failures", "due_in", "after"),
    [
        # As soon as Salesforce said; the ladder does not count.
        (1, 30 * SECOND, 30 * SECOND),
        (1, HOUR, HOUR),
        (4, 2 * SECOND, 2 * SECOND),
        (TAKEN_AT_ITS_WORD, 2 * SECOND, 2 * SECOND),
        # What is due by now comes back a second later: SQS takes whole seconds.
        (1, 0 * SECOND, SECOND),
        (1, -HOUR, SECOND),
        (1, timedelta(milliseconds=300), SECOND),
        # From then on no earlier than the ladder says.
        (TAKEN_AT_ITS_WORD + 1, 2 * SECOND, HOUR),
        (TAKEN_AT_ITS_WORD + 1, -HOUR, HOUR),
        (TAKEN_AT_ITS_WORD + 1, 2 * HOUR, 2 * HOUR),
    ],
)
def test_a_known_moment_counts_ten_times_instead(failures: int, due_in: timedelta, after: timedelta) -> None:
    assert wait(TIMINGS.ladder, failures, NOW + due_in, NOW) == after


DUE = st.none() | st.timedeltas(-timedelta(days=2), HOUR)
"""What an outcome may say: Retry-After is an hour at most, the breaker's moment ten minutes."""


@given(st.integers(1, 2000), DUE)
def test_a_wait_is_never_too_short_or_zero(failures: int, due_in: timedelta | None) -> None:
    after = wait(TIMINGS.ladder, failures, None if due_in is None else NOW + due_in, NOW)
    assert SECOND <= after <= HOUR
    assert due_in is None or after >= due_in


# DEFECT (coming_back.wait): a retryAt that was edited by hand may be further ahead than SQS takes. SQS then refuses
# each change of visibility, and the message comes every 360 s instead.
@pytest.mark.parametrize("failures", [1, TAKEN_AT_ITS_WORD + 1])
def test_a_wait_is_never_longer_than_sqs_takes(failures: int) -> None:
    assert wait(TIMINGS.ladder, failures, NOW + timedelta(days=3), NOW) <= LONGEST_VISIBILITY


@given(st.lists(DUE, max_size=40), st.sampled_from([None, -HOUR, SECOND]))
@example(due_ins=[timedelta(0)] * 40, rest=timedelta(0))
def test_a_week_of_failing_takes_fewer_receives_than_sqs_allows(
    due_ins: list[timedelta | None], rest: timedelta | None
) -> None:
    """With any due times from Salesforce: any mix at first, then always the same."""
    now, failed_since, receives = NOW, None, 1
    while not is_over(failed_since, receives, now):
        due_in = due_ins[receives - 1] if receives <= len(due_ins) else rest
        after = wait(TIMINGS.ladder, receives, None if due_in is None else now + due_in, now)
        failed_since = failed_since or now
        now += timedelta(seconds=whole_seconds(after))
        receives += 1
    assert receives < MOST_RECEIVES
    assert TRIED_FOR < now - NOW <= TRIED_FOR + HOUR + SECOND


def test_the_function_parks_it_before_sqs_does() -> None:
    now, receives = NOW, 1
    while not is_over(NOW, receives, now):
        now += VISIBILITY
        receives += 1
    assert receives <= MOST_RECEIVES < 1000
    assert now - NOW > timedelta(days=4)


@given(st.timedeltas(timedelta(0), timedelta(days=2)))
def test_a_message_is_expected_after_both_time_outs(after: timedelta) -> None:
    expected = back_by(NOW, after)
    assert expected >= NOW + after
    assert expected >= NOW + VISIBILITY
    assert expected in {NOW + after, NOW + VISIBILITY}


def test_a_new_message_is_expected_by_the_queues_time_out() -> None:
    assert back_by(NOW, DELAY) == NOW + VISIBILITY


@pytest.mark.parametrize(
    ("failed_for", "receives", "over"),
    [
        (None, 1, False),
        (None, MOST_RECEIVES - 1, False),
        (None, MOST_RECEIVES, True),
        (None, 5000, True),
        (timedelta(0), 1, False),
        (TRIED_FOR, 200, False),
        (TRIED_FOR + SECOND, 200, True),
        (timedelta(days=400), 1, True),
        # A clock that was set back.
        (-HOUR, 1, False),
        (-HOUR, MOST_RECEIVES, True),
    ],
)
def test_when_it_is_over(failed_for: timedelta | None, receives: int, over: object) -> None:
    assert is_over(None if failed_for is None else NOW - failed_for, receives, NOW) is over


@given(st.timedeltas(timedelta(0), timedelta(days=2)))
def test_whole_seconds_are_never_fewer_than_asked_for(after: timedelta) -> None:
    assert after <= timedelta(seconds=whole_seconds(after)) < after + SECOND
