"""Connect's API: the contact, the names of its queue and agent, and one page of a search.

DescribeContact may be called 10 times a second, DescribeQueue and DescribeUser twice, per account and Region; so names
are kept for an hour. DescribeContact has no queue name and no agent user name, hence the two further calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from voicecall_sync.clock import Clock
from voicecall_sync.connect.described import agent_id, from_described, queue_id
from voicecall_sync.contact import Contact
from voicecall_sync.errors import ConnectUnavailable, SearchRefused, aws_reason
from voicecall_sync.outcome import Source

if TYPE_CHECKING:
    from types_boto3_connect import ConnectClient

NAMES_KEPT = timedelta(hours=1)
MOST_NAMES = 5000
# What no later try would change: the queue or the agent was deleted, or is of a kind that has no description.
_REFUSED = frozenset({"InvalidParameterException", "InvalidRequestException"})
_NO_SUCH_NAME = frozenset({"ResourceNotFoundException", "InvalidParameterException", "InvalidRequestException"})


T = TypeVar("T")


class Connect:
    """One Amazon Connect instance.

    Args:
        new_client: Gives the client, always the same. Called when it is first needed: making it costs 50 ms and more.
        instance_id: The instance.
        clock: Ages the names.
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
            source: Who asked for it.

        Raises:
            ConnectUnavailable: Connect failed, or does not know the contact. (Not a missing name: see below.)
            NotFinishedYet: The contact is not finished.
            NotOurs: It is no voice contact.
            InvalidInput: What Connect describes is no contact.
        """
        described = self._call("DescribeContact", lambda: self._describe(contact_id))
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
            SearchRefused: Connect refused what was asked for.
            ConnectUnavailable: Connect failed.
        """
        arguments: dict[str, Any] = {**request, "InstanceId": self._instance_id}
        try:
            return self._client().search_contacts(**arguments)
        except Exception as failure:  # noqa: BLE001 - as in _call
            refused = aws_reason(failure) in _REFUSED
            raise (SearchRefused if refused else ConnectUnavailable)(_failed("SearchContacts", failure)) from None

    def _call(self, operation: str, work: Callable[[], T]) -> T:
        try:
            return work()
        except Exception as failure:  # noqa: BLE001 - an answer that botocore cannot read makes it raise anything
            raise ConnectUnavailable(_failed(operation, failure)) from None

    def _describe(self, contact_id: str) -> Mapping[str, Any]:
        answer = self._client().describe_contact(InstanceId=self._instance_id, ContactId=contact_id)
        return answer["Contact"]

    def _queue_name(self, queue: str) -> str | None:
        return self._client().describe_queue(InstanceId=self._instance_id, QueueId=queue)["Queue"].get("Name")

    def _agent_name(self, agent: str) -> str | None:
        return self._client().describe_user(InstanceId=self._instance_id, UserId=agent)["User"].get("Username")

    def _name(self, operation: str, key: str | None, look_up: Callable[[str], str | None]) -> str | None:
        """Return a name, from the cache if it is there; None for what was deleted since.

        A throttled look-up is no reason to do without the name: there is one PATCH, so what it lacks stays lacking.
        The contact waits for the next delivery instead.
        """
        if key is None:
            return None
        now = self._clock.now()
        known = self._names.get((operation, key))
        if known is not None and timedelta(0) <= now - known[0] < NAMES_KEPT:
            return known[1]
        name = self._call(operation, lambda: _unless_gone(look_up, key))
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


def _failed(operation: str, failure: Exception) -> str:
    return f"Amazon Connect failed at {operation}: {aws_reason(failure)}"
