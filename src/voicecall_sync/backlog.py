"""What the ledger still has open: dead owners, contacts due again, what an operator releases or closes.

Nothing here is needed to send one contact. It is what the reconciliation and the operator's commands find and change,
without ever scanning the table: by key, a hundred at a time, or by the sparse index of what is open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from voicecall_sync.outcome import Source, State
from voicecall_sync.record import Record, forgotten_at, record_of, stored
from voicecall_sync.table import NOBODYS, STILL_AS_READ, ConditionFailedError, Item, Table

TRIED_FOR = timedelta(days=7)
"""How long a contact that is not applied is tried, before it is given up and shown to an operator."""
RELEASABLE = frozenset({State.UNCERTAIN, State.REJECTED})
CURSOR_KEPT = timedelta(days=30)

_CURSOR_PREFIX = "#reconcile"  # no contact id begins so
_CURSOR_ATTRIBUTES = ("position", "begunUntil", "completedUntil")
_NEEDED = (
    "contactId",
    "state",
    "owner",
    "ownerUntil",
    "retryAt",
    "source",
    "firstSource",
    "scope",
    "attempts",
    "firstClaimedAt",
    "releasedAt",
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a window has been worked off.

    Attributes:
        position: All contacts that ended before it are done, but not all of the window; None for a window that was
            not begun, or is done.
        begun_until: Where the window ended when its first run began; later runs reach further.
        completed_until: The same of the last window that was done, from its beginning to its end: whoever failed in
            one of its runs, or was indexed behind it, is to be looked for once more.
    """

    position: datetime | None = None
    begun_until: datetime | None = None
    completed_until: datetime | None = None


class Backlog:
    """The ledger, as those see it who look after many contacts.

    Every method raises LedgerUnavailable where the table failed.

    Args:
        table: Where the records are.
        new_owner: Gives a fresh uuid4 at each call.
    """

    def __init__(self, table: Table, new_owner: Callable[[], str]) -> None:
        self._table = table
        self._new_owner = new_owner

    def known(self, contact_ids: Sequence[str]) -> Mapping[str, Record]:
        """Return the records there are of these contacts, without what their PATCHes carried."""
        items = self._table.get_all(list(dict.fromkeys(contact_ids)), _NEEDED)
        return {record.contact_id: record for record in map(_record, items)}

    def open(self, state: State, *, newest_first: bool = False) -> Iterator[Record]:
        """Return the records in an open state, the longest so first. The index behind it lags a little."""
        return map(_record, self._table.open_items(state, newest_first=newest_first))

    def give_up(self, record: Record, detail: str, now: datetime) -> bool:
        """Turn a NOT_APPLIED contact REJECTED: it is tried no more, and an operator sees it. False: it has moved on."""
        values = {
            "state": State.REJECTED.value,
            "detail": detail,
            "open": State.REJECTED.value,
            "since": stored(now),
            "retryAt": None,
        }
        return self._change(record, values)

    def postpone(self, record: Record, now: datetime) -> bool:
        """Let the others that are due go first the next time. False: it has moved on."""
        return self._change(record, {"state": State.NOT_APPLIED.value, "since": stored(now)})

    def set_aside(self, record: Record, detail: str, now: datetime) -> bool:
        """Try a contact no more that was never sent, and turned out not to be ours to send. False: it has moved on.

        An event or a flow may claim it still.
        """
        values = {"state": State.NOT_APPLIED.value, "detail": detail, "settledAt": stored(now)}
        return self._change(record, {**values, "open": None, "since": None})

    def keep_unsent(self, contact_id: str, scope: str, detail: str, now: datetime) -> None:
        """Note a contact that was never claimed, so that it is tried again though no search will find it any more."""
        values = {
            "contactId": contact_id,
            "state": State.NOT_APPLIED.value,
            "open": State.NOT_APPLIED.value,
            "since": stored(now),
            "owner": self._new_owner(),
            "source": Source.RECONCILE.value,
            "scope": scope,
            "attempts": 0,
            "detail": detail,
            "retryAt": stored(now),
            "expiresAt": forgotten_at(now),
            "firstClaimedAt": stored(now),
        }
        try:
            self._table.put(values, NOBODYS)
        except ConditionFailedError:
            return  # it has a record by now: so much the better

    def release(self, record: Record, by: str, now: datetime) -> bool:
        """Let a contact be sent once more, from now on. False: it has moved on since it was read.

        The owner is replaced, so that whoever had the contact before can no longer settle it.

        Raises:
            ValueError: Its state is none that may be released.
        """
        if record.state not in RELEASABLE:
            raise ValueError(f"{record.state} may not be released: only UNCERTAIN and REJECTED may")
        values = {
            "state": State.NOT_APPLIED.value,
            "open": State.NOT_APPLIED.value,
            "since": stored(now),
            "owner": self._new_owner(),
            "retryAt": stored(now),
            "releasedAt": stored(now),
            "releasedBy": by,
        }
        return self._change(record, values)

    def close(self, record: Record, by: str, now: datetime) -> bool:
        """Note that an UNCERTAIN contact's update was found in Salesforce. False: it has moved on since it was read.

        The owner is replaced, as for a release: what a person has seen outweighs a settle that comes late.

        Raises:
            ValueError: It is not UNCERTAIN.
        """
        if record.state is not State.UNCERTAIN:
            raise ValueError(f"{record.state} may not be closed: only UNCERTAIN may")
        values = {
            "state": State.UPDATED.value,
            "open": None,
            "since": None,
            "owner": self._new_owner(),
            "closedAt": stored(now),
            "closedBy": by,
        }
        return self._change(record, values)

    def cursor(self, name: str) -> Cursor:
        """Return how far a window has been worked off."""
        item = self._table.get(_CURSOR_PREFIX + name) or {}
        moments = (item.get(name) for name in _CURSOR_ATTRIBUTES)
        return Cursor(*(datetime.fromtimestamp(float(moment), UTC) if moment else None for moment in moments))

    def save_cursor(self, name: str, cursor: Cursor, now: datetime) -> None:
        """Note how far a window has been worked off."""
        values: dict[str, object] = {
            "contactId": _CURSOR_PREFIX + name,
            "expiresAt": int((now + CURSOR_KEPT).timestamp()),
        }
        moments = (cursor.position, cursor.begun_until, cursor.completed_until)
        known = {name: stored(moment) for name, moment in zip(_CURSOR_ATTRIBUTES, moments, strict=True) if moment}
        self._table.put({**values, **known}, None)

    def _change(self, record: Record, values: Mapping[str, object]) -> bool:
        state = record.state.value if record.state else None
        try:
            self._table.update(record.contact_id, values, STILL_AS_READ, {":state": state, ":owner": record.owner})
        except ConditionFailedError:
            return False
        return True


def _record(item: Item) -> Record:
    return record_of(item["contactId"], item)
