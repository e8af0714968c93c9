"""Laws of template.yaml, and what AWS makes of it: translated.json, which a reviewer reads when it changes.

``python3 -m tools test tests/stack/test_template.py --renew`` writes that file anew.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tools.check import ROOT
from tools.template import Template, load, translate
from voicecall_cli.command_line import COMMANDS
from voicecall_sync import report
from voicecall_sync.clock import AWS_TRIES, TIMINGS
from voicecall_sync.ledger import record
from voicecall_sync.outcome import Source
from voicecall_sync.queue import coming_back

SNAPSHOT = ROOT / "tests" / "stack" / "translated.json"

REQUIRED = {"ConnectInstanceArn", "ScrtEndpointBase", "JwtSecretArn", "ReconcileNotBefore"}
HANDLERS = {
    "UpdateVoiceCallFunction": "voicecall_sync.handlers.update_voice_call",
    "ContactQueueFunction": "voicecall_sync.handlers.contact_queue",
    "ReconcileFunction": "voicecall_sync.handlers.reconcile",
}
FLOW, WORKER, RECONCILE = HANDLERS
OPTIONAL_PARTS = ("ContactEventIsTheSource", "ReconcileIsEnabled", "WorkerIsOn")
"""The conditions that alarms hang on."""

Resources = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def template() -> Template:
    return load(ROOT / "template.yaml")


@pytest.fixture(scope="module")
def translated(template: Template) -> Template:
    return translate(template)


@pytest.fixture(scope="module")
def resources(translated: Template) -> Resources:
    made: Resources = translated["Resources"]
    return made


@pytest.fixture(scope="module")
def defaults(template: Template) -> dict[str, str]:
    return {name: str(rules["Default"]) for name, rules in template["Parameters"].items() if "Default" in rules}


def of_type(resources: Resources, kind: str) -> Resources:
    """Logical id -> properties."""
    return {name: made.get("Properties", {}) for name, made in resources.items() if made["Type"] == kind}


def walk(value: object) -> Iterator[object]:
    """A value of the template and everything inside it."""
    yield value
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in inside:
        yield from walk(part)


def as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


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


# ------------------------------------------------------------------ the snapshot

WORDS = {"AlarmDescription", "ConstraintDescription", "Description"}
"""What is written for people is reviewed in the template itself."""


def without_words(value: Any, inside: str = "") -> Any:
    """The template without words; a text of several lines as a list of them, which a diff can show."""
    if isinstance(value, dict):
        named_by_us = inside in {"Resources", "Parameters", "Outputs", "Variables"}
        return {name: without_words(part, name) for name, part in value.items() if named_by_us or name not in WORDS}
    if isinstance(value, list):
        return [without_words(part) for part in value]
    return value.splitlines() if isinstance(value, str) and "\n" in value else value


def in_lines(value: Any, margin: str = "") -> str:
    """JSON in a fixed order, with each value on one line if it fits."""
    line = json.dumps(value, sort_keys=True)
    if len(margin + line) <= 110 or not isinstance(value, dict | list):
        return line
    inner = margin + "  "
    if isinstance(value, list):
        opened, parts, closed = "[", [in_lines(part, inner) for part in value], "]"
    else:
        opened, parts, closed = "{", [f"{json.dumps(n)}: {in_lines(value[n], inner)}" for n in sorted(value)], "}"
    return f",\n{inner}".join(parts).join((f"{opened}\n{inner}", f"\n{margin}{closed}"))


def test_what_aws_makes_of_it_was_reviewed(translated: Template, *, renew: bool) -> None:
    made = without_words({name: part for name, part in translated.items() if name != "Metadata"})  # of the console
    now = in_lines(made)
    assert json.loads(now) == made
    if renew:
        SNAPSHOT.write_text(f"{now}\n", encoding="utf-8")
    assert now.splitlines() == SNAPSHOT.read_text(encoding="utf-8").splitlines()


# ------------------------------------------------------------------ laws


def test_cfn_lint_accepts_the_translated_template(translated: Template) -> None:
    """``python3 -m tools check`` lints it as written, where it does not look into functions and their policies."""
    # Importing them takes a second, which each of xdist's workers would spend.
    from cfnlint.api import lint  # noqa: PLC0415
    from cfnlint.config import ManualArgs  # noqa: PLC0415

    found = lint(json.dumps(translated), config=ManualArgs(regions=["us-east-1"]))
    assert [f"{match.rule.id}: {match.message}" for match in found] == []


def test_its_names_are_the_ones_that_others_build_on(template: Template, resources: Resources) -> None:
    functions = of_type(resources, "AWS::Lambda::Function")
    assert {name: function["Handler"] for name, function in functions.items()} == HANDLERS
    assert {"ContactQueue", "DeadLetterQueue", "IdempotencyTable"} <= resources.keys()
    assert {
        *("FlowFunctionArn", "ContactQueueFunctionArn", "ReconcileFunctionArn", "IdempotencyTableName"),
        *("ContactQueueUrl", "DeadLetterQueueUrl", "AlarmTopicArn", "DashboardUrl"),
        *("LogGroupName", "ContactQueueLogGroupName", "ReconcileLogGroupName", "WarningNoAlarmEmail"),
    } == template["Outputs"].keys()


def test_a_stack_that_e_mails_no_alarm_says_so(template: Template, defaults: dict[str, str]) -> None:
    condition = template["Outputs"]["WarningNoAlarmEmail"]["Condition"]
    assert holds(template, condition, defaults)
    assert not holds(template, condition, {"AlarmEmail": "supervisor@example.com"})
    assert {name for name, output in template["Outputs"].items() if "Condition" in output} == {"WarningNoAlarmEmail"}


def test_each_role_allows_named_actions_on_named_resources(resources: Resources) -> None:
    """What they are is compared with the requests of the built artifact, in test_runtime.py."""
    roles = of_type(resources, "AWS::IAM::Role")
    used = {function["Role"]["Fn::GetAtt"][0] for function in of_type(resources, "AWS::Lambda::Function").values()}
    assert len(used) == len(HANDLERS)
    assert used == roles.keys()
    for name, role in roles.items():
        assert "ManagedPolicyArns" not in role, name
        (may_assume,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert may_assume["Principal"] == {"Service": "lambda.amazonaws.com"}, name
        for part in walk(role["Policies"]):
            if isinstance(part, dict) and "Effect" in part:
                assert not {"NotAction", "NotResource"} & part.keys(), name
                assert all(re.fullmatch(r"[a-z]+:[A-Za-z]+", action) for action in as_list(part["Action"])), name
                assert all(isinstance(resource, dict) for resource in as_list(part["Resource"])), name


def test_the_secrets_key_is_used_for_the_secret_alone(resources: Resources) -> None:
    parts = [part for part in walk(resources) if isinstance(part, dict) and part.get("Action") == "kms:Decrypt"]
    assert parts
    for part in parts:
        assert part["Condition"]["StringEquals"] == {
            "kms:ViaService": {"Fn::Sub": "secretsmanager.${AWS::Region}.${AWS::URLSuffix}"},
            "kms:EncryptionContext:SecretARN": {"Ref": "JwtSecretArn"},
        }


def test_nothing_is_public(resources: Resources) -> None:
    """AWS's services alone get in, each on behalf of one resource; to the queues over TLS alone."""
    kinds = {made["Type"] for made in resources.values()}
    assert not [kind for kind in kinds if re.search("Url|Api|TopicPolicy|ResourcePolicy|LayerVersionPermission", kind)]
    for name, permission in of_type(resources, "AWS::Lambda::Permission").items():
        assert permission["Principal"].endswith(".amazonaws.com"), name
        assert permission["SourceArn"] in (
            {"Ref": "ConnectInstanceArn"},
            {"Fn::GetAtt": ["ReconcileRule", "Arn"]},
        ), name
    policies = of_type(resources, "AWS::SQS::QueuePolicy")
    assert [policy["Queues"] for policy in policies.values()] == [
        [{"Ref": queue}] for queue in of_type(resources, "AWS::SQS::Queue")
    ]
    for name, policy in policies.items():
        given = [part.get("Fn::If", [None, part])[1] for part in policy["PolicyDocument"]["Statement"]]
        assert [part["Condition"] for part in given if part["Effect"] == "Deny"] == [
            {"Bool": {"aws:SecureTransport": "false"}}
        ], name
        for part in given:
            assert part["Resource"] == {"Fn::GetAtt": [policy["Queues"][0]["Ref"], "Arn"]}, name
            if part["Effect"] == "Deny":
                assert (part["Principal"], part["Action"]) == ("*", "sqs:*"), name
            else:
                assert part["Action"] == "sqs:SendMessage", name
                assert part["Principal"] == {"Service": "events.amazonaws.com"}, name
                assert part["Condition"] == {
                    "ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["ContactEventRule", "Arn"]}}
                }


