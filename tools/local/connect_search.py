"""The search of SearchContacts: an index of contacts that may lag behind them, and the pages of a search.

Where Amazon's documentation leaves a question open, this is the answer here:

    range     StartTime is in it, EndTime is not; it may be eight weeks wide, an additional one too
    order     by the timestamp of TimeRange, latest first, if the request has no Sort. Contacts of the same moment
              by Id; contacts without the timestamp that is sorted by come last, in any order
    page      ten contacts, if the request has no MaxResults
    paging    the pages of one search show what was found when its first page was asked for. A NextToken can be
              used again, with another MaxResults too, but not with another search
    criteria  each must hold; an empty list holds for every contact

A timestamp of 1970, Connect's way to write "never happened", counts as absent.
"""

import heapq
import json
import secrets
import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from tools.local import connect_shapes
from tools.local.messages import Clock

_LIVE_TOKENS = 200
"""So many tokens are remembered; older ones are refused."""
_DEFAULT_PAGE = 10
_WIDEST_RANGE = timedelta(weeks=8).total_seconds()
_FIRST_REAL_TIME = 31_536_000  # 1971 begins
_TIMES: Mapping[str, tuple[str, ...]] = {
    "INITIATION_TIMESTAMP": ("InitiationTimestamp",),
    "SCHEDULED_TIMESTAMP": ("ScheduledTimestamp",),
    "CONNECTED_TO_AGENT_TIMESTAMP": ("AgentInfo", "ConnectedToAgentTimestamp"),
    "DISCONNECT_TIMESTAMP": ("DisconnectTimestamp",),
    "ENQUEUE_TIMESTAMP": ("QueueInfo", "EnqueueTimestamp"),
}
_LISTS: Mapping[str, tuple[str, ...]] = {
    "Channels": ("Channel",),
    "InitiationMethods": ("InitiationMethod",),
}


class InvalidSearchError(Exception):
    """The search is refused; the message, which a client may read, says why."""


@dataclass(frozen=True, slots=True)
class _Indexed:
    """One contact as the index has it.

    Attributes:
        sequence: the place among all that was ever put; of one Id the highest counts.
        contact: as encoded for DescribeContact.
        times: its timestamps that happened, by the name SearchContacts has for them.
    """

    sequence: int
    contact: Mapping[str, object]
    times: Mapping[str, float]

    @classmethod
    def of(cls, sequence: int, contact: Mapping[str, object]) -> Self:
        read = ((name, _at(contact, path)) for name, path in _TIMES.items())
        times = {name: time for name, time in read if isinstance(time, int | float) and time >= _FIRST_REAL_TIME}
        return cls(sequence, contact, times)

    @property
    def id(self) -> str:
        return str(self.contact["Id"])


_Condition = Callable[[_Indexed], bool]


