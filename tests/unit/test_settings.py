from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.builders import INSTANCE_ARN, INSTANCE_ID
from voicecall_sync.custom_fields import CustomField
from voicecall_sync.errors import WrongSettings
from voicecall_sync.reconcile_request import Scope, Usual
from voicecall_sync.settings import OPTIONAL, REQUIRED, Settings, log_level, read, service
from voicecall_sync.telephony import call_url

HOST = "https://example.my.salesforce-scrt.com"
MARKER = "Zaphod7731"

Environment = Callable[..., None]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Sets variables, over a complete and otherwise empty environment; None takes one away."""
    for name in (*REQUIRED, *OPTIONAL, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)

    def set_variables(**variables: str | None) -> None:
        for name, value in variables.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    set_variables(
        SCRT_ENDPOINT_BASE=HOST,
        JWT_SECRET_ID="the-secret",
        IDEMPOTENCY_TABLE="the-table",
        CONNECT_INSTANCE_ID=INSTANCE_ID,
    )
    return set_variables


@pytest.mark.usefixtures("environment")
def test_the_required_variables_are_enough() -> None:
    settings = read()
    assert settings == Settings(
        endpoint_base=HOST,
        secret_id="the-secret",
        org_id="",
        call_center_api_name="",
        provider_name="amazon-connect",
        table="the-table",
        instance_id=INSTANCE_ID,
        custom_fields={},
        log_level="INFO",
        usual=Usual(Scope.NONE, timedelta(hours=24), not_before=None),
        concurrency=8,
        searches_per_second=0.4,
        describes_per_second=5.0,
        ca_bundle=settings.ca_bundle,
    )
    assert Path(settings.ca_bundle).is_file()


def test_every_variable_is_read(environment: Environment) -> None:
    environment(
        SALESFORCE_ORG_ID="00D1",
        CALL_CENTER_API_NAME="Center",
        TELEPHONY_PROVIDER_NAME="Amazon Connect",
        CUSTOM_FIELDS='{"tier": "Tier__c"}',
        LOG_LEVEL="debug",
        RECONCILE_SCOPE="all",
        RECONCILE_NOT_BEFORE="2026-11-22T01:00:00+01:00",
        RECONCILE_LOOK_BACK_HOURS="36",
        RECONCILE_CONCURRENCY="3",
        RECONCILE_SEARCHES_PER_SECOND="2",
        RECONCILE_DESCRIBES_PER_SECOND="20",
    )
    settings = read()
    assert settings.usual == Usual(Scope.ALL, timedelta(hours=36), datetime(2026, 11, 22, tzinfo=UTC))
    assert (settings.concurrency, settings.searches_per_second, settings.describes_per_second) == (3, 2.0, 20.0)
    assert (settings.org_id, settings.call_center_api_name) == ("00D1", "Center")
    assert settings.provider_name == "Amazon Connect"
    assert settings.custom_fields == {"tier": CustomField("Tier__c")}
    assert settings.log_level == "DEBUG"


@pytest.mark.parametrize("missing", REQUIRED)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_variable_is_named(missing: str, value: str | None, environment: Environment) -> None:
    environment(**{missing: value})
    with pytest.raises(WrongSettings) as raised:
        read()
    assert str(raised.value) == f"not set: {missing}"


def test_all_missing_variables_are_named_at_once(environment: Environment) -> None:
    environment(**dict.fromkeys(REQUIRED))
    with pytest.raises(WrongSettings) as raised:
        read()
    assert all(name in str(raised.value) for name in REQUIRED)


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_optional_variable_has_its_default(name: str, blank: str, environment: Environment) -> None:
    default = read()
    environment(**{name: blank})
    assert read() == default


@pytest.mark.parametrize(
    ("said", "meant"), [("calls-eu", "calls-eu"), (" ", "voicecall-sync"), (None, "voicecall-sync")]
)
def test_metrics_and_log_lines_go_by_the_stacks_name(said: str | None, meant: str, environment: Environment) -> None:
    environment(POWERTOOLS_SERVICE_NAME=said)
    assert service() == meant


def test_blanks_around_a_value_do_not_count(environment: Environment) -> None:
    environment(SCRT_ENDPOINT_BASE=f" {HOST}\n", JWT_SECRET_ID=" the-secret ", CONNECT_INSTANCE_ID=f"{INSTANCE_ID}\n")
    settings = read()
    assert (settings.endpoint_base, settings.secret_id, settings.instance_id) == (HOST, "the-secret", INSTANCE_ID)


def test_the_instance_may_be_given_as_its_arn(environment: Environment) -> None:
    environment(CONNECT_INSTANCE_ID=INSTANCE_ARN)
    assert read().instance_id == INSTANCE_ID


# --- the endpoint ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "base"),
    [
        (HOST, HOST),
        (f"{HOST}/", HOST),
        (f"{HOST}/telephony/v1", f"{HOST}/telephony/v1"),
        (f"{HOST}/telephony/v1/", f"{HOST}/telephony/v1"),
        (f"{HOST}:8443", f"{HOST}:8443"),
        (HOST.replace("https:", "HTTPS:"), HOST),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_endpoint_is_taken(endpoint: str, base: str, environment: Environment) -> None:
    environment(SCRT_ENDPOINT_BASE=endpoint)
    assert read().endpoint_base == base


@pytest.mark.parametrize(
    "endpoint",
    [
        "example.my.salesforce-scrt.com",
        "//example.my.salesforce-scrt.com",
        "https://",
        "https:///telephony/v1",
        "ftp://example.com",
        "file:///etc/passwd",
        "http://example.my.salesforce-scrt.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@example.com",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "https://user:password@example.com",
        f"{HOST}/telephony/v2",
        f"{HOST}/telephony/v1/voiceCalls",
        f"{HOST}/x/telephony/v1",
        f"{HOST}?a=b",
        f"{HOST}#a",
        f"{HOST}:port",
        f"{HOST}:99999",
        "https://[::1",
        "https://[::1]x",
        "https://exämple.com",
        "https://exa mple.com",
        "https://example.com\\evil.com",
        "https://*.example.com",
        "https://.example.com",
        "https://exa%6dple.com",
        "https://<MyDomain>.my.salesforce-scrt.com",
        "https://{MyDomain}.my.salesforce-scrt.com",
        "${Endpoint}",
    ],
)
def test_another_endpoint_is_wrong(endpoint: str, environment: Environment) -> None:
    environment(SCRT_ENDPOINT_BASE=endpoint)
    with pytest.raises(WrongSettings, match=r"^SCRT_ENDPOINT_BASE must be"):
        read()


VARIABLE = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
ENDPOINTS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["https://", "http://", "HTTPS://", ""]),
    st.sampled_from(["example.com", "127.0.0.1", "[::1]", "localhost", ""]) | VARIABLE,
    st.sampled_from(["", ":8443", ":", "@x", "\\x"]) | VARIABLE,
    st.sampled_from(["", "/", "/telephony/v1", "?", "#"]) | VARIABLE,
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(endpoint=ENDPOINTS)
@example(endpoint="https://example.com\\evil.com")
def test_an_endpoint_leads_where_it_says_or_is_wrong(endpoint: str, environment: Environment) -> None:
    environment(SCRT_ENDPOINT_BASE=endpoint)
    try:
        base = read().endpoint_base
    except WrongSettings:
        return
    request = requests.Request("PATCH", call_url(base, "c-1")).prepare()
    stated, sent = urlsplit(endpoint.strip()), urlsplit(request.url or "")
    assert sent.scheme == "https" or sent.hostname in {"localhost", "127.0.0.1", "::1"}
    assert sent.hostname == stated.hostname
    assert sent.port == stated.port or not stated.port
    assert sent.path == "/telephony/v1/voiceCalls/c-1"


# --- the others ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("RECONCILE_SCOPE", "everything"),
        ("RECONCILE_SCOPE", "ALL"),
        ("RECONCILE_NOT_BEFORE", "2026-11-22"),
        ("RECONCILE_NOT_BEFORE", "2026-11-22T00:00:00"),
        ("RECONCILE_LOOK_BACK_HOURS", "0"),
        ("RECONCILE_LOOK_BACK_HOURS", "a day"),
        ("RECONCILE_CONCURRENCY", "0"),
        ("RECONCILE_CONCURRENCY", "33"),
        ("RECONCILE_SEARCHES_PER_SECOND", "0"),
        ("RECONCILE_DESCRIBES_PER_SECOND", "nan"),
    ],
)
def test_what_is_wrong_for_the_reconciliation(name: str, wrong: str, environment: Environment) -> None:
    environment(**{name: wrong})
    with pytest.raises(WrongSettings, match=f"^{name} must be"):
        read()


@pytest.mark.parametrize("name", ["amazon\r\nEvil: yes", "amazon\tconnect", "Amäzon", "\x7f"])
def test_a_provider_name_that_is_no_header_is_wrong(name: str, environment: Environment) -> None:
    environment(TELEPHONY_PROVIDER_NAME=name)
    with pytest.raises(WrongSettings, match=r"^TELEPHONY_PROVIDER_NAME must be"):
        read()


@pytest.mark.parametrize("fields", ["tier=Tier__c", "[]", '{"tier": 5}', '{"tier": "no name"}', "[" * 4000])
def test_wrong_custom_fields_are_wrong_settings(fields: str, environment: Environment) -> None:
    environment(CUSTOM_FIELDS=fields)
    with pytest.raises(WrongSettings, match=r"^CUSTOM_FIELDS"):
        read()


@pytest.mark.parametrize(
    ("said", "level"),
    [
        (None, "INFO"),
        ("", "INFO"),
        ("DEBUG", "DEBUG"),
        ("warning", "WARNING"),
        (" error ", "ERROR"),
        ("loud", "INFO"),
        ("10", "INFO"),
    ],
)
def test_a_wrong_log_level_is_the_default(said: str | None, level: str, environment: Environment) -> None:
    environment(LOG_LEVEL=said)
    assert log_level() == level
    assert read().log_level == level


@pytest.mark.parametrize(
    ("variables", "bundle"),
    [
        ({"REQUESTS_CA_BUNDLE": "/own/ca.pem"}, "/own/ca.pem"),
        ({"CURL_CA_BUNDLE": "/own/ca.pem"}, "/own/ca.pem"),
        ({"REQUESTS_CA_BUNDLE": "/own/ca.pem", "CURL_CA_BUNDLE": "/other/ca.pem"}, "/own/ca.pem"),
    ],
)
def test_which_authorities_are_trusted(variables: Mapping[str, str], bundle: str, environment: Environment) -> None:
    environment(**variables)
    assert read().ca_bundle == bundle


@pytest.mark.parametrize(
    "name",
    [
        "SCRT_ENDPOINT_BASE",
        "TELEPHONY_PROVIDER_NAME",
        "CUSTOM_FIELDS",
        "RECONCILE_SCOPE",
        "RECONCILE_NOT_BEFORE",
        "RECONCILE_CONCURRENCY",
    ],
)
def test_no_message_repeats_a_variable(name: str, environment: Environment) -> None:
    environment(**{name: f"{MARKER}\t{MARKER}"})
    with pytest.raises(WrongSettings, match=f"^{name}") as raised:
        read()
    assert MARKER not in str(raised.value)
