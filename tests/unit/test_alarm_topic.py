"""The edge to SNS."""

from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from voicecall_sync.alarm_topic import AlarmTopic
from voicecall_sync.errors import TopicUnavailable

ARN = "arn:aws:sns:eu-central-1:111122223333:alarms"
DENIED = ClientError({"Error": {"Code": "AuthorizationError", "Message": "user@example.com"}}, "Publish")


def test_a_long_subject_is_cut_off() -> None:
    """SNS takes less than 100 characters; a stack's name alone may have 128."""
    client = Mock()
    AlarmTopic(lambda: client, ARN).publish("x" * 140, "text")
    assert client.publish.call_args.kwargs == {"TopicArn": ARN, "Subject": "x" * 99, "Message": "text"}


@pytest.mark.parametrize("failure", [DENIED, OSError("user@example.com")])
def test_each_failure_is_one_error_without_the_message(failure: Exception) -> None:
    client = Mock()
    client.publish.side_effect = failure
    with pytest.raises(TopicUnavailable, match=r"the alarm topic failed: (AuthorizationError|OSError)") as raised:
        AlarmTopic(lambda: client, ARN).publish("subject", "text")
    assert "user@example.com" not in str(raised.value)
