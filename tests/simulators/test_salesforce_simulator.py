"""The Salesforce simulator: what it takes, refuses and remembers, and how it misbehaves on demand."""

import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.simulators.conftest import CALL_CENTER, NOW, Client, KeyPair, sign
from tools.local.misbehaviour import (
    Answer,
    Behaviour,
    BreakTls,
    Close,
    CloseUnread,
    Drip,
    DripPart,
    Garbage,
    Hang,
    Reset,
    Truncated,
)
from tools.local.salesforce import Received, SalesforceSimulator

WHOLE_CALL: dict[str, Any] = {
    "startTime": "2025-03-01T11:00:00Z",
    "endTime": "2025-03-01T11:05:30.500Z",
    "enqueueTime": "2025-03-01T11:00:10Z",
    "acceptTime": "2025-03-01T11:00:30Z",
    "fromNumber": "+12065550100",
    "toNumber": "+12065550199",
    "initiationMethod": "INBOUND",
    "callCenterApiName": CALL_CENTER,
    "totalHoldDuration": 30,
    "longestHoldDuration": 20,
    "numberOfHolds": 2,
    "queue": "Support",
    "agent": "agent@example.com",
    "agentInteractionDuration": 200,
    "callOrigin": "Progressive",
    "recordingLocation": "bucket/recording.wav",
    "callAttributes": '{"Tier__c": "gold", "Age__c": 41, "Vip__c": true}',
    "isActiveCall": False,
    "disconnectReason": {"value": "CUSTOMER_DISCONNECT", "isError": False},
}

PATH = "/telephony/v1/voiceCalls/c"


# --- what it takes ---------------------------------------------------------------------------------------------------


def test_a_whole_call_is_taken_and_kept_as_salesforce_would(salesforce: SalesforceSimulator, client: Client) -> None:
    answer = client.patch("0a1b-2c", WHOLE_CALL)

    assert (answer.status_code, answer.json()) == (200, {"status": "pending"})
    call = salesforce.voice_calls["0a1b-2c"]
    assert call.call_duration_in_seconds == 330
    assert call.start_time == NOW - timedelta(hours=1)
    assert call.accept_time == NOW - timedelta(minutes=59, seconds=30)
    assert (call.customer_hold_duration, call.longest_hold_duration, call.number_of_holds) == (30, 20, 2)
    assert call.recording is not None
    assert (call.recording.location, call.recording.duration) == ("bucket/recording.wav", 230)
    assert call.custom_fields == {"Tier__c": "gold", "Age__c": 41, "Vip__c": True}
    assert call.disconnect_reason is not None
    assert call.disconnect_reason.value == "CUSTOMER_DISCONNECT"
    assert (call.call_disposition, call.closed) == ("completed", True)
    assert (call.queue, call.agent, call.call_origin) == ("Support", "agent@example.com", "Progressive")
    assert (call.from_number, call.to_number) == ("+12065550100", "+12065550199")
    assert salesforce.applied("0a1b-2c") == 1
    assert salesforce.applied_bodies("0a1b-2c") == [WHOLE_CALL]


def test_what_is_not_passed_becomes_zero_or_stays(salesforce: SalesforceSimulator, client: Client) -> None:
    client.patch("c", {**WHOLE_CALL, "totalRecordingDuration": 240})
    recording = salesforce.voice_calls["c"].recording
    assert recording is not None
    assert recording.duration == 240, "as passed, and not the sum of talk and hold"
    client.patch("c", {"endTime": "2025-03-01T11:10:00Z", "callAttributes": '{"Tier__c": "lead"}'})

    call = salesforce.voice_calls["c"]
    assert (call.customer_hold_duration, call.number_of_holds, call.agent_interaction_duration) == (0, 0, 0)
    assert call.longest_hold_duration == 20
    assert call.queue == "Support"
    assert call.call_duration_in_seconds == 330, "only set when both times are passed"
    assert call.custom_fields == {"Tier__c": "lead", "Age__c": 41, "Vip__c": True}
    assert salesforce.applied("c") == 2, "a second PATCH is applied: nothing protects from it"


