"""The edge to SNS: the topic that the stack's alarms go to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from voicecall_sync.errors import TopicUnavailable, aws_reason, failing_as

if TYPE_CHECKING:
    from types_boto3_sns import SNSClient

LONGEST_SUBJECT = 99
"""SNS's Publish: printable ASCII of less than 100 characters."""


class AlarmTopic:
    """The topic that the stack's alarms go to.

    Args:
        client: Gives an SNS client; the first message asks for it.
        arn: The topic's ARN.
    """

    def __init__(self, client: Callable[[], SNSClient], arn: str) -> None:
        self._client = client
        self._arn = arn

    def publish(self, subject: str, text: str) -> None:
        """Publish one message. If SNS's answer is lost, it may be published twice.

        Args:
            subject: The subject of the e-mail, in printable ASCII; its end is cut off if it is too long.
            text: The text, of 256 KB at most.

        Raises:
            TopicUnavailable: SNS did not answer, or refused.
        """
        with failing_as(lambda failure: TopicUnavailable(f"the alarm topic failed: {aws_reason(failure)}")):
            self._client().publish(TopicArn=self._arn, Subject=subject[:LONGEST_SUBJECT], Message=text)
