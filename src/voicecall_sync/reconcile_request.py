"""What one run of the reconciliation is asked to do: by a schedule's event, or by hand.

    {"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z", "scope": "all", "dryRun": true,
     "contactIds": ["…"]}

Each is optional; a schedule's event, and ``{}``, ask for the usual: the look-back window, in the scope set. Where the
scope set is none, nothing is searched, and a window by hand has to say its scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from voicecall_sync.contact import FoundContact, contact_id_of
from voicecall_sync.errors import InvalidInput

SETTLES_WITHIN = timedelta(minutes=10)
"""So long the ordinary path, by contact events, has before the reconciliation looks at a call."""
MOST_NAMED = 10_000

KEYS = ("from", "to", "scope", "dryRun", "contactIds")
_SCHEDULED = "Scheduled Event"
_FIRST_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)


class Scope(StrEnum):
    """Which finished voice contacts to update, of those that have no record."""

    NONE = "none"
    """No contact. A run still looks for dead owners and sends what is due."""
    ABANDONED = "abandoned"
    """Waited in a queue, and was never connected to an agent."""
    UNANSWERED = "unanswered"
    """Never connected to an agent: abandoned, or ended in the contact flow."""
    ALL = "all"
    """Every one: it heals lost events and outages."""

    def takes(self, found: FoundContact) -> bool:
        """Tell whether a contact found is one of these. A contact queued for callback is not abandoned."""
        if self is Scope.ALL:
            return True
        if self is Scope.NONE or found.connected_to_agent_at is not None:
            return False
        return self is Scope.UNANSWERED or (found.enqueued_at is not None and not found.callback)


SEARCHED = tuple(scope for scope in Scope if scope is not Scope.NONE)
"""The scopes that a request by hand may name."""


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time, in UTC: the contacts that ended in it."""

    start: datetime
    end: datetime

    @property
    def empty(self) -> bool:
        """Tell whether nothing can lie in it."""
        return self.start >= self.end

    def halves(self) -> tuple[Window, Window]:
        """Split it in two. They share a second: whether a search includes its ends is not documented."""
        middle = self.start + (self.end - self.start) / 2
        return Window(self.start, middle + timedelta(seconds=1)), Window(middle, self.end)


@dataclass(frozen=True, slots=True)
class Usual:
    """What a run does unless it is asked for something else.

    Attributes:
        not_before: Contacts that ended before this are never touched, whoever asks; None for no such bound.
    """

    scope: Scope
    look_back: timedelta
    not_before: datetime | None


@dataclass(frozen=True, slots=True)
class ReconcileRequest:
    """One run's task.

    Attributes:
        window: Which contacts, by when they ended; of no meaning where contacts are named.
        contacts: The contacts named: an id, or what is wrong with it. None where none are named.
        cursor: Under which name to remember how far the window was worked off: "" for a schedule's; None where
            contacts are named. A dry run looks at it and leaves it as it is.
    """

    window: Window
    scope: Scope
    dry_run: bool = False
    contacts: tuple[str | InvalidInput, ...] | None = None
    cursor: str | None = None


def parse(event: object, usual: Usual, now: datetime) -> ReconcileRequest:
    """Read a schedule's event, of a rule's or of EventBridge Scheduler's, or a request by hand.

    Raises:
        InvalidInput: It is neither, or something in it is wrong; the message names what.
    """
    if not isinstance(event, Mapping):
        raise InvalidInput("event", f"an object, with any of {', '.join(KEYS)}")
    if event.get("detail-type") == _SCHEDULED:
        event = {}
    for name in event:
        if name not in KEYS:
            shown = name if isinstance(name, str) and name.isidentifier() and len(name) <= 30 else "a key"  # noqa: PLR2004
            raise InvalidInput("event", f"a schedule's, or hold nothing but {', '.join(KEYS)}: not {shown}")
    scope, dry_run = _scope(event, usual.scope), _flag(event, "dryRun")
    window = _window(event, usual, now)
    if "contactIds" in event:
        return ReconcileRequest(window, scope, dry_run, contacts=_named(event["contactIds"]))
    return ReconcileRequest(window, scope, dry_run, cursor=_cursor_name(event, scope))


def _cursor_name(event: Mapping[str, object], scope: Scope) -> str:
    by_hand = [f" {name}={event[name]}" for name in ("from", "to") if event.get(name) is not None]
    return "".join((*by_hand, f" scope={scope}")) if by_hand or event.get("scope") is not None else ""


def _window(event: Mapping[str, object], usual: Usual, now: datetime) -> Window:
    start, end = _moment(event, "from"), _moment(event, "to")
    if start is not None and start >= now:
        raise InvalidInput("from", "a moment in the past")
    if start is not None and end is not None and start >= end:
        raise InvalidInput("from", "before to")
    end = min(end or now - SETTLES_WITHIN, now)
    start = start or end - usual.look_back
    return Window(max(start, usual.not_before) if usual.not_before else start, end)


def _moment(event: Mapping[str, object], name: str) -> datetime | None:
    value = event.get(name)
    if value is None:
        return None
    moment = moment_of(value)
    if moment is None:
        raise InvalidInput(name, "a moment with its zone, such as 2026-11-01T00:00:00Z")
    return moment


def moment_of(value: object) -> datetime | None:
    """Read a moment in ISO 8601 with its zone, and return it in UTC; None where it is none, or before any contact."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None or moment.tzinfo is None:
            return None
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment >= _FIRST_MOMENT else None


def _scope(event: Mapping[str, object], usual: Scope) -> Scope:
    value = event.get("scope")
    window_named = event.get("from") is not None or event.get("to") is not None
    if value is None and not (window_named and usual is Scope.NONE):
        return usual
    if not isinstance(value, str) or value not in SEARCHED:
        # Also where a window is named, no scope, and the one set is none: an answer without contacts would mislead.
        raise InvalidInput("scope", f"one of {', '.join(SEARCHED)}")
    return Scope(value)


def _flag(event: Mapping[str, object], name: str) -> bool:
    value = event.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidInput(name, "true or false")
    return bool(value)


def _named(value: object) -> tuple[str | InvalidInput, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_NAMED:
        raise InvalidInput("contactIds", f"a list of 1 to {MOST_NAMED} contact ids")
    contacts: list[str | InvalidInput] = []
    for index, text in enumerate(value):
        try:
            contacts.append(contact_id_of(text, f"contactIds[{index}]"))
        except InvalidInput as wrong:
            contacts.append(wrong)
    return tuple(dict.fromkeys(contacts))
