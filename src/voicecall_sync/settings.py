"""The only reader of the environment.

Each function needs a few variables; the others are optional. A test compares these names with the template's and the
documentation's.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from certifi import where

from voicecall_sync.calls import METHODS, CallRules
from voicecall_sync.contact import Scope
from voicecall_sync.eligibility import Eligibility
from voicecall_sync.errors import WrongSettings
from voicecall_sync.parse import boolean_of, moment_of
from voicecall_sync.reconciliation.request import ReconcileDefaults
from voicecall_sync.salesforce.custom_fields import CustomField, parse_setting

SENDING = ("SCRT_ENDPOINT_BASE", "JWT_SECRET_ID", "IDEMPOTENCY_TABLE", "CONNECT_INSTANCE_ID", "CONTACT_QUEUE_URL")
"""The variables of the functions that send."""
WITH_DEAD_LETTERS = ("DEAD_LETTER_QUEUE_URL",)
"""Further variables of the worker, and of the reconciliation if it sends the daily message."""
RECONCILING = ("IDEMPOTENCY_TABLE", "CONNECT_INSTANCE_ID", "CONTACT_QUEUE_URL")
"""The variables of the reconciliation."""
OPTIONAL: Mapping[str, str] = {
    "SALESFORCE_ORG_ID": "",
    "CALL_CENTER_API_NAME": "",
    "TELEPHONY_PROVIDER_NAME": "amazon-connect",
    "CUSTOM_FIELDS": "",
    "INITIATION_METHODS": ",".join(METHODS),
    "VOICEMAIL_ATTRIBUTE": "vm_flag",
    "OPT_OUT_ATTRIBUTE": "NoVoiceCallSync",
    "RECORDING_WAIT_MINUTES": "5",
    "ALLOW_TEST_ENDPOINT": "false",
    "LOG_LEVEL": "INFO",
    "POWERTOOLS_SERVICE_NAME": "voicecall-sync",
    "RECONCILE_SCOPE": "none",
    "RECONCILE_NOT_BEFORE": "",
    "RECONCILE_LOOK_BACK_HOURS": "24",
    "RECONCILE_SEARCHES_PER_SECOND": "0.4",
    "RECONCILE_PAUSED": "false",
    "ALARM_TOPIC_ARN": "",
}
"""Name -> default."""
_NETLOC = re.compile(r"([a-z0-9-]+(\.[a-z0-9-]+)*|\[::1\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)
# A sandbox, a developer org and the like have a label of their own: MyDomain--Uat.sandbox.my.salesforce-scrt.com.
_SALESFORCE = re.compile(r"([a-z0-9-]+\.)+my\.salesforce-scrt\.com", re.ASCII | re.IGNORECASE)
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}", re.ASCII)
_METHOD = re.compile(r"[A-Z][A-Z_]{0,59}", re.ASCII)
_PROXIES = ("https_proxy", "all_proxy")
"""Names of variables, also in capital letters. HTTP_PROXY is not for https."""
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the functions that send, checked.

    Attributes:
        endpoint_base: Salesforce's, by https; or a loopback address; or a test's, by https.
        eligibility: Which contacts are updated, and how long the worker waits for a recording.
        queue_url, dead_letter_url: The queues; the second is "" for a function other than the worker.
        ca_bundle: File or folder of the certificate authorities to trust.
    """

    endpoint_base: str
    secret_id: str
    org_id: str
    call_center_api_name: str
    provider_name: str
    table: str
    instance_id: str
    custom_fields: Mapping[str, CustomField]
    eligibility: Eligibility
    queue_url: str
    dead_letter_url: str
    ca_bundle: str


@dataclass(frozen=True, slots=True)
class ReconcileSettings:
    """The settings of the reconciliation, checked.

    Attributes:
        rules: They say which contacts are calls.
        defaults: They say what a scheduled run does.
        searches_per_second: How many pages it may ask for in a second.
        paused: The worker receives no messages, so a schedule's run sends none.
        alarm_topic: The ARN of the topic for the daily message; "" for no message.
        dead_letter_url: The dead-letter queue's address; "" without a daily message.
    """

    table: str
    instance_id: str
    queue_url: str
    dead_letter_url: str
    rules: CallRules
    defaults: ReconcileDefaults
    searches_per_second: float
    paused: bool
    alarm_topic: str


