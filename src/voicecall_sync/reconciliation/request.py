"""The request for one run of the reconciliation: a schedule's event, or one by hand.

    {"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z", "scope": "all", "dryRun": true,
     "contactIds": ["…"]}

Each is optional. A schedule's event, and ``{}``, ask for two passes over finished contacts, in the scope of the
setting. Any other event asks for a window by hand. If the scope of the setting is ``none``, it must name its scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from voicecall_sync.contact import SEARCHED, Scope, contact_id_of
from voicecall_sync.errors import InvalidInput
from voicecall_sync.parse import moment_of
from voicecall_sync.times import Window

FIRST_AFTER = timedelta(minutes=30)
"""The time that contact events have before the reconciliation looks at a call."""
MOST_NAMED = 10_000

KEYS = ("from", "to", "scope", "dryRun", "contactIds")
_SCHEDULED = "Scheduled Event"


@dataclass(frozen=True, slots=True)
class ReconcileDefaults:
    """What a run does unless its request says otherwise.

    Attributes:
        not_before: A run never updates contacts that ended before this, not even by hand; None for no such bound.
    """

    scope: Scope
    look_back: timedelta
    not_before: datetime | None


@dataclass(frozen=True, slots=True)
class ReconcileRequest:
    """One run's task.

    Attributes:
        window: By hand: the span of time in which the contacts ended. None for a schedule's run or for named contacts.
        contacts: The named contacts: an id, or the error of a wrong one. None if the request names no contacts.
    """

    window: Window | None
    scope: Scope
    dry_run: bool = False
    contacts: tuple[str | InvalidInput, ...] | None = None


def parse(event: object, defaults: ReconcileDefaults, now: datetime) -> ReconcileRequest:
    """Read a schedule's event (of a rule or of EventBridge Scheduler), or a request by hand.

    Raises:
        InvalidInput: It is neither, or a field in it is wrong; the message names the field.
    """
    if not isinstance(event, Mapping):
        raise InvalidInput("event", f"an object, with any of {', '.join(KEYS)}")
    if event.get("detail-type") == _SCHEDULED:
        event = {}
    for name in event:
        if name not in KEYS:
            shown = name if isinstance(name, str) and name.isidentifier() and len(name) <= 30 else "a key"  # noqa: PLR2004
            raise InvalidInput("event", f"a schedule's, or hold only {', '.join(KEYS)}: not {shown}")
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
        # By hand without a scope, if the setting is `none`: an answer without contacts would mislead.
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
