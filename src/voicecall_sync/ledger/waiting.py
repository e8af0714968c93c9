"""The waiting record: a contact is known, its message is on its way, and nothing was sent.

A waiting record is NOT_APPLIED with attempts 0. So every contact that was met is known. A lost message shows: its
``backBy`` is long past. The worker never decides from this record whether it is time to send.

    (none) ──leave, come_back──> waits ──dead_lettered──> waits for an operator ──start_anew──> waits
                                 │  └──come_back──> waits
                                 └──close──> NOT_APPLIED, no longer open: ignored

Every change is conditional on NOT_APPLIED and on the owner that was read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from voicecall_sync.ledger.record import Record, forgotten_at, stored
from voicecall_sync.ledger.table import NO_RECORD, ConditionFailedError, Table
from voicecall_sync.outcome import Awaited, Source, State


@dataclass(frozen=True, slots=True)
class Return:
    """Why a contact's message comes back, and when.

    Attributes:
        back_by: When the message is there again at the latest.
        awaits: What the contact waits for; None for a failure.
        completed_at: When its COMPLETED event was sent; None if this message is not such an event.
    """

    detail: str
    back_by: datetime
    awaits: Awaited | None
    completed_at: datetime | None


class Waiting:
    """Writes how contacts wait. Every method raises LedgerUnavailable if the table failed.

    Args:
        table: The table of the records.
        new_owner: Gives a fresh uuid4 each time.
    """

    def __init__(self, table: Table, new_owner: Callable[[], str]) -> None:
        self._table = table
        self._new_owner = new_owner

    def leave(
        self,
        contact_id: str,
        source: Source,
        detail: str,
        *,
        back_by: datetime,
        now: datetime,
        scope: str | None = None,
    ) -> bool:
        """Note a contact without a record; its message is sent next. False: it has a record by now.

        Args:
            contact_id: The contact.
            source: The source of its message.
            detail: Why it waits.
            back_by: When its message is there again at the latest.
            now: The time of day.
            scope: The scope in which the reconciliation found the contact.
        """
        more = {"scope": scope} if scope else {}
        return self._put(contact_id, source, now, {"detail": detail, "backBy": stored(back_by), **more})

    def come_back(self, contact_id: str, source: Source, record: Record | None, why: Return, now: datetime) -> bool:
        """Note that a contact's message comes back. False: the contact has changed since it was read.

        Args:
            contact_id: The contact.
            source: The source of its message, for a contact without a record.
            record: Its record; None without one.
            why: Why it comes back, and when.
            now: The time of day.
        """
        values = {
            "detail": why.detail,
            "backBy": stored(why.back_by),
            **({"completedAt": stored(why.completed_at)} if why.completed_at else {}),
            **(_waits(record, why.awaits, now) if why.awaits else _failed(record, now)),
        }
        if record is None:
            return self._put(contact_id, source, now, values)
        return self._change(record, {**values, **_open_again(record, now)})

    def expect(self, record: Record, back_by: datetime) -> bool:
        """Note when a contact's message is there at the latest; nothing failed. False: the contact has changed."""
        return self._change(record, {"backBy": stored(back_by), **_open_again(record, back_by)})

    def named(self, record: Record, back_by: datetime, now: datetime) -> bool:
        """Note that an operator named a contact, and so asks for its update. False: the contact has changed."""
        values = {"backBy": stored(back_by), "namedAt": stored(now), "scope": None}
        return self._change(record, {**values, **_open_again(record, now)})

    def close(self, record: Record, reason: str) -> bool:
        """Note that nothing is sent for a contact: it is no longer open. False: it has changed."""
        gone = dict.fromkeys(("open", "since", "backBy", "failures", "failedSince", "waitsFor", "waitsSince"))
        return self._change(record, {"detail": reason, **gone})

    def dead_lettered(self, record: Record, detail: str, now: datetime) -> bool:
        """Note that a contact's message is in the dead-letter queue. False: the contact has changed."""
        values = {"detail": detail, "deadLetteredAt": stored(now), "backBy": None, **_open_again(record, now)}
        return self._change(record, values)

    def start_anew(self, record: Record, back_by: datetime) -> bool:
        """Note that a redriven contact gets another week of attempts. False: the contact has changed."""
        gone = dict.fromkeys(("deadLetteredAt", "failures", "failedSince", "waitsFor", "waitsSince"))
        return self._change(record, {**gone, "backBy": stored(back_by)})

    def _put(self, contact_id: str, source: Source, now: datetime, more: Mapping[str, object]) -> bool:
        values = {
            "contactId": contact_id,
            "state": State.NOT_APPLIED.value,
            "open": State.NOT_APPLIED.value,
            "since": stored(now),
            "owner": self._new_owner(),
            "source": source.value,
            "firstSource": source.value,
            "attempts": 0,
            "expiresAt": forgotten_at(now),
            "metAt": stored(now),
            **more,
        }
        try:
            self._table.put(values, NO_RECORD)
        except ConditionFailedError as failure:
            # Our own owner: an earlier write got through, and only its answer was lost.
            return failure.standing.get("owner") == values["owner"]
        return True

    def _change(self, record: Record, values: Mapping[str, object]) -> bool:
        return self._table.change(record.contact_id, (State.NOT_APPLIED, record.owner), values)


def _failed(record: Record | None, now: datetime) -> dict[str, object]:
    failures = record.failures if record is not None else 0
    since = record.failed_since if record is not None else None
    return {"failures": failures + 1, "failedSince": stored(since or now)}


def _waits(record: Record | None, awaits: Awaited, now: datetime) -> dict[str, object]:
    since = record.waits_since if record is not None and record.waits_for == awaits else None
    return {"waitsFor": awaits.value, "waitsSince": stored(since or now)}


def _open_again(record: Record, now: datetime) -> dict[str, object]:
    """Return the values that list a waiting contact as open, also one that was closed before."""
    return {"open": State.NOT_APPLIED.value, "since": stored(record.since or now)}
