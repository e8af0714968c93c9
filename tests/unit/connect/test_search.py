"""Steps of a search: every contact is found, for any order of the index. With the Connect simulator, and by hand."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulators.conftest import INSTANCE, make_connect_client
from tests.support.contacts import new_id
from tests.support.missed import MINUTES, answered, ended, in_the_flow
from tools.local.connect import ConnectSimulator
from voicecall_sync.calls import METHODS, CallRules
from voicecall_sync.connect.search import (
    OVERLAP,
    PAGE,
    SUCCESSOR_AFTER,
    SUCCESSOR_BEFORE,
    ContactSearch,
    Page,
    TooManyHitsError,
)
from voicecall_sync.contact import Scope
from voicecall_sync.errors import ConnectUnavailable, SearchRefused, aws_reason
from voicecall_sync.reconciliation.positions import Position
from voicecall_sync.times import NARROWEST, Window

Asked = list[dict[str, Any]]
RULES = CallRules(frozenset(METHODS), "NoVoiceCallSync", "vm_flag")
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def connect() -> Iterator[ConnectSimulator]:
    with ConnectSimulator(instance_id=INSTANCE, result_limit=200) as simulator:
        yield simulator


@pytest.fixture
def asked() -> Asked:
    return []


@pytest.fixture
def search(connect: ConnectSimulator, asked: Asked) -> ContactSearch:
    client = make_connect_client(connect.url)

    def ask(request: Any) -> Any:
        asked.append(dict(request))
        try:
            return client.search_contacts(InstanceId=INSTANCE, **request)
        except ClientError as refused:
            raise SearchRefused(aws_reason(refused)) from None

    return ContactSearch(ask, RULES, most_hits=190)


def last(**span: float) -> Window:
    now = datetime.now(UTC)
    return Window(now - timedelta(**span), now)


def pages_of(search: ContactSearch, step: Window, scope: Scope = Scope.ALL, *, chains: bool = False) -> list[Page]:
    return list(search.pages(step, scope, datetime.now(UTC), chains=chains))


def walk(search: ContactSearch, window: Window, scope: Scope = Scope.ALL, now: datetime | None = None) -> list[Page]:
    """The pages of all steps of a window. A step with too many contacts is halved, as by the reconciliation."""
    pages: list[Page] = []
    walked = Position(window.start, scope, window.end)
    while (step := walked.next_step(window.end)) is not None:
        try:
            pages += search.pages(step, scope, now or datetime.now(UTC), chains=False)
            walked = walked.done(step, window.end)
        except TooManyHitsError:
            walked = walked.halved(step)
    return pages


def found(pages: Sequence[Page]) -> set[str]:
    return {contact.contact_id for page in pages for contact in page.found}


def spans(asked: Asked, kind: str) -> list[tuple[datetime, datetime]]:
    """The spans of time that the requests were for, of those by when contacts ended, or began."""
    ranges = [request["TimeRange"] for request in asked]
    return [(one["StartTime"], one["EndTime"]) for one in ranges if one["Type"] == kind]


def put(connect: ConnectSimulator, *contacts: dict[str, Any]) -> set[str]:
    connect.put_contacts(contacts)
    return {contact["Id"] for contact in contacts}


def successor(of: dict[str, Any], began: datetime, method: str = "TRANSFER") -> dict[str, Any]:
    """The contact on which another one's call went on; an agent answered it."""
    return answered(1, InitiationMethod=method, PreviousContactId=of["Id"], InitiationTimestamp=began)


# --- more than one search gives --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "total_count"), [(Scope.ALL, "given"), (Scope.ALL, "left out"), (Scope.ABANDONED, "left out")]
)
def test_a_step_with_too_many_contacts_is_halved(
    connect: ConnectSimulator, search: ContactSearch, asked: Asked, scope: Scope, total_count: str
) -> None:
    connect.gives_total_count = total_count == "given"
    # Crowded at one end: halves are not halves of the contacts.
    ids = put(connect, *(ended(5 + 100 * (number / 400) ** 2) for number in range(400)))
    pages = walk(search, last(hours=4), scope)
    assert found(pages) == ids
    assert all(len(page.found) <= PAGE for page in pages)
    # A request that found too much had no page to give, and there are few of them.
    assert len(spans(asked, "DISCONNECT_TIMESTAMP")) - len(pages) < 10


