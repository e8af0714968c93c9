"""Values in the shapes of Amazon Connect's API, checked against botocore's model and made ready for JSON."""

import functools
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape

NEW_METHODS = frozenset({"CALLBACK_CUSTOMER_FIRST_QUEUED", "CALLBACK_CUSTOMER_FIRST_DIALED"})
"""Initiation methods of the Administrator Guide that botocore's model does not have yet."""
_ALLOWED_BESIDES: Mapping[str, frozenset[str]] = {"ContactInitiationMethod": NEW_METHODS}
_PLAIN_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
}


def encode(shape_name: str, value: Mapping[str, object]) -> dict[str, object]:
    """Return the value as rest-json sends it, times as epoch seconds.

    Args:
        shape_name: a structure of the API, e.g. ``Contact``.
        value: its members in the API's spelling; times as aware datetime, ISO 8601 text with an offset or
            epoch seconds.

    Raises:
        ValueError: at any depth, a member that the structure does not have, or a value of the wrong type. The
            message names its path. Values of enumerations are not checked, because Connect adds to them.
    """
    return _structure(_shape(shape_name), value, shape_name)


def check_request(shape_name: str, value: Mapping[str, object]) -> dict[str, Any]:
    """Return a request as `encode` would, if the API would take it.

    Args:
        shape_name: a structure of the API, e.g. ``SearchContactsRequest``.
        value: the request as it came.

    Raises:
        ValueError: as `encode`. Also for a missing required member, a value outside its enumeration, or a size
            outside its bounds. The message names its path.
    """
    encoded = encode(shape_name, value)
    _check(_shape(shape_name), encoded, shape_name)
    return encoded


def project(shape_name: str, value: Mapping[str, object]) -> dict[str, object]:
    """Return an encoded value with only the members that the structure has, at every depth.

    An object without any such member is left out.
    """
    projected = _project(_shape(shape_name), value)
    return projected if isinstance(projected, dict) else {}


@functools.cache
def _model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("connect")


@functools.cache
def _shape(name: str) -> StructureShape:
    # a shape works out its members once, but the model makes a new one each time it is asked
    shape = _model().shape_for(name)
    if not isinstance(shape, StructureShape):
        raise ValueError(f"{name} is no structure")  # noqa: TRY004 - the name is the wrong value
    return shape


def _encode(shape: Shape, value: object, path: str) -> object:
    if isinstance(shape, StructureShape):
        return _structure(shape, value, path)
    if isinstance(shape, MapShape):
        return {key: _encode(shape.value, content, f"{path}.{key}") for key, content in _mapping(value, path).items()}
    if isinstance(shape, ListShape):
        if not isinstance(value, list | tuple):
            raise ValueError(f"{path} must be a list")  # noqa: TRY004 - as for any other wrong value
        return [_encode(shape.member, content, f"{path}[{index}]") for index, content in enumerate(value)]
    if shape.type_name == "timestamp":
        return _epoch_seconds(value, path)
    return _plain(shape.type_name, value, path)


def _structure(shape: StructureShape, value: object, path: str) -> dict[str, object]:
    members = _mapping(value, path)
    if unknown := members.keys() - shape.members.keys():
        raise ValueError(f"{path} has no {', '.join(sorted(unknown))} in the API")
    return {name: _encode(shape.members[name], content, f"{path}.{name}") for name, content in members.items()}


def _mapping(value: object, path: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{path} must be an object")
    return value


def _plain(type_name: str, value: object, path: str) -> object:
    is_mistaken_boolean = isinstance(value, bool) and type_name != "boolean"
    if is_mistaken_boolean or not isinstance(value, _PLAIN_TYPES[type_name]):
        raise ValueError(f"{path} must be of type {type_name}")
    return value


def _epoch_seconds(value: object, path: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        time = None
    if not isinstance(time, datetime) or time.tzinfo is None:
        raise ValueError(f"{path} must be an aware datetime, ISO 8601 text with an offset or epoch seconds")
    seconds = time.timestamp()
    return int(seconds) if seconds.is_integer() else seconds


def _check(shape: Shape, value: Any, path: str) -> None:  # noqa: ANN401 - of the shape's type, as it is encoded
    if isinstance(shape, StructureShape):
        if missing := [name for name in shape.required_members if name not in value]:
            raise ValueError(f"{path} needs {', '.join(missing)}")
        for name, content in value.items():
            _check(shape.members[name], content, f"{path}.{name}")
    elif isinstance(shape, MapShape):
        for key, content in value.items():
            _check(shape.value, content, f"{path}.{key}")
    elif isinstance(shape, ListShape):
        _check_bounds(shape, len(value), f"length of {path}")
        for index, content in enumerate(value):
            _check(shape.member, content, f"{path}[{index}]")
    else:
        allowed = shape.metadata.get("enum")
        if allowed and value not in {*allowed, *_ALLOWED_BESIDES.get(shape.name, ())}:
            raise ValueError(f"{path} must be one of {', '.join(allowed)}")
        is_text = isinstance(value, str)
        _check_bounds(shape, len(value) if is_text else value, f"length of {path}" if is_text else path)


def _check_bounds(shape: Shape, size: float, what: str) -> None:
    least, most = shape.metadata.get("min", size), shape.metadata.get("max", size)
    if size < least:
        raise ValueError(f"{what} must be at least {least}")
    if size > most:
        raise ValueError(f"{what} must be at most {most}")


def _project(shape: Shape, value: object) -> object:
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        parts = {name: _project(shape.members[name], part) for name, part in value.items() if name in shape.members}
        return {name: part for name, part in parts.items() if part is not None} or None
    if isinstance(shape, MapShape) and isinstance(value, Mapping):
        parts = {key: _project(shape.value, part) for key, part in value.items()}
        return {key: part for key, part in parts.items() if part is not None} or None
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_project(shape.member, part) for part in value]
    return value
