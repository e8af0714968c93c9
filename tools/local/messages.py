"""HTTP/1.1 requests and answers as values."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Self

Clock = Callable[[], datetime]
"""Gives the present moment, aware."""


def utc_now() -> datetime:
    """Return the present moment, aware, in UTC: the simulators' default clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read to its last byte.

    Attributes:
        connection: number of the connection it came over, counted from 1 since the server was made.
        method: as sent, e.g. ``PATCH``.
        target: path and query as sent, not decoded.
        headers: as the client spelled them.
        body: the Content-Length bytes, empty without one.
    """

    connection: int
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the header's value, None if it was not sent. The case of its name does not matter."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)

    @property
    def wants_close(self) -> bool:
        """Whether the client asked for the connection to end after this request."""
        return (self.header("Connection") or "").lower() == "close"


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete answer. A header given here replaces the server's own of that name."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_json(cls, status: int, content: object, *headers: tuple[str, str]) -> Self:
        """Answer with `content` as JSON; what JSON lacks (times) becomes a string."""
        body = json.dumps(content, default=str).encode()
        return cls(status, body, (("Content-Type", "application/json"), *headers))

    @property
    def ends_connection(self) -> bool:
        """Whether the answer says that its connection ends with it."""
        return any(name.lower() == "connection" and value.lower() == "close" for name, value in self.headers)

    def to_bytes(self, now: datetime) -> bytes:
        """Return status line, headers (with a Date) and body as they go over the network."""
        head = [status_line(self.status)]
        sent = {name.lower() for name, _ in self.headers}
        head += [f"{name}: {value}" for name, value in self.headers]
        if "date" not in sent:
            head.append(f"Date: {format_datetime(now.astimezone(UTC), usegmt=True)}")
        if "content-length" not in sent and self.status not in {204, 304}:  # RFC 9110, 8.6
            head.append(f"Content-Length: {len(self.body)}")
        return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + self.body


def status_line(status: int) -> str:
    """Return the status line without its line end; a status HTTP does not know gets no phrase of its own."""
    return f"HTTP/1.1 {status} {phrase(status)}"


def phrase(status: int) -> str:
    """Return HTTP's phrase for the status, ``Unknown`` where it has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
