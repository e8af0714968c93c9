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

from tests.support.builders import INSTANCE_ARN, INSTANCE_ID
from voicecall_sync.calls import CallRules
from voicecall_sync.contact import Scope
from voicecall_sync.eligibility import Eligibility
from voicecall_sync.errors import WrongSettings
from voicecall_sync.reconciliation.request import ReconcileDefaults
from voicecall_sync.salesforce.answers import call_url
from voicecall_sync.salesforce.custom_fields import CustomField
from voicecall_sync.settings import (
    OPTIONAL,
    RECONCILING,
    SENDING,
    WITH_DEAD_LETTERS,
    ReconcileSettings,
    Settings,
    log_level,
    read,
    read_reconciling,
    service,
)

HOST = "https://example.my.salesforce-scrt.com"
QUEUE = "https://sqs.eu-central-1.amazonaws.com/111122223333/contact-queue"
DEAD_LETTERS = "https://sqs.eu-central-1.amazonaws.com/111122223333/dead-letters"
TOPIC = "arn:aws:sns:eu-central-1:111122223333:voicecall-sync-AlarmTopic-1A2B3C"
MARKER = "Zaphod7731"
USUAL_RULES = CallRules(
    frozenset({"INBOUND", "OUTBOUND", "TRANSFER", "CALLBACK", "API", "WEBRTC_API"}), "NoVoiceCallSync", "vm_flag"
)