def test_a_conversation_stays_open_only_if_said(salesforce: SalesforceSimulator, client: Client) -> None:
    for call_id, body in (("up", {"isActiveCall": True}), ("silent", {})):
        salesforce.seed(call_id)
        client.patch(call_id, body)
    ends = {call.call_id: (call.call_disposition, call.closed) for call in salesforce.voice_calls.values()}
    assert ends == {"up": ("in-progress", False), "silent": ("completed", True)}


def test_an_unknown_call_is_created_only_with_all_six(salesforce: SalesforceSimulator, client: Client) -> None:
    lacking = {name: value for name, value in WHOLE_CALL.items() if name not in {"toNumber", "initiationMethod"}}
    assert client.patch("c", lacking).json() == {"status": "pending"}
    assert salesforce.voice_calls == {}
    assert salesforce.not_created == {"c": ("toNumber", "initiationMethod")}
    assert salesforce.applied("c") == 1

    client.patch("c", WHOLE_CALL)
    assert set(salesforce.voice_calls) == {"c"}
    assert salesforce.not_created == {}


# --- what it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"startTime": "2025-03-01T11:00:00"}, "startTime"),
        ({"startTime": "2025-03-01T11:00:00+00:00"}, "startTime"),
        ({"endTime": "2025-02-30T11:00:00Z"}, "endTime"),
        ({"fromNumber": None}, "fromNumber"),
        ({"totalHoldDuration": -1}, "totalHoldDuration"),
        ({"totalHoldDuration": 2**31}, "totalHoldDuration"),
        ({"numberOfHolds": True}, "numberOfHolds"),
        ({"callOrigin": "preview"}, "callOrigin"),
        ({"initiationMethod": "QUEUE_TRANSFER"}, "initiationMethod"),
        ({"isActiveCall": "false"}, "isActiveCall"),
        ({"disconnectReason": "OTHER"}, "disconnectReason"),
        ({"disconnectReason": {"value": "OTHER"}}, "disconnectReason"),
        ({"disconnectReason": {"value": "OTHER", "isError": "true"}}, "disconnectReason"),
        ({"callAttributes": {"Tier__c": "gold"}}, "callAttributes"),
        ({"callAttributes": "[]"}, "callAttributes"),
        ({"callAttributes": '{"Tier__c": NaN}'}, "callAttributes"),
        ({"callAttributes": '{"Tier__c": null}'}, "Tier__c"),
        ({"callAttributes": '{"2Tier__c": "x"}'}, "2Tier__c"),
        ({"callAttributes": '{"Tier_": "x"}'}, "Tier_"),
        ({"contactId": "x"}, "contactId"),
    ],
)
def test_a_property_that_is_wrong_is_refused_by_name(
    salesforce: SalesforceSimulator, client: Client, change: dict[str, object], complaint: str
) -> None:
    answer = client.patch("c", {**WHOLE_CALL, **change})

    assert answer.status_code == 400
    assert complaint in answer.json()[0]["message"]
    assert salesforce.applied("c") == 0
    assert salesforce.voice_calls == {}


@pytest.mark.parametrize("name", ["Tier__c", "my_ns__Tier_2__c", "Department__pc", "Description", "A1__c"])
def test_every_legal_field_name_is_taken(client: Client, name: str) -> None:
    assert client.patch(body={"callAttributes": json.dumps({name: 1.5})}).status_code == 200


@pytest.mark.parametrize("name", ["totalHoldDuration", "agentInteractionDuration", "totalRecordingDuration"])
def test_recording_properties_need_a_recording(client: Client, name: str) -> None:
    refused = client.patch(body={name: 3})
    assert refused.status_code == 400
    assert name in refused.json()[0]["message"]
    assert client.patch(body={name: 3, "recordingLocation": "bucket/key"}).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"queue": "\xff"}', b'{"totalHoldDuration": NaN}'])
