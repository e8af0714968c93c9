"""How often Amazon Connect lets an account call each operation in a Region: token buckets.

The rates and bursts are Connect's defaults for the operations that VoiceCall Sync calls.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """What one operation is allowed.

    Attributes:
        rate: calls a second, in the long run.
        burst: calls at once, after a long enough pause.
    """

    rate: float
    burst: float


DEFAULT_QUOTAS: Mapping[str, Quota] = {
    "DescribeContact": Quota(10.0, 15.0),
    "SearchContacts": Quota(0.5, 1.0),
    "DescribeQueue": Quota(2.0, 5.0),
    "DescribeUser": Quota(2.0, 5.0),
}


class TokenBuckets:
    """A bucket for each operation, full at first. Not for several threads at once."""

    def __init__(self, *, factor: float, monotonic: Callable[[], float]) -> None:
        """Make full buckets.

        Args:
            factor: multiplies rates and bursts; a burst is never less than one call.
            monotonic: gives seconds that never run backwards.

        Raises:
            ValueError: a factor that is not above zero.
        """
        if factor <= 0:
            raise ValueError(f"factor must be above zero, not {factor}")
        self._monotonic = monotonic
        self._quotas = {
            name: Quota(quota.rate * factor, max(1.0, quota.burst * factor)) for name, quota in DEFAULT_QUOTAS.items()
        }
        now = monotonic()
        self._levels = {name: (quota.burst, now) for name, quota in self._quotas.items()}

    def take(self, operation: str) -> bool:
        """Return whether a call is within the operation's quota; if it is, it is counted. Others have no quota."""
        quota = self._quotas.get(operation)
        if quota is None:
            return True
        level, filled_at = self._levels[operation]
        now = self._monotonic()
        level = min(quota.burst, level + (now - filled_at) * quota.rate)
        is_within = level >= 1.0
        self._levels[operation] = (level - 1.0 if is_within else level, now)
        return is_within
