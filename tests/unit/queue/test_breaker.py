"""The breaker: a table of answers on a clock moved by hand, and how many contacts an outage costs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.local.hand_clock import HandClock
from voicecall_sync.clock import TIMINGS
from voicecall_sync.errors import SalesforceFailing
from voicecall_sync.outcome import Settlement, State
from voicecall_sync.queue.breaker import FAILURES, FAILURES_IN_A_FLOW, Breaker

SILENCE = Settlement(State.UNCERTAIN, "no answer in time")
RESET = Settlement(State.UNCERTAIN, "the connection broke")
ERROR_500 = Settlement(State.UNCERTAIN, "HTTP 500", 500)
ERROR_503 = Settlement(State.UNCERTAIN, "HTTP 503", 503)
BUSY_503 = Settlement(State.NOT_APPLIED, "HTTP 503", 503, retry_after=30.0)
UPDATED = Settlement(State.UPDATED, "HTTP 204", 204)
REFUSED = Settlement(State.REJECTED, "HTTP 400", 400)
UNAUTHORIZED = Settlement(State.NOT_APPLIED, "HTTP 401", 401)
THROTTLED = Settlement(State.NOT_APPLIED, "HTTP 429", 429, retry_after=1.0)
REDIRECT = Settlement(State.REJECTED, "HTTP 302", 302)
UNSENT = Settlement(State.NOT_APPLIED, "the connection was closed before the request")

FAILING = [SILENCE, RESET, ERROR_500, ERROR_503, BUSY_503]
CLOSING = [UPDATED, REFUSED, UNAUTHORIZED, THROTTLED]
SAYING_NOTHING = [REDIRECT, UNSENT]


class Sandbox:
    """One sandbox's breaker, and its clock."""

    def __init__(self, most: int = FAILURES) -> None:
        self.clock = HandClock()
        self.breaker = Breaker(self.clock, TIMINGS)
        self.most = most

    def learn(self, *settlements: Settlement) -> None:
        for settlement in settlements:
            self.breaker.learn(settlement, self.most)

    def open_for(self) -> float:
        """For how many seconds it admits no contact; 0 where it does."""
        try:
            self.breaker.admit()
        except SalesforceFailing as failure:
            return ((failure.due or self.clock.now()) - self.clock.now()).total_seconds()
        return 0


@pytest.mark.parametrize("failure", FAILING, ids=lambda one: one.detail)
def test_three_in_a_row_open_it(failure: Settlement) -> None:
    sandbox = Sandbox()
    for _ in range(2):
        sandbox.learn(failure)
        assert sandbox.open_for() == 0
    sandbox.learn(failure)
    assert sandbox.open_for() == 60


@pytest.mark.parametrize("failure", FAILING, ids=lambda one: one.detail)
def test_in_a_flow_the_first_does(failure: Settlement) -> None:
    sandbox = Sandbox(FAILURES_IN_A_FLOW)
    sandbox.learn(failure)
    assert sandbox.open_for() == 60


@pytest.mark.parametrize(
    ("answers", "opened"),
    [
        ([], False),
        ([SILENCE, ERROR_500, BUSY_503], True),
        ([SILENCE, SILENCE, UPDATED, SILENCE, SILENCE], False),
        ([SILENCE, SILENCE, REFUSED, SILENCE, SILENCE], False),
        ([SILENCE, SILENCE, THROTTLED, SILENCE, SILENCE, SILENCE], True),
        # What was never sent, and a redirect, say nothing of whether Salesforce answers.
        ([SILENCE, UNSENT, SILENCE, UNSENT, SILENCE], True),
        ([SILENCE, SILENCE, REDIRECT, UNSENT], False),
        ([SILENCE, SILENCE, REDIRECT, SILENCE], True),
        ([UNSENT] * 20, False),
        ([REFUSED] * 20, False),
    ],
)
def test_answers_that_count_as_in_a_row(answers: list[Settlement], opened: object) -> None:
    sandbox = Sandbox()
    sandbox.learn(*answers)
    assert (sandbox.open_for() > 0) is opened


