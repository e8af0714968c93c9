import contextlib
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.simulators.conftest import CALL_CENTER, NOW, ORG_ID, Client, KeyPair, sign
from tools.local.certificates import Certificate, issue_from_unknown_authority
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

BREAKS: list[Callable[[bool], Behaviour]] = [
    Close,
    Reset,
    Hang,
    lambda applied: Truncated(b"HTTP/1.1 20", applied=applied),
    lambda applied: Garbage(b"\x00\x01\x02 no HTTP\r\n\r\n", applied=applied),
]


# --- what it takes -----------------------------------------------------------------------------------


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
    client.patch("c", WHOLE_CALL)
    client.patch("c", {"endTime": "2025-03-01T11:10:00Z", "callAttributes": '{"Tier__c": "lead"}'})

    call = salesforce.voice_calls["c"]
    assert (call.customer_hold_duration, call.number_of_holds, call.agent_interaction_duration) == (0, 0, 0)
    assert call.longest_hold_duration == 20
    assert call.queue == "Support"
    assert call.call_duration_in_seconds == 330, "only set when both times are passed"
    assert call.custom_fields == {"Tier__c": "lead", "Age__c": 41, "Vip__c": True}
    assert salesforce.applied("c") == 2, "a second PATCH is applied: nothing protects from it"


def test_an_explicit_recording_duration_wins(salesforce: SalesforceSimulator, client: Client) -> None:
    client.patch("c", {**WHOLE_CALL, "totalRecordingDuration": 240})
    recording = salesforce.voice_calls["c"].recording
    assert recording is not None
    assert recording.duration == 240


def test_a_text_too_long_is_refused_or_not_written(salesforce: SalesforceSimulator, client: Client) -> None:
    """No page says which."""
    salesforce.field_lengths = {"Tier__c": 3}
    refused = client.patch("c", WHOLE_CALL)
    salesforce.refuses_long_values = False
    taken = client.patch("c", WHOLE_CALL)

    assert (refused.status_code, taken.status_code) == (400, 200)
    assert "STRING_TOO_LONG Tier__c" in refused.text
    assert salesforce.voice_calls["c"].custom_fields == {"Age__c": 41, "Vip__c": True}


def test_a_conversation_stays_open_only_if_said(salesforce: SalesforceSimulator, client: Client) -> None:
    salesforce.seed("up")
    salesforce.seed("silent")
    salesforce.seed("transferred", next_call_id="next")
    client.patch("up", {"isActiveCall": True})
    client.patch("silent", {})
    client.patch("transferred", {"isActiveCall": False})

    calls = salesforce.voice_calls
    assert (calls["up"].call_disposition, calls["up"].closed) == ("in-progress", False)
    assert (calls["silent"].call_disposition, calls["silent"].closed) == ("completed", True)
    assert calls["transferred"].closed is False


def test_an_unknown_call_is_created_only_with_all_six(salesforce: SalesforceSimulator, client: Client) -> None:
    lacking = {name: value for name, value in WHOLE_CALL.items() if name not in {"toNumber", "initiationMethod"}}
    assert client.patch("c", lacking).json() == {"status": "pending"}
    assert salesforce.voice_calls == {}
    assert salesforce.not_created == {"c": ("toNumber", "initiationMethod")}
    assert salesforce.applied("c") == 1

    client.patch("c", WHOLE_CALL)
    assert set(salesforce.voice_calls) == {"c"}
    assert salesforce.not_created == {}