Environment = Callable[..., None]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Sets variables, over a complete and otherwise empty environment; None takes one away."""
    for name in (*SENDING, *WITH_DEAD_LETTERS, *OPTIONAL, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

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
        CONTACT_QUEUE_URL=QUEUE,
    )
    return set_variables


def read_all() -> tuple[Settings, ReconcileSettings]:
    return read(), read_reconciling()


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
        eligibility=Eligibility(USUAL_RULES, None, timedelta(minutes=5)),
        queue_url=QUEUE,
        dead_letter_url="",
        ca_bundle=settings.ca_bundle,
    )
    assert Path(settings.ca_bundle).is_file()


def test_the_reconciliation_needs_neither_salesforce_nor_the_secret(environment: Environment) -> None:
    environment(**dict.fromkeys({*SENDING} - {*RECONCILING}))
    assert read_reconciling() == ReconcileSettings(
        table="the-table",
        instance_id=INSTANCE_ID,
        queue_url=QUEUE,
        dead_letter_url="",
        rules=USUAL_RULES,
        defaults=ReconcileDefaults(Scope.NONE, timedelta(hours=24), not_before=None),
        searches_per_second=0.4,
        paused=False,
        alarm_topic="",
    )


def test_the_daily_message_needs_the_dead_letter_queue(environment: Environment) -> None:
    environment(ALARM_TOPIC_ARN=f" {TOPIC} ")
    with pytest.raises(WrongSettings, match="not set: DEAD_LETTER_QUEUE_URL"):
        read_reconciling()
    environment(DEAD_LETTER_QUEUE_URL=DEAD_LETTERS)
    settings = read_reconciling()
    assert (settings.alarm_topic, settings.dead_letter_url) == (TOPIC, DEAD_LETTERS)


@pytest.mark.parametrize("arn", [MARKER, TOPIC.replace(":sns:", ":sqs:"), f"{TOPIC}:subscription", "ops@example.com"])
def test_what_is_no_topic_is_refused(environment: Environment, arn: str) -> None:
    environment(ALARM_TOPIC_ARN=arn, DEAD_LETTER_QUEUE_URL=DEAD_LETTERS)
    with pytest.raises(WrongSettings, match="ALARM_TOPIC_ARN must be empty or the ARN of an SNS topic") as failure:
        read_reconciling()
    assert MARKER not in str(failure.value)


def test_which_contacts_are_calls(environment: Environment) -> None:
    environment(INITIATION_METHODS=" inbound,QUEUE_TRANSFER, ,", OPT_OUT_ATTRIBUTE="Skip", VOICEMAIL_ATTRIBUTE="Vm")
    rules = CallRules(frozenset({"INBOUND", "QUEUE_TRANSFER"}), "Skip", "Vm")
    assert read().eligibility.calls == read_reconciling().rules == rules


@pytest.mark.parametrize("methods", [",", "INBOUND;OUTBOUND", "INBOUND OUTBOUND", MARKER, "[INBOUND]", "_", "A" * 61])
def test_methods_that_are_no_list_of_methods(environment: Environment, methods: str) -> None:
    environment(INITIATION_METHODS=methods)
    for reading in (read, read_reconciling):
        with pytest.raises(WrongSettings, match="INITIATION_METHODS") as failure:
            reading()
        assert MARKER not in str(failure.value)


def test_every_variable_of_the_functions_that_send_is_read(environment: Environment) -> None:
    environment(
        SALESFORCE_ORG_ID="00D1",
        CALL_CENTER_API_NAME="Center",
        TELEPHONY_PROVIDER_NAME="Amazon Connect",
        CUSTOM_FIELDS='{"tier": "Tier__c"}',
        RECONCILE_NOT_BEFORE="2026-11-22T01:00:00+01:00",
        RECORDING_WAIT_MINUTES="7.5",
        DEAD_LETTER_QUEUE_URL=DEAD_LETTERS,
    )
    settings = read(*WITH_DEAD_LETTERS)
    assert (settings.org_id, settings.call_center_api_name) == ("00D1", "Center")
    assert settings.provider_name == "Amazon Connect"
    assert settings.custom_fields == {"tier": CustomField("Tier__c")}
    assert settings.eligibility.not_before == datetime(2026, 11, 22, tzinfo=UTC)
    assert settings.eligibility.recording_wait == timedelta(minutes=7.5)
    assert (settings.queue_url, settings.dead_letter_url) == (QUEUE, DEAD_LETTERS)
    assert not read().dead_letter_url, "read only where it is asked for"


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize(("text", "paused"), [("true", True), ("false", False), ("TRUE", True), (" False ", False)])
def test_every_variable_of_the_reconciliation_is_read(
    scope: Scope, text: str, paused: object, environment: Environment
) -> None:
    environment(
        RECONCILE_SCOPE=scope.value,
        RECONCILE_NOT_BEFORE="2026-11-22T01:00:00+01:00",
        RECONCILE_LOOK_BACK_HOURS="36",
        RECONCILE_SEARCHES_PER_SECOND="2",
        RECONCILE_PAUSED=text,
    )
    settings = read_reconciling()
    assert settings.defaults == ReconcileDefaults(scope, timedelta(hours=36), datetime(2026, 11, 22, tzinfo=UTC))
    assert settings.searches_per_second == 2.0
    assert settings.paused is paused


@pytest.mark.parametrize("value", [None, "", "  "])
@pytest.mark.parametrize("missing", SENDING)
def test_a_missing_variable_is_named(missing: str, value: str | None, environment: Environment) -> None:
    environment(**{missing: value})
    with pytest.raises(WrongSettings) as raised:
        read()
    assert str(raised.value) == f"not set: {missing}"


@pytest.mark.parametrize("value", [None, "", "  "])
@pytest.mark.parametrize("missing", RECONCILING)
def test_a_variable_that_the_reconciliation_misses_is_named(
    missing: str, value: str | None, environment: Environment
) -> None:
    environment(**{missing: value})
    with pytest.raises(WrongSettings) as raised:
        read_reconciling()
    assert str(raised.value) == f"not set: {missing}"


def test_all_missing_variables_are_named_at_once(environment: Environment) -> None:
    environment(**dict.fromkeys(SENDING))
    with pytest.raises(WrongSettings) as raised:
        read(*WITH_DEAD_LETTERS)
    assert str(raised.value) == f"not set: {', '.join([*SENDING, *WITH_DEAD_LETTERS])}"


def test_the_worker_needs_the_dead_letter_queue(environment: Environment) -> None:
    environment(DEAD_LETTER_QUEUE_URL=" ")
    with pytest.raises(WrongSettings, match=r"^not set: DEAD_LETTER_QUEUE_URL$"):
        read(*WITH_DEAD_LETTERS)


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_optional_variable_has_its_default(name: str, blank: str, environment: Environment) -> None:
    default = read_all()
    environment(**{name: blank})
    assert read_all() == default


@pytest.mark.parametrize(
    ("text", "meant"), [("calls-eu", "calls-eu"), (" ", "voicecall-sync"), (None, "voicecall-sync")]
)
def test_metrics_and_log_lines_go_by_the_stacks_name(text: str | None, meant: str, environment: Environment) -> None:
    environment(POWERTOOLS_SERVICE_NAME=text)
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
        ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
        ("https://example--uat.sandbox.my.salesforce-scrt.com", "https://example--uat.sandbox.my.salesforce-scrt.com"),
        ("https://Example.My.Salesforce-SCRT.com", "https://Example.My.Salesforce-SCRT.com"),
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


OTHER_HOSTS = [
    "https://example.com",
    "https://my.salesforce-scrt.com",
    "https://salesforce-scrt.com",
    "https://examplemy.salesforce-scrt.com",
    "https://example.my.salesforce-scrt.com.example.com",
    "https://example.my.salesforce-scrt.computer",
    "https://10.0.0.1:8443",
]


@pytest.mark.parametrize("endpoint", OTHER_HOSTS)
def test_another_host_is_for_a_declared_test_only(endpoint: str, environment: Environment) -> None:
    environment(SCRT_ENDPOINT_BASE=endpoint)
    with pytest.raises(WrongSettings, match=r"^SCRT_ENDPOINT_BASE must be a host of my\.salesforce-scrt\.com"):
        read()
    environment(ALLOW_TEST_ENDPOINT="true")
    assert read().endpoint_base == endpoint


def test_a_declared_test_still_takes_no_plain_http_from_elsewhere(environment: Environment) -> None:
    environment(SCRT_ENDPOINT_BASE="http://example.com", ALLOW_TEST_ENDPOINT="true")
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
    environment(SCRT_ENDPOINT_BASE=endpoint, ALLOW_TEST_ENDPOINT="true")
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


# --- proxies ---------------------------------------------------------------------------------------------------------

PROXY = f"http://{MARKER}:8080"


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_for_salesforce_is_refused_by_name(name: str, environment: Environment) -> None:
    environment(**{name: PROXY})
    with pytest.raises(WrongSettings, match=rf"^{name} is set, .* NO_PROXY") as raised:
        read()
    assert MARKER not in str(raised.value)
    read_reconciling()  # it sends nothing to Salesforce


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize(
    "direct",
    [
        "example.my.salesforce-scrt.com",
        ".my.salesforce-scrt.com",
        "169.254.169.254, .salesforce-scrt.com",
        "EXAMPLE.my.salesforce-scrt.com",
        "*",
    ],
)
def test_a_proxy_may_be_for_aws_alone(name: str, direct: str, environment: Environment) -> None:
    environment(**{"HTTPS_PROXY": PROXY, name: direct})
    assert read().endpoint_base == HOST


@pytest.mark.parametrize("direct", ["", "example.com", "other.my.salesforce-scrt.com", "169.254.169.254"])
def test_a_proxy_that_leaves_out_other_hosts_is_refused(direct: str, environment: Environment) -> None:
    environment(HTTPS_PROXY=PROXY, NO_PROXY=direct)
    with pytest.raises(WrongSettings, match=r"^HTTPS_PROXY is set"):
        read()


@pytest.mark.parametrize(
    "variables",
    [
        {"HTTPS_PROXY": " "},
        {"HTTP_PROXY": PROXY},
        {"HTTPS_PROXY": PROXY, "SCRT_ENDPOINT_BASE": "https://127.0.0.1:8443"},
    ],
)
def test_what_is_no_proxy_for_salesforce_changes_nothing(
    variables: Mapping[str, str], environment: Environment
) -> None:
    environment(**variables)
    read()


# --- the others ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *[("RECONCILE_SCOPE", text) for text in ("everything", "ALL", "BySource", "all,none")],
        *[("RECONCILE_LOOK_BACK_HOURS", text) for text in ("0", "23.99", "169", "-24", "a day", "nan", "inf", "24h")],
        *[("RECONCILE_SEARCHES_PER_SECOND", text) for text in ("0", "0.09", "10001", "-1", "nan", "inf", "0,4")],
        *[("RECONCILE_PAUSED", text) for text in ("yes", "1", "0", "on", "truefalse")],
    ],
)
def test_wrong_settings_of_the_reconciliation(name: str, wrong: str, environment: Environment) -> None:
    environment(**{name: wrong})
    with pytest.raises(WrongSettings, match=f"^{name} must be"):
        read_reconciling()
    read()  # it does not concern the others


@pytest.mark.parametrize("right", ["0", "60", "2.5"])
def test_a_wait_for_recordings(right: str, environment: Environment) -> None:
    environment(RECORDING_WAIT_MINUTES=right)
    assert read().eligibility.recording_wait == timedelta(minutes=float(right))


@pytest.mark.parametrize("wrong", ["-1", "60.1", "nan", "inf", "five", "5 minutes"])
def test_a_wait_for_recordings_that_is_no_number_of_minutes(wrong: str, environment: Environment) -> None:
    environment(RECORDING_WAIT_MINUTES=wrong)
    with pytest.raises(WrongSettings, match=r"^RECORDING_WAIT_MINUTES must be a number of minutes from 0 to 60"):
        read()


@pytest.mark.parametrize(
    ("name", "right"),
    [
        *[("RECONCILE_LOOK_BACK_HOURS", text) for text in ("24", "168", "36.5")],
        *[("RECONCILE_SEARCHES_PER_SECOND", text) for text in ("0.1", "10000")],
    ],
)
def test_the_bounds_themselves_are_right(name: str, right: str, environment: Environment) -> None:
    environment(**{name: right})
    settings = read_reconciling()
    assert float(right) in {settings.defaults.look_back / timedelta(hours=1), settings.searches_per_second}


BOUNDS = [
    "2026-11-22",
    "2026-11-22T00:00:00",
    "yesterday",
    "1795000000",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:00",
    "1999-12-31T23:59:59Z",
    "2026-13-01T00:00:00Z",
]


@pytest.mark.parametrize("reading", [read, read_reconciling])
@pytest.mark.parametrize("wrong", BOUNDS)
def test_a_wrong_bound_is_wrong_for_every_function(
    wrong: str, reading: Callable[[], object], environment: Environment
) -> None:
    """The worker judges it as the reconciliation does: without it, it would send another system's calls."""
    environment(RECONCILE_NOT_BEFORE=wrong)
    with pytest.raises(WrongSettings, match=r"^RECONCILE_NOT_BEFORE must be a moment with its zone"):
        reading()