def test_with_a_count_too_many_are_noticed_before_any_page(
    connect: ConnectSimulator, search: ContactSearch, asked: Asked
) -> None:
    put(connect, *(ended(1 + number / 10) for number in range(191)))
    with pytest.raises(TooManyHitsError):
        next(search.pages(last(hours=1), Scope.ALL, datetime.now(UTC), chains=False))
    assert len(asked) == 1


def test_without_a_count_pages_come_until_too_many(connect: ConnectSimulator, search: ContactSearch) -> None:
    connect.gives_total_count = False
    put(connect, *(ended(1 + number / 10) for number in range(191)))
    pages: list[Page] = []
    with pytest.raises(TooManyHitsError):
        pages.extend(search.pages(last(hours=1), Scope.ALL, datetime.now(UTC), chains=False))
    assert len(found(pages)) == 100


@pytest.mark.parametrize("total_count", ["given", "left out"])
def test_as_many_as_one_search_gives_are_taken(
    connect: ConnectSimulator, search: ContactSearch, total_count: str
) -> None:
    connect.gives_total_count = total_count == "given"
    ids = put(connect, *(ended(1 + number / 10) for number in range(190)))
    assert found(pages_of(search, last(hours=1))) == ids


def test_few_results_take_one_search(connect: ConnectSimulator, search: ContactSearch, asked: Asked) -> None:
    put(connect, *(ended(1 + number / 3) for number in range(149)))
    pages = pages_of(search, last(hours=1))
    assert len(asked) == 2
    assert sorted(len(page.found) for page in pages) == [49, 100]


def test_too_many_contacts_in_one_moment_fail(connect: ConnectSimulator, search: ContactSearch) -> None:
    """Then the search goes as far as it can, and says that it could not go further."""
    contact = ended(60)
    connect.put_contacts({**contact, "Id": new_id()} for _ in range(250))
    pages: list[Page] = []
    end = contact["DisconnectTimestamp"] + SECOND
    with pytest.raises(SearchRefused, match="InvalidParameterException"):
        pages.extend(search.pages(Window(end - NARROWEST, end), Scope.ALL, datetime.now(UTC), chains=False))
    assert len(found(pages)) == 200
    with pytest.raises(SearchRefused, match="InvalidParameterException"):
        walk(search, last(hours=2))


# --- successors ------------------------------------------------------------------------------------------------------


def test_more_successors_than_one_search_gives(connect: ConnectSimulator, search: ContactSearch, asked: Asked) -> None:
    """Their search alone is split; the step is not."""
    step = last(hours=30)
    missed = put(connect, *(ended(60 * number) for number in range(1, 30)))
    handed_on = [ended(5 * number) for number in range(1, 150)]
    put(connect, *handed_on)
    put(connect, *(successor(one, one["DisconnectTimestamp"]) for one in handed_on))
    put(connect, *(successor(ended(9000), datetime.now(UTC) - number * MINUTES) for number in range(1, 150)))
    pages = pages_of(search, step, Scope.ABANDONED)
    assert found(pages) == missed
    assert sum(page.handed_on for page in pages) == len(handed_on)
    assert len(set(spans(asked, "DISCONNECT_TIMESTAMP"))) == 1
    assert len(set(spans(asked, "INITIATION_TIMESTAMP"))) > 2


