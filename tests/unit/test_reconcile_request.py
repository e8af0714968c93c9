"""What one run is asked to do: a table of payload -> request, and what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ANY_JSON
from voicecall_sync.contact import FoundContact
from voicecall_sync.errors import InvalidInput
from voicecall_sync.reconcile_request import ReconcileRequest, Scope, Usual, Window, parse

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
USUAL = Usual(Scope.ABANDONED, timedelta(hours=24), not_before=None)
SEARCHING_NOTHING = Usual(Scope.NONE, timedelta(hours=24), not_before=None)
END = NOW - timedelta(minutes=10)
LAST_DAY = Window(END - timedelta(hours=24), END)

RULE = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}, "resources": ["arn"]}
SCHEDULER = {"detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": "{}"}


@pytest.mark.parametrize("event", [RULE, SCHEDULER, {}], ids=["rule", "scheduler", "by hand"])
def test_a_schedule_looks_back_a_day_and_leaves_the_last_ten_minutes_alone(event: object) -> None:
    assert parse(event, USUAL, NOW) == ReconcileRequest(LAST_DAY, Scope.ABANDONED, cursor="")


@pytest.mark.parametrize(
    ("given", "window"),
    [
        ({"from": "2026-11-01T00:00:00Z"}, Window(datetime(2026, 11, 1, tzinfo=UTC), END)),
        (
            {"from": "2026-11-01T00:00:00+02:00", "to": "2026-11-02T00:00:00Z"},
            Window(datetime(2026, 10, 31, 22, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)),
        ),
        (
            {"to": "2026-11-20T00:00:00Z"},
            Window(datetime(2026, 11, 19, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)),
        ),
        # By hand one may come close to now, and no closer.
        ({"from": "2026-11-22T11:00:00Z", "to": "2026-11-22T13:00:00Z"}, Window(NOW - timedelta(hours=1), NOW)),
    ],
)
def test_a_window_by_hand(given: dict[str, Any], window: Window) -> None:
    assert parse(given, USUAL, NOW).window == window


def test_nothing_before_the_bound_whoever_asks() -> None:
    bounded = Usual(Scope.ABANDONED, timedelta(hours=24), not_before=NOW - timedelta(hours=2))
    assert parse(RULE, bounded, NOW).window == Window(NOW - timedelta(hours=2), END)
    assert parse({"from": "2026-11-01T00:00:00Z"}, bounded, NOW).window.start == NOW - timedelta(hours=2)


def test_a_bound_that_lies_ahead_leaves_nothing() -> None:
    bounded = Usual(Scope.ABANDONED, timedelta(hours=24), not_before=NOW + timedelta(hours=2))
    assert parse(RULE, bounded, NOW).window.empty


def test_each_window_has_a_cursor_of_its_own() -> None:
    asked = [{}, {"scope": "all"}, {"from": "2026-11-01T00:00:00Z"}, {"to": "2026-11-01T00:00:00Z"}]
    names = {parse(event, USUAL, NOW).cursor for event in asked}
    assert len(names) == len(asked)
    assert [parse({**event, "dryRun": True}, USUAL, NOW).cursor for event in asked] == [
        parse(event, USUAL, NOW).cursor for event in asked
    ]


@pytest.mark.parametrize("event", [RULE, SCHEDULER, {}, {"dryRun": True}, {"contactIds": ["c-1"]}])
def test_where_the_scope_set_is_none_nothing_is_searched_unless_a_scope_is_named(event: dict[str, Any]) -> None:
    assert parse(event, SEARCHING_NOTHING, NOW).scope is Scope.NONE
    assert parse({"scope": "abandoned"}, SEARCHING_NOTHING, NOW).scope is Scope.ABANDONED


@pytest.mark.parametrize("name", ["from", "to"])
def test_where_the_scope_set_is_none_a_window_by_hand_has_to_name_its_own(name: str) -> None:
    window = {name: "2026-11-20T00:00:00Z"}
    with pytest.raises(InvalidInput, match="scope must be one of abandoned, unanswered, all"):
        parse(window, SEARCHING_NOTHING, NOW)
    assert parse({**window, "scope": "all"}, SEARCHING_NOTHING, NOW).scope is Scope.ALL


def test_a_cursor_is_of_its_scope() -> None:
    by_hand = {"from": "2026-11-01T00:00:00Z"}
    others = Usual(Scope.ALL, timedelta(hours=24), not_before=None)
    assert parse(by_hand, USUAL, NOW).cursor != parse(by_hand, others, NOW).cursor


def test_contacts_by_name_the_bad_ones_among_them() -> None:
    request = parse({"contactIds": ["ABC-1", 7, "../x", "ABC-1", "D9B96E28-7F3E-4CAD-9E52-1A2B3C4D5E6F"]}, USUAL, NOW)
    assert request.contacts is not None
    good = [contact for contact in request.contacts if isinstance(contact, str)]
    wrong = [str(contact) for contact in request.contacts if isinstance(contact, InvalidInput)]
    assert good == ["ABC-1", "d9b96e28-7f3e-4cad-9e52-1a2b3c4d5e6f"]
    assert [text.partition(" must")[0] for text in wrong] == ["contactIds[1]", "contactIds[2]"]
    assert request.cursor is None


@pytest.mark.parametrize(
    ("event", "named"),
    [
        (None, "event"),
        ([], "event"),
        ("{}", "event"),
        ({"dryrun": True}, "dryrun"),
        ({"detail-type": "Amazon Connect Contact Event", "detail": {}}, "event"),
        ({"from": "2026-11-01"}, "from"),
        ({"from": "2026-11-01T00:00:00"}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"from": 1795000000}, "from"),
        ({"from": "0001-01-01T00:00:00+23:00"}, "from"),
        ({"from": "0001-01-01T01:00:00Z"}, "from"),
        ({"to": "0001-01-01T01:00:00Z"}, "to"),
        ({"from": "2026-11-22T12:00:01Z"}, "from"),
        ({"to": True}, "to"),
        ({"from": "2026-11-02T00:00:00Z", "to": "2026-11-01T00:00:00Z"}, "from"),
        ({"scope": "everything"}, "scope"),
        ({"scope": ["all"]}, "scope"),
        ({"scope": "none"}, "scope"),
        ({"dryRun": "yes"}, "dryRun"),
        ({"dryRun": 1}, "dryRun"),
        ({"contactIds": "abc"}, "contactIds"),
        ({"contactIds": []}, "contactIds"),
        ({"contactIds": ["x"] * 10_001}, "contactIds"),
    ],
)
def test_what_is_refused_is_named(event: object, named: str) -> None:
    with pytest.raises(InvalidInput, match=f"{named}.* must be|must be .*not {named}"):
        parse(event, USUAL, NOW)


@given(ANY_JSON | st.dictionaries(st.sampled_from(["from", "to", "scope", "dryRun", "contactIds"]), ANY_JSON))
def test_any_json_is_a_request_or_refused(event: object) -> None:
    try:
        request = parse(event, USUAL, NOW)
    except InvalidInput:
        return
    assert request.window.end <= NOW


# --- scopes ----------------------------------------------------------------------------------------------------------


def found(**changes: Any) -> FoundContact:
    values: dict[str, Any] = {
        "contact_id": "c",
        "disconnected_at": NOW,
        "enqueued_at": NOW,
        "connected_to_agent_at": None,
        "callback": False,
    }
    return FoundContact(**values | changes)


@pytest.mark.parametrize(
    ("contact", "scopes"),
    [
        (found(), {"abandoned", "unanswered", "all"}),
        (found(enqueued_at=None), {"unanswered", "all"}),
        (found(connected_to_agent_at=NOW), {"all"}),
        (found(callback=True), {"unanswered", "all"}),
    ],
    ids=["hung up in the queue", "ended in the flow", "answered", "queued for callback"],
)
def test_which_contacts_a_scope_takes(contact: FoundContact, scopes: set[str]) -> None:
    assert {scope.value for scope in Scope if scope.takes(contact)} == scopes


@given(st.datetimes(timezones=st.just(UTC)), st.timedeltas(timedelta(seconds=5), timedelta(days=400)))
def test_halves_cover_the_whole(start: datetime, width: timedelta) -> None:
    if start.year > 9000:
        return
    first, second = Window(start, start + width).halves()
    assert first.start == start
    assert second.end == start + width
    assert second.start < first.end
    assert max(first.end - first.start, second.end - second.start) < width
