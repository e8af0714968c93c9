"""Two stacks in one account: what the functions of each write, held against what the alarms of each look at."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.contacts import contact_event, flow_event, new_id
from tests.support.delivering import deliver
from tests.support.missed import answered, put
from tests.support.sandbox import Context, Sandbox
from tools.local.gateway import Fault
from tools.local.local_stack import ROOT, LocalStack
from tools.local.misbehaviour import Answer
from tools.template import load
from voicecall_sync.salesforce.token import issue, parse_secret

STACKS = ("voicecall-sync-support", "voicecall-sync-sales")
Metric = tuple[str, str, frozenset[tuple[str, str]]]
"""Namespace, name, dimensions: what tells one metric from another in CloudWatch."""


def watched(name: str) -> set[Metric]:
    """Of what the alarms of a stack look at, what our own functions count."""
    made = load(ROOT / "template.yaml")["Resources"].values()
    alarms = [one["Properties"] for one in made if one["Type"] == "AWS::CloudWatch::Alarm"]
    parts = [
        part["MetricStat"]["Metric"] for alarm in alarms for part in alarm.get("Metrics", ()) if "MetricStat" in part
    ]
    return {
        (metric["Namespace"], metric["MetricName"], frozenset(dimensions(metric, name)))
        for metric in [*parts, *(alarm for alarm in alarms if "Metrics" not in alarm)]
        if not metric["Namespace"].startswith("AWS/")
    }


def dimensions(metric: dict[str, Any], name: str) -> Iterator[tuple[str, str]]:
    for dimension in metric["Dimensions"]:
        value = dimension["Value"]
        yield dimension["Name"], name if value == {"Ref": "AWS::StackName"} else value


def counted(lines: list[dict[str, Any]]) -> set[Metric]:
    """What CloudWatch makes of the log's lines."""
    return {
        (group["Namespace"], metric["Name"], frozenset((name, line[name]) for name in names))
        for line in lines
        for group in line.get("_aws", {}).get("CloudWatchMetrics", [])
        for names in group["Dimensions"]
        for metric in group["Metrics"]
    }


def everything_happens(stack: LocalStack, finished: Callable[[str], str]) -> None:
    """Cause every event that an alarm is for. Each in a fresh sandbox: a failure opens a flow's breaker."""
    for code in (500, 400, 429):
        stack.salesforce.next(Answer(code))
        Sandbox().invoke(flow_event(new_id()))
    contact_id = finished(new_id())
    Sandbox().invoke(flow_event(contact_id))
    work_off(stack, contact_event(contact_id))  # its final values are barred by the flow
    stack.gateway.fail("UpdateItem", Fault.ERROR)
    Sandbox().invoke(flow_event(new_id()))  # cannot be settled
    stack.gateway.heal()
    jwt = issue(parse_secret(stack.provisioned_secret(), "", ""), datetime.now(UTC) + timedelta(minutes=5))
    stack.put_secret(json.dumps({"jwt": jwt.text}))
    Sandbox().invoke(flow_event(new_id()))
    stack.put_secret(stack.provisioned_secret())
    put(stack, answered(60))
    Sandbox().reconcile({"scope": "all"})  # finds it, so long after its end
    work_off(stack)
    Sandbox().reconcile()
    broken = replace(Sandbox().app, queue=lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert not deliver(stack, lambda event: broken.contact_queue(event, Context()), contact_event(new_id())).is_done


def work_off(stack: LocalStack, body: object = None) -> None:
    sandbox = Sandbox()
    assert deliver(stack, lambda event: sandbox.app.contact_queue(event, Context()), body).is_done


def test_no_stack_counts_what_another_ones_alarms_look_at(
    stack: LocalStack,
    finished: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    written: dict[str, set[Metric]] = {}
    for name in STACKS:
        monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", name)
        capfd.readouterr()
        everything_happens(stack, finished)
        lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
        assert {line["service"] for line in lines} == {name}
        assert any("status" in line for line in lines)  # the log's own lines are among them
        written[name] = counted(lines)
    one, other = STACKS
    assert watched(one) <= written[one]
    assert watched(other) <= written[other]
    assert not written[one] & written[other]
