import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.simulators.conftest import INSTANCE, make_connect_client
from tests.support.contacts import STARTED, abandoned, described
from tools.local.connect import ConnectSimulator

if TYPE_CHECKING:
    from types_boto3_connect import ConnectClient

DAY = timedelta(days=1)
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


def search(client: "ConnectClient", criteria: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """One page of contacts begun within a day of STARTED; a change to None leaves the member out."""
    request = {"InstanceId": INSTANCE, "TimeRange": time_range(), "SearchCriteria": criteria, **changes}
    return dict(client.search_contacts(**{name: value for name, value in request.items() if value is not None}))


def ids(answer: dict[str, Any]) -> list[str]:
    return [contact["Id"] for contact in answer["Contacts"]]


def found(client: "ConnectClient", criteria: dict[str, Any] | None = None, **changes: Any) -> set[str]:
    return set(ids(search(client, criteria, **changes)))


def refusal(client: "ConnectClient", criteria: dict[str, Any] | None = None, **changes: Any) -> str:
    with pytest.raises(client.exceptions.InvalidParameterException) as failure:
        search(client, criteria, **changes)
    assert failure.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return failure.value.response["Error"]["Message"]


def began(contact_id: str, minutes: float, **changes: Any) -> dict[str, Any]:
    return {"Id": contact_id, "InitiationTimestamp": STARTED + timedelta(minutes=minutes), **changes}


def put_six(connect: ConnectSimulator) -> None:
    connect.put_contacts(began(f"c-{minute}", minute) for minute in range(6))


def test_a_hit_is_a_summary(connect: ConnectSimulator, client: "ConnectClient") -> None:
    segments = {"connect:Subtype": {"ValueString": "connect:Telephony"}, "connect:Count": {"ValueInteger": 3}}
    connect.put_contact(
        described("c-2", PreviousContactId="c-1", InitialContactId="c-1", Name="n", SegmentAttributes=segments)
    )
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
        "Name": "n",
        "Channel": "VOICE",
        "InitiationMethod": "INBOUND",
        "QueueInfo": {"Id": "queue-support"},
        "AgentInfo": {"Id": "agent-jane"},
        "SegmentAttributes": {"connect:Subtype": {"ValueString": "connect:Telephony"}},
    }
    assert connect.received == ["SearchContacts"]


def test_a_call_that_is_not_over_has_no_end(connect: ConnectSimulator, client: "ConnectClient") -> None:
    holding = {"AgentInitiatedHoldDuration": 3}
    connect.put_contact(described("c-1", DisconnectTimestamp=None, DisconnectReason=None, AgentInfo=holding))
    [hit] = search(client)["Contacts"]
    assert "DisconnectTimestamp" not in hit
    assert "AgentInfo" not in hit, "nothing of it is in a summary"
    assert found(client, TimeRange=time_range("DISCONNECT_TIMESTAMP")) == set()


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        ("INITIATION_TIMESTAMP", STARTED),
        ("DISCONNECT_TIMESTAMP", STARTED + timedelta(minutes=5)),
        ("CONNECTED_TO_AGENT_TIMESTAMP", STARTED + timedelta(seconds=30)),
        ("ENQUEUE_TIMESTAMP", STARTED + timedelta(seconds=10)),
        ("SCHEDULED_TIMESTAMP", STARTED - timedelta(hours=1)),
    ],
)
def test_each_timestamp_has_its_range(
    connect: ConnectSimulator, client: "ConnectClient", kind: str, moment: datetime
) -> None:
    second = timedelta(seconds=1)
    connect.put_contact(described("c-1", ScheduledTimestamp=STARTED - timedelta(hours=1)))
    connect.put_contact({"Id": "c-2", "Channel": "VOICE"})
    assert found(client, TimeRange=time_range(kind, moment, second)) == {"c-1"}, "it starts at its start"
    assert found(client, TimeRange=time_range(kind, moment - second, second)) == set(), "it ends before its end"
    assert found(client, TimeRange=time_range(kind, moment, timedelta())) == set()


