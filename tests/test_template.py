"""What template.yaml promises, checked on the template as written and on what AWS makes of it."""

from __future__ import annotations

import copy
import json
import operator
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs
from cfnlint.context.parameters import ParameterSet

from tools.template import Template, load, table_definition, translate
from voicecall_sync.outcome import Status
from voicecall_sync.settings import OPTIONAL

TEMPLATE = Path(__file__).parent.parent / "template.yaml"

REQUIRED = {
    "ConnectInstanceArn": "arn:aws:connect:us-east-1:111122223333:instance/12345678-1234-1234-1234-123456789012",
    "ScrtEndpointBase": "https://example.my.salesforce-scrt.com",
    "JwtSecretArn": "arn:aws:secretsmanager:us-east-1:111122223333:secret:salesforce/key-a1B2c3",
    "ReconcileNotBefore": "2026-11-22T00:00:00Z",
}
EVERYTHING = REQUIRED | {
    "AutomaticSource": "ContactEvent",
    "JwtSecretKmsKeyArn": "arn:aws:kms:us-east-1:111122223333:key/12345678-1234-1234-1234-123456789012",
    "SalesforceOrgId": "00D000000000001EAA",
    "CallCenterApiName": "Example_Call_Center",
    "TelephonyProviderName": "example-provider",
    "CustomFields": '{"tier": "Tier__c", "age": {"field": "Age__c", "type": "number"}}',
    "InitiationMethods": "INBOUND, QUEUE_TRANSFER",
    "OptOutAttribute": "campaign",
    "VoicemailAttribute": "isVoicemail",
    "RecordingWaitMinutes": "10",
    "AlarmEmail": "supervisor@example.com",
    "LogLevel": "DEBUG",
    "LogRetentionDays": "365",
    "MemorySize": "1024",
    "ReconcileNotBefore": "2026-11-22T00:00:00+01:00",
    "ReconcileScope": "all",
    "ReconcileState": "DISABLED",
    "ReconcileSchedule": "cron(0/30 6-20 ? * MON-FRI *)",
    "ReconcileLookBackHours": "72",
    "ReconcileSearchesPerSecond": "0.2",
    "Concurrency": "8",
    "Paused": "true",
}
FUNCTIONS = ("UpdateVoiceCallFunction", "ContactQueueFunction", "ReconcileFunction")
FLOW, WORKER, RECONCILE = FUNCTIONS
QUEUES = ("ContactQueue", "DeadLetterQueue")
ROLES = ("UpdateVoiceCallRole", "ContactQueueRole", "ReconcileRole")
INSTANCE = {"Ref": "ConnectInstanceArn"}
NO_VALUE = {"Ref": "AWS::NoValue"}
SERVICE = [{"Name": "service", "Value": {"Ref": "AWS::StackName"}}]

VARIABLES = {
    "SCRT_ENDPOINT_BASE",
    "JWT_SECRET_ID",
    "SALESFORCE_ORG_ID",
    "CALL_CENTER_API_NAME",
    "TELEPHONY_PROVIDER_NAME",
    "IDEMPOTENCY_TABLE",
    "CONNECT_INSTANCE_ID",
    "CUSTOM_FIELDS",
    "LOG_LEVEL",
    "POWERTOOLS_SERVICE_NAME",
    "CONTACT_QUEUE_URL",
    "RECONCILE_NOT_BEFORE",
    "INITIATION_METHODS",
    "OPT_OUT_ATTRIBUTE",
    "VOICEMAIL_ATTRIBUTE",
    "RECORDING_WAIT_MINUTES",
}
"""What every function is given."""
OWN_VARIABLES = {
    FLOW: set(),
    WORKER: {"DEAD_LETTER_QUEUE_URL"},
    RECONCILE: {"RECONCILE_SCOPE", "RECONCILE_LOOK_BACK_HOURS", "RECONCILE_SEARCHES_PER_SECOND", "RECONCILE_PAUSED"},
}

OF_CONTACTS = {
    *("Updated", "Duplicate", "RetryLater", "Rejected", "Uncertain", "Ignored", "Invalid"),
    *("FinalUpdateBlocked", "SettleFailed", "DeadLettered", "PatchLatency", "TokenHoursLeft"),
    *("WaitingForRecording", "NotFinishedYet", "Answered", "IgnoredAnswered", "EventMissing", "Defect", "NameGone"),
    *("CustomFieldLeftOut", "PropertyLeftOut", "ParameterIgnored", "ParametersGone", "CreationPropertyMissing"),
}
"""The metrics of the functions that update."""
OF_RECONCILIATION = {
    *("Reconciled", "Found", "Known", "Enqueued", "EnqueuedAgain", "HandedOn", "MethodNotSearched"),
    *("OldestClaimAge", "PositionStands", "SkippedMinutes", "Paused"),
}


def arn_of(resource: str) -> dict[str, list[str]]:
    return {"Fn::GetAtt": [resource, "Arn"]}


@pytest.fixture(scope="module")
def template() -> Template:
    return load(TEMPLATE)


@pytest.fixture(scope="module")
def translated(template: Template) -> Template:
    return translate(template, REQUIRED)


@pytest.fixture(scope="module")
def properties(translated: Template) -> dict[str, Any]:
    return {name: resource.get("Properties", {}) for name, resource in translated["Resources"].items()}


def findings(text: str, parameters: dict[str, str] | None = None) -> list[str]:
    """cfn-lint's errors and warnings on a template, with these parameters given where there are any."""
    config = ManualArgs(regions=["us-east-1"])
    if parameters:
        config["parameters"] = [ParameterSet(source=None, parameters=dict(parameters))]
    return [f"{match.rule.id}: {match.message}" for match in lint(text, config=config)]


def ids(of: list[str]) -> set[str]:
    return {finding.partition(":")[0] for finding in of}


def walk(value: object) -> Iterator[object]:
    """A value of the template and everything inside it."""
    yield value
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in inside:
        yield from walk(part)


# ------------------------------------------------------------------ cfn-lint


