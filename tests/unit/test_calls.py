"""Which contacts are calls of ours: tables."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from voicecall_sync.calls import METHODS, CallRules, callback_accepted, ended_unanswered, is_set, was_enqueued
from voicecall_sync.contact import Contact, FoundContact
from voicecall_sync.errors import NotOurs
from voicecall_sync.outcome import Source

THEN = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
RULES = CallRules(frozenset(METHODS), "NoVoiceCallSync", "vm_flag")


def contact(**changes: Any) -> Contact:
    return Contact(**{"contact_id": "c", "source": Source.CONTACT_EVENT, "still_up": False, **changes})


def leg(contact_id: str, **changes: Any) -> FoundContact:
    ended: dict[str, Any] = {"disconnected_at": THEN, "enqueued_at": None, "connected_to_agent_at": None}
    values = {"contact_id": contact_id, "callback": False, "method": "QUEUE_TRANSFER", **ended, **changes}
    return FoundContact(**values)


@pytest.mark.parametrize(
    ("method", "counts"),
    [
        *((method, True) for method in METHODS),
        ("CALLBACK_CUSTOMER_FIRST_DIALED", True),
        ("CALLBACK_CUSTOMER_FIRST_QUEUED", False),
        *((method, False) for method in ("QUEUE_TRANSFER", "EXTERNAL_OUTBOUND", "MONITOR", "DISCONNECT", "NEW", "")),
    ],
)
def test_how_a_contact_began(method: str, *, counts: bool) -> None:
    assert RULES.lists(method) is counts
    if counts:
        RULES.require_listed(contact(method=method))
        return
    with pytest.raises(NotOurs, match="INITIATION_METHODS"):
        RULES.require_listed(contact(method=method))


def test_the_contacts_searched_for() -> None:
    assert RULES.searched() == sorted((*METHODS, "CALLBACK_CUSTOMER_FIRST_DIALED"))
    assert CallRules(frozenset({"INBOUND"}), "", "").searched() == ["INBOUND"]


@pytest.mark.parametrize(
    ("value", "says_yes"),
    [
        *((value, True) for value in ("true", "1", "no", True)),
        *((value, False) for value in ("false", " FALSE ", "", " ", None, False)),
    ],
)
def test_the_meaning_of_an_attribute(value: object, *, says_yes: bool) -> None:
    assert is_set(value) is says_yes


@pytest.mark.parametrize(
    ("attributes", "has_recordings", "why"),
    [
        ({}, True, None),
        ({"NoVoiceCallSync": "true"}, False, "OPT_OUT_ATTRIBUTE"),
        ({"NoVoiceCallSync": "false"}, False, None),
        ({"NoSync": "true"}, False, None),
        ({"vm_flag": "true"}, True, "voicemail"),
        ({"vm_flag": ""}, True, None),
    ],
)
def test_who_is_left_out(attributes: dict[str, object], why: str | None, *, has_recordings: bool) -> None:
    left_out = contact(attributes=attributes, has_recordings=has_recordings)
    if why is None:
        RULES.require_wanted(left_out)
        return
    with pytest.raises(NotOurs, match=why):
        RULES.require_wanted(left_out)


@pytest.mark.parametrize(
    ("changes", "may_be"),
    [
        ({"attributes": {"vm_flag": "true"}}, True),
        ({"attributes": {"vm_flag": "false"}}, False),
        ({"attributes": {}}, False),
        ({"attributes": {"vm_flag": "true"}, "has_recordings": True}, False),
    ],
)
def test_a_marked_voicemail_may_get_its_recording_for_five_minutes(changes: dict[str, Any], *, may_be: bool) -> None:
    until = RULES.may_be_voicemail_until(contact(disconnected_at=THEN, **changes))
    assert until == (THEN + timedelta(minutes=5) if may_be else None)


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({"attributes": {"callback_flag": "true"}}, True),
        ({"attributes": {"callback_flag": "false"}}, False),
        ({"attributes": {"callback_flag": ""}}, False),
        ({"attributes": {}}, False),
        ({"attributes": {"callback_flag": "true"}, "still_up": True}, False),
        ({"attributes": {"callback_flag": "true"}, "connected_to_agent_at": THEN}, False),
    ],
)
def test_a_callback_that_was_accepted(changes: dict[str, Any], *, accepted: bool) -> None:
    assert callback_accepted(contact(**changes)) is accepted


@pytest.mark.parametrize(
    ("later", "missed"),
    [
        ({}, True),
        ({"disconnected_at": None}, False),
        ({"connected_to_agent_at": THEN}, False),
        ({"method": "CALLBACK"}, False),
        ({"method": "CALLBACK_CUSTOMER_FIRST_QUEUED"}, False),
        ({"method": "TRANSFER"}, False),
        ({"method": "EXTERNAL_OUTBOUND"}, True),
    ],
)
def test_a_continued_call_is_missed_without_a_later_leg(later: dict[str, Any], *, missed: bool) -> None:
    first = leg("first", method="INBOUND")
    for successors in (
        {"first": [leg("second", **later)]},
        {"first": [leg("second")], "second": [leg("third", **later)]},
        {"first": [leg("second"), leg("other", **later)]},
        {"first": [leg("second", **later)], "second": [leg("first")]},
    ):
        assert ended_unanswered(first, successors, RULES) is missed


def test_a_call_waited_if_any_later_leg_waited() -> None:
    first = leg("first")
    assert not was_enqueued(first, {})
    assert not was_enqueued(first, {"first": [leg("second")]})
    assert was_enqueued(first, {"first": [leg("second")], "second": [leg("third", enqueued_at=THEN)]})