@pytest.mark.parametrize("method", ["TRANSFER", "QUEUE_TRANSFER", "CALLBACK"])
@pytest.mark.parametrize(
    ("after", "handed_on"),
    [
        (-SUCCESSOR_BEFORE - HOUR, False),
        (-SUCCESSOR_BEFORE + MINUTES, True),
        (timedelta(0), True),
        (SUCCESSOR_AFTER - MINUTES, True),
        (SUCCESSOR_AFTER + HOUR, False),
    ],
)
def test_a_successor_counts_from_two_hours_before_the_end(
    connect: ConnectSimulator, search: ContactSearch, after: timedelta, method: str, *, handed_on: bool
) -> None:
    one = ended(60 * 40)
    put(connect, one, successor(one, one["DisconnectTimestamp"] + after, method))
    end: datetime = one["DisconnectTimestamp"]
    pages = pages_of(search, Window(end - 30 * MINUTES, end + SECOND), Scope.UNANSWERED)
    assert found(pages) == (set() if handed_on else {one["Id"]})
    assert sum(page.handed_on for page in pages) == handed_on


def test_the_first_of_an_ended_chain_is_missed(connect: ConnectSimulator, search: ContactSearch) -> None:
    first, second = ended(50), ended(40, InitiationMethod="QUEUE_TRANSFER")
    third = ended(30, InitiationMethod="QUEUE_TRANSFER", PreviousContactId=second["Id"])
    put(connect, first, {**second, "PreviousContactId": first["Id"]}, third)
    (page,) = pages_of(search, last(hours=1), Scope.ABANDONED)
    assert (page.found, page.handed_on) == ((), 1)
    assert found(pages_of(search, last(hours=1), Scope.ABANDONED, chains=True)) == {first["Id"]}


@pytest.mark.parametrize("taken", [True, False])
def test_a_method_that_connect_refuses_is_dropped(
    connect: ConnectSimulator, search: ContactSearch, asked: Asked, *, taken: bool
) -> None:
    connect.takes_new_methods = taken
    dialed = ended(10, InitiationMethod="CALLBACK_CUSTOMER_FIRST_DIALED")
    others = put(connect, *(ended(1 + number / 10) for number in range(150)))
    put(connect, dialed, *(ended(9, InitiationMethod=one) for one in ("CALLBACK_CUSTOMER_FIRST_QUEUED", "MONITOR")))
    assert found(pages_of(search, last(hours=1))) == {*others, *([dialed["Id"]] if taken else [])}
    assert search.not_searched == (set() if taken else {"CALLBACK_CUSTOMER_FIRST_DIALED"})
    asked.clear()
    pages_of(search, last(hours=1))
    assert len(asked) == 2, "it is refused once"


def test_another_refusal_of_a_search_drops_no_method() -> None:
    def ask(_: Any) -> Any:
        raise SearchRefused("InvalidParameterException")

    search = ContactSearch(ask, RULES)
    with pytest.raises(SearchRefused):
        pages_of(search, last(hours=1))
    assert search.not_searched == set()


def test_a_page_that_is_refused_later_drops_no_method() -> None:
    def ask(request: Any) -> Any:
        if "NextToken" in request:
            raise SearchRefused("InvalidParameterException")
        return {"Contacts": [ended(10)], "NextToken": "next"}

    search = ContactSearch(ask, RULES)
    with pytest.raises(SearchRefused):
        pages_of(search, last(hours=1))
    assert search.not_searched == set()


def test_a_contact_is_not_its_own_successor(connect: ConnectSimulator, search: ContactSearch) -> None:
    one = ended(30, InitiationMethod="TRANSFER")
    put(connect, {**one, "PreviousContactId": one["Id"]})
    assert found(pages_of(search, last(hours=1), Scope.ABANDONED)) == {one["Id"]}


def test_which_contacts_a_scope_finds(connect: ConnectSimulator, search: ContactSearch, asked: Asked) -> None:
    queued, flow, talked = ended(20), in_the_flow(20), answered(20)
    callback = ended(20, InitiationMethod="CALLBACK")
    put(connect, queued, flow, talked, callback)
    assert found(pages_of(search, last(hours=1), Scope.ABANDONED)) == {queued["Id"]}
    assert found(pages_of(search, last(hours=1), Scope.UNANSWERED)) == {queued["Id"], flow["Id"], callback["Id"]}
    asked.clear()
    assert found(pages_of(search, last(hours=1))) == {one["Id"] for one in (queued, flow, talked, callback)}
    assert len(asked) == 1, "who takes all needs no successors"


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_a_successor_begins_within_two_hours_before_a_day_after() -> None:
    """The second pass looks a day later at the earliest; by then all of them have begun."""
    assert (SUCCESSOR_BEFORE, SUCCESSOR_AFTER) == (2 * HOUR, 24 * HOUR)