@pytest.mark.parametrize("reading", [read, read_reconciling])
@pytest.mark.parametrize("wrong", ["my instance", "arn:aws:connect:eu-central-1:111122223333", "é", "x" * 101, "a\nb"])
def test_an_invalid_instance_is_wrong(wrong: str, reading: Callable[[], object], environment: Environment) -> None:
    environment(CONNECT_INSTANCE_ID=wrong)
    with pytest.raises(WrongSettings, match=r"^CONNECT_INSTANCE_ID must be"):
        reading()


@pytest.mark.parametrize("name", ["amazon\r\nEvil: yes", "amazon\tconnect", "Amäzon", "\x7f"])
def test_a_provider_name_that_is_no_header_is_wrong(name: str, environment: Environment) -> None:
    environment(TELEPHONY_PROVIDER_NAME=name)
    with pytest.raises(WrongSettings, match=r"^TELEPHONY_PROVIDER_NAME must be"):
        read()


@pytest.mark.parametrize(
    "fields",
    [
        "tier=Tier__c",
        "[]",
        '{"tier": 5}',
        '{"tier": {"field": "T__c", "maxLength": 0}}',
        '{"tier": "no name"}',
        "[" * 4000,
    ],
)
def test_wrong_custom_fields_are_wrong_settings(fields: str, environment: Environment) -> None:
    environment(CUSTOM_FIELDS=fields)
    with pytest.raises(WrongSettings, match=r"^CUSTOM_FIELDS"):
        read()


