"""How DynamoDB spells a value: ``{"S": "text"}``, ``{"N": "12.5"}``, ``{"M": {…}}``, ``{"NULL": true}``.

("AttributeValue", Amazon DynamoDB API Reference.) boto3 spells every type; these four are all that we write, and the
import of boto3, S3's transfers with it, was a tenth of a cold start.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def spelled(value: object) -> dict[str, Any]:
    """Return a text, a number, a mapping of such, or None as DynamoDB spells it.

    Raises:
        TypeError: It is something else; no record holds a bool or a float.
    """
    match value:
        case None:
            return {"NULL": True}
        case str():
            return {"S": value}
        case int() | Decimal() if not isinstance(value, bool):
            return {"N": str(value)}
        case Mapping():
            return {"M": {name: spelled(inner) for name, inner in value.items()}}
    raise TypeError(f"no record holds a {type(value).__name__}")


def read(spelling: Mapping[str, Any]) -> object:
    """Return what a spelling says: str, Decimal or dict; None for NULL, and for the types that we do not write.

    Raises:
        ValueError, TypeError, AttributeError, ArithmeticError: It is not a spelling.
    """
    ((kind, content),) = spelling.items()
    match kind:
        case "S":
            return str(content)
        case "N":
            return Decimal(content)
        case "M":
            return {name: read(inner) for name, inner in content.items()}
    return None