def test_a_body_that_is_no_json_object_is_refused(client: Client, body: bytes) -> None:
    assert client.patch(body=body).status_code == 400


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 200),
        ({"aud": "https://scrt.salesforce.com"}, 200),
        ({"exp": NOW + timedelta(hours=24)}, 200),
        ({"iat": NOW + timedelta(seconds=59)}, 200),
        ({"iss": "00D000000000002EAA"}, 401),
        ({"sub": "Another"}, 401),
        ({"sub": None}, 401),
        ({"exp": None}, 401),
        ({"iat": None}, 401),
        ({"exp": NOW}, 401),
        ({"exp": NOW + timedelta(hours=24, seconds=1)}, 401),
        ({"iat": NOW + timedelta(seconds=61)}, 401),
        ({"aud": "https://login.salesforce.com"}, 401),
    ],
)
def test_claims_of_the_token(client: Client, keys: KeyPair, changes: dict[str, object], expected: int) -> None:
    answer = client.patch(headers={"Authorization": f"Bearer {sign(keys, **changes)}"})
    assert answer.status_code == expected
    if expected == 401:
        assert set(answer.json()[0]) == {"errorCode", "message"}


def test_a_token_id_is_good_once(salesforce: SalesforceSimulator, client: Client, keys: KeyPair) -> None:
    token = f"Bearer {sign(keys, jti='one')}"
    assert [client.patch(headers={"Authorization": token}).status_code for _ in range(2)] == [200, 401]
    assert salesforce.received[-1].refusal == "jti was sent before"
    assert client.patch(headers={"Authorization": f"Bearer {sign(keys, jti='two')}"}).status_code == 200


@pytest.mark.parametrize(
    ("request_line", "headers", "expected"),
    [
        (("PATCH", PATH), {"Content-Type": "application/json; charset=utf-8"}, 200),
        (("PATCH", PATH), {"Content-Type": "application/xml"}, 415),
        (("PATCH", PATH), {"Content-Type": None}, 415),
        (("PATCH", PATH), {"Telephony-Provider-Name": None}, 400),
        (("PATCH", PATH), {"Telephony-Provider-Name": "Amazon Connect"}, 400),
        (("PATCH", PATH), {"Authorization": None}, 401),
        (("PATCH", PATH), {"Authorization": "Bearer x.y.z"}, 401),
        (("POST", PATH), {}, 405),
        (("GET", PATH), {}, 405),
        (("PATCH", "/telephony/v1/voiceCalls/"), {}, 404),
        (("PATCH", f"{PATH}/"), {}, 404),
        (("PATCH", f"{PATH}?x=1"), {}, 404),
        (("PATCH", f"{PATH}%20b"), {}, 404),
        (("PATCH", f"/telephony/v1{PATH}"), {}, 404),
        (("PATCH", "/telephony/v1//voiceCalls/c"), {}, 404),
        (("PATCH", "/voiceCalls/c"), {}, 404),
    ],
)
def test_another_request_is_refused_and_recorded(
    salesforce: SalesforceSimulator,
    client: Client,
    request_line: tuple[str, str],
    headers: dict[str, str | None],
    expected: int,
) -> None:
    method, path = request_line
    assert client.patch(method=method, path=path, headers=headers).status_code == expected
    assert [(one.method, one.path, one.status) for one in salesforce.received] == [(method, path, expected)]
    assert salesforce.applied("c") == (1 if expected == 200 else 0)


# --- what it remembers -----------------------------------------------------------------------------------------------


def test_received_tells_all_but_the_token(salesforce: SalesforceSimulator, client: Client) -> None:
    client.patch("c", {"queue": "Support"})
    entry = salesforce.received[0]
    assert entry.headers["Authorization"] == "(withheld)"
    assert "eyJ" not in repr(entry)
    assert entry.headers["Telephony-Provider-Name"] == "amazon-connect"
    assert (entry.method, entry.call_id, entry.body) == ("PATCH", "c", {"queue": "Support"})
    assert (entry.status, entry.applied, entry.at) == (200, True, NOW)


def test_threads_lose_nothing(salesforce: SalesforceSimulator, keys: KeyPair) -> None:
    def send() -> None:
        with requests.Session() as session:
            for _ in range(10):
                Client(salesforce, keys, session=session).patch("c", {"queue": "Support"})

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert salesforce.applied("c") == 80
    assert len(salesforce.received) == 80


