"""Calls within a quota, and slower where even that is too fast."""

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.builders import HandClock
from voicecall_sync.clock import Deadline
from voicecall_sync.errors import TooLittleTime
from voicecall_sync.pace import Pacer


class Called:
    """Work that fails as it is told, and knows when it was done."""

    def __init__(self, clock: HandClock, *failures: Exception | None) -> None:
        self._clock = clock
        self._failures = list(failures)
        self.at: list[float] = []

    def __call__(self) -> str:
        self.at.append(self._clock.steady)
        failure = self._failures.pop(0) if self._failures else None
        if failure is not None:
            raise failure
        return "done"

    def gaps(self) -> list[float]:
        return [round(later - sooner, 3) for sooner, later in zip(self.at, self.at[1:], strict=False)]


def failure(code: str, status: int) -> ClientError:
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "SearchContacts")  # type: ignore[arg-type]


THROTTLED = failure("TooManyRequestsException", 429)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def pacer(clock: HandClock, seconds: float = 1000.0) -> Pacer:
    return Pacer({"SearchContacts": 0.5}, clock, Deadline.after(clock, seconds))


def test_calls_go_out_evenly_spaced(clock: HandClock) -> None:
    work, paced = Called(clock), pacer(clock)
    assert [paced.call("SearchContacts", work) for _ in range(4)] == ["done"] * 4
    assert work.gaps() == [2.0, 2.0, 2.0]


def test_time_that_passed_anyway_is_not_waited_for_again(clock: HandClock) -> None:
    work, paced = Called(clock), pacer(clock)
    for _ in range(3):
        paced.call("SearchContacts", work)
        clock.pass_time(10)
    assert work.gaps() == [10.0, 10.0]


def test_what_has_no_pace_is_not_held_up(clock: HandClock) -> None:
    work, paced = Called(clock), pacer(clock)
    for _ in range(3):
        paced.call("DescribeContact", work)
    assert work.gaps() == [0.0, 0.0]


def test_a_call_turned_away_comes_again_more_slowly_and_the_pace_comes_back(clock: HandClock) -> None:
    work, paced = Called(clock, THROTTLED, THROTTLED), pacer(clock)
    assert paced.call("SearchContacts", work) == "done"
    assert work.gaps() == [4.0, 8.0]
    for _ in range(60):
        paced.call("SearchContacts", work)
    assert work.gaps()[-1] == 2.0
    assert work.gaps()[2] > work.gaps()[10] > 2.0


def test_it_is_not_slowed_down_without_end(clock: HandClock) -> None:
    paced = pacer(clock, 10_000)
    for _ in range(3):
        paced.call("SearchContacts", Called(clock, *[THROTTLED] * 7))
    work = Called(clock)
    paced.call("SearchContacts", work)
    paced.call("SearchContacts", work)
    assert work.gaps()[0] <= 32.0


@pytest.mark.parametrize(
    ("raised", "tries"),
    [
        (THROTTLED, 8),
        (failure("ThrottlingException", 400), 8),
        (failure("InternalServiceException", 500), 3),
        (ReadTimeoutError(endpoint_url="https://x"), 3),
        (failure("ResourceNotFoundException", 404), 1),
        (failure("AccessDeniedException", 403), 1),
        (KeyError("x"), 1),
    ],
    ids=["throttled", "throttled, otherwise", "500", "time-out", "not found", "denied", "a defect"],
)
def test_how_often_what_fails_is_tried(clock: HandClock, raised: Exception, tries: int) -> None:
    work = Called(clock, *[raised] * 20)
    with pytest.raises(type(raised)):
        pacer(clock).call("SearchContacts", work)
    assert len(work.at) == tries


def test_a_pace_far_too_fast_is_found_out(clock: HandClock) -> None:
    paced = Pacer({"SearchContacts": 1000.0}, clock, Deadline.after(clock, 1000))
    work = Called(clock, *[THROTTLED] * 7)
    assert paced.call("SearchContacts", work) == "done"
    assert all(gap >= 0.5 for gap in work.gaps())


def test_nobody_waits_beyond_the_deadline(clock: HandClock) -> None:
    work, paced = Called(clock), pacer(clock, seconds=3)
    paced.call("SearchContacts", work)
    paced.call("SearchContacts", work)
    before = clock.steady
    with pytest.raises(TooLittleTime):
        paced.call("SearchContacts", work)
    assert clock.steady == before
    assert len(work.at) == 2
