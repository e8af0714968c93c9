"""Text of the secret -> credentials -> signed JWT.

Salesforce wants RS256 with ``iss`` = org id, ``sub`` = API name of the call center, ``aud``, ``iat`` and ``exp``. The
last one is at most 24 hours ahead ("Authorize with JWT", Service Cloud Voice). ``jti`` is optional, and each value may
be sent only once. A cached token is sent often, so it has no ``jti``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from voicecall_sync.errors import SecretUnusable

AUDIENCE = "https://scrt.salesforce.com"
LIFETIME = timedelta(hours=1)
RENEW_BEFORE_EXPIRY = timedelta(minutes=5)
# Salesforce's clock may be behind ours, and Salesforce refuses a token from the future.
ISSUED_BEFORE_NOW = timedelta(minutes=1)

SHORTEST_KEY_BITS = 2048
"""The least that RFC 7518 (3.3) allows for RS256."""

_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_PEM = re.compile(r"\s*(-----BEGIN [A-Z ]+-----)(.*?)(-----END [A-Z ]+-----)\s*", re.DOTALL)
_ENDPOINT = re.compile(r"(?:https?://)?([a-z0-9.-]+|\[::1\])(:\d{1,5})?", re.ASCII)
_PROVISIONED_KEY_SUFFIX = "-scrt-jwt-auth-private-key"
_FORMS = (
    'the secret must be a JWT, {"jwt": …}, {"privateKey": PEM, "orgId": …, "callCenterApiName": …}, or the object'
    " that Salesforce provisions"
)


@dataclass(frozen=True, slots=True)
class ReadyJwt:
    """A JWT that the secret itself holds. It can be sent until it expires, and cannot be renewed."""

    text: str = field(repr=False)
    expires_at: datetime | None
    call_center_api_name: str


@dataclass(frozen=True, slots=True)
class SigningCredentials:
    """A parsed private key, its org and its call center. Parsing takes over 50 ms, so it is done once."""

    key: RSAPrivateKey
    org_id: str
    call_center_api_name: str


@dataclass(frozen=True, slots=True)
class Token:
    """The JWT that is sent as "Bearer", and the span of time in which it may be sent."""

    text: str = field(repr=False)
    call_center_api_name: str
    usable_from: datetime
    usable_until: datetime

    def usable(self, now: datetime) -> bool:
        """Tell whether it may be sent now. It may not if the clock was set back to before its issue."""
        return self.usable_from <= now < self.usable_until


def parse_secret(
    text: str, org_id: str, call_center_api_name: str, endpoint_base: str = ""
) -> ReadyJwt | SigningCredentials:
    """Read the secret's text, in any of its four forms.

    Args:
        text: The SecretString.
        org_id: Used if the secret does not have it.
        call_center_api_name: Used if the secret does not have it.
        endpoint_base: Where its token would be sent; "" if it is not sent.

    Raises:
        SecretUnusable: It does not have one of these forms, or lacks a field; the message names the field, no value.
            Or it states another endpoint; the message names both.
    """
    stripped = text.strip()
    if _JWT.fullmatch(stripped):
        return _ready_jwt(stripped, call_center_api_name)
    try:
        secret = json.loads(stripped)
    except (ValueError, RecursionError):
        raise SecretUnusable(_FORMS) from None
    if not isinstance(secret, dict):
        raise SecretUnusable(_FORMS)
    _require_endpoint(secret.get("SCRT_ENDPOINT_BASE"), endpoint_base)
    if "jwt" in secret:
        token = secret["jwt"]
        if not isinstance(token, str) or not _JWT.fullmatch(token.strip()):
            raise SecretUnusable('the secret\'s "jwt" is not a JWT')
        return _ready_jwt(token.strip(), call_center_api_name)
    if "privateKey" in secret:
        return SigningCredentials(
            _private_key(secret["privateKey"], "privateKey"),
            _name(secret, "orgId", org_id, "SALESFORCE_ORG_ID"),
            _name(secret, "callCenterApiName", call_center_api_name, "CALL_CENTER_API_NAME"),
        )
    return _provisioned(secret, org_id, call_center_api_name)


def _provisioned(secret: Mapping[str, object], org_id: str, call_center_api_name: str) -> SigningCredentials:
    """Read the object that Salesforce writes for an Amazon Connect contact center since Winter '26."""
    key_names = [name for name in secret if name.endswith(_PROVISIONED_KEY_SUFFIX)]
    stated = secret.get("CALL_CENTER_API_NAME")
    if isinstance(stated, str) and stated + _PROVISIONED_KEY_SUFFIX in secret:
        key_names = [stated + _PROVISIONED_KEY_SUFFIX]
    if len(key_names) != 1:
        raise SecretUnusable(_FORMS)
    (key_name,) = key_names
    default_name = key_name.removesuffix(_PROVISIONED_KEY_SUFFIX) or call_center_api_name
    return SigningCredentials(
        _private_key(secret[key_name], key_name),
        _name(secret, "SALESFORCE_ORG_ID", org_id, "SALESFORCE_ORG_ID"),
        _name(secret, "CALL_CENTER_API_NAME", default_name, "CALL_CENTER_API_NAME"),
    )


def _require_endpoint(stated: object, endpoint_base: str) -> None:
    """Refuse a secret that Salesforce provisioned for another endpoint: its token must not go to this one."""
    if not stated or not endpoint_base:
        return
    theirs, ours = _comparable(stated), _comparable(endpoint_base)
    if theirs is None or not _ENDPOINT.fullmatch(theirs):  # it may be anything, so it is not repeated
        raise SecretUnusable("the secret's SCRT_ENDPOINT_BASE is not an address")
    if theirs != ours:
        raise SecretUnusable(
            f"the secret is for the endpoint {theirs}, and SCRT_ENDPOINT_BASE is {ours}: nothing is sent"
        )


