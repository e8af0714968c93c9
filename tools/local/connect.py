"""The part of Amazon Connect's API that VoiceCall Sync calls, rest-json on a real socket.

boto3 finds it through ``AWS_ENDPOINT_URL_CONNECT`` or ``endpoint_url``. Fixtures are checked against botocore's model
of the service when they are put in. So a fixture cannot hold values that Connect cannot answer. Request signatures are
not checked.

`connect_search` has the search of SearchContacts. `connect_quotas` has the allowed rate of each operation, once quotas
are switched on.
"""

import re
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from tools.local import connect_shapes
from tools.local.connect_quotas import TokenBuckets
from tools.local.connect_search import ContactIndex, InvalidSearchError, Search
from tools.local.loopback import Connection, LoopbackServer
from tools.local.messages import Clock, Reply, Request, utc_now


@dataclass(frozen=True, slots=True)
class _Failure:
    code: str
    status: int

    def reply(self, message: str) -> Reply:
        return Reply.of_json(self.status, {"Message": message}, ("x-amzn-ErrorType", self.code))


_HANG = "hang"
_NOT_FOUND = _Failure("ResourceNotFoundException", 404)
_UNKNOWN_OPERATION = _Failure("UnknownOperationException", 404)
_INVALID = _Failure("InvalidParameterException", 400)
_THROTTLED = _Failure("TooManyRequestsException", 429)
_AT_ONCE = timedelta()
SYSTEM_ENDPOINT_TAG = "aws:connect:systemEndpoint"


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation of the API.

    Attributes:
        name: as in botocore's model.
        method, pattern: the request that asks for it; the pattern's groups are escaped.
        answer: given the request and the groups, unescaped.
    """

    name: str
    method: str
    pattern: re.Pattern[str]
    answer: Callable[[Request, Mapping[str, str]], Reply]


class ConnectSimulator:
    """One Connect instance; a context manager that listens inside the ``with``.

    Attributes:
        search_lag: how long after a put SearchContacts finds the contact. Until then it finds the contact's earlier
            state. DescribeContact has it at once. A change of the lag holds for later puts.
        gives_total_count: whether SearchContacts answers with TotalCount.
        reverses_recordings: whether DescribeContact lists Recordings the other way round than they were put. No page of
            Amazon's says in which order they are.
        tags_system_endpoint: whether DescribeContact has the tag `aws:connect:systemEndpoint` that was put. It is there
            in Amazon's sample events; for which contacts it is, no page says.
        takes_new_methods: whether SearchContacts takes the newer callback methods as a filter.
    """

    def __init__(
        self,
        *,
        instance_id: str,
        port: int = 0,
        clock: Clock = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        search_lag: timedelta = _AT_ONCE,
        result_limit: int = 10_000,
        quota_factor: float | None = None,
    ) -> None:
        """Make an instance that is not yet listening and holds nothing.

        Args:
            instance_id: the instance's id, not its ARN; requests for another find nothing.
            port: 0 for a free one.
            clock: gives the present moment, aware; the Date of the answers, and what `search_lag` goes by.
            monotonic: gives seconds that never run backwards; what the quotas go by.
            search_lag: see the class.
            result_limit: how many results of one search SearchContacts hands out, page by page.
            quota_factor: as for `quotas`, which it switches on from the start; None for no quotas.
        """
        self.search_lag = search_lag
        self.gives_total_count = True
        self.reverses_recordings = False
        self.tags_system_endpoint = True
        self.takes_new_methods = True
        self._instance_id = instance_id
        self._monotonic = monotonic
        self._server = LoopbackServer(self._serve, clock=clock, port=port)
        self._lock = threading.Lock()
        self._resources: dict[tuple[str, str], Mapping[str, object]] = {}
        self._received: list[str] = []
        self._failures: defaultdict[str, deque[Reply | str]] = defaultdict(deque)
        self._index = ContactIndex(clock=clock, result_limit=result_limit)
        self._buckets: TokenBuckets | None = None
        self._throttled: Counter[str] = Counter()
        self.quotas(quota_factor)
        self._operations = (
            self._describe("DescribeContact", "contacts", "Contact"),
            self._describe("DescribeQueue", "queues", "Queue"),
            self._describe("DescribeUser", "users", "User"),
            _Operation("SearchContacts", "POST", re.compile("/search-contacts"), self._search),
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; nothing if it already does. After a stop it listens on the same port again.

        Raises:
            OSError: the given port is taken.
        """
        self._server.start()

    def stop(self) -> None:
        """Refuse connections from now on and end those there are, hanging ones included; state is kept."""
        self._server.stop()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``; known once started."""
        return self._server.url

    def put_contact(self, contact: Mapping[str, object]) -> None:
        """Add the contact, or replace the one of the same Id.

        Args:
            contact: the Contact of DescribeContact in its own spelling, with ``Id``. Times are aware datetimes, ISO
                8601 text with an offset or epoch seconds. Absent members are absent from the answer.

        Raises:
            ValueError: a member the API does not have, or a value it cannot; the message names it.
        """
        self._put("Contact", contact, identity="Id")

    def put_contacts(self, contacts: Iterable[Mapping[str, object]]) -> None:
        """Add very many contacts as `put_contact` does, or none if one of them is refused.

        Each is checked as thoroughly; 100,000 take some seconds.

        Raises:
            ValueError: as for `put_contact`; the message begins with the contact's place, counted from 0.
        """
        encoded = []
        for place, contact in enumerate(contacts):
            try:
                encoded.append(_encoded("Contact", contact, identity="Id"))
            except ValueError as error:
                raise ValueError(f"[{place}]: {error}") from error
        self._add("Contact", encoded, identity="Id")

    def index_now(self) -> None:
        """Let SearchContacts find every contact as it was put last, without the `search_lag`."""
        self._index.index_now()

    def expire_tokens(self) -> None:
        """Let SearchContacts refuse every NextToken it gave so far."""
        self._index.expire_tokens()

    def put_queue(self, queue_id: str, name: str) -> None:
        """Add the queue, or rename it."""
        self._put("Queue", {"QueueId": queue_id, "Name": name}, identity="QueueId")

    def put_user(self, user_id: str, username: str) -> None:
        """Add the user (agent), or rename it."""
        self._put("User", {"Id": user_id, "Username": username}, identity="Id")

    def load(self, content: Mapping[str, Sequence[Mapping[str, object]]]) -> None:
        """Add ``{"contacts": [...], "queues": [...], "users": [...]}``.

        Contacts as for `put_contact`; queues ``{"QueueId", "Name", ...}`` and users ``{"Id", "Username",
        ...}`` as DescribeQueue and DescribeUser answer them. Each of the three lists may be left out.

        Raises:
            ValueError: another list, or something in one that the API does not have.
        """
        kinds = {"contacts": ("Contact", "Id"), "queues": ("Queue", "QueueId"), "users": ("User", "Id")}
        if unknown := content.keys() - kinds.keys():
            raise ValueError(f"unknown {', '.join(sorted(unknown))}")
        for name, resources in content.items():
            shape, identity = kinds[name]
            for resource in resources:
                self._put(shape, resource, identity=identity)

    def fail_next(
        self, operation: str, code: str = "TooManyRequestsException", status: int = 429, times: int = 1
    ) -> None:
        """Let the operation, e.g. ``DescribeContact``, fail the next `times` times.

        boto3 itself retries 429 and 5xx: see its retry settings when choosing `times`. Calls over the quota are
        not among them.

        Raises:
            ValueError: no such operation.
        """
        self._queue(operation, [_Failure(code, status).reply(f"{operation} was told to fail")] * times)

    def hang_next(self, operation: str, times: int = 1) -> None:
        """Let the operation not answer the next `times` times, until the client goes or `stop`.

        Raises:
            ValueError: no such operation.
        """
        self._queue(operation, [_HANG] * times)

    def behave(self) -> None:
        """Forget the failures and hangs still to come."""
        with self._lock:
            self._failures.clear()

    def quotas(self, factor: float | None = 1.0) -> None:
        """Refuse from now on with TooManyRequestsException what is over Connect's default quotas.

        They are, as calls a second (at once): DescribeContact 10 (15), SearchContacts 0.5 (1), DescribeQueue and
        DescribeUser each 2 (5). All can be used in full at first.

        Args:
            factor: multiplies them all, but at least one call at once is allowed; None for no quotas any more.

        Raises:
            ValueError: a factor that is not above zero.
        """
        buckets = None if factor is None else TokenBuckets(factor=factor, monotonic=self._monotonic)
        with self._lock:
            self._buckets = buckets

    @property
    def throttled(self) -> Mapping[str, int]:
        """How many calls of each operation were over its quota so far; 0 for one that is not in it."""
        with self._lock:
            return self._throttled.copy()

    @property
    def received(self) -> list[str]:
        """Operation and id of every request so far, e.g. ``DescribeContact 0a1b...``; failed ones too.

        A search, which has no id, is ``SearchContacts``.
        """
        with self._lock:
            return list(self._received)

    def _put(self, shape: str, resource: Mapping[str, object], *, identity: str) -> None:
        self._add(shape, [_encoded(shape, resource, identity=identity)], identity=identity)

    def _add(self, shape: str, encoded: list[dict[str, object]], *, identity: str) -> None:
        with self._lock:
            for resource in encoded:
                self._resources[shape, str(resource[identity])] = resource
            if shape == "Contact":
                self._index.put(encoded, self.search_lag)

    def _queue(self, operation: str, failures: list[Reply | str]) -> None:
        names = [known.name for known in self._operations]
        if operation not in names:
            raise ValueError(f"operation must be one of {', '.join(names)}, not {operation}")
        with self._lock:
            self._failures[operation].extend(failures)

    def _describe(self, name: str, collection: str, shape: str) -> _Operation:
        def answer(_request: Request, ids: Mapping[str, str]) -> Reply:
            with self._lock:
                resource = self._resources.get((shape, ids["id"]))
            if resource is None or ids["instance"] != self._instance_id:
                return _NOT_FOUND.reply(f"{shape} not found")
            return Reply.of_json(200, {shape: self._as_described(resource)})

        return _Operation(name, "GET", re.compile(rf"/{collection}/(?P<instance>[^/]+)/(?P<id>[^/]+)"), answer)

    def _as_described(self, resource: Mapping[str, object]) -> Mapping[str, object]:
        recordings, tags = resource.get("Recordings"), resource.get("Tags")
        if self.reverses_recordings and isinstance(recordings, list):
            resource = {**resource, "Recordings": recordings[::-1]}
        if not self.tags_system_endpoint and isinstance(tags, Mapping):
            resource = {**resource, "Tags": {name: tag for name, tag in tags.items() if name != SYSTEM_ENDPOINT_TAG}}
        return resource

    def _search(self, request: Request, _ids: Mapping[str, str]) -> Reply:
        try:
            search = Search.of_body(request.body, takes_new_methods=self.takes_new_methods)
            if search.instance_id != self._instance_id:
                return _NOT_FOUND.reply("Instance not found")
            answer = self._index.page(search)
        except InvalidSearchError as error:
            return _INVALID.reply(str(error))
        if not self.gives_total_count:
            del answer["TotalCount"]
        return Reply.of_json(200, answer)

    def _serve(self, connection: Connection) -> bool:
        request = connection.read_request()
        reply = self._reply(request)
        if reply is None:
            connection.await_departure()
            return False
        connection.answer(reply)
        return True

    def _reply(self, request: Request) -> Reply | None:
        """Return the answer, None for one that is never to come."""
        for operation in self._operations:
            match = operation.pattern.fullmatch(request.target)
            if match is None or request.method != operation.method:
                continue
            ids = {name: unquote(value) for name, value in match.groupdict().items()}
            failure = self._note(operation.name, ids)
            if failure == _HANG:
                return None
            return failure if isinstance(failure, Reply) else operation.answer(request, ids)
        self._note(f"{request.method} {request.target}", {})
        return _UNKNOWN_OPERATION.reply("unknown operation")

    def _note(self, operation: str, ids: Mapping[str, str]) -> Reply | str | None:
        """Record the request. Return its failure, by quota or by order; None if it does not fail."""
        with self._lock:
            self._received.append(f"{operation} {ids.get('id', '')}".strip())
            if self._buckets is not None and not self._buckets.take(operation):
                self._throttled[operation] += 1
                return _THROTTLED.reply("Too Many Requests")
            failures = self._failures.get(operation)
            return failures.popleft() if failures else None


def _encoded(shape: str, resource: Mapping[str, object], *, identity: str) -> dict[str, object]:
    encoded = connect_shapes.encode(shape, resource)
    if identity not in encoded:
        raise ValueError(f"{shape} needs {identity}")
    return encoded
