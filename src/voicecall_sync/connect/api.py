"""Connect's API: the contact, the names of its queue and agent, and one page of a search.

DescribeContact has no queue name and no agent user name: two further requests look them up. An account may make ten
DescribeContact requests a second in a Region, but only two of DescribeQueue or DescribeUser. So names are kept for an
hour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from voicecall_sync.clock import Clock
from voicecall_sync.connect.described import agent_id, from_described, queue_id
from voicecall_sync.contact import Contact
from voicecall_sync.errors import ConnectUnavailable, SearchRefused, aws_reason, failing_as
from voicecall_sync.outcome import Source

if TYPE_CHECKING:
    from types_boto3_connect import ConnectClient

NAMES_KEPT = timedelta(hours=1)
MOST_NAMES = 5000
_REFUSED = frozenset({"InvalidParameterException", "InvalidRequestException"})
# A later request gets the same answer: the queue or agent was deleted, or its kind has no description.
_NO_SUCH_NAME = frozenset({"ResourceNotFoundException", "InvalidParameterException", "InvalidRequestException"})


class Connect:
    """One Amazon Connect instance.

    Args:
        new_client: Gives the client, always the same one. Making it takes over 50 ms, so the first request does it.
        instance_id: The instance.
        clock: Tells how old the names are.
    """

    def __init__(self, new_client: Callable[[], ConnectClient], instance_id: str, clock: Clock) -> None:
        self._client = new_client
        self._instance_id = instance_id
        self._clock = clock
        self._names: dict[tuple[str, str], tuple[datetime, str | None]] = {}

    def finished_contact(self, contact_id: str, source: Source) -> Contact:
        """Describe a contact, with the names of its queue and agent.

        Args:
            contact_id: The contact.
            source: The source of the request for an update.

        Raises:
            ConnectUnavailable: Connect failed, or does not know the contact. A deleted queue or agent is not an error.
            NotFinishedYet: The contact is not finished.
            NotOurs: It is not a voice contact.
            InvalidInput: The description is not that of a contact.
        """
        with failing_as(_unavailable("DescribeContact")):
            described = self._describe(contact_id)
        contact = from_described(described, source)
        if contact.contact_id != contact_id:
            raise ConnectUnavailable("Amazon Connect described another contact than the one asked for")
        of_queue, of_agent = queue_id(described), agent_id(described)
        queue = self._name("DescribeQueue", of_queue, self._queue_name)
        agent = self._name("DescribeUser", of_agent, self._agent_name)
        looked_up = (("queue", of_queue, queue), ("agent", of_agent, agent))
        gone = tuple(kind for kind, key, name in looked_up if key is not None and name is None)
        return replace(contact, queue=queue, agent=agent, names_gone=gone)

    def search_page(self, request: Mapping[str, object]) -> Mapping[str, Any]:
        """Return one page of SearchContacts.

        Raises:
            SearchRefused: Connect refused the search's filters.
            ConnectUnavailable: Connect failed.
        """
        arguments: dict[str, Any] = {**request, "InstanceId": self._instance_id}
        with failing_as(_unavailable("SearchContacts")):
            return self._client().search_contacts(**arguments)

    def _describe(self, contact_id: str) -> Mapping[str, Any]:
        answer = self._client().describe_contact(InstanceId=self._instance_id, ContactId=contact_id)
        return answer["Contact"]

    def _queue_name(self, queue: str) -> str | None:
        return self._client().describe_queue(InstanceId=self._instance_id, QueueId=queue)["Queue"].get("Name")

    def _agent_name(self, agent: str) -> str | None:
        return self._client().describe_user(InstanceId=self._instance_id, UserId=agent)["User"].get("Username")

    def _name(self, operation: str, key: str | None, look_up: Callable[[str], str | None]) -> str | None:
        """Return a name, from the cache if it is there; None if the queue or agent was deleted.

        There is one PATCH, and a name that it lacks is never added. So after a throttled look-up the contact waits, and
        its message comes back.
        """
        if key is None:
            return None
        now = self._clock.now()
        known = self._names.get((operation, key))
        if known is not None and timedelta(0) <= now - known[0] < NAMES_KEPT:
            return known[1]
        with failing_as(_unavailable(operation)):
            name = _unless_gone(look_up, key)
        if len(self._names) >= MOST_NAMES:
            self._names.clear()
        self._names[operation, key] = (now, name)
        return name


def _unless_gone(look_up: Callable[[str], str | None], key: str) -> str | None:
    try:
        return look_up(key)
    except Exception as failure:
        if aws_reason(failure) in _NO_SUCH_NAME:
            return None
        raise


def _unavailable(operation: str) -> Callable[[Exception], ConnectUnavailable]:
    def unavailable(failure: Exception) -> ConnectUnavailable:
        reason = aws_reason(failure)
        refused = operation == "SearchContacts" and reason in _REFUSED
        return (SearchRefused if refused else ConnectUnavailable)(f"Amazon Connect failed at {operation}: {reason}")

    return unavailable