def test_cfn_lint_finds_nothing_in_the_template_as_written() -> None:
    assert findings(TEMPLATE.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("parameters", [REQUIRED, EVERYTHING], ids=["defaults", "every parameter set"])
def test_cfn_lint_finds_nothing_in_the_translated_template(template: Template, parameters: dict[str, str]) -> None:
    assert findings(json.dumps(translate(template, parameters)), parameters) == []


def test_the_lint_with_everything_set_sets_every_parameter(template: Template) -> None:
    assert set(EVERYTHING) == set(template["Parameters"])


def too_long_a_time_out(resources: dict[str, Any]) -> None:
    resources["UpdateVoiceCallFunction"]["Properties"]["Timeout"] = 1000


def a_rule_with_a_misspelt_target(resources: dict[str, Any]) -> None:
    resources["ContactEventRule"]["Properties"]["Targets"][0]["DeadLetterConfig"]["Arn"] = {
        "Fn::GetAtt": ["DeadLetterQueue", "QueueArn"]
    }


def a_key_without_its_definition(resources: dict[str, Any]) -> None:
    resources["IdempotencyTable"]["Properties"]["AttributeDefinitions"].pop(0)


def a_resource_that_does_not_exist(resources: dict[str, Any]) -> None:
    resources["ConnectMayInvoke"]["Properties"]["SourceArn"] = {"Ref": "TheInstance"}


def a_misspelt_property(resources: dict[str, Any]) -> None:
    resources["UncertainAlarm"]["Properties"]["TreatMissing"] = "notBreaching"


def an_action_that_is_none(resources: dict[str, Any]) -> None:
    policy = resources["UpdateVoiceCallRole"]["Properties"]["Policies"][0]["PolicyDocument"]
    policy["Statement"][1]["Action"] = ["dynamodb:ReadItem"]


MISTAKES = {
    too_long_a_time_out: "E3717",
    a_rule_with_a_misspelt_target: "E1010",
    a_key_without_its_definition: "E3039",
    a_resource_that_does_not_exist: "E1020",
    a_misspelt_property: "E3002",
    an_action_that_is_none: "W3037",
}


def test_mistakes_in_the_template_are_found_once_it_is_translated(template: Template) -> None:
    mutated = copy.deepcopy(template)
    for mistake in MISTAKES:
        mistake(mutated["Resources"])
    assert set(MISTAKES.values()) <= set(ids(findings(json.dumps(translate(mutated, REQUIRED)))))


@pytest.mark.parametrize(
    ("parameter", "refused"),
    [
        ("ConnectInstanceArn", "12345678-1234-1234-1234-123456789012"),
        ("ConnectInstanceArn", REQUIRED["ConnectInstanceArn"] + "/contact/1"),
        ("ScrtEndpointBase", "http://example.my.salesforce-scrt.com"),
        ("ScrtEndpointBase", "example.my.salesforce-scrt.com"),
        ("JwtSecretArn", "salesforce/key"),
        ("JwtSecretArn", "arn:aws:secretsmanager:us-east-1:111122223333:secret:*"),
        ("JwtSecretKmsKeyArn", "arn:aws:kms:us-east-1:111122223333:alias/mine"),
        ("SalesforceOrgId", "00D"),
        ("CustomFields", "tier=Tier__c"),
        ("InitiationMethods", ""),
        ("InitiationMethods", "inbound"),
        ("InitiationMethods", "INBOUND;OUTBOUND"),
        ("OptOutAttribute", ""),
        ("VoicemailAttribute", "vm flag"),
        ("AlarmEmail", "supervisor"),
        ("ReconcileNotBefore", ""),
        ("ReconcileNotBefore", "2026-11-22"),
        ("ReconcileNotBefore", "2026-11-22T00:00:00"),
        ("ReconcileNotBefore", "2026-13-22T00:00:00Z"),
        ("ReconcileNotBefore", "22.11.2026 00:00 UTC"),
        ("ReconcileSchedule", "15 minutes"),
        ("ReconcileSchedule", "rate(1 minutes)"),
        ("ReconcileSchedule", "rate(15 minute)"),
        ("ReconcileSchedule", "rate(0 minutes)"),
        ("ReconcileSchedule", "cron(0/15 * * * *)"),
    ],
)
def test_a_parameter_that_cannot_be_right_is_refused(template: Template, parameter: str, refused: str) -> None:
    assert not re.search(template["Parameters"][parameter]["AllowedPattern"], refused)


def test_parameters_that_are_right_are_taken(template: Template) -> None:
    more = {"ScrtEndpointBase": "http://127.0.0.1:8443/telephony/v1/", "ReconcileSchedule": "rate(1 hour)"}
    for parameters in (REQUIRED, EVERYTHING, more, {"ReconcileSchedule": "rate(15 minutes)"}):
        for name, value in parameters.items():
            rules = template["Parameters"][name]
            assert re.search(rules.get("AllowedPattern", ""), value), name
            assert value in [str(allowed) for allowed in rules.get("AllowedValues", [value])], name


def test_every_parameter_says_what_it_is_for_and_what_it_may_be(template: Template) -> None:
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(template["Parameters"])
    for name, rules in template["Parameters"].items():
        assert rules["Description"], name
        assert rules["ConstraintDescription"], name
        assert {"AllowedPattern", "AllowedValues", "MinValue"} & set(rules), name


def test_only_parameters_without_a_good_default_have_to_be_given(template: Template) -> None:
    assert {name for name, rules in template["Parameters"].items() if "Default" not in rules} == set(REQUIRED)


# ------------------------------------------------------------------ the functions


def test_each_function_is_its_handler_with_its_time_and_nothing_else_differs(properties: dict[str, Any]) -> None:
    assert {properties[function]["Handler"]: properties[function]["Timeout"] for function in FUNCTIONS} == {
        "voicecall_sync.handlers.update_voice_call": 8,  # a contact flow waits no longer
        "voicecall_sync.handlers.contact_queue": 60,
        "voicecall_sync.handlers.reconcile": 900,  # all that Lambda gives
    }
    own = {"Description", "Handler", "Role", "Timeout", "LoggingConfig", "Environment"}
    shared = [
        {name: value for name, value in properties[function].items() if name not in own} for function in FUNCTIONS
    ]
    assert shared == [shared[0]] * len(FUNCTIONS)
    assert shared[0]["Runtime"] == "python3.13"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_function_is_given_the_variables_it_reads_and_no_other(properties: dict[str, Any], function: str) -> None:
    variables = properties[function]["Environment"]["Variables"]
    assert set(variables) == VARIABLES | OWN_VARIABLES[function]
    assert variables["POWERTOOLS_SERVICE_NAME"] == {"Ref": "AWS::StackName"}
    assert variables["CONTACT_QUEUE_URL"] == {"Ref": "ContactQueue"}


def test_the_instance_id_is_what_follows_the_slash_of_the_arn(properties: dict[str, Any]) -> None:
    variables = properties["UpdateVoiceCallFunction"]["Environment"]["Variables"]
    assert variables["CONNECT_INSTANCE_ID"] == {"Fn::Select": [1, {"Fn::Split": ["/", INSTANCE]}]}
    assert REQUIRED["ConnectInstanceArn"].split("/")[1] == "12345678-1234-1234-1234-123456789012"


def test_a_setting_left_empty_is_absent_from_the_environment(properties: dict[str, Any]) -> None:
    variables = properties["UpdateVoiceCallFunction"]["Environment"]["Variables"]
    for name in ("SALESFORCE_ORG_ID", "CALL_CENTER_API_NAME", "CUSTOM_FIELDS"):
        assert variables[name]["Fn::If"][2] == NO_VALUE


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_log_is_the_functions_own_and_kept_for_the_days_asked_for(
    properties: dict[str, Any], function: str
) -> None:
    log_group = function.replace("Function", "LogGroup")
    assert properties[function]["LoggingConfig"] == {"LogGroup": {"Ref": log_group}}
    assert properties[log_group]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_a_run_that_failed_is_not_tried_again_but_left_to_the_next(properties: dict[str, Any]) -> None:
    (invocations,) = (made for name, made in properties.items() if name.endswith("EventInvokeConfig"))
    assert invocations["FunctionName"] == {"Ref": RECONCILE}
    assert invocations["MaximumRetryAttempts"] == 0
    assert invocations["MaximumEventAgeInSeconds"] == properties[RECONCILE]["Timeout"]


# ------------------------------------------------------------------ who may call it


def test_every_caller_calls_the_function_itself(properties: dict[str, Any]) -> None:
    assert properties["ConnectMayInvoke"]["FunctionName"] == {"Ref": FLOW}
    assert properties["ConnectAssociation"]["IntegrationArn"] == arn_of(FLOW)
    assert properties["ContactQueueMapping"]["FunctionName"] == {"Ref": WORKER}
    assert properties["ReconcileRule"]["Targets"][0]["Arn"] == arn_of(RECONCILE)
    assert properties["ReconcileRuleMayInvoke"]["FunctionName"] == {"Ref": RECONCILE}


def test_no_version_is_published_so_no_deployment_can_fail_for_want_of_a_change(translated: Template) -> None:
    """See docs/decisions/no-alias.md."""
    made = {resource["Type"] for resource in translated["Resources"].values()}
    assert not {kind for kind in made if kind in {"AWS::Lambda::Version", "AWS::Lambda::Alias"} or "AppConfig" in kind}


def test_no_other_permission_to_call_it_is_given(translated: Template) -> None:
    permissions = [name for name, made in translated["Resources"].items() if made["Type"] == "AWS::Lambda::Permission"]
    assert sorted(permissions) == ["ConnectMayInvoke", "ReconcileRuleMayInvoke"]


def test_only_this_instance_may_call_it_from_a_flow(properties: dict[str, Any]) -> None:
    permission = properties["ConnectMayInvoke"]
    assert permission["Principal"] == "connect.amazonaws.com"
    assert permission["SourceAccount"] == {"Ref": "AWS::AccountId"}
    assert permission["SourceArn"] == INSTANCE


def test_the_function_is_associated_with_the_instance(properties: dict[str, Any]) -> None:
    association = properties["ConnectAssociation"]
    assert association["IntegrationType"] == "LAMBDA_FUNCTION"
    assert association["InstanceId"] == INSTANCE


def test_without_an_automatic_source_there_is_no_rule(translated: Template) -> None:
    assert translated["Conditions"]["ContactEventIsTheSource"] == {
        "Fn::Equals": [{"Ref": "AutomaticSource"}, "ContactEvent"]
    }
    assert translated["Resources"]["ContactEventRule"]["Condition"] == "ContactEventIsTheSource"


def test_the_schedule_is_the_parameters_choice_and_alone_may_run_the_search(translated: Template) -> None:
    rule = translated["Resources"]["ReconcileRule"]
    assert "Condition" not in rule
    assert rule["Properties"]["ScheduleExpression"] == {"Ref": "ReconcileSchedule"}
    assert rule["Properties"]["State"] == {"Ref": "ReconcileState"}
    assert "EventPattern" not in rule["Properties"]
    (target,) = rule["Properties"]["Targets"]
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 0}
    permission = translated["Resources"]["ReconcileRuleMayInvoke"]["Properties"]
    assert permission["Principal"] == "events.amazonaws.com"
    assert permission["SourceArn"] == arn_of("ReconcileRule")


