"""Time-outs, deadlines, kept-alive connections and TLS, over real sockets; and clocks that jump."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import QUICK
from tests.contacts import contact_event, described, flow_event, new_id
from tests.sandbox import Context, Sandbox, ShiftedClock
from tools.local.certificates import Certificate, issue, issue_from_unknown_authority
from tools.local.gateway import Fault
from tools.local.ministack import MiniStack
from tools.local.misbehaviour import Answer, BreakTls, Drip, Hang, Stale
from tools.local.stack import LocalStack
from voicecall_sync.clock import Deadline, SystemClock
from voicecall_sync.telephony import Telephony
from voicecall_sync.wire import Answered, NoAnswer, NotSent, Wire

Finished = Callable[[str], str]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return issue(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def tls_stack(ministack: MiniStack, certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStack]:
    with LocalStack(ministack=ministack, table=f"tls-{new_id()}", certificate=certificate) as running:
        for name, value in {**running.environment(), **QUICK}.items():
            monkeypatch.setenv(name, value)
        yield running


# --- TLS -----------------------------------------------------------------------------------------------------------


def test_an_update_over_tls_keeps_its_connection(tls_stack: LocalStack) -> None:
    sandbox = Sandbox()
    ids = [new_id() for _ in range(3)]
    for contact_id in ids:
        assert sandbox.invoke(flow_event(contact_id)).status == "UPDATED"
        tls_stack.salesforce.wait_for(lambda salesforce: salesforce.connections_open <= 1)
    assert [tls_stack.salesforce.applied(contact_id) for contact_id in ids] == [1, 1, 1]


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
        assert stack.state(contact_id) == "NOT_APPLIED"
        assert stack.salesforce.received == []


def test_a_certificate_for_another_name_sends_nothing(tls_stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    contact_id = new_id()
    port = tls_stack.salesforce.url.rpartition(":")[2]
    monkeypatch.setenv("SCRT_ENDPOINT_BASE", f"https://127.0.0.2:{port}")
    with socket.create_server(("127.0.0.2", int(port))) as front:
        threading.Thread(target=_pipe_once, args=(front, int(port)), daemon=True).start()
        assert Sandbox().invoke(flow_event(contact_id)).status == "RETRY_LATER"
    assert tls_stack.state(contact_id) == "NOT_APPLIED"


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


@pytest.mark.parametrize("server", ["hangs", "closes", "speaks no TLS"])
def test_a_tls_handshake_that_fails_is_nothing_certain(
    tls_stack: LocalStack, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    """The table of answers calls every TLS error but a refused certificate unknown."""
    contact_id = new_id()
    tls_stack.connect.put_contact(described(contact_id, QueueInfo=None, AgentInfo=None))
    done = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            if server == "speaks no TLS":
                connection.recv(1)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            if server != "closes":
                done.wait(20)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        monkeypatch.setenv("SCRT_ENDPOINT_BASE", f"https://127.0.0.1:{listener.getsockname()[1]}")
        assert Sandbox().invoke(contact_event(contact_id)).status == "UNCERTAIN"
        done.set()
        thread.join()
    assert tls_stack.state(contact_id) == "UNCERTAIN"


# --- kept-alive connections ----------------------------------------------------------------------------------------


def test_contacts_in_quick_succession_share_a_connection(stack: LocalStack, sandbox: Sandbox) -> None:
    for _ in range(5):
        assert sandbox.invoke(flow_event(new_id())).status == "UPDATED"
    assert {request.connection for request in stack.salesforce.received} == {1}


@pytest.mark.parametrize("jump", [60.0, -60.0], ids=["forwards", "backwards"])
def test_a_connection_from_before_the_sandbox_was_frozen_is_not_reused(stack: LocalStack, jump: float) -> None:
    """The server has closed it meanwhile, or is about to; and a jumping clock says nothing about its age."""
    clock = ShiftedClock(0)
    sandbox = Sandbox(clock)
    assert sandbox.invoke(flow_event(new_id())).status == "UPDATED"
    clock.seconds += jump
    assert sandbox.invoke(flow_event(new_id())).status == "UPDATED"
    assert [request.connection for request in stack.salesforce.received] == [1, 2]


def test_a_connection_that_the_server_closed_is_not_reused(stack: LocalStack, sandbox: Sandbox) -> None:
    stack.salesforce.next(Stale())
    assert sandbox.invoke(flow_event(new_id())).status == "UPDATED"
    stack.salesforce.wait_for(lambda salesforce: salesforce.connections_open == 0)
    assert sandbox.invoke(flow_event(new_id())).status == "UPDATED"
    assert [request.connection for request in stack.salesforce.received] == [1, 2]


@pytest.mark.parametrize("status", [102, 103, 204, 304, 400, 429, 500])
def test_what_comes_late_is_not_taken_for_the_next_answer(stack: LocalStack, sandbox: Sandbox, status: int) -> None:
    """Nobody knows what may still come on a connection whose answer was not a plain 2xx with a body."""
    stack.salesforce.next(Answer(status), Answer(429))
    sandbox.invoke(flow_event(new_id()))
    assert sandbox.invoke(flow_event(new_id())).status == "RETRY_LATER"
    assert [request.connection for request in stack.salesforce.received] == [1, 2]


def test_an_unread_body_is_not_taken_for_the_next_answer(stack: LocalStack, sandbox: Sandbox) -> None:
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 400
    stack.salesforce.next(Answer(200, body=smuggled, applied=True), Answer(400))
    assert sandbox.invoke(flow_event(new_id())).status == "UPDATED"
    assert sandbox.invoke(flow_event(new_id())).status == "REJECTED"


# --- deadlines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["PATCH", "claim", "settle", "secret"])
def test_a_flow_has_its_answer_whatever_hangs(stack: LocalStack, sandbox: Sandbox, what: str) -> None:
    """What hangs here hangs for good: that there is an answer shows that nothing waits for it without end."""
    if what == "PATCH":
        stack.salesforce.next(Hang(applied=False))
    else:
        operation = {"claim": "PutItem", "settle": "UpdateItem", "secret": "GetSecretValue"}[what]
        stack.gateway.fail(operation, Fault.HANG)
    expected = {"PATCH": "UNCERTAIN", "settle": "UPDATED"}.get(what, "RETRY_LATER")
    assert sandbox.invoke(flow_event(new_id())).status == expected


def test_a_slow_claim_leaves_no_time_and_nothing_is_sent(stack: LocalStack, finished: Finished) -> None:
    """The clocks jump while the claim is under way: what was enough time before is none after."""
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


def test_time_that_is_up_before_the_first_byte_sends_nothing(stack: LocalStack) -> None:
    wire = Wire(None)
    telephony = Telephony(wire, stack.salesforce.url, "amazon-connect")
    request = telephony.prepare(new_id(), "a.b.c", b"{}")
    assert isinstance(telephony.patch(request, Deadline.after(SystemClock(), 0)), NotSent)
    assert stack.salesforce.received == []


def test_a_try_given_up_while_it_was_connecting_can_never_send() -> None:
    """The listener accepts nothing until the try was given up; then it finds a client that says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        host, port = listener.getsockname()
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)  # noqa: FBT003 - socket's own signature
            one.connect_ex((host, port))
        wire = Wire(None)
        telephony = Telephony(wire, f"http://{host}:{port}", "amazon-connect")
        request = telephony.prepare(new_id(), "a.b.c", b"{}")
        assert isinstance(telephony.patch(request, Deadline.after(SystemClock(), 0.3)), NotSent)
        for one in waiting:
            one.close()
        listener.settimeout(0.5)
        received = b""
        with suppress(TimeoutError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(3)
                    with suppress(OSError):
                        received += connection.recv(100)
    assert received == b""


class ClockThatStandsStillForTheTry(SystemClock):
    """The thread of the try believes that it has a minute more than its caller does."""

    def _behind(self) -> float:
        return 60.0 if threading.current_thread().name == "try" else 0.0

    def now(self) -> datetime:
        return super().now() - timedelta(seconds=self._behind())

    def monotonic(self) -> float:
        return super().monotonic() - self._behind()


def test_a_try_given_up_in_the_tls_handshake_sends_nothing_when_it_wakes(certificate: Certificate) -> None:
    """The server holds the handshake until the try was given up, completes it, and waits for a first byte."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    given_up = threading.Event()
    received: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        given_up.wait(20)
        with context.wrap_socket(connection, server_side=True) as tls:
            received.append(tls.recv(100))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,), daemon=True)
        server.start()
        telephony = Telephony(
            Wire(str(certificate.ca_file)), f"https://127.0.0.1:{listener.getsockname()[1]}", "amazon-connect"
        )
        request = telephony.prepare(new_id(), "a.b.c", b"{}")
        reply = telephony.patch(request, Deadline.after(ClockThatStandsStillForTheTry(), 0.3))
        given_up.set()
        server.join(20)
    assert isinstance(reply, NoAnswer)
    assert received == [b""]


def test_tries_one_after_another_share_a_thread_and_one_that_hangs_is_replaced(stack: LocalStack) -> None:
    telephony = Telephony(Wire(None), stack.salesforce.url, "amazon-connect")
    others = set(threading.enumerate())

    def patch() -> Answered:
        request = telephony.prepare(new_id(), "a.b.c", b"{}")
        reply = telephony.patch(request, Deadline.after(SystemClock(), 20))
        assert isinstance(reply, Answered)
        return reply

    def tries() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "try"} - others

    seen: set[threading.Thread] = set()
    stack.salesforce.before_apply = lambda _: seen.update(tries())
    for _ in range(10):
        patch().body.result(20)
    assert len(seen) <= 2  # one may be on its way back when the next try comes
    stack.salesforce.next(Drip("body", applied=False, code=400, interval=0.5))
    slow = patch()
    patch()
    assert not slow.body.done()
    for thread in tries():
        thread.join(20)
    assert tries() == set()
    patch()


def test_the_answer_is_there_before_its_body(stack: LocalStack) -> None:
    stack.salesforce.next(Drip("body", applied=False, code=400))
    telephony = Telephony(Wire(None), stack.salesforce.url, "amazon-connect")
    reply = telephony.patch(telephony.prepare(new_id(), "a.b.c", b"{}"), Deadline.after(SystemClock(), 20))
    assert isinstance(reply, Answered)
    assert not reply.body.done()


def test_no_fresh_token_is_fetched_where_time_is_short(stack: LocalStack) -> None:
    """The clocks jump while the first PATCH is under way: what is left is for settling."""
    clock = ShiftedClock(0)
    sandbox = Sandbox(clock)
    assert sandbox.invoke(flow_event(new_id())).status == "UPDATED"

    def jump(_: object) -> None:
        clock.seconds += 5

    stack.salesforce.before_apply = jump
    stack.salesforce.next(Answer(401))
    result = sandbox.invoke(flow_event(new_id()))
    assert result.answer is not None
    assert result.answer["status"] == "RETRY_LATER"
    assert result.answer["detail"] == "Salesforce answered 401; no time for a fresh token"
    assert stack.gateway.calls.count("GetSecretValue") == 1


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
    assert result.answer["detail"] == "too little time is left to claim it again"
    assert stack.state(contact_id) == "NOT_APPLIED"


def test_an_invocation_with_little_time_left_is_not_begun(stack: LocalStack, sandbox: Sandbox) -> None:
    for remaining in (0.0, 0.4, 2.0):
        result = sandbox.invoke(contact_event(new_id()), Context(remaining))
        assert result.status == "raised"
    assert stack.salesforce.received == []
