"""One HTTP try that, once given up, can never send. The only module that touches a socket of Salesforce's.

A time-out on each socket operation is no deadline: a name server may hang inside the C library, and a server that
drips a byte a second never trips it. So each try runs in a thread beside, which has nothing else to do meanwhile, and
the caller waits for it as long as the deadline allows. But a thread left behind in a frozen sandbox wakes up in the
next invocation. What keeps it from sending then is a fence, which it must pass with every byte it wants to send:

    not connected ──> connected ──> passed: may have been sent ──> answered
          │               │                    │
          └───────────────┴── closed: never ───┴── closed: the socket is shut down, nothing more can go out

One try, step by step (the caller's thread does 1 and 7, the thread beside the rest):

    1  Wire.send               makes the fence, hands the try to a thread, waits until the deadline
    2  _FencedAdapter.send     requests' transport; takes a connection from urllib3's pool
    3  is_connected            asked of a kept one: still open, and used within the last seconds?
    4  _new_conn, then TLS     otherwise; notes in the fence that there is a connection
    5  _FencedConnection.send  asks the fence before each piece goes out
    6  _StatusLineDecides      reads the status line and the headers, notes the answer in the fence
    7  Wire.send               returns what came, or closes the fence and says what is known
    8  _drain                  reads the rest of a short answer, for the log and for the next request
"""

from __future__ import annotations

import functools
import http
import http.client
import re
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from voicecall_sync.clock import Deadline

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse, HTTPResponse

CONNECT_SECONDS = 3.0
"""For the TCP connection to one address; a name may have several."""
KEEP_ALIVE_SECONDS = 3.0
"""How long an idle connection is trusted: after that the other side may have closed it, and a request written into
a closing connection is a request nobody knows the fate of."""
IDLE_SECONDS = 5.0
"""How long a thread waits for another try."""
LAST_WORDS_SECONDS = 0.25
"""How long a try that was cut off may take to hand over what it had read."""
LONGEST_BODY = 8192
_MOST_INTERIM_ANSWERS = 32
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
_DRAIN_READS = 16
_DRAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole status line came.

    Attributes:
        status: The status code.
        retry_after: The header Retry-After, as it came; None where there was none or the headers never ended.
        body: At most ``LONGEST_BODY`` bytes of the body, once they are there. Nobody has to wait for them.
    """

    status: int
    retry_after: str | None
    body: Future[bytes] = field(default_factory=Future, compare=False)


@dataclass(frozen=True, slots=True)
class NotSent:
    """Certainly not applied: no connection, a certificate we refused, or no time left before the first byte."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nobody can know: there was a connection, and no whole status line came out of it."""

    reason: str


Reply = Answered | NotSent | NoAnswer


class _GivenUpError(Exception):
    """The fence is closed, or the time is up."""


class _Fence:
    """Stands before the first byte of one try."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.connected = False
        self.passed = False
        self.answer: Answered | None = None
        self.socket: socket.socket | None = None
        self._closed = False
        self._lock = threading.Lock()

    def let_pass(self, connected: socket.socket) -> None:
        """Called by the try with every piece it is about to send."""
        with self._lock:
            if self._closed or self.deadline.left() <= 0:
                raise _GivenUpError
            self.connected = self.passed = True
            self.socket = connected

    def close(self) -> None:
        """Called by whoever gives the try up: from here on it cannot send."""
        with self._lock:
            self._closed = True
        # Once there is an answer, nothing of this try is to be sent any more, and the connection may be another try's.
        if self.socket is not None and self.answer is None:
            # The plain socket's shutdown on purpose: SSLSocket.shutdown first forgets its encryption, and a
            # thread about to send would then write the token in clear before the kernel stops it.
            with suppress(OSError):
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


_fence: ContextVar[_Fence] = ContextVar("fence")


class _Lines:
    """The lines of an answer, more strictly than http.client takes them.

    http.client takes what a broken connection left of a line for a line, and any text with digits in it for a status
    line; and of the interim answers (RFC 9110, 15.2) it knows 100 alone: it would take a 103 for the answer, and
    then the answer itself for the next request's.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self._status_line_read = False

    def readline(self, limit: int) -> bytes:
        if self._status_line_read:
            return self._whole_line(limit)
        self._status_line_read = True
        for _ in range(_MOST_INTERIM_ANSWERS):
            line = self._whole_line(limit)
            found = _STATUS_LINE.fullmatch(line)
            if found is None:
                raise http.client.BadStatusLine("none of HTTP/1.1's")
            if not _is_interim(int(found[1])):
                return line
            while self._whole_line(limit) not in {b"\r\n", b"\n", b""}:
                pass
        raise http.client.BadStatusLine("interim answers only")

    def _whole_line(self, limit: int) -> bytes:
        line = self.stream.readline(limit)
        if line and not line.endswith(b"\n"):
            raise http.client.RemoteDisconnected("the line has no end")
        return line

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self.stream, name)