# --- what it refuses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"startTime": "2025-03-01T11:00:00"}, "startTime"),
        ({"startTime": "2025-03-01T11:00:00+00:00"}, "startTime"),
        ({"endTime": "2025-02-30T11:00:00Z"}, "endTime"),
        ({"acceptTime": 1740826800}, "acceptTime"),
        ({"fromNumber": None}, "fromNumber"),
        ({"totalHoldDuration": -1}, "totalHoldDuration"),
        ({"totalHoldDuration": 2**31}, "totalHoldDuration"),
        ({"numberOfHolds": "2"}, "numberOfHolds"),
        ({"numberOfHolds": True}, "numberOfHolds"),
        ({"longestHoldDuration": 1.5}, "longestHoldDuration"),
        ({"callOrigin": "preview"}, "callOrigin"),
        ({"initiationMethod": "QUEUE_TRANSFER"}, "initiationMethod"),
        ({"isActiveCall": "false"}, "isActiveCall"),
        ({"disconnectReason": "OTHER"}, "disconnectReason"),
        ({"disconnectReason": {"value": "OTHER"}}, "disconnectReason"),
        ({"disconnectReason": {"value": "OTHER", "isError": "true"}}, "disconnectReason"),
        ({"disconnectReason": {"value": "OTHER", "isError": True, "more": 1}}, "disconnectReason"),
        ({"callAttributes": {"Tier__c": "gold"}}, "callAttributes"),
        ({"callAttributes": "[]"}, "callAttributes"),
        ({"callAttributes": '{"Tier__c": NaN}'}, "callAttributes"),
        ({"callAttributes": '{"Tier__c": {}}'}, "Tier__c"),
        ({"callAttributes": '{"Tier__c": null}'}, "Tier__c"),
        ({"callAttributes": '{"2Tier__c": "x"}'}, "2Tier__c"),
        ({"callAttributes": '{"Tier_": "x"}'}, "Tier_"),
        ({"callAttributes": '{"Ti er__c": "x"}'}, "Ti er__c"),
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


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer x.y.z", "Basic Zm9v"])
def test_a_request_without_a_token_is_refused(client: Client, authorization: str | None) -> None:
    assert client.patch(headers={"Authorization": authorization}).status_code == 401


def test_a_rotated_key_is_accepted_instead_of_the_old_one(
    salesforce: SalesforceSimulator, client: Client, keys: KeyPair, other_keys: KeyPair
) -> None:
    by_new_key = f"Bearer {sign(other_keys)}"
    assert client.patch(headers={"Authorization": by_new_key}).status_code == 401
    salesforce.accept_key(other_keys.public_pem)
    assert client.patch(headers={"Authorization": by_new_key}).status_code == 200
    assert client.patch(headers={"Authorization": f"Bearer {sign(keys)}"}).status_code == 401


@pytest.mark.parametrize(
    ("header", "value", "expected"),
    [
        ("Content-Type", "application/json; charset=utf-8", 200),
        ("Content-Type", "application/xml", 415),
        ("Telephony-Provider-Name", None, 400),
        ("Telephony-Provider-Name", "Amazon Connect", 400),
    ],
)
def test_headers(client: Client, header: str, value: str | None, expected: int) -> None:
    assert client.patch(headers={header: value}).status_code == expected


def test_a_missing_content_type_is_refused(client: Client) -> None:
    assert client.patch(body=b"{}", headers={"Content-Type": None}).status_code == 415


@pytest.mark.parametrize(
    "path",
    [
        "/telephony/v1/voiceCalls/",
        "/telephony/v1/voiceCalls/a/",
        "/telephony/v1/voiceCalls/a?x=1",
        "/telephony/v1/voiceCalls/a%20b",
        "/telephony/v1/telephony/v1/voiceCalls/a",
        "/telephony/v1//voiceCalls/a",
        "/telephony/v2/voiceCalls/a",
        "/voiceCalls/a",
    ],
)
def test_another_path_is_not_found_and_recorded(salesforce: SalesforceSimulator, client: Client, path: str) -> None:
    assert client.patch(path=path).status_code == 404
    assert [(one.path, one.call_id, one.status) for one in salesforce.received] == [(path, None, 404)]


@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE"])
def test_only_patch_is_allowed(salesforce: SalesforceSimulator, client: Client, method: str) -> None:
    assert client.patch(method=method).status_code == 405
    assert salesforce.applied("call-1") == 0


# --- what it remembers -------------------------------------------------------------------------------


def test_received_tells_all_but_the_token(salesforce: SalesforceSimulator, client: Client) -> None:
    client.patch("c", {"queue": "Support"})
    entry = salesforce.received[0]
    assert entry.headers["Authorization"] == "(withheld)"
    assert "eyJ" not in repr(entry)
    assert entry.headers["Telephony-Provider-Name"] == "amazon-connect"
    assert (entry.method, entry.call_id, entry.body) == ("PATCH", "c", {"queue": "Support"})
    assert (entry.status, entry.applied, entry.at) == (200, True, NOW)


