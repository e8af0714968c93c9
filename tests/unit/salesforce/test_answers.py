from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st

from voicecall_sync.outcome import Settlement, State
from voicecall_sync.salesforce.answers import call_url, explanation, meaning
from voicecall_sync.salesforce.attempt import Answered, NoAnswer, NotSent
from voicecall_sync.salesforce.voice_call import VoiceCallUpdate

NOW = datetime(2026, 11, 22, 9, 30, 0, tzinfo=UTC)
HOUR = 3600.0


# --- the address -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base",
    [
        "https://example.my.salesforce-scrt.com",
        "https://example.my.salesforce-scrt.com/",
        "https://example.my.salesforce-scrt.com/telephony/v1",
        "https://example.my.salesforce-scrt.com/telephony/v1/",
    ],
)
def test_the_address_is_the_same_with_and_without_the_path(base: str) -> None:
    assert call_url(base, "c-1") == "https://example.my.salesforce-scrt.com/telephony/v1/voiceCalls/c-1"


@given(
    st.sampled_from(["https://example.my.salesforce-scrt.com", "https://10.0.0.1:8443", "http://[::1]:8080"]),
    st.sampled_from(["", "/", "/telephony/v1", "/telephony/v1/"]),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,255}", fullmatch=True),
)
def test_no_contact_id_changes_the_host_or_the_path(host: str, path: str, contact_id: str) -> None:
    sent = requests.Request("PATCH", call_url(host + path, contact_id)).prepare().url
    parts = urlsplit(sent or "")
    assert f"{parts.scheme}://{parts.netloc}" == host
    assert parts.path == f"/telephony/v1/voiceCalls/{contact_id}"
    assert not parts.query
    assert not parts.fragment


# --- the table of answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        ((200, 201, 202, 204, 206, 226, 299), State.UPDATED),
        ((300, 301, 302, 303, 304, 307, 308, 399), State.REJECTED),
        ((400, 402, 403, 404, 405, 406, 407, 409, 410, 413, 415, 418, 422, 426, 428, 431, 451, 499), State.REJECTED),
        ((401,), State.NOT_APPLIED),
        ((408, 425, 429), State.NOT_APPLIED),
        ((500, 501, 502, 503, 504, 505, 507, 511, 520, 524, 599), State.UNCERTAIN),
        ((0, 1, 99, 100, 101, 103, 199, 600, 999), State.UNCERTAIN),
    ],
)
def test_the_meaning_of_an_answer(statuses: tuple[int, ...], state: State) -> None:
    for status in statuses:
        settlement = meaning(Answered(status, None), NOW)
        assert settlement == Settlement(state, f"Salesforce answered {status}", status)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (503, State.NOT_APPLIED),
        (500, State.UNCERTAIN),
        (502, State.UNCERTAIN),
        (504, State.UNCERTAIN),
        (429, State.NOT_APPLIED),
        (404, State.REJECTED),
        (301, State.REJECTED),
        (200, State.UPDATED),
    ],
)
def test_retry_after_makes_a_503_certain_and_nothing_else(status: int, state: State) -> None:
    assert meaning(Answered(status, "120"), NOW).state is state


@pytest.mark.parametrize("retry_after", ["", "soon", "-1", "1.5", "NaN"])
def test_a_503_whose_retry_after_says_nothing_is_uncertain(retry_after: str) -> None:
    assert meaning(Answered(503, retry_after), NOW).state is State.UNCERTAIN


def test_an_unsent_attempt_was_not_applied() -> None:
    settlement = meaning(NotSent("ConnectionRefusedError"), NOW)
    assert settlement.state is State.NOT_APPLIED
    assert "ConnectionRefusedError" in settlement.detail
    assert settlement.http_status is None


def test_an_attempt_without_an_answer_is_uncertain() -> None:
    settlement = meaning(NoAnswer("TimeoutError"), NOW)
    assert settlement.state is State.UNCERTAIN
    assert "TimeoutError" in settlement.detail
    assert settlement.http_status is None


# --- Retry-After -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 120 ", 120.0),
        ("3600", HOUR),
        ("3601", HOUR),
        pytest.param("9" * 5000, HOUR, id="5000 digits"),
        pytest.param("Sun, 22 Nov 2026 09:32:00 GMT", 120.0, id="date"),
        pytest.param("Sunday, 22-Nov-26 09:32:00 GMT", 120.0, id="date of RFC 850"),
        pytest.param("Sun Nov 22 09:32:00 2026", 120.0, id="date of asctime"),
        pytest.param("Sun, 22 Nov 2026 10:32:00 +0100", 120.0, id="date elsewhere"),
        pytest.param("Sun, 22 Nov 2026 09:29:00 GMT", 0.0, id="past date"),
        pytest.param("Tue, 22 Dec 2026 09:30:00 GMT", HOUR, id="distant date"),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("0x10", None),
        ("١٢", None),
        pytest.param("Sun, 31 Feb 2026 09:32:00 GMT", None, id="no such day"),
        pytest.param("Fri, 01 Jan 99999999999 00:00:00 GMT", None, id="no such year"),
        pytest.param("Fri, 01 Jan 2027 00:00:00 +99999999999999999999", None, id="no such zone"),
    ],
)
def test_how_long_to_wait(header: str | None, seconds: float | None) -> None:
    assert meaning(Answered(429, header), NOW).retry_after == seconds


