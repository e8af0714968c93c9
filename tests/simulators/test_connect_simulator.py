"""The Connect simulator through boto3: what is described, what a search finds, and what both refuse."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.simulators.conftest import INSTANCE, make_connect_client
from tests.support.contacts import STARTED, abandoned, described
from tools.local.connect import SYSTEM_ENDPOINT_TAG, ConnectSimulator

if TYPE_CHECKING:
    from types_boto3_connect import ConnectClient

BEGAN = datetime(2025, 3, 1, 11, 0, 0, 250_000, tzinfo=UTC)
CONTACT: dict[str, Any] = {
    "Id": "c-1",
    "InitiationMethod": "INBOUND",
    "Channel": "VOICE",
    "InitiationTimestamp": BEGAN,
    "DisconnectTimestamp": "2025-03-01T12:05:00+01:00",
    "LastUpdateTimestamp": 1740827400,
    "QueueInfo": {"Id": "q-1", "EnqueueTimestamp": "2025-03-01T11:00:10Z"},
    "AgentInfo": {"Id": "u-1", "AgentInitiatedHoldDuration": 30},
    "CustomerEndpoint": {"Type": "TELEPHONE_NUMBER", "Address": "+12065550100"},
    "Recordings": [{"StorageType": "S3", "Location": "bucket/key", "StartTimestamp": BEGAN}],
    "Attributes": {"sfdc-Tier__c": "gold"},
    "SegmentAttributes": {"connect:Subtype": {"ValueString": "connect:Telephony"}},
    "DisconnectReason": "CUSTOMER_DISCONNECT",
}
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
NEVER = "1970-01-01T00:00:00.001Z"
NO_AGENT = {"TimestampCondition": {"Type": "CONNECTED_TO_AGENT_TIMESTAMP", "ConditionType": "NOT_EXISTS"}}
NOT_QUEUED = {"TimestampCondition": {"Type": "ENQUEUE_TIMESTAMP", "ConditionType": "NOT_EXISTS"}}


class SetClock:
    """A clock that stands where it is set."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def connect(clock: SetClock) -> Iterator[ConnectSimulator]:
    with ConnectSimulator(instance_id=INSTANCE, clock=clock, result_limit=6) as simulator:
        yield simulator


@pytest.fixture
def client(connect: ConnectSimulator) -> Iterator["ConnectClient"]:
    with closing(make_connect_client(connect.url)) as made:
        yield made


def time_range(kind: str = "INITIATION_TIMESTAMP", start: datetime = STARTED - DAY, width: timedelta = 2 * DAY) -> Any:
    return {"Type": kind, "StartTime": start, "EndTime": start + width}


def all_of(*criteria: object) -> dict[str, Any]:
    return {"AdditionalTimeRange": {"Criteria": list(criteria), "MatchType": "MATCH_ALL"}}