def test_what_is_stored_is_encrypted_kept_and_outlives_the_stack(resources: Resources) -> None:
    (table,) = of_type(resources, "AWS::DynamoDB::Table").values()
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["DeletionProtectionEnabled"] is True
    for name, queue in of_type(resources, "AWS::SQS::Queue").items():
        assert queue["SqsManagedSseEnabled"] is True, name
        assert queue["MessageRetentionPeriod"] == coming_back.RETENTION.total_seconds(), name
    for name in ("IdempotencyTable", "ContactQueue", "DeadLetterQueue"):
        assert resources[name]["DeletionPolicy"].startswith("Retain"), name
        assert resources[name]["UpdateReplacePolicy"] == "Retain", name
    assert resources["IdempotencyTable"]["DeletionPolicy"] == "Retain"
    for name, function in of_type(resources, "AWS::Lambda::Function").items():
        log_group = resources[function["LoggingConfig"]["LogGroup"]["Ref"]]["Properties"]
        assert log_group["RetentionInDays"] == {"Ref": "LogRetentionDays"}, name


def test_its_times_are_those_that_the_code_counts_on(resources: Resources) -> None:
    seconds = {name: one["Timeout"] for name, one in of_type(resources, "AWS::Lambda::Function").items()}
    assert TIMINGS.flow + TIMINGS.last_lines < seconds[FLOW] <= 8  # a contact flow waits no longer
    in_a_turn = TIMINGS.contact + TIMINGS.last_lines + AWS_TRIES * (TIMINGS.connect_connect + TIMINGS.connect_answer)
    assert in_a_turn < seconds[WORKER]
    assert max(seconds.values()) + record.EXPIRED_AFTER.total_seconds() < record.LOST_AFTER.total_seconds()
    queue = resources["ContactQueue"]["Properties"]
    assert queue["DelaySeconds"] == coming_back.DELAY.total_seconds()
    assert queue["VisibilityTimeout"] == coming_back.VISIBILITY.total_seconds() >= 6 * seconds[WORKER]
    assert queue["RedrivePolicy"]["maxReceiveCount"] > coming_back.MOST_RECEIVES
    (run,) = of_type(resources, "AWS::Lambda::EventInvokeConfig").values()
    assert (run["FunctionName"], run["MaximumRetryAttempts"]) == ({"Ref": RECONCILE}, 0)
    assert run["MaximumEventAgeInSeconds"] <= seconds[RECONCILE]


