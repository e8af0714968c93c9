"""The gateway's faults, seen from both sides: what a client meets, and what the server behind was asked."""

import pytest
import requests

from tools.local.gateway import AwsGateway, Fault
from tools.local.loopback import Connection, LoopbackServer
from tools.local.messages import Reply, utc_now

SOON, LONG = 0.5, 30.0


def met(gateway: AwsGateway, seconds: float) -> int | str:
    """The status of the answer, or what came instead."""
    headers = {"X-Amz-Target": "DynamoDB_20120810.GetItem"}
    try:
        return requests.post(gateway.url, "{}", headers=headers, timeout=seconds).status_code
    except requests.ReadTimeout:
        return "no answer"
    except requests.ConnectionError:
        return "reset"


@pytest.mark.parametrize(
    ("fault", "seconds", "meets", "effects"),
    [
        (Fault.REFUSED, LONG, "reset", 0),
        (Fault.ERROR, LONG, 500, 0),
        (Fault.LOST, LONG, "reset", 1),
        (Fault.HANG, SOON, "no answer", 0),
        (Fault.LATE_HANG, SOON, "no answer", 1),
    ],
)
def test_each_fault_is_what_it_says(fault: Fault, seconds: float, meets: int | str, effects: int) -> None:
    asked: list[str] = []

    def serve(connection: Connection) -> bool:
        asked.append(connection.read_request().target)
        connection.answer(Reply.of_json(200, {}))
        return True

    behind = LoopbackServer(serve, clock=utc_now)
    behind.start()
    try:
        with AwsGateway(aws=behind.url) as gateway:
            gateway.fail("GetItem", fault, times=1)
            assert met(gateway, seconds) == meets
            gateway.wait_for(lambda one: one.under_way == 0)
            assert len(asked) == effects
            assert met(gateway, LONG) == 200
            assert len(asked) == effects + 1
    finally:
        behind.stop()