def search(client: "ConnectClient", criteria: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """One page of contacts begun within a day of STARTED; a change to None leaves the member out."""
    request = {"InstanceId": INSTANCE, "TimeRange": time_range(), "SearchCriteria": criteria, **changes}
    return dict(client.search_contacts(**{name: value for name, value in request.items() if value is not None}))


def ids(answer: dict[str, Any]) -> list[str]:
    return [contact["Id"] for contact in answer["Contacts"]]


def hits(client: "ConnectClient", criteria: dict[str, Any] | None = None, **changes: Any) -> set[str]:
    return set(ids(search(client, criteria, **changes)))


def refusal(client: "ConnectClient", criteria: dict[str, Any] | None = None, **changes: Any) -> str:
    with pytest.raises(client.exceptions.InvalidParameterException) as failure:
        search(client, criteria, **changes)
    return failure.value.response["Error"]["Message"]


def put_begun(connect: ConnectSimulator, *minutes: int) -> None:
    connect.put_contacts(
        {"Id": f"c-{minute}", "InitiationTimestamp": STARTED + timedelta(minutes=minute)} for minute in minutes
    )


# --- what is described -----------------------------------------------------------------------------------------------


def test_a_contact_comes_back_as_it_was_put(connect: ConnectSimulator, client: "ConnectClient") -> None:
    connect.put_contact(CONTACT)
    contact: dict[str, Any] = dict(client.describe_contact(InstanceId=INSTANCE, ContactId="c-1")["Contact"])

    assert contact["InitiationTimestamp"].astimezone(UTC) == BEGAN
    assert contact["DisconnectTimestamp"].astimezone(UTC) == datetime(2025, 3, 1, 11, 5, tzinfo=UTC)
    assert contact["LastUpdateTimestamp"].astimezone(UTC) == datetime(2025, 3, 1, 11, 10, tzinfo=UTC)
    assert contact["Recordings"][0]["StartTimestamp"].astimezone(UTC) == BEGAN
    assert contact["QueueInfo"]["EnqueueTimestamp"].astimezone(UTC) == datetime(2025, 3, 1, 11, 0, 10, tzinfo=UTC)
    untimed = ("AgentInfo", "Attributes", "SegmentAttributes", "CustomerEndpoint", "DisconnectReason")
    assert {name: contact[name] for name in untimed} == {name: CONTACT[name] for name in untimed}
    assert contact.keys() == CONTACT.keys(), "what was not put is absent"


def test_what_no_page_says_is_played_both_ways(connect: ConnectSimulator, client: "ConnectClient") -> None:
    """In which order recordings are, and whether our number is in a tag."""
    recordings = [{"Location": "ivr", "ParticipantType": "IVR"}, {"Location": "agent"}]
    connect.put_contact({"Id": "c-1", "Recordings": recordings, "Tags": {SYSTEM_ENDPOINT_TAG: "+1", "own": "x"}})
    as_put = client.describe_contact(InstanceId=INSTANCE, ContactId="c-1")["Contact"]
    connect.reverses_recordings, connect.tags_system_endpoint = True, False
    otherwise = client.describe_contact(InstanceId=INSTANCE, ContactId="c-1")["Contact"]

    assert as_put["Recordings"] == recordings
    assert as_put["Tags"].keys() == {SYSTEM_ENDPOINT_TAG, "own"}
    assert otherwise["Recordings"] == recordings[::-1]
    assert otherwise["Tags"].keys() == {"own"}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"Disconnectreason": "OTHER"}, "Contact has no Disconnectreason"),
        ({"QueueInfo": {"Name": "Support"}}, "Contact.QueueInfo has no Name"),
        ({"Recordings": [{}, {"Bucket": "b"}]}, r"Contact.Recordings\[1\] has no Bucket"),
        ({"Attributes": {"age": 3}}, "Contact.Attributes.age"),
        ({"AgentInfo": {"AgentInitiatedHoldDuration": True}}, "AgentInitiatedHoldDuration"),
        ({"AgentInfo": None}, "Contact.AgentInfo"),
        ({"InitiationTimestamp": "2025-03-01T11:00:00"}, "InitiationTimestamp"),
    ],
)
def test_a_contact_the_api_cannot_answer_is_refused(
    connect: ConnectSimulator, client: "ConnectClient", change: dict[str, object], path: str
) -> None:
    with pytest.raises(ValueError, match=path):
        connect.put_contact({**CONTACT, **change})
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_contact(InstanceId=INSTANCE, ContactId="c-1")


# --- what a search finds ---------------------------------------------------------------------------------------------


def test_a_hit_is_a_summary(connect: ConnectSimulator, client: "ConnectClient") -> None:
    segments = {"connect:Subtype": {"ValueString": "connect:Telephony"}, "connect:Count": {"ValueInteger": 3}}
    connect.put_contact(described("c-2", PreviousContactId="c-1", InitialContactId="c-1", SegmentAttributes=segments))
    answer = search(client)
    assert answer["TotalCount"] == 1
    assert "NextToken" not in answer
    [hit] = answer["Contacts"]
    assert hit.pop("InitiationTimestamp").astimezone(UTC) == STARTED
    assert hit.pop("DisconnectTimestamp").astimezone(UTC) == STARTED + timedelta(minutes=5)
    assert hit["QueueInfo"].pop("EnqueueTimestamp").astimezone(UTC) == STARTED + timedelta(seconds=10)
    assert hit["AgentInfo"].pop("ConnectedToAgentTimestamp").astimezone(UTC) == STARTED + timedelta(seconds=30)
    assert hit == {
        "Id": "c-2",
        "PreviousContactId": "c-1",
        "InitialContactId": "c-1",
        "Channel": "VOICE",
        "InitiationMethod": "INBOUND",
        "QueueInfo": {"Id": "queue-support"},
        "AgentInfo": {"Id": "agent-jane"},
        "SegmentAttributes": {"connect:Subtype": {"ValueString": "connect:Telephony"}},
    }


