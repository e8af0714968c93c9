"""The edge to DynamoDB: conditional writes and a few ways to read; each failure becomes LedgerUnavailable.

Values are text, whole numbers and Decimals, and lists and mappings of these. Only this module knows DynamoDB's spelling
of them (``{"S": …}``); ``record`` knows what they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from voicecall_sync.errors import LedgerUnavailable, aws_reason, failing_as
from voicecall_sync.outcome import State

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

Item = Mapping[str, Any]
"""Attribute name -> plain value."""

NO_RECORD = "attribute_not_exists(contactId)"
STILL_AS_READ = "#state = :state AND #owner = :owner"
OURS = "#owner = :owner"
AsRead = tuple[State | None, str | None]
"""The state and the owner that a record was read with."""
OPEN_INDEX = "open-since"
BATCH = 100
"""The number of keys that one BatchGetItem takes."""
_BATCH_TRIES = 8


class ConditionFailedError(LedgerUnavailable):
    """The record was not as the write expected it.

    Attributes:
        standing: The values of the record that was there; empty without one.
    """

    def __init__(self, standing: Item) -> None:
        super().__init__("the claim is no longer ours")
        self.standing = standing


class Table:
    """One table with the partition key ``contactId`` and the sparse index ``open-since``.

    Every method raises LedgerUnavailable if the table failed.

    Args:
        client: A DynamoDB client, with short time-outs and a second try.
        name: The name of the table.
    """

    def __init__(self, client: DynamoDBClient, name: str) -> None:
        self._client = client
        self._name = name

    def get(self, contact_id: str) -> Item | None:
        """Return an item as it is now."""
        with failing_as(_unavailable("read")):
            answer = self._client.get_item(TableName=self._name, Key=_key(contact_id), ConsistentRead=True)
            return _from_dynamodb(answer["Item"]) if answer.get("Item") else None

    def put(
        self, values: Mapping[str, object], condition: str | None, expected: Mapping[str, object] | None = None
    ) -> None:
        """Write a whole item, ``contactId`` among its values.

        Raises:
            ConditionFailedError: The condition did not hold.
        """
        arguments: dict[str, Any] = {}
        if condition is not None:
            arguments = {"ConditionExpression": condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        if expected:
            arguments["ExpressionAttributeNames"] = {"#state": "state", "#owner": "owner"}
            arguments["ExpressionAttributeValues"] = _to_dynamodb(expected)
        with failing_as(_refused("write")):
            self._client.put_item(TableName=self._name, Item=_to_dynamodb(values), **arguments)

    def replace(self, values: Mapping[str, object], standing: Mapping[str, object] | None) -> None:
        """Write a whole item over one with these values; None for any item.

        Raises:
            ConditionFailedError: The item has other values.
        """
        arguments: dict[str, Any] = {}
        if standing is not None:
            arguments = {
                "ConditionExpression": " AND ".join(f"#{name} = :{name}" for name in standing),
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                "ExpressionAttributeNames": {f"#{name}": name for name in standing},
                "ExpressionAttributeValues": _to_dynamodb({f":{name}": value for name, value in standing.items()}),
            }
        with failing_as(_refused("write")):
            self._client.put_item(TableName=self._name, Item=_to_dynamodb(values), **arguments)

    def update(
        self, contact_id: str, values: Mapping[str, object], condition: str, expected: Mapping[str, object]
    ) -> None:
        """Set the attributes that have a value, ``state`` among them, and remove those that are None.

        The condition names the owner.

        Raises:
            ConditionFailedError: The condition did not hold.
        """
        assigned = {name: value for name, value in values.items() if value is not None}
        removed = [f"#{name}" for name in values if name not in assigned]
        expression = f"SET {', '.join(f'#{name} = :new_{name}' for name in assigned)}"
        with failing_as(_refused("change")):
            self._client.update_item(
                TableName=self._name,
                Key=_key(contact_id),
                UpdateExpression=expression + (f" REMOVE {', '.join(removed)}" if removed else ""),
                ConditionExpression=condition,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                # each condition names state and owner, also where they are not among the values
                ExpressionAttributeNames={f"#{name}": name for name in dict.fromkeys((*values, "owner"))},
                ExpressionAttributeValues=_to_dynamodb(
                    {**{f":new_{name}": value for name, value in assigned.items()}, **expected}
                ),
            )

    def change(self, contact_id: str, as_read: AsRead, values: Mapping[str, object]) -> bool:
        """Set and remove values, if the item still has the state and owner that were read. False: it has not.

        Args:
            contact_id: The contact.
            as_read: The state and the owner that were read.
            values: As for ``update``; the state stays as it is unless it is among them.
        """
        state, owner = as_read
        expected = {":state": state.value if state else None, ":owner": owner}
        try:
            self.update(contact_id, {"state": expected[":state"], **values}, STILL_AS_READ, expected)
        except ConditionFailedError:
            return False
        return True

    def get_all(self, contact_ids: Sequence[str], attributes: Sequence[str]) -> Iterator[Item]:
        """Return a few attributes of those items that exist; a request asks for a hundred.

        They may be a moment old. A write that relies on them must be conditional.
        """
        names = {f"#{name}": name for name in attributes}
        for start in range(0, len(contact_ids), BATCH):
            keys: list[Item] = [_key(contact_id) for contact_id in contact_ids[start : start + BATCH]]
            for _ in range(_BATCH_TRIES):
                wanted: Any = {
                    "Keys": keys,
                    "ProjectionExpression": ", ".join(names),
                    "ExpressionAttributeNames": names,
                }
                with failing_as(_unavailable("batched read")):
                    answer = self._client.batch_get_item(RequestItems={self._name: wanted})
                    yield from map(_from_dynamodb, answer["Responses"].get(self._name, []))
                    keys = list(answer.get("UnprocessedKeys", {}).get(self._name, {"Keys": []})["Keys"])
                if not keys:
                    break
            else:
                raise LedgerUnavailable("the idempotency table failed at batched read: keys stay unprocessed")

    def open_items(self, state: State, *, newest_first: bool = False) -> Iterator[Item]:
        """Return the items that the index holds of an open state, by ``since``. Pages are read when they are needed.

        The index follows the table with a delay. A write that relies on it must be conditional.
        """
        start: dict[str, Any] = {}
        while True:
            with failing_as(_unavailable("query")):
                answer = self._client.query(
                    TableName=self._name,
                    IndexName=OPEN_INDEX,
                    KeyConditionExpression="#open = :open",
                    ExpressionAttributeNames={"#open": "open"},
                    ExpressionAttributeValues=_to_dynamodb({":open": state.value}),
                    ScanIndexForward=not newest_first,
                    **start,
                )
                yield from map(_from_dynamodb, answer["Items"])
                last = answer.get("LastEvaluatedKey")
            if not last:
                return
            start = {"ExclusiveStartKey": last}


def _to_dynamodb(values: Mapping[str, object]) -> dict[str, Any]:
    serialize = TypeSerializer().serialize
    return {name: serialize(value) for name, value in values.items()}


def _from_dynamodb(item: Mapping[str, Any]) -> Item:
    """Read an item, without attributes that cannot be read, such as a number too large for a Decimal."""
    deserialize = TypeDeserializer().deserialize
    plain: dict[str, Any] = {}
    for name, value in item.items():
        with suppress(ArithmeticError):
            plain[name] = deserialize(value)
    return plain


def _key(contact_id: str) -> dict[str, Any]:
    return {"contactId": {"S": contact_id}}


def _refused(operation: str) -> Callable[[Exception], LedgerUnavailable]:
    """Make the error of a conditional write; with the values that were there, if the condition failed."""

    def refused(failure: Exception) -> LedgerUnavailable:
        if not isinstance(failure, ClientError) or aws_reason(failure) != "ConditionalCheckFailedException":
            return _unavailable(operation)(failure)
        return ConditionFailedError(_from_dynamodb(cast("Mapping[str, Any]", failure.response.get("Item") or {})))

    return refused


def _unavailable(operation: str) -> Callable[[Exception], LedgerUnavailable]:
    return lambda failure: LedgerUnavailable(f"the idempotency table failed at {operation}: {aws_reason(failure)}")