def test_an_additional_range_has_the_same_ends(connect: ConnectSimulator, client: "ConnectClient") -> None:
    def ended(start: datetime) -> set[str]:
        wanted = {"TimeRange": time_range("DISCONNECT_TIMESTAMP", start, timedelta(seconds=1))}
        return found(client, {"AdditionalTimeRange": {"Criteria": [wanted], "MatchType": "MATCH_ALL"}})

    connect.put_contact(described("c-1"))
    connect.put_contact(described("c-2", DisconnectTimestamp=None))
    moment = STARTED + timedelta(minutes=5)
    assert ended(moment) == {"c-1"}
    assert ended(moment - timedelta(seconds=1)) == set()
    assert ended(moment + timedelta(seconds=1)) == set()


def test_what_never_happened_is_in_no_range(connect: ConnectSimulator, client: "ConnectClient") -> None:
    connect.put_contact(abandoned("c-1", AgentInfo={"ConnectedToAgentTimestamp": NEVER}))
    connect.put_contact(abandoned("c-2", AgentInfo={"Id": "agent-jane"}))
    connect.put_contact(described("c-3"))
    sentinel = time_range("CONNECTED_TO_AGENT_TIMESTAMP", datetime(1970, 1, 1, tzinfo=UTC), DAY)
    assert found(client, TimeRange=sentinel) == set()
    assert found(client, {"AdditionalTimeRange": {"Criteria": [NO_AGENT], "MatchType": "MATCH_ALL"}}) == {"c-1", "c-2"}


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({}, {"queued", "menu", "chat", "handled"}),
        ({"Channels": ["VOICE"]}, {"queued", "menu", "handled"}),
        ({"Channels": ["CHAT", "TASK"]}, {"chat"}),
        ({"Channels": []}, {"queued", "menu", "chat", "handled"}),
        ({"InitiationMethods": ["OUTBOUND", "TRANSFER"]}, {"handled"}),
        ({"QueueIds": ["queue-support"]}, {"queued", "chat", "handled"}),
        ({"QueueIds": ["queue-sales"]}, set()),
        ({"AgentIds": ["agent-jane", "agent-joe"]}, {"handled"}),
        ({"AgentIds": ["agent-jane"], "Channels": ["CHAT"]}, set()),
        ({"AdditionalTimeRange": {"Criteria": [NO_AGENT], "MatchType": "MATCH_ALL"}}, {"queued", "menu", "chat"}),
        ({"AdditionalTimeRange": {"Criteria": [NO_AGENT, NOT_QUEUED], "MatchType": "MATCH_ALL"}}, {"menu"}),
        (
            {
                "AdditionalTimeRange": {
                    "Criteria": [NOT_QUEUED, {"TimeRange": time_range("CONNECTED_TO_AGENT_TIMESTAMP")}],
                    "MatchType": "MATCH_ANY",
                }
            },
            {"menu", "handled"},
        ),
        (
            {
                "Channels": ["VOICE"],
                "AdditionalTimeRange": {
                    "Criteria": [NO_AGENT, {"TimeRange": time_range("ENQUEUE_TIMESTAMP")}],
                    "MatchType": "MATCH_ALL",
                },
            },
            {"queued"},
        ),
    ],
)
def test_criteria(
    connect: ConnectSimulator, client: "ConnectClient", criteria: dict[str, Any], expected: set[str]
) -> None:
    connect.put_contact(abandoned("queued"))
    connect.put_contact(abandoned("menu", QueueInfo=None))
    connect.put_contact(abandoned("chat", Channel="CHAT"))
    connect.put_contact(described("handled", InitiationMethod="OUTBOUND"))
    assert found(client, criteria) == expected


