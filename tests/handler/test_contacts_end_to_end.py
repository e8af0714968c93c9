"""From an event to the request that Salesforce gets, with the token and the record on the way."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.contacts import (
    CUSTOMER,
    SECRET_VALUE,
    STARTED,
    SYSTEM,
    abandoned,
    contact_event,
    described,
    flow_event,
    new_id,
)
from tests.support.sandbox import Sandbox
from tools.local.connect import SYSTEM_ENDPOINT_TAG
from tools.local.local_stack import CALL_CENTER, ORG_ID, LocalStack, pem
from tools.local.loopback import Connection, LoopbackServer
from tools.local.messages import Reply, utc_now
from tools.local.misbehaviour import Answer
from voicecall_sync.clock import SystemClock
from voicecall_sync.wiring import build

pytestmark = pytest.mark.usefixtures("ready_token")

Finished = Callable[[str], str]


@pytest.fixture
def with_key(stack: LocalStack, ready_token: None) -> None:  # noqa: ARG001 - it goes first
    """The secret as Salesforce provisions it: a sandbox reads the key, which takes long, and signs."""
    stack.put_secret(stack.provisioned_secret())


@pytest.mark.usefixtures("with_key")
def test_a_finished_contact_with_everything(stack: LocalStack, sandbox: Sandbox, finished: Finished) -> None:
    contact_id = finished(new_id())
    result = sandbox.invoke(contact_event(contact_id))
    assert result.answer == {"status": "UPDATED", "contactId": contact_id, "detail": "Salesforce answered 200"}
    (body,) = stack.salesforce.applied_bodies(contact_id)
    assert json.loads(body.pop("callAttributes")) == {"Tier__c": SECRET_VALUE, "Age__c": 41}
    assert body == {
        "startTime": "2026-11-20T09:30:00Z",
        "endTime": "2026-11-20T09:35:00Z",
        "enqueueTime": "2026-11-20T09:30:10Z",
        "acceptTime": "2026-11-20T09:30:30Z",
        "fromNumber": CUSTOMER,
        "toNumber": SYSTEM,
        "initiationMethod": "INBOUND",
        "callSubType": "PSTN",
        "totalHoldDuration": 10,
        "agentInteractionDuration": 260,
        "queue": "Support",
        "agent": "jane@example.com",
        "recordingLocation": "recordings/2026/11/20/call.wav",
        "isActiveCall": False,
        "disconnectReason": {"value": "CUSTOMER_DISCONNECT", "isError": False},
        "callCenterApiName": CALL_CENTER,
    }
    (request,) = stack.salesforce.received
    assert (request.method, request.path) == ("PATCH", f"/telephony/v1/voiceCalls/{contact_id}")
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Telephony-Provider-Name"] == "amazon-connect"


def test_an_abandoned_call_creates_its_record(stack: LocalStack, sandbox: Sandbox) -> None:
    """One PATCH, of the event COMPLETED alone, with all six properties a creation needs."""
    contact_id = new_id()
    stack.connect.put_contact(abandoned(contact_id))
    statuses = [
        sandbox.invoke(contact_event(contact_id, event_type)).status for event_type in ("DISCONNECTED", "COMPLETED")
    ]
    assert statuses == ["IGNORED", "UPDATED"]
    assert stack.salesforce.not_created == {}
    call = stack.salesforce.voice_calls[contact_id]
    assert (call.call_duration_in_seconds, call.queue, call.agent, call.closed) == (300, "Support", None, True)


def test_a_call_too_incomplete_for_creation_is_sent_and_counted(
    stack: LocalStack, sandbox: Sandbox, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    contact_id = new_id()
    stack.connect.put_contact(abandoned(contact_id, CustomerEndpoint=None))
    assert sandbox.invoke(contact_event(contact_id)).status == "UPDATED"
    assert stack.salesforce.not_created == {contact_id: ("fromNumber",)}
    assert [record.__dict__["reasons"] for record in caplog.records if "creates no record" in record.message] == [
        {"fromNumber": "not known, and a new record needs it"}
    ]
    assert '"CreationPropertyMissing":[1.0]' in capfd.readouterr().out


def test_a_flow_in_mid_call_leaves_the_call_open(stack: LocalStack, sandbox: Sandbox) -> None:
    contact_id = new_id()
    stack.salesforce.seed(contact_id)
    parameters = {"agent": "jane@example.com", "sfdc-Tier__c": "platinum", "callOrigin": "Preview", "whim": "x"}
    assert sandbox.invoke(flow_event(contact_id, parameters)).status == "UPDATED"
    (body,) = stack.salesforce.applied_bodies(contact_id)
    assert body["isActiveCall"] is True
    assert json.loads(body["callAttributes"]) == {"Tier__c": "platinum", "Age__c": 41}
    assert (body["queue"], body["agent"], body["callOrigin"]) == ("Support", "jane@example.com", "Preview")
    assert stack.salesforce.voice_calls[contact_id].closed is False


def test_the_final_values_barred_by_a_flow_are_counted(
    stack: LocalStack, sandbox: Sandbox, finished: Finished, capfd: pytest.CaptureFixture[str]
) -> None:
    contact_id = finished(new_id())
    sandbox.invoke(flow_event(contact_id))
    result = sandbox.invoke(contact_event(contact_id))
    assert result.answer is not None
    assert result.answer["status"] == "DUPLICATE"
    assert "differs in acceptTime, agent, agentInteractionDuration" in result.answer["detail"]
    assert '"FinalUpdateBlocked":[1.0]' in capfd.readouterr().out
    assert stack.salesforce.applied(contact_id) == 1


def test_final_values_are_barred_if_the_flows_result_is_unknown(
    stack: LocalStack, sandbox: Sandbox, finished: Finished, capfd: pytest.CaptureFixture[str]
) -> None:
    contact_id = finished(new_id())
    stack.salesforce.next(Answer(500))
    sandbox.invoke(flow_event(contact_id))
    sandbox.invoke(contact_event(contact_id))
    assert '"FinalUpdateBlocked":[1.0]' in capfd.readouterr().out


def test_a_flows_complete_update_bars_nothing(
    stack: LocalStack, sandbox: Sandbox, finished: Finished, capfd: pytest.CaptureFixture[str]
) -> None:
    """It said all that the event says, in other words; and custom fields come from attributes either way."""
    contact_id = finished(new_id())
    sandbox.invoke(contact_event(contact_id))
    (body,) = stack.salesforce.applied_bodies(contact_id)
    twin = finished(new_id())
    names = {"callAttributes", "callCenterApiName"}
    values = {name: value for name, value in body.items() if name not in names}
    sandbox.invoke(flow_event(twin, {**values, "queue": "Another"}, Attributes={"sfdc-Note__c": "n"}))

    result = sandbox.invoke(contact_event(twin))

    assert result.answer is not None
    assert result.answer["detail"] == "already UPDATED; differs in Age__c, Note__c, Tier__c"
    assert "FinalUpdateBlocked" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("attributes", "parameters", "left_out"),
    [
        ({}, {}, ""),
        ({"sfdc-Tier__c": "", "age": " "}, {"isActiveCall": ""}, ""),
        ({"internal": "x", "sfdc-": "x"}, {"unknown": "x", "queue": ""}, "sfdc-"),
        ({"age": "unknown"}, {}, "age"),
        ({"sfdc-OwnerId": "x"}, {}, "sfdc-OwnerId"),
        ({}, {"callAttributes": "{}"}, ""),
        ({}, {"callAttributes": '{"no field!": 1}'}, "sfdc-no field!"),
        ({}, {"sfdc-é": "1"}, "sfdc-\\xe9"),
        ({f"sfdc-{number} ": "x" for number in range(7)}, {}, "sfdc-0 , sfdc-1 , sfdc-2 , sfdc-3 , sfdc-4 , …"),
    ],
)
def test_a_flow_without_values_spends_no_update(
    stack: LocalStack,
    sandbox: Sandbox,
    finished: Finished,
    attributes: dict[str, str],
    parameters: dict[str, str],
    left_out: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    contact_id = finished(new_id())

    result = sandbox.invoke(flow_event(contact_id, parameters, Attributes=attributes))

    assert result.answer is not None
    assert result.answer["status"] == "IGNORED"
    detail = "nothing to send: no custom field and no property; the contact keeps its one update"
    assert result.answer["detail"] == (f"{detail}; left out: {left_out}" if left_out else detail)
    assert ('"CustomFieldLeftOut":[' in capfd.readouterr().out) is bool(left_out)
    assert stack.record(contact_id) is None
    assert stack.gateway.calls == []  # not even the secret was asked for
    assert sandbox.invoke(contact_event(contact_id)).status == "UPDATED"


@pytest.mark.parametrize(
    ("attributes", "parameters"),
    [
        ({"sfdc-Tier__c": "gold"}, {}),
        ({"AGE": "41"}, {}),
        ({}, {"isActiveCall": "false"}),
        ({}, {"isActiveCall": "true"}),
        ({"callOrigin": "Preview"}, {}),
        ({}, {"callAttributes": {"Tier__c": "gold"}}),
    ],
)
def test_a_flow_that_passes_one_thing_is_sent(
    stack: LocalStack, sandbox: Sandbox, attributes: dict[str, str], parameters: dict[str, str]
) -> None:
    contact_id = new_id()
    assert sandbox.invoke(flow_event(contact_id, parameters, Attributes=attributes)).status == "UPDATED"
    assert stack.salesforce.applied(contact_id) == 1


def test_a_wrong_parameter_is_invalid_before_any_token_request(stack: LocalStack, sandbox: Sandbox) -> None:
    assert sandbox.invoke(flow_event(new_id(), {"startTime": "soon"})).status == "INVALID"
    assert stack.gateway.calls == []


def test_the_same_event_again_differs_in_nothing(
    stack: LocalStack, sandbox: Sandbox, finished: Finished, capfd: pytest.CaptureFixture[str]
) -> None:
    contact_id = finished(new_id())
    sandbox.invoke(contact_event(contact_id))
    result = sandbox.invoke(contact_event(contact_id))
    assert result.answer is not None
    assert result.answer["detail"] == "already UPDATED"
    assert "FinalUpdateBlocked" not in capfd.readouterr().out
    assert stack.salesforce.applied(contact_id) == 1


def test_a_refusal_names_the_field_and_repeats_no_value(stack: LocalStack, sandbox: Sandbox) -> None:
    contact_id = new_id()
    body = f'[{{"errorCode":"INVALID_FIELD","message":"No Tier__c with {SECRET_VALUE} for {CUSTOMER}"}}]'
    stack.salesforce.next(Answer(400, body=body.encode()))
    result = sandbox.invoke(flow_event(contact_id))
    assert result.answer is not None
    assert result.answer["detail"] == "Salesforce answered 400 INVALID_FIELD Tier__c"


def test_names_of_queue_and_agent_are_looked_up_once(stack: LocalStack, sandbox: Sandbox, finished: Finished) -> None:
    for _ in range(3):
        sandbox.invoke(contact_event(finished(new_id())))
    assert stack.gateway.calls.count("DescribeQueue") == stack.gateway.calls.count("DescribeUser") == 1


def test_a_deleted_queue_and_agent_cost_their_names_only(
    stack: LocalStack, sandbox: Sandbox, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    contact_id = new_id()
    contact = described(contact_id)
    contact["QueueInfo"]["Id"] = contact["AgentInfo"]["Id"] = "gone"
    stack.connect.put_contact(contact)
    assert sandbox.invoke(contact_event(contact_id)).status == "UPDATED"
    (body,) = stack.salesforce.applied_bodies(contact_id)
    assert "queue" not in body
    assert "agent" not in body
    assert '"NameGone":[2.0]' in capfd.readouterr().out
    (reasons,) = (record.__dict__["reasons"] for record in caplog.records if "names that are gone" in record.message)
    assert reasons == dict.fromkeys(("queue", "agent"), "Amazon Connect has no name for it any more")


def test_an_agents_own_queue_is_neither_looked_up_nor_counted(
    stack: LocalStack, sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    contact_id = new_id()
    stack.connect.put_contact(described(contact_id, QueueInfo={"Id": "agent/agent-jane"}))
    assert sandbox.invoke(contact_event(contact_id)).status == "UPDATED"
    (body,) = stack.salesforce.applied_bodies(contact_id)
    assert (body.get("queue"), body["agent"]) == (None, "jane@example.com")
    assert "DescribeQueue" not in stack.gateway.calls
    assert "NameGone" not in capfd.readouterr().out


# --- what real contacts look like ----------------------------------------------------------------------------------

AGENTS = described("")["Recordings"][0]
IVR = {
    "StorageType": "S3",
    "Location": "recordings/connect/contoso/CallRecordings/ivr/2026/11/20/call.wav",
    "ParticipantType": "IVR",
    "StartTimestamp": STARTED,
    "StopTimestamp": STARTED + timedelta(seconds=20),
}


def sent(stack: LocalStack, sandbox: Sandbox, **contact: Any) -> dict[str, Any]:
    """Return what Salesforce gets of a finished contact; a change to None takes something out."""
    contact_id = new_id()
    stack.connect.put_contact(described(contact_id, **contact))
    assert sandbox.invoke(contact_event(contact_id)).status == "UPDATED"
    (body,) = stack.salesforce.applied_bodies(contact_id)
    return body


@pytest.mark.parametrize("reverses", [False, True])
def test_the_agents_recording_is_sent_in_any_order_of_recordings(
    stack: LocalStack, sandbox: Sandbox, *, reverses: bool
) -> None:
    stack.connect.reverses_recordings = reverses
    answered = sent(stack, sandbox, Recordings=[IVR, AGENTS])
    assert answered["recordingLocation"] == AGENTS["Location"]
    assert answered["agentInteractionDuration"] == 260
    ivr_only = sent(stack, sandbox, Recordings=[IVR])
    assert not {"recordingLocation", "totalRecordingDuration", "agentInteractionDuration"} & ivr_only.keys()
    missed = sent(stack, sandbox, Recordings=[{**AGENTS, "Status": "DELETED"}, IVR], AgentInfo=None)
    assert (missed["recordingLocation"], missed["totalRecordingDuration"]) == (IVR["Location"], 20)


@pytest.mark.parametrize(
    ("changes", "talked"),
    [
        ({}, 260),
        ({"DisconnectReason": "THIRD_PARTY_DISCONNECT"}, None),
        ({"NextContacts": [{"Type": "QUICK_CONNECT"}]}, None),
    ],
)
def test_without_after_contact_work_talk_ends_with_the_call(
    stack: LocalStack, sandbox: Sandbox, changes: dict[str, Any], talked: int | None
) -> None:
    agent = {name: value for name, value in described("")["AgentInfo"].items() if "AfterContactWork" not in name}
    body = sent(stack, sandbox, AgentInfo=agent, **changes)
    assert body.get("agentInteractionDuration") == talked
    assert body.get("totalRecordingDuration") == (270 if talked is None else None)


@pytest.mark.parametrize("tagged", [True, False])
def test_a_callbacks_own_number_comes_from_its_tag(stack: LocalStack, sandbox: Sandbox, *, tagged: bool) -> None:
    stack.connect.tags_system_endpoint = tagged
    callback = {"InitiationMethod": "CALLBACK", "SystemEndpoint": None, "Tags": {SYSTEM_ENDPOINT_TAG: SYSTEM}}
    body = sent(stack, sandbox, **callback, PreviousContactId="c-0")
    assert (body.get("fromNumber"), body["toNumber"]) == (SYSTEM if tagged else None, CUSTOMER)
    assert (body["initiationMethod"], body["parentCallIdentifier"], body["callSubType"]) == ("CALLBACK", "c-0", "PSTN")


def test_a_web_call_without_endpoints_creates_its_record(stack: LocalStack, sandbox: Sandbox) -> None:
    web = {"InitiationMethod": "WEBRTC_API", "CustomerEndpoint": None, "SystemEndpoint": None}
    body = sent(stack, sandbox, **web, Attributes={"WebRTC_From": "visitor-7", "sfdc-Tier__c": ""})
    assert (body["fromNumber"], body["toNumber"], body["callSubType"]) == ("visitor-7", "WebRTC_Default", "WebRTC")
    assert "callAttributes" not in body, "an empty attribute is absent"
    assert stack.salesforce.not_created == {}


@pytest.mark.parametrize("direction", ["INBOUND", "OUTBOUND"])
def test_connect_says_the_direction_of_an_api_contact(stack: LocalStack, sandbox: Sandbox, direction: str) -> None:
    segments = {"connect:Direction": {"ValueString": direction}}
    body = sent(stack, sandbox, InitiationMethod="API", SegmentAttributes=segments)
    assert body["initiationMethod"] == direction
    assert body["fromNumber"] == (CUSTOMER if direction == "INBOUND" else SYSTEM)


OUTSIDERS = {
    "sfdc-OwnerId": SECRET_VALUE,
    "sfdc-FromPhoneNumber": SECRET_VALUE,
    "sfdc-Age__c": "not a number",
    "sfdc-Bell__c": f"{SECRET_VALUE}\a",
    "SFDC-tier__c": "gold",
}


def test_names_and_values_from_outside_fill_their_fields(
    stack: LocalStack, sandbox: Sandbox, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    body = sent(stack, sandbox, Attributes=OUTSIDERS)
    assert json.loads(body["callAttributes"]) == {"Tier__c": "gold"}
    (reasons,) = (record.__dict__["reasons"] for record in caplog.records if "custom fields left out" in record.message)
    assert reasons.keys() == OUTSIDERS.keys() - {"SFDC-tier__c"}
    log = capfd.readouterr().out
    assert '"CustomFieldLeftOut":[4.0]' in log
    assert SECRET_VALUE not in log


@pytest.mark.parametrize("refuses", [True, False])
def test_a_field_that_is_too_short_for_its_value(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, *, refuses: bool
) -> None:
    """What Salesforce does to an update then, no page says; with its length configured it never comes to that."""
    stack.salesforce.field_lengths, stack.salesforce.refuses_long_values = {"Note__c": 8}, refuses
    attributes = {"note": SECRET_VALUE, "sfdc-Tier__c": "gold"}
    monkeypatch.setenv("CUSTOM_FIELDS", json.dumps({"note": "Note__c"}))
    unbounded = Sandbox().invoke(flow_event(new_id(), Attributes=attributes))
    assert unbounded.answer is not None
    told = "Salesforce answered 400 BAD_REQUEST STRING_TOO_LONG Note__c"
    assert unbounded.answer["detail"] == (told if refuses else "Salesforce answered 200")
    monkeypatch.setenv("CUSTOM_FIELDS", json.dumps({"note": {"field": "Note__c", "maxLength": 8}}))
    contact_id = new_id()
    assert Sandbox().invoke(flow_event(contact_id, Attributes=attributes)).status == "UPDATED"
    assert json.loads(stack.salesforce.applied_bodies(contact_id)[0]["callAttributes"]) == {"Tier__c": "gold"}


# --- the token -----------------------------------------------------------------------------------------------------


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_half(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def secret_with(key: rsa.RSAPrivateKey) -> str:
    return json.dumps({"privateKey": pem(key).decode(), "orgId": ORG_ID, "callCenterApiName": CALL_CENTER})


@pytest.mark.usefixtures("with_key")
def test_a_rotated_key_is_picked_up_at_the_first_refusal(stack: LocalStack, sandbox: Sandbox) -> None:
    assert sandbox.invoke(flow_event(new_id())).status == "UPDATED"
    rotated = new_key()
    stack.put_secret(secret_with(rotated))
    stack.salesforce.accept_key(public_half(rotated))
    contact_id = new_id()
    assert [sandbox.invoke(flow_event(contact_id)).status for _ in range(2)] == ["RETRY_LATER", "UPDATED"]
    assert [request.status for request in stack.salesforce.received] == [200, 401, 200]
    record = stack.record(contact_id)
    assert record is not None
    assert record["attempts"] == {"N": "2"}
    assert stack.gateway.calls.count("GetSecretValue") == 2


@pytest.mark.usefixtures("with_key")
def test_one_secret_and_one_token_serve_many_contacts(stack: LocalStack, sandbox: Sandbox) -> None:
    for _ in range(4):
        assert sandbox.invoke(flow_event(new_id())).status == "UPDATED"
    assert stack.gateway.calls.count("GetSecretValue") == 1


def test_a_refused_stored_jwt_is_tried_once_a_claim(stack: LocalStack) -> None:
    expired_nowhere = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJDb250b3NvIn0.c2lnbmF0dXJl"
    stack.put_secret(json.dumps({"jwt": expired_nowhere}))
    contact_id = new_id()
    assert Sandbox().invoke(flow_event(contact_id)).status == "RETRY_LATER"
    assert [request.status for request in stack.salesforce.received] == [401]
    assert stack.state(contact_id) == "NOT_APPLIED"


def test_a_stored_jwt_that_expired_is_reported_before_any_claim(stack: LocalStack) -> None:
    long_ago = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJDb250b3NvIiwiZXhwIjoxNjAwMDAwMDAwfQ.c2lnbmF0dXJl"
    stack.put_secret(long_ago)
    contact_id = new_id()
    result = Sandbox().invoke(flow_event(contact_id))
    assert result.answer is not None
    assert "the JWT stored in the secret expired at 2020-09-13T12:26:40+00:00" in result.answer["detail"]
    assert not stack.was_claimed(contact_id)


@pytest.mark.parametrize("event_of", [flow_event, contact_event])
def test_a_secret_for_another_endpoint_sends_nothing_and_claims_nothing(
    stack: LocalStack, event_of: Callable[[str], dict[str, Any]]
) -> None:
    contact_id = new_id()
    stack.connect.put_contact(described(contact_id))
    stack.put_secret(stack.provisioned_secret("https://example.my.salesforce-scrt.com/telephony/v1/"))
    result = Sandbox().invoke(event_of(contact_id))
    said = result.raised or str(result.answer)
    assert "RETRY_LATER" in said
    assert (
        f"for the endpoint https://example.my.salesforce-scrt.com, and SCRT_ENDPOINT_BASE is {stack.salesforce.url}"
        in said
    )
    assert not stack.was_claimed(contact_id)
    assert stack.salesforce.received == []


@pytest.mark.parametrize("event_of", [flow_event, contact_event])
def test_a_proxy_for_salesforce_is_named_before_anything_is_sent(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, event_of: Callable[[str], dict[str, Any]]
) -> None:
    contact_id = new_id()
    monkeypatch.setenv("SCRT_ENDPOINT_BASE", "https://example.my.salesforce-scrt.com")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:8080")
    result = Sandbox().invoke(event_of(contact_id))
    said = result.raised or str(result.answer)
    assert "RETRY_LATER" in said
    assert "HTTPS_PROXY is set" in said
    assert not stack.was_claimed(contact_id)


def test_no_fresh_secret_after_a_refusal(stack: LocalStack, sandbox: Sandbox) -> None:
    assert sandbox.invoke(flow_event(new_id())).status == "UPDATED"
    stack.put_secret("no secret at all")
    stack.salesforce.next(Answer(401))
    contact_id = new_id()
    result = sandbox.invoke(flow_event(contact_id))
    assert result.answer is not None
    assert result.answer["status"] == "RETRY_LATER"
    again = sandbox.invoke(flow_event(contact_id))
    assert again.answer is not None
    assert "the secret must be a JWT" in again.answer["detail"]
    assert stack.state(contact_id) == "NOT_APPLIED"
    assert len(stack.salesforce.received) == 2


# --- waiting -------------------------------------------------------------------------------------------------------


def test_the_wait_that_salesforce_asks_for_is_kept(stack: LocalStack, sandbox: Sandbox) -> None:
    contact_id = new_id()
    stack.salesforce.next(Answer(429, headers=(("Retry-After", "120"),)))
    sandbox.invoke(flow_event(contact_id))
    record = stack.record(contact_id)
    assert record is not None
    assert float(record["retryAt"]["N"]) - float(record["settledAt"]["N"]) == pytest.approx(120)
    result = sandbox.invoke(flow_event(contact_id))
    assert result.answer is not None
    assert result.answer["status"] == "RETRY_LATER"
    assert "due again at" in result.answer["detail"]
    assert len(stack.salesforce.received) == 1


def test_the_attributes_of_a_record(stack: LocalStack, sandbox: Sandbox, finished: Finished) -> None:
    contact_id = finished(new_id())
    sandbox.invoke(contact_event(contact_id))
    record = stack.record(contact_id)
    assert record is not None
    assert {"contactId", "state", "owner", "source", "claimedAt", "settledAt", "attempts", "httpStatus", "detail"} <= (
        record.keys()
    )
    assert record["source"] == {"S": "contact-event"}
    months = (float(record["expiresAt"]["N"]) - float(record["claimedAt"]["N"])) / 86400 / 30.4
    assert 24.5 < months < 26
    names = {name["S"] for name in record["properties"]["L"]}
    assert {"startTime", "endTime", "callAttributes", "callCenterApiName"} <= names
    assert {name["S"] for name in record["customFields"]["L"]} == {"Tier__c", "Age__c"}


# --- the settings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem"),
        ("AWS_ENDPOINT_URL", "no address"),
        ("AWS_PROFILE", "unknown"),
        ("AWS_DEFAULT_REGION", "not a region"),
    ],
)
def test_a_wrong_variable_of_the_libraries_breaks_no_call(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("SCRT_ENDPOINT_BASE", "https://example.invalid")
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv(name, value)
    app = build(SystemClock(), new_id)
    answer = app.update_voice_call(flow_event(new_id()), None)
    assert answer["status"] == "RETRY_LATER"
    assert answer["detail"].startswith("a variable of botocore's or requests' is wrong: ")
    assert stack.salesforce.received == []


def test_a_description_that_cannot_be_read(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    said = [b"{}", b"null", b"[]", b"not JSON", b'{"Contact": null}']
    said.append(b'{"Contact": {"InitiationTimestamp": "+15555550123"}}')

    def serve(connection: Connection) -> bool:
        connection.read_request()
        connection.answer(Reply(200, described_as, (("Content-Type", "application/json"),)))
        return True

    odd = LoopbackServer(serve, clock=utc_now)
    odd.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_CONNECT", odd.url)
    try:
        sandbox = build_sandbox()
        for described_as in said:
            raised = sandbox.invoke(contact_event(new_id())).raised
            assert raised is not None, described_as
            assert CUSTOMER not in raised
    finally:
        odd.stop()
    assert stack.salesforce.received == []


def build_sandbox() -> Sandbox:
    """A sandbox with clients of its own, for a test that changes where they go."""
    sandbox = Sandbox()
    sandbox.app = build(SystemClock(), new_id)
    return sandbox


def test_another_contact_than_the_one_asked_for_is_not_updated(stack: LocalStack) -> None:
    asked, other = new_id(), new_id()

    def serve(connection: Connection) -> bool:
        connection.read_request()
        connection.answer(
            Reply.of_json(200, {"Contact": {"Id": other, "Channel": "VOICE", "DisconnectTimestamp": 1.7e9}})
        )
        return True

    odd = LoopbackServer(serve, clock=utc_now)
    odd.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_CONNECT", odd.url)
        raised = build_sandbox().invoke(contact_event(asked)).raised
    odd.stop()
    assert raised == "RETRY_LATER: Amazon Connect described another contact than the one asked for"
    assert stack.salesforce.received == []


def test_the_second_try_names_the_keys_call_center(stack: LocalStack, sandbox: Sandbox) -> None:
    secret = json.loads(stack.provisioned_secret())
    other = {"privateKey": secret[f"{CALL_CENTER}-scrt-jwt-auth-private-key"], "orgId": ORG_ID}
    stack.put_secret(json.dumps({**other, "callCenterApiName": "AnotherOne"}))
    assert sandbox.invoke(flow_event(new_id())).status == "RETRY_LATER"
    stack.put_secret(stack.provisioned_secret())
    contact_id = new_id()
    assert sandbox.invoke(flow_event(contact_id)).status == "UPDATED"
    assert stack.salesforce.applied_bodies(contact_id)[0]["callCenterApiName"] == CALL_CENTER


@pytest.mark.parametrize("name", ["SCRT_ENDPOINT_BASE", "JWT_SECRET_ID", "IDEMPOTENCY_TABLE", "CONNECT_INSTANCE_ID"])
def test_a_missing_variable_is_named(stack: LocalStack, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    result = Sandbox().invoke(flow_event(new_id()))
    assert result.answer is not None
    assert result.answer["status"] == "RETRY_LATER"
    assert result.answer["detail"] == f"not set: {name}"
    assert Sandbox().invoke(contact_event(new_id())).raised == f"RETRY_LATER: not set: {name}"
    assert stack.salesforce.received == []
