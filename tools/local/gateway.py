"""A gateway in front of AWS's APIs, which can make every request fail.

It is between the function and MiniStack or the simulators of Connect and SQS, on a real socket. It knows each request
by the name of its operation. It passes the request on, unless a test set a fault for it:

    REFUSED    the connection is reset; the request has had no effect
    ERROR      500; the request has had no effect
    LOST       the request has had its effect, the connection is reset instead of an answer
    HANG       no effect, no answer
    LATE_HANG  the request has had its effect, and no answer comes
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

import urllib3

from tools.local.loopback import Connection, LoopbackServer
from tools.local.messages import Reply, Request, utc_now
from tools.local.sqs import TARGET

_UPSTREAM_SECONDS = 30.0
_UPSTREAM_CONNECTIONS = 8
"""How many to one server are kept. Requests above that number open further ones."""
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})
_OURS = frozenset({"connection", "host", "origin"})
"""Headers of a request that are for this gateway, and not for the server behind it."""
_CONNECT_PATHS = {
    "contacts": "DescribeContact",
    "queues": "DescribeQueue",
    "users": "DescribeUser",
    "search-contacts": "SearchContacts",
}

_FORM = b"Action="
"""How a request in the query protocol begins."""


class Fault(StrEnum):
    """How a request fails; see the module."""

    REFUSED = "refused"
    ERROR = "error"
    LOST = "lost"
    HANG = "hang"
    LATE_HANG = "late hang"

    @property
    def has_effect(self) -> bool:
        """Whether the request is passed on."""
        return self in {Fault.LOST, Fault.LATE_HANG}


@dataclass(frozen=True, slots=True)
class _Set:
    fault: Fault
    skip: int
    times: int


class AwsGateway:
    """The gateway; a context manager that listens inside the ``with``.

    Attributes:
        before: called with the operation's name when its request was read, before anything is done about it.
        after: called with it when the call has had its effect, before the answer goes back.
        connect: base URL of what serves Connect.
        sqs: base URL of what serves SQS; empty where that is what serves the rest.
    """

    def __init__(
        self, *, aws: str, connect: str = "", sqs: str = "", port: int = 0, for_containers: bool = False
    ) -> None:
        """Make a gateway that is not yet listening.

        Args:
            aws: base URL of what serves the rest.
            connect: see the class; to be set before Connect is called.
            sqs: see the class.
            port: 0 for a free one.
            for_containers: see `LoopbackServer`.
        """
        self.before: Callable[[str], None] | None = None
        self.after: Callable[[str], None] | None = None
        self.connect = connect
        self.sqs = sqs
        self._aws = aws
        self._server = LoopbackServer(self._serve, clock=utc_now, port=port, for_containers=for_containers)
        self._changed = threading.Condition()
        self._under_way = 0
        self._faults: dict[str, _Set] = {}
        self._calls: list[str] = []
        # It keeps its connections: a new one for each request makes MiniStack work half as much again.
        self._upstream = urllib3.PoolManager(maxsize=_UPSTREAM_CONNECTIONS, timeout=_UPSTREAM_SECONDS)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()
        self._upstream.clear()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``; known once started."""
        return self._server.url

    @property
    def calls(self) -> list[str]:
        """The names of the operations called so far, faulty ones included."""
        with self._changed:
            return list(self._calls)

    def fail(self, operation: str, fault: Fault, *, skip: int = 0, times: int = 1_000_000) -> None:
        """Let the operation go wrong.

        Args:
            operation: as AWS spells it, e.g. ``PutItem``.
            fault: how.
            skip: how many calls still go well before.
            times: how many go wrong then.
        """
        with self._changed:
            self._faults[operation] = _Set(fault, skip, times)

    @property
    def under_way(self) -> int:
        """How many calls are neither answered nor broken off; one whose caller was killed may still have its effect."""
        with self._changed:
            return self._under_way

    def wait_for(self, predicate: Callable[[Self], bool], timeout: float = 20.0) -> None:
        """Wait until the predicate holds; it is asked again whenever a call begins or ends.

        Raises:
            TimeoutError: it did not within `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: predicate(self), timeout):
                raise TimeoutError(f"not within {timeout} s; under way: {self._under_way}, calls: {self._calls}")

    def heal(self) -> None:
        """Remove every fault, and forget the requests so far."""
        self.before = self.after = None
        with self._changed:
            self._faults.clear()
            self._calls.clear()

    def _serve(self, connection: Connection) -> bool:
        request = connection.read_request()
        self._count(1)
        try:
            return self._do(connection, request)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._changed:
            self._under_way += change
            self._changed.notify_all()

    def _do(self, connection: Connection, request: Request) -> bool:
        operation = _operation(request)
        fault = self._take(operation)
        if self.before is not None:
            self.before(operation)
        reply = self._pass_on(request) if fault is None or fault.has_effect else None
        if reply is not None and self.after is not None:
            self.after(operation)
        if reply is not None and fault is None:
            connection.answer(reply)
            return not request.wants_close
        if fault is Fault.ERROR:
            connection.answer(Reply.of_json(500, {"__type": "InternalServerError", "message": "told to fail"}))
            return True
        if fault in {Fault.HANG, Fault.LATE_HANG}:
            connection.await_departure()
        connection.reset()
        return False

    def _take(self, operation: str) -> Fault | None:
        with self._changed:
            self._calls.append(operation)
            found = self._faults.get(operation)
            if found is None or found.times == 0:
                return None
            if found.skip > 0:
                self._faults[operation] = _Set(found.fault, found.skip - 1, found.times)
                return None
            self._faults[operation] = _Set(found.fault, 0, found.times - 1)
            return found.fault

    def _pass_on(self, request: Request) -> Reply:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OURS}
        server = self._upstream.connection_from_url(self._behind(request))
        answer = server.urlopen(
            request.method, request.target, request.body, headers, retries=False, redirect=False, decode_content=False
        )
        kept = tuple((name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP)
        return Reply(answer.status, answer.data, kept)

    def _behind(self, request: Request) -> str:
        """Return the base URL of what serves the request."""
        if _is_connect(request):
            return self.connect
        return self.sqs if self.sqs and _is_sqs(request) else self._aws


def _is_sqs(request: Request) -> bool:
    return (request.header("X-Amz-Target") or "").startswith(TARGET)


def _is_connect(request: Request) -> bool:
    return request.header("X-Amz-Target") is None and _first_part(request.target) in _CONNECT_PATHS


def _first_part(target: str) -> str:
    return target.removeprefix("/").partition("/")[0]


def _operation(request: Request) -> str:
    """Name the operation: JSON protocols say it in a header, Connect's REST in the path, SNS's form in the body."""
    target = request.header("X-Amz-Target")
    if target is not None:
        return target.rpartition(".")[2]
    if request.body.startswith(_FORM):
        return request.body.removeprefix(_FORM).partition(b"&")[0].decode("ascii", "replace")
    return _CONNECT_PATHS.get(_first_part(request.target), request.target)