def test_a_call_that_is_not_over_has_no_end(connect: ConnectSimulator, client: "ConnectClient") -> None:
    holding = {"AgentInitiatedHoldDuration": 3}
    connect.put_contact(described("c-1", DisconnectTimestamp=None, DisconnectReason=None, AgentInfo=holding))
    [hit] = search(client)["Contacts"]
    assert "DisconnectTimestamp" not in hit
    assert "AgentInfo" not in hit, "nothing of it is in a summary"
    assert hits(client, TimeRange=time_range("DISCONNECT_TIMESTAMP")) == set()


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        ("INITIATION_TIMESTAMP", STARTED),
        ("DISCONNECT_TIMESTAMP", STARTED + timedelta(minutes=5, milliseconds=300)),
        ("CONNECTED_TO_AGENT_TIMESTAMP", STARTED + timedelta(seconds=30)),
        ("ENQUEUE_TIMESTAMP", STARTED + timedelta(seconds=10)),
    ],
)
def test_a_range_has_its_start_and_not_its_end(
    connect: ConnectSimulator, client: "ConnectClient", kind: str, moment: datetime
) -> None:
    connect.put_contact(described("c-1", DisconnectTimestamp=STARTED + timedelta(minutes=5, milliseconds=300)))
    connect.put_contact({"Id": "c-2", "Channel": "VOICE"})
    instant = timedelta(milliseconds=1)
    for start, expected in ((moment, {"c-1"}), (moment - instant, set()), (moment + instant, set())):
        span = time_range(kind, start, instant)
        assert hits(client, TimeRange=span) == expected
        assert hits(client, all_of({"TimeRange": span})) == expected


def test_what_never_happened_is_in_no_range(connect: ConnectSimulator, client: "ConnectClient") -> None:
    connect.put_contact(abandoned("c-1", AgentInfo={"ConnectedToAgentTimestamp": NEVER}))
    connect.put_contact(abandoned("c-2", AgentInfo={"Id": "agent-jane"}))
    connect.put_contact(described("c-3"))
    sentinel = time_range("CONNECTED_TO_AGENT_TIMESTAMP", datetime(1970, 1, 1, tzinfo=UTC), DAY)
    assert hits(client, TimeRange=sentinel) == set()
    assert hits(client, all_of(NO_AGENT)) == {"c-1", "c-2"}


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({}, {"queued", "menu", "chat", "handled"}),
        ({"Channels": ["VOICE"]}, {"queued", "menu", "handled"}),
        ({"Channels": []}, {"queued", "menu", "chat", "handled"}),
        ({"InitiationMethods": ["OUTBOUND", "TRANSFER"]}, {"handled"}),
        ({"InitiationMethods": ["OUTBOUND"], "Channels": ["CHAT"]}, set()),
        (all_of(NO_AGENT, NOT_QUEUED), {"menu"}),
        ({"Channels": ["VOICE"], **all_of(NO_AGENT, {"TimeRange": time_range("ENQUEUE_TIMESTAMP")})}, {"queued"}),
    ],
)
def test_criteria(
    connect: ConnectSimulator, client: "ConnectClient", criteria: dict[str, Any], expected: set[str]
) -> None:
    connect.put_contact(abandoned("queued"))
    connect.put_contact(abandoned("menu", QueueInfo=None))
    connect.put_contact(abandoned("chat", Channel="CHAT"))
    connect.put_contact(described("handled", InitiationMethod="OUTBOUND"))
    assert hits(client, criteria) == expected


