"""docs/contact-flow.json, the example to import: as Amazon Connect's flow language asks, and as the function answers.

What each block takes and which errors it has is in the reference:
https://docs.aws.amazon.com/connect/latest/APIReference/flow-language-actions.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.support.builders import flow_contact
from tools.local.local_stack import ROOT
from voicecall_sync.clock import TIMINGS
from voicecall_sync.outcome import Status
from voicecall_sync.salesforce.custom_fields import PREFIX
from voicecall_sync.salesforce.voice_call import from_contact

FLOW: dict[str, Any] = json.loads((ROOT / "docs" / "contact-flow.json").read_text(encoding="utf-8"))
ACTIONS: dict[str, dict[str, Any]] = {action["Identifier"]: action for action in FLOW["Actions"]}
METADATA = FLOW["Metadata"]["ActionMetadata"]
END_OF_THE_FLOW = {"DisconnectParticipant"}


class Block(NamedTuple):
    parameters: set[str]
    errors: set[str]


BLOCKS = {
    "UpdateContactAttributes": Block({"Attributes", "TargetContact"}, {"NoMatchingError"}),
    "InvokeLambdaFunction": Block(
        {
            "LambdaFunctionARN",
            "InvocationTimeLimitSeconds",
            "InvocationType",
            "LambdaInvocationAttributes",
            "ResponseValidation",
        },
        {"NoMatchingError"},
    ),
    "Compare": Block({"ComparisonValue"}, {"NoMatchingCondition"}),
    "UpdateContactTargetQueue": Block({"QueueId"}, {"NoMatchingError"}),
    "TransferContactToQueue": Block(set(), {"QueueAtCapacity", "NoMatchingError"}),
    "MessageParticipant": Block({"Text"}, {"NoMatchingError"}),
    "DisconnectParticipant": Block(set(), set()),
}


def the(kind: str) -> dict[str, Any]:
    (action,) = [action for action in ACTIONS.values() if action["Type"] == kind]
    return action


def ways_out(action: dict[str, Any]) -> Iterator[str]:
    transitions = action["Transitions"]
    if "NextAction" in transitions:
        yield transitions["NextAction"]
    for way in (*transitions.get("Conditions", ()), *transitions.get("Errors", ())):
        yield way["NextAction"]


def reachable(start: str, without: str = "") -> set[str]:
    seen, todo = set(), [start]
    while todo:
        identifier = todo.pop()
        if identifier not in seen and identifier != without:
            seen.add(identifier)
            todo += ways_out(ACTIONS[identifier])
    return seen


# ------------------------------------------------------------------ what the flow language asks


def test_every_action_has_its_own_allowed_name() -> None:
    assert FLOW["Version"] == "2019-10-30"
    assert len(ACTIONS) == len(FLOW["Actions"])
    for identifier in ACTIONS:
        assert len(identifier) <= 50
        assert not set(identifier) & set("%:(\\/)=$,;[]{}"), identifier


def test_every_way_leads_to_an_action_there_is() -> None:
    for action in ACTIONS.values():
        assert set(ways_out(action)) <= set(ACTIONS), action["Identifier"]


def test_every_action_is_reached() -> None:
    assert reachable(FLOW["StartAction"]) == set(ACTIONS)


@pytest.mark.parametrize("identifier", ACTIONS)
def test_every_block_has_its_parameters_and_handles_errors(identifier: str) -> None:
    action = ACTIONS[identifier]
    block = BLOCKS[action["Type"]]
    assert set(action["Parameters"]) == block.parameters
    errors = [error["ErrorType"] for error in action["Transitions"].get("Errors", ())]
    assert sorted(errors) == sorted(block.errors)
    assert ("NextAction" in action["Transitions"]) == (action["Type"] not in END_OF_THE_FLOW)


def test_every_attribute_is_a_text_with_an_allowed_name() -> None:
    for action in ACTIONS.values():
        for name, value in action["Parameters"].get("Attributes", {}).items():
            assert re.fullmatch(r"[A-Za-z0-9_-]+", name), name
            assert isinstance(value, str), name


# ------------------------------------------------------------------ what the function asks, and answers


def test_the_flow_waits_as_long_as_connect_allows() -> None:
    parameters = the("InvokeLambdaFunction")["Parameters"]
    assert parameters["InvocationTimeLimitSeconds"] == "8"
    assert parameters["InvocationType"] == "SYNCHRONOUS"
    assert parameters["ResponseValidation"] == {"ResponseType": "STRING_MAP"}
    assert TIMINGS.flow < float(parameters["InvocationTimeLimitSeconds"])


def test_the_function_is_called_itself_and_no_version_of_it() -> None:
    arn = the("InvokeLambdaFunction")["Parameters"]["LambdaFunctionARN"]
    assert re.fullmatch(r"arn:aws:lambda:[a-z0-9-]+:\d{12}:function:[A-Za-z0-9_-]+", arn)


def test_the_function_knows_every_parameter_it_is_given() -> None:
    given = the("InvokeLambdaFunction")["Parameters"]["LambdaInvocationAttributes"]
    arrives = {name: "en-US" if value == "$.LanguageCode" else value for name, value in given.items()}
    voice_call = from_contact(flow_contact(arrives), {})
    assert 1 <= len(given) <= 2
    assert voice_call.ignored_parameters == ()
    assert not voice_call.left_out


def test_the_branches_are_the_statuses_and_no_other() -> None:
    compare = the("Compare")
    assert compare["Parameters"] == {"ComparisonValue": "$.External.status"}
    conditions = [way["Condition"] for way in compare["Transitions"]["Conditions"]]
    assert {condition["Operator"] for condition in conditions} == {"Equals"}
    operands = [operand for condition in conditions for operand in condition["Operands"]]
    assert sorted(operands) == sorted(Status)


def test_the_call_goes_on_after_any_result_of_the_update() -> None:
    """From the Lambda block on, no way ends the call without having come to the queue."""
    call, queue = the("InvokeLambdaFunction"), the("UpdateContactTargetQueue")["Identifier"]
    before_the_queue = reachable(FLOW["StartAction"], without=queue)
    assert call["Identifier"] in before_the_queue
    assert not {ACTIONS[identifier]["Type"] for identifier in before_the_queue} & END_OF_THE_FLOW
    for identifier in before_the_queue:
        assert queue in reachable(identifier)


def test_what_became_of_the_update_is_kept_for_reports() -> None:
    leads_to = {
        way["Condition"]["Operands"][0]: ACTIONS[way["NextAction"]]["Parameters"].get("Attributes")
        for way in the("Compare")["Transitions"]["Conditions"]
    }
    status = {"voiceCallSyncStatus": "$.External.status"}
    both = status | {"voiceCallSyncDetail": "$.External.detail"}
    assert leads_to == {
        Status.UPDATED: None,
        Status.DUPLICATE: None,
        Status.RETRY_LATER: status,
        Status.REJECTED: both,
        Status.UNCERTAIN: both,
        Status.INVALID: both,
        Status.IGNORED: both,
    }
    (no_answer,) = the("InvokeLambdaFunction")["Transitions"]["Errors"]
    kept = ACTIONS[no_answer["NextAction"]]["Parameters"]["Attributes"]
    assert set(kept) == set(both)
    # Without an answer there is nothing under $.External.
    assert not [value for value in kept.values() if "$" in value]


def test_its_first_attribute_keeps_the_other_writer_away() -> None:
    attributes = ACTIONS[FLOW["StartAction"]]["Parameters"]["Attributes"]
    assert attributes["NoSync"] == "true"
    assert [name for name in attributes if name.startswith(PREFIX)]


# ------------------------------------------------------------------ what it looks like


def test_every_action_has_a_place() -> None:
    assert set(METADATA) == set(ACTIONS)


def test_the_flow_reads_from_left_to_right() -> None:
    place = {identifier: METADATA[identifier]["position"]["x"] for identifier in ACTIONS}
    for action in ACTIONS.values():
        for to in ways_out(action):
            assert place[to] > place[action["Identifier"]], (action["Identifier"], to)


def test_no_block_lies_on_another() -> None:
    places = [metadata["position"] for metadata in METADATA.values()]
    for number, one in enumerate(places):
        for other in places[:number]:
            assert abs(one["x"] - other["x"]) >= 220 or abs(one["y"] - other["y"]) >= 180


def test_the_designer_is_told_of_every_branch() -> None:
    compare = the("Compare")
    shown = [branch["value"] for branch in METADATA[compare["Identifier"]]["conditionMetadata"]]
    assert shown == [way["Condition"]["Operands"][0] for way in compare["Transitions"]["Conditions"]]


def test_the_page_says_what_replaces_its_example_arns() -> None:
    text = json.dumps(FLOW)
    arns = set(re.findall(r'arn:[^"]+', text))
    assert len(arns) == 2
    assert all(":111122223333:" in arn for arn in arns)
    page = (ROOT / "docs" / "contact-flow.md").read_text(encoding="utf-8")
    for named in ("FlowFunctionArn", "BasicQueue", "AutomaticSource", "NoSync", "voiceCallSyncStatus"):
        assert f"`{named}`" in page, named