def test_reconciliation_runs_every_15_minutes_by_default(template: Template) -> None:
    defaults = {name: rules.get("Default") for name, rules in template["Parameters"].items()}
    assert defaults["ReconcileState"] == "ENABLED"
    assert defaults["ReconcileSchedule"] == "rate(15 minutes)"


@pytest.mark.parametrize(
    ("source", "scope", "searched"),
    [
        ("None", "BySource", "none"),
        ("ContactEvent", "BySource", "all"),
        ("ContactEvent", "none", "<ReconcileScope>"),
        ("None", "all", "<ReconcileScope>"),
    ],
)
def test_the_scope_follows_the_source_by_default(
    translated: Template, properties: dict[str, Any], source: str, scope: str, searched: str
) -> None:
    said = {"AutomaticSource": source, "ReconcileScope": scope}
    conditions = {}
    for name in ("ContactEventIsTheSource", "ScopeFollowsTheSource"):
        parameter, value = translated["Conditions"][name]["Fn::Equals"]
        conditions[name] = said[parameter["Ref"]] == value
    assert resolved(properties["ReconcileFunction"]["Environment"]["Variables"]["RECONCILE_SCOPE"], conditions) == (
        searched
    )


def test_by_its_defaults_the_stack_sends_nothing(template: Template) -> None:
    """No rule for contact events, and no search: a first deployment changes nothing in Salesforce before going live."""
    defaults = {name: rules.get("Default") for name, rules in template["Parameters"].items()}
    assert (defaults["AutomaticSource"], defaults["ReconcileScope"]) == ("None", "BySource")
    assert OPTIONAL["RECONCILE_SCOPE"] == "none"