@pytest.mark.parametrize("most", [FAILURES, FAILURES_IN_A_FLOW])
def test_a_failed_probe_doubles_the_wait_to_ten_minutes(most: int) -> None:
    sandbox = Sandbox(most)
    sandbox.learn(*[SILENCE] * most)
    waits = []
    for _ in range(60):
        waits.append(sandbox.open_for())
        sandbox.clock.pass_time(waits[-1] - 1)
        assert sandbox.open_for() == 1
        sandbox.clock.pass_time(1)
        assert sandbox.open_for() == 0  # the probe
        sandbox.learn(SILENCE)
    assert waits[:6] == [60, 120, 240, 480, 600, 600]
    assert set(waits[6:]) == {600}


@pytest.mark.parametrize("answer", CLOSING, ids=lambda one: one.detail)
def test_an_answer_of_the_probe_closes_it(answer: Settlement) -> None:
    sandbox = Sandbox()
    sandbox.learn(SILENCE, SILENCE, SILENCE)
    sandbox.clock.pass_time(60)
    sandbox.learn(SILENCE)
    sandbox.clock.pass_time(120)
    sandbox.learn(answer)
    # All is as in the beginning: the count, and the length of the wait.
    sandbox.learn(SILENCE, SILENCE)
    assert sandbox.open_for() == 0
    sandbox.learn(SILENCE)
    assert sandbox.open_for() == 60


@pytest.mark.parametrize("nothing", SAYING_NOTHING, ids=lambda one: one.detail)
def test_a_probe_that_says_nothing_is_followed_by_another(nothing: Settlement) -> None:
    sandbox = Sandbox()
    sandbox.learn(SILENCE, SILENCE, SILENCE)
    sandbox.clock.pass_time(60)
    sandbox.learn(nothing)
    assert sandbox.open_for() == 0
    sandbox.learn(SILENCE)
    assert sandbox.open_for() == 120


@pytest.mark.parametrize("back", [1, 60, 539, 541, 3600, 10**8])
def test_a_clock_set_back_keeps_it_open_ten_minutes(back: float) -> None:
    sandbox = Sandbox()
    sandbox.learn(SILENCE, SILENCE, SILENCE)
    sandbox.clock.wall -= timedelta(seconds=back)
    assert sandbox.open_for() == (60 + back if back <= 540 else 0)


def test_a_clock_that_is_set_ahead_ends_it() -> None:
    sandbox = Sandbox()
    sandbox.learn(SILENCE, SILENCE, SILENCE)
    sandbox.clock.wall += timedelta(days=1)
    assert sandbox.open_for() == 0


def used_up(most: int, seconds: int) -> int:
    """How many contacts an outage uses up in one sandbox, where there is one contact a second."""
    sandbox, used = Sandbox(most), 0
    for _ in range(seconds):
        if sandbox.open_for() == 0:
            sandbox.learn(SILENCE)
            used += 1
        sandbox.clock.pass_time(1)
    return used


def test_an_hours_outage_uses_up_a_dozen_contacts_at_most() -> None:
    assert used_up(FAILURES, 3600) <= 12
    assert used_up(FAILURES_IN_A_FLOW, 3600) <= 12


def test_a_days_outage_costs_seven_an_hour_at_most() -> None:
    assert used_up(FAILURES, 24 * 3600) <= 12 + 23 * 7


@given(st.lists(st.tuples(st.sampled_from([*FAILING, *SAYING_NOTHING, *CLOSING]), st.floats(0, 2000)), max_size=40))
def test_one_answer_always_closes_it(
    past: list[tuple[Settlement, float]],
) -> None:
    sandbox = Sandbox()
    for settlement, seconds in past:
        sandbox.learn(settlement)
        assert 0 <= sandbox.open_for() <= TIMINGS.breaker_longest
        if settlement in CLOSING:
            assert sandbox.open_for() == 0
        sandbox.clock.pass_time(seconds)
    sandbox.learn(UPDATED)
    assert sandbox.open_for() == 0
