"""The voice contacts that ended in a step of time, page by page, from SearchContacts.

A page holds 100 contacts, and one search ends after 10,000 of them. Nothing here relies on the order of hits.

A call may go on: transferred, moved to another queue, or turned into a callback. The contact it leaves behind was never
connected to an agent either. Its successor tells: it names that contact as PreviousContactId. The second pass decides
whether the call was missed, once it has ended.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from voicecall_sync.calls import CallRules, Successors, ended_unanswered, was_enqueued
from voicecall_sync.clock import Clock
from voicecall_sync.connect.described import from_hit
from voicecall_sync.contact import FoundContact, Scope
from voicecall_sync.errors import SearchRefused
from voicecall_sync.times import NARROWEST, Window

PAGE = 100
MOST_HITS = 9_500
"""Near the 10,000 at which a search ends."""
SUCCESSOR_BEFORE = timedelta(hours=2)
"""How long before its predecessor's end a successor may have begun."""
SUCCESSOR_AFTER = timedelta(hours=24)
"""How long after its predecessor's end a successor may begin. The second pass looks this much later."""
OVERLAP = timedelta(seconds=1)
"""A search begins this much before its step: it is not documented whether a search includes its ends."""

KNOWN_FILTERS = frozenset(
    {
        *("INBOUND", "OUTBOUND", "TRANSFER", "QUEUE_TRANSFER", "CALLBACK", "API", "WEBRTC_API", "EXTERNAL_OUTBOUND"),
        *("MONITOR", "DISCONNECT", "AGENT_REPLY", "FLOW"),
    }
)
"""The initiation methods that SearchContacts documents. It may refuse newer ones as a filter."""

_ENDED, _BEGAN = "DISCONNECT_TIMESTAMP", "INITIATION_TIMESTAMP"
_NEVER_CONNECTED = {
    "Criteria": [
        {"TimestampCondition": {"Type": "CONNECTED_TO_AGENT_TIMESTAMP", "ConditionType": "NOT_EXISTS"}},
    ],
    "MatchType": "MATCH_ALL",
}


@dataclass(frozen=True, slots=True)
class Page:
    """The contacts of one page.

    Attributes:
        found: The contacts in the scope.
        handed_on: The number of contacts left out because their call went on as another contact.
    """

    found: tuple[FoundContact, ...]
    handed_on: int


Ask = Callable[[Mapping[str, object]], Mapping[str, Any]]


class Paced:
    """Asks no more often than an account's quota allows.

    Args:
        ask: Gets a page; see ``Connect.search_page``.
        clock: Lets time pass between two requests.
        a_second: The number of requests.
    """

    def __init__(self, ask: Ask, clock: Clock, a_second: float) -> None:
        self._ask = ask
        self._clock = clock
        self._pause = 1 / a_second
        self._asked_before = False

    def __call__(self, request: Mapping[str, object]) -> Mapping[str, Any]:
        """Ask for a page, after a pause if it is not the first one."""
        if self._asked_before:
            self._clock.sleep(self._pause)
        self._asked_before = True
        return self._ask(request)


class TooManyHitsError(Exception):
    """A step has more contacts than one search gives: it must be halved."""


class ContactSearch:
    """Searches one instance's contacts.

    Attributes:
        not_searched: Methods that Connect refused as a filter.

    Args:
        ask: Gets a page; see ``Connect.search_page``. Its errors pass through.
        rules: They say which contacts are calls.
        most_hits: The number of results that one search may have.
    """

    def __init__(self, ask: Ask, rules: CallRules, most_hits: int = MOST_HITS) -> None:
        self._ask = ask
        self._rules = rules
        self._methods = rules.searched()
        self.not_searched: set[str] = set()
        self._most_hits = most_hits

    def pages(self, step: Window, scope: Scope, now: datetime, *, chains: bool) -> Iterator[Page]:
        """Find the contacts of a scope that ended in a step.

        Args:
            step: The step.
            scope: The scope.
            now: The time of day: no successor can have begun later.
            chains: Also decide about calls that went on, which have ended by now.

        Raises:
            TooManyHitsError: One search does not give all of them. Pages may have come before.
        """
        successors: Successors = {} if scope is Scope.ALL else self._successors(step, now)
        missed = {} if scope is Scope.ALL else {"AdditionalTimeRange": _NEVER_CONNECTED}
        for hits in self._of_methods(Window(step.start - OVERLAP, step.end), missed):
            ended = [one for one in hits if one.disconnected_at is not None and self._rules.lists(one.method)]
            wanted = [one for one in ended if scope.takes(one, enqueued=was_enqueued(one, successors))]
            missed_or_all = [
                one
                for one in wanted
                if one.contact_id not in successors or (chains and ended_unanswered(one, successors, self._rules))
            ]
            yield Page(tuple(missed_or_all), len(wanted) - len(missed_or_all))

    def _of_methods(self, part: Window, criteria: Mapping[str, object]) -> Iterator[Sequence[FoundContact]]:
        """Search for contacts of the methods that count, except methods that Connect refuses as a filter."""
        pages = self._hits(_ENDED, part, {"InitiationMethods": self._methods, **criteria})
        try:
            yield next(pages)
        except SearchRefused:
            known = [method for method in self._methods if method in KNOWN_FILTERS]
            if not known or known == self._methods:
                raise
            pages = self._hits(_ENDED, part, {"InitiationMethods": known, **criteria})
            yield next(pages)  # if Connect refuses this too, the methods were not the reason
            self.not_searched |= set(self._methods) - set(known)
            self._methods = known
        yield from pages

    def _successors(self, step: Window, now: datetime) -> Successors:
        """Return possible successors of the contacts that ended in the step, by the id of their predecessor."""
        by_previous: defaultdict[str, dict[str, FoundContact]] = defaultdict(dict)
        todo = [Window(step.start - SUCCESSOR_BEFORE, min(now, step.end + SUCCESSOR_AFTER))]
        while todo:
            part = todo.pop()
            try:
                for hits in self._hits(_BEGAN, part, {}):
                    for one in hits:
                        if one.previous is not None:
                            by_previous[one.previous][one.contact_id] = one
            except TooManyHitsError:
                todo += part.halves()
        return {previous: list(legs.values()) for previous, legs in by_previous.items()}

    def _hits(self, time: str, part: Window, criteria: Mapping[str, object]) -> Iterator[Sequence[FoundContact]]:
        """Ask page after page, in one search.

        Raises:
            TooManyHitsError: Before the first page if the API gives a total, else once so many have come.
        """
        divisible = part.end - part.start > NARROWEST + OVERLAP
        request: dict[str, object] = {
            "TimeRange": {"Type": time, "StartTime": part.start, "EndTime": part.end},
            "SearchCriteria": {"Channels": ["VOICE"], **criteria},
            # So that pages keep their places while one search is read. The order itself is not relied on.
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
            yield [contact for contact in map(from_hit, hits) if contact is not None]
            if not token:
                return
            request["NextToken"] = token
