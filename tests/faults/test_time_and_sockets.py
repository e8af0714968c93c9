"""Connections, time-outs, deadlines and TLS, over real sockets; and clocks that jump."""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import QUICK
from tests.support.contacts import contact_event, flow_event, new_id
from tests.support.sandbox import Context, Sandbox, ShiftedClock, send_to
from tools.local.certificates import Certificate, issue, issue_from_unknown_authority
from tools.local.gateway import AwsGateway, Fault
from tools.local.local_stack import ROOT, LocalStack
from tools.local.ministack import MiniStack
from tools.local.misbehaviour import Answer, BreakTls, Close, Drip, Hang, Reset
from voicecall_sync.clock import Deadline, SystemClock
from voicecall_sync.salesforce.attempt import Connection, NoAnswer, NotSent, Salesforce

Finished = Callable[[str], str]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return issue(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def tls_stack(
    ministack: MiniStack, gateway: AwsGateway, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalStack]:
    table = f"tls-{new_id()}"
    with LocalStack(ministack=ministack, gateway=gateway, table=table, certificate=certificate) as running:
        for name, value in {**running.environment(), **QUICK}.items():
            monkeypatch.setenv(name, value)
        running.put_secret(running.jwt_secret())
        yield running


@pytest.fixture(params=["http", "https"])
def either(request: pytest.FixtureRequest) -> LocalStack:
    """A stack whose Salesforce speaks TLS, and one whose does not."""
    running: LocalStack = request.getfixturevalue("stack" if request.param == "http" else "tls_stack")
    return running


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve one connection so, on the port given."""

    def accept(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(20)


# --- one connection for one attempt --------------------------------------------------------------------------------


def test_each_attempt_has_one_connection(either: LocalStack) -> None:
    """Over TLS 1.3 the server sends session tickets behind the handshake: they are no reason to connect anew."""
    sandbox, ids = Sandbox(), [new_id() for _ in range(3)]
    for contact_id in ids:
        assert sandbox.invoke(flow_event(contact_id)).status == "UPDATED"
        either.salesforce.wait_for(lambda salesforce: salesforce.connections_open == 0)
    assert [request.connection for request in either.salesforce.received] == [1, 2, 3]
    assert either.salesforce.connections_accepted == 3
    assert [either.salesforce.applied(contact_id) for contact_id in ids] == [1, 1, 1]


def test_tests_over_tls_use_tickets(tls_stack: LocalStack, certificate: Certificate) -> None:
    host, port = tls_stack.salesforce.url.removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=certificate.ca_file)
    with (
        socket.create_connection((host, int(port)), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        assert tls.version() == "TLSv1.3"
        tls.sendall(b"GET /simulator/received HTTP/1.1\r\nHost: localhost:%s\r\n\r\n" % port.encode())
        assert tls.recv(4) == b"HTTP"
        assert tls.session is not None
        assert tls.session.has_ticket


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_connection_closed_during_a_slow_claim_gets_nothing(either: LocalStack, attempts: int) -> None:
    """Also where the claim is one over a record that was not applied."""
    contact_id = new_id()
    sandbox = Sandbox()
    if attempts == 2:
        either.salesforce.next(Answer(429))
        assert sandbox.invoke(flow_event(contact_id)).status == "RETRY_LATER"
    before = len(either.salesforce.received)
    either.gateway.after = lambda operation: either.salesforce.stop() if operation == "PutItem" else None

    result = sandbox.invoke(flow_event(contact_id))

    assert result.answer is not None
    assert result.answer["status"] == "RETRY_LATER"
    assert "closed the connection before the request" in result.answer["detail"]
    assert either.state(contact_id) == "NOT_APPLIED"
    assert len(either.salesforce.received) == before

    either.gateway.after = None
    either.salesforce.start()
    assert sandbox.invoke(flow_event(contact_id)).status == "UPDATED"
    assert either.salesforce.applied(contact_id) == 1


def test_a_server_that_speaks_first_gets_nothing(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that tires of waiting answers 408 to a request that it has not got."""
    contact_id, received, spoken = new_id(), [], threading.Event()

    def tire(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        spoken.set()
        received.append(connection.recv(1000))

    stack.gateway.before = lambda operation: operation == "PutItem" and spoken.wait(20)  # type: ignore[assignment]
    with server(tire) as port:
        send_to(f"http://127.0.0.1:{port}", stack, monkeypatch)
        assert Sandbox().invoke(flow_event(contact_id)).status == "RETRY_LATER"
    assert not any(received)
    assert stack.state(contact_id) == "NOT_APPLIED"


def test_a_name_with_several_addresses_is_tried_one_by_one(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least one of localhost's addresses does not listen on this port."""
    contact_id = new_id()
    send_to(stack.salesforce.url.replace("127.0.0.1", "localhost"), stack, monkeypatch)
    assert Sandbox().invoke(flow_event(contact_id)).status == "UPDATED"
    assert stack.salesforce.applied(contact_id) == 1


@pytest.mark.parametrize("behaviour", [Close(applied=True), Reset(applied=True), Hang(applied=True)], ids=str)
def test_nothing_is_left_open(either: LocalStack, behaviour: Close | Reset | Hang) -> None:
    either.salesforce.next(behaviour)
    assert Sandbox().invoke(flow_event(new_id())).status == "UNCERTAIN"
    either.salesforce.wait_for(lambda salesforce: salesforce.connections_open == 0)


def test_a_refusal_is_settled_before_its_body_is_read(stack: LocalStack, sandbox: Sandbox) -> None:
    """The part of an endless body that comes at once makes the detail better. The record does not wait for it."""
    contact_id = new_id()
    stack.salesforce.next(Drip("body", applied=False, code=400))
    states = []

    def look(operation: str) -> None:
        states.append((operation, stack.salesforce.connections_open))

    stack.gateway.after = look
    result = sandbox.invoke(flow_event(contact_id))
    assert result.status == "REJECTED"
    assert states[-1] == ("UpdateItem", 1)
    stack.salesforce.wait_for(lambda salesforce: salesforce.connections_open == 0)


# --- TLS -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behaviour",
    [BreakTls(applied=True), BreakTls(applied=True, how="plaintext"), Hang(applied=True), Drip("status", applied=True)],
    ids=["cut under the TLS", "plain text in the TLS", "no answer", "dripping status line"],
)
def test_tls_that_breaks_after_the_request_was_read(tls_stack: LocalStack, behaviour: BreakTls | Hang | Drip) -> None:
    contact_id = new_id()
    tls_stack.salesforce.next(behaviour)
    sandbox = Sandbox()
    assert sandbox.invoke(flow_event(contact_id)).status == "UNCERTAIN"
    assert tls_stack.state(contact_id) == "UNCERTAIN"
    assert sandbox.invoke(flow_event(contact_id)).status == "DUPLICATE"
    assert tls_stack.salesforce.applied(contact_id) == 1


def test_a_certificate_we_refuse_sends_nothing(
    ministack: MiniStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact_id = new_id()
    unknown = issue_from_unknown_authority(tmp_path)
    with LocalStack(ministack=ministack, table=f"tls-{contact_id}", certificate=unknown) as stack:
        for name, value in stack.environment().items():
            monkeypatch.setenv(name, value)
        result = Sandbox().invoke(flow_event(contact_id))
        assert result.answer is not None
        assert result.answer["status"] == "RETRY_LATER"
        assert "SSLCertVerificationError" in result.answer["detail"]
        assert not stack.was_claimed(contact_id)
        assert stack.salesforce.received == []


def test_a_certificate_for_another_name_sends_nothing(tls_stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    contact_id = new_id()
    port = tls_stack.salesforce.url.rpartition(":")[2]
    monkeypatch.setenv("SCRT_ENDPOINT_BASE", f"https://127.0.0.2:{port}")
    with socket.create_server(("127.0.0.2", int(port))) as front:
        threading.Thread(target=_pipe_once, args=(front, int(port)), daemon=True).start()
        assert Sandbox().invoke(flow_event(contact_id)).status == "RETRY_LATER"
    assert not tls_stack.was_claimed(contact_id)


def _pipe_once(front: socket.socket, port: int) -> None:
    """Pass one connection on to another address, so that its certificate names the wrong host."""
    client, _ = front.accept()
    server = socket.create_connection(("127.0.0.1", port))

    def pump(reader: socket.socket, writer: socket.socket) -> None:
        with suppress(OSError):
            while data := reader.recv(65536):
                writer.sendall(data)
            writer.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=pump, args=(server, client), daemon=True)
    back.start()
    pump(client, server)
    back.join()
    client.close()
    server.close()


def hang(connection: socket.socket) -> None:
    while connection.recv(1000):
        pass


def speak_no_tls(connection: socket.socket) -> None:
    connection.recv(1)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    hang(connection)


def drip(connection: socket.socket) -> None:
    """The beginning of a TLS record of 16 KB, and then of it a byte now and then."""
    connection.sendall(b"\x16\x03\x03\x40\x00\x02")
    while True:
        connection.sendall(b"\x00")
        time.sleep(0.05)


@pytest.mark.parametrize("how", [hang, lambda connection: connection.close(), speak_no_tls, drip])
def test_a_tls_handshake_that_fails_sends_nothing(
    tls_stack: LocalStack, monkeypatch: pytest.MonkeyPatch, how: Callable[[socket.socket], None]
) -> None:
    contact_id = new_id()
    with server(how) as port:
        monkeypatch.setenv("SCRT_ENDPOINT_BASE", f"https://127.0.0.1:{port}")
        monkeypatch.setenv("TEST_FLOW_SECONDS", "5")
        monkeypatch.setenv("TEST_AWS_SECONDS", "0.5")
        assert Sandbox().invoke(flow_event(contact_id)).status == "RETRY_LATER"
    assert not tls_stack.was_claimed(contact_id)


NAME_SERVER = "127.0.0.77"
ASKS_FOR_A_NAME = """
import json, sys
sys.path[:0] = ["src"]
from tests.support.sandbox import Sandbox
Sandbox().invoke(json.loads(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs a mount namespace of its own")
def test_a_name_that_hangs_is_asked_for_before_the_claim(stack: LocalStack, tmp_path: Path) -> None:
    """The C library's resolver cannot be bounded; Lambda ends the invocation, and nothing was claimed."""
    contact_id, resolv = new_id(), tmp_path / "resolv.conf"
    resolv.write_text(f"nameserver {NAME_SERVER}\n")
    program = [sys.executable, "-c", ASKS_FOR_A_NAME, json.dumps(flow_event(contact_id))]
    apart = ["unshare", "--mount", "sh", "-c", f'mount --bind {resolv} /etc/resolv.conf && exec "$@"', "sh"]
    elsewhere = "https://slow.example.com"
    stack.put_secret(stack.provisioned_secret(elsewhere))
    environment = {**os.environ, **stack.environment(), "SCRT_ENDPOINT_BASE": elsewhere}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind((NAME_SERVER, 53))
        mute.settimeout(60)
        with subprocess.Popen([*apart, *program], cwd=ROOT, env=environment) as process:
            mute.recv(1000)
            process.kill()
    assert "GetSecretValue" in stack.gateway.calls
    assert not stack.was_claimed(contact_id)


# --- deadlines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["PATCH", "claim", "settle", "secret"])
def test_a_flow_has_its_answer_although_a_request_hangs(stack: LocalStack, sandbox: Sandbox, what: str) -> None:
    """What hangs here hangs for good: that there is an answer shows that nothing waits for it without end."""
    if what == "PATCH":
        stack.salesforce.next(Hang(applied=False))
    else:
        operation = {"claim": "PutItem", "settle": "UpdateItem", "secret": "GetSecretValue"}[what]
        stack.gateway.fail(operation, Fault.HANG)
    expected = {"PATCH": "UNCERTAIN", "settle": "UPDATED"}.get(what, "RETRY_LATER")
    assert sandbox.invoke(flow_event(new_id())).status == expected


def test_a_slow_claim_leaves_no_time_and_nothing_is_sent(stack: LocalStack, finished: Finished) -> None:
    """The clocks jump while the claim is under way: before it there was enough time, after it too little."""
    contact_id = finished(new_id())
    clock = ShiftedClock(0)
    sandbox = Sandbox(clock)

    def jump(operation: str) -> None:
        if operation == "PutItem":
            clock.seconds += 7.5

    stack.gateway.after = jump
    result = sandbox.invoke(flow_event(contact_id))
    assert result.answer is not None
    assert result.answer["status"] == "RETRY_LATER"
    assert "too little time was left after the claim" in result.answer["detail"]
    assert stack.state(contact_id) == "NOT_APPLIED"
    assert stack.salesforce.received == []

    stack.gateway.after = None
    assert sandbox.invoke(flow_event(contact_id)).status == "UPDATED"


@pytest.mark.parametrize("jump", [-3600.0, 3600.0], ids=["back", "ahead"])
@pytest.mark.parametrize("moment", ["GetSecretValue", "PutItem", "PATCH", "UpdateItem"])
def test_the_clock_jumps_an_hour(stack: LocalStack, moment: str, jump: float) -> None:
    contact_id = new_id()
    clock = ShiftedClock(0)
    sandbox = Sandbox(clock)

    def at(operation: str) -> None:
        if operation == moment:
            clock.seconds += jump

    stack.gateway.after = at
    stack.salesforce.after_apply = lambda _: at("PATCH")
    sandbox.invoke(flow_event(contact_id))
    stack.gateway.heal()
    stack.salesforce.after_apply = None
    for _ in range(2):
        sandbox.invoke(flow_event(contact_id))
    assert stack.salesforce.applied(contact_id) <= 1
    assert stack.salesforce.applied(contact_id) == 1 or stack.state(contact_id) in {"NOT_APPLIED", "UNCERTAIN"}


class LeaseEnds(SystemClock):
    """The time of day is an hour on from the second look on."""

    looks = 0

    def now(self) -> datetime:
        self.looks += 1
        return super().now() + timedelta(hours=self.looks > 1)


def test_a_sandbox_frozen_during_a_request_sends_no_more() -> None:
    """What an operator released meanwhile may have been sent by another."""
    clock = LeaseEnds()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lease = datetime.now(UTC) + timedelta(minutes=1)
        reply = Connection(ours).send(b"x" * 100_000, Deadline.after(clock, 20), lease)
        ours.close()
        received = b"".join(iter(lambda: theirs.recv(65536), b""))
    assert isinstance(reply, NoAnswer)
    assert 0 < len(received) < 10_000


class BreaksOnClose(socket.socket):
    def close(self) -> None:
        super().close()
        raise OSError("input/output error")


def test_a_close_that_fails_keeps_no_contact_from_being_settled() -> None:
    connection = Connection(BreaksOnClose())
    connection.close()
    assert not connection.is_open()


def test_nothing_is_sent_once_the_lease_has_run_out() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reply = Connection(ours).send(b"x", Deadline.after(SystemClock(), 20), datetime.now(UTC))
        ours.close()
        assert theirs.recv(10) == b""
    assert isinstance(reply, NotSent)


@contextmanager
def swallowing() -> Iterator[tuple[str, int]]:
    """An address that never answers: the queue of a listener that never accepts, once full, ignores the next."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as waiting:
        for _ in range(8):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)  # noqa: FBT003 - socket's own signature
            one.connect_ex(full.getsockname())
        yield full.getsockname()


def test_an_address_that_swallows_leaves_the_next_its_turn(stack: LocalStack) -> None:
    host, port = stack.salesforce.url.removeprefix("http://").split(":")
    with swallowing() as mute:
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, 12345, "", (host, int(port))),  # a kind that this machine lacks
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", mute),
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, int(port))),
        ]
        salesforce = Salesforce(stack.salesforce.url, "", lambda *_, **__: addresses)
        connection = salesforce.connect(Deadline.after(SystemClock(), 4.0))
    assert connection.is_open()
    connection.close()


class FrozenClock(ShiftedClock):
    """A sandbox that is frozen: the time of day goes on, and its monotonic clock stands still."""

    def monotonic(self) -> float:
        return super().monotonic() - self.seconds


@pytest.mark.parametrize("source", [flow_event, contact_event], ids=["flow", "event"])
def test_a_sandbox_frozen_after_its_claim_sends_nothing_later(
    stack: LocalStack, finished: Finished, source: Callable[[str], dict[str, object]]
) -> None:
    """By then its invocation was over, and the contact may be UNCERTAIN: the lease has run out."""
    contact_id = finished(new_id())
    clock = FrozenClock(0)

    def freeze(operation: str) -> None:
        if operation == "PutItem":
            clock.seconds += 31

    stack.gateway.after = freeze
    Sandbox(clock).invoke(source(contact_id), Context(remaining=30.0))
    record = stack.record(contact_id)
    assert record is not None
    assert "time was over after the claim" in record["detail"]["S"]
    assert record["state"] == {"S": "NOT_APPLIED"}
    assert stack.salesforce.received == []


def test_a_refused_token_is_not_replaced_under_the_same_claim(stack: LocalStack, sandbox: Sandbox) -> None:
    contact_id = new_id()
    stack.salesforce.next(Answer(401))
    assert sandbox.invoke(flow_event(contact_id)).status == "RETRY_LATER"
    assert [request.status for request in stack.salesforce.received] == [401]
    assert stack.state(contact_id) == "NOT_APPLIED"
    assert stack.gateway.calls.count("GetSecretValue") == 1
    assert sandbox.invoke(flow_event(contact_id)).status == "UPDATED"
    assert stack.gateway.calls.count("GetSecretValue") == 2


def test_nothing_is_claimed_again_where_time_is_short(stack: LocalStack) -> None:
    contact_id = new_id()
    clock = ShiftedClock(0)
    sandbox = Sandbox(clock)
    stack.salesforce.next(Answer(429))
    assert sandbox.invoke(flow_event(contact_id)).status == "RETRY_LATER"

    def jump(operation: str) -> None:
        if operation == "PutItem":
            clock.seconds += 6.5

    stack.gateway.after = jump
    result = sandbox.invoke(flow_event(contact_id))
    assert result.answer is not None
    assert result.answer["detail"].startswith("too little time is left to claim, to send and to settle; ")
    assert stack.state(contact_id) == "NOT_APPLIED"


def test_an_invocation_with_little_time_left_is_not_begun(stack: LocalStack, sandbox: Sandbox) -> None:
    for remaining in (0.0, 0.4, 2.0):
        result = sandbox.invoke(contact_event(new_id()), Context(remaining))
        assert result.status == "raised"
    assert stack.salesforce.received == []