@dataclass(frozen=True, slots=True)
class Search:
    """One request for a page, checked.

    Attributes:
        instance_id: as the client gave it.
        time_type, start, end: the range every hit is in, in epoch seconds.
        conditions: what else holds for a hit.
        sort_type, is_descending: the order.
        page_size: how many hits at most.
        token: where to go on; None for the first page.
        identity: equal for requests that differ in page size and token only.
    """

    instance_id: str
    time_type: str
    start: float
    end: float
    conditions: Sequence[_Condition]
    sort_type: str
    is_descending: bool
    page_size: int
    token: str | None
    identity: str

    @classmethod
    def of_body(cls, body: bytes, *, takes_new_methods: bool = True) -> Self:
        """Read the body of a request.

        Args:
            body: the request's.
            takes_new_methods: whether the newer callback methods may be searched for: whether Connect takes them is
                not documented.

        Raises:
            InvalidSearchError: the API does not take it, or it asks for something not implemented here.
        """
        try:
            request = connect_shapes.check_request("SearchContactsRequest", json.loads(body))
        except ValueError as error:
            raise InvalidSearchError(str(error)) from error
        methods = request.get("SearchCriteria", {}).get("InitiationMethods", [])
        if not takes_new_methods and connect_shapes.NEW_METHODS.intersection(methods):
            raise InvalidSearchError("SearchCriteria.InitiationMethods has a method that is not known")
        time_range = _checked_range(request["TimeRange"], "TimeRange")
        sort = request.get("Sort", {"FieldName": time_range["Type"], "Order": "DESCENDING"})
        if sort["FieldName"] not in _TIMES:
            raise InvalidSearchError(f"Sort.FieldName {sort['FieldName']} is not implemented")
        others = {name: value for name, value in request.items() if name not in {"MaxResults", "NextToken"}}
        return cls(
            instance_id=request["InstanceId"],
            time_type=time_range["Type"],
            start=time_range["StartTime"],
            end=time_range["EndTime"],
            conditions=_conditions(request.get("SearchCriteria", {})),
            sort_type=sort["FieldName"],
            is_descending=sort["Order"] == "DESCENDING",
            page_size=request.get("MaxResults", _DEFAULT_PAGE),
            token=request.get("NextToken"),
            identity=json.dumps(others, sort_keys=True),
        )

    def accepts(self, indexed: _Indexed) -> bool:
        """Return whether everything but the range holds for the contact."""
        return all(condition(indexed) for condition in self.conditions)

    def in_order(self, hits: Iterable[_Indexed]) -> list[_Indexed]:
        """Return the hits as the client wants them sorted."""
        timed: list[_Indexed] = []
        others: list[_Indexed] = []
        for one in hits:
            (timed if self.sort_type in one.times else others).append(one)
        timed.sort(key=lambda one: (one.times[self.sort_type], one.id), reverse=self.is_descending)
        return timed + others


@dataclass(frozen=True, slots=True)
class _Results:
    """What one search found: the first hits, and how many there were in all."""

    identity: str
    first: Sequence[_Indexed]
    total: int


class ContactIndex:
    """The contacts that can be found, which may be others than there are; for several threads at once."""

    def __init__(self, *, clock: Clock, result_limit: int) -> None:
        """Make an empty index.

        Args:
            clock: gives the present moment, aware; what it says decides what was indexed by now.
            result_limit: how many results of one search can be had.
        """
        self._clock = clock
        self._result_limit = result_limit
        self._lock = threading.Lock()
        self._put_so_far = 0
        self._pending: list[tuple[datetime, int, Mapping[str, object]]] = []  # a heap
        self._indexed: dict[str, _Indexed] = {}
        self._sorted: dict[str, tuple[list[float], list[_Indexed]]] = {}
        self._tokens: OrderedDict[str, tuple[_Results, int]] = OrderedDict()

    def put(self, contacts: Collection[Mapping[str, object]], lag: timedelta) -> None:
        """Let the contacts be found `lag` from now, until then as they were before, if they were.

        Args:
            contacts: as encoded for DescribeContact, each with its ``Id``; not to be changed any more.
            lag: zero for at once.
        """
        indexed_at = self._clock() + lag
        with self._lock:
            for contact in contacts:
                self._put_so_far += 1
                if lag > timedelta():
                    heapq.heappush(self._pending, (indexed_at, self._put_so_far, contact))
                else:
                    self._index(self._put_so_far, contact)

    def page(self, search: Search) -> dict[str, object]:
        """Return the answer to the search.

        Raises:
            InvalidSearchError: its token is wrong, too old, of another search, or leads beyond the limit.
        """
        now = self._clock()
        with self._lock:
            while self._pending and self._pending[0][0] <= now:
                self._index_next()
            results, offset = (self._find(search), 0) if search.token is None else self._resumed(search)
            end = min(offset + search.page_size, self._result_limit)
            answer: dict[str, object] = {"TotalCount": results.total}
            if end < results.total:
                answer["NextToken"] = self._new_token(results, end)
        hits = results.first[offset:end]
        answer["Contacts"] = [connect_shapes.project("ContactSearchSummary", hit.contact) for hit in hits]
        return answer

    def _index_next(self) -> None:
        _, sequence, contact = heapq.heappop(self._pending)
        self._index(sequence, contact)

    def _index(self, sequence: int, contact: Mapping[str, object]) -> None:
        indexed = _Indexed.of(sequence, contact)
        known = self._indexed.get(indexed.id)
        if known is None or known.sequence < sequence:
            self._indexed[indexed.id] = indexed
            self._sorted.clear()

    def _find(self, search: Search) -> _Results:
        times, contacts = self._in_order_of(search.time_type)
        in_range = contacts[bisect_left(times, search.start) : bisect_left(times, search.end)]
        hits = search.in_order(one for one in in_range if search.accepts(one))
        return _Results(search.identity, hits[: self._result_limit], len(hits))

    def _in_order_of(self, time_type: str) -> tuple[list[float], list[_Indexed]]:
        """Return the contacts that have the timestamp, sorted by it, and the timestamps; sorted once a change."""
        if time_type not in self._sorted:
            contacts = [one for one in self._indexed.values() if time_type in one.times]
            contacts.sort(key=lambda one: one.times[time_type])
            self._sorted[time_type] = ([one.times[time_type] for one in contacts], contacts)
        return self._sorted[time_type]

    def _resumed(self, search: Search) -> tuple[_Results, int]:
        known = self._tokens.get(search.token or "")
        if known is None:
            raise InvalidSearchError("NextToken is wrong or has expired")
        results, offset = known
        if results.identity != search.identity:
            raise InvalidSearchError("NextToken is of another search")
        if offset >= self._result_limit:
            raise InvalidSearchError(f"NextToken leads beyond the first {self._result_limit} results")
        return results, offset

    def _new_token(self, results: _Results, offset: int) -> str:
        token = secrets.token_urlsafe(48)
        self._tokens[token] = (results, offset)
        if len(self._tokens) > _LIVE_TOKENS:
            self._tokens.popitem(last=False)
        return token


