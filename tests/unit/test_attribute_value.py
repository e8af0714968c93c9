"""Beside boto3's own, which knows every type."""

from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ANY_TEXT
from voicecall_sync.attribute_value import read, spelled

# DynamoDB takes 38 digits.
NUMBERS = st.integers(-(10**37), 10**37) | st.decimals(-(10**9), 10**9, places=3)
VALUES = st.recursive(st.none() | ANY_TEXT | NUMBERS, lambda inner: st.dictionaries(ANY_TEXT, inner, max_size=3))


@given(VALUES)
def test_values_are_spelled_and_read_as_boto3_does(value: object) -> None:
    spelling: Any = spelled(value)
    assert spelling == TypeSerializer().serialize(value)
    assert read(spelling) == TypeDeserializer().deserialize(spelling) == value


@pytest.mark.parametrize("value", [True, 1.5, b"bytes", ["list"], {"nested": {1}}])
def test_what_no_record_holds_is_not_written(value: object) -> None:
    with pytest.raises(TypeError, match="no record holds a "):
        spelled(value)


@pytest.mark.parametrize(
    "spelling", [{"BOOL": True}, {"L": [{"S": "a"}]}, {"SS": ["a"]}, {"B": b"a"}, {"NULL": True}, {"NEW": 1}]
)
def test_types_of_others_are_read_as_nothing(spelling: dict[str, object]) -> None:
    assert read(spelling) is None


@pytest.mark.parametrize("spelling", [{}, {"S": "a", "N": "1"}, {"N": "one"}, {"N": []}, {"M": "no"}, "S", None])
def test_what_is_no_spelling_raises_what_a_reader_catches(spelling: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError, ArithmeticError)):
        read(spelling)


def test_a_number_keeps_its_digits() -> None:
    assert read({"N": "1795341600.123"}) == Decimal("1795341600.123")
