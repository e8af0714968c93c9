"""Which contacts are updated, and when all of one is known: as tables."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicecall_sync.calls import METHODS, CallRules
from voicecall_sync.contact import UNKNOWN_TIME, Asked, Contact, Recording
from voicecall_sync.eligibility import Eligibility, next_look, still_up
from voicecall_sync.errors import NotListed, NotOurs, NotYet
from voicecall_sync.ledger.record import Record
from voicecall_sync.outcome import Awaited, Source, State

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CALLS = CallRules(frozenset(METHODS), "NoVoiceCallSync", "vm_flag")
RULES = Eligibility(CALLS, None, 5 * MINUTE)
ANSWERED = Contact(
    "c-1", Source.CONTACT_EVENT, still_up=False, method="INBOUND", connected_to_agent_at=NOW - 30 * MINUTE
)
WAITING = Record("c-1", State.NOT_APPLIED, "owner", source="reconcile", first_source="reconcile")
FOUND = Asked(Source.RECONCILE, "c-1", {})
BY_OPERATOR = Asked(Source.OPERATOR, "c-1", {})


def event(minutes_ago: float | None = None) -> Asked:
    return Asked(Source.CONTACT_EVENT, "c-1", {}, None if minutes_ago is None else NOW - minutes_ago * MINUTE)


def contact(ended: float, work_ended: float | None = None, **changes: Any) -> Contact:
    """An answered call without a recording that ended so many minutes ago, its after-contact work so many."""
    work = None if work_ended is None else NOW - work_ended * MINUTE
    return replace(ANSWERED, disconnected_at=NOW - ended * MINUTE, work_ended_at=work, **changes)


def awaited(of: Contact, asked: Asked, record: Record | None = None) -> tuple[str, float] | None:
    """What a contact waits for, and in how many minutes the next look is due; None for nothing."""
    try:
        RULES.require(of, asked, record, NOW)
    except NotYet as wait:
        return str(wait.awaits), ((wait.due or NOW) - NOW) / MINUTE
    return None


RECORDED: dict[str, Any] = {"recording": Recording("s3/call.wav", None)}


@pytest.mark.parametrize(
    ("of", "asked", "record", "what"),
    [
        # An event speaks for it: its time counts, between the call's end and now.
        (contact(2), event(1), None, ("recording", 1)),
        (contact(10), event(4.5), None, ("recording", 0.5)),
        (contact(10), event(5), None, None),
        (contact(2), event(1), replace(WAITING, completed_at=NOW - 9 * MINUTE), ("recording", 1)),
        (contact(4), event(), None, ("recording", 1)),
        (contact(6), event(), None, None),
        (contact(6), event(-1), None, None),  # in the future
        (contact(4), event(6), None, ("recording", 1)),  # before the end of the call
        (contact(30, 4), event(), None, ("recording", 1)),
        (contact(30, 6), event(), None, None),
        # It spoke before, and its message was lost.
        (contact(2), FOUND, replace(WAITING, completed_at=NOW - MINUTE), ("recording", 1)),
        (contact(6), FOUND, replace(WAITING, completed_at=UNKNOWN_TIME), None),
        # No event speaks for it.
        (contact(2), FOUND, WAITING, ("wrap-up", 5)),
        (contact(2, **RECORDED), FOUND, WAITING, ("wrap-up", 5)),
        (contact(239, **RECORDED), BY_OPERATOR, WAITING, ("wrap-up", 1)),
        (contact(240), FOUND, WAITING, None),
        (contact(100, 1), FOUND, WAITING, ("recording", 1)),
        (contact(100, 5), FOUND, WAITING, None),
        (contact(2, **RECORDED), BY_OPERATOR, replace(WAITING, released_at=NOW), ("wrap-up", 5)),
        # An event's own message was tried at once, so that its time was not noted.
        (contact(2, **RECORDED), BY_OPERATOR, replace(WAITING, source="contact-event"), None),
        (contact(2), BY_OPERATOR, replace(WAITING, first_source="contact-event"), ("recording", 1)),
        # Nothing of it is waited for.
        (contact(2, **RECORDED), event(1), None, None),
        (contact(2, connected_to_agent_at=None), FOUND, WAITING, None),
        (contact(2, 1, **RECORDED), FOUND, WAITING, None),
    ],
)
def test_an_answered_contact_waits_until_all_is_known(
    of: Contact, asked: Asked, record: Record | None, what: tuple[str, float] | None
) -> None:
    assert awaited(of, asked, record) == what


def test_where_calls_are_not_recorded_nothing_is_waited_for() -> None:
    replace(RULES, recording_wait=timedelta()).require(contact(0), event(0), None, NOW)


@pytest.mark.parametrize(
    ("kind", "looks"),
    [
        (Awaited.CALL, [5, 15, 35, 95, 155, 215]),
        (Awaited.WRAP_UP, [5, 20, 80, 320]),
        (Awaited.RECORDING, [1, 3, 5, 7, 9]),
        (Awaited.VOICEMAIL, [1, 3, 5]),
    ],
)
def test_the_looks_at_an_awaited_value(kind: Awaited, looks: list[int]) -> None:
    record, now, seen = replace(WAITING, waits_for=kind, waits_since=NOW), NOW, []
    for _ in looks:
        now = next_look(kind, record, now)
        seen.append((now - NOW) / MINUTE)
    assert seen == looks


def test_another_wait_begins_anew() -> None:
    record = replace(WAITING, waits_for=Awaited.CALL, waits_since=NOW - 300 * MINUTE)
    assert next_look(Awaited.RECORDING, record, NOW) == NOW + MINUTE
    assert still_up(record, NOW).due == NOW + 35 * MINUTE


@given(
    kind=st.sampled_from([Awaited.CALL, Awaited.WRAP_UP, Awaited.RECORDING, Awaited.VOICEMAIL]),
    since=st.integers(-(10**7), 10**7),
)
def test_the_next_look_is_soon_but_never_now(kind: Awaited, since: int) -> None:
    record = replace(WAITING, waits_for=kind, waits_since=NOW - timedelta(seconds=since))
    due = next_look(kind, record, NOW)
    assert timedelta() < due - NOW <= 240 * MINUTE


# --- is it ours -------------------------------------------------------------------------------------------------------

EARLIER = replace(RULES, not_before=NOW - 60 * MINUTE)
MISSED = replace(WAITING, scope="abandoned")
UNLISTED: dict[str, Any] = {"method": "MONITOR"}


@pytest.mark.parametrize(
    ("of", "record", "why"),
    [
        (contact(61), WAITING, "RECONCILE_NOT_BEFORE"),
        (contact(9), MISSED, "connected to an agent"),
        (contact(9, connected_to_agent_at=None, handed_on=True), MISSED, "went on as another contact"),
        (contact(9, **UNLISTED), WAITING, "INITIATION_METHODS"),
        (contact(9, attributes={"NoVoiceCallSync": "1"}), WAITING, "OPT_OUT_ATTRIBUTE"),
        (contact(9, attributes={"vm_flag": "1"}, has_recordings=True), WAITING, "voicemail"),
    ],
)
def test_who_is_not_ours_and_that_a_released_one_is(of: Contact, record: Record, why: str) -> None:
    with pytest.raises(NotOurs, match=why):
        EARLIER.require_ours(of, FOUND, record, NOW)
    EARLIER.require_ours(of, BY_OPERATOR, replace(record, released_at=NOW), NOW)


@pytest.mark.parametrize("by", [{"first_source": "operator"}, {"named_at": NOW}, {"first_source": "contact-flow"}])
def test_the_list_of_methods_judges_unasked_contacts_only(by: dict[str, Any]) -> None:
    with pytest.raises(NotListed):
        RULES.require_ours(contact(9, **UNLISTED), FOUND, WAITING, NOW)
    RULES.require_ours(contact(9, **UNLISTED), FOUND, replace(WAITING, **by), NOW)


def test_a_flows_contact_may_still_be_a_voicemail() -> None:
    marked = contact(2, connected_to_agent_at=None, attributes={"vm_flag": "1"})
    with pytest.raises(NotYet) as wait:
        RULES.require_ours(marked, FOUND, replace(WAITING, first_source="contact-flow"), NOW)
    assert (wait.value.awaits, wait.value.due) == (Awaited.VOICEMAIL, NOW + MINUTE)
