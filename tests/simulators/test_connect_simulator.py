from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from tests.simulators.conftest import INSTANCE, make_connect_client
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


@pytest.fixture
def connect() -> Iterator[ConnectSimulator]:
    with ConnectSimulator(instance_id=INSTANCE) as simulator:
        yield simulator


@pytest.fixture
def client(connect: ConnectSimulator) -> Iterator["ConnectClient"]:
    made = make_connect_client(connect.url)
    yield made
    made.close()


def test_a_contact_comes_back_as_it_was_put(connect: ConnectSimulator, client: "ConnectClient") -> None:
    connect.put_contact(CONTACT)
    answer = client.describe_contact(InstanceId=INSTANCE, ContactId="c-1")

    contact: dict[str, Any] = dict(answer["Contact"])
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


def test_the_latest_contact_of_an_id_counts(connect: ConnectSimulator, client: "ConnectClient") -> None:
    connect.put_contact({"Id": "c-1"})
    connect.put_contact({"Id": "c-1", "DisconnectReason": "OTHER"})
    answer = client.describe_contact(InstanceId=INSTANCE, ContactId="c-1")
    assert answer["Contact"] == {"Id": "c-1", "DisconnectReason": "OTHER"}


def test_queues_and_users_have_names(connect: ConnectSimulator, client: "ConnectClient") -> None:
    connect.put_queue("q-1", "Support")
    connect.put_user("u-1", "agent@example.com")
    queue = client.describe_queue(InstanceId=INSTANCE, QueueId="q-1")
    user = client.describe_user(InstanceId=INSTANCE, UserId="u-1")
    assert queue["Queue"]["Name"] == "Support"
    assert user["User"]["Username"] == "agent@example.com"
    assert connect.received == ["DescribeQueue q-1", "DescribeUser u-1"]


@pytest.mark.parametrize(("instance", "contact"), [("another-instance", "c-1"), (INSTANCE, "q-1")])
def test_what_is_not_there_is_not_found(
    connect: ConnectSimulator, client: "ConnectClient", instance: str, contact: str
) -> None:
    connect.put_contact(CONTACT)
    connect.put_queue("q-1", "Support")
    with pytest.raises(client.exceptions.ResourceNotFoundException) as failure:
        client.describe_contact(InstanceId=instance, ContactId=contact)
    assert failure.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert failure.value.response["Error"]["Message"] == "Contact not found"


def test_an_operation_it_does_not_know(connect: ConnectSimulator, client: "ConnectClient") -> None:
    with pytest.raises(ClientError) as failure:
        client.list_queues(InstanceId=INSTANCE)
    assert failure.value.response["Error"]["Code"] == "UnknownOperationException"
    assert connect.received[0].startswith("GET /queues-summary/")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"Disconnectreason": "OTHER"}, "Contact has no Disconnectreason"),
        ({"QueueInfo": {"Name": "Support"}}, "Contact.QueueInfo has no Name"),
        ({"Recordings": [{}, {"Bucket": "b"}]}, r"Contact.Recordings\[1\] has no Bucket"),
        ({"Recordings": {}}, "Contact.Recordings"),
        ({"Attributes": {"age": 3}}, "Contact.Attributes.age"),
        ({"AgentInfo": {"AgentInitiatedHoldDuration": "30"}}, "AgentInitiatedHoldDuration"),
        ({"AgentInfo": {"AgentInitiatedHoldDuration": True}}, "AgentInitiatedHoldDuration"),
        ({"AgentInfo": None}, "Contact.AgentInfo"),
        ({"DisconnectReason": None}, "Contact.DisconnectReason"),
        ({"InitiationTimestamp": "2025-03-01T11:00:00"}, "InitiationTimestamp"),
        ({"InitiationTimestamp": BEGAN.replace(tzinfo=None)}, "InitiationTimestamp"),
        ({"InitiationTimestamp": "yesterday"}, "InitiationTimestamp"),
    ],
)
def test_a_contact_the_api_cannot_answer_is_refused(
    connect: ConnectSimulator, client: "ConnectClient", change: dict[str, object], path: str
) -> None:
    with pytest.raises(ValueError, match=path):
        connect.put_contact({**CONTACT, **change})
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_contact(InstanceId=INSTANCE, ContactId="c-1")


