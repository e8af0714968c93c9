"""What a message of the contact queue says: bodies, good and bad, and batches as Lambda hands them over."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import (
    ANY_JSON,
    ANY_TEXT,
    CONTACT_ID,
    HOSTILE,
    contact_event,
    flow_event,
    one_field_replaced,
)
from voicecall_sync.asked import asked_in
from voicecall_sync.errors import InvalidInput
from voicecall_sync.outcome import Source
from voicecall_sync.queue.messages import body_of, messages_of

OURS = [Source.RECONCILE, Source.CONTACT_FLOW, Source.OPERATOR]


# --- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", OURS)
def test_a_message_of_ours_is_read_as_it_was_written(source: Source) -> None:
    asked = asked_in(body_of(CONTACT_ID, source))
    assert (asked.source, asked.contact_id, asked.details) == (source, CONTACT_ID, {})


def test_a_contact_event_is_taken_as_it_came() -> None:
    asked = asked_in(json.dumps(contact_event()))
    assert (asked.source, asked.contact_id) == (Source.CONTACT_EVENT, CONTACT_ID)
    assert asked.details["eventtype"] == "COMPLETED"


def test_an_operator_may_write_a_contacts_id_in_capitals() -> None:
    assert asked_in(json.dumps({"contactId": CONTACT_ID.upper(), "source": "operator"})).contact_id == CONTACT_ID


@pytest.mark.parametrize(
    "content",
    [
        None,
        True,
        7,
        "text",
        [],
        {},
        [{"contactId": CONTACT_ID, "source": "operator"}],
        {"contactId": CONTACT_ID},
        {"contactId": CONTACT_ID, "source": None},
        {"contactId": CONTACT_ID, "source": ""},
        {"contactId": CONTACT_ID, "source": "Operator"},
        {"contactId": CONTACT_ID, "source": "unknown"},
        # Only an event itself is one: it says which kind it is, and of which instance.
        {"contactId": CONTACT_ID, "source": "contact-event"},
        flow_event(),
        {**flow_event(), "source": "operator", "contactId": CONTACT_ID, "detail-type": "Amazon Connect Contact Event"},
        {**contact_event(), "detail-type": "Scheduled Event"},
        {**contact_event(), "detail-type": None},
        {**contact_event(), "source": "operator", "contactId": CONTACT_ID, "detail-type": ["x"]},
    ],
)
def test_an_unknown_message_is_refused(content: object) -> None:
    with pytest.raises(InvalidInput):
        asked_in(json.dumps(content))


# DEFECT (messages.asked_in, `said.get("source") in _OURS`): what cannot be hashed is a TypeError, not InvalidInput. The
# message then counts as a defect, and comes back a thousand times without a record or a reason.
@pytest.mark.parametrize("source", [[], {}, ["operator"], {"operator": 1}])
def test_a_source_that_is_no_text_is_refused(source: object) -> None:
    with pytest.raises(InvalidInput, match=r"^the message must be"):
        asked_in(json.dumps({"contactId": CONTACT_ID, "source": source}))


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "{",
        "contactId=1",
        "{'contactId': '1', 'source': 'operator'}",
        '{"contactId": "1", "source": "operator"} and more',
        "NaN",
        "\ufeff{}",
        "[" * 1_000_000,
        '{"a":' * 1_000_000,
        "[" * 100_000 + "]" * 100_000,
        "9" * 100_000,
    ],
    ids=lambda body: body[:20],
)
def test_a_body_that_is_no_json_is_refused(body: str) -> None:
    with pytest.raises(InvalidInput, match=r"^the message must be an EventBridge contact event, or"):
        asked_in(body)


@pytest.mark.parametrize(
    "contact_id", [None, 7, True, "", " ", ["c-1"], {"contactId": "c-1"}, "../x", "a/b", "x" * 257]
)
@pytest.mark.parametrize("source", OURS)
def test_our_message_without_a_contact_names_the_field(contact_id: object, source: Source) -> None:
    with pytest.raises(InvalidInput, match=r"^contactId must be"):
        asked_in(json.dumps({"contactId": contact_id, "source": source.value}))
    with pytest.raises(InvalidInput, match=r"^contactId must be"):
        asked_in(json.dumps({"source": source.value}))


def test_a_refused_value_is_not_repeated() -> None:
    for content in (
        {"contactId": "+49 89 123456", "source": "operator"},
        {"contactId": "c", "source": "+49 89 123456"},
    ):
        with pytest.raises(InvalidInput) as raised:
            asked_in(json.dumps(content))
        assert "123456" not in str(raised.value)


# Texts and lists as a source: see the defect above.
SOURCES = st.sampled_from([*Source, "unknown", None]) | ANY_TEXT | st.integers()
BODIES = st.one_of(
    st.text(max_size=40),
    ANY_JSON.filter(lambda value: not isinstance(value, dict)).map(json.dumps),
    one_field_replaced(contact_event()).map(json.dumps),
    st.fixed_dictionaries({"source": SOURCES, "contactId": ANY_JSON | HOSTILE}).map(json.dumps),
)


@given(BODIES)
def test_any_body_names_a_contact_or_is_refused(body: str) -> None:
    try:
        asked = asked_in(body)
    except InvalidInput:
        return
    assert asked.source in {Source.CONTACT_EVENT, *OURS}
    if asked.source is not Source.CONTACT_EVENT:
        assert body_of(asked.contact_id, asked.source)
        assert asked.contact_id


@given(st.from_regex(r"\A[a-z0-9][a-z0-9_-]{0,255}\Z"), st.sampled_from(OURS))
def test_our_message_is_read_back_for_any_contact(contact_id: str, source: Source) -> None:
    asked = asked_in(body_of(contact_id, source))
    assert (asked.contact_id, asked.source) == (contact_id, source)


# --- batches ---------------------------------------------------------------------------------------------------------


def record(**changes: Any) -> dict[str, Any]:
    """A message as Lambda's event source mapping hands it over; keywords replace its fields."""
    return {
        "messageId": "m-1",
        "receiptHandle": "AQEB",
        "body": "{}",
        "attributes": {
            "ApproximateReceiveCount": "3",
            "SentTimestamp": "1795000000123",
            "SenderId": "AIDA",
            "ApproximateFirstReceiveTimestamp": "1795000090123",
        },
        "messageAttributes": {},
        "md5OfBody": "99914b932bd37a50b983c5e7c90ae93b",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-central-1:111122223333:contact-queue",
        "awsRegion": "eu-central-1",
        **changes,
    }


