"""The part of Amazon Connect's API that VoiceCall Sync calls, rest-json on a real socket.

boto3 finds it through ``AWS_ENDPOINT_URL_CONNECT`` or ``endpoint_url``. Fixtures are checked against botocore's model
of the service when they are put in. So a fixture cannot hold values that Connect cannot answer. Request signatures are
not checked.

`connect_search` has the search of SearchContacts.
"""

import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from tools.local import connect_shapes
from tools.local.connect_search import ContactIndex, InvalidSearchError, Search
from tools.local.loopback import Connection, LoopbackServer
from tools.local.messages import Clock, Reply, Request, utc_now


@dataclass(frozen=True, slots=True)
class _Failure:
    code: str
    status: int

    def reply(self, message: str) -> Reply:
        return Reply.of_json(self.status, {"Message": message}, ("x-amzn-ErrorType", self.code))


_NOT_FOUND = _Failure("ResourceNotFoundException", 404)
_UNKNOWN_OPERATION = _Failure("UnknownOperationException", 404)
_INVALID = _Failure("InvalidParameterException", 400)
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
        result_limit: int = 10_000,
    ) -> None:
        """Make an instance that is not yet listening and holds nothing.

        Args:
            instance_id: the instance's id, not its ARN; requests for another find nothing.
            port: 0 for a free one.
            clock: gives the present moment, aware; the Date of the answers, and what `search_lag` goes by.
            result_limit: how many results of one search SearchContacts hands out, page by page.
        """
        self.search_lag = timedelta()
        self.gives_total_count = True
        self.reverses_recordings = False
        self.tags_system_endpoint = True
        self.takes_new_methods = True
        self._instance_id = instance_id
        self._server = LoopbackServer(self._serve, clock=clock, port=port)
        self._lock = threading.Lock()
        self._resources: dict[tuple[str, str], Mapping[str, object]] = {}
        self._received: list[str] = []
        self._failures: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self._index = ContactIndex(clock=clock, result_limit=result_limit)
        self._operations = (
            self._describe("DescribeContact", "contacts", "Contact"),
            self._describe("DescribeQueue", "queues", "Queue"),
            self._describe("DescribeUser", "users", "User"),
            _Operation("SearchContacts", "POST", re.compile("/search-contacts"), self._search),
        )

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        """Add very many contacts as `put_contact` does; 100,000 take some seconds.

        Raises:
            ValueError: as for `put_contact`.
        """
        encoded = [_encoded("Contact", contact, identity="Id") for contact in contacts]
        self._add("Contact", encoded, identity="Id")

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

        boto3 itself retries 429 and 5xx: see its retry settings when choosing `times`.

        Raises:
            ValueError: no such operation.
        """
        names = [known.name for known in self._operations]
        if operation not in names:
            raise ValueError(f"operation must be one of {', '.join(names)}, not {operation}")
        failures = [_Failure(code, status).reply(f"{operation} was told to fail")] * times
        with self._lock:
            self._failures[operation].extend(failures)

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
        connection.answer(self._reply(connection.read_request()))
        return True

    def _reply(self, request: Request) -> Reply:
        for operation in self._operations:
            match = operation.pattern.fullmatch(request.target)
            if match is None or request.method != operation.method:
                continue
            ids = {name: unquote(value) for name, value in match.groupdict().items()}
            return self._note(operation.name, ids) or operation.answer(request, ids)
        self._note(f"{request.method} {request.target}", {})
        return _UNKNOWN_OPERATION.reply("unknown operation")

    def _note(self, operation: str, ids: Mapping[str, str]) -> Reply | None:
        """Record the request. Return its failure, if it was told to fail."""
        with self._lock:
            self._received.append(f"{operation} {ids.get('id', '')}".strip())
            failures = self._failures.get(operation)
            return failures.popleft() if failures else None


def _encoded(shape: str, resource: Mapping[str, object], *, identity: str) -> dict[str, object]:
    encoded = connect_shapes.encode(shape, resource)
    if identity not in encoded:
        raise ValueError(f"{shape} needs {identity}")
    return encoded
