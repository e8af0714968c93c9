"""template.yaml put into MiniStack by `sam deploy`: from an event on the bus to Salesforce; and the rule's pattern.

The wiring alone: MiniStack runs the artifact with this Python and its packages behind it. See test_runtime.py for what
the artifact does on its own.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.support.artifact import require_lambdas_machine
from tests.support.contacts import contact_event, described, flow_event, new_id
from tools.local.gateway import AwsGateway
from tools.local.local_stack import INSTANCE_ARN, REGION, ROOT, LocalStack
from tools.local.loopback import free_ports
from tools.local.ministack import MiniStack
from tools.local.runtime import run_sam
from tools.template import load

STACK = "voicecall-sync"
AWS: Any = boto3  # there are stubs for three of its services only
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
}
CONNECT_IS_IN_NO_EMULATOR = "ConnectAssociation"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStack]:
    """An AWS of its own, whose Lambda functions find Amazon Connect's simulator behind the gateway."""
    require_lambdas_machine()
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    (port,) = free_ports(1)
    with (
        AwsGateway(aws=f"http://127.0.0.1:{port}") as gateway,
        MiniStack(port=port, environment={"AWS_ENDPOINT_URL": gateway.url, **CREDENTIALS}, services=()) as ministack,
        LocalStack(ministack=ministack, gateway=gateway, own_queues=False) as stack,
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL", ministack.url)
        stack.connect.put_queue("queue-support", "Support")
        stack.connect.put_user("agent-jane", "jane@example.com")
        yield stack


def client(service: str) -> Any:
    return AWS.client(service)


def deploy(sam: Path, project: Path, build: Path, **parameters: str) -> None:
    """`sam deploy` of the result of `sam build`, with four changes.

    MiniStack does not know one of the resources, nor metric math. The contact queue holds no message back here, so that
    the test need not wait for 90 seconds. The packages stay behind, because this Python has them. To pack them
    three times would cost most.
    """
    for folder in (project / ".aws-sam" / "build").iterdir():
        if folder.is_dir():
            shutil.copytree(folder / "voicecall_sync", build / folder.name / "voicecall_sync")
    shutil.copy(project / ".aws-sam" / "build" / "template.yaml", build)
    template = load(build / "template.yaml")
    del template["Resources"][CONNECT_IS_IN_NO_EMULATOR]
    assert template["Resources"]["ContactQueue"]["Properties"].pop("DelaySeconds") == 90
    for resource in template["Resources"].values():
        if resource["Properties"].pop("Metrics", None):
            resource["Properties"] |= {"Namespace": "None", "MetricName": "None", "Statistic": "Sum", "Period": 60}
    (build / "known.json").write_text(json.dumps(template), encoding="utf-8")
    overrides = [f"{name}={value}" for name, value in parameters.items()]
    command = ["deploy", "--no-confirm-changeset", "--template-file", str(build / "known.json")]
    command += ["--config-file", str(project / "samconfig.toml")]
    deployed = run_sam(sam, [*command, "--parameter-overrides", *overrides], where=project, environment={})
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    allow_at_once()


def outputs() -> Mapping[str, str]:
    (stack,) = client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def deploy_again(**parameters: str) -> None:
    """Change parameters of the deployed stack: what `sam deploy` does, without packing the same artifact once more."""
    cloudformation = client("cloudformation")
    (stack,) = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
    changed = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
    kept = [
        {"ParameterKey": one["ParameterKey"], "UsePreviousValue": True}
        for one in stack["Parameters"]
        if one["ParameterKey"] not in parameters
    ]
    capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    cloudformation.update_stack(
        StackName=STACK, UsePreviousTemplate=True, Parameters=changed + kept, Capabilities=capabilities
    )
    cloudformation.get_waiter("stack_update_complete").wait(StackName=STACK, WaiterConfig={"Delay": 0.2})
    allow_at_once()


def allow_at_once() -> None:
    """Make a number of the worker's MaximumConcurrency.

    CloudFormation does that with a parameter that is one; MiniStack 1.5.33 leaves it a text and then fails at it.
    """
    mapping = the_mapping()
    at_once = {"MaximumConcurrency": int(mapping["ScalingConfig"]["MaximumConcurrency"])}
    client("lambda").update_event_source_mapping(UUID=mapping["UUID"], ScalingConfig=at_once)


def put_on_the_bus(event: Mapping[str, Any]) -> None:
    entry = {"Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps(event["detail"])}
    answer = client("events").put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 0


def invoke(function: str, event: object) -> Any:
    answer = client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
    return json.load(answer["Payload"])


def attributes(url: str) -> dict[str, str]:
    found: dict[str, str] = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return found


def the_mapping() -> Any:
    of = outputs()["ContactQueueFunctionArn"]
    (found,) = client("lambda").list_event_source_mappings(FunctionName=of)["EventSourceMappings"]
    return found


def mapping() -> tuple[str, int]:
    """Whether the worker is given messages, and how many at a time."""
    found = the_mapping()
    return found["State"], found["ScalingConfig"]["MaximumConcurrency"]


def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, f"not within {seconds} s"
        time.sleep(0.1)


def waiting(url: str) -> int:
    """How many messages a queue has, those under way included."""
    found = attributes(url)
    return int(found["ApproximateNumberOfMessages"]) + int(found["ApproximateNumberOfMessagesNotVisible"])


def test_a_contact_event_becomes_one_patch_after_going_live(
    aws: LocalStack, sam: Path, built_with_sam: Path, tmp_path: Path
) -> None:
    """The README's two deployments, to try and to go live; then it is paused."""
    required = {
        "ConnectInstanceArn": INSTANCE_ARN,
        "ScrtEndpointBase": "https://example.my.salesforce-scrt.com",
        "TestEndpoint": aws.salesforce.url,
        "JwtSecretArn": client("secretsmanager").describe_secret(SecretId=aws.secret)["ARN"],
    }
    early, called, not_called, from_flow, late = (new_id() for _ in range(5))
    for contact_id in (early, called, not_called, late):
        aws.connect.put_contact(described(contact_id))

    deploy(sam, built_with_sam, tmp_path, **required, ReconcileNotBefore="2026-11-15T00:00:00Z")
    queue, dead_letters = outputs()["ContactQueueUrl"], outputs()["DeadLetterQueueUrl"]
    put_on_the_bus(contact_event(early))
    to_the_queue = attributes(queue)["QueueArn"]
    assert client("events").list_rule_names_by_target(TargetArn=to_the_queue)["RuleNames"] == []
    assert mapping() == ("Enabled", 4)
    ran = invoke(outputs()["ReconcileFunctionArn"], {})
    assert (ran["scope"], ran["window"], ran["paused"], ran["stopped"]) == ("none", None, False, None)
    assert aws.salesforce.received == []

    live = {"AutomaticSource": "ContactEvent", "ReconcileNotBefore": "2026-11-01T00:00:00Z", "Concurrency": "2"}
    deploy_again(**live, ReconcileState="DISABLED")
    assert mapping() == ("Enabled", 2)
    put_on_the_bus(contact_event(not_called, channel="CHAT"))
    put_on_the_bus(contact_event(not_called, "DISCONNECTED"))
    put_on_the_bus(contact_event(called))
    aws.salesforce.wait_for(lambda salesforce: salesforce.applied(called) == 1, 60)
    put_on_the_bus(contact_event(called))
    client("sqs").send_message(QueueUrl=queue, MessageBody="no event")
    wait_until(lambda: (waiting(queue), waiting(dead_letters)) == (0, 1))
    (moved,) = client("sqs").receive_message(QueueUrl=dead_letters, MessageAttributeNames=["All"])["Messages"]
    assert moved["Body"] == "no event"
    assert "the message must be" in moved["MessageAttributes"]["Reason"]["StringValue"]

    found = outputs()
    record = AWS.resource("dynamodb").Table(found["IdempotencyTableName"]).get_item(Key={"contactId": called})
    assert record["Item"]["state"] == "UPDATED"
    assert invoke(found["FlowFunctionArn"], flow_event(from_flow))["status"] == "UPDATED"
    assert invoke(found["ReconcileFunctionArn"], {"contactIds": [called], "dryRun": True})["known"] == 1

    deploy_again(Paused="true")
    assert mapping()[0] == "Disabled"
    put_on_the_bus(contact_event(late))
    wait_until(lambda: waiting(queue) == 1)
    assert invoke(found["ReconcileFunctionArn"], {})["paused"] is True
    contacts = (early, called, not_called, from_flow, late)
    assert [aws.salesforce.applied(contact_id) for contact_id in contacts] == [0, 1, 0, 1, 0]


# --- what the rule lets through --------------------------------------------------------------------------------------


LetsThrough = Callable[[Mapping[str, Any]], bool]


def in_other_words(event: Mapping[str, Any], instance: str) -> dict[str, Any]:
    """As some of AWS's samples have it."""
    detail = {name[0].upper() + name[1:]: value for name, value in event["detail"].items()}
    return {**event, "detail": {**detail, instance: detail.pop("InstanceArn")}}


def resolved(value: Any, parameters: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        match value:
            case {"Ref": name}:
                return parameters[name]
            case {"Fn::Split": [separator, text]}:
                return resolved(text, parameters).split(separator)
            case {"Fn::Select": [index, values]}:
                return resolved(values, parameters)[int(index)]
        return {name: resolved(inner, parameters) for name, inner in value.items()}
    return [resolved(inner, parameters) for inner in value] if isinstance(value, list) else value


@pytest.fixture
def lets_through(ministack: MiniStack) -> LetsThrough:
    """Asks MiniStack's EventBridge."""
    pattern = load(ROOT / "template.yaml")["Resources"]["ContactEventRule"]["Properties"]["EventPattern"]
    events = AWS.client("events", endpoint_url=ministack.url, region_name=REGION, **KEYS)

    wanted = json.dumps(resolved(pattern, {"ConnectInstanceArn": INSTANCE_ARN}))

    def ask(event: Mapping[str, Any]) -> bool:
        answer: bool = events.test_event_pattern(EventPattern=wanted, Event=json.dumps(event))["Result"]
        return answer

    return ask


KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
OTHER_INSTANCE = INSTANCE_ARN[:-1] + ("0" if INSTANCE_ARN[-1] != "0" else "1")
EVENT_TYPES = ("INITIATED", "CONNECTED_TO_SYSTEM", "QUEUED", "CONNECTED_TO_AGENT", "DISCONNECTED", "COMPLETED")


@pytest.mark.parametrize("event_type", [*EVENT_TYPES, "CONTACT_DATA_UPDATED"])
def test_the_rule_lets_its_one_type_of_event_through(lets_through: LetsThrough, event_type: str) -> None:
    assert lets_through(contact_event("c-1", event_type)) is (event_type == "COMPLETED")


@pytest.mark.parametrize(
    ("changes", "through"),
    [
        ({"channel": "VOICE"}, True),
        ({"channel": "Voice"}, True),
        ({"channel": "CHAT"}, False),
        ({"channel": "TASK"}, False),
        ({"channel": "EMAIL"}, False),
        ({"channel": None}, False),
        ({"instanceArn": OTHER_INSTANCE}, False),
        ({"instanceArn": INSTANCE_ARN.replace("arn:aws:", "arn:aws::")}, True),
        ({"instanceArn": f"{INSTANCE_ARN}/contact/c-1"}, False),
        ({"instanceArn": None}, False),
        ({"initiationMethod": "CALLBACK"}, True),
        ({"initiationMethod": "WEBRTC_API"}, True),
        ({"queueInfo": None, "agentInfo": None}, True),
        ({"what": "Amazon adds one day"}, True),
    ],
)
def test_the_rule_lets_the_voice_contacts_of_its_instance_through(
    lets_through: LetsThrough, changes: dict[str, Any], through: object
) -> None:
    event = contact_event("c-1", **changes)
    assert lets_through(event) is through
    for instance in ("InstanceArn", "InstanceARN"):
        assert lets_through(in_other_words(event, instance)) is through


@pytest.mark.parametrize(
    "changes",
    [{"source": "mine.connect"}, {"detail-type": "Amazon Connect Contact Evaluation"}, {"detail-type": "Contact Lens"}],
)
def test_the_rule_lets_nothing_else_through(lets_through: LetsThrough, changes: dict[str, str]) -> None:
    assert not lets_through({**contact_event("c-1"), **changes})


LET_THROUGH = {"abandoned", "callback", "completed", "outbound", "queue-transfer", "sentinel", "webrtc"}
HELD_BACK = {"chat", "disconnected", "initiated"}


def test_the_rule_takes_what_the_example_events_stand_for(
    lets_through: LetsThrough,
) -> None:
    examples = {
        path.stem.removeprefix("contact-event-"): json.loads(path.read_text(encoding="utf-8"))
        for path in (ROOT / "events").glob("contact-event-*.json")
    }
    through = {name for name, event in examples.items() if lets_through(event)}
    assert through == LET_THROUGH
    assert examples.keys() - through == HELD_BACK
