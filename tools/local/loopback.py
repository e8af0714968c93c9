"""An HTTP/1.1 server on 127.0.0.1 whose connections can also fail.

The standard library's `http.server` can only answer correctly. The simulators must be able to stop half-way through a
status line, reset a connection or break TLS. So they hold the connection themselves.
"""

import contextlib
import http.client
import io
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus

from tools.local.certificates import Certificate
from tools.local.door import HOST, own_hosts, refusal
from tools.local.messages import Clock, Reply, Request

_LONGEST_LINE = 65536
_BACKLOG = 128
_STOP_SECONDS = 5.0


def free_ports(count: int) -> tuple[int, ...]:
    """Return different ports of 127.0.0.1 that are free at this moment."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return tuple(probe.getsockname()[1] for probe in probes)


class ClientGoneError(Exception):
    """The client closed, reset or never properly opened the connection."""


class MalformedRequestError(Exception):
    """It is not an HTTP/1.1 request with a Content-Length; the connection cannot be used any further."""


class ForeignRequestError(Exception):
    """A request that is not meant for this server, or that a web page of another origin sent."""


class Connection:
    """One accepted connection, plain or TLS, seen from the server.

    Every method that talks to the client raises `ClientGoneError` once it has gone.
    """

    def __init__(
        self, sock: socket.socket, number: int, stopping: threading.Event, clock: Clock, own: Collection[str]
    ) -> None:
        self.number = number
        self.stopping = stopping
        self.is_last_request = False
        self._clock = clock
        self._own = own
        self._sock = sock
        self._reader = sock.makefile("rb")

    @property
    def is_tls(self) -> bool:
        """Whether the client speaks TLS to us."""
        return isinstance(self._sock, ssl.SSLSocket)

    def handshake(self) -> None:
        """Do our half of the TLS handshake; nothing on a plain connection."""
        if isinstance(self._sock, ssl.SSLSocket):
            with _client_may_go():
                self._sock.do_handshake()

    def first_bytes(self) -> bytes:
        """Wait for the next request and return its beginning without consuming it; empty at the end."""
        with _client_may_go():
            return self._reader.peek(1)

    def read_request(self) -> Request:
        """Read the next request to its last byte.

        Raises:
            MalformedRequestError: it is not one.
            ForeignRequestError: its Host or its Origin is not this server's own.
        """
        with _client_may_go():
            request_line, head = self._read_head()
            try:
                method, target, _version = request_line.decode("latin-1").split()
                headers = http.client.parse_headers(io.BytesIO(head))
                length = int(headers.get("Content-Length", "0"))
            except (ValueError, http.client.HTTPException) as error:
                raise MalformedRequestError from error
            if "Transfer-Encoding" in headers or length < 0:
                raise MalformedRequestError
            body = self._reader.read(length)
        if len(body) < length:
            raise ClientGoneError
        request = Request(self.number, method, target, dict(headers.items()), body)
        if why := refusal(request.header, self._own):
            raise ForeignRequestError(why)
        self.is_last_request = request.wants_close
        return request

    def _read_head(self) -> tuple[bytes, bytes]:
        # http.client takes a head that breaks off for a whole one: a killed client would look alive
        lines = [self._reader.readline(_LONGEST_LINE)]
        while lines[-1] not in {b"\r\n", b""}:
            lines.append(self._reader.readline(_LONGEST_LINE))
        if not lines[-1]:
            raise ClientGoneError
        return lines[0], b"".join(lines[1:])

    def answer(self, reply: Reply) -> None:
        """Send a complete answer, saying ``Connection: close`` where the client asked for that."""
        if self.is_last_request and not reply.ends_connection:
            reply = replace(reply, headers=(*reply.headers, ("Connection", "close")))
        self.send(reply.to_bytes(self._clock()))

    def send(self, data: bytes) -> None:
        """Send the bytes in one call, so that head and body are not two segments with a delay between."""
        with _client_may_go():
            self._sock.sendall(data)

    def send_raw(self, data: bytes) -> None:
        """Send bytes under the TLS, where the client expects a TLS record; without TLS just send."""
        with _client_may_go():
            socket.socket.sendall(self._sock, data)

    def await_departure(self) -> None:
        """Wait until the client has gone or the server is being stopped; what still comes is dropped."""
        with contextlib.suppress(OSError, ValueError):
            while self._reader.read1(_LONGEST_LINE):
                pass

    def hang_up(self) -> None:
        """Close in order: close_notify over TLS, then FIN."""
        if isinstance(self._sock, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):
                self._sock.settimeout(0)  # sends our close_notify without waiting for the client's
                self._sock.unwrap()
        self.drop()

    def drop(self) -> None:
        """Close with a FIN, over TLS without close_notify: what a crashed server leaves behind."""
        self._reader.close()
        self._sock.close()

    def reset(self) -> None:
        """Close with a RST."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.drop()

    def interrupt(self) -> None:
        """End every wait on this connection; the only method another thread may call."""
        with contextlib.suppress(OSError):
            # not SSLSocket's own shutdown, which takes the TLS state from under the thread in it
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)


@contextlib.contextmanager
def _client_may_go() -> Iterator[None]:
    try:
        yield
    except OSError as error:  # ssl.SSLError is one
        raise ClientGoneError from error