def test_a_message_is_an_invocation_of_its_own(resources: Resources) -> None:
    (mapping,) = of_type(resources, "AWS::Lambda::EventSourceMapping").values()
    assert mapping["FunctionName"] == {"Ref": WORKER}
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["ContactQueue", "Arn"]}
    assert (mapping["BatchSize"], mapping["FunctionResponseTypes"]) == (1, ["ReportBatchItemFailures"])
    assert mapping["Enabled"] == {"Fn::If": ["WorkerIsOn", True, False]}


def test_by_its_defaults_the_stack_sends_nothing(
    template: Template, resources: Resources, defaults: dict[str, str]
) -> None:
    """A first deployment changes nothing in Salesforce before going live; only four answers are needed for it."""
    assert template["Parameters"].keys() - defaults.keys() == REQUIRED
    assert searched(template, resources, defaults) == "none"
    assert resources["ContactEventRule"]["Condition"] == "ContactEventIsTheSource"
    assert not holds(template, "ContactEventIsTheSource", defaults)


def holds(template: Template, condition: str, parameters: Mapping[str, str]) -> bool:
    compared, value = template["Conditions"][condition]["Fn::Equals"]
    return bool(parameters[compared["Ref"]] == value)


def searched(template: Template, resources: Resources, parameters: Mapping[str, str]) -> str:
    """The scope that reconciliation is given."""
    scope = resources[RECONCILE]["Properties"]["Environment"]["Variables"]["RECONCILE_SCOPE"]
    conditions = ("ContactEventIsTheSource", "ScopeFollowsTheSource")
    return resolved(scope, {name: holds(template, name, parameters) for name in conditions})


