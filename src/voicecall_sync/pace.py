"""How fast to call Amazon Connect: within its quotas, and slower where it says that even that is too fast.

Connect's quotas hold for the whole account and Region, so somebody else's calls count too; how much of them is free
shows only when a call is turned away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from itertools import count
from typing import TypeVar

from botocore import exceptions as botocore_says

from voicecall_sync.clock import Clock, Deadline
from voicecall_sync.errors import TooLittleTime, aws_reason

T = TypeVar("T")

SLOWEST = 1 / 16
"""As a share of the pace one starts with, where that is not even more than ..."""
SLOWEST_PER_SECOND = 0.25
FASTER = 1.1
PAUSE_SECONDS = 0.5
"""At least so long nothing is called after a call was turned away."""
TRIES_IF_TURNED_AWAY = 8
TRIES_IF_IT_FAILED = 3
_TURNED_AWAY = frozenset({"TooManyRequestsException", "ThrottlingException", "Throttling"})


def at_once(operation: str, work: Callable[[], T]) -> T:  # noqa: ARG001 - as Pacer.call takes it
    """Call without any pacing."""
    return work()


class Pace:
    """The pace of one operation: its calls go out one by one, evenly spaced. For several threads."""

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._full = self._rate = per_second
        self._clock = clock
        self._next = clock.monotonic()
        self._lock = threading.Lock()

    def wait_for_turn(self, deadline: Deadline) -> None:
        """Wait until the next call may go out.

        Raises:
            TooLittleTime: That would be after the deadline.
        """
        with self._lock:
            now = self._clock.monotonic()
            turn = max(self._next, now)
            wait = turn - now
            if wait >= deadline.left():
                raise TooLittleTime("too little time is left to wait for Amazon Connect's quota")
            self._next = turn + 1 / self._rate
        if wait > 0:
            self._clock.sleep(wait)

    def turned_away(self) -> None:
        """Go at half the pace from here on, and pause."""
        with self._lock:
            self._rate = max(self._rate / 2, min(self._full * SLOWEST, SLOWEST_PER_SECOND))
            self._next = max(self._next, self._clock.monotonic() + max(1 / self._rate, PAUSE_SECONDS))

    def went_well(self) -> None:
        """Find back to the full pace, little by little."""
        with self._lock:
            self._rate = min(self._rate * FASTER, self._full)


class Pacer:
    """Paces the calls of one run.

    Args:
        per_second: Operation -> its calls a second. An operation that is not in it is not paced.
        deadline: When no call may wait any longer.
    """

    def __init__(self, per_second: Mapping[str, float], clock: Clock, deadline: Deadline) -> None:
        self._paces = {operation: Pace(rate, clock) for operation, rate in per_second.items()}
        self._deadline = deadline

    def call(self, operation: str, work: Callable[[], T]) -> T:
        """Do the work when it is its turn, and again, more slowly, where it was turned away or failed in passing.

        Raises:
            TooLittleTime: Its turn would come after the deadline.
            Exception: Whatever the work raises, being turned away too often among it.
        """
        pace = self._paces.get(operation)
        if pace is None:
            return work()
        for attempt in count(1):
            pace.wait_for_turn(self._deadline)
            try:
                done = work()
            except Exception as failure:
                if attempt >= _tries(failure):
                    raise
                pace.turned_away()
            else:
                pace.went_well()
                return done
        raise AssertionError("unreachable: each failure ends the tries at some time")


def _tries(failure: Exception) -> int:
    if aws_reason(failure) in _TURNED_AWAY:
        return TRIES_IF_TURNED_AWAY
    status = (
        failure.response["ResponseMetadata"]["HTTPStatusCode"] if isinstance(failure, botocore_says.ClientError) else 0
    )
    unheard = isinstance(failure, botocore_says.ConnectionError | botocore_says.HTTPClientError)
    return TRIES_IF_IT_FAILED if unheard or status >= HTTPStatus.INTERNAL_SERVER_ERROR else 1