def _is_interim(status: int) -> bool:
    return http.HTTPStatus.CONTINUE <= status < http.HTTPStatus.OK and status != http.HTTPStatus.SWITCHING_PROTOCOLS


class _StatusLineDecides(http.client.HTTPResponse):
    """A response that is good once its status line is whole, though its headers never come to an end, or are none.

    It tells the fence what came, so that nothing which goes wrong afterwards can make it forgotten. Only a connection
    that brought a 2xx with a body whose end is known is used again: of any other one cannot be sure that nothing more
    is on its way, and the next request must not take that for its answer.
    """

    fp: Any

    def begin(self) -> None:
        stream = self.fp
        self.fp = _Lines(stream)
        try:
            super().begin()
        except (OSError, http.client.HTTPException):
            if not isinstance(self.status, int):
                raise
            self._do_without_headers()
        finally:
            if self.fp is not None:
                self.fp = stream
        if self.headers.defects:  # urllib3 would log them, and the bytes with them
            self._do_without_headers()
        accepted = http.HTTPStatus.OK <= self.status < http.HTTPStatus.MULTIPLE_CHOICES
        if not (accepted and (self.length or self.chunked)):
            self.will_close = True
        _fence.get().answer = Answered(self.status, self.headers.get("Retry-After"))

    def _do_without_headers(self) -> None:
        self.headers = self.msg = http.client.HTTPMessage()
        self.chunked, self.length, self.will_close = False, 0, True


class _FencedConnection(HTTPConnection):
    """A connection that asks the fence of the current try, and is reused for a few seconds only."""

    response_class = _StatusLineDecides
    _last_used: tuple[float, float] | None = None

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        _fence.get().connected = True
        return connected

    def send(self, data: Any) -> None:  # noqa: ANN401 - http.client's own signature
        if self.sock is None:
            self.connect()  # here, lest http.client connects behind the fence
        _fence.get().let_pass(self.sock)
        super().send(data)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        response = super().getresponse()
        self._last_used = self._both_clocks()
        return response

    @property
    def is_connected(self) -> bool:
        """Tell urllib3, which asks before it reuses a connection, whether this one is fit for that."""
        if self._last_used is None or not super().is_connected:
            return False
        idle = [now - then for now, then in zip(self._both_clocks(), self._last_used, strict=True)]
        return all(0 <= seconds <= KEEP_ALIVE_SECONDS for seconds in idle)

    @staticmethod
    def _both_clocks() -> tuple[float, float]:
        clock = _fence.get().deadline.clock
        return clock.now().timestamp(), clock.monotonic()