@dataclass(frozen=True, slots=True)
class PreviewSettings:
    """The settings that a preview of a contact depends on, checked.

    Attributes:
        custom_fields, eligibility: As for the functions that send.
        scope: The scope of a run of the reconciliation.
        searches_per_second: How many pages it may ask for in a second.
        paused: The worker receives no messages.
    """

    instance_id: str
    custom_fields: Mapping[str, CustomField]
    eligibility: Eligibility
    scope: Scope
    searches_per_second: float
    paused: bool


def log_level() -> str:
    """Return LOG_LEVEL, or its default if it is invalid, so that the error can still be logged."""
    level = os.environ.get("LOG_LEVEL", "").strip().upper()
    return level if level in _LEVELS else OPTIONAL["LOG_LEVEL"]


def service() -> str:
    """Return POWERTOOLS_SERVICE_NAME, the stack's name, which identifies its metrics and log lines."""
    return os.environ.get("POWERTOOLS_SERVICE_NAME", "").strip() or OPTIONAL["POWERTOOLS_SERVICE_NAME"]


def read(*more: str) -> Settings:
    """Read the settings of the functions that send.

    Args:
        more: Further variables that must be set.

    Raises:
        WrongSettings: Variables are missing (the message names all of them), or one is wrong.
    """
    values = _values((*SENDING, *more))
    endpoint = _endpoint(values["SCRT_ENDPOINT_BASE"], test=_flag("ALLOW_TEST_ENDPOINT", values))
    _refuse_proxy(endpoint)
    # The library requests reads these variables too, for a network with its own certificate authority.
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or where()
    return Settings(
        endpoint_base=endpoint,
        secret_id=values["JWT_SECRET_ID"],
        org_id=values["SALESFORCE_ORG_ID"],
        call_center_api_name=values["CALL_CENTER_API_NAME"],
        provider_name=_header(values["TELEPHONY_PROVIDER_NAME"]),
        table=values["IDEMPOTENCY_TABLE"],
        instance_id=_instance(values["CONNECT_INSTANCE_ID"]),
        custom_fields=parse_setting(values["CUSTOM_FIELDS"]),
        eligibility=_eligibility(values),
        queue_url=values["CONTACT_QUEUE_URL"],
        dead_letter_url=values.get("DEAD_LETTER_QUEUE_URL", ""),
        ca_bundle=bundle,
    )


def read_reconciling() -> ReconcileSettings:
    """Read the settings of the reconciliation.

    Raises:
        WrongSettings: As for ``read``.
    """
    tells = bool(os.environ.get("ALARM_TOPIC_ARN", "").strip())
    values = _values((*RECONCILING, *(WITH_DEAD_LETTERS if tells else ())))
    return ReconcileSettings(
        table=values["IDEMPOTENCY_TABLE"],
        instance_id=_instance(values["CONNECT_INSTANCE_ID"]),
        queue_url=values["CONTACT_QUEUE_URL"],
        dead_letter_url=values.get("DEAD_LETTER_QUEUE_URL", ""),
        rules=_rules(values),
        defaults=ReconcileDefaults(
            scope=_scope(values["RECONCILE_SCOPE"]),
            look_back=timedelta(hours=_number("RECONCILE_LOOK_BACK_HOURS", values, 24, 168, "hours")),
            not_before=_not_before(values["RECONCILE_NOT_BEFORE"]),
        ),
        searches_per_second=_searches_per_second(values),
        paused=_flag("RECONCILE_PAUSED", values),
        alarm_topic=_topic(values["ALARM_TOPIC_ARN"]),
    )


def read_previewing(variables: Mapping[str, str]) -> PreviewSettings:
    """Read the settings of a preview from the functions' variables, because an operator's machine does not have them.

    Raises:
        WrongSettings: As for ``read``.
    """
    values = _values(("CONNECT_INSTANCE_ID",), variables)
    return PreviewSettings(
        instance_id=_instance(values["CONNECT_INSTANCE_ID"]),
        custom_fields=parse_setting(values["CUSTOM_FIELDS"]),
        eligibility=_eligibility(values),
        scope=_scope(values["RECONCILE_SCOPE"]),
        searches_per_second=_searches_per_second(values),
        paused=_flag("RECONCILE_PAUSED", values),
    )


def _values(needed: Sequence[str], variables: Mapping[str, str] = os.environ) -> Mapping[str, str]:
    environment = {name: variables.get(name, "").strip() for name in (*needed, *OPTIONAL)}
    missing = [name for name in needed if not environment[name]]
    if missing:
        raise WrongSettings(f"not set: {', '.join(missing)}")
    return {name: text or OPTIONAL.get(name, "") for name, text in environment.items()}