def test_the_scope_follows_the_source_unless_it_is_chosen(
    template: Template, resources: Resources, defaults: dict[str, str]
) -> None:
    live = defaults | {"AutomaticSource": "ContactEvent"}
    assert searched(template, resources, live) == "all"
    assert searched(template, resources, live | {"ReconcileScope": "none"}) == "<ReconcileScope>"
    assert searched(template, resources, defaults | {"ReconcileScope": "all"}) == "<ReconcileScope>"


REFUSED = {
    "ConnectInstanceArn": ["12345678-1234-1234-1234-123456789012", "<right>/contact/1"],
    "ScrtEndpointBase": [
        "http://example.my.salesforce-scrt.com",
        "example.my.salesforce-scrt.com",
        "https://example.com",
        "https://my.salesforce-scrt.com",
        "https://example.my.salesforce-scrt.com.example.com",
        "https://example.com/x.my.salesforce-scrt.com",
        "https://examplemy.salesforce-scrt.com",
        "http://127.0.0.1:8443",
    ],
    "TestEndpoint": ["http://example.com", "example.com"],
    "JwtSecretArn": ["salesforce/key", "arn:aws:secretsmanager:us-east-1:111122223333:secret:*"],
    "JwtSecretKmsKeyArn": ["arn:aws:kms:us-east-1:111122223333:alias/mine"],
    "SalesforceOrgId": ["00D"],
    "CustomFields": ["tier=Tier__c"],
    "InitiationMethods": ["", "inbound", "INBOUND;OUTBOUND"],
    "OptOutAttribute": [""],
    "VoicemailAttribute": ["vm flag"],
    "AlarmEmail": ["supervisor"],
    "ReconcileNotBefore": ["", "2026-11-22", "2026-11-22T00:00:00", "2026-13-22T00:00:00Z", "22.11.2026 00:00 UTC"],
    "ReconcileSchedule": ["15 minutes", "rate(1 minutes)", "rate(15 minute)", "rate(0 minutes)", "cron(0/15 * * * *)"],
}
RIGHT = {
    "ConnectInstanceArn": ["arn:aws:connect:us-east-1:111122223333:instance/12345678-1234-1234-1234-123456789012"],
    "ScrtEndpointBase": [
        "https://example.my.salesforce-scrt.com",
        "https://example--uat.sandbox.my.salesforce-scrt.com/telephony/v1/",
        "https://example-dev-ed.develop.my.salesforce-scrt.com",
    ],
    "TestEndpoint": ["", "https://simulator.example.com", "http://127.0.0.1:8443/telephony/v1/"],
    "JwtSecretArn": ["arn:aws:secretsmanager:us-east-1:111122223333:secret:salesforce/key-a1B2c3"],
    "JwtSecretKmsKeyArn": ["arn:aws:kms:us-east-1:111122223333:key/12345678-1234-1234-1234-123456789012"],
    "SalesforceOrgId": ["00D000000000001EAA"],
    "CustomFields": ['{"tier": "Tier__c", "age": {"field": "Age__c", "type": "number"}}'],
    "InitiationMethods": ["INBOUND, QUEUE_TRANSFER"],
    "OptOutAttribute": ["campaign"],
    "VoicemailAttribute": ["isVoicemail"],
    "AlarmEmail": ["supervisor@example.com"],
    "ReconcileNotBefore": ["2026-11-22T00:00:00Z", "2026-11-22T00:00:00+01:00"],
    "ReconcileSchedule": ["rate(15 minutes)", "rate(1 hour)", "cron(0/30 6-20 ? * MON-FRI *)"],
}


