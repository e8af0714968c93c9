"""Values in the shapes of Amazon Connect's API, checked against botocore's model and made ready for JSON."""

import functools
from collections.abc import Mapping
from datetime import datetime

import botocore.session
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape

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
        ValueError: a member the structure does not have, at any depth, or a value of the wrong type; the
            message names it by its path. Values of enumerations are not checked: Connect adds to them.
    """
    shape = _model().shape_for(shape_name)
    if not isinstance(shape, StructureShape):
        raise ValueError(f"{shape_name} is no structure")  # noqa: TRY004 - the name is the wrong value
    return _structure(shape, value, shape_name)


@functools.cache
def _model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("connect")


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
