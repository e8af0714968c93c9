from __future__ import annotations

import gc
import json
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import FunctionType, ModuleType
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builders import ANY_JSON, ANY_TEXT
from tests.unit.conftest import Key
from tools.local.token_rules import TokenRules
from voicecall_sync.errors import SecretUnusable
from voicecall_sync.salesforce.token import (
    ReadyJwt,
    SigningCredentials,
    Token,
    TokenSource,
    issue,
    parse_secret,
)

ORG, CALL_CENTER = "00D000000000001EAA", "ContactCenter1"
NOW = datetime(2026, 11, 22, 9, 30, 0, tzinfo=UTC)
PROVISIONED = f"{CALL_CENTER}-scrt-jwt-auth-private-key"

Form = Callable[[str], str]


def own_form(pem: str) -> str:
    return json.dumps({"privateKey": pem, "orgId": ORG, "callCenterApiName": CALL_CENTER})


def provisioned_form(pem: str) -> str:
    return json.dumps(
        {
            "SALESFORCE_ORG_ID": ORG,
            "SCRT_ENDPOINT_BASE": "https://example.my.salesforce-scrt.com/telephony/v1",
            "CALL_CENTER_API_NAME": CALL_CENTER,
            PROVISIONED: pem,
        }
    )


def stored_jwt(key: Key, **claims: object) -> str:
    """Return a JWT as a customer stores it; a claim of None is left out."""
    proper = {"iss": ORG, "sub": CALL_CENTER, "iat": NOW, "exp": NOW + timedelta(hours=8), **claims}
    return jwt.encode({name: value for name, value in proper.items() if value is not None}, key.private, "RS256")


def signing(text: str) -> SigningCredentials:
    credentials = parse_secret(text, "", "")
    assert isinstance(credentials, SigningCredentials)
    return credentials


def ready(text: str, call_center: str = "") -> ReadyJwt:
    credentials = parse_secret(text, "", call_center)
    assert isinstance(credentials, ReadyJwt)
    return credentials


def claims_of(token: Token, key: Key) -> dict[str, Any]:
    claims = jwt.decode(
        token.text, key.public, ["RS256"], options={"verify_exp": False, "verify_iat": False, "verify_aud": False}
    )
    return dict(claims)


def accepted(token: Token, key: Key, now: datetime) -> bool:
    """By the rules the simulator goes by, which were written without a look at our code."""
    rules = TokenRules(public_key_pem=key.public, org_id=ORG, call_center_api_name=CALL_CENTER)
    return rules.complaint(f"Bearer {token.text}", now) is None


def reveals(error: BaseException, secret: str) -> bool:
    """Tell whether the error, as a log shows it, holds eight characters in a row of the secret."""
    shown = "".join(traceback.format_exception(error))
    return any(secret[start : start + 8] in shown for start in range(len(secret) - 7))


def reread(key: Key) -> str:
    """The PEM as a text of its own, which only its reader keeps."""
    return key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def reachable(start: object) -> list[object]:
    """All objects that an object keeps, its own code and modules left out."""
    found: dict[int, object] = {}
    left = [start]
    while left:
        one = left.pop()
        if id(one) in found or isinstance(one, type | ModuleType | FunctionType):
            continue
        found[id(one)] = one
        left += gc.get_referents(one)
    return list(found.values())


def body_of(pem: str) -> str:
    return "".join(line for line in pem.splitlines() if not line.startswith("-----"))