# ------------------------------------------------------------------ what it may do


def statements(properties: dict[str, Any], role: str) -> dict[str, dict[str, Any]]:
    (policy,) = properties[role]["Policies"]
    given = [statement.get("Fn::If", [None, statement])[1] for statement in policy["PolicyDocument"]["Statement"]]
    return {statement["Sid"]: statement for statement in given}


def as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allowed(properties: dict[str, Any], role: str) -> dict[str, tuple[list[Any], list[Any]]]:
    return {
        sid: (as_list(statement["Action"]), as_list(statement["Resource"]))
        for sid, statement in statements(properties, role).items()
    }


def test_each_role_is_the_one_written_here_and_no_managed_policy(properties: dict[str, Any]) -> None:
    for function, role in zip(FUNCTIONS, ROLES, strict=True):
        assert properties[function]["Role"] == arn_of(role)
        assert "ManagedPolicyArns" not in properties[role]
    assert sorted(name for name in properties if name.endswith("Role")) == sorted(ROLES)


LOG = ["logs:CreateLogStream", "logs:PutLogEvents"]
READ_AND_WRITE = ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
TO_UPDATE = {
    "ClaimAndSettleContacts": (READ_AND_WRITE, [arn_of("IdempotencyTable")]),
    "ReadTheSalesforceCredentials": (["secretsmanager:GetSecretValue"], [{"Ref": "JwtSecretArn"}]),
    "DecryptTheSalesforceCredentials": (["kms:Decrypt"], [{"Ref": "JwtSecretKmsKeyArn"}]),
    "DescribeContactsTheirQueuesAndAgents": (
        ["connect:DescribeContact", "connect:DescribeQueue", "connect:DescribeUser"],
        [{"Fn::Sub": f"${{ConnectInstanceArn}}/{kind}/*"} for kind in ("contact", "queue", "agent")],
    ),
}
MAY = {
    "UpdateVoiceCallRole": TO_UPDATE
    | {
        "WriteItsOwnLog": (LOG, [arn_of("UpdateVoiceCallLogGroup")]),
        "QueueContactsToTryAgain": (["sqs:SendMessage"], [arn_of("ContactQueue")]),
    },
    "ContactQueueRole": TO_UPDATE
    | {
        "WriteItsOwnLog": (LOG, [arn_of("ContactQueueLogGroup")]),
        "TakeContactsFromTheQueue": (
            ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"],
            [arn_of("ContactQueue")],
        ),
        "KeepWhatCannotBeDone": (["sqs:SendMessage"], [arn_of("DeadLetterQueue")]),
    },
    "ReconcileRole": {
        "WriteItsOwnLog": (LOG, [arn_of("ReconcileLogGroup")]),
        "NoteContactsAndPositions": ([*READ_AND_WRITE, "dynamodb:BatchGetItem"], [arn_of("IdempotencyTable")]),
        "FindWhatIsOpen": (["dynamodb:Query"], [{"Fn::Sub": "${IdempotencyTable.Arn}/index/open-since"}]),
        # The instance itself, not what is below it:
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonconnect.html
        "SearchContacts": (["connect:SearchContacts"], [INSTANCE]),
        "SearchContactsNeedsThisToo": (
            ["connect:DescribeContact"],
            [{"Fn::Sub": "${ConnectInstanceArn}/contact/*"}],
        ),
        "QueueContacts": (["sqs:SendMessage", "sqs:GetQueueAttributes"], [arn_of("ContactQueue")]),
    },
}


@pytest.mark.parametrize("role", ROLES)
def test_what_each_function_may_do_and_to_what(properties: dict[str, Any], role: str) -> None:
    assert allowed(properties, role) == MAY[role]


def test_nothing_is_allowed_on_everything(translated: Template) -> None:
    for name, resource in translated["Resources"].items():
        for part in walk(resource):
            if isinstance(part, dict) and part.get("Effect") == "Allow":
                assert "*" not in as_list(part.get("Resource")), name
                assert not [action for action in as_list(part["Action"]) if "*" in action], name
                assert part.get("Principal") not in ("*", {"AWS": "*"}), name


@pytest.mark.parametrize("role", ["UpdateVoiceCallRole", "ContactQueueRole"])
def test_the_key_is_used_only_where_there_is_one_and_only_for_the_secret(properties: dict[str, Any], role: str) -> None:
    (policy,) = properties[role]["Policies"]
    (choice,) = [part["Fn::If"] for part in policy["PolicyDocument"]["Statement"] if "Fn::If" in part]
    assert choice[0] == "HasKmsKey"
    assert choice[2] == NO_VALUE
    assert choice[1]["Condition"] == {
        "StringEquals": {
            "kms:ViaService": {"Fn::Sub": "secretsmanager.${AWS::Region}.${AWS::URLSuffix}"},
            "kms:EncryptionContext:SecretARN": {"Ref": "JwtSecretArn"},
        }
    }


# ------------------------------------------------------------------ what it remembers