@pytest.mark.parametrize(
    ("criteria", "changes", "message"),
    [
        ({"ContactTags": {"TagCondition": {"TagKey": "k"}}}, {}, "SearchCriteria.ContactTags is not implemented"),
        ({"Name": {"SearchText": ["a"], "MatchType": "MATCH_ALL"}}, {}, "SearchCriteria.Name is not implemented"),
        ({"Channels": ["Voice"]}, {}, "SearchContactsRequest.SearchCriteria.Channels[0] must be one of VOICE, CHAT"),
        ({"AgentIds": ["a"] * 101}, {}, "SearchContactsRequest.SearchCriteria.AgentIds must be at most 100"),
        (
            {"AdditionalTimeRange": {"Criteria": [NO_AGENT], "MatchType": "MATCH_NONE"}},
            {},
            "SearchCriteria.AdditionalTimeRange.MatchType MATCH_NONE is not implemented",
        ),
        (
            {"AdditionalTimeRange": {"Criteria": [{**NO_AGENT, "TimeRange": time_range()}], "MatchType": "MATCH_ALL"}},
            {},
            "Criteria[0] needs either TimeRange or TimestampCondition",
        ),
        ({"AdditionalTimeRange": {"Criteria": [{}], "MatchType": "MATCH_ALL"}}, {}, "Criteria[0] needs either"),
        ({"AdditionalTimeRange": {"Criteria": [], "MatchType": "MATCH_ALL"}}, {}, "Criteria is empty"),
        (
            {
                "AdditionalTimeRange": {
                    "Criteria": [{"TimeRange": time_range(width=57 * DAY)}],
                    "MatchType": "MATCH_ALL",
                }
            },
            {},
            "SearchCriteria.AdditionalTimeRange.Criteria[0].TimeRange is wider than eight weeks",
        ),
        (None, {"TimeRange": time_range("BEGINNING")}, "TimeRange.Type must be one of INITIATION_TIMESTAMP"),
        (None, {"TimeRange": time_range(width=56 * DAY + timedelta(seconds=1))}, "TimeRange is wider than eight weeks"),
        (None, {"TimeRange": time_range(width=-DAY)}, "TimeRange ends before it starts"),
        (None, {"MaxResults": 101}, "SearchContactsRequest.MaxResults must be at most 100"),
        (None, {"NextToken": "1"}, "NextToken is wrong or has expired"),
        (None, {"Sort": {"FieldName": "CHANNEL", "Order": "ASCENDING"}}, "Sort.FieldName CHANNEL is not implemented"),
        (None, {"Sort": {"FieldName": "ENQUEUE_TIMESTAMP", "Order": "ASCENDING"}}, "Sort.FieldName must be one of"),
        (None, {"Sort": {"FieldName": "INITIATION_TIMESTAMP", "Order": "UP"}}, "Sort.Order must be one of"),
    ],
)
def test_what_it_refuses(client: "ConnectClient", criteria: Any, changes: dict[str, Any], message: str) -> None:
    assert message in refusal(client, criteria, **changes)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Expecting value"),
        (b"\xff", "decode"),
        (b"[]", "SearchContactsRequest must be an object"),
        (b'{"InstanceId": "i"}', "SearchContactsRequest needs TimeRange"),
        (b'{"InstanceId": 1}', "InstanceId must be of type string"),
        (b'{"InstanceId": "i", "TimeRange": {}}', "TimeRange needs Type, StartTime, EndTime"),
        (b'{"SearchCriteria": {"channels": []}}', "SearchContactsRequest.SearchCriteria has no channels in the API"),
        (
            b'{"InstanceId": "", "TimeRange": {"Type": "INITIATION_TIMESTAMP", "StartTime": 1, "EndTime": 2}}',
            "length of SearchContactsRequest.InstanceId must be at least 1",
        ),
        (
            b'{"MaxResults": 0, "InstanceId": "i", "TimeRange": {"Type": "X", "StartTime": 1, "EndTime": 2}}',
            "SearchContactsRequest.MaxResults must be at least 1",
        ),
    ],
)
def test_bodies_boto3_would_not_send(client: "ConnectClient", body: bytes, message: str) -> None:
    def send_instead(request: AWSPreparedRequest, **_: object) -> None:
        request.body = body
        del request.headers["Content-Length"]
        request.headers["Content-Length"] = str(len(body))

    client.meta.events.register("before-send.connect.SearchContacts", send_instead)
    assert message in refusal(client)


def test_the_widest_range(connect: ConnectSimulator, client: "ConnectClient") -> None:
    connect.put_contact(described("c-1"))
    assert found(client, TimeRange=time_range(width=timedelta(weeks=8))) == {"c-1"}


def test_parts_of_a_second_count(connect: ConnectSimulator, client: "ConnectClient") -> None:
    moment, instant = STARTED + timedelta(milliseconds=300), timedelta(milliseconds=1)
    connect.put_contact(described("c-1", InitiationTimestamp=moment))
    assert found(client, TimeRange=time_range(start=moment, width=instant)) == {"c-1"}
    assert found(client, TimeRange=time_range(start=moment + instant, width=instant)) == set()
    assert found(client, TimeRange=time_range(start=moment - instant, width=instant)) == set()


