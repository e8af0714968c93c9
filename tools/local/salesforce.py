"""A Salesforce telephony endpoint on a real socket, for the local stack, the tests and the fault sweep.

It serves ``PATCH /telephony/v1/voiceCalls/{CALL ID}`` as "Update a Voice Call Record" describes it. It checks the same
as Salesforce, and keeps the resulting VoiceCalls. On demand it fails in every way that `tools.local.misbehaviour` has.
A method or a request under ``/simulator`` demands it.
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from tools.local import misbehaviour, request_rules, salesforce_control, voice_call_rules
from tools.local.certificates import Certificate
from tools.local.loopback import Connection, LoopbackServer
from tools.local.messages import Clock, Reply, Request, utc_now
from tools.local.misbehaviour import Behaviour, CloseUnread
from tools.local.token_rules import TokenRules
from tools.local.voice_call_rules import VoiceCall

_WITHHELD = "(withheld)"

Hook = Callable[["Received"], None]


@dataclass(frozen=True, slots=True)
class Received:
    """One request, successful or not, as far as it got when the list was read.

    Attributes:
        at: when it was read, by the simulator's clock.
        connection: number of the connection, counted from 1: two of the same number shared one.
        method, path: as sent; empty where the connection was reset unread.
        call_id: the CALL ID of the path, None where the path is not one of a VoiceCall.
        headers: as the client spelled them, the value of Authorization withheld.
        body: the JSON object sent, None if it was anything else.
        behaviour: how the simulator misbehaved, None if it did not.
        refusal: why Salesforce would refuse it, None if acceptable or not looked at.
        applied: whether it took effect.
        status: what the status line sent to the client says; None before that and where none was sent whole.
    """

    at: datetime
    connection: int
    method: str = ""
    path: str = ""
    call_id: str | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: dict[str, Any] | None = None
    behaviour: Behaviour | None = None
    refusal: str | None = None
    applied: bool = False
    status: int | None = None


class SalesforceSimulator:
    """The endpoint; a context manager that listens inside the ``with``.

    Attributes:
        before_apply: called in the connection's thread with each request once it is read to its last byte. That is
            before it can take effect, and for every request.
        after_apply: called there after a request took effect, before the answer.
        field_lengths: the lengths of custom fields, by name; a field that is not listed takes any text.
        refuses_long_values: whether a text longer than its field fails the request. Otherwise the text alone is not
            written. No page of Salesforce's says what an update does.
    """

    def __init__(
        self,
        *,
        public_key_pem: str | bytes,
        org_id: str,
        call_center_api_name: str,
        certificate: Certificate | None = None,
        port: int = 0,
        clock: Clock = utc_now,
    ) -> None:
        """Make an endpoint that is not yet listening.

        Args:
            public_key_pem: belongs to the private key that tokens must be signed with.
            org_id: the organisation's id, the tokens' ``iss``.
            call_center_api_name: the tokens' ``sub``.
            certificate: serve TLS with it, for containers too; None for plain HTTP.
            port: 0 for a free one.
            clock: gives the present moment, aware; decides about tokens.
        """
        self.before_apply: Hook | None = None
        self.after_apply: Hook | None = None
        self.field_lengths: Mapping[str, int] = {}
        self.refuses_long_values = True
        self._tokens = TokenRules(
            public_key_pem=public_key_pem, org_id=org_id, call_center_api_name=call_center_api_name
        )
        self._rules = request_rules.RequestRules(self._tokens)
        self._clock = clock
        self._server = LoopbackServer(
            self._serve, clock=clock, port=port, certificate=certificate, for_containers=certificate is not None
        )
        self._changed = self._server.changed
        self._queued: deque[Behaviour] = deque()
        self._usual: Behaviour | None = None
        self._received: list[Received] = []
        self._applied: list[tuple[str, dict[str, Any]]] = []
        self._calls: dict[str, VoiceCall] = {}
        self._not_created: dict[str, tuple[str, ...]] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()

    def start(self) -> None:
        """Listen; nothing if it already does. After a stop it listens on the same port again.

        Raises:
            OSError: the given port is taken.
        """
        self._server.start()

    def stop(self) -> None:
        """Refuse connections from now on and end those there are, hanging ones included; state is kept."""
        self._server.refuse()

    @property
    def url(self) -> str:
        """``http(s)://127.0.0.1:PORT``, without the path; known once started."""
        return self._server.url

    def seed(self, call_id: str) -> None:
        """Let the VoiceCall exist already: Salesforce makes it itself when an agent is offered the call."""
        with self._changed:
            self._calls[call_id] = VoiceCall(call_id)

    def accept_key(self, public_key_pem: str | bytes) -> None:
        """Accept from now on only tokens of this key: the organisation rotated it."""
        self._tokens.accept_key(public_key_pem)

    def next(self, *behaviours: Behaviour) -> None:
        """Misbehave so in the next requests, one each, after those already queued."""
        with self._changed:
            self._queued.extend(behaviours)

    def always(self, behaviour: Behaviour | None) -> None:
        """Misbehave so in every request for which nothing is queued; None: behave."""
        with self._changed:
            self._usual = behaviour

    def behave(self) -> None:
        """Forget every misbehaviour, queued ones too."""
        with self._changed:
            self._queued.clear()
            self._usual = None

    @property
    def received(self) -> list[Received]:
        """Every request so far, refused and unread ones included, in the order in which they were read."""
        with self._changed:
            return list(self._received)

    @property
    def voice_calls(self) -> dict[str, VoiceCall]:
        """The VoiceCalls that exist, by call id."""
        with self._changed:
            return dict(self._calls)

    @property
    def not_created(self) -> dict[str, tuple[str, ...]]:
        """Calls for which an accepted PATCH created nothing, with the properties it lacked for that."""
        with self._changed:
            return dict(self._not_created)

    def applied(self, call_id: str) -> int:
        """Return how many PATCHes of this call took effect; two are the defect that the tests look for.

        One that was accepted but created nothing for lack of a property counts too.
        """
        return len(self.applied_bodies(call_id))

    def applied_bodies(self, call_id: str) -> list[dict[str, Any]]:
        """Return the bodies that took effect on this call, oldest first."""
        with self._changed:
            return [body for applied_id, body in self._applied if applied_id == call_id]

    @property
    def connections_open(self) -> int:
        """How many connections neither side has ended."""
        with self._changed:
            return self._server.connections_open

    @property
    def connections_accepted(self) -> int:
        """How many connections were ever accepted, ones that broke off in the TLS handshake included."""
        with self._changed:
            return self._server.connections_accepted

    def wait_for(self, predicate: Callable[[Self], bool], timeout: float = 5.0) -> None:
        """Wait until the predicate holds; it is asked again on every change of what can be read here.

        Raises:
            TimeoutError: it did not within `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: predicate(self), timeout):
                raise TimeoutError(f"not within {timeout} s; received: {self._received}")

    def _serve(self, connection: Connection) -> bool:
        if connection.first_bytes().startswith(salesforce_control.BEGINNINGS):
            request = connection.read_request()
            connection.answer(salesforce_control.reply(self, request))
            return True
        unread = self._take_behaviour(unread=True)
        if unread is not None:
            self._record(Received(self._clock(), connection.number, behaviour=unread))
            return unread.play(connection, Reply(HTTPStatus.OK))
        return self._telephony(connection, connection.read_request())

    def _take_behaviour(self, *, unread: bool) -> Behaviour | None:
        """Take the behaviour whose turn it is, if it is of the kind that acts now: CloseUnread does first."""
        with self._changed:
            behaviour = self._queued[0] if self._queued else self._usual
            if isinstance(behaviour, CloseUnread) is not unread:
                return None
            if self._queued:
                self._queued.popleft()
            return behaviour

    def _telephony(self, connection: Connection, request: Request) -> bool:
        behaviour = self._take_behaviour(unread=False)
        entry = _received(request, self._clock(), behaviour)
        index = self._record(entry)
        if self.before_apply is not None:
            self.before_apply(entry)
        proper = misbehaviour.plausible(HTTPStatus.OK)
        if behaviour is None or behaviour.applied:
            refusal = self._rules.refusal(request, entry.at) or self._too_long(entry)
            if refusal is None:
                entry = self._apply(index, entry)
            else:
                entry = self._amend(index, replace(entry, refusal=refusal.message))
                proper = misbehaviour.refusal(refusal.status, refusal.message)
        return self._respond(connection, index, entry, proper)

    def _too_long(self, entry: Received) -> request_rules.Refusal | None:
        too_long = voice_call_rules.too_long(entry.body or {}, self.field_lengths)
        if not too_long or not self.refuses_long_values:
            return None
        return request_rules.Refusal(HTTPStatus.BAD_REQUEST, f"STRING_TOO_LONG {', '.join(too_long)}")

    def _respond(self, connection: Connection, index: int, entry: Received, proper: Reply) -> bool:
        behaviour = entry.behaviour
        if behaviour is None:
            self._amend(index, replace(entry, status=proper.status))
            connection.answer(proper)
            return True
        self._amend(index, replace(entry, status=behaviour.status))
        return behaviour.play(connection, proper)

    def _record(self, entry: Received) -> int:
        with self._changed:
            self._received.append(entry)
            self._changed.notify_all()
            return len(self._received) - 1

    def _amend(self, index: int, entry: Received) -> Received:
        with self._changed:
            self._received[index] = entry
            self._changed.notify_all()
        return entry

    def _apply(self, index: int, entry: Received) -> Received:
        if entry.call_id is None or entry.body is None:
            raise AssertionError("only an acceptable request is applied")
        with self._changed:
            self._applied.append((entry.call_id, entry.body))
            self._update(entry.call_id, entry.body)
            entry = self._amend(index, replace(entry, applied=True))
        if self.after_apply is not None:
            self.after_apply(entry)
        return entry

    def _update(self, call_id: str, body: dict[str, Any]) -> None:
        missing = voice_call_rules.missing_to_create(body)
        if call_id not in self._calls and missing:
            self._not_created[call_id] = missing
            return
        self._not_created.pop(call_id, None)
        call = self._calls.get(call_id, VoiceCall(call_id))
        updated = voice_call_rules.apply(call, body)
        too_long = voice_call_rules.too_long(body, self.field_lengths)
        written = {name: value for name, value in updated.custom_fields.items() if name not in too_long}
        self._calls[call_id] = replace(updated, custom_fields=written)


def _received(request: Request, at: datetime, behaviour: Behaviour | None) -> Received:
    headers = {name: _WITHHELD if name.lower() == "authorization" else value for name, value in request.headers.items()}
    return Received(
        at,
        request.connection,
        request.method,
        request.target,
        request_rules.call_id(request.target),
        headers,
        voice_call_rules.parse_object(request.body),
        behaviour,
    )