def test_a_test_endpoint_is_declared_to_the_functions(template: Template, defaults: dict[str, str]) -> None:
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    assert variables["ALLOW_TEST_ENDPOINT"] == {"Fn::If": ["HasTestEndpoint", "true", "false"]}
    assert template["Conditions"]["HasTestEndpoint"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "TestEndpoint"}, ""]}]}
    assert defaults["TestEndpoint"] == ""


def test_every_parameter_refuses_what_cannot_be_right(template: Template, defaults: dict[str, str]) -> None:
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(template["Parameters"])
    for name, rules in template["Parameters"].items():
        assert rules["Description"], name
        assert rules["ConstraintDescription"], name
        assert {"AllowedPattern", "AllowedValues", "MinValue"} & rules.keys(), name
        pattern, value = rules.get("AllowedPattern", ""), defaults.get(name)
        assert value is None or re.search(pattern, value), name
        for right in RIGHT.get(name, ()):
            assert re.search(pattern, right), right
        for wrong in REFUSED.get(name, ()):
            assert not re.search(pattern, wrong.replace("<right>", RIGHT[name][0])), wrong


# ------------------------------------------------------------------ laws of alarms and dashboard


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


def widgets(resources: Resources, *, all_on: bool = True) -> list[dict[str, Any]]:
    body = resources["Dashboard"]["Properties"]["DashboardBody"]
    found: list[dict[str, Any]] = json.loads(resolved(body, dict.fromkeys(OPTIONAL_PARTS, all_on)))["widgets"]
    return found


def shown(resources: Resources) -> set[tuple[str, ...]]:
    """Namespace, name and dimensions of each metric on the dashboard; what it looks like is left out."""
    metrics = [metric for widget in widgets(resources) for metric in widget["properties"].get("metrics", ())]
    return {tuple(part for part in metric if isinstance(part, str)) for metric in metrics}


def test_the_code_counts_every_metric() -> None:
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "src" / "voicecall_sync").rglob("*.py"))
    assert set(re.findall(r"\bMetric\.([A-Z_]+)", "".join(sources))) == set(report.Metric.__members__)


def test_every_alarm_notifies_the_topic_with_instructions(resources: Resources) -> None:
    commands = set()
    for name, alarm in of_type(resources, "AWS::CloudWatch::Alarm").items():
        assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}], name
        text = resolved(alarm["AlarmDescription"], {}).replace("<AWS::StackName>", LONGEST_NAME)
        assert 100 < len(text) <= 1024, name
        named = re.findall(rf"voicecall-sync --stack {LONGEST_NAME} (\w+)", text)
        assert len(named) == text.count("voicecall-sync"), name
        commands.update(named)
        silence = "breaching" if name == "NoReconciliationAlarm" else "notBreaching"
        assert alarm["TreatMissingData"] == silence, name
    assert commands <= set(COMMANDS)
    (mail,) = of_type(resources, "AWS::SNS::Subscription").values()
    assert mail["TopicArn"] == {"Ref": "AlarmTopic"}


def test_no_alarm_waits_for_what_is_switched_off(resources: Resources) -> None:
    alarms = of_type(resources, "AWS::CloudWatch::Alarm")
    conditions = {name: resources[name]["Condition"] for name in alarms if "Condition" in resources[name]}
    assert conditions == {
        "CallsWaitAlarm": "WorkerIsOn",
        "EventsMissingAlarm": "ContactEventIsTheSource",
        "NoReconciliationAlarm": "ReconcileIsEnabled",
    }
    for all_on in (True, False):
        (listed,) = [one["properties"]["alarms"] for one in widgets(resources, all_on=all_on) if one["type"] == "alarm"]
        assert sorted(listed) == sorted(f"<{name}.Arn>" for name in alarms if all_on or name not in conditions)