def test_the_table_is_keyed_by_contact_and_indexed_by_what_is_open(template: Template) -> None:
    assert table_definition(template) == {
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": "contactId", "AttributeType": "S"},
            {"AttributeName": "open", "AttributeType": "S"},
            {"AttributeName": "since", "AttributeType": "N"},
        ],
        "KeySchema": [{"AttributeName": "contactId", "KeyType": "HASH"}],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "open-since",
                "KeySchema": [
                    {"AttributeName": "open", "KeyType": "HASH"},
                    {"AttributeName": "since", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    }


def test_changing_the_table_definition_leaves_the_template_as_it_was(template: Template) -> None:
    table_definition(template)["KeySchema"].clear()
    assert table_definition(template)["KeySchema"]


def test_the_table_forgets_by_itself_can_be_recovered_and_is_encrypted(properties: dict[str, Any]) -> None:
    table = properties["IdempotencyTable"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expiresAt", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"] == {"SSEEnabled": True}


def test_the_table_outlives_the_stack(translated: Template) -> None:
    table = translated["Resources"]["IdempotencyTable"]
    assert table["DeletionPolicy"] == "Retain"
    assert table["UpdateReplacePolicy"] == "Retain"
    assert table["Properties"]["DeletionProtectionEnabled"] is True


# ------------------------------------------------------------------ what waits


def test_the_worker_takes_one_message_at_a_time_and_names_those_that_come_back(properties: dict[str, Any]) -> None:
    assert properties["ContactQueueMapping"] == {
        "EventSourceArn": arn_of("ContactQueue"),
        "FunctionName": {"Ref": WORKER},
        "Enabled": {"Fn::If": ["WorkerIsOn", True, False]},
        "BatchSize": 1,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": {"Ref": "Concurrency"}},
    }


def test_paused_stops_the_worker_and_tells_reconciliation(translated: Template, properties: dict[str, Any]) -> None:
    assert translated["Conditions"]["WorkerIsOn"] == {"Fn::Equals": [{"Ref": "Paused"}, "false"]}
    assert properties[RECONCILE]["Environment"]["Variables"]["RECONCILE_PAUSED"] == {"Ref": "Paused"}


def test_a_message_is_given_again_only_when_its_invocation_is_long_over(properties: dict[str, Any]) -> None:
    queue = properties["ContactQueue"]
    assert queue["VisibilityTimeout"] >= 6 * properties[WORKER]["Timeout"]
    assert queue["DelaySeconds"] == 90
    assert queue["RedrivePolicy"] == {"deadLetterTargetArn": arn_of("DeadLetterQueue"), "maxReceiveCount": 1000}


@pytest.mark.parametrize("name", QUEUES)
def test_both_queues_keep_14_days_encrypted_and_outlive_the_stack(translated: Template, name: str) -> None:
    queue = translated["Resources"][name]
    assert queue["Properties"]["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert queue["Properties"]["SqsManagedSseEnabled"] is True
    assert queue["DeletionPolicy"] == "RetainExceptOnCreate"
    assert queue["UpdateReplacePolicy"] == "Retain"


@pytest.mark.parametrize("name", QUEUES)
def test_a_queues_policy_admits_the_rule_alone_and_only_over_tls(properties: dict[str, Any], name: str) -> None:
    policy = properties[f"{name}Policy"]
    assert policy["Queues"] == [{"Ref": name}]
    deny, allow = policy["PolicyDocument"]["Statement"]
    assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", "sqs:*")
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    condition, of_the_rule, otherwise = allow["Fn::If"]
    assert (condition, otherwise) == ("ContactEventIsTheSource", NO_VALUE)
    assert of_the_rule["Principal"] == {"Service": "events.amazonaws.com"}
    assert of_the_rule["Action"] == "sqs:SendMessage"
    assert of_the_rule["Condition"] == {"ArnEquals": {"aws:SourceArn": arn_of("ContactEventRule")}}
    assert deny["Resource"] == of_the_rule["Resource"] == arn_of(name)


def test_an_event_goes_to_the_queue_and_one_that_cannot_to_the_dead_letter_queue(properties: dict[str, Any]) -> None:
    (target,) = properties["ContactEventRule"]["Targets"]
    assert target["Arn"] == arn_of("ContactQueue")
    assert target["DeadLetterConfig"] == {"Arn": arn_of("DeadLetterQueue")}
    assert "RetryPolicy" not in target  # EventBridge's own is its longest


# ------------------------------------------------------------------ whom it tells


def alarms(translated: Template) -> dict[str, dict[str, Any]]:
    """Logical id without "Alarm" -> properties."""
    made = translated["Resources"].items()
    return {
        name.removesuffix("Alarm"): resource["Properties"]
        for name, resource in made
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }


def watched(alarm: dict[str, Any]) -> dict[str, tuple[str, str, Any]]:
    """Name in the expression, or the metric's -> namespace, metric, dimensions."""
    if "Metrics" not in alarm:
        return {alarm["MetricName"]: (alarm["Namespace"], alarm["MetricName"], alarm["Dimensions"])}
    return {
        one["Id"]: (metric["Namespace"], metric["MetricName"], metric["Dimensions"])
        for one in alarm["Metrics"]
        if "MetricStat" in one
        for metric in [one["MetricStat"]["Metric"]]
    }


def goes_off(alarm: dict[str, Any], values: Mapping[str, float | None]) -> bool:
    """Whether the alarm goes off when its metrics have these values; None is no data."""
    assert set(values) == set(watched(alarm))
    if "Metrics" in alarm:
        (expression,) = [one["Expression"] for one in alarm["Metrics"] if "Expression" in one]
        for theirs, pythons in (("AND", "and"), ("OR", "or")):
            expression = re.sub(rf"\b{theirs}\b", pythons, expression)
        functions = {
            "IF": lambda condition, then, otherwise: then if condition else otherwise,
            "FILL": lambda value, filled: filled if value is None else value,
            "SUM": sum,
        }
        value = eval(expression, {"__builtins__": {}, **functions}, dict(values))  # noqa: S307 - the template's own
    else:
        (value,) = values.values()
    if value is None:
        return bool(alarm["TreatMissingData"] == "breaching")
    compare = {"GreaterThanThreshold": operator.gt, "LessThanThreshold": operator.lt}
    return bool(compare[alarm["ComparisonOperator"]](value, alarm["Threshold"]))


def waits(age: float, visible: float, waiting: float, done: float) -> dict[str, float | None]:
    return {"age": age, "visible": visible, "waiting": waiting, "done": done}


def of_each(flow: float | None, queue: float | None, reconcile: float | None) -> dict[str, float | None]:
    return {"flow": flow, "queue": queue, "reconcile": reconcile}


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("Uncertain", {"Uncertain": 1}, True),
        ("Rejected", {"Rejected": 1}, True),
        ("FinalUpdateBlocked", {"FinalUpdateBlocked": 1}, True),
        ("SettleFailed", {"SettleFailed": 1}, True),
        ("DeadLetter", {"ApproximateNumberOfMessagesVisible": 1}, True),
        ("DeadLetter", {"ApproximateNumberOfMessagesVisible": 0}, False),
        ("CallsWait", waits(age=4000, visible=1, waiting=4, done=900), True),  # too slow
        ("CallsWait", waits(age=4000, visible=0, waiting=2, done=900), False),  # one waits by design
        ("CallsWait", waits(age=3000, visible=1, waiting=4, done=900), False),  # busy
        ("CallsWait", waits(age=1500, visible=0, waiting=40, done=30), True),  # Salesforce is down
        ("CallsWait", waits(age=1500, visible=0, waiting=40, done=900), False),  # recordings are awaited
        ("FunctionErrors", {**of_each(1, 1, 1), "defect": None}, True),
        ("FunctionErrors", {**of_each(None, 3, None), "defect": 0}, True),
        ("FunctionErrors", {**of_each(None, None, None), "defect": 3}, True),
        ("FunctionErrors", {**of_each(1, 0, 1), "defect": None}, False),
        ("FunctionThrottles", of_each(None, None, 1), True),
        ("FunctionThrottles", of_each(0, None, 0), False),
        ("NoReconciliation", {"Reconciled": None}, True),
        ("NoReconciliation", {"Reconciled": 0}, True),
        ("NoReconciliation", {"Reconciled": 1}, False),
        ("PositionStands", {"PositionStands": 7201}, True),
        ("PositionStands", {"PositionStands": 7200}, False),
        ("SkippedCalls", {"SkippedMinutes": 1}, True),
        ("SkippedCalls", {"SkippedMinutes": 0}, False),
        ("TokenExpires", {"TokenHoursLeft": 2.9}, True),
        ("TokenExpires", {"TokenHoursLeft": 3}, False),
        ("OldClaim", {"OldestClaimAge": 3601}, True),
        ("OldClaim", {"OldestClaimAge": 0}, False),
        ("Paused", {"Paused": 1}, True),
        ("Paused", {"Paused": 0}, False),
        ("EventsMissing", {"missing": 6, "answered": 119}, True),
        ("EventsMissing", {"missing": 6, "answered": 120}, False),
        ("EventsMissing", {"missing": 5, "answered": 5}, False),
    ],
)
def test_when_each_alarm_goes_off(
    translated: Template, name: str, values: dict[str, float | None], *, expected: bool
) -> None:
    assert goes_off(alarms(translated)[name], values) is expected