def test_connections_are_kept_alive(salesforce: SalesforceSimulator, client: Client) -> None:
    for _ in range(3):
        client.patch()
    assert client.patch(headers={"Connection": "close"}).headers["Connection"] == "close"
    client.patch()
    assert [one.connection for one in salesforce.received] == [1, 1, 1, 1, 2]


def test_the_connection_ends_when_the_client_asks(
    salesforce: SalesforceSimulator, dial: Callable[[], socket.socket], keys: KeyPair
) -> None:
    raw = dial()
    raw.sendall(_raw_patch(salesforce, keys).replace(b"Host:", b"Connection: close\r\nHost:"))
    with raw.makefile("rb") as answer:
        assert answer.read().endswith(b'{"status": "pending"}')


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


def test_a_body_without_a_length_is_refused(salesforce: SalesforceSimulator, dial: Callable[[], socket.socket]) -> None:
    raw = dial()
    raw.sendall(b"PATCH /telephony/v1/voiceCalls/c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert raw.recv(100).startswith(b"HTTP/1.1 400 ")
    assert salesforce.received == []


# --- how it misbehaves -------------------------------------------------------------------------------


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 408, 425, 429, 500, 502, 503, 599])
def test_an_answer_of_our_choosing(
    salesforce: SalesforceSimulator, client: Client, status: int, *, applied: bool
) -> None:
    salesforce.next(Answer(status, headers=(("Retry-After", "7"),), applied=applied))
    answer = client.patch("c")
    assert (answer.status_code, answer.headers["Retry-After"]) == (status, "7")
    assert salesforce.applied("c") == int(applied)
    assert salesforce.received[0].status == status
    assert client.patch("c").json() == {"status": "pending"}, "the next one is answered properly"
    assert salesforce.received[1].connection == 1


def test_an_answer_without_content_has_no_length(salesforce: SalesforceSimulator, client: Client) -> None:
    salesforce.next(Answer(204))
    assert "Content-Length" not in client.patch().headers


def test_an_answers_body_can_be_anything(salesforce: SalesforceSimulator, client: Client) -> None:
    salesforce.next(Answer(200, body=b"<html>"), Answer(200, body=b""), Answer(503))
    assert client.patch().content == b"<html>"
    assert client.patch().content == b""
    assert client.patch().json() == [{"errorCode": "SERVICE_UNAVAILABLE", "message": "Service Unavailable"}]


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("make", BREAKS)
def test_a_break_leaves_the_client_without_an_answer(
    salesforce: SalesforceSimulator, client: Client, make: Callable[[bool], Behaviour], *, applied: bool
) -> None:
    salesforce.next(make(applied))
    with pytest.raises(requests.RequestException), impatient(client):
        client.patch()
    assert salesforce.applied("call-1") == int(applied)
    assert salesforce.received[0].status is None
    assert client.patch().status_code == 200
    assert [one.connection for one in salesforce.received] == [1, 2]
    salesforce.wait_for(lambda s: s.connections_open == 1)


@pytest.mark.parametrize("applied", [True])
@pytest.mark.parametrize("make", BREAKS)
def test_what_would_be_refused_is_never_applied(
    salesforce: SalesforceSimulator, client: Client, make: Callable[[bool], Behaviour], *, applied: bool
) -> None:
    salesforce.next(make(applied))
    with pytest.raises(requests.RequestException), impatient(client):
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


def test_close_unread_resets_a_kept_connection_too(salesforce: SalesforceSimulator, client: Client) -> None:
    client.patch()
    salesforce.always(CloseUnread())
    with pytest.raises(requests.ConnectionError):
        client.patch()
    salesforce.always(None)
    assert client.patch().status_code == 200
    assert [(one.connection, one.status) for one in salesforce.received] == [(1, 200), (1, None), (2, 200)]
    assert salesforce.applied("call-1") == 2


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
    salesforce.next(Drip(what, applied=True, code=201, interval=0.001))
    raw = dial()
    raw.sendall(_raw_patch(salesforce, keys))
    got = b""
    while len(got) < len(whole) + 20:
        got += raw.recv(100)
    assert got.startswith(whole)
    assert set(got[len(whole) :]) == {ord("x")}
    assert (salesforce.received[0].status, salesforce.applied("c")) == (status, 1)
    raw.close()
    salesforce.wait_for(lambda s: s.connections_open == 0)


