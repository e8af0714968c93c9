"""Pages of a search over the Connect simulator's index: every contact found, whatever the index promises."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.contacts import new_id
from tests.missed import answered, ended
from tests.simulators.conftest import INSTANCE, make_connect_client
from tools.local.connect import ConnectSimulator
from voicecall_sync.reconcile_request import Scope, Window
from voicecall_sync.search import PAGE, ContactSearch, Page

Asked = list[dict[str, Any]]


@pytest.fixture
def connect() -> Iterator[ConnectSimulator]:
    with ConnectSimulator(instance_id=INSTANCE, result_limit=400) as simulator:
        yield simulator


@pytest.fixture
def asked() -> Asked:
    return []


@pytest.fixture
def search(connect: ConnectSimulator, asked: Asked) -> ContactSearch:
    client = make_connect_client(connect.url)

    def ask(request: Any) -> Any:
        asked.append(dict(request))
        return client.search_contacts(InstanceId=INSTANCE, **request)

    return ContactSearch(ask, most_hits=380)


def last(**span: float) -> Window:
    now = datetime.now(UTC)
    return Window(now - timedelta(**span), now)


def pages_of(search: ContactSearch, window: Window, scope: Scope = Scope.ALL) -> list[Page]:
    return list(search.pages(window, scope, datetime.now(UTC)))


def found(pages: list[Page]) -> set[str]:
    return {contact.contact_id for page in pages for contact in page.found}


def put(connect: ConnectSimulator, *contacts: dict[str, Any]) -> set[str]:
    connect.put_contacts(contacts)
    return {contact["Id"] for contact in contacts}


@pytest.mark.parametrize("total_count", ["given", "left out"])
@pytest.mark.parametrize("scope", [Scope.ALL, Scope.ABANDONED])
def test_more_results_than_one_search_gives(
    connect: ConnectSimulator, search: ContactSearch, asked: Asked, scope: Scope, total_count: str
) -> None:
    connect.gives_total_count = total_count == "given"
    # Crowded at one end: halves are not halves of the contacts.
    ids = put(connect, *(ended(1 + 3 * (number / 30) ** 2) for number in range(1000)))
    pages = pages_of(search, last(days=3), scope)
    assert found(pages) == ids
    assert all(len(page.found) <= PAGE for page in pages)
    if total_count == "given":
        # Though the window is split: what is still to come is to come of all of it.
        assert pages[0].to_come == 900
    wasted = len(asked) - len(pages)
    assert wasted < 20
    # The cursor never runs ahead of what was found.
    ends = {contact.contact_id: contact.disconnected_at for page in pages for contact in page.found}
    seen: set[str] = set()
    for page in pages:
        seen |= {contact.contact_id for contact in page.found}
        assert {contact_id for contact_id, end in ends.items() if end < page.done_until} <= seen


def test_few_results_take_one_search(connect: ConnectSimulator, search: ContactSearch, asked: Asked) -> None:
    put(connect, *(ended(number) for number in range(1, 150)))
    pages = pages_of(search, last(days=40))
    assert len(asked) == 2
    assert [page.to_come for page in pages] == [49, 0]


def test_more_successors_than_one_search_gives(connect: ConnectSimulator, search: ContactSearch) -> None:
    missed = put(connect, *(ended(number) for number in range(1, 50)))
    handed_on = [ended(15 * number) for number in range(1, 450)]
    put(connect, *handed_on)
    put(
        connect,
        *(
            answered(15 * number, InitiationMethod="TRANSFER", PreviousContactId=contact["Id"])
            for number, contact in enumerate(handed_on, 1)
        ),
    )
    pages = pages_of(search, last(days=20), Scope.ABANDONED)
    assert found(pages) == missed


def test_a_window_wider_than_a_search_may_be(connect: ConnectSimulator, search: ContactSearch) -> None:
    ids = put(connect, *(ended(60 * 24 * days + 60) for days in range(0, 300, 7)))
    assert found(pages_of(search, last(days=310))) == ids
    assert found(pages_of(search, last(days=310), Scope.UNANSWERED)) == ids


def test_so_many_in_one_moment_that_no_window_is_small_enough(connect: ConnectSimulator, search: ContactSearch) -> None:
    """Then the search goes as far as it can, and says that it could not go further."""
    contact = ended(60)
    connect.put_contacts({**contact, "Id": new_id()} for _ in range(450))
    pages: list[Page] = []
    with pytest.raises(ClientError, match="InvalidParameterException"):
        pages.extend(search.pages(last(days=1), Scope.ALL, datetime.now(UTC)))
    assert len(found(pages)) == 400


def test_an_index_that_does_not_sort() -> None:
    """Sort is asked for. Where it is not done, all are found still, and the cursor waits for the end."""
    contacts = [ended(minutes) for minutes in (50, 10, 30, 20, 40, 60)]
    pages = [contacts[:3], contacts[3:]]

    def ask(request: Any) -> Any:
        number = int(request.get("NextToken", 0))
        return {"Contacts": pages[number], **({"NextToken": str(number + 1)} if number + 1 < len(pages) else {})}

    window = last(days=1)
    first, second = pages_of(ContactSearch(ask), window)
    assert (first.done_until, second.done_until) == (window.start, window.end)
    assert found([first, second]) == {contact["Id"] for contact in contacts}


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
    pages = pages_of(ContactSearch(lambda _: {"Contacts": [*strange, good]}), last(days=1))
    assert found(pages) == {good["Id"]}


def test_an_answer_without_contacts() -> None:
    assert found(pages_of(ContactSearch(lambda _: {}), last(days=1))) == set()


def test_pages_are_asked_for_one_at_a_time() -> None:
    """So that a run holds one page in memory, however many there are."""
    asked: list[object] = []

    def ask(request: Any) -> Any:
        asked.append(request)
        return {"Contacts": [ended(10)] * PAGE, "NextToken": str(len(asked))}

    pages = ContactSearch(ask).pages(last(days=1), Scope.ALL, datetime.now(UTC))
    for number in range(1, 20):
        next(pages)
        assert len(asked) == number