def test_how_pages_are_asked_for() -> None:
    asked: Asked = []
    step = Window(datetime(2026, 11, 22, 9, tzinfo=UTC), datetime(2026, 11, 22, 10, tzinfo=UTC))

    def ask(request: Any) -> Any:
        asked.append(dict(request))
        return {"Contacts": [], **({"NextToken": "next"} if "NextToken" not in request else {})}

    now = step.end + 30 * MINUTES
    list(ContactSearch(ask, RULES).pages(step, Scope.ABANDONED, now, chains=False))
    began, began_2, ended_in, ended_in_2 = asked
    assert began["TimeRange"] == {
        "Type": "INITIATION_TIMESTAMP",
        "StartTime": step.start - SUCCESSOR_BEFORE,
        "EndTime": now,
    }
    assert began["SearchCriteria"] == {"Channels": ["VOICE"]}
    assert ended_in["TimeRange"] == {
        "Type": "DISCONNECT_TIMESTAMP",
        "StartTime": step.start - OVERLAP,
        "EndTime": step.end,
    }
    assert set(ended_in["SearchCriteria"]) == {"Channels", "InitiationMethods", "AdditionalTimeRange"}
    assert ended_in["SearchCriteria"]["InitiationMethods"] == RULES.searched()
    assert {one["MaxResults"] for one in asked} == {PAGE}
    assert (began_2, ended_in_2) == ({**began, "NextToken": "next"}, {**ended_in, "NextToken": "next"})


def test_a_day_later_the_successors_search_is_wider() -> None:
    asked: Asked = []
    step = Window(datetime(2026, 11, 22, 9, tzinfo=UTC), datetime(2026, 11, 22, 10, tzinfo=UTC))

    def ask(request: Any) -> Any:
        asked.append(dict(request))
        return {}

    list(ContactSearch(ask, RULES).pages(step, Scope.UNANSWERED, step.end + 72 * HOUR, chains=True))
    assert asked[0]["TimeRange"]["EndTime"] == step.end + SUCCESSOR_AFTER


def test_hits_that_are_no_finished_calls_are_passed_over() -> None:
    good = ended(10)
    strange: list[dict[str, Any] | None] = [
        None,
        {},
        {**ended(10), "Id": "../x"},
        {**ended(10), "Id": None},
        {**ended(10), "Channel": None},
        {**ended(10), "Channel": "CHAT"},
        {**ended(10), "DisconnectTimestamp": None},
        {**ended(10), "DisconnectTimestamp": datetime(1970, 1, 1, tzinfo=UTC)},
    ]
    search = ContactSearch(lambda _: {"Contacts": [*strange, good]}, RULES)
    for scope in (Scope.ALL, Scope.ABANDONED):
        assert found(pages_of(search, last(hours=1), scope)) == {good["Id"]}


@pytest.mark.parametrize("answer", [{}, {"Contacts": None}, {"Contacts": [], "TotalCount": None, "NextToken": ""}])
def test_an_answer_without_contacts(answer: dict[str, Any]) -> None:
    for scope in (Scope.ALL, Scope.ABANDONED):
        assert found(pages_of(ContactSearch(lambda _: answer, RULES), last(hours=1), scope)) == set()


def test_pages_are_asked_for_one_at_a_time() -> None:
    """So that a run holds one page in memory, however many there are."""
    asked: list[object] = []

    def ask(request: Any) -> Any:
        asked.append(request)
        return {"Contacts": [ended(10)] * PAGE, "NextToken": str(len(asked))}

    pages = ContactSearch(ask, RULES).pages(last(hours=1), Scope.ALL, datetime.now(UTC), chains=False)
    for number in range(1, 20):
        next(pages)
        assert len(asked) == number


