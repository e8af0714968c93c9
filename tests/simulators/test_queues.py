"""The local stack's queues, as the function finds them."""

import json
import os
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.simulators.conftest import NOW
from tools.local.gateway import Fault
from tools.local.local_stack import REGION, LocalStack
from tools.local.ministack import MiniStack


def function_client() -> Any:
    return boto3.client("sqs", region_name=REGION)


def test_the_environment_leads_to_the_queues_through_the_gateway(stack: LocalStack) -> None:
    sqs = function_client()
    sqs.send_message(QueueUrl=os.environ["CONTACT_QUEUE_URL"], MessageBody="a contact")
    sqs.send_message(QueueUrl=os.environ["DEAD_LETTER_QUEUE_URL"], MessageBody="a letter")
    assert (stack.queue.bodies, stack.dead_letters.bodies) == (["a contact"], ["a letter"])
    assert stack.gateway.calls == ["SendMessage"] * 2
    stack.gateway.fail("SendMessage", Fault.ERROR)
    with pytest.raises(ClientError):
        sqs.send_message(QueueUrl=os.environ["CONTACT_QUEUE_URL"], MessageBody="another")
    assert stack.queue.bodies == ["a contact"]


def test_the_contact_queue_is_as_deployed(stack: LocalStack) -> None:
    told = stack.sqs.get_queue_attributes(QueueUrl=stack.queue.url, AttributeNames=["All"])["Attributes"]
    assert [told[name] for name in ("DelaySeconds", "VisibilityTimeout", "MessageRetentionPeriod")] == [
        "90",
        "360",
        "1209600",
    ]
    assert json.loads(told["RedrivePolicy"]) == {
        "deadLetterTargetArn": stack.dead_letters.arn,
        "maxReceiveCount": 1000,
    }


def test_the_queues_go_by_the_clock_that_is_handed_in(ministack: MiniStack) -> None:
    moments = [NOW]
    with LocalStack(ministack=ministack, table="by-hand", clock=lambda: moments[-1]) as stack:
        stack.queue.send("a contact")
        assert "Messages" not in stack.sqs.receive_message(QueueUrl=stack.queue.url, WaitTimeSeconds=20)
        moments.append(NOW + timedelta(seconds=90))
        assert len(stack.sqs.receive_message(QueueUrl=stack.queue.url)["Messages"]) == 1