def test_queued_behaviours_come_before_the_usual_one(salesforce: SalesforceSimulator, client: Client) -> None:
    salesforce.always(Answer(503))
    salesforce.next(Answer(429), Answer(500))
    assert [client.patch().status_code for _ in range(4)] == [429, 500, 503, 503]


def test_hooks_see_the_request_before_and_after_it_takes_effect(
    salesforce: SalesforceSimulator, client: Client
) -> None:
    seen: list[tuple[str, int, bool]] = []

    def note(moment: str) -> Callable[[Received], None]:
        return lambda entry: seen.append((moment, salesforce.applied("call-1"), entry.applied))

    salesforce.before_apply, salesforce.after_apply = note("before"), note("after")
    client.patch()
    salesforce.next(Answer(503))
    client.patch()
    assert seen == [("before", 0, False), ("after", 1, True), ("before", 1, False)]


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


# --- starting and stopping ---------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [Hang(applied=True), Drip("status", applied=True)])
def test_stop_frees_hanging_requests(keys: KeyPair, behaviour: Behaviour) -> None:
    before = threading.active_count()
    with SalesforceSimulator(
        public_key_pem=keys.public_pem, org_id=ORG_ID, call_center_api_name=CALL_CENTER, clock=lambda: NOW
    ) as simulator:
        simulator.start()
        simulator.always(behaviour)
        host, port = simulator.url.removeprefix("http://").split(":")
        sockets = [socket.create_connection((host, int(port)), timeout=5) for _ in range(20)]
        for one in sockets:
            one.sendall(_raw_patch(simulator, keys))
        simulator.wait_for(lambda s: s.applied("c") == 20)

        began = time.monotonic()
        simulator.stop()
        simulator.stop()
        assert time.monotonic() - began < 2
        assert simulator.connections_open == 0
        assert threading.active_count() == before
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=5)
        for one in sockets:
            one.close()


def test_it_can_be_started_again_on_its_port(salesforce: SalesforceSimulator, client: Client) -> None:
    client.patch()
    url = salesforce.url
    salesforce.stop()
    with pytest.raises(requests.ConnectionError):
        client.patch()
    salesforce.start()
    assert salesforce.url == url
    assert client.patch().status_code == 200
    assert salesforce.applied("call-1") == 2


def test_waiting_without_success_names_the_requests(salesforce: SalesforceSimulator) -> None:
    with pytest.raises(TimeoutError, match="received"):
        salesforce.wait_for(lambda s: s.applied("c") == 1, timeout=0.01)


# --- TLS ---------------------------------------------------------------------------------------------


def test_tls_is_real_and_kept_alive(salesforce_over_tls: SalesforceSimulator, tls_client: Client) -> None:
    assert salesforce_over_tls.url.startswith("https://127.0.0.1:")
    assert [tls_client.patch().status_code for _ in range(2)] == [200, 200]
    assert [one.connection for one in salesforce_over_tls.received] == [1, 1]


def test_an_unknown_authority_is_refused_before_anything_is_sent(keys: KeyPair, tmp_path: Path) -> None:
    certificate = issue_from_unknown_authority(tmp_path)
    with (
        SalesforceSimulator(
            public_key_pem=keys.public_pem,
            org_id=ORG_ID,
            call_center_api_name=CALL_CENTER,
            certificate=certificate,
        ) as simulator,
        requests.Session() as session,
    ):
        client = Client(simulator, keys, verify=str(certificate.ca_file), session=session)
        with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            client.patch()
        simulator.wait_for(lambda s: s.connections_accepted == 1 and s.connections_open == 0)
        assert simulator.received == []


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        *BREAKS,
        BreakTls,
        lambda applied: BreakTls(applied, how="eof"),
    ],
)
def test_breaks_over_tls(
    salesforce_over_tls: SalesforceSimulator,
    tls_client: Client,
    make: Callable[[bool], Behaviour],
    *,
    applied: bool,
) -> None:
    behaviour = make(applied)
    salesforce_over_tls.next(behaviour)
    with pytest.raises(requests.RequestException) as failure, impatient(tls_client):
        tls_client.patch()
    breaks_visibly = isinstance(behaviour, BreakTls) and behaviour.how == "plaintext"
    assert isinstance(failure.value, requests.exceptions.SSLError) is breaks_visibly
    assert salesforce_over_tls.applied("call-1") == int(applied)
    assert tls_client.patch().status_code == 200