def test_only_a_missing_run_alarms_by_silence(translated: Template) -> None:
    missing = {name: alarm["TreatMissingData"] for name, alarm in alarms(translated).items()}
    assert missing.pop("NoReconciliation") == "breaching"
    assert set(missing.values()) == {"notBreaching"}


def test_every_alarm_is_sent_and_says_what_to_do(translated: Template) -> None:
    for name, alarm in alarms(translated).items():
        assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}], name
        assert alarm["EvaluationPeriods"] == 1, name
        assert 100 < len(of_the_longest_name(alarm["AlarmDescription"])) <= 1024, name


def test_an_alarm_watches_what_this_stack_counts(translated: Template) -> None:
    dimensions = {
        "AWS/SQS": [[{"Name": "QueueName", "Value": {"Fn::GetAtt": [queue, "QueueName"]}}] for queue in QUEUES],
        "AWS/Lambda": [[{"Name": "FunctionName", "Value": {"Ref": function}}] for function in FUNCTIONS],
        "VoiceCallSync": [SERVICE],
    }
    for name, alarm in alarms(translated).items():
        for namespace, metric, of in watched(alarm).values():
            assert of in dimensions[namespace], name
            assert namespace != "VoiceCallSync" or metric in OF_CONTACTS | OF_RECONCILIATION, name
        parts = [one["MetricStat"] for one in alarm.get("Metrics", ()) if "MetricStat" in one]
        assert len({part["Period"] for part in parts}) <= 1, name
    for name in ("FunctionErrors", "FunctionThrottles"):
        looked_at = watched(alarms(translated)[name]).values()
        functions = [of[0]["Value"]["Ref"] for namespace, _, of in looked_at if namespace == "AWS/Lambda"]
        assert functions == list(FUNCTIONS)


def test_no_alarm_waits_for_what_is_switched_off(translated: Template) -> None:
    assert translated["Conditions"]["ReconcileIsEnabled"] == {"Fn::Equals": [{"Ref": "ReconcileState"}, "ENABLED"]}
    conditions = {name: translated["Resources"][f"{name}Alarm"].get("Condition") for name in alarms(translated)}
    assert {name: condition for name, condition in conditions.items() if condition} == {
        "CallsWait": "WorkerIsOn",
        "EventsMissing": "ContactEventIsTheSource",
        "NoReconciliation": "ReconcileIsEnabled",
    }


def test_no_alarm_sends_people_to_a_command_there_is_not(translated: Template) -> None:
    said = " ".join(resolved(alarm["AlarmDescription"], {}) for alarm in alarms(translated).values())
    commands = re.findall(r"python3 -m tools operate --stack <AWS::StackName> (\w+)", said)
    assert set(commands) == {"attention", "backfill", "release", "redrive", "show"}
    assert len(commands) == said.count("tools operate")


