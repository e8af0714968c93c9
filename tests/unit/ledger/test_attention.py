"""Which contacts need an operator, as a table."""

from datetime import UTC, datetime, timedelta

import pytest

from voicecall_sync.ledger.attention import MEANING, Need, need_of
from voicecall_sync.ledger.record import EXPIRED_AFTER, Record
from voicecall_sync.outcome import State

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
A_WHILE_AGO = NOW - timedelta(hours=1)


@pytest.mark.parametrize(
    ("record", "need"),
    [
        (Record("c-1", State.UPDATED), None),
        (Record("c-1", State.UNCERTAIN), Need.UNCERTAIN),
        (Record("c-1", State.REJECTED), Need.REJECTED),
        (Record("c-1", State.CLAIMED, owner_until=NOW), None),
        (Record("c-1", State.CLAIMED, owner_until=NOW - EXPIRED_AFTER), None),
        (Record("c-1", State.CLAIMED, owner_until=A_WHILE_AGO), Need.EXPIRED_CLAIM),
        (Record("c-1", State.NOT_APPLIED, since=A_WHILE_AGO), None),
        (Record("c-1", State.NOT_APPLIED, since=A_WHILE_AGO, dead_lettered_at=NOW), Need.DEAD_LETTERED),
        (Record("c-1", State.NOT_APPLIED, dead_lettered_at=NOW), None),
        (Record("c-1", None), None),
    ],
)
def test_which_contacts_need_an_operator(record: Record, need: Need | None) -> None:
    assert need_of(record, NOW) is need


def test_each_need_has_a_meaning() -> None:
    assert {*MEANING} == {*Need}