@pytest.mark.parametrize(
    ("text", "level"),
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
def test_a_wrong_log_level_is_the_default(text: str | None, level: str, environment: Environment) -> None:
    environment(LOG_LEVEL=text)
    assert log_level() == level


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
    ("name", "reading"),
    [
        ("SCRT_ENDPOINT_BASE", read),
        ("TELEPHONY_PROVIDER_NAME", read),
        ("CUSTOM_FIELDS", read),
        ("CONNECT_INSTANCE_ID", read),
        ("RECONCILE_NOT_BEFORE", read),
        ("CONNECT_INSTANCE_ID", read_reconciling),
        ("RECONCILE_SCOPE", read_reconciling),
        ("RECONCILE_NOT_BEFORE", read_reconciling),
        ("RECONCILE_LOOK_BACK_HOURS", read_reconciling),
        ("RECONCILE_SEARCHES_PER_SECOND", read_reconciling),
        ("RECONCILE_PAUSED", read_reconciling),
    ],
)
def test_no_message_repeats_a_variable(name: str, reading: Callable[[], object], environment: Environment) -> None:
    environment(**{name: f"{MARKER}\t{MARKER}"})
    with pytest.raises(WrongSettings, match=f"^{name}") as raised:
        reading()
    assert MARKER not in str(raised.value)


ANY_VARIABLE = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@pytest.mark.usefixtures("environment")
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(variables=st.dictionaries(st.sampled_from([*SENDING, *WITH_DEAD_LETTERS, *OPTIONAL]), ANY_VARIABLE))
def test_any_environment_is_read_or_its_variable_is_named(variables: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**dict.fromkeys(WITH_DEAD_LETTERS, DEAD_LETTERS), **variables}.items():
            patch.setenv(name, value)
        for reading in (read, read_reconciling):
            try:
                reading()
            except WrongSettings as wrong:
                assert any(name in str(wrong) for name in variables)  # noqa: PT017 - it may be right, too
        assert log_level()
        assert service()
