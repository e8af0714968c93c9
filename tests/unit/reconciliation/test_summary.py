"""What is open, in numbers, and when operators hear of it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from voicecall_sync.ledger.attention import Need
from voicecall_sync.ledger.record import Record
from voicecall_sync.outcome import State
from voicecall_sync.queue.depth import Depth
from voicecall_sync.reconciliation.summary import (
    MOST_COUNTED,
    Look,
    Number,
    Summary,
    look_of,
    subject_of,
    summary_of,
    text_of,
)

NOW = datetime(2026, 11, 29, 0, 7, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EMPTY = Depth(0, 0, 0)


def of(*records: Record, before: Look | None = None) -> Summary:
    return summary_of(records, NOW, before, EMPTY, EMPTY, paused=False)


QUIET = of()


def waiting(since: datetime, **moments: Any) -> Record:
    return Record("c-1", State.NOT_APPLIED, since=since, **moments)


def test_each_need_is_counted_with_what_is_new() -> None:
    records = [
        *(Record("c-1", State.UNCERTAIN, since=NOW - age) for age in (HOUR, DAY - HOUR, DAY, 30 * DAY)),
        Record("c-2", State.REJECTED, since=NOW - 2 * DAY),
        Record("c-3", State.CLAIMED, since=NOW - HOUR, owner_until=NOW - HOUR),
        *(waiting(NOW - 8 * DAY, dead_lettered_at=NOW - HOUR) for _ in range(2)),
        waiting(NOW - HOUR, dead_lettered_at=NOW - 2 * DAY),
        Record("c-4", State.CLAIMED, since=NOW, owner_until=NOW + HOUR),
        Record("c-5", None, since=NOW),
    ]
    summary = of(*records)
    assert summary.needs == {
        Need.UNCERTAIN: Number(4, 2),
        Need.REJECTED: Number(1, 0),
        Need.EXPIRED_CLAIM: Number(1, 1),
        Need.DEAD_LETTERED: Number(3, 2),
    }
    assert (summary.needed, summary.waiting, summary.capped) == (Number(9, 5), 0, False)


def test_new_is_what_began_since_the_last_look() -> None:
    """The schedule may rest for a weekend."""
    friday = Look(NOW - 3 * DAY, 0)
    records = [Record("c-1", State.UNCERTAIN, since=NOW - age) for age in (HOUR, 2 * DAY, 4 * DAY)]
    assert (of(*records).needed, of(*records, before=friday).needed) == (Number(3, 1), Number(3, 2))
    assert f"since {friday.at:%Y-%m-%d %H:%M} UTC" in text_of(of(*records, before=friday), "contoso", NOW)


@pytest.mark.parametrize(
    ("record", "long"),
    [
        (waiting(NOW - HOUR), 0),
        (waiting(NOW - DAY), 0),
        (waiting(NOW - DAY - HOUR), 1),
        (waiting(NOW - HOUR, failed_since=NOW - 2 * DAY), 1),
        (waiting(NOW - HOUR, waits_since=NOW - 2 * DAY), 1),
        # A release begins the wait anew.
        (waiting(NOW - HOUR, met_at=NOW - 9 * DAY, released_at=NOW - HOUR), 0),
    ],
)
def test_how_long_a_contact_has_waited(record: Record, long: int) -> None:
    assert (of(record).waiting, of(record).waiting_long) == (1, long)


@pytest.mark.parametrize(("number", "capped"), [(MOST_COUNTED - 1, False), (MOST_COUNTED, True)])
def test_a_number_that_may_be_too_small_says_so(number: int, *, capped: bool) -> None:
    few = MOST_COUNTED // 2
    summary = of(*[waiting(NOW - HOUR)] * number, *[Record("c-1", State.UNCERTAIN, since=NOW)] * few)
    assert summary.capped is capped
    assert ("there may be more" in text_of(summary, "contoso", NOW)) is capped


@pytest.mark.parametrize(
    ("changes", "worth"),
    [
        ({}, False),
        ({"waiting": 500}, False),
        ({"waiting_long": 1}, True),
        *(({"needs": {need: Number(1, 0)}}, True) for need in Need),
        ({"dead_letter_queue": Depth(1, 0, 0)}, True),
        ({"dead_letter_queue": Depth(0, 1, 0)}, True),
        # Messages that the worker has not met: at one look, and at two.
        ({"contact_queue": Depth(3, 0, 0)}, False),
        ({"unmet_before": 3}, False),
        ({"contact_queue": Depth(3, 0, 0), "unmet_before": 3}, True),
        ({"contact_queue": Depth(0, 1, 0), "unmet_before": 3}, True),
        ({"contact_queue": Depth(0, 0, 9), "unmet_before": 3}, False),
        ({"contact_queue": Depth(2, 5, 9), "waiting": 7, "unmet_before": 3}, False),
        ({"paused": True}, False),
        ({"paused": True, "contact_queue": Depth(0, 0, 1)}, True),
    ],
)
def test_what_is_worth_a_message(changes: Mapping[str, Any], *, worth: bool) -> None:
    assert replace(QUIET, **changes).worth_a_message is worth


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ({"needs": {Need.REJECTED: Number(3, 1)}}, "VoiceCall Sync: 3 need an operator, 1 new: contoso"),
        ({"dead_letter_queue": Depth(2, 0, 0)}, "VoiceCall Sync: 2 in the dead-letter queue: contoso"),
        ({"waiting_long": 1}, "VoiceCall Sync: calls wait: contoso"),
    ],
)
def test_the_subject_says_what_is_new(changes: Mapping[str, Any], subject: str) -> None:
    assert subject_of(replace(QUIET, **changes), "contoso") == subject


def test_a_look_is_read_as_it_is_stored() -> None:
    look = Look(NOW, 7)
    stored = {name: Decimal(str(value)) for name, value in look.as_stored().items()}
    assert look_of({"contactId": "#daily message", **stored}) == look


@pytest.mark.parametrize("values", [None, {}, {"at": "yesterday", "unmet": Decimal(1)}, {"at": Decimal(1)}])
def test_a_look_that_is_not_readable_is_no_look(values: Mapping[str, Any] | None) -> None:
    assert look_of(values) is None