def test_a_contact_needs_an_id(connect: ConnectSimulator) -> None:
    with pytest.raises(ValueError, match="Id"):
        connect.put_contact({"Channel": "VOICE"})


def test_times_of_another_zone_are_the_same_moment(connect: ConnectSimulator, client: "ConnectClient") -> None:
    connect.put_contact({"Id": "c", "InitiationTimestamp": BEGAN.astimezone(timezone(timedelta(hours=-8)))})
    answer = client.describe_contact(InstanceId=INSTANCE, ContactId="c")
    assert answer["Contact"]["InitiationTimestamp"].astimezone(UTC) == BEGAN


def test_many_contacts_at_once(connect: ConnectSimulator, client: "ConnectClient") -> None:
    content: dict[str, Any] = {
        "contacts": [{"Id": "c-1", "Channel": "VOICE", "InitiationTimestamp": "2025-03-01T11:00:00Z"}],
        "queues": [{"QueueId": "q-1", "Name": "Support"}],
        "users": [{"Id": "u-1", "Username": "agent"}],
    }
    connect.load(content)
    assert client.describe_contact(InstanceId=INSTANCE, ContactId="c-1")["Contact"]["Channel"] == "VOICE"
    assert client.describe_queue(InstanceId=INSTANCE, QueueId="q-1")["Queue"]["Name"] == "Support"
    assert client.describe_user(InstanceId=INSTANCE, UserId="u-1")["User"]["Username"] == "agent"

    with pytest.raises(ValueError, match="agents"):
        connect.load({**content, "agents": []})


def test_throttled_as_often_as_told(connect: ConnectSimulator, client: "ConnectClient") -> None:
    connect.put_contact(CONTACT)
    connect.fail_next("DescribeContact", times=2)
    connect.fail_next("DescribeContact", "InternalServiceException", 500)
    connect.fail_next("DescribeQueue", "AccessDeniedException", 403)
    failures = []
    for _ in range(3):
        with pytest.raises(ClientError) as failure:
            client.describe_contact(InstanceId=INSTANCE, ContactId="c-1")
        response = failure.value.response
        failures.append((response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]))
    assert failures == [
        ("TooManyRequestsException", 429),
        ("TooManyRequestsException", 429),
        ("InternalServiceException", 500),
    ]
    assert client.describe_contact(InstanceId=INSTANCE, ContactId="c-1")["Contact"]["Id"] == "c-1"
    assert connect.received == ["DescribeContact c-1"] * 4


def test_boto3_recognises_the_throttle_and_retries(connect: ConnectSimulator) -> None:
    connect.put_contact(CONTACT)
    connect.fail_next("DescribeContact")
    client = make_connect_client(connect.url, attempts=2)
    assert client.describe_contact(InstanceId=INSTANCE, ContactId="c-1")["Contact"]["Id"] == "c-1"
    client.close()
    assert len(connect.received) == 2


def test_hanging_and_stopping(connect: ConnectSimulator, client: "ConnectClient") -> None:
    impatient = make_connect_client(connect.url, patience=0.5)
    connect.put_contact(CONTACT)
    connect.hang_next("DescribeContact")
    with pytest.raises(ReadTimeoutError):
        impatient.describe_contact(InstanceId=INSTANCE, ContactId="c-1")
    impatient.close()
    assert client.describe_contact(InstanceId=INSTANCE, ContactId="c-1")["Contact"]["Id"] == "c-1"
    connect.stop()
    connect.stop()
    with pytest.raises(EndpointConnectionError):
        client.describe_contact(InstanceId=INSTANCE, ContactId="c-1")
    connect.start()
    assert client.describe_contact(InstanceId=INSTANCE, ContactId="c-1")["Contact"]["Id"] == "c-1"


def test_only_known_operations_can_fail(connect: ConnectSimulator) -> None:
    with pytest.raises(ValueError, match="DescribeContacts"):
        connect.fail_next("DescribeContacts")
    with pytest.raises(ValueError, match="DescribeContacts"):
        connect.hang_next("DescribeContacts")