def _comparable(endpoint: object) -> str | None:
    """Return an endpoint without what may differ in spelling; None if it is not text."""
    if not isinstance(endpoint, str):
        return None
    text = endpoint.strip().lower().rstrip("/").removesuffix("/telephony/v1").rstrip("/")
    return text if "://" in text else f"https://{text}"


def _name(secret: Mapping[str, object], name: str, default: str, variable: str) -> str:
    value = secret.get(name) or default
    if not isinstance(value, str) or not value.strip():
        raise SecretUnusable(f"neither the secret's {name} nor the variable {variable} is set")
    return value.strip()


def _ready_jwt(text: str, call_center_api_name: str) -> ReadyJwt:
    try:
        # Salesforce checks the signature. We have no key for that, and only read the names and the expiry.
        claims = jwt.decode(text, options={"verify_signature": False, "verify_exp": False, "verify_aud": False})
    except jwt.InvalidTokenError:
        raise SecretUnusable("the secret looks like a JWT, but cannot be decoded as one") from None
    expires = claims.get("exp")
    name = claims.get("sub") or call_center_api_name
    if not isinstance(name, str) or not name.strip():
        raise SecretUnusable("neither the stored JWT's sub nor the variable CALL_CENTER_API_NAME is set")
    try:
        expires_at = None if expires is None else datetime.fromtimestamp(expires, UTC)
    except (ValueError, OverflowError, OSError, TypeError):
        raise SecretUnusable("the stored JWT's exp is not a time") from None
    return ReadyJwt(text, expires_at, name.strip())


def _private_key(value: object, name: str) -> RSAPrivateKey:
    """Parse a PEM, PKCS#1 or PKCS#8. Its line breaks may be lost or escaped."""
    match = _PEM.fullmatch(value.replace("\\n", "\n").replace("\\r", "")) if isinstance(value, str) else None
    if match is None:
        raise SecretUnusable(f"the secret's {name} is not a private key in PEM")
    begin, body, end = match.groups()
    lines = re.findall(".{1,64}", "".join(body.split()))
    pem = "\n".join((begin, *lines, end, ""))
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SecretUnusable(f"the secret's {name} cannot be read as an unencrypted private key") from None
    if not isinstance(key, RSAPrivateKey):
        raise SecretUnusable(f"the secret's {name} is not an RSA key, which RS256 needs")
    if key.key_size < SHORTEST_KEY_BITS:
        raise SecretUnusable(f"the secret's {name} has {key.key_size} bits, and needs {SHORTEST_KEY_BITS:,} at least")
    return key


def issue(credentials: ReadyJwt | SigningCredentials, now: datetime) -> Token:
    """Return a token to send.

    Raises:
        SecretUnusable: The stored JWT has expired.
    """
    if isinstance(credentials, ReadyJwt):
        expires_at = credentials.expires_at or datetime.max.replace(tzinfo=UTC)
        if now >= expires_at:
            raise SecretUnusable(f"the JWT stored in the secret expired at {expires_at.isoformat()}")
        return Token(credentials.text, credentials.call_center_api_name, datetime.min.replace(tzinfo=UTC), expires_at)
    issued_at = now - ISSUED_BEFORE_NOW
    expires_at = now + LIFETIME
    claims = {
        "iss": credentials.org_id,
        "sub": credentials.call_center_api_name,
        "aud": AUDIENCE,
        "iat": int(issued_at.timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    text = jwt.encode(claims, credentials.key, algorithm="RS256")
    return Token(text, credentials.call_center_api_name, issued_at, expires_at - RENEW_BEFORE_EXPIRY)


class TokenSource:
    """Gives the current token. The secret is read, parsed and used for signing once for many contacts.

    Args:
        read_secret: Reads the secret's text; raises ``SecretUnusable``.
        org_id: Used if the secret does not have it.
        call_center_api_name: Used if the secret does not have it.
        endpoint_base: Where the token is sent; a secret that states another endpoint is refused.
    """

    def __init__(
        self, read_secret: Callable[[], str], org_id: str, call_center_api_name: str, endpoint_base: str
    ) -> None:
        self._read_secret = read_secret
        self._defaults = (org_id, call_center_api_name, endpoint_base)
        self._credentials: ReadyJwt | SigningCredentials | None = None
        self._token: Token | None = None

    def current(self, now: datetime) -> Token:
        """Return a usable token; the cached one if possible.

        Raises:
            SecretUnusable: The secret cannot be read or parsed, is for another endpoint, or holds an expired JWT.
        """
        if self._token is not None and self._token.usable(now):
            return self._token
        if isinstance(self._credentials, SigningCredentials):
            return self._issue(self._credentials, now)
        # The first token; or the stored JWT expired, and the secret may hold a new one by now.
        self._credentials = self._read()
        return self._issue(self._credentials, now)

    def forget(self) -> None:
        """Forget token and secret, because Salesforce refused the token. The next contact reads the secret again."""
        self._credentials = self._token = None

    def expires_at(self) -> datetime | None:
        """Return when the JWT stored in the secret expires; None if it never does, or for a private key."""
        return self._credentials.expires_at if isinstance(self._credentials, ReadyJwt) else None

    def _read(self) -> ReadyJwt | SigningCredentials:
        try:
            return parse_secret(self._read_secret(), *self._defaults)
        except SecretUnusable as failure:
            message = str(failure)
        # A new error. The first has frames whose variables hold the secret, and came of errors that hold its text.
        raise SecretUnusable(message)

    def _issue(self, credentials: ReadyJwt | SigningCredentials, now: datetime) -> Token:
        self._token = issue(credentials, now)
        return self._token
