"""When a message comes back, and when it no longer does.

SQS gives a message again once its visibility time-out is over. The worker sets that time-out for each message
(ChangeMessageVisibility). It is not documented whether the time-out holds after the worker reported the message as
failed. If not, the queue's own ``VISIBILITY`` counts, and everything here still holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

DELAY = timedelta(seconds=90)
"""How long the queue holds back a new message. Connect closes a contact record some 65 seconds after the call."""
VISIBILITY = timedelta(seconds=360)
"""The queue's own visibility time-out: six times the function's time-out, as AWS advises."""
RETENTION = timedelta(days=14)
"""How long SQS keeps a message."""
TRIED_FOR = timedelta(days=7)
"""A week after a contact's first failure, its message goes to the dead-letter queue. The same happens a week after the
first look at a call that Amazon Connect does not describe as ended."""
MOST_RECEIVES = 990
"""A message that was received so often goes there as well. At 1,000 receives SQS would move it, without our reason."""
LONGEST = timedelta(hours=11)
"""SQS hides a message for twelve hours at the most, counted from its receive."""
TAKEN_AT_ITS_WORD = 10
"""So many times a contact comes back as early as Salesforce asked (Retry-After, perhaps one second). After that the
ladder sets the shortest wait, so that a week of attempts stays below ``MOST_RECEIVES``."""


def wait(ladder: Sequence[float], failures: int, due: datetime | None, now: datetime) -> timedelta:
    """Return the time after which a message comes back.

    Args:
        ladder: Seconds, by the number of failures.
        failures: The number of the contact's failures, this one included: 1 or more.
        due: The earliest useful time for the next look; None if it is not known.
        now: The time of the failure.
    """
    step = timedelta(seconds=ladder[min(failures, len(ladder)) - 1])
    if due is None:
        return step
    known = min(max(due - now, timedelta(seconds=1)), LONGEST)
    return known if failures <= TAKEN_AT_ITS_WORD else max(known, step)


def back_by(now: datetime, after: timedelta) -> datetime:
    """Return when a message that comes back is there again at the latest: after the longer of both time-outs."""
    return now + max(after, VISIBILITY)


def is_over(since: datetime | None, receives: int, now: datetime) -> bool:
    """Tell whether a message must go to the dead-letter queue.

    Args:
        since: When its contact first failed, or began to wait for the same thing; None for now.
        receives: How often the message was received.
        now: The time of day.
    """
    return receives >= MOST_RECEIVES or (since is not None and now - since > TRIED_FOR)


def whole_seconds(after: timedelta) -> int:
    """Return a wait in whole seconds, rounded up, as SQS takes it."""
    return math.ceil(after / timedelta(seconds=1))
