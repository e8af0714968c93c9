"""The request to Salesforce's telephony API, and the meaning of its answer or failure.

    PATCH {base}/telephony/v1/voiceCalls/{CALL ID}      CALL ID: Connect's ContactId

The status line decides. Only the body of a success is documented, ``{"status": "pending"}``: accepted, not yet done. So
the body is opaque text here. It is read after the claim is settled, and redacted before it is logged.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import MappingProxyType

import requests

from voicecall_sync.outcome import Settlement, State
from voicecall_sync.salesforce.attempt import Answered, NotSent, Reply
from voicecall_sync.salesforce.voice_call import VoiceCallUpdate

LONGEST_RETRY_AFTER_SECONDS = 3600.0
_LONGEST_EXPLANATION = 200

_BY_CLASS = MappingProxyType({2: State.UPDATED, 3: State.REJECTED, 4: State.REJECTED})
_BY_STATUS = MappingProxyType(
    {
        HTTPStatus.UNAUTHORIZED: State.NOT_APPLIED,
        HTTPStatus.REQUEST_TIMEOUT: State.NOT_APPLIED,
        HTTPStatus.TOO_EARLY: State.NOT_APPLIED,
        HTTPStatus.TOO_MANY_REQUESTS: State.NOT_APPLIED,
    }
)


def call_url(endpoint_base: str, contact_id: str) -> str:
    """Return the address of one call's record.

    Args:
        endpoint_base: https://MyDomain.my.salesforce-scrt.com, with or without /telephony/v1: both are in use.
        contact_id: It needs no quoting: that was checked when the contact was made.
    """
    return f"{endpoint_base.rstrip('/').removesuffix('/telephony/v1')}/telephony/v1/voiceCalls/{contact_id}"


def meaning(reply: Reply, now: datetime) -> Settlement:
    """Return what a reply means for the claim: the table of answers.

    After a 5xx the result is not certain, because a proxy may have passed the request on before it failed. The one
    exception is 503 with a Retry-After: a server that did the work does not send it. After an unknown status code the
    result is not certain either.

    Args:
        reply: The reply of one attempt.
        now: The time of day, for a Retry-After that is a date.
    """
    if isinstance(reply, NotSent):
        return Settlement(State.NOT_APPLIED, f"not sent: {reply.reason}")
    if not isinstance(reply, Answered):
        return Settlement(State.UNCERTAIN, f"sent, and no answer: {reply.reason}")
    retry_after = _seconds(reply.retry_after, now)
    state = _BY_STATUS.get(HTTPStatus(reply.status)) if reply.status in _KNOWN else None
    if reply.status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after is not None:
        state = State.NOT_APPLIED
    state = state or _BY_CLASS.get(reply.status // 100, State.UNCERTAIN)
    return Settlement(state, f"Salesforce answered {reply.status}", reply.status, retry_after)


_KNOWN = frozenset(status.value for status in HTTPStatus)


def _seconds(retry_after: str | None, now: datetime) -> float | None:
    """Read a Retry-After, in seconds or as a date (RFC 9110, 10.2.3); None if it is absent or neither."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if re.fullmatch(r"\d+", text, re.ASCII):
        return min(float(text[:10]), LONGEST_RETRY_AFTER_SECONDS)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(0.0, (until - now).total_seconds()), LONGEST_RETRY_AFTER_SECONDS)


def patch(endpoint_base: str, provider_name: str, contact_id: str, token: str, body: bytes) -> requests.PreparedRequest:
    """Return the request, as the library requests prepares and checks it.

    Args:
        endpoint_base: See ``call_url``.
        provider_name: Value of the header Telephony-Provider-Name.
        contact_id: Connect's ContactId.
        token: The JWT, sent as "Bearer".
        body: JSON.
    """
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Telephony-Provider-Name": provider_name,
        "User-Agent": "voicecall-sync",
        "Connection": "close",
    }
    return requests.Request("PATCH", call_url(endpoint_base, contact_id), headers=headers, data=body).prepare()


def explanation(body: bytes, voice_call: VoiceCallUpdate) -> str:
    """Return the words of a refusal's body that may be logged.

    A body may repeat the values that we sent. So only words that cannot be a value are kept: the names of
    properties and fields that we sent. Codes such as INVALID_FIELD are kept too, unless a value contains them.
    """
    text = body.decode("ascii", "replace")
    names = {name.lower(): name for name in (*voice_call.properties, *voice_call.custom_fields)}
    values = json.dumps(dict(voice_call.properties)).upper()
    words = []
    for word in re.findall(r"[A-Za-z][A-Za-z0-9_]*", text):
        if word.lower() in names:
            words.append(names[word.lower()])
        elif re.fullmatch(r"[A-Z]+(_[A-Z]+)+", word) and word not in values:
            words.append(word)
    return " ".join(dict.fromkeys(words))[:_LONGEST_EXPLANATION]
