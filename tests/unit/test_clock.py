from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import HandClock
from voicecall_sync.clock import Deadline, SystemClock


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


def test_a_sandbox_that_was_frozen_has_no_time_left_though_its_monotonic_clock_stood_still() -> None:
    clock = HandClock()
    deadline = Deadline.after(clock, 10)
    clock.wall += timedelta(hours=1)
    assert deadline.left() <= -3590 + 1e-3


def test_a_wall_clock_set_back_gives_no_time() -> None:
    clock = HandClock()
    deadline = Deadline.after(clock, 10)
    clock.pass_time(9)
    clock.wall -= timedelta(hours=1)
    assert deadline.left() == pytest.approx(1)


def test_a_wall_clock_set_forward_only_takes_time() -> None:
    clock = HandClock()
    deadline = Deadline.after(clock, 10)
    clock.wall += timedelta(seconds=3)
    assert deadline.left() == pytest.approx(7)


def test_an_earlier_and_a_later_deadline_leave_that_much_less_and_more() -> None:
    clock = HandClock()
    deadline = Deadline.after(clock, 10)
    assert deadline.later(-3).left() == pytest.approx(7)
    assert deadline.later(3).left() == pytest.approx(13)
    clock.wall += timedelta(seconds=5)
    assert deadline.later(-3).left() == pytest.approx(2)
    clock.steady += 9
    assert deadline.later(-3).left() == pytest.approx(-2)


STEPS = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e6)), max_size=8)


@given(st.floats(-100, 1e4), STEPS)
def test_however_the_clocks_jump_no_time_is_gained(seconds: float, steps: list[tuple[float, float]]) -> None:
    """The monotonic clock may stand still and the wall clock go either way; the nearer end counts."""
    clock = HandClock()
    deadline = Deadline.after(clock, seconds)
    start, started = clock.wall, clock.steady
    for jump, passed in steps:
        clock.wall += timedelta(seconds=jump)
        clock.steady += passed
        gone = max((clock.wall - start).total_seconds(), clock.steady - started)
        assert deadline.left() == pytest.approx(seconds - gone, abs=1e-3)


def test_the_machines_clocks_agree_on_their_units() -> None:
    clock = SystemClock()
    assert clock.now().utcoffset() == timedelta(0)
    assert clock.monotonic() <= clock.monotonic()
    assert 0 < Deadline.after(clock, 1e6).left() <= 1e6
