from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.local.hand_clock import HandClock
from voicecall_sync.clock import TIMINGS, Deadline, Moments, SystemClock


def test_a_deadline_comes_nearer_as_time_passes() -> None:
    clock = HandClock()
    deadline = Deadline.after(clock, 10)
    assert deadline.left() == pytest.approx(10)
    clock.pass_time(4)
    assert deadline.left() == pytest.approx(6)
    clock.pass_time(6)
    assert deadline.left() == pytest.approx(0)
    clock.pass_time(5)
    assert deadline.left() == pytest.approx(-5)


def test_an_earlier_deadline_leaves_less_and_a_later_more() -> None:
    clock = HandClock()
    deadline = Deadline.after(clock, 10)
    assert deadline.later(-3).left() == pytest.approx(7)
    assert deadline.later(3).left() == pytest.approx(13)
    assert deadline.or_after(4).left() == pytest.approx(4)
    assert deadline.or_after(40).left() == pytest.approx(10)


STEPS = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e6)), max_size=8)


@given(st.floats(-100, 1e4), STEPS)
def test_however_the_time_of_day_jumps_a_deadline_stays(seconds: float, steps: list[tuple[float, float]]) -> None:
    clock = HandClock()
    deadline, started = Deadline.after(clock, seconds), clock.steady
    for jump, passed in steps:
        clock.wall += timedelta(seconds=jump)
        clock.steady += passed
        assert deadline.left() == pytest.approx(seconds - (clock.steady - started), abs=1e-3)


def test_the_moments_of_a_contact_flow() -> None:
    clock = HandClock()
    moments = Moments.of(clock, TIMINGS, remaining=8.0, budget=TIMINGS.flow)
    assert [one.left() for one in (moments.claim_before, moments.answer_before, moments.over)] == pytest.approx(
        [3.0, 4.0, 6.5]
    )
    assert moments.lease - clock.now() == timedelta(seconds=8)


@given(st.floats(0, 900), st.floats(0.1, 60))
def test_the_moments_are_in_order_and_before_lambda_ends_it(remaining: float, budget: float) -> None:
    clock = HandClock()
    moments = Moments.of(clock, TIMINGS, remaining, budget)
    assert moments.claim_before.end < moments.answer_before.end < moments.over.end
    assert moments.over.left() == pytest.approx(min(budget, remaining - TIMINGS.last_lines), abs=1e-6)
    assert moments.over.left() - moments.answer_before.left() == pytest.approx(TIMINGS.settle)


def test_settling_has_time_for_two_tries_that_hang() -> None:
    """botocore's legacy retries wait 50 ms before DynamoDB's second try."""
    assert 2 * (TIMINGS.aws_connect + TIMINGS.aws_answer) + 0.05 <= TIMINGS.settle


def test_the_machines_clocks_agree_on_their_units() -> None:
    clock = SystemClock()
    assert clock.now().utcoffset() == timedelta(0)
    assert clock.monotonic() <= clock.monotonic()
    assert 0 < Deadline.after(clock, 1e6).left() <= 1e6