class Vault:
    """Keeps the secret, and counts who asks for it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.reads = 0
        self.broken = False

    def read(self) -> str:
        self.reads += 1
        if self.broken:
            raise SecretUnusable("the secret cannot be read")
        return self.text


def source_over(vault: Vault, call_center: str = "") -> TokenSource:
    return TokenSource(vault.read, "", call_center, "https://example.my.salesforce-scrt.com")


# --- the forms of the secret -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [own_form, provisioned_form])
@pytest.mark.parametrize("encoding", ["pkcs1", "pkcs8"])
def test_a_key_is_read_in_both_forms_and_both_encodings(form: Form, encoding: str, key: Key) -> None:
    credentials = signing(form(getattr(key, encoding)))
    assert (credentials.org_id, credentials.call_center_api_name) == (ORG, CALL_CENTER)
    assert accepted(issue(credentials, NOW), key, NOW)


def one_line(pem: str) -> str:
    return " ".join(pem.split("\n"))


MANGLED: Mapping[str, Form] = {
    "two characters for a line break": lambda pem: pem.replace("\n", "\\n"),
    "four for carriage return and line break": lambda pem: pem.replace("\n", "\\r\\n"),
    "CRLF": lambda pem: pem.replace("\n", "\r\n"),
    "one line with spaces": one_line,
    "one line without": lambda pem: pem.replace("\n", ""),
    "indented": lambda pem: "\n".join(f"    {line}" for line in pem.splitlines()),
    "blank lines around": lambda pem: f"\n\n{pem}\n\n",
    "no line break at the end": str.strip,
}


@pytest.mark.parametrize("mangle", MANGLED.values(), ids=MANGLED)
@pytest.mark.parametrize(("form", "encoding"), [(own_form, "pkcs1"), (provisioned_form, "pkcs8")])
def test_a_key_is_read_however_its_line_breaks_fared(mangle: Form, form: Form, encoding: str, key: Key) -> None:
    assert accepted(issue(signing(form(mangle(getattr(key, encoding)))), NOW), key, NOW)


def test_a_jwt_is_taken_as_it_is(key: Key) -> None:
    text = stored_jwt(key)
    for secret in (text, f"  {text}\n", json.dumps({"jwt": text}), json.dumps({"jwt": f"{text}\n"})):
        credentials = ready(secret)
        assert credentials == ReadyJwt(text, NOW + timedelta(hours=8), CALL_CENTER)
        assert issue(credentials, NOW).text == text


def test_settings_serve_where_the_secret_does_not_say(key: Key) -> None:
    for secret in ({"privateKey": key.pkcs8}, {"-scrt-jwt-auth-private-key": key.pkcs8}):
        credentials = parse_secret(json.dumps(secret), ORG, CALL_CENTER)
        assert isinstance(credentials, SigningCredentials)
        assert (credentials.org_id, credentials.call_center_api_name) == (ORG, CALL_CENTER)
    assert ready(stored_jwt(key, sub=None), CALL_CENTER).call_center_api_name == CALL_CENTER


def test_the_secrets_values_go_before_the_settings(key: Key) -> None:
    for form in (own_form, provisioned_form):
        credentials = parse_secret(form(key.pkcs8), "other org", "OtherCenter")
        assert isinstance(credentials, SigningCredentials)
        assert (credentials.org_id, credentials.call_center_api_name) == (ORG, CALL_CENTER)
    assert ready(stored_jwt(key), "OtherCenter").call_center_api_name == CALL_CENTER


def test_a_provisioned_key_is_named_after_its_call_center(key: Key) -> None:
    credentials = parse_secret(json.dumps({PROVISIONED: key.pkcs8}), ORG, "OtherCenter")
    assert credentials.call_center_api_name == CALL_CENTER


def test_a_stated_call_center_goes_before_the_keys_name(key: Key) -> None:
    secret = {"SALESFORCE_ORG_ID": ORG, "CALL_CENTER_API_NAME": "Stated", PROVISIONED: key.pkcs8}
    assert signing(json.dumps(secret)).call_center_api_name == "Stated"


def test_of_several_provisioned_keys_the_stated_call_centers_is_taken(key: Key, other_key: Key) -> None:
    secret = {**json.loads(provisioned_form(key.pkcs8)), "Other-scrt-jwt-auth-private-key": other_key.pkcs8}
    assert accepted(issue(signing(json.dumps(secret)), NOW), key, NOW)


@pytest.mark.parametrize(
    ("secret", "org", "call_center", "names"),
    [
        ({"privateKey": "PEM", "callCenterApiName": "C"}, "", "", ["orgId", "SALESFORCE_ORG_ID"]),
        ({"privateKey": "PEM", "orgId": "O"}, "", "", ["callCenterApiName", "CALL_CENTER_API_NAME"]),
        ({"privateKey": "PEM", "orgId": " ", "callCenterApiName": "C"}, "O", "", ["orgId"]),
        ({"privateKey": "PEM", "orgId": 5, "callCenterApiName": "C"}, "O", "", ["orgId"]),
        ({PROVISIONED: "PEM"}, "", "", ["SALESFORCE_ORG_ID"]),
        ({"-scrt-jwt-auth-private-key": "PEM"}, "O", "", ["CALL_CENTER_API_NAME"]),
    ],
)
def test_a_missing_name_is_named(
    secret: Mapping[str, object], org: str, call_center: str, names: list[str], key: Key
) -> None:
    text = json.dumps({name: key.pkcs8 if value == "PEM" else value for name, value in secret.items()})
    with pytest.raises(SecretUnusable) as raised:
        parse_secret(text, org, call_center)
    assert all(name in str(raised.value) for name in names)


@pytest.mark.parametrize("sub", [None, "", " "])
def test_a_jwt_for_no_call_center_needs_the_setting(sub: str | None, key: Key) -> None:
    with pytest.raises(SecretUnusable, match="CALL_CENTER_API_NAME"):
        parse_secret(stored_jwt(key, sub=sub), ORG, "")


# --- where the token goes --------------------------------------------------------------------------------------------

STATED = "https://example.my.salesforce-scrt.com/telephony/v1"


@pytest.mark.parametrize(
    "setting",
    [
        "https://example.my.salesforce-scrt.com",
        "https://example.my.salesforce-scrt.com/telephony/v1",
        "https://EXAMPLE.my.salesforce-scrt.com",
    ],
)
@pytest.mark.parametrize(
    "stated",
    [STATED, f"{STATED}/", STATED.removesuffix("/telephony/v1"), f" {STATED.upper()} ", STATED[8:], "", None],
)
def test_an_endpoint_may_be_spelled_otherwise(setting: str, stated: str | None, key: Key) -> None:
    secret = {"jwt": stored_jwt(key), "SCRT_ENDPOINT_BASE": stated}
    assert isinstance(parse_secret(json.dumps(secret), "", "", setting), ReadyJwt)


@pytest.mark.parametrize(
    "stated", ["https://example--uat.sandbox.my.salesforce-scrt.com", f"{STATED}:8443", "http://127.0.0.1:1"]
)
def test_a_secret_for_another_endpoint_gives_no_token(stated: str, key: Key) -> None:
    secret = {**json.loads(provisioned_form(key.pkcs8)), "SCRT_ENDPOINT_BASE": stated.replace("/telephony/v1:", ":")}
    with pytest.raises(SecretUnusable) as raised:
        TokenSource(lambda: json.dumps(secret), "", "", STATED).current(NOW)
    assert secret["SCRT_ENDPOINT_BASE"] in str(raised.value)
    assert "https://example.my.salesforce-scrt.com" in str(raised.value)


@pytest.mark.parametrize("stated", ["hunter2 hunter2", 5, ["hunter2"], {"a": "hunter2"}, "https://u:hunter2@x.com"])
def test_an_invalid_address_in_a_secret_is_not_repeated(stated: object, key: Key) -> None:
    secret = {**json.loads(provisioned_form(key.pkcs8)), "SCRT_ENDPOINT_BASE": stated}
    with pytest.raises(SecretUnusable, match="SCRT_ENDPOINT_BASE is not an address") as raised:
        parse_secret(json.dumps(secret), "", "", STATED)
    assert "hunter2" not in str(raised.value)


# --- what is no secret of ours ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "hunter2-hunter2",
        "a.b",
        "a.b.c.d",
        "[]",
        "null",
        "5",
        '"text"',
        "{}",
        '{"password": "hunter2-hunter2"}',
        pytest.param("[" * 100_000, id="deep"),
        '{"a-scrt-jwt-auth-private-key": "x", "b-scrt-jwt-auth-private-key": "y"}',
        '{"jwt": 5}',
        '{"jwt": ""}',
        '{"jwt": "hunter2-hunter2"}',
        '{"privateKey": null}',
        '{"privateKey": ["hunter2-hunter2"]}',
        '{"privateKey": "hunter2-hunter2"}',
        '{"privateKey": "-----BEGIN PRIVATE KEY-----hunter2-hunter2-----END PRIVATE KEY-----"}',
        '{"privateKey": "-----BEGIN PRIVATE KEY-----\\ud800-----END PRIVATE KEY-----"}',
        '{"privateKey": "-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----"}',
        "hunter2.hunter2.hunter2",
        "eyJhbGciOiJSUzI1NiJ9.hunter2hunter2.hunter2",
    ],
)
def test_another_secret_is_unusable_and_not_repeated(text: str) -> None:
    with pytest.raises(SecretUnusable) as raised:
        parse_secret(text, ORG, CALL_CENTER)
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


def foreign_keys(key: Key) -> dict[str, str]:
    def pem(private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
        return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def encrypted(form: PrivateFormat) -> str:
        return key.private.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"password")).decode()

    return {
        "elliptic curve": pem(ec.generate_private_key(ec.SECP256R1())),
        "Ed25519": pem(ed25519.Ed25519PrivateKey.generate()),
        "encrypted PKCS#8": encrypted(PrivateFormat.PKCS8),
        "encrypted PKCS#1": encrypted(PrivateFormat.TraditionalOpenSSL),
        "public": key.public,
        "cut short": key.pkcs8[: len(key.pkcs8) // 2] + "\n-----END PRIVATE KEY-----",
        "without its end": key.pkcs8[:-30],
        "twice": key.pkcs8 + key.pkcs8,
        "with a letter changed": key.pkcs8[:300] + ("A" if key.pkcs8[300] != "A" else "B") * 40 + key.pkcs8[340:],
    }


@pytest.mark.parametrize("form", [own_form, provisioned_form])
def test_another_key_is_unusable_and_not_revealed(form: Form, key: Key) -> None:
    for what, pem in foreign_keys(key).items():
        with pytest.raises(SecretUnusable, match=r"privateKey|private-key") as raised:
            parse_secret(form(pem), ORG, CALL_CENTER)
        assert not reveals(raised.value, body_of(pem)), what


@pytest.mark.parametrize(("form", "bits"), [(own_form, 1024), (provisioned_form, 2047)])
def test_a_short_key_is_refused(form: Form, bits: int) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    pem = weak.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(SecretUnusable, match=f"has {bits} bits, and needs 2,048 at least") as raised:
        parse_secret(form(pem), ORG, CALL_CENTER)
    assert not reveals(raised.value, body_of(pem))


def held_by(error: BaseException) -> str:
    """All that an error holds: its message, the errors before it, and the variables of the frames they passed."""
    shown, left = [], [error]
    while left:
        one = left.pop()
        shown += [repr(one), repr(vars(one)), getattr(one, "doc", "")]
        frames = [
            frame
            for frame, _ in traceback.walk_tb(one.__traceback__)
            if "voicecall_sync" in frame.f_globals["__name__"]
        ]
        shown += [repr(value) for frame in frames for value in frame.f_locals.values()]
        left += [before for before in (one.__cause__, one.__context__) if before is not None]
    return "".join(shown)


BROKEN: Mapping[str, Form] = {
    "not JSON": lambda pem: f"{{{own_form(pem)}",
    "no known form": lambda pem: json.dumps({"key": pem}),
    "a key with no name": lambda pem: json.dumps({"privateKey": pem}),
    "a key cut short": lambda pem: own_form(f"{pem[:400]}\n-----END PRIVATE KEY-----"),
    "for another endpoint": lambda pem: json.dumps({"SCRT_ENDPOINT_BASE": "https://x.example.com", "privateKey": pem}),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_an_error_and_its_frames_hold_nothing_of_the_secret(broken: Form, key: Key) -> None:
    text = broken(key.pkcs8)

    class Elsewhere:
        def read(self) -> str:
            return text

    with pytest.raises(SecretUnusable) as raised:
        TokenSource(Elsewhere().read, "", "", STATED).current(NOW)
    held = held_by(raised.value)
    assert "secret" in held
    assert not any(line in held for line in key.pkcs8.splitlines()[1:6])


def test_neither_pem_nor_secret_is_kept_beside_the_parsed_key(key: Key) -> None:
    source = TokenSource(lambda: own_form(reread(key)), "", "", STATED)
    source.current(NOW)
    held = [one for one in reachable(source) if isinstance(one, str | bytes)]
    assert any(one == CALL_CENTER for one in held)
    assert not any(body_of(key.pkcs8)[:40] in str(one) for one in held)


def test_an_undecodable_jwt_is_unusable_and_not_revealed(key: Key) -> None:
    text = stored_jwt(key)
    header, payload, signature = text.split(".")
    for broken in (
        f"{payload}.{header}x.{signature}",
        f"{header}.{payload[:-3]}.{signature}",
        f"{signature}.{payload}.{header}",
    ):
        with pytest.raises(SecretUnusable) as raised:
            parse_secret(broken, ORG, CALL_CENTER)
        assert not reveals(raised.value, broken)


@pytest.mark.parametrize("exp", [float("nan"), 1e300, -1e300, 10**30])
def test_a_jwt_that_expires_at_no_time_is_unusable(exp: float, key: Key) -> None:
    payload = json.dumps({"sub": CALL_CENTER, "exp": exp}).encode()
    text = jwt.api_jws.encode(payload, key.private, "RS256")
    with pytest.raises(SecretUnusable, match="exp"):
        parse_secret(text, ORG, CALL_CENTER)


@given(
    ANY_TEXT
    | ANY_JSON.map(json.dumps)
    | st.dictionaries(st.sampled_from(["jwt", "privateKey", PROVISIONED]), ANY_JSON).map(json.dumps)
)
def test_any_text_is_a_secret_or_unusable(text: str) -> None:
    with pytest.raises(SecretUnusable):
        parse_secret(text, ORG, CALL_CENTER)


# --- a token ---------------------------------------------------------------------------------------------------------


def test_a_token_has_the_required_claims(key: Key) -> None:
    token = issue(signing(own_form(key.pkcs8)), NOW)
    claims = claims_of(token, key)
    assert jwt.get_unverified_header(token.text) == {"alg": "RS256", "typ": "JWT"}
    assert claims.keys() == {"iss", "sub", "aud", "iat", "exp"}
    assert (claims["iss"], claims["sub"]) == (ORG, CALL_CENTER)
    assert claims["aud"] == "https://scrt.salesforce.com"
    assert all(isinstance(claims[name], int) for name in ("iat", "exp"))
    assert claims["exp"] - claims["iat"] <= 24 * 3600
    assert claims["iat"] <= NOW.timestamp()
    assert claims["exp"] > NOW.timestamp()
    assert token.call_center_api_name == CALL_CENTER


def test_a_token_is_valid_for_a_slightly_late_clock(key: Key) -> None:
    token = issue(signing(own_form(key.pkcs8)), NOW)
    assert claims_of(token, key)["iat"] <= (NOW - timedelta(seconds=30)).timestamp()


def test_a_token_is_usable_only_while_salesforce_takes_it(key: Key) -> None:
    token = issue(signing(own_form(key.pkcs8)), NOW)
    claims = claims_of(token, key)
    for minutes in range(-90, 90):
        then = NOW + timedelta(minutes=minutes)
        if token.usable(then):
            assert claims["iat"] <= then.timestamp()
            assert then.timestamp() + 60 < claims["exp"]
    assert token.usable(NOW)


def test_an_expired_jwt_is_reported_as_that(key: Key) -> None:
    text = stored_jwt(key)
    credentials = ready(text)
    expiry = NOW + timedelta(hours=8)
    assert issue(credentials, expiry - timedelta(seconds=1)).text == text
    for then in (expiry, expiry + timedelta(days=900)):
        with pytest.raises(SecretUnusable, match="expired at 2026-11-22T17:30:00") as raised:
            issue(credentials, then)
        assert not reveals(raised.value, text)


def test_a_jwt_without_an_expiry_serves_for_good(key: Key) -> None:
    token = issue(ready(stored_jwt(key, exp=None)), NOW)
    assert token.usable(NOW + timedelta(days=900))


# --- the source of tokens --------------------------------------------------------------------------------------------


def test_one_reading_and_one_signing_serve_many_contacts(key: Key) -> None:
    vault = Vault(own_form(key.pkcs8))
    source = source_over(vault)
    tokens = {source.current(NOW + timedelta(seconds=seconds)).text for seconds in range(0, 3000, 60)}
    assert len(tokens) == 1
    assert vault.reads == 1


def test_a_token_is_renewed_without_reading_the_secret_again(key: Key) -> None:
    vault = Vault(own_form(key.pkcs8))
    source = source_over(vault)
    for hours in range(30):
        for minutes in (0, 20, 40):
            now = NOW + timedelta(hours=hours, minutes=minutes)
            assert accepted(source.current(now), key, now + timedelta(minutes=1))
    assert vault.reads == 1


def test_a_token_from_the_future_is_not_sent(key: Key) -> None:
    source = source_over(Vault(own_form(key.pkcs8)))
    source.current(NOW)
    earlier = NOW - timedelta(hours=3)
    assert claims_of(source.current(earlier), key)["iat"] <= earlier.timestamp()


@settings(max_examples=5)  # each example reads the key, which takes longer than to sign many times
@given(jumps=st.lists(st.floats(-1e7, 1e7), min_size=20, max_size=40))
def test_however_the_clock_jumps_salesforce_takes_the_current_token(jumps: list[float], key: Key) -> None:
    source = source_over(Vault(own_form(key.pkcs8)))
    now = NOW
    for seconds in jumps:
        now += timedelta(seconds=seconds)
        assert accepted(source.current(now), key, now)


def test_an_unreadable_secret_is_read_again_at_the_next_contact(key: Key) -> None:
    vault = Vault(own_form(key.pkcs8))
    vault.broken = True
    source = source_over(vault)
    with pytest.raises(SecretUnusable):
        source.current(NOW)
    vault.broken = False
    assert accepted(source.current(NOW), key, NOW)


def test_an_expired_jwt_is_read_from_the_secret_again(key: Key) -> None:
    vault = Vault(stored_jwt(key))
    source = source_over(vault)
    source.current(NOW)
    later = NOW + timedelta(hours=9)
    with pytest.raises(SecretUnusable, match="expired"):
        source.current(later)
    vault.text = stored_jwt(key, exp=later + timedelta(hours=1))
    assert source.current(later).text == vault.text
    assert accepted(source.current(later), key, later)


def test_a_stored_jwt_is_read_once_while_it_lasts(key: Key) -> None:
    vault = Vault(json.dumps({"jwt": stored_jwt(key)}))
    source = source_over(vault)
    for minutes in range(0, 480, 30):
        source.current(NOW + timedelta(minutes=minutes))
    assert vault.reads == 1


# --- after a 401 -----------------------------------------------------------------------------------------------------


def test_after_a_refusal_secret_and_token_are_new(key: Key, other_key: Key) -> None:
    vault = Vault(own_form(key.pkcs8))
    source = source_over(vault)
    source.current(NOW)
    vault.text = own_form(other_key.pkcs8)

    source.forget()

    assert accepted(source.current(NOW), other_key, NOW)
    assert vault.reads == 2


def test_after_a_refusal_a_key_may_replace_the_jwt(key: Key) -> None:
    vault = Vault(stored_jwt(key))
    source = source_over(vault)
    source.current(NOW)
    vault.text = provisioned_form(key.pkcs1)

    source.forget()

    assert accepted(source.current(NOW), key, NOW)


@pytest.mark.parametrize("now_there", ["nonsense", None])
def test_an_unusable_secret_does_not_bring_back_a_token(now_there: str | None, key: Key) -> None:
    vault = Vault(own_form(key.pkcs8))
    source = source_over(vault)
    source.current(NOW)
    vault.text, vault.broken = now_there or vault.text, now_there is None

    source.forget()

    for _ in range(2):
        with pytest.raises(SecretUnusable):
            source.current(NOW)


def test_the_source_prints_no_key_and_no_token(key: Key) -> None:
    source = source_over(Vault(own_form(key.pkcs8)))
    token = source.current(NOW)
    assert token.text not in repr(source)
    assert body_of(key.pkcs8)[:40] not in repr(source)
