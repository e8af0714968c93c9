"""How far the two passes of the reconciliation have come, and where a run goes on.

    first   up to 30 minutes ago                what no event told of
    second  up to ReconcileLookBackHours ago    what the search's index had late

A position never lies before ReconcileNotBefore, nor more than 24 hours behind where its pass would be: an outage and
a hand-over to another system look alike, and calls that another system has updated must not be sent. What is skipped
so is named, and an operator backfills it by hand.
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
        """Return up to which moment the pass looks."""
        return now - (FIRST_AFTER if self is Pass.FIRST else look_back)


@dataclass(frozen=True, slots=True)
class Position:
    """How far a pass has come. Times are in UTC.

    Attributes:
        at: All contacts that ended before it are done.
        scope: The scope it was walked with.
        moved_at: When it last moved.
        width: How wide the next step is.
        trying: Where the step ends that is under way; a run that finds it knows that the step was cut off.
    """

    at: datetime
    scope: Scope
    moved_at: datetime
    width: timedelta = STEP
    trying: datetime | None = None

    def next_step(self, target: datetime) -> Window | None:
        """Return the next step; None where the pass is through."""
        return Window(self.at, min(self.at + self.width, target)) if self.at < target else None

    def begun(self, step: Window) -> Position:
        """Return it with a step under way."""
        return replace(self, trying=step.end)

    def halved(self, step: Window) -> Position:
        """Return it with the next step half as wide as this one, which was too much for one search."""
        return replace(self, width=max(NARROWEST, (step.end - step.start) / 2), trying=None)

    def done(self, step: Window, now: datetime) -> Position:
        """Return it behind a step; the next one is wider again."""
        return replace(self, at=step.end, moved_at=now, width=min(STEP, self.width * 2), trying=None)

    def stands(self, target: datetime, now: datetime) -> timedelta:
        """Return for how long it could have moved, and did not."""
        return max(timedelta(0), min(now - self.moved_at, target - self.at))

    def as_stored(self) -> dict[str, object]:
        """Return it as the table keeps it."""
        values: dict[str, object] = {
            "at": stored(self.at),
            "scope": self.scope.value,
            "movedAt": stored(self.moved_at),
            "width": int(self.width.total_seconds()),
        }
        return values | ({"trying": stored(self.trying)} if self.trying else {})


def position_of(item: Mapping[str, Any] | None) -> Position | None:
    """Read a position; None for none, and where it is not readable: the pass then begins anew, from now on."""
    if item is None:
        return None
    at, moved_at, trying = (from_stored(item.get(name)) for name in ("at", "movedAt", "trying"))
    scope, width = item.get("scope"), item.get("width")
    if at is None or moved_at is None or scope not in list(Scope):
        return None
    seconds = int(width) if isinstance(width, Decimal) and width.is_finite() else 0
    return Position(at, Scope(scope), moved_at, _bounded(timedelta(seconds=max(0, min(seconds, 86_400)))), trying)


def begin(
    found: Position | None, scope: Scope, target: datetime, now: datetime, not_before: datetime | None
) -> tuple[Position, Window | None]:
    """Return where a run begins, and what it skips because it lies too far back.

    A first run, a run with a wider scope than the position's, and the first one after the scope ``none`` begin now:
    what ended before was not in the scope.

    Args:
        found: The position as it was stored; None for none.
        scope: The run's; not ``none``.
        target: Up to which moment the pass looks.
        now: The time of day.
        not_before: Contacts that ended before it are another system's; None for no such bound.
    """
    if found is None or _WIDTH.index(scope) > _WIDTH.index(found.scope):
        return Position(now, scope, now), None
    position = replace(found, scope=scope, trying=None)
    if found.at > now + CLOCKS_DIFFER:  # a clock was ahead: how far the pass came is not known
        position = replace(position, at=target - FURTHEST_BEHIND)
    if found.trying is not None:
        position = replace(position, width=_bounded((found.trying - found.at) / 2))
    if not_before is not None and position.at < not_before:
        # Never ahead of now: a bound in the future may be corrected.
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