def test_another_instance_has_no_contacts(connect: ConnectSimulator, client: "ConnectClient") -> None:
    connect.put_contact(described("c-1"))
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        search(client, InstanceId="another-instance")


def test_order(connect: ConnectSimulator, client: "ConnectClient") -> None:
    def sort(field: str, order: str) -> list[str]:
        return ids(search(client, Sort={"FieldName": field, "Order": order}))

    ended = STARTED + DAY
    connect.put_contact(began("c-1", 1, DisconnectTimestamp=ended))
    connect.put_contact(began("c-3", 3))
    connect.put_contact(began("c-2b", 2, DisconnectTimestamp=ended - timedelta(hours=1)))
    connect.put_contact(began("c-2a", 2, DisconnectTimestamp=ended - timedelta(hours=2)))
    assert ids(search(client)) == ["c-3", "c-2b", "c-2a", "c-1"], "the latest first"
    assert sort("INITIATION_TIMESTAMP", "ASCENDING") == ["c-1", "c-2a", "c-2b", "c-3"]
    assert sort("DISCONNECT_TIMESTAMP", "ASCENDING") == ["c-2a", "c-2b", "c-1", "c-3"]
    assert sort("DISCONNECT_TIMESTAMP", "DESCENDING") == ["c-1", "c-2b", "c-2a", "c-3"]


def test_pages(connect: ConnectSimulator, client: "ConnectClient") -> None:
    put_six(connect)
    paginator = client.get_paginator("search_contacts")
    pages = list(paginator.paginate(InstanceId=INSTANCE, TimeRange=time_range(), PaginationConfig={"PageSize": 4}))
    assert [[contact["Id"] for contact in page["Contacts"]] for page in pages] == [
        ["c-5", "c-4", "c-3", "c-2"],
        ["c-1", "c-0"],
    ]
    assert [page["TotalCount"] for page in pages] == [6, 6]


def test_a_page_has_ten_contacts_unless_told() -> None:
    with (
        ConnectSimulator(instance_id=INSTANCE) as connect,
        closing(make_connect_client(connect.url)) as client,
    ):
        connect.put_contacts(began(f"c-{minute}", minute) for minute in range(12))
        answer = search(client)
        assert len(answer["Contacts"]) == 10
        assert len(search(client, NextToken=answer["NextToken"])["Contacts"]) == 2


def test_a_token_used_again_gives_the_same_page(connect: ConnectSimulator, client: "ConnectClient") -> None:
    put_six(connect)
    token = search(client, MaxResults=2)["NextToken"]
    connect.put_contact(began("c-9", 9))
    connect.put_contact({"Id": "c-3"})
    assert ids(search(client, MaxResults=2, NextToken=token)) == ["c-3", "c-2"]
    assert ids(search(client, MaxResults=3, NextToken=token)) == ["c-3", "c-2", "c-1"]
    assert ids(search(client)) == ["c-9", "c-5", "c-4", "c-2", "c-1", "c-0"]


def test_tokens_that_are_refused(connect: ConnectSimulator, client: "ConnectClient") -> None:
    put_six(connect)
    token = search(client, MaxResults=2)["NextToken"]
    assert refusal(client, {"Channels": ["VOICE"]}, NextToken=token) == "NextToken is of another search"
    assert refusal(client, NextToken=token[:-1]) == "NextToken is wrong or has expired"
    connect.expire_tokens()
    assert refusal(client, NextToken=token) == "NextToken is wrong or has expired"


def test_only_so_many_tokens_live(connect: ConnectSimulator, client: "ConnectClient") -> None:
    put_six(connect)
    tokens = [search(client, MaxResults=1)["NextToken"] for _ in range(201)]
    assert refusal(client, NextToken=tokens[0]) == "NextToken is wrong or has expired"
    assert ids(search(client, NextToken=tokens[1], MaxResults=1)) == ["c-4"]


def test_only_the_first_results_can_be_had(connect: ConnectSimulator, client: "ConnectClient") -> None:
    put_six(connect)
    last = search(client, NextToken=search(client, MaxResults=4)["NextToken"])
    assert ids(last) == ["c-1", "c-0"]
    assert "NextToken" not in last

    connect.put_contact(began("c-6", 6))
    last = search(client, NextToken=search(client, MaxResults=4)["NextToken"])
    assert ids(last) == ["c-2", "c-1"], "the limit is six, in a test"
    assert last["TotalCount"] == 7
    assert refusal(client, NextToken=last["NextToken"]) == "NextToken leads beyond the first 6 results"


