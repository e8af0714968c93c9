"""One contract, over every table we have: moto in this process, MiniStack over a socket."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from tests.support.contacts import new_id
from tools.local.local_stack import ROOT
from tools.local.ministack import MiniStack
from tools.template import load, table_definition
from voicecall_sync.errors import LedgerUnavailable
from voicecall_sync.ledger.claims import Claim, ClaimRequest, Ledger
from voicecall_sync.ledger.record import Record
from voicecall_sync.ledger.table import Table
from voicecall_sync.ledger.waiting import Return, Waiting
from voicecall_sync.outcome import Settlement, Source, State

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
DEFINITION = table_definition(load(ROOT / "template.yaml"))
REGION = {"region_name": "us-east-1", "aws_access_key_id": "local", "aws_secret_access_key": "local"}


@pytest.fixture(scope="module", params=["moto", "MiniStack"])
def client(request: pytest.FixtureRequest) -> "Iterator[DynamoDBClient]":
    if request.param == "MiniStack":
        ministack: MiniStack = request.getfixturevalue("ministack")
        yield boto3.client("dynamodb", endpoint_url=ministack.url, **REGION)  # type: ignore[call-overload]
    else:
        with mock_aws():
            yield boto3.client("dynamodb", **REGION)  # type: ignore[call-overload]


@pytest.fixture
def table(client: "DynamoDBClient") -> str:
    name = f"ledger-{new_id()}"
    client.create_table(TableName=name, **DEFINITION)
    return name


@pytest.fixture
def ledger(client: "DynamoDBClient", table: str) -> Ledger:
    return Ledger(Table(client, table), lambda: str(uuid4()))


def request(contact_id: str, now: datetime = NOW, source: Source = Source.CONTACT_EVENT) -> ClaimRequest:
    lease = now + timedelta(seconds=30)
    return ClaimRequest(contact_id, source, now, lease, ("startTime", "callAttributes"), ("Tier__c",))


def taken(ledger: Ledger, contact_id: str, now: datetime) -> Claim | Record:
    """As the pipeline does: over a record that is due; an expired claim becomes UNCERTAIN."""
    found = ledger.claim(request(contact_id, now))
    if isinstance(found, Record) and found.due(now):
        found = ledger.claim(request(contact_id, now), found)
    if isinstance(found, Record) and found.claim_expired(now):
        found = ledger.expire_claim(found, now)
    return found


def claimed(ledger: Ledger, contact_id: str, now: datetime = NOW) -> Claim:
    claim = taken(ledger, contact_id, now)
    assert isinstance(claim, Claim)
    return claim


def standing(ledger: Ledger, contact_id: str, now: datetime = NOW) -> Record:
    record = taken(ledger, contact_id, now)
    assert isinstance(record, Record)
    return record


def test_a_contact_is_claimed_once(ledger: Ledger) -> None:
    contact_id = new_id()
    claim = claimed(ledger, contact_id)
    record = standing(ledger, contact_id)
    assert (record.state, record.owner, record.attempts) == (State.CLAIMED, claim.owner, 1)
    assert record.source == "contact-event"
    assert (record.properties, record.custom_fields) == (("startTime", "callAttributes"), ("Tier__c",))


@pytest.mark.parametrize("state", [State.UPDATED, State.UNCERTAIN, State.REJECTED])
def test_a_settled_contact_is_never_claimed_again(ledger: Ledger, state: State) -> None:
    contact_id = new_id()
    ledger.settle(claimed(ledger, contact_id), Settlement(state, "detail", 200), NOW)
    assert standing(ledger, contact_id, NOW + timedelta(days=300)).state is state


def test_a_contact_not_applied_is_claimed_when_due(ledger: Ledger) -> None:
    contact_id = new_id()
    first = claimed(ledger, contact_id)
    ledger.settle(first, Settlement(State.NOT_APPLIED, "detail", 429, retry_after=60), NOW)
    assert standing(ledger, contact_id, NOW + timedelta(seconds=59)).state is State.NOT_APPLIED
    second = claimed(ledger, contact_id, NOW + timedelta(seconds=60))
    assert (second.attempts, second.owner == first.owner) == (2, False)


def test_an_earlier_owner_settles_nothing_of_the_next(ledger: Ledger) -> None:
    contact_id = new_id()
    first = claimed(ledger, contact_id)
    ledger.settle(first, Settlement(State.NOT_APPLIED, "detail"), NOW)
    claimed(ledger, contact_id)
    with pytest.raises(LedgerUnavailable, match="no longer ours"):
        ledger.settle(first, Settlement(State.UPDATED, "late", 200), NOW)
    record = ledger.read(contact_id)
    assert record is not None
    assert record.state is State.CLAIMED


def test_settling_twice_says_the_same(ledger: Ledger) -> None:
    contact_id = new_id()
    claim = claimed(ledger, contact_id)
    for _ in range(2):
        ledger.settle(claim, Settlement(State.UPDATED, "detail", 200), NOW)
    assert standing(ledger, contact_id).state is State.UPDATED


def test_an_expired_claim_becomes_uncertain_and_may_still_settle(ledger: Ledger) -> None:
    contact_id = new_id()
    claim = claimed(ledger, contact_id)
    assert standing(ledger, contact_id, NOW + timedelta(seconds=90)).state is State.CLAIMED
    dead = standing(ledger, contact_id, NOW + timedelta(seconds=91))
    assert (dead.state, dead.expired_claim, dead.owner) == (State.UNCERTAIN, True, claim.owner)
    assert standing(ledger, contact_id, NOW + timedelta(seconds=92)).expired_claim is False
    ledger.settle(claim, Settlement(State.UPDATED, "late", 200), NOW + timedelta(seconds=100))
    assert standing(ledger, contact_id, NOW + timedelta(seconds=101)).state is State.UPDATED


def test_two_who_find_the_same_owner_dead_agree(ledger: Ledger) -> None:
    contact_id = new_id()
    claimed(ledger, contact_id)
    stale = ledger.read(contact_id)
    assert stale is not None
    later = NOW + timedelta(hours=1)
    assert ledger.expire_claim(stale, later).expired_claim is True
    assert ledger.expire_claim(stale, later).state is State.UNCERTAIN
    assert ledger.expire_claim(stale, later).expired_claim is False


def test_it_may_be_claimed_again_when_salesforce_said(ledger: Ledger) -> None:
    contact_id, waits = new_id(), []
    for hours, retry_after in enumerate((None, 30.0, 0.0, 3600.0)):
        now = NOW + 2 * timedelta(hours=hours)
        settled = Settlement(State.NOT_APPLIED, "detail", 503, retry_after)
        ledger.settle(claimed(ledger, contact_id, now), settled, now)
        record = ledger.read(contact_id)
        assert record is not None
        assert record.retry_at is not None
        waits.append((record.retry_at - now).total_seconds())
    assert waits == [0, 30, 0, 3600]


@pytest.mark.parametrize("state", list(State))
def test_only_open_records_are_in_the_index(client: "DynamoDBClient", ledger: Ledger, table: str, state: State) -> None:
    contact_id = new_id()
    claim = claimed(ledger, contact_id)
    if state is not State.CLAIMED:
        ledger.settle(claim, Settlement(state, "detail"), NOW)
    found = client.query(
        TableName=table,
        IndexName="open-since",
        KeyConditionExpression="#open = :state",
        ExpressionAttributeNames={"#open": "open"},
        ExpressionAttributeValues={":state": {"S": state.value}},
    )["Items"]
    assert [item["contactId"]["S"] for item in found] == ([] if state is State.UPDATED else [contact_id])


@pytest.mark.parametrize(
    "damage",
    [
        {"state": {"S": "DONE"}},
        {"state": {"N": "5"}},
        {},
        {"state": {"S": "NOT_APPLIED"}},
        {"state": {"S": "CLAIMED"}, "ownerUntil": {"S": "soon"}, "owner": {"S": "x"}},
        {"state": {"S": "UPDATED"}, "properties": {"M": {}}, "customFields": {"L": [{"N": "1"}]}},
        {"state": {"S": "NOT_APPLIED"}, "owner": {"S": "x"}, "retryAt": {"N": "1E+110"}},
        {"state": {"S": "UPDATED"}, "attempts": {"S": "many"}, "retryAt": {"N": "9e30"}},
    ],
    ids=str,
)
def test_a_damaged_record_stops_its_contact_and_nothing_else(
    client: "DynamoDBClient", ledger: Ledger, table: str, damage: dict[str, dict[str, str]]
) -> None:
    contact_id = new_id()
    client.put_item(TableName=table, Item={"contactId": {"S": contact_id}, **damage})
    for now in (NOW, NOW + timedelta(days=1)):
        with suppress(LedgerUnavailable):  # a number that cannot be read
            assert isinstance(ledger.claim(request(contact_id, now)), Record)


def test_nothing_is_known_of_an_unknown_contact(ledger: Ledger) -> None:
    assert ledger.read(new_id()) is None


def test_a_table_that_is_not_there(client: "DynamoDBClient") -> None:
    ledger = Ledger(Table(client, "no-such-table"), lambda: str(uuid4()))
    with pytest.raises(LedgerUnavailable, match="ResourceNotFoundException"):
        ledger.claim(request(new_id()))
    with pytest.raises(LedgerUnavailable, match="ResourceNotFoundException"):
        ledger.read(new_id())


# --- contacts that wait ----------------------------------------------------------------------------------------------

LATER = NOW + timedelta(hours=1)
WAITS_AGAIN: dict[str, Callable[[Waiting, Record], bool]] = {
    "comes back": lambda waiting, record: waiting.come_back(
        record.contact_id, Source.CONTACT_EVENT, record, Return("detail", LATER, None, None), NOW
    ),
    "is expected": lambda waiting, record: waiting.expect(record, LATER),
    "is named": lambda waiting, record: waiting.named(record, LATER, NOW),
    "is in the dead-letter queue": lambda waiting, record: waiting.dead_lettered(record, "detail", NOW),
}


@pytest.mark.parametrize("again", WAITS_AGAIN.values(), ids=WAITS_AGAIN)
def test_a_closed_contact_that_waits_again_is_open(
    client: "DynamoDBClient", ledger: Ledger, table: str, again: Callable[[Waiting, Record], bool]
) -> None:
    waiting, contact_id = Waiting(Table(client, table), lambda: str(uuid4())), new_id()
    assert waiting.leave(contact_id, Source.CONTACT_EVENT, "detail", back_by=LATER, now=NOW)
    assert waiting.close(read(ledger, contact_id), "reason")
    closed = read(ledger, contact_id)
    assert closed.since is None
    assert again(waiting, closed)
    assert read(ledger, contact_id).since is not None
    open_contacts = client.query(
        TableName=table,
        IndexName="open-since",
        KeyConditionExpression="#open = :state",
        ExpressionAttributeNames={"#open": "open"},
        ExpressionAttributeValues={":state": {"S": "NOT_APPLIED"}},
    )["Items"]
    assert [item["contactId"]["S"] for item in open_contacts] == [contact_id]


def read(ledger: Ledger, contact_id: str) -> Record:
    record = ledger.read(contact_id)
    assert record is not None
    return record