def _at(contact: Mapping[str, object], path: Sequence[str]) -> object:
    value: object = contact
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _checked_range(time_range: dict[str, Any], path: str) -> dict[str, Any]:
    width = time_range["EndTime"] - time_range["StartTime"]
    if width < 0:
        raise InvalidSearchError(f"{path} ends before it starts")
    if width > _WIDEST_RANGE:
        raise InvalidSearchError(f"{path} is wider than eight weeks")
    return time_range


def _conditions(criteria: dict[str, Any]) -> list[_Condition]:
    conditions = []
    for name, wanted in criteria.items():
        if name in _LISTS:
            if wanted:
                conditions.append(_is_one_of(_LISTS[name], frozenset(wanted)))
        elif name == "AdditionalTimeRange":
            conditions.append(_additional(wanted))
        else:
            raise InvalidSearchError(f"SearchCriteria.{name} is not implemented")
    return conditions


def _is_one_of(path: Sequence[str], wanted: frozenset[str]) -> _Condition:
    return lambda one: _at(one.contact, path) in wanted


def _additional(additional: dict[str, Any]) -> _Condition:
    path = "SearchCriteria.AdditionalTimeRange"
    if additional["MatchType"] != "MATCH_ALL":
        raise InvalidSearchError(f"{path}.MatchType {additional['MatchType']} is not implemented")
    conditions = [_timed(one, f"{path}.Criteria[{index}]") for index, one in enumerate(additional["Criteria"])]
    if not conditions:
        raise InvalidSearchError(f"{path}.Criteria is empty")
    return lambda one: all(condition(one) for condition in conditions)


def _timed(criterion: dict[str, Any], path: str) -> _Condition:
    if len(criterion) != 1:
        raise InvalidSearchError(f"{path} needs either TimeRange or TimestampCondition")
    if "TimeRange" in criterion:
        wanted = _checked_range(criterion["TimeRange"], f"{path}.TimeRange")
        time_type, start, end = wanted["Type"], wanted["StartTime"], wanted["EndTime"]
        return lambda one: time_type in one.times and start <= one.times[time_type] < end
    absent = criterion["TimestampCondition"]["Type"]  # NOT_EXISTS is the API's only condition
    return lambda one: absent not in one.times