def test_mail_is_sent_only_to_an_address_that_was_given(translated: Template) -> None:
    subscription = translated["Resources"]["AlarmEmailSubscription"]
    assert subscription["Condition"] == "HasAlarmEmail"
    assert subscription["Properties"]["Endpoint"] == {"Ref": "AlarmEmail"}


def test_what_an_operator_needs_is_among_the_outputs(translated: Template) -> None:
    assert {name: output["Value"] for name, output in translated["Outputs"].items()} == {
        "FlowFunctionArn": arn_of(FLOW),
        "ContactQueueFunctionArn": arn_of(WORKER),
        "IdempotencyTableName": {"Ref": "IdempotencyTable"},
        "ContactQueueUrl": {"Ref": "ContactQueue"},
        "DeadLetterQueueUrl": {"Ref": "DeadLetterQueue"},
        "AlarmTopicArn": {"Ref": "AlarmTopic"},
        "LogGroupName": {"Ref": "UpdateVoiceCallLogGroup"},
        "ContactQueueLogGroupName": {"Ref": "ContactQueueLogGroup"},
        "ReconcileFunctionArn": arn_of(RECONCILE),
        "ReconcileLogGroupName": {"Ref": "ReconcileLogGroup"},
        "DashboardUrl": {
            "Fn::Sub": [
                "https://${AWS::Region}.${Console}/cloudwatch/home?region=${AWS::Region}#dashboards/dashboard/${Dashboard}",
                {"Console": {"Fn::If": ["InGovCloud", "console.amazonaws-us-gov.com", "console.aws.amazon.com"]}},
            ]
        },
    }


# ------------------------------------------------------------------ what it shows


def resolved(value: Any, conditions: Mapping[str, bool]) -> str:
    """What CloudFormation makes of a text, with `<name>` for what it would look up."""
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    if function == "Ref":
        return f"<{argument}>"
    if function == "Fn::If":
        condition, then, otherwise = argument
        return resolved(then if conditions[condition] else otherwise, conditions)
    if function == "Fn::Join":
        return str(argument[0]).join(resolved(part, conditions) for part in argument[1])
    assert function == "Fn::Sub", function
    text, named = argument if isinstance(argument, list) else (argument, {})
    known = {name: resolved(part, conditions) for name, part in named.items()}
    return re.sub(r"\$\{([\w.:]+)\}", lambda name: known.get(name[1], f"<{name[1]}>"), text)


def widgets(translated: Template, *, all_on: bool = True) -> list[dict[str, Any]]:
    body = translated["Resources"]["Dashboard"]["Properties"]["DashboardBody"]
    optional = ("ReconcileIsEnabled", "WorkerIsOn", "ContactEventIsTheSource")
    dashboard = json.loads(resolved(body, dict.fromkeys(optional, all_on)))
    assert set(dashboard) == {"start", "periodOverride", "widgets"}
    found: list[dict[str, Any]] = dashboard["widgets"]
    return found


def metrics(translated: Template) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """The properties of its widget, and the metric: namespace, name, dimensions; what it looks like is left out."""
    for widget in widgets(translated):
        for metric in widget["properties"].get("metrics", ()):
            yield widget["properties"], [part for part in metric if isinstance(part, str)]


def test_the_code_counts_these_metrics_and_no_other() -> None:
    """A metric is counted by its name, in the places that a report has for that."""
    report, others = "", ""
    for path in (TEMPLATE.parent / "src").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        report, others = (text, others) if path.stem == "report" else (report, others + text)
    counted = {
        *re.findall(r'(?:_count|_named|add_metric)\(\s*"([A-Z]\w+)"', report),
        *re.findall(r'(?:Status|Awaited)\.[A-Z_]+: "([A-Z]\w+)"', report),
        *re.findall(r'report\.(?:counted|gauge)\(\s*"([A-Z]\w+)"', others),
        *re.findall(r'"([A-Z]\w+)": (?:1|int|round|len|counts)\b', others),
    }
    assert counted == OF_CONTACTS | OF_RECONCILIATION


def test_every_metric_is_on_the_dashboard_or_has_an_alarm_and_no_other_is(translated: Template) -> None:
    shown = {(metric[0], metric[1]) for _, metric in metrics(translated)}
    alarmed = {one[:2] for alarm in alarms(translated).values() for one in watched(alarm).values()}
    counted = {name for namespace, name in shown | alarmed if namespace == "VoiceCallSync"}
    assert counted == OF_CONTACTS | OF_RECONCILIATION
    assert {status.title().replace("_", "") for status in Status} <= {name for _, name in shown}


def test_what_the_dashboard_shows_has_the_dimensions_it_is_counted_with(translated: Template) -> None:
    sources = {"contact-flow", "contact-event", "reconcile", "operator"}
    counted_with: dict[str, set[tuple[str, ...]]] = {
        "AWS/SQS": {("QueueName", f"<{queue}.QueueName>") for queue in QUEUES},
        "AWS/Lambda": {("FunctionName", f"<{function}>") for function in FUNCTIONS},
        "VoiceCallSync": {("service", "<AWS::StackName>")}
        | {("service", "<AWS::StackName>", "source", source) for source in sources},
    }
    seen = {(metric[0], tuple(metric[2:])) for _, metric in metrics(translated)}
    assert seen == {(namespace, each) for namespace, dimensions in counted_with.items() for each in dimensions}


def test_every_metric_on_the_dashboard_has_a_statistic(translated: Template) -> None:
    for widget in widgets(translated):
        for metric in widget["properties"].get("metrics", ()):
            of_its_own = metric[-1] if isinstance(metric[-1], dict) else {}
            assert {**widget["properties"], **of_its_own}.get("stat") in {"Sum", "Maximum", "p50", "p95", "p99"}, metric


def test_the_dashboard_begins_with_numbers_of_a_day_and_of_now(translated: Template) -> None:
    first = [widget["properties"] for widget in widgets(translated) if widget["y"] == 0]
    assert {widget["view"] for widget in first} == {"singleValue"}
    of_a_day = [widget for widget in first if widget["title"].endswith("last 24 hours")]
    assert [[metric[1] for metric in widget["metrics"]] for widget in of_a_day] == [
        ["Updated"],
        ["Uncertain", "Rejected"],
    ]
    for widget in of_a_day:
        assert widget["start"] == "-PT24H"
        assert widget["setPeriodToTimeRange"] is True


