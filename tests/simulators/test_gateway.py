from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from tests.simulators.conftest import INSTANCE, make_connect_client
from tests.support.contacts import STARTED, described
from tools.local.connect import ConnectSimulator
from tools.local.gateway import AwsGateway, Fault

if TYPE_CHECKING:
    from types_boto3_connect import ConnectClient


@pytest.fixture
def connect() -> Iterator[ConnectSimulator]:
    with ConnectSimulator(instance_id=INSTANCE) as simulator:
        simulator.put_contact(described("c-1"))
        yield simulator


@pytest.fixture
def gateway(connect: ConnectSimulator) -> Iterator[AwsGateway]:
    with AwsGateway(aws="http://127.0.0.1:9", connect=connect.url) as running:
        yield running


def search(client: "ConnectClient") -> list[str]:
    answer = client.search_contacts(
        InstanceId=INSTANCE,
        TimeRange={
            "Type": "INITIATION_TIMESTAMP",
            "StartTime": STARTED,
            "EndTime": STARTED + timedelta(hours=1),
        },
    )
    return [contact["Id"] for contact in answer["Contacts"]]


def test_searches_go_to_connect_under_their_name(connect: ConnectSimulator, gateway: AwsGateway) -> None:
    with closing(make_connect_client(gateway.url)) as client:
        assert search(client) == ["c-1"]
        gateway.fail("SearchContacts", Fault.ERROR, times=1)
        with pytest.raises(ClientError):
            search(client)
        assert search(client) == ["c-1"]
    assert gateway.calls == ["SearchContacts"] * 3
    assert connect.received == ["SearchContacts"] * 2
