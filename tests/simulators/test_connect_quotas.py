from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from tests.simulators.conftest import INSTANCE, make_connect_client
from tests.support.contacts import STARTED, described
from tools.local.connect import ConnectSimulator

if TYPE_CHECKING:
    from types_boto3_connect import ConnectClient

CALLS: dict[str, "Callable[[ConnectClient], object]"] = {
    "DescribeContact": lambda client: client.describe_contact(InstanceId=INSTANCE, ContactId="c-1"),
    "SearchContacts": lambda client: client.search_contacts(
        InstanceId=INSTANCE,
        TimeRange={
            "Type": "INITIATION_TIMESTAMP",
            "StartTime": STARTED,
            "EndTime": STARTED + timedelta(hours=1),
        },
    ),
    "DescribeQueue": lambda client: client.describe_queue(InstanceId=INSTANCE, QueueId="q-1"),
    "DescribeUser": lambda client: client.describe_user(InstanceId=INSTANCE, UserId="u-1"),
}


class Seconds:
    """A monotonic clock that stands where it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def connect(seconds: Seconds) -> Iterator[ConnectSimulator]:
    with ConnectSimulator(instance_id=INSTANCE, monotonic=seconds) as simulator:
        simulator.put_contact(described("c-1"))
        simulator.put_queue("q-1", "Support")
        simulator.put_user("u-1", "jane")
        yield simulator


@pytest.fixture
def client(connect: ConnectSimulator) -> Iterator["ConnectClient"]:
    with closing(make_connect_client(connect.url)) as made:
        yield made


def answered(client: "ConnectClient", operation: str, calls: int) -> int:
    """How many of the calls were answered; the others were throttled."""
    count = 0
    for _ in range(calls):
        try:
            CALLS[operation](client)
        except ClientError as error:
            if error.response["Error"]["Code"] != "TooManyRequestsException":
                raise
        else:
            count += 1
    return count


@pytest.mark.parametrize(
    ("operation", "factor", "burst", "per_ten_seconds"),
    [
        ("DescribeContact", 1.0, 15, 15),  # a hundred, but the bucket holds fifteen
        ("SearchContacts", 1.0, 1, 1),
        ("DescribeQueue", 1.0, 5, 5),
        ("DescribeUser", 1.0, 5, 5),
        ("SearchContacts", 10.0, 10, 10),
        ("DescribeContact", 0.02, 1, 1),
        ("DescribeContact", 0.1, 1, 1),  # a burst of one and a half is one
        ("DescribeUser", 0.01, 1, 0),
    ],
)
def test_bursts(
    connect: ConnectSimulator,
    client: "ConnectClient",
    seconds: Seconds,
    operation: str,
    factor: float,
    burst: int,
    per_ten_seconds: int,
) -> None:
    connect.quotas(factor)
    assert answered(client, operation, burst + 2) == burst
    assert connect.throttled == {operation: 2}
    seconds.now += 10
    assert answered(client, operation, per_ten_seconds + 1) == per_ten_seconds
    assert connect.throttled[operation] == 3


@pytest.mark.parametrize(
    ("operation", "pause"),
    [("DescribeContact", 0.1), ("SearchContacts", 2.0), ("DescribeQueue", 0.5), ("DescribeUser", 0.5)],
)
def test_rates(
    connect: ConnectSimulator, client: "ConnectClient", seconds: Seconds, operation: str, pause: float
) -> None:
    connect.quotas()
    answered(client, operation, 20)
    seconds.now += pause * 0.9
    assert answered(client, operation, 1) == 0
    seconds.now += pause * 0.2
    assert answered(client, operation, 2) == 1


def test_operations_do_not_share_a_bucket(connect: ConnectSimulator, client: "ConnectClient") -> None:
    connect.quotas()
    assert answered(client, "SearchContacts", 1) == 1
    with pytest.raises(client.exceptions.ClientError) as failure:
        CALLS["SearchContacts"](client)
    assert failure.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert answered(client, "DescribeQueue", 6) == 5
    assert answered(client, "DescribeUser", 5) == 5
    assert connect.throttled == {"SearchContacts": 1, "DescribeQueue": 1}
    assert connect.throttled["DescribeUser"] == 0
    assert len(connect.received) == 13, "throttled ones too"


def test_off_unless_switched_on(connect: ConnectSimulator, client: "ConnectClient") -> None:
    assert answered(client, "SearchContacts", 5) == 5
    connect.quotas()
    assert answered(client, "SearchContacts", 5) == 1
    connect.quotas(None)
    assert answered(client, "SearchContacts", 5) == 5
    assert connect.throttled == {"SearchContacts": 4}


def test_on_from_the_start() -> None:
    with (
        ConnectSimulator(instance_id=INSTANCE, quota_factor=2.0, monotonic=lambda: 0.0) as connect,
        closing(make_connect_client(connect.url)) as client,
    ):
        assert answered(client, "SearchContacts", 3) == 2
        assert connect.throttled == {"SearchContacts": 1}


def test_a_failure_waits_for_a_call_within_the_quota(
    connect: ConnectSimulator, client: "ConnectClient", seconds: Seconds
) -> None:
    connect.quotas()
    assert answered(client, "SearchContacts", 1) == 1
    connect.fail_next("SearchContacts", "InternalServiceException", 500)
    assert answered(client, "SearchContacts", 1) == 0
    seconds.now += 2
    with pytest.raises(client.exceptions.InternalServiceException):
        CALLS["SearchContacts"](client)


@pytest.mark.parametrize("factor", [0.0, -1.0])
def test_a_factor_is_above_zero(connect: ConnectSimulator, factor: float) -> None:
    with pytest.raises(ValueError, match="factor"):
        connect.quotas(factor)
