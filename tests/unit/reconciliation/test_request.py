"""What one run is asked to do: a table of payload -> request, and what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import ANY_JSON
from voicecall_sync.contact import FoundContact, Scope
from voicecall_sync.errors import InvalidInput
from voicecall_sync.reconciliation.request import ReconcileDefaults, ReconcileRequest, parse
from voicecall_sync.times import Window

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
USUAL = ReconcileDefaults(Scope.ABANDONED, timedelta(hours=24), not_before=None)
SEARCHING_NOTHING = ReconcileDefaults(Scope.NONE, timedelta(hours=24), not_before=None)
END = NOW - timedelta(minutes=30)
LAST_DAY = Window(END - timedelta(hours=24), END)

RULE = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}, "resources": ["arn"]}
SCHEDULER = {"detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": "{}"}


@pytest.mark.parametrize(
    "event",
    [RULE, SCHEDULER, {}, {"from": None, "to": None, "scope": None, "dryRun": None}, {"dryRun": False}],
    ids=["rule", "scheduler", "empty", "nulls", "no dry run"],
)
@pytest.mark.parametrize("usual", [USUAL, SEARCHING_NOTHING])
def test_a_schedule_asks_for_two_passes_in_its_scope(event: object, usual: ReconcileDefaults) -> None:
    assert parse(event, usual, NOW) == ReconcileRequest(window=None, scope=usual.scope)


def test_a_scope_alone_asks_for_the_last_day() -> None:
    assert parse({"scope": "all"}, USUAL, NOW) == ReconcileRequest(LAST_DAY, Scope.ALL)
    assert parse({"dryRun": True}, USUAL, NOW) == ReconcileRequest(LAST_DAY, Scope.ABANDONED, dry_run=True)


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


def test_nothing_before_the_bound_for_any_request() -> None:
    bounded = ReconcileDefaults(Scope.ABANDONED, timedelta(hours=24), not_before=NOW - timedelta(hours=2))
    assert parse({"dryRun": True}, bounded, NOW).window == Window(NOW - timedelta(hours=2), END)
    assert parse({"from": "2026-11-01T00:00:00Z"}, bounded, NOW).window == Window(NOW - timedelta(hours=2), END)


def test_a_bound_in_the_future_leaves_nothing() -> None:
    bounded = ReconcileDefaults(Scope.ABANDONED, timedelta(hours=24), not_before=NOW + timedelta(hours=2))
    window = parse({"scope": "all"}, bounded, NOW).window
    assert window is not None
    assert window.empty


@pytest.mark.parametrize("asked", [{"from": "2026-11-20T00:00:00Z"}, {"to": "2026-11-20T00:00:00Z"}, {"dryRun": True}])
def test_with_scope_none_a_window_must_name_its_scope(asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="scope must be one of abandoned, unanswered, all"):
        parse(asked, SEARCHING_NOTHING, NOW)
    assert parse({**asked, "scope": "all"}, SEARCHING_NOTHING, NOW).scope is Scope.ALL


@pytest.mark.parametrize("usual", [USUAL, SEARCHING_NOTHING])
@pytest.mark.parametrize("dry_run", [True, False])
def test_contacts_by_name_need_no_scope_and_no_window(usual: ReconcileDefaults, *, dry_run: bool) -> None:
    request = parse({"contactIds": ["c-1"], "dryRun": dry_run}, usual, NOW)
    assert request == ReconcileRequest(None, usual.scope, dry_run, contacts=("c-1",))


def test_contacts_by_name_the_bad_ones_among_them() -> None:
    request = parse({"contactIds": ["ABC-1", 7, "../x", "ABC-1", "D9B96E28-7F3E-4CAD-9E52-1A2B3C4D5E6F"]}, USUAL, NOW)
    assert request.contacts is not None
    good = [contact for contact in request.contacts if isinstance(contact, str)]
    wrong = [str(contact) for contact in request.contacts if isinstance(contact, InvalidInput)]
    assert good == ["ABC-1", "d9b96e28-7f3e-4cad-9e52-1a2b3c4d5e6f"]
    assert [text.partition(" must")[0] for text in wrong] == ["contactIds[1]", "contactIds[2]"]
    assert request.window is None


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
def test_a_refused_request_names_the_field(event: object, named: str) -> None:
    with pytest.raises(InvalidInput, match=f"{named}.* must be|must be .*not {named}"):
        parse(event, USUAL, NOW)


@given(ANY_JSON | st.dictionaries(st.sampled_from(["from", "to", "scope", "dryRun", "contactIds"]), ANY_JSON))
def test_any_json_is_a_request_or_refused(event: object) -> None:
    try:
        request = parse(event, USUAL, NOW)
    except InvalidInput:
        return
    if request.window is not None:
        assert request.window.end <= NOW
        assert request.contacts is None


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
    assert {scope.value for scope in Scope if scope.takes(contact, enqueued=contact.enqueued_at is not None)} == scopes


@given(st.datetimes(timezones=st.just(UTC)), st.timedeltas(timedelta(seconds=5), timedelta(days=400)))
def test_halves_cover_the_whole(start: datetime, width: timedelta) -> None:
    if start.year > 9000:
        return
    first, second = Window(start, start + width).halves()
    assert first.start == start
    assert second.end == start + width
    assert second.start < first.end
    assert max(first.end - first.start, second.end - second.start) < width