def test_the_widgets_of_the_dashboard_lie_side_by_side(translated: Template) -> None:
    taken: set[tuple[int, int]] = set()
    for widget in widgets(translated):
        columns, rows = (
            range(widget["x"], widget["x"] + widget["width"]),
            range(widget["y"], widget["y"] + widget["height"]),
        )
        cells = {(x, y) for x in columns for y in rows}
        assert not cells & taken, widget["properties"]
        taken |= cells
    assert {x for x, _ in taken} == set(range(24))
    assert len(taken) == 24 * len({y for _, y in taken})


@pytest.mark.parametrize("all_on", [True, False])
def test_the_dashboard_shows_every_alarm_there_is(translated: Template, *, all_on: bool) -> None:
    (shown,) = [
        widget["properties"]["alarms"] for widget in widgets(translated, all_on=all_on) if widget["type"] == "alarm"
    ]
    made = [f"{name}Alarm" for name in alarms(translated)]
    there = {name for name in made if all_on or "Condition" not in translated["Resources"][name]}
    assert sorted(shown) == sorted(f"<{name}.Arn>" for name in there)


def test_the_dashboard_lists_the_calls_that_need_a_person(translated: Template) -> None:
    (query,) = [widget["properties"]["query"] for widget in widgets(translated) if widget["type"] == "log"]
    assert query == (
        "SOURCE '<UpdateVoiceCallLogGroup>' | SOURCE '<ContactQueueLogGroup>' | SOURCE '<ReconcileLogGroup>'"
        " | fields @timestamp, contactId, status, detail, source"
        ' | filter status in ["REJECTED", "UNCERTAIN", "INVALID"]'
        " | sort @timestamp desc | limit 50"
    )


def test_the_dashboard_explains_its_words(translated: Template) -> None:
    (text,) = [widget["properties"]["markdown"] for widget in widgets(translated) if widget["type"] == "text"]
    for word in ("updated", "uncertain", "rejected", "put off", "duplicate", "ignored", "invalid", "queue", "position"):
        assert f"**{word}**" in text, word
    assert "python3 -m tools operate --stack <AWS::StackName> attention" in text


# ------------------------------------------------------------------ what the stack's name goes into

# The property that names a resource of a type, and how long its service lets the name be. Without it, CloudFormation
# makes a name, which fits.
NAMED_BY = {
    "AWS::CloudWatch::Alarm": ("AlarmName", 255),
    "AWS::CloudWatch::Dashboard": ("DashboardName", 255),
    "AWS::DynamoDB::Table": ("TableName", 255),
    "AWS::Events::Rule": ("Name", 64),
    "AWS::IAM::Role": ("RoleName", 64),
    "AWS::Lambda::Function": ("FunctionName", 64),
    "AWS::Logs::LogGroup": ("LogGroupName", 512),
    "AWS::SNS::Topic": ("TopicName", 256),
    "AWS::SQS::Queue": ("QueueName", 80),
}
NAMELESS = {
    "AWS::Connect::IntegrationAssociation",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Permission",
    "AWS::SNS::Subscription",
    "AWS::SQS::QueuePolicy",
}


def of_the_longest_name(text: Any) -> str:
    """What becomes of a text in the stack with the longest name that CloudFormation takes."""
    stack, region = "s" * 128, "ap-southeast-22"
    return resolved(text, {}).replace("<AWS::StackName>", stack).replace("<AWS::Region>", region)


def test_of_every_type_of_resource_it_is_known_what_names_it(translated: Template) -> None:
    assert {resource["Type"] for resource in translated["Resources"].values()} == {*NAMED_BY, *NAMELESS}


def test_every_name_we_give_fits_with_the_longest_stack_name(translated: Template) -> None:
    """A queue of 80 characters, say, would fail the deployment of a stack whose name is long."""
    given = {}
    for name, resource in translated["Resources"].items():
        of_its_own, most = NAMED_BY.get(resource["Type"], ("", 0))
        if of_its_own in resource["Properties"]:
            given[name] = resource["Properties"][of_its_own]
            text = of_the_longest_name(given[name])
            assert len(text) <= most, name
            assert re.fullmatch(r"[A-Za-z0-9_-]+", text), name
    # Dashboards are the account's, in all Regions; found by the stack's name.
    assert given == {"Dashboard": {"Fn::Sub": "${AWS::StackName}-${AWS::Region}"}}


# ------------------------------------------------------------------ reading it


def test_short_tags_are_read_in_their_long_form(tmp_path: Path) -> None:
    path = tmp_path / "template.yaml"
    path.write_text(
        """
a: !Ref A
b: !GetAtt Queue.Arn.More
c: !If [X, !Sub "${A}", !Ref AWS::NoValue]
d: !Equals [!Ref A, ""]
e: {Condition: X}
f: !Transform {Name: N, Parameters: {P: !Ref A}}
""",
        encoding="utf-8",
    )
    assert load(path) == {
        "a": {"Ref": "A"},
        "b": {"Fn::GetAtt": ["Queue", "Arn.More"]},
        "c": {"Fn::If": ["X", {"Fn::Sub": "${A}"}, {"Ref": "AWS::NoValue"}]},
        "d": {"Fn::Equals": [{"Ref": "A"}, ""]},
        "e": {"Condition": "X"},
        "f": {"Fn::Transform": {"Name": "N", "Parameters": {"P": {"Ref": "A"}}}},
    }


def test_a_file_that_is_no_template_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "template.yaml"
    path.write_text("- a list", encoding="utf-8")
    with pytest.raises(TypeError, match="no CloudFormation template"):
        load(path)


def test_translating_leaves_the_template_as_it_was(template: Template) -> None:
    before = copy.deepcopy(template)
    translate(template, EVERYTHING)
    assert template == before