def test_the_total_can_be_left_out(connect: ConnectSimulator, client: "ConnectClient") -> None:
    put_six(connect)
    connect.gives_total_count = False
    answer = search(client, MaxResults=1)
    assert "TotalCount" not in answer
    assert ids(answer) == ["c-5"]


def test_the_index_lags(connect: ConnectSimulator, client: "ConnectClient", clock: SetClock) -> None:
    connect.put_contact(described("early", DisconnectTimestamp=None))
    connect.search_lag = timedelta(minutes=2)
    connect.put_contact(described("late"))
    connect.put_contact(described("early"))
    assert client.describe_contact(InstanceId=INSTANCE, ContactId="late")["Contact"]["Id"] == "late"
    assert found(client) == {"early"}
    assert found(client, TimeRange=time_range("DISCONNECT_TIMESTAMP")) == set(), "the older shape is in the index"

    clock.now += timedelta(minutes=2) - timedelta(microseconds=1)
    assert found(client) == {"early"}
    clock.now += timedelta(microseconds=1)
    assert found(client, TimeRange=time_range("DISCONNECT_TIMESTAMP")) == {"early", "late"}
    clock.now -= DAY
    assert found(client) == {"early", "late"}, "what is in the index stays there"


def test_the_index_catches_up_when_told(connect: ConnectSimulator, client: "ConnectClient") -> None:
    connect.search_lag = DAY
    put_six(connect)
    assert found(client) == set()
    connect.index_now()
    assert len(found(client)) == 6


def test_what_was_put_last_counts_though_it_is_indexed_first(
    connect: ConnectSimulator, client: "ConnectClient", clock: SetClock
) -> None:
    connect.search_lag = timedelta(hours=1)
    connect.put_contact(described("c-1", Channel="CHAT"))
    connect.search_lag = timedelta()
    connect.put_contact(described("c-1"))
    clock.now += DAY
    assert found(client, {"Channels": ["VOICE"]}) == {"c-1"}
    connect.index_now()
    assert found(client, {"Channels": ["CHAT"]}) == set()


def test_failing_and_hanging(connect: ConnectSimulator, client: "ConnectClient") -> None:
    put_six(connect)
    connect.fail_next("SearchContacts")
    connect.hang_next("SearchContacts")
    with pytest.raises(ClientError) as failure:
        search(client)
    assert failure.value.response["Error"]["Code"] == "TooManyRequestsException"
    with closing(make_connect_client(connect.url, patience=0.2)) as impatient, pytest.raises(ReadTimeoutError):
        search(impatient)
    assert len(found(client)) == 6
    assert connect.received == ["SearchContacts"] * 3


def test_very_many_contacts(connect: ConnectSimulator, client: "ConnectClient") -> None:
    begun = time.perf_counter()
    connect.put_contacts(described(f"c-{place}", InitiationTimestamp=STARTED) for place in range(20_000))
    assert search(client, MaxResults=1)["TotalCount"] == 20_000
    assert time.perf_counter() - begun < 20, "one second or so, on a machine with nothing else to do"


def test_very_many_contacts_or_none(connect: ConnectSimulator, client: "ConnectClient") -> None:
    with pytest.raises(ValueError, match=r"\[1\]: Contact has no Colour"):
        connect.put_contacts([described("c-1"), described("c-2", Colour="red")])
    with pytest.raises(ValueError, match=r"\[0\]: Contact needs Id"):
        connect.put_contacts([{"Channel": "VOICE"}])
    assert found(client) == set()
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_contact(InstanceId=INSTANCE, ContactId="c-1")


@pytest.mark.parametrize("taken", [True, False])
def test_the_newer_methods_are_taken_as_a_filter_or_refused(
    connect: ConnectSimulator, client: "ConnectClient", *, taken: bool
) -> None:
    connect.takes_new_methods = taken
    connect.put_contact(described("dialed", InitiationMethod="CALLBACK_CUSTOMER_FIRST_DIALED"))
    criteria = {"InitiationMethods": ["INBOUND", "CALLBACK_CUSTOMER_FIRST_DIALED"]}
    if taken:
        assert found(client, criteria) == {"dialed"}
        return
    with pytest.raises(ClientError, match="InvalidParameterException"):
        found(client, criteria)