@pytest.mark.parametrize(
    "part",
    [
        b"PATCH /telephony/v1/voiceCalls/c HTTP/1.1\r\nHost: x\r\n",
        b"PATCH /telephony/v1/voiceCalls/c HTTP/1.1\r\nContent-Length: 9\r\n\r\n{}",
    ],
)
def test_half_a_request_is_no_request(
    salesforce: SalesforceSimulator, dial: Callable[[], socket.socket], part: bytes
) -> None:
    with dial() as half:
        half.sendall(part)
    salesforce.wait_for(lambda s: s.connections_accepted == 1 and s.connections_open == 0)
    assert salesforce.received == []


# --- how it misbehaves -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("status", [200, 503])
def test_an_answer_of_our_choosing(
    salesforce: SalesforceSimulator, client: Client, status: int, *, applied: bool
) -> None:
    salesforce.next(Answer(status, headers=(("Retry-After", "7"),), applied=applied))
    answer = client.patch("c")
    assert (answer.status_code, answer.headers["Retry-After"]) == (status, "7")
    assert salesforce.applied("c") == int(applied)
    assert salesforce.received[0].status == status
    assert client.patch("c").json() == {"status": "pending"}, "the next one is answered properly"


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        Close,
        Reset,
        Hang,
        BreakTls,
        lambda applied: BreakTls(applied, how="eof"),
        lambda applied: Truncated(b"HTTP/1.1 20", applied=applied),
        lambda applied: Garbage(b"\x00\x01\x02 no HTTP\r\n\r\n", applied=applied),
    ],
)
def test_a_break_leaves_the_client_without_an_answer(
    tls_client: Client, make: Callable[[bool], Behaviour], *, applied: bool
) -> None:
    salesforce, tls_client.patience = tls_client.simulator, 0.5
    salesforce.next(make(applied))
    with pytest.raises(requests.RequestException):
        tls_client.patch()
    assert salesforce.applied("call-1") == int(applied)
    assert salesforce.received[0].status is None
    tls_client.patience = 10
    assert tls_client.patch().status_code == 200


def test_what_would_be_refused_is_never_applied(salesforce: SalesforceSimulator, client: Client) -> None:
    salesforce.next(Close(applied=True))
    with pytest.raises(requests.RequestException):
        client.patch(body={"totalHoldDuration": -1})
    assert salesforce.applied("call-1") == 0
    assert "totalHoldDuration" in str(salesforce.received[0].refusal)


def test_close_ends_in_order_and_reset_does_not(
    salesforce: SalesforceSimulator, dial: Callable[[], socket.socket], keys: KeyPair
) -> None:
    salesforce.next(Close(applied=False), Reset(applied=False), CloseUnread())
    closed, reset, unread = dial(), dial(), dial()
    closed.sendall(_raw_patch(salesforce, keys))
    assert closed.recv(100) == b""
    reset.sendall(_raw_patch(salesforce, keys))
    with pytest.raises(ConnectionResetError):
        reset.recv(100)
    unread.sendall(_raw_patch(salesforce, keys)[:10])
    with pytest.raises(ConnectionResetError):
        unread.recv(100)
    assert [one.path for one in salesforce.received] == ["/telephony/v1/voiceCalls/c"] * 2 + [""]


def test_only_an_orderly_end_says_so_in_tls(tls_client: Client, keys: KeyPair) -> None:
    def what_the_client_reads(behaviour: Behaviour) -> bytes:
        salesforce = tls_client.simulator
        salesforce.next(behaviour)
        address = urlsplit(salesforce.url)
        context = ssl.create_default_context(cafile=tls_client.verify)
        with (
            socket.create_connection((str(address.hostname), address.port or 0), timeout=5) as raw,
            context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as tls,
        ):
            tls.sendall(_raw_patch(salesforce, keys))
            return tls.recv(100)

    assert what_the_client_reads(Close(applied=False)) == b""
    with pytest.raises(ssl.SSLEOFError):
        what_the_client_reads(BreakTls(applied=False, how="eof"))


