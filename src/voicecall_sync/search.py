"""Which voice contacts ended in a step of time, page by page: SearchContacts, and how it is asked.

A page holds 100 contacts, and one search ends after 10,000 of them. Nothing here relies on the order of hits.

A call that was handed on (transferred, moved to another queue, turned into a callback) leaves a contact behind that
was never connected to an agent either. It is known by its successor, which names it as PreviousContactId.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from voicecall_sync.contact import FoundContact, from_hit, previous_contact_id
from voicecall_sync.positions import NARROWEST
from voicecall_sync.reconcile_request import Scope, Window

PAGE = 100
MOST_HITS = 9_500
"""Near the 10,000 at which a search ends."""
SUCCESSOR_BEFORE = timedelta(hours=2)
"""How long before its predecessor's end a successor may have begun."""
SUCCESSOR_AFTER = timedelta(hours=24)
"""How long after it; the second pass looks so much later."""
OVERLAP = timedelta(seconds=1)
"""By so much a search begins before its step: whether a search includes its ends is not documented."""

_ENDED, _BEGAN = "DISCONNECT_TIMESTAMP", "INITIATION_TIMESTAMP"
_SUCCESSORS = ("TRANSFER", "QUEUE_TRANSFER", "CALLBACK")
_NEVER_CONNECTED = {
    "Criteria": [
        {"TimestampCondition": {"Type": "CONNECTED_TO_AGENT_TIMESTAMP", "ConditionType": "NOT_EXISTS"}},
    ],
    "MatchType": "MATCH_ALL",
}


@dataclass(frozen=True, slots=True)
class Page:
    """What one page held.

    Attributes:
        found: The contacts in the scope that were not handed on.
        handed_on: How many were left out because their call went on as another contact.
    """

    found: tuple[FoundContact, ...]
    handed_on: int


class TooManyHitsError(Exception):
    """A step has more contacts than one search gives: it has to be halved."""


class ContactSearch:
    """Searches one instance's contacts.

    Args:
        ask: Gets a page; see ``Connect.search_page``. What it raises passes through.
        most_hits: How many results one search may have.
    """

    def __init__(self, ask: Callable[[Mapping[str, object]], Mapping[str, Any]], most_hits: int = MOST_HITS) -> None:
        self._ask = ask
        self._most_hits = most_hits

    def pages(self, step: Window, scope: Scope, now: datetime) -> Iterator[Page]:
        """Find the contacts of a scope that ended in a step.

        Args:
            step: The step.
            scope: Which contacts.
            now: The time of day: no successor can have begun later.

        Raises:
            TooManyHitsError: There are more than one search gives. Pages may have come before.
        """
        handed_on = frozenset[str]() if scope is Scope.ALL else self._handed_on(step, now)
        criteria = {} if scope is Scope.ALL else {"AdditionalTimeRange": _NEVER_CONNECTED}
        for hits in self._hits(_ENDED, Window(step.start - OVERLAP, step.end), criteria):
            wanted = [found for found in map(from_hit, hits) if found is not None and scope.takes(found)]
            missed = tuple(found for found in wanted if found.contact_id not in handed_on)
            yield Page(missed, len(wanted) - len(missed))

    def _handed_on(self, step: Window, now: datetime) -> frozenset[str]:
        """Return the contacts whose calls went on, as far as those that ended in the step may be among them."""
        found: set[str] = set()
        todo = [Window(step.start - SUCCESSOR_BEFORE, min(now, step.end + SUCCESSOR_AFTER))]
        while todo:
            part = todo.pop()
            try:
                for hits in self._hits(_BEGAN, part, {"InitiationMethods": list(_SUCCESSORS)}):
                    found.update(filter(None, map(previous_contact_id, hits)))
            except TooManyHitsError:
                todo += part.halves()
        return frozenset(found)

    def _hits(
        self, time: str, part: Window, criteria: Mapping[str, object]
    ) -> Iterator[Sequence[Mapping[str, object]]]:
        """Ask page after page, in one search.

        Raises:
            TooManyHitsError: Before the first page where the API says how many there are, else when so many have come.
        """
        divisible = part.end - part.start > NARROWEST + OVERLAP
        request: dict[str, object] = {
            "TimeRange": {"Type": time, "StartTime": part.start, "EndTime": part.end},
            "SearchCriteria": {"Channels": ["VOICE"], **criteria},
            # Not relied on; so that pages keep their places while one search is read.
            "Sort": {"FieldName": time, "Order": "ASCENDING"},
            "MaxResults": PAGE,
        }
        seen = 0
        while True:
            answer = self._ask(request)
            hits, total, token = answer.get("Contacts") or [], answer.get("TotalCount") or 0, answer.get("NextToken")
            seen += len(hits)
            if divisible and max(total, seen) > self._most_hits:
                raise TooManyHitsError
            yield hits
            if not token:
                return
            request["NextToken"] = token