def test_only_an_orderly_end_says_so_in_tls(
    salesforce_over_tls: SalesforceSimulator, certificate: Certificate, keys: KeyPair
) -> None:
    def what_the_client_reads(behaviour: Behaviour) -> bytes:
        salesforce_over_tls.next(behaviour)
        host, port = salesforce_over_tls.url.removeprefix("https://").split(":")
        context = ssl.create_default_context(cafile=certificate.ca_file)
        with (
            socket.create_connection((host, int(port)), timeout=5) as raw,
            context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as tls,
        ):
            tls.sendall(_raw_patch(salesforce_over_tls, keys))
            return tls.recv(100)

    assert what_the_client_reads(Close(applied=False)) == b""
    with pytest.raises(ssl.SSLEOFError):
        what_the_client_reads(BreakTls(applied=False, how="eof"))


def test_close_unread_over_tls(salesforce_over_tls: SalesforceSimulator, tls_client: Client) -> None:
    salesforce_over_tls.next(CloseUnread())
    with pytest.raises(requests.ConnectionError):
        tls_client.patch()
    assert tls_client.patch().status_code == 200
    assert salesforce_over_tls.applied("call-1") == 1


def test_there_is_no_tls_to_break_over_plain_http(salesforce: SalesforceSimulator) -> None:
    with pytest.raises(ValueError, match="certificate"):
        salesforce.next(BreakTls(applied=False))
    with pytest.raises(ValueError, match="certificate"):
        salesforce.always(BreakTls(applied=False))


# --- over HTTP ---------------------------------------------------------------------------------------


def test_told_and_asked_over_http(salesforce: SalesforceSimulator, client: Client) -> None:
    def tell(description: object) -> requests.Response:
        return client.session.post(f"{salesforce.url}/simulator/next", json=description, timeout=5)

    headers = {"Retry-After": "2"}
    assert tell({"behaviour": "Answer", "status": 503, "headers": headers, "body": "no"}).status_code == 200
    assert tell({"behaviour": "Truncated", "data": "HTTP/1.1 20", "applied": True}).status_code == 200
    assert tell({"behaviour": "CloseUnread"}).status_code == 200
    answer = client.patch("c")
    assert (answer.status_code, answer.headers["Retry-After"], answer.content) == (503, "2", b"no")
    for _ in range(2):
        with pytest.raises(requests.ConnectionError):
            client.patch("c", WHOLE_CALL)

    calls = client.session.get(f"{salesforce.url}/simulator/voiceCalls", timeout=5).json()
    assert [(call["call_id"], call["applied"], call["queue"]) for call in calls] == [("c", 1, "Support")]
    assert calls[0]["recording"] == {"location": "bucket/recording.wav", "duration": 230}
    received = client.session.get(f"{salesforce.url}/simulator/received", timeout=5).json()
    assert [(one["status"], one["applied"]) for one in received] == [(503, False), (None, True), (None, False)]
    assert "Truncated" in received[1]["behaviour"]
    assert client.session.get(f"{salesforce.url}/simulator/else", timeout=5).status_code == 404
    assert len(salesforce.received) == 3


@pytest.mark.parametrize(
    "description",
    [
        [],
        {},
        {"behaviour": "Explode"},
        {"behaviour": "Answer"},
        {"behaviour": "Answer", "status": 503, "what": "body"},
        {"behaviour": "CloseUnread", "applied": True},
        {"behaviour": "BreakTls"},
    ],
)
def test_a_behaviour_that_makes_no_sense_is_refused(
    salesforce: SalesforceSimulator, client: Client, description: object
) -> None:
    answer = client.session.post(f"{salesforce.url}/simulator/next", json=description, timeout=5)
    assert answer.status_code == 400
    assert client.patch().status_code == 200


@contextlib.contextmanager
def impatient(client: Client) -> Iterator[None]:
    """For a request to a server that may hang: gives up after half a second."""
    client.patience, usual = 0.5, client.patience
    try:
        yield
    finally:
        client.patience = usual


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
