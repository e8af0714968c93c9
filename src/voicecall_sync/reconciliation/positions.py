"""How far the two passes of the reconciliation have come, and where a run goes on.

    first   up to 30 minutes ago                finished contacts without an event
    second  up to ReconcileLookBackHours ago    contacts that the search's index had late

A position is never before ReconcileNotBefore, and never more than 24 hours behind the target of its pass. After an
outage, another system may have updated the calls, and these must not be sent. So the run skips what is older and names
it, and an operator may backfill it by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from voicecall_sync.contact import Scope
from voicecall_sync.ledger.record import from_stored, stored
from voicecall_sync.reconciliation.request import FIRST_AFTER
from voicecall_sync.times import NARROWEST, Window

STEP = timedelta(hours=1)
FURTHEST_BEHIND = timedelta(hours=24)
CLOCKS_DIFFER = timedelta(minutes=5)

_WIDTH = tuple(Scope)  # none < abandoned < unanswered < all


class Pass(StrEnum):
    """One of the two passes."""

    FIRST = "first"
    SECOND = "second"

    def target(self, now: datetime, look_back: timedelta) -> datetime:
        """Return the end of the time that the pass searches."""
        return now - (FIRST_AFTER if self is Pass.FIRST else look_back)


@dataclass(frozen=True, slots=True)
class Position:
    """How far a pass has come. Times are in UTC.

    Attributes:
        at: All contacts that ended before this are done.
        scope: The scope of the run that moved it.
        moved_at: When it last moved.
        width: The width of the next step.
        trying: The end of the step under way. If the next run finds it, that step was cut off.
    """

    at: datetime
    scope: Scope
    moved_at: datetime
    width: timedelta = STEP
    trying: datetime | None = None

    def next_step(self, target: datetime) -> Window | None:
        """Return the next step; None if the pass has reached its target."""
        return Window(self.at, min(self.at + self.width, target)) if self.at < target else None

    def begun(self, step: Window) -> Position:
        """Return the position with a step under way."""
        return replace(self, trying=step.end)

    def halved(self, step: Window) -> Position:
        """Return the position with a next step half as wide as this one, which was too much for one search."""
        return replace(self, width=max(NARROWEST, (step.end - step.start) / 2), trying=None)

    def done(self, step: Window, now: datetime) -> Position:
        """Return the position behind a step; the next step is wider again."""
        return replace(self, at=step.end, moved_at=now, width=min(STEP, self.width * 2), trying=None)

    def stands(self, target: datetime, now: datetime) -> timedelta:
        """Return for how long it could have moved but did not."""
        return max(timedelta(0), min(now - self.moved_at, target - self.at))

    def as_stored(self) -> dict[str, object]:
        """Return the position as the table keeps it."""
        values: dict[str, object] = {
            "at": stored(self.at),
            "scope": self.scope.value,
            "movedAt": stored(self.moved_at),
            "width": int(self.width.total_seconds()),
        }
        return values | ({"trying": stored(self.trying)} if self.trying else {})


def position_of(item: Mapping[str, Any] | None) -> Position | None:
    """Read a position; None if it is missing or not readable. The pass then begins now."""
    if item is None:
        return None
    at, moved_at, trying = (from_stored(item.get(name)) for name in ("at", "movedAt", "trying"))
    scope, width = item.get("scope"), item.get("width")
    if at is None or moved_at is None or scope not in list(Scope):
        return None
    seconds = int(width) if isinstance(width, Decimal) and width.is_finite() else 0
    return Position(at, Scope(scope), moved_at, _bounded(timedelta(seconds=max(0, min(seconds, 86_400)))), trying)


def begin(
    saved: Position | None, scope: Scope, target: datetime, now: datetime, not_before: datetime | None
) -> tuple[Position, Window | None]:
    """Return where a run begins, and the time it skips because it is too far back.

    A first run begins now. So does a run with a wider scope than the position's, and the first one after the scope
    ``none``. Contacts that ended before were not in the scope.

    Args:
        saved: The position that was saved; None without one.
        scope: The run's scope; not ``none``.
        target: The end of the time that the pass searches.
        now: The time of day.
        not_before: Contacts that ended before this belong to another system; None for no such bound.
    """
    if saved is None or _WIDTH.index(scope) > _WIDTH.index(saved.scope):
        return Position(now, scope, now), None
    position = replace(saved, scope=scope, trying=None)
    if saved.at > now + CLOCKS_DIFFER:  # a clock was ahead: how far the pass came is not known
        position = replace(position, at=target - FURTHEST_BEHIND)
    if saved.trying is not None:
        position = replace(position, width=_bounded((saved.trying - saved.at) / 2))
    if not_before is not None and position.at < not_before:
        # Never later than now: an operator may correct a bound in the future.
        position = replace(position, at=min(not_before, now), moved_at=now)
    furthest = target - FURTHEST_BEHIND
    if position.at < furthest:
        return replace(position, at=furthest), Window(position.at, furthest)
    return position, None


def switched_off(now: datetime) -> Position:
    """Return the position that a run with the scope ``none`` leaves."""
    return Position(now, Scope.NONE, now)


def _bounded(width: timedelta) -> timedelta:
    return min(STEP, max(NARROWEST, width))
