"""Open contacts in the ledger: expired claims, waiting contacts, and those that an operator releases or closes.

The update of a contact does not need this module; the reconciliation and the operator's commands do. They never scan
the table. They read a hundred keys at a time, or the sparse index of open contacts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from voicecall_sync.ledger.record import Record, record_of, stored
from voicecall_sync.ledger.table import ConditionFailedError, Item, Table
from voicecall_sync.outcome import State
from voicecall_sync.queue.coming_back import DELAY, back_by

RELEASABLE = frozenset({State.UNCERTAIN, State.REJECTED})

_NOTE_PREFIX = "#"  # no contact id begins with this
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
    "since",
    "metAt",
    "backBy",
    "failures",
    "deadLetteredAt",
    "releasedAt",
    "namedAt",
)


class OpenContacts:
    """The ledger, for the reconciliation and for operators.

    Every method raises LedgerUnavailable if the table failed.

    Args:
        table: The table of the records.
        new_owner: Gives a fresh uuid4 each time.
    """

    def __init__(self, table: Table, new_owner: Callable[[], str]) -> None:
        self._table = table
        self._new_owner = new_owner

    def known(self, contact_ids: Sequence[str]) -> Mapping[str, Record]:
        """Return the records of those contacts that have one, without the names of what their PATCHes carried."""
        items = self._table.get_all(list(dict.fromkeys(contact_ids)), _NEEDED)
        return {record.contact_id: record for record in map(_record, items)}

    def open(self, state: State, *, newest_first: bool = False) -> Iterator[Record]:
        """Return the records in an open state, the oldest first. The index lags a little behind the table."""
        return map(_record, self._table.open_items(state, newest_first=newest_first))

    def release(self, record: Record, by: str, now: datetime) -> bool:
        """Allow one more attempt for a contact, from now on. False: it has changed since it was read.

        The owner is replaced, so that an earlier owner can no longer settle.

        Raises:
            ValueError: It is neither UNCERTAIN nor REJECTED.
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
            "detail": "released by an operator",
            "httpStatus": None,
            # A new week of attempts begins; the contact's message is sent next.
            "failures": None,
            "failedSince": None,
            "deadLetteredAt": None,
            "backBy": stored(back_by(now, DELAY)),
        }
        return self._change(record, values)

    def close(self, record: Record, by: str, now: datetime) -> bool:
        """Note that an UNCERTAIN contact's update was found in Salesforce. False: it has changed since it was read.

        The owner is replaced, as for a release: the operator's finding outweighs a late settle.

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

    def note(self, name: str) -> Item | None:
        """Return a note of the reconciliation, as stored; None without one.

        Args:
            name: "position" and a pass: how far it has come. Or "daily message": the last look.
        """
        return self._table.get(_NOTE_PREFIX + name)

    def save_note(self, name: str, note: Mapping[str, object], over: Mapping[str, object] | None) -> bool:
        """Save a note over the one that was read. False: it has changed since it was read.

        A note has no TTL. Without its position, a pass would begin from now on.

        Args:
            name: As for ``note``.
            note: What to store.
            over: What is stored now; None to store over any note.
        """
        values = {"contactId": _NOTE_PREFIX + name, **note}
        try:
            self._table.replace(values, over)
        except ConditionFailedError as failure:
            # The same note: an earlier write got through, and only its answer was lost.
            return failure.standing == values
        return True

    def _change(self, record: Record, values: Mapping[str, object]) -> bool:
        return self._table.change(record.contact_id, (record.state, record.owner), values)


def _record(item: Item) -> Record:
    return record_of(item["contactId"], item)
