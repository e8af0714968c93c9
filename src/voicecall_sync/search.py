"""Which voice contacts ended in a window, page by page: SearchContacts, and how it is asked.

A page holds 100 contacts, and the API may be asked once in two seconds. One search goes over the whole window; only
where it would come near the 10,000 results after which a search ends is the window split in two.

A call that was handed on (transferred, moved to another queue, turned into a callback) leaves a contact behind that
was never connected to an agent either. It is known by its successor, which names it as PreviousContactId.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from voicecall_sync.contact import FoundContact, from_hit, previous_contact_id
from voicecall_sync.reconcile_request import Scope, Window

PAGE = 100
MOST_HITS = 9_500
"""Near the 10,000 at which a search ends."""
WIDEST = timedelta(days=45)
"""How wide one search may be; the console ends at eight weeks."""
NARROWEST = timedelta(seconds=4)
"""What is not split any further."""
SUCCESSOR_BEFORE = timedelta(hours=2)
"""How long before its predecessor's end a successor may have begun."""
SUCCESSOR_AFTER = timedelta(days=7)
"""How long after it: up to now, in other words, but for windows long past. Where there are more successors than one
search gives, only as long as the parts are wide into which the window is split."""

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
        found: The contacts in the scope, in the window, and not handed on.
        handed_on: How many were dropped because their call went on as another contact.
        done_until: With this page, all contacts are known that ended before this moment.
        in_order: This page and all before it came in the order in which their contacts ended.
        to_come: How many hits the search still has, the scope's or not; 0 where it does not say.
    """

    found: tuple[FoundContact, ...]
    handed_on: int
    done_until: datetime
    in_order: bool
    to_come: int


@dataclass(frozen=True, slots=True)
class _Answer:
    """One page as the API gives it; the attributes it shares with Page mean the same."""

    window: Window
    hits: Sequence[Mapping[str, object]]
    to_come: int
    last: bool


class _TooManyError(Exception):
    """More results than one search gives.

    Attributes:
        total: How many, as far as known.
    """

    def __init__(self, total: int) -> None:
        super().__init__("more results than one search gives")
        self.total = total


class ContactSearch:
    """Searches one instance's contacts.

    Args:
        ask: Gets a page; see ``Connect.search_page``. What it raises passes through.
        most_hits: How many results one search may have.
    """

    def __init__(self, ask: Callable[[Mapping[str, object]], Mapping[str, Any]], most_hits: int = MOST_HITS) -> None:
        self._ask = ask
        self._most_hits = most_hits

    def pages(self, window: Window, scope: Scope, now: datetime) -> Iterator[Page]:
        """Find the contacts of a scope that ended in a window, those first that ended first."""
        todo = [(window, SUCCESSOR_AFTER)]
        while todo:
            part, after = todo.pop()
            try:
                handed_on = frozenset[str]() if scope is Scope.ALL else self._handed_on(part, after, now)
            except _TooManyError:
                todo += [(half, max(SUCCESSOR_BEFORE, half.end - half.start)) for half in reversed(part.halves())]
                continue
            yield from self._ended(part, scope, handed_on)

    def _handed_on(self, window: Window, after: timedelta, now: datetime) -> frozenset[str]:
        """Return the contacts whose calls went on, as far as those that ended in the window may be among them.

        Raises:
            _TooManyError: The window has to be split, lest all of a run's time goes by before its first contact.
        """
        span = Window(window.start - SUCCESSOR_BEFORE, min(now, window.end + after))
        pages = self._answers if window.end - window.start > SUCCESSOR_BEFORE else self._all_answers
        answers = pages(_BEGAN, span, {"InitiationMethods": list(_SUCCESSORS)})
        return frozenset(filter(None, (previous_contact_id(hit) for answer in answers for hit in answer.hits)))

    def _ended(self, window: Window, scope: Scope, handed_on: frozenset[str]) -> Iterator[Page]:
        criteria = {} if scope is Scope.ALL else {"AdditionalTimeRange": _NEVER_CONNECTED}
        reached, part = window.start, None
        in_order = True  # asked for, and not promised anywhere
        for answer in self._all_answers(_ENDED, window, criteria):
            if answer.window is not part:
                part, in_order, reached = answer.window, True, answer.window.start
            contacts = [contact for contact in map(from_hit, answer.hits) if contact is not None]
            ends = [contact.disconnected_at for contact in contacts]
            in_order = in_order and ends == sorted(ends) and (not ends or ends[0] >= reached)
            reached = ends[-1] if in_order and ends else reached
            wanted = [contact for contact in contacts if scope.takes(contact)]
            missed = tuple(contact for contact in wanted if contact.contact_id not in handed_on)
            done_until = part.end if answer.last else reached if in_order else part.start
            yield Page(missed, len(wanted) - len(missed), done_until, in_order, answer.to_come)

    def _all_answers(self, time: str, window: Window, criteria: Mapping[str, object]) -> Iterator[_Answer]:
        """Ask page after page, in as many searches as it takes."""
        todo = [window]
        total = seen = 0
        while todo:
            part = todo.pop()
            try:
                for answer in self._answers(time, part, criteria):
                    seen += len(answer.hits)
                    yield replace(answer, to_come=max(answer.to_come, total - seen))
            except _TooManyError as too_many:
                total = max(total, too_many.total)
                todo += reversed(part.halves())

    def _answers(self, time: str, window: Window, criteria: Mapping[str, object]) -> Iterator[_Answer]:
        """Ask page after page, in one search.

        Raises:
            _TooManyError: The window has to be split: before the first page where the API says how many there are,
                else when so many have come.
        """
        splittable = window.end - window.start > NARROWEST
        if splittable and window.end - window.start > WIDEST:
            raise _TooManyError(0)
        request: dict[str, object] = {
            "TimeRange": {"Type": time, "StartTime": window.start, "EndTime": window.end},
            "SearchCriteria": {"Channels": ["VOICE"], **criteria},
            "Sort": {"FieldName": time, "Order": "ASCENDING"},
            "MaxResults": PAGE,
        }
        seen = 0
        while True:
            answer = self._ask(request)
            hits, total, token = answer.get("Contacts") or [], answer.get("TotalCount") or 0, answer.get("NextToken")
            if splittable and (total > self._most_hits or seen + len(hits) > self._most_hits):
                raise _TooManyError(total)
            seen += len(hits)
            yield _Answer(window, hits, max(0, total - seen) if token else 0, last=not token)
            if not token:
                return
            request["NextToken"] = token
