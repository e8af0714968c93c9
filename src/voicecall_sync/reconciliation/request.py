"""What one run of the reconciliation is asked to do: by a schedule's event, or by hand.

    {"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z", "scope": "all", "dryRun": true,
     "contactIds": ["…"]}

Each is optional. A schedule's event, and ``{}``, ask for the usual: two passes over finished contacts, in the scope
that is set. Anything else is a window by hand; where the scope that is set is none, it has to say its scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from voicecall_sync.contact import SEARCHED, Scope, contact_id_of
from voicecall_sync.errors import InvalidInput
from voicecall_sync.times import Window, moment_of

FIRST_AFTER = timedelta(minutes=30)
"""So long the ordinary path, by contact events, has before the reconciliation looks at a call."""
MOST_NAMED = 10_000

KEYS = ("from", "to", "scope", "dryRun", "contactIds")
_SCHEDULED = "Scheduled Event"


@dataclass(frozen=True, slots=True)
class ReconcileDefaults:
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
        window: By hand: which contacts, by when they ended. None for a schedule's run, and where contacts are named.
        contacts: The contacts named: an id, or what is wrong with it. None where none are named.
    """

    window: Window | None
    scope: Scope
    dry_run: bool = False
    contacts: tuple[str | InvalidInput, ...] | None = None


def parse(event: object, defaults: ReconcileDefaults, now: datetime) -> ReconcileRequest:
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
    dry_run = _flag(event, "dryRun")
    by_hand = dry_run or any(event.get(name) is not None for name in ("from", "to", "scope"))
    if "contactIds" in event:
        return ReconcileRequest(None, defaults.scope, dry_run, contacts=_named(event["contactIds"]))
    scope = _scope(event, defaults.scope, by_hand=by_hand)
    return ReconcileRequest(_window(event, defaults, now) if by_hand else None, scope, dry_run)


def _window(event: Mapping[str, object], defaults: ReconcileDefaults, now: datetime) -> Window:
    start, end = _moment(event, "from"), _moment(event, "to")
    if start is not None and start >= now:
        raise InvalidInput("from", "a moment in the past")
    if start is not None and end is not None and start >= end:
        raise InvalidInput("from", "before to")
    end = min(end or now - FIRST_AFTER, now)
    start = start or end - defaults.look_back
    return Window(max(start, defaults.not_before) if defaults.not_before else start, end)


def _moment(event: Mapping[str, object], name: str) -> datetime | None:
    value = event.get(name)
    if value is None:
        return None
    moment = moment_of(value)
    if moment is None:
        raise InvalidInput(name, "a moment with its zone, such as 2026-11-01T00:00:00Z")
    return moment


def _scope(event: Mapping[str, object], default: Scope, *, by_hand: bool) -> Scope:
    value = event.get("scope")
    if value is None and not (by_hand and default is Scope.NONE):
        return default
    if not isinstance(value, str) or value not in SEARCHED:
        # Also by hand without a scope where the one set is none: an answer without contacts would mislead.
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