def test_a_batch_is_read() -> None:
    first, second = messages_of({"Records": [record(), record(messageId="m-2", body="text")]})
    assert (first.message_id, first.receipt, first.body, first.receives) == ("m-1", "AQEB", "{}", 3)
    assert first.sent_at == datetime(2026, 11, 18, 11, 6, 40, 123000, UTC)
    assert (second.message_id, second.body) == ("m-2", "text")


@pytest.mark.parametrize("attributes", [None, {}, [], "x", {"ApproximateReceiveCount": 3, "SentTimestamp": 1.5}])
def test_absent_attributes_of_a_message_are_unknown(attributes: object) -> None:
    (message,) = messages_of({"Records": [record(attributes=attributes)]})
    assert (message.sent_at, message.receives) == (None, 1)


@pytest.mark.parametrize("text", ["", " 1", "-1", "1.5", "1e3", "0x10", "²", "many", "9" * 14, "9" * 5000])
def test_invalid_numbers_are_unknown(text: str) -> None:
    attributes = {"ApproximateReceiveCount": text, "SentTimestamp": text}
    (message,) = messages_of({"Records": [record(attributes=attributes)]})
    assert (message.sent_at, message.receives) == (None, 1)


@pytest.mark.parametrize(
    ("event", "named"),
    [
        (None, "event"),
        ([], "event"),
        ("text", "event"),
        ({}, "event"),
        ({"Records": None}, "event"),
        ({"Records": []}, "event"),
        ({"Records": {"0": record()}}, "event"),
        ({"records": [record()]}, "event"),
        (contact_event(), "event"),
        (flow_event(), "event"),
        ({"Records": [None]}, r"Records\[0\]"),
        ({"Records": [record(), "text"]}, r"Records\[1\]"),
        ({"Records": [record(messageId=None)]}, r"Records\[0\]\.messageId"),
        ({"Records": [record(messageId="")]}, r"Records\[0\]\.messageId"),
        ({"Records": [record(messageId=7)]}, r"Records\[0\]\.messageId"),
        ({"Records": [record(), record(body=None)]}, r"Records\[1\]\.body"),
        ({"Records": [record(body={})]}, r"Records\[0\]\.body"),
        # A batch of another service: it has no body.
        ({"Records": [{"eventSource": "aws:kinesis", "kinesis": {"data": ""}}]}, r"Records\[0\]\.messageId"),
    ],
)
def test_an_invalid_batch_names_the_field(event: object, named: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{named} must be"):
        messages_of(event)


@given(one_field_replaced({"Records": [record()]}) | ANY_JSON)
def test_anything_is_a_batch_or_refused(event: object) -> None:
    try:
        messages = messages_of(event)
    except InvalidInput:
        return
    assert all(message.message_id and message.receives >= 0 for message in messages)


def test_neither_body_nor_receipt_is_shown() -> None:
    (message,) = messages_of({"Records": [record(body="+498912345678")]})
    assert "+498912345678" not in repr(message)
    assert "AQEB" not in repr(message)
