"""One HTTP attempt on one connection, opened before the claim. The only module with a socket to Salesforce.

    connect ──> is_open ──> send ──> status line ──> close
       │           │          │
       │           │          └── any failure from the first byte on: Salesforce may have applied the update
       │           └───────────── there is something to read, or an error: Salesforce closed it, nothing was sent
       └───────────────────────── any failure: before the claim, nothing was sent

The step that failed says what is known, not the exception's type: an SSLError can come while reading an answer.
Each connect, handshake, send and receive gets the remaining time. So a server that sends one byte now and then meets
the time-out, like a silent one. Only the name look-up has no time-out; it comes before the claim.

This module sends a request as it is, once: no retry, no redirect, no added header. It uses no connection twice. A new
TLS 1.3 connection holds unread session tickets. urllib3's pool takes it for a dropped one, and opens another.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from voicecall_sync.clock import Deadline
from voicecall_sync.errors import SalesforceUnreachable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from requests import PreparedRequest

LONGEST_BODY = 8192
_PIECE = 4096
"""The lease is checked before each piece of the request: a sandbox may be frozen between two pieces."""
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-9][0-9]{2}(?: [^\r\n]*)?\r?\n")


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole status line came.

    Attributes:
        status: The status code.
        retry_after: The header Retry-After, as it came; None if it was absent, or the headers were cut off.
    """

    status: int
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte of the request was sent."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """At least one byte of the request may have been sent, and no whole status line came back."""

    reason: str


Reply = Answered | NotSent | NoAnswer


class Salesforce:
    """The server that the PATCHes go to.

    Args:
        address: Scheme, host and perhaps a port; a path is ignored.
        ca_bundle: File or folder with the certificate authorities to trust; for https only.
        resolve: Gives the addresses of a name, as ``socket.getaddrinfo`` does.

    Raises:
        OSError, ValueError: The bundle cannot be read.
    """

    def __init__(self, address: str, ca_bundle: str, resolve: Callable[..., Any] = socket.getaddrinfo) -> None:
        parts = urlsplit(address)
        tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if tls else 80)
        self._trusted = _trusting(ca_bundle) if tls else None
        self._resolve = resolve

    def connect(self, before: Deadline) -> Connection:
        """Open a connection: name, TCP, TLS and certificate.

        Raises:
            SalesforceUnreachable: A step failed, or was not done in time.
        """
        try:
            return Connection(self._secured(self._dial(before), before))
        except (OSError, UnicodeError) as failure:  # UnicodeError: the text cannot be a host name
            raise SalesforceUnreachable(f"no connection to Salesforce: {type(failure).__name__}") from None

    def _dial(self, before: Deadline) -> socket.socket:
        """Connect to one of the name's addresses. Each gets a share of the time, so that all of them are tried."""
        failure = OSError("the name has no address")
        addresses = self._resolve(self._host, self._port, type=socket.SOCK_STREAM)
        for number, (family, kind, protocol, _, address) in enumerate(addresses):
            with ExitStack() as failed:
                try:
                    dialling = failed.enter_context(socket.socket(family, kind, protocol))
                    dialling.settimeout(_left(before) / (len(addresses) - number))
                    dialling.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    dialling.connect(address)
                except OSError as error:
                    failure = error
                else:
                    failed.pop_all()
                    return dialling
        raise failure

    def _secured(self, connected: socket.socket, before: Deadline) -> socket.socket:
        if self._trusted is None:
            return connected
        try:
            connected.settimeout(_left(before))  # for the handshake as a whole
            return self._trusted.wrap_socket(connected, server_hostname=self._host)
        except BaseException:
            connected.close()
            raise