def test_exactly_the_metrics_of_the_code_are_watched(resources: Resources) -> None:
    alarms = of_type(resources, "AWS::CloudWatch::Alarm")
    alarmed = {
        (namespace, metric, dimensions[0]["Name"], str(dimensions[0]["Value"]))
        for alarm in alarms.values()
        for namespace, metric, dimensions in watched(alarm).values()
    }
    on_the_dashboard = shown(resources)
    ours = {one[1] for one in alarmed | on_the_dashboard if one[0] == report.NAMESPACE}
    assert ours == set(report.Metric)

    of_aws = {
        *(("AWS/SQS", "QueueName", f"<{queue}.QueueName>") for queue in of_type(resources, "AWS::SQS::Queue")),
        *(("AWS/Lambda", "FunctionName", f"<{function}>") for function in HANDLERS),
    }
    stack = (report.NAMESPACE, "service", "<AWS::StackName>")
    of_ours = {stack, *((*stack, "source", source.value) for source in Source)}
    assert {(one[0], *one[2:]) for one in on_the_dashboard} == of_aws | of_ours
    as_referred = {
        *(
            ("AWS/SQS", "QueueName", str({"Fn::GetAtt": [queue, "QueueName"]}))
            for queue in ("ContactQueue", "DeadLetterQueue")
        ),
        *(("AWS/Lambda", "FunctionName", str({"Ref": function})) for function in HANDLERS),
        (report.NAMESPACE, "service", str({"Ref": "AWS::StackName"})),
    }
    assert {(one[0], *one[2:]) for one in alarmed} == as_referred


def goes_off(alarm: dict[str, Any], values: Mapping[str, float | None]) -> bool:
    """Whether the alarm of several metrics goes off when they have these values; None is no data."""
    assert set(values) == set(watched(alarm))
    (expression,) = [one["Expression"] for one in alarm["Metrics"] if "Expression" in one]
    for theirs, pythons in (("AND", "and"), ("OR", "or")):
        expression = re.sub(rf"\b{theirs}\b", pythons, expression)
    functions = {
        "IF": lambda condition, then, otherwise: then if condition else otherwise,
        "FILL": lambda value, filled: filled if value is None else value,
        "SUM": sum,
    }
    value = eval(expression, {"__builtins__": {}, **functions}, dict(values))  # noqa: S307 - the template's own
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    return bool(operator.gt(value, alarm["Threshold"]))


def waits(age: float, visible: float, waiting: float, done: float) -> dict[str, float | None]:
    return {"age": age, "visible": visible, "waiting": waiting, "done": done}


def of_each(flow: float | None, queue: float | None, reconcile: float | None) -> dict[str, float | None]:
    return {"flow": flow, "queue": queue, "reconcile": reconcile}


def test_when_an_alarm_of_several_metrics_goes_off(resources: Resources) -> None:
    """A queue that is busy, or that holds what waits by design, is no reason to wake a person."""
    rows: list[tuple[str, dict[str, float | None], bool]] = [
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
        ("EventsMissing", {"missing": 6, "answered": 119}, True),
        ("EventsMissing", {"missing": 6, "answered": 120}, False),
        ("EventsMissing", {"missing": 5, "answered": 5}, False),
    ]
    for name, values, expected in rows:
        assert goes_off(resources[f"{name}Alarm"]["Properties"], values) is expected, (name, values)


# ------------------------------------------------------------------ a law of names

LONGEST_NAME = "s" * 128
"""CloudFormation takes a stack's name of so many letters."""
NAMED_BY = {
    *("AlarmName", "DashboardName", "FunctionName", "LogGroupName", "Name", "QueueName", "RoleName", "TableName"),
    "TopicName",
}


def test_no_name_of_ours_is_too_long_or_there_already(resources: Resources) -> None:
    """A queue's name of 80 characters would fail in a stack with a long name. A fixed name fails in a second stack."""
    given = {
        name: made["Properties"][of_its_own]
        for name, made in resources.items()
        for of_its_own in NAMED_BY & made["Properties"].keys()
        if made["Type"].rpartition("::")[2] not in {"Permission", "EventSourceMapping", "EventInvokeConfig"}
    }
    # A dashboard's name may have 255 characters, and is the account's in all Regions.
    assert given == {"Dashboard": {"Fn::Sub": "${AWS::StackName}-${AWS::Region}"}}