class _FencedTlsConnection(_FencedConnection, HTTPSConnection):
    """The same under TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _FencedConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _FencedTlsConnection


class _FencedAdapter(HTTPAdapter):
    """requests' transport, over fenced connections. It makes no second attempt of its own."""

    def __init__(self, trusted: ssl.SSLContext | None, connections: int) -> None:
        self._trusted = trusted
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - requests' own signature
        super().init_poolmanager(*args, **kwargs, ssl_context=self._trusted)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def build_response(self, _request: PreparedRequest, answer: BaseHTTPResponse) -> Response:
        """Return what is asked of an answer here; requests would also look for cookies."""
        response = Response()
        response.status_code, response.raw = answer.status, answer
        return response

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Leave verification to the context, which requires it and has its authorities already.

        requests would load them anew for every connection, for 20 ms of CPU.
        """


class _Threads:
    """Threads for tries. One that is through waits for the next try: starting one costs as much CPU as half a try.

    One that hangs is replaced by the next try's. One that nobody needs any more ends.
    """

    def __init__(self) -> None:
        self._waiting: deque[SimpleQueue[Callable[[], None]]] = deque()

    def run(self, work: Callable[[], None]) -> None:
        """Have work done; raises RuntimeError where no thread can be started."""
        try:
            thread = self._waiting.pop()
        except IndexError:
            thread = SimpleQueue()
            threading.Thread(target=self._serve, args=(thread,), name="try", daemon=True).start()
        thread.put(work)

    def _serve(self, thread: SimpleQueue[Callable[[], None]]) -> None:
        while True:
            try:
                work = thread.get(timeout=IDLE_SECONDS)
            except Empty:
                with suppress(ValueError):  # where it was taken at this moment, and its work is about to come
                    self._waiting.remove(thread)
                    return
                continue
            work()
            self._waiting.append(thread)


class Wire:
    """Sends requests to one host.

    Args:
        ca_bundle: File or folder with the certificate authorities to trust; None for plain http.
        connections: How many tries may be under way at once and keep their connections.
    """

    def __init__(self, ca_bundle: str | None, connections: int = 1) -> None:
        self._adapter = _FencedAdapter(_trusting(ca_bundle) if ca_bundle else None, connections)
        self._threads = _Threads()

    def send(self, request: PreparedRequest, deadline: Deadline) -> Reply:
        """Make one try, and be done by the deadline (and a quarter of a second, at the most).

        Args:
            request: What to send; nothing in it is followed, repeated or added to.
            deadline: When to give up. A try that is given up cannot send any more.
        """
        fence = _Fence(deadline)
        replies: SimpleQueue[Reply] = SimpleQueue()
        try:
            self._threads.run(functools.partial(self._try, request, fence, replies))
        except RuntimeError:
            return NotSent("no thread to send it")
        with suppress(Empty):
            return replies.get(timeout=max(0.0, deadline.left()))
        fence.close()
        with suppress(Empty):
            reply = replies.get(timeout=LAST_WORDS_SECONDS)
            if not isinstance(reply, NoAnswer):  # else its reason is what our closing looked like to it
                return reply
        if fence.answer is not None:
            return fence.answer
        return NoAnswer("no answer in time") if fence.connected else NotSent("no connection in time")

    def _try(self, request: PreparedRequest, fence: _Fence, replies: SimpleQueue[Reply]) -> None:
        _fence.set(fence)
        left = max(0.001, fence.deadline.left())
        try:
            response = self._adapter.send(request, stream=True, timeout=(min(left, CONNECT_SECONDS), left))
        except Exception as failure:  # noqa: BLE001 - the edge of a thread; what is known, the fence knows
            replies.put(_what_is_known(failure, fence))
            return
        answered = fence.answer or Answered(response.status_code, None)
        replies.put(answered)
        answered.body.set_result(_drain(response, fence))


def _trusting(ca_bundle: str) -> ssl.SSLContext:
    if Path(ca_bundle).is_dir():
        return ssl.create_default_context(capath=ca_bundle)
    return ssl.create_default_context(cafile=ca_bundle)


def _what_is_known(failure: BaseException, fence: _Fence) -> Reply:
    if fence.answer is not None:
        fence.answer.body.set_result(b"")
        return fence.answer
    causes = list(_causes(failure))
    reason = type(causes[-1]).__name__
    if not fence.connected:
        return NotSent(reason)
    unsent = not fence.passed and any(
        isinstance(cause, _GivenUpError | ssl.SSLCertVerificationError) for cause in causes
    )
    return NotSent(reason) if unsent else NoAnswer(reason)


def _causes(failure: BaseException) -> Iterator[BaseException]:
    """Walk from what requests raises to what happened; urllib3 and requests wrap it as an argument or a reason."""
    seen: set[int] = set()
    current: object = failure
    while isinstance(current, BaseException) and id(current) not in seen:
        seen.add(id(current))
        yield current
        wrapped = getattr(current, "reason", None), *current.args, current.__cause__, current.__context__
        current = next((inner for inner in wrapped if isinstance(inner, BaseException)), None)


def _drain(response: Response, fence: _Fence) -> bytes:
    """Read a short rest, so that its connection can serve again; close the connection on a long or slow one."""
    raw = cast("HTTPResponse", response.raw)
    body = b""
    # Whatever goes wrong here, the answer has been given: all that is lost is the connection.
    with suppress(Exception):
        if fence.socket is not None:
            fence.socket.settimeout(_DRAIN_SECONDS)
        for _ in range(_DRAIN_READS):
            chunk = raw.read1(LONGEST_BODY - len(body))
            body += chunk
            if not chunk or len(body) >= LONGEST_BODY:
                break
    response.close()
    return body
