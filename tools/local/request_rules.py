"""What Salesforce asks of a request before it looks at what the body says, and in which order."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from tools.local import voice_call_rules
from tools.local.messages import Request
from tools.local.token_rules import TokenRules

_VOICE_CALL = re.compile(r"/telephony/v1/voiceCalls/([A-Za-z0-9-]{1,256})", re.ASCII)
_PROVIDER = "amazon-connect"
_Rule = tuple[int, Callable[[], str | None]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused, and the status that says so."""

    status: int
    message: str


def call_id(target: str) -> str | None:
    """Return the CALL ID of the path, None if it is not exactly that of one VoiceCall.

    A query, an escape, a doubled slash or one at the end makes it another path.
    """
    match = _VOICE_CALL.fullmatch(target)
    return match and match[1]


class RequestRules:
    """Checks whole requests; the first rule that is broken decides."""

    def __init__(self, tokens: TokenRules) -> None:
        self._tokens = tokens

    def refusal(self, request: Request, now: datetime) -> Refusal | None:
        """Return why Salesforce refuses the request at `now`, None if it takes it.

        An acceptable token's ``jti`` is used up by asking.
        """
        rules: tuple[_Rule, ...] = (
            (HTTPStatus.NOT_FOUND, lambda: None if call_id(request.target) else "no such resource"),
            (HTTPStatus.METHOD_NOT_ALLOWED, lambda: None if request.method == "PATCH" else "only PATCH"),
            (HTTPStatus.UNAUTHORIZED, lambda: self._tokens.complaint(request.header("Authorization"), now)),
            (HTTPStatus.BAD_REQUEST, lambda: _provider_complaint(request)),
            (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, lambda: _media_type_complaint(request)),
            (HTTPStatus.BAD_REQUEST, lambda: _body_complaint(request)),
        )
        for status, complaint in rules:
            if message := complaint():
                return Refusal(status, message)
        return None


def _provider_complaint(request: Request) -> str | None:
    provider = request.header("Telephony-Provider-Name")
    return None if provider == _PROVIDER else f"Telephony-Provider-Name must be {_PROVIDER}, not {provider}"


def _media_type_complaint(request: Request) -> str | None:
    media_type = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    return None if media_type == "application/json" else "Content-Type must be application/json"


def _body_complaint(request: Request) -> str | None:
    body = voice_call_rules.parse_object(request.body)
    if body is None:
        return "the body is no JSON object"
    return "; ".join(voice_call_rules.complaints(body)) or None