@pytest.mark.parametrize(
    ("what", "whole", "status"),
    [
        ("status", b"HTTP/1.1 201 Created", None),
        ("headers", b"HTTP/1.1 201 Created\r\nX-Endless: ", 201),
        ("body", b"HTTP/1.1 201 Created\r\nContent-Length: 1000000\r\n\r\n", 201),
    ],
)
def test_a_drip_never_ends(
    salesforce: SalesforceSimulator,
    dial: Callable[[], socket.socket],
    keys: KeyPair,
    what: DripPart,
    whole: bytes,
    status: int | None,
) -> None:
    salesforce.next(Drip(what, applied=True, code=201))
    raw = dial()
    raw.sendall(_raw_patch(salesforce, keys))
    got = b""
    while len(got) < len(whole) + 3:
        got += raw.recv(100)
    assert got.startswith(whole)
    assert set(got[len(whole) :]) == {ord("x")}
    assert (salesforce.received[0].status, salesforce.applied("c")) == (status, 1)
    raw.close()
    salesforce.wait_for(lambda s: s.connections_open == 0)


def test_a_killed_clients_whole_request_takes_effect(salesforce: SalesforceSimulator, keys: KeyPair) -> None:
    host, port = salesforce.url.removeprefix("http://").split(":")
    connect = "import socket, sys; s = socket.create_connection(sys.argv[1:3])"
    code = f"{connect}; s.sendall(sys.stdin.buffer.read()); s.recv(1)"
    command = [sys.executable, "-c", code, host, port]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as sender:

        def kill(_entry: Received) -> None:
            sender.kill()
            sender.wait()

        salesforce.before_apply = kill
        assert sender.stdin is not None
        sender.stdin.write(_raw_patch(salesforce, keys))
        sender.stdin.close()
        salesforce.wait_for(lambda s: s.applied("c") == 1 and s.connections_open == 0)
    assert sender.returncode == -signal.SIGKILL


# --- over HTTP -------------------------------------------------------------------------------------------------------


def test_told_and_asked_over_http(salesforce: SalesforceSimulator, client: Client) -> None:
    def tell(description: object) -> int:
        return client.session.post(f"{salesforce.url}/simulator/next", json=description, timeout=5).status_code

    senseless: list[object] = [[], {}, {"behaviour": "Explode"}, {"behaviour": "Answer"}]
    assert [tell(one) for one in senseless] == [400] * 4
    assert tell({"behaviour": "Answer", "status": 503, "what": "body"}) == 400
    assert tell({"behaviour": "CloseUnread", "applied": True}) == 400
    assert tell({"behaviour": "Answer", "status": 503, "headers": {"Retry-After": "2"}, "body": "no"}) == 200
    assert tell({"behaviour": "Truncated", "data": "HTTP/1.1 20", "applied": True}) == 200
    answer = client.patch("c")
    assert (answer.status_code, answer.headers["Retry-After"], answer.content) == (503, "2", b"no")
    with pytest.raises(requests.ConnectionError):
        client.patch("c", WHOLE_CALL)

    calls = client.session.get(f"{salesforce.url}/simulator/voiceCalls", timeout=5).json()
    assert [(call["call_id"], call["applied"], call["queue"]) for call in calls] == [("c", 1, "Support")]
    received = client.session.get(f"{salesforce.url}/simulator/received", timeout=5).json()
    assert [(one["status"], one["applied"]) for one in received] == [(503, False), (None, True)]
    assert "Truncated" in received[1]["behaviour"]


def _raw_patch(salesforce: SalesforceSimulator, keys: KeyPair) -> bytes:
    head = [
        "PATCH /telephony/v1/voiceCalls/c HTTP/1.1",
        f"Host: {urlsplit(salesforce.url).netloc}",
        f"Authorization: Bearer {sign(keys)}",
        "Telephony-Provider-Name: amazon-connect",
        "Content-Type: application/json",
        "Content-Length: 2",
    ]
    return ("\r\n".join(head) + "\r\n\r\n{}").encode()
