"""How a server can fail its client, each way a small value that carries out itself.

    Answer       complete answer of our choosing: an error, a redirect, a 2xx with an odd body
    Close        whole request read, then an orderly end without a byte of answer
    Reset        whole request read, then a RST
    CloseUnread  RST as soon as a request begins, nothing of it looked at
    Hang         whole request read, never a byte of answer
    Drip         bytes for ever, of the status line, the headers or the body
    Truncated    the beginning of an answer, then an orderly end
    Garbage      bytes that are no HTTP, then an orderly end
    BreakTls     TLS broken after the request was read

``applied`` says whether the update takes effect before the failure. It is a wish: a request that would
be refused is never applied.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar, Literal, Protocol, cast

from tools.local.loopback import Connection
from tools.local.messages import Reply, phrase, status_line

DripPart = Literal["status", "headers", "body"]
_ENDLESS_BODY = 1_000_000
_DRIP_SECONDS = 0.05


class Behaviour(Protocol):
    """What a queued behaviour must be able to do.

    Attributes:
        applied: whether the update takes effect before the failure.
        status: the status of a status line the client gets to its end, None where it gets none.
    """

    @property
    def applied(self) -> bool:
        """See the class."""

    @property
    def status(self) -> int | None:
        """See the class."""

    def play(self, connection: Connection, proper: Reply, /) -> bool:
        """Do it to the client, given the proper answer; return whether the connection goes on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer. Without a body: ``{"status": "pending"}`` for 2xx, otherwise an error as JSON."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    applied: bool = False

    def play(self, connection: Connection, _proper: Reply) -> bool:
        """Send the answer; the connection goes on unless a header says ``Connection: close``."""
        reply = self._reply()
        connection.answer(reply)
        return not reply.ends_connection

    def _reply(self) -> Reply:
        if self.body is not None:
            return Reply(self.status, self.body, self.headers)
        if self.status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
            return Reply(self.status, b"", self.headers)
        return plausible(self.status, self.headers)


@dataclass(frozen=True, slots=True)
class Close:
    """An orderly end (FIN, over TLS after close_notify) instead of an answer."""

    applied: bool
    status: ClassVar[int | None] = None

    def play(self, _connection: Connection, _proper: Reply) -> bool:
        """Let the connection end."""
        return False


@dataclass(frozen=True, slots=True)
class Reset:
    """A RST instead of an answer."""

    applied: bool
    status: ClassVar[int | None] = None

    def play(self, connection: Connection, _proper: Reply) -> bool:
        """Reset the connection."""
        connection.reset()
        return False


@dataclass(frozen=True, slots=True)
class CloseUnread:
    """A RST as soon as the first bytes of a request wait, before any of it is looked at."""

    applied: ClassVar[bool] = False
    status: ClassVar[int | None] = None

    def play(self, connection: Connection, _proper: Reply) -> bool:
        """Reset the connection."""
        connection.reset()
        return False


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer until the client goes away or the simulator is stopped."""

    applied: bool
    status: ClassVar[int | None] = None

    def play(self, connection: Connection, _proper: Reply) -> bool:
        """Wait for the client to go."""
        connection.await_departure()
        return False


@dataclass(frozen=True, slots=True)
class Drip:
    """One byte every now and then, for ever, so that no read of the client's times out.

    Attributes:
        what: the part that never ends. Before a header comes a whole status line. Before a body come whole headers,
            and it never reaches its Content-Length.
        applied: see the module.
        code: the status code dripped or, for headers and body, sent whole.
    """

    what: DripPart
    applied: bool
    code: int = 200

    @property
    def status(self) -> int | None:
        """The code, unless the status line itself never ends."""
        return None if self.what == "status" else self.code

    def play(self, connection: Connection, _proper: Reply) -> bool:
        """Send what comes whole, then drip until the client goes away or the simulator is stopped."""
        connection.send(self._whole_part())
        while not connection.stopping.wait(_DRIP_SECONDS):
            connection.send(b"x")
        return False

    def _whole_part(self) -> bytes:
        beginnings = {
            "status": status_line(self.code),
            "headers": f"{status_line(self.code)}\r\nX-Endless: ",
            "body": f"{status_line(self.code)}\r\nContent-Length: {_ENDLESS_BODY}\r\n\r\n",
        }
        return beginnings[self.what].encode()


@dataclass(frozen=True, slots=True)
class Truncated:
    """The beginning of an answer, then an orderly end."""

    data: bytes
    applied: bool
    status: ClassVar[int | None] = None

    def play(self, connection: Connection, _proper: Reply) -> bool:
        """Send the bytes and let the connection end."""
        connection.send(self.data)
        return False


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes that are no HTTP answer, then an orderly end."""

    data: bytes
    applied: bool
    status: ClassVar[int | None] = None

    def play(self, connection: Connection, _proper: Reply) -> bool:
        """Send the bytes and let the connection end."""
        connection.send(self.data)
        return False


@dataclass(frozen=True, slots=True)
class BreakTls:
    """TLS broken instead of an answer; only for a simulator with a certificate.

    Attributes:
        applied: see the module.
        how: ``plaintext`` is plain HTTP instead of a TLS record, an SSL error for every client. ``eof`` is TCP closed
            under the TLS, without close_notify. urllib3 shows that as an ordinary end.
    """

    applied: bool
    how: Literal["plaintext", "eof"] = "plaintext"
    status: ClassVar[int | None] = None

    def play(self, connection: Connection, _proper: Reply) -> bool:
        """Break it and close without close_notify."""
        if self.how == "plaintext":
            connection.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.drop()
        return False


KINDS: Mapping[str, type[Behaviour]] = {
    kind.__name__: cast("type[Behaviour]", kind)
    for kind in (
        Answer,
        BreakTls,
        Close,
        CloseUnread,
        Drip,
        Garbage,
        Hang,
        Reset,
        Truncated,
    )
}


def plausible(status: int, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """Answer a status with the body one would expect with it; Salesforce documents only the 2xx one."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Reply.of_json(status, {"status": "pending"}, *headers)
    return refusal(status, phrase(status), headers)


def refusal(status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """Answer with an error in Salesforce's usual shape, a list of errorCode and message."""
    code = phrase(status).upper().replace(" ", "_").replace("-", "_")
    return Reply.of_json(status, [{"errorCode": code, "message": message}], *headers)


def from_json(description: Mapping[str, object]) -> Behaviour:
    """Read a behaviour from JSON, e.g. ``{"behaviour": "Answer", "status": 503, "applied": false}``.

    ``headers`` is an object, ``body`` and ``data`` are text. What `applied` is left out counts as false.

    Raises:
        ValueError: unknown behaviour or field, or a field missing; the message names it.
    """
    fields = {"applied": False, **description}
    name = fields.pop("behaviour", None)
    kind = KINDS.get(str(name))
    if kind is None:
        raise ValueError(f"behaviour must be one of {', '.join(KINDS)}, not {name!r}")
    known = {field.name for field in dataclasses.fields(cast("type[Answer]", kind))}
    if "applied" not in known and not description.get("applied"):
        del fields["applied"]
    if unknown := fields.keys() - known:
        raise ValueError(f"{name} has no {', '.join(sorted(unknown))}")
    try:
        return kind(**{key: _field(key, value) for key, value in fields.items()})
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from error


def _field(name: str, value: object) -> object:
    if name == "headers" and isinstance(value, Mapping):
        return tuple((str(key), str(content)) for key, content in value.items())
    if name in {"body", "data"} and isinstance(value, str):
        return value.encode()
    return value
