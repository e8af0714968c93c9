"""Many PATCHes over TLS, and nothing else: on a connection that is kept, or each on a new one."""

from __future__ import annotations

import os
import ssl
import uuid
from collections.abc import Callable
from typing import Any

from requests import PreparedRequest, Request, Session
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.util import parse_url

_BASE = os.environ["SCRT_ENDPOINT_BASE"]
_BUNDLE = os.environ["REQUESTS_CA_BUNDLE"]
_TRUSTED = ssl.create_default_context(cafile=_BUNDLE)
"""Made once: loading the public authorities takes 20 ms."""


def _session() -> Session:
    session = Session()
    session.trust_env = False
    session.verify = _BUNDLE
    session.mount("https://", HTTPAdapter(max_retries=0))
    return session


def _open() -> HTTPSConnection:
    address = parse_url(_BASE)
    connection = HTTPSConnection(str(address.host), address.port, ssl_context=_TRUSTED)
    connection.connect()
    if not isinstance(connection.sock, ssl.SSLSocket) or connection.sock.version() != "TLSv1.3":
        raise RuntimeError("this measures TLS 1.3")
    return connection


_kept_session, _kept = _session(), _open()


def _by_session(request: PreparedRequest) -> int:
    return _kept_session.send(request, allow_redirects=False, timeout=(3, 3)).status_code


def _by_kept_connection(request: PreparedRequest) -> int:
    return _send(_kept, request)


def _by_new_connection(request: PreparedRequest) -> int:
    connection = _open()
    try:
        return _send(connection, request)
    finally:
        connection.close()


def _send(connection: HTTPSConnection, request: PreparedRequest) -> int:
    connection.request("PATCH", request.path_url, request.body, request.headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


_WAYS: dict[str, Callable[[PreparedRequest], int]] = {
    "session": _by_session,
    "kept": _by_kept_connection,
    "new": _by_new_connection,
}


def handler(event: dict[str, Any], _context: object) -> dict[str, str]:
    """Send so many ``requests``, with a ``jwt``, one way: ``session``, ``kept`` or ``new``."""
    send = _WAYS[event["way"]]
    headers = {"Authorization": f"Bearer {event['jwt']}", "Telephony-Provider-Name": "amazon-connect"}
    for _ in range(event["requests"]):
        address = f"{_BASE}/telephony/v1/voiceCalls/{uuid.uuid4()}"
        body = {"isActiveCall": True, "queue": "Support"}
        status = send(Request("PATCH", address, headers=headers, json=body).prepare())
        if status != 200:  # noqa: PLR2004 - it imports nothing else
            raise RuntimeError(f"a PATCH was answered with {status}")
    return {"status": "UPDATED"}