class LoopbackServer:
    """Accepts connections on 127.0.0.1 and serves each in a daemon thread of its own.

    Can be started again after a stop, on the same port: between the two, connecting is refused.
    """

    def __init__(
        self,
        serve: Callable[[Connection], bool],
        *,
        clock: Clock,
        port: int = 0,
        certificate: Certificate | None = None,
        for_containers: bool = False,
    ) -> None:
        """Make a server that is not yet listening.

        Args:
            serve: called in the connection's thread when a request begins. It reads and answers the request, and
                returns whether the connection may go on. A client may also ask for its end. Exceptions other than
                this module's reach `threading.excepthook`.
            clock: gives the Date of the answers.
            port: 0 for a free one.
            certificate: serve TLS with it; None for plain HTTP.
            for_containers: whether what runs in a container reaches it too, under that name of this machine.
        """
        self._for_containers = for_containers
        self._serve = serve
        self._clock = clock
        self._port = port
        self._tls = None if certificate is None else _tls_context(certificate)
        self._changed = threading.Condition()
        self._open: dict[int, Connection] = {}
        self._threads: set[threading.Thread] = set()
        self._accepted = 0
        self._listening: _Listening | None = None
        self._kept: socket.socket | None = None

    @property
    def url(self) -> str:
        """Scheme, host and port without a slash at the end; known once the server was started."""
        if not self._port:
            raise RuntimeError("the server was never started: it has no port yet")
        return f"{'http' if self._tls is None else 'https'}://{HOST}:{self._port}"

    @property
    def is_tls(self) -> bool:
        """Whether clients must speak TLS."""
        return self._tls is not None

    @property
    def connections_accepted(self) -> int:
        """How many connections were accepted so far, ones without a request or a handshake included."""
        return self._accepted

    @property
    def connections_open(self) -> int:
        """How many connections neither side has ended yet."""
        return len(self._open)

    @property
    def changed(self) -> threading.Condition:
        """Notified when a connection opens or ends; its lock is re-entrant."""
        return self._changed

    def start(self) -> None:
        """Listen and serve; nothing if it already does.

        Raises:
            OSError: the given port is taken.
        """
        if self._listening is not None:
            return
        self._free_port()
        sock = socket.create_server((HOST, self._port), backlog=_BACKLOG)
        self._port = sock.getsockname()[1]
        stopping = threading.Event()
        thread = threading.Thread(target=self._accept, args=(sock, stopping), daemon=True)
        self._listening = _Listening(sock, stopping, thread)
        thread.start()

    def stop(self) -> None:
        """Stop listening, end every connection and wait for their threads; nothing if already stopped."""
        self._free_port()
        self._stop_listening()

    def refuse(self) -> None:
        """Stop, but keep the port: connecting is refused, and no other program's server answers there meanwhile."""
        self._stop_listening()
        if self._kept is None:
            self._kept = socket.socket()
            self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before may linger
            self._kept.bind((HOST, self._port))

    def _free_port(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def _stop_listening(self) -> None:
        listening, self._listening = self._listening, None
        if listening is None:
            return
        listening.stopping.set()
        # wakes accept() on every system, where shutdown of a listening socket does on some
        socket.create_connection((HOST, self._port)).close()
        listening.thread.join()
        listening.sock.close()
        with self._changed:
            threads = self._threads - {threading.current_thread()}
            for connection in self._open.values():
                connection.interrupt()
        give_up = time.monotonic() + _STOP_SECONDS  # a hook may hold its thread for longer
        for thread in threads:
            thread.join(max(0.0, give_up - time.monotonic()))

    def _accept(self, listener: socket.socket, stopping: threading.Event) -> None:
        while True:
            sock, _ = listener.accept()
            if stopping.is_set():
                sock.close()
                return
            with contextlib.suppress(OSError):  # gone before it was served
                self._open_connection(sock, stopping)

    def _open_connection(self, sock: socket.socket, stopping: threading.Event) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            # the handshake is the connection's thread's: a client that stalls in it delays no other
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        with self._changed:
            self._accepted += 1
            connection = Connection(
                sock, self._accepted, stopping, self._clock, own_hosts(self._port, for_containers=self._for_containers)
            )
            self._open[connection.number] = connection
            thread = threading.Thread(target=self._converse, args=(connection,), daemon=True)
            self._threads.add(thread)
            self._changed.notify_all()
        thread.start()

    def _converse(self, connection: Connection) -> None:
        try:
            connection.handshake()
            while not connection.is_last_request and connection.first_bytes():
                if not self._serve(connection):
                    break
            connection.hang_up()
        except MalformedRequestError:
            with contextlib.suppress(ClientGoneError):
                connection.answer(Reply(HTTPStatus.BAD_REQUEST, headers=(("Connection", "close"),)))
        except ForeignRequestError as refused:
            with contextlib.suppress(ClientGoneError):
                connection.answer(Reply(HTTPStatus.FORBIDDEN, str(refused).encode(), (("Connection", "close"),)))
        except ClientGoneError:
            pass
        finally:
            with self._changed:
                connection.drop()
                del self._open[connection.number]
                self._threads.discard(threading.current_thread())
                self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class _Listening:
    sock: socket.socket
    stopping: threading.Event
    thread: threading.Thread


def _tls_context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    return context