def _eligibility(values: Mapping[str, str]) -> Eligibility:
    recording_wait = timedelta(minutes=_number("RECORDING_WAIT_MINUTES", values, 0, 60, "minutes"))
    return Eligibility(_rules(values), _not_before(values["RECONCILE_NOT_BEFORE"]), recording_wait)


def _rules(values: Mapping[str, str]) -> CallRules:
    methods = frozenset(method.strip().upper() for method in values["INITIATION_METHODS"].split(",") if method.strip())
    if not methods or not all(_METHOD.fullmatch(method) for method in methods):
        raise WrongSettings(
            f"INITIATION_METHODS must be Amazon Connect's methods with commas, such as {','.join(METHODS)}"
        )
    return CallRules(methods, values["OPT_OUT_ATTRIBUTE"], values["VOICEMAIL_ATTRIBUTE"])


def _endpoint(text: str, *, test: bool) -> str:
    """Return the endpoint. The token goes there, so it must be Salesforce's unless a test is declared."""
    wrong = WrongSettings(
        "SCRT_ENDPOINT_BASE must be an address such as https://MyDomain.my.salesforce-scrt.com, with or without"
        " /telephony/v1; plain http for a loopback address only"
    )
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises if it is not a number
    except ValueError:
        raise wrong from None
    path = parts.path.rstrip("/")
    if parts.query or parts.fragment or "@" in parts.netloc or path not in {"", "/telephony/v1"}:
        raise wrong
    loopback = _is_loopback(parts.hostname)
    if not _NETLOC.fullmatch(parts.netloc) or not text.isascii():
        raise wrong
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise wrong
    if not (test or loopback or _SALESFORCE.fullmatch(parts.hostname or "")):
        raise WrongSettings(
            "SCRT_ENDPOINT_BASE must be a host of my.salesforce-scrt.com; only a test, with ALLOW_TEST_ENDPOINT true,"
            " goes to another"
        )
    return f"{parts.scheme}://{parts.netloc}{path}"


def _refuse_proxy(endpoint: str) -> None:
    """Refuse a proxy for Salesforce: the connection there, opened before the claim, is a direct one.

    botocore honours these variables for AWS. So a proxy may be set for AWS alone, with Salesforce in NO_PROXY.
    """
    host = urlsplit(endpoint).hostname or ""
    set_ones = [name for name, value in os.environ.items() if name.lower() in _PROXIES and value.strip()]
    if set_ones and not _is_loopback(host) and not proxy_bypass(host):
        raise WrongSettings(
            f"{min(set_ones)} is set, but the function reaches Salesforce without a proxy: add Salesforce's host to"
            " NO_PROXY if it can be reached directly"
        )


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def _instance(text: str) -> str:
    """Return the instance id; operators may paste the whole ARN, in which it comes after "instance/"."""
    instance_id = text.rpartition("instance/")[2].partition("/")[0]
    if not re.fullmatch(r"[A-Za-z0-9-]{1,100}", instance_id, re.ASCII):
        raise WrongSettings("CONNECT_INSTANCE_ID must be the id of an Amazon Connect instance, or its ARN")
    return instance_id


def _topic(text: str) -> str:
    if text and not _TOPIC.fullmatch(text):
        raise WrongSettings("ALARM_TOPIC_ARN must be empty or the ARN of an SNS topic")
    return text


def _header(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise WrongSettings("TELEPHONY_PROVIDER_NAME must be printable ASCII, such as amazon-connect")
    return text


def _scope(text: str) -> Scope:
    if text not in list(Scope):
        raise WrongSettings(f"RECONCILE_SCOPE must be one of {', '.join(Scope)}")
    return Scope(text)


def _not_before(text: str) -> datetime | None:
    moment = moment_of(text)
    if text and moment is None:
        raise WrongSettings("RECONCILE_NOT_BEFORE must be a moment with its zone, such as 2026-11-01T00:00:00Z")
    return moment


def _searches_per_second(values: Mapping[str, str]) -> float:
    return _number("RECONCILE_SEARCHES_PER_SECOND", values, 0.1, 10_000, "searches")


def _flag(name: str, values: Mapping[str, str]) -> bool:
    flag = boolean_of(values[name])
    if flag is None:
        raise WrongSettings(f"{name} must be true or false")
    return flag


def _number(name: str, values: Mapping[str, str], least: float, most: float, of: str) -> float:
    try:
        number = float(values[name])
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise WrongSettings(f"{name} must be a number of {of} from {least} to {most}")
    return number