@pytest.mark.parametrize(
    ("criteria", "changes", "message"),
    [
        ({"QueueIds": ["q-1"]}, {}, "SearchCriteria.QueueIds is not implemented"),
        ({"Channels": ["Voice"]}, {}, "SearchContactsRequest.SearchCriteria.Channels[0] must be one of VOICE, CHAT"),
        (
            {"AdditionalTimeRange": {"Criteria": [NO_AGENT], "MatchType": "MATCH_ANY"}},
            {},
            "SearchCriteria.AdditionalTimeRange.MatchType MATCH_ANY is not implemented",
        ),
        (all_of({**NO_AGENT, "TimeRange": time_range()}), {}, "Criteria[0] needs either TimeRange or"),
        (
            all_of({"TimeRange": time_range(width=57 * DAY)}),
            {},
            "SearchCriteria.AdditionalTimeRange.Criteria[0].TimeRange is wider than eight weeks",
        ),
        (None, {"TimeRange": time_range(width=56 * DAY + SECOND)}, "TimeRange is wider than eight weeks"),
        (None, {"TimeRange": time_range(width=-DAY)}, "TimeRange ends before it starts"),
        (None, {"MaxResults": 101}, "SearchContactsRequest.MaxResults must be at most 100"),
        (None, {"NextToken": "1"}, "NextToken is wrong or has expired"),
        (None, {"Sort": {"FieldName": "CHANNEL", "Order": "ASCENDING"}}, "Sort.FieldName CHANNEL is not implemented"),
        (None, {"Sort": {"FieldName": "INITIATION_TIMESTAMP", "Order": "UP"}}, "Sort.Order must be one of"),
    ],
)
def test_what_a_search_refuses(client: "ConnectClient", criteria: Any, changes: dict[str, Any], message: str) -> None:
    assert search(client, TimeRange=time_range(width=56 * DAY))["TotalCount"] == 0
    assert message in refusal(client, criteria, **changes)


@pytest.mark.parametrize(
    ("order", "expected"), [("ASCENDING", ["c-2", "c-3", "c-1"]), ("DESCENDING", ["c-3", "c-2", "c-1"])]
)
def test_order(connect: ConnectSimulator, client: "ConnectClient", order: str, expected: list[str]) -> None:
    """Contacts without the timestamp come last."""
    put_begun(connect, 1)
    connect.put_contact(described("c-3"))
    connect.put_contact(described("c-2", DisconnectTimestamp=STARTED + SECOND))
    assert ids(search(client, Sort={"FieldName": "DISCONNECT_TIMESTAMP", "Order": order})) == expected


def test_pages_are_of_what_the_first_one_found(connect: ConnectSimulator, client: "ConnectClient") -> None:
    put_begun(connect, *range(5))
    first = search(client, MaxResults=2)
    put_begun(connect, 9)
    second = search(client, MaxResults=2, NextToken=first["NextToken"])
    last = search(client, MaxResults=2, NextToken=second["NextToken"])
    assert [ids(page) for page in (first, second, last)] == [["c-4", "c-3"], ["c-2", "c-1"], ["c-0"]]
    assert (second["TotalCount"], "NextToken" in last) == (5, False)
    assert refusal(client, {"Channels": ["VOICE"]}, NextToken=first["NextToken"]) == "NextToken is of another search"


def test_a_search_has_a_limit_of_results(connect: ConnectSimulator, client: "ConnectClient") -> None:
    """It is 10,000 in Connect, and six here."""
    put_begun(connect, *range(7))
    last = search(client, NextToken=search(client, MaxResults=4)["NextToken"])
    assert ids(last) == ["c-2", "c-1"]
    assert last["TotalCount"] == 7
    assert refusal(client, NextToken=last["NextToken"]) == "NextToken leads beyond the first 6 results"


def test_the_index_lags(connect: ConnectSimulator, client: "ConnectClient", clock: SetClock) -> None:
    connect.put_contact(described("early", DisconnectTimestamp=None))
    connect.search_lag = timedelta(minutes=2)
    connect.put_contact(described("late"))
    connect.put_contact(described("early"))
    assert client.describe_contact(InstanceId=INSTANCE, ContactId="late")["Contact"]["Id"] == "late"
    assert hits(client) == {"early"}
    assert hits(client, TimeRange=time_range("DISCONNECT_TIMESTAMP")) == set(), "the older shape is in the index"

    clock.now += timedelta(minutes=2) - timedelta(microseconds=1)
    assert hits(client) == {"early"}
    clock.now += timedelta(microseconds=1)
    assert hits(client, TimeRange=time_range("DISCONNECT_TIMESTAMP")) == {"early", "late"}


def test_what_was_put_last_counts_though_it_is_indexed_first(
    connect: ConnectSimulator, client: "ConnectClient", clock: SetClock
) -> None:
    connect.search_lag = timedelta(hours=1)
    connect.put_contact(described("c-1", Channel="CHAT"))
    connect.search_lag = timedelta()
    connect.put_contact(described("c-1"))
    clock.now += DAY
    assert hits(client, {"Channels": ["VOICE"]}) == {"c-1"}