DATE_LIKE = st.lists(
    st.sampled_from(["Sun,", "22", "Nov", "2026", "09:32:00", "GMT", "-0000", "+2400", "99999999999999", "-", ":", ","])
    | st.integers().map(str),
    max_size=8,
).map(" ".join)


@given(st.integers(), st.none() | st.text() | DATE_LIKE)
@example(503, "Fri, 01 Jan 99999999999 00:00:00 GMT")
def test_every_answer_means_something(status: int, retry_after: str | None) -> None:
    settlement = meaning(Answered(status, retry_after), NOW)
    assert settlement.state is not State.CLAIMED
    assert settlement.http_status == status
    assert settlement.retry_after is None or 0 <= settlement.retry_after <= HOUR
    if settlement.state is State.UPDATED:
        assert 200 <= status <= 299


@given(st.sampled_from([status for status in HTTPStatus if status.value >= 500]), st.none() | st.text())
def test_no_5xx_is_a_refusal_or_a_success(status: HTTPStatus, retry_after: str | None) -> None:
    assert meaning(Answered(status.value, retry_after), NOW).state in {State.UNCERTAIN, State.NOT_APPLIED}


@given(st.integers(0, 10**6))
def test_a_date_and_its_seconds_mean_the_same(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert meaning(Answered(429, date), NOW) == meaning(Answered(429, str(seconds)), NOW)


# --- what a refusal says ---------------------------------------------------------------------------------------------

VOICE_CALL = VoiceCallUpdate(
    {
        "fromNumber": "+498912345678",
        "queue": "VIP_SUPPORT",
        "isActiveCall": False,
        "agent": "ada_lovelace",
        "callAttributes": json.dumps({"Tier__c": "GOLD_TIER", "Note__c": "INVALID_TYPE of Zoë_ZOE_X"}),
    },
    {},
    custom_fields=("Tier__c", "Note__c"),
)


def body(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ('[{"errorCode": "INVALID_FIELD", "message": "No such column Tier__c"}]', "INVALID_FIELD Tier__c"),
        ('{"fields": ["FROMNUMBER", "callattributes"]}', "fromNumber callAttributes"),
        ("REQUIRED_FIELD_MISSING endTime", "REQUIRED_FIELD_MISSING"),
        pytest.param("INVALID_FIELD INVALID_FIELD Tier__c Tier__c", "INVALID_FIELD Tier__c", id="each once"),
        pytest.param("queue VIP_SUPPORT is unknown", "queue", id="a value that looks like a code"),
        pytest.param("Tier__c cannot be GOLD_TIER", "Tier__c", id="a field's value that does"),
        pytest.param("no agent ADA_LOVELACE", "agent", id="a value written otherwise"),
        pytest.param("INVALID_TYPE", "", id="a code that stands in a value"),
        pytest.param("+498912345678 4989", "", id="a number"),
        pytest.param("<html><body>Not Found</body></html>", "", id="prose"),
        pytest.param(b"\xff\xfe\x00INVALID_FIELD\x00", "INVALID_FIELD", id="no text"),
    ],
)
def test_of_a_refusal_only_names_and_codes_are_kept(text: str | bytes, kept: str) -> None:
    assert explanation(body(text), VOICE_CALL) == kept


def test_an_explanation_is_short() -> None:
    codes = " ".join(f"CODE_{letter}{other}" for letter in "ABCDEFGHIJ" for other in "ABCDEFGHIJ")
    assert 0 < len(explanation(body(codes), VOICE_CALL)) <= 200


VALUES = st.from_regex(r"[A-Z]{2,6}_[A-Z]{2,6}", fullmatch=True) | st.text(min_size=4, max_size=12)
AROUND = st.sampled_from(["", " ", '"', "INVALID_FIELD ", " is no queue", "_", "-", "\n"])


@given(
    st.dictionaries(st.sampled_from(["queue", "agent", "fromNumber"]), VALUES, min_size=1),
    st.dictionaries(st.sampled_from(["Tier__c", "Age__c"]), VALUES),
    st.data(),
)
def test_an_explanation_never_repeats_a_value(
    properties: dict[str, str], fields: dict[str, str], data: st.DataObject
) -> None:
    values = [*properties.values(), *fields.values()]
    voice_call = VoiceCallUpdate(
        {**properties, "callAttributes": json.dumps(fields), "isActiveCall": False}, {}, custom_fields=tuple(fields)
    )
    echoes = data.draw(st.lists(st.sampled_from([*values, *map(str.upper, values)]), max_size=6))
    text = "".join(data.draw(AROUND) + echo + data.draw(AROUND) for echo in echoes)
    kept = explanation(body(text), voice_call)
    names = {"queue", "agent", "fromNumber", "isActiveCall", "callAttributes", "Tier__c", "Age__c"}
    for word in kept.split():
        assert word in names or not any(word in value.upper() for value in values)
        assert re.fullmatch(r"[A-Za-z0-9_]+", word)
