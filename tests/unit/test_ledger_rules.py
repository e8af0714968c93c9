from __future__ import annotations

import hashlib
import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ANY_JSON, ANY_TEXT
from voicecall_sync.outcome import State
from voicecall_sync.record import Record, digests_of, retry_at

NOW = datetime(2026, 11, 22, 9, 30, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


# --- digests ---------------------------------------------------------------------------------------------------------

PROPERTIES: dict[str, object] = {
    "fromNumber": "+498912345678",
    "totalHoldDuration": 40,
    "isActiveCall": False,
    "disconnectReason": {"value": "EXPIRED", "isError": False},
}


@given(ANY_TEXT, st.dictionaries(ANY_TEXT, ANY_JSON, max_size=4))
def test_a_digest_is_two_bytes_for_each_property(contact_id: str, properties: dict[str, object]) -> None:
    digests = digests_of(contact_id, properties)
    assert digests.keys() == properties.keys()
    assert all(len(bytes.fromhex(digest)) == 2 for digest in digests.values())


@given(ANY_TEXT, st.dictionaries(ANY_TEXT, ANY_JSON, max_size=4))
def test_equal_properties_have_equal_digests(contact_id: str, properties: dict[str, object]) -> None:
    again = json.loads(json.dumps(properties))
    assert digests_of(contact_id, properties) == digests_of(contact_id, again)


def test_the_order_inside_a_property_does_not_count() -> None:
    turned = {"disconnectReason": {"isError": False, "value": "EXPIRED"}}
    assert digests_of("c-1", turned)["disconnectReason"] == digests_of("c-1", PROPERTIES)["disconnectReason"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fromNumber", "+498912345679"),
        ("fromNumber", ""),
        ("totalHoldDuration", 41),
        ("totalHoldDuration", "40"),
        ("isActiveCall", True),
        ("isActiveCall", 0),
        ("disconnectReason", {"value": "EXPIRED", "isError": True}),
        ("disconnectReason", "EXPIRED"),
    ],
)
def test_digests_name_the_property_that_differs(name: str, value: object) -> None:
    sent, wanted = digests_of("c-1", PROPERTIES), digests_of("c-1", {**PROPERTIES, name: value})
    assert [differing for differing in sent if sent[differing] != wanted[differing]] == [name]


def test_digests_of_one_value_differ_from_contact_to_contact_and_from_property_to_property() -> None:
    of_one = digests_of("c-1", {"fromNumber": "+1", "toNumber": "+1"})
    of_other = digests_of("c-2", {"fromNumber": "+1"})
    assert len({of_one["fromNumber"], of_one["toNumber"], of_other["fromNumber"]}) == 3


def test_a_digest_is_not_one_that_could_be_looked_up() -> None:
    number = "+498912345678"
    unsalted = {hashlib.sha256(text.encode()).hexdigest()[:4] for text in (number, json.dumps(number))}
    assert digests_of("c-1", {"fromNumber": number})["fromNumber"] not in unsalted


# --- when to try again -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempts", "retry_after", "wait"),
    [
        (1, None, 0 * SECOND),
        (2, None, 0 * SECOND),
        (3, None, 2 * MINUTE),
        (4, None, 4 * MINUTE),
        (5, None, 8 * MINUTE),
        (10, None, 256 * MINUTE),
        (11, None, 6 * HOUR),
        (1000, None, 6 * HOUR),
        (10**9, None, 6 * HOUR),
        (1, 0.0, 0 * SECOND),
        (1, 30.0, 30 * SECOND),
        (2, 30.0, 30 * SECOND),
        (3, 30.0, 60 * SECOND),
        (4, 30.0, 120 * SECOND),
        (1, 3600.0, HOUR),
        (3, 3600.0, 2 * HOUR),
        (5, 3600.0, 6 * HOUR),
        (3, 0.0, 2 * MINUTE),
    ],
)
def test_how_long_a_contact_waits(attempts: int, retry_after: float | None, wait: timedelta) -> None:
    assert retry_at(NOW, attempts, retry_after) == NOW + wait


@given(st.integers(0, 10**6), st.none() | st.floats(0, 3600))
def test_a_wait_is_at_least_what_was_asked_for_and_six_hours_at_most(attempts: int, retry_after: float | None) -> None:
    wait = retry_at(NOW, attempts, retry_after) - NOW
    assert timedelta(seconds=retry_after or 0) <= wait <= 6 * HOUR


@given(st.none() | st.floats(0, 3600))
def test_a_wait_never_becomes_shorter(retry_after: float | None) -> None:
    waits = [retry_at(NOW, attempts, retry_after) for attempts in range(1, 40)]
    assert all(earlier <= later for earlier, later in itertools.pairwise(waits))


# --- what a record allows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [*State, None])
def test_only_what_was_not_applied_may_be_claimed_again(state: State | None) -> None:
    record = Record("c-1", state, owner="o-1", retry_at=NOW)
    assert record.due(NOW) is (state is State.NOT_APPLIED)


@pytest.mark.parametrize(
    ("retry_at", "due"),
    [(None, True), (NOW, True), (NOW - SECOND, True), (NOW + timedelta(milliseconds=1), False), (NOW + HOUR, False)],
)
def test_and_only_from_its_time_on(retry_at: datetime | None, due: object) -> None:
    assert Record("c-1", State.NOT_APPLIED, owner="o-1", retry_at=retry_at).due(NOW) is due


def test_a_record_without_an_owner_is_never_due() -> None:
    assert not Record("c-1", State.NOT_APPLIED, retry_at=NOW).due(NOW)


@pytest.mark.parametrize("state", [*State, None])
def test_only_who_has_claimed_can_have_died(state: State | None) -> None:
    record = Record("c-1", state, owner="o-1", owner_until=NOW - HOUR)
    assert record.owner_dead(NOW) is (state is State.CLAIMED)


@pytest.mark.parametrize(
    ("owner_until", "dead"),
    [
        (None, False),
        (NOW + HOUR, False),
        (NOW, False),
        (NOW - 59 * SECOND, False),
        (NOW - 60 * SECOND, False),
        (NOW - 61 * SECOND, True),
    ],
)
def test_an_owner_is_dead_a_minute_after_its_time(owner_until: datetime | None, dead: object) -> None:
    assert Record("c-1", State.CLAIMED, owner="o-1", owner_until=owner_until).owner_dead(NOW) is dead
