"""Salesforce's rules for the JSON Web Token of a telephony request.

The rules are from Salesforce's telephony REST API. The algorithm is RS256, ``iss`` is the organisation's id, and
``sub`` is the call center's API name. ``exp`` is at most 24 h after ``iat``. ``aud`` and ``jti`` are checked only if
sent.
"""

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.types import Options

_AUDIENCE = "https://scrt.salesforce.com"
_LONGEST_LIFE = 24 * 3600
_LEEWAY = 60  # seconds our clock may be behind the client's
_ONLY_SIGNATURE: Options = {
    # everything that depends on the time is checked here, against the simulator's own clock
    "verify_signature": True,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
    "require": ["iss", "sub", "iat", "exp"],
}


class TokenRules:
    """Checks bearer tokens against one accepted key; remembers the ``jti`` it has seen, never a token."""

    def __init__(self, *, public_key_pem: str | bytes, org_id: str, call_center_api_name: str) -> None:
        self._expected = {"iss": org_id, "sub": call_center_api_name}
        self._key = _public_key(public_key_pem)
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def accept_key(self, public_key_pem: str | bytes) -> None:
        """Accept from now on this key and no other: the key was rotated.

        Raises:
            ValueError: it is no RSA public key in PEM.
        """
        self._key = _public_key(public_key_pem)

    def complaint(self, authorization: str | None, now: datetime) -> str | None:
        """Return why a request with this Authorization header is refused, None if it is not.

        A token that is accepted and has a ``jti`` is so used up. The reason never quotes the token.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme != "Bearer" or not token:
            return "no bearer token"
        try:
            claims = jwt.decode(token, self._key, algorithms=["RS256"], options=_ONLY_SIGNATURE)
        except jwt.PyJWTError as error:
            return f"token refused: {type(error).__name__}"
        return self._claims_complaint(claims, now.timestamp()) or self._replay_complaint(claims)

    def _claims_complaint(self, claims: Mapping[str, Any], now: float) -> str | None:
        for name, expected in self._expected.items():
            if claims[name] != expected:
                return f"{name} is not {expected}"
        if claims.get("aud", _AUDIENCE) != _AUDIENCE:
            return f"aud is not {_AUDIENCE}"
        issued, expires = claims["iat"], claims["exp"]
        if not all(isinstance(time, int | float) and not isinstance(time, bool) for time in (issued, expires)):
            return "iat or exp is no number"
        broken = {
            "exp has passed": expires <= now,
            "exp is more than 24 h after iat": expires - issued > _LONGEST_LIFE,
            "iat is in the future": issued > now + _LEEWAY,
        }
        return next((rule for rule, is_broken in broken.items() if is_broken), None)

    def _replay_complaint(self, claims: Mapping[str, Any]) -> str | None:
        if "jti" not in claims:
            return None
        identity = str(claims["jti"])
        with self._lock:
            if identity in self._seen:
                return "jti was sent before"
            self._seen.add(identity)
        return None


def _public_key(pem: str | bytes) -> RSAPublicKey:
    key = load_pem_public_key(pem.encode() if isinstance(pem, str) else pem)
    if not isinstance(key, RSAPublicKey):
        raise ValueError("RS256 needs an RSA public key")  # noqa: TRY004 - the PEM's content is the value
    return key