@pytest.mark.parametrize("scope", [Scope.ALL, Scope.ABANDONED])
def test_a_page_that_fails_ends_the_search(scope: Scope) -> None:
    def ask(request: Any) -> Any:
        if "NextToken" in request:
            raise ConnectUnavailable("throttled")
        return {"Contacts": [ended(10)], "NextToken": "next"}

    pages = ContactSearch(ask, RULES).pages(last(hours=1), scope, datetime.now(UTC), chains=False)
    with pytest.raises(ConnectUnavailable):
        list(pages)


@dataclass
class Index:
    """An index without promises. Its hits come in any order, and its ranges include their ends or not."""

    contacts: list[dict[str, Any]]
    ends: str
    total_count: bool
    order: random.Random
    most: int = 20
    page: int = 3
    _hits: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, request: Any) -> Any:
        if "NextToken" not in request:
            self._hits = [one for one in self.contacts if self._matches(one, request)]
            self.order.shuffle(self._hits)
        start = int(request.get("NextToken", 0))
        assert start < self.most, "more was asked for than one search gives"
        more = {"NextToken": str(start + self.page)} if start + self.page < len(self._hits) else {}
        count = {"TotalCount": len(self._hits)} if self.total_count else {}
        return {"Contacts": self._hits[start : start + self.page], **count, **more}

    def _matches(self, one: dict[str, Any], request: Any) -> bool:
        span, criteria = request["TimeRange"], request["SearchCriteria"]
        at = one["DisconnectTimestamp" if span["Type"] == "DISCONNECT_TIMESTAMP" else "InitiationTimestamp"]
        start, end = span["StartTime"], span["EndTime"]
        inside = start < at < end or (at == start and "start" in self.ends) or (at == end and "end" in self.ends)
        answered_too = "AdditionalTimeRange" not in criteria or not one["AgentInfo"]
        methods = criteria.get("InitiationMethods", [one["InitiationMethod"]])
        return inside and answered_too and one["InitiationMethod"] in methods


START = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)
OFFSETS = st.integers(-int(SUCCESSOR_BEFORE / SECOND) + 1, int(SUCCESSOR_AFTER / SECOND) - 1)


@settings(deadline=None)
@given(
    # No two end in the same second: nothing narrower than a step of four seconds can be searched.
    ends=st.dictionaries(st.integers(0, 2 * 3600 - 1), st.none() | OFFSETS, max_size=60),
    inclusive=st.sampled_from(["", "start", "end", "start and end"]),
    total_count=st.booleans(),
    order=st.randoms(use_true_random=False),
    scope=st.sampled_from([Scope.ALL, Scope.UNANSWERED]),
)
def test_every_contact_is_found_in_any_index(
    *,
    ends: dict[int, int | None],
    inclusive: str,
    total_count: bool,
    order: random.Random,
    scope: Scope,
) -> None:
    window, agent = Window(START, START + 2 * HOUR), {"ConnectedToAgentTimestamp": START}
    contacts, missed = [], set()
    for number, (second, later) in enumerate(ends.items()):
        end = START + second * SECOND
        hit = {
            "Id": f"c-{number}",
            "Channel": "VOICE",
            "InitiationMethod": "INBOUND",
            "InitiationTimestamp": end - HOUR,
            "DisconnectTimestamp": end,
            "AgentInfo": None,
        }
        contacts.append(hit)
        if later is None:
            missed.add(hit["Id"])
        else:
            # It ended after all searches.
            began = {"InitiationTimestamp": end + later * SECOND, "DisconnectTimestamp": START + 999 * HOUR}
            of = {"Id": f"s-{number}", "PreviousContactId": hit["Id"], "InitiationMethod": "TRANSFER"}
            contacts.append({**hit, **began, **of, "AgentInfo": agent})
    index = Index(contacts, inclusive, total_count, order)
    pages = walk(ContactSearch(index.ask, RULES, most_hits=16), window, scope, now=START + 72 * HOUR)
    assert found(pages) == (missed if scope is Scope.UNANSWERED else {f"c-{number}" for number in range(len(ends))})