class Connection:
    """An open connection, for one request."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._answer: http.client.HTTPResponse | None = None
        self._incoming = _Incoming(connected)

    def is_open(self) -> bool:
        """Tell whether Salesforce keeps it open: there is nothing to read, except TLS session tickets.

        Otherwise nothing may be sent: a server that answers before the request will not read the request.
        """
        try:
            self._socket.setblocking(False)  # noqa: FBT003 - socket's own signature
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def send(self, request: bytes, before: Deadline, lease: datetime) -> Reply:
        """Send a request and read the answer's status line and headers. The status line decides.

        Args:
            request: As `composed` gives it.
            before: When the answer must be there.
            lease: From then on no byte of the request may be sent, by the time of day.
        """
        passed = False
        try:
            for start in range(0, len(request), _PIECE):
                self._socket.settimeout(_left(before))
                if before.clock.now() >= lease:
                    raise TimeoutError  # noqa: TRY301 - handled like a time-out of the socket
                passed = True
                self._socket.sendall(request[start : start + _PIECE])
            return self._read_head(before)
        except Exception as failure:  # noqa: BLE001 - the step decides, not the exception's type
            reason = type(failure).__name__
            return NoAnswer(reason) if passed else NotSent(reason)

    def read_body(self, before: Deadline) -> bytes:
        """Return the part of the answer's body that comes in time, at most ``LONGEST_BODY`` bytes."""
        self._incoming.before = before
        body = b""
        try:
            while self._answer is not None and len(body) < LONGEST_BODY:
                chunk = self._answer.read1(LONGEST_BODY - len(body))
                if not chunk:
                    break
                body += chunk
        except Exception:  # noqa: BLE001, S110 - the contact is settled; the part that came is enough
            pass
        return body[:LONGEST_BODY]

    def close(self) -> None:
        """Close it. A failure to close is ignored, because settling comes next."""
        with suppress(OSError):
            self._socket.close()

    def _read_head(self, before: Deadline) -> Answered:
        self._incoming.before = before
        answer = http.client.HTTPResponse(cast("socket.socket", self._incoming), method="PATCH")
        try:
            answer.begin()
        except Exception:
            if not isinstance(answer.status, int):  # http.client has a text there until it has read a status line
                raise
            return Answered(answer.status)  # its headers cannot be read, so neither can its body
        self._answer = answer
        return Answered(answer.status, answer.headers.get("Retry-After"))


class _Incoming(io.RawIOBase):
    """The incoming bytes of a connection; each wait gets the remaining time."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self.before: Deadline | None = None

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the stream that http.client reads an answer from."""
        return _WholeLines(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        if self.before is not None:
            self._socket.settimeout(_left(self.before))
        return self._socket.recv_into(cast("bytearray", buffer))


class _WholeLines(io.BufferedReader):
    """Reads lines more strictly than http.client, which accepts a cut-off line, and a status like ``2_00``.

    The first line must be a status line. So must the first line after a 100; http.client skips the 100 (RFC 9110,
    15.2.1).
    """

    _expects_status = True
    _continues = False

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        whole = line.endswith(b"\n")
        if not whole or (self._expects_status and not _STATUS_LINE.fullmatch(line)):
            raise http.client.BadStatusLine("not a whole line of HTTP/1")
        if self._expects_status:
            self._expects_status, self._continues = False, line.split()[1] == b"100"
        elif self._continues and line in {b"\r\n", b"\n"}:
            self._expects_status = True
        return line


class _Composer(http.client.HTTPConnection):
    """Keeps the bytes of a request instead of sending them."""

    auto_open = 0

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.written = b""

    def send(self, data: object) -> None:
        self.written += cast("bytes", data)


def composed(request: PreparedRequest) -> bytes:
    """Return the bytes of a request, so that an error in it shows before the claim."""
    url = urlsplit(request.url or "")
    composer = _Composer(str(url.hostname))
    headers = {"Host": str(url.netloc), **{str(name): str(value) for name, value in request.headers.items()}}
    composer.request(str(request.method), request.path_url, cast("bytes", request.body), headers)
    return composer.written


def _left(before: Deadline) -> float:
    """Return the remaining seconds, always more than zero: zero would tell a socket not to wait.

    Raises:
        TimeoutError: The deadline has passed.
    """
    left = before.left()
    if left <= 0:
        raise TimeoutError
    return left


def _trusting(ca_bundle: str) -> ssl.SSLContext:
    if Path(ca_bundle).is_dir():
        return ssl.create_default_context(capath=ca_bundle)
    return ssl.create_default_context(cafile=ca_bundle)
