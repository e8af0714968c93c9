"""Template, settings and the page of parameters name the same variables, with the same defaults."""

import re
import tomllib
from typing import Any

import pytest

from tools.local.local_stack import ROOT
from tools.template import load
from voicecall_sync import settings

PAGE = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
TEMPLATE = load(ROOT / "template.yaml")
NEEDED = {*settings.SENDING, *settings.WITH_DEAD_LETTERS, *settings.RECONCILING}
VARIABLES = NEEDED | settings.OPTIONAL.keys()
SHARED: dict[str, Any] = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
"""What every function is given."""


def own(function: str) -> dict[str, Any]:
    """What a function is given besides."""
    properties = TEMPLATE["Resources"][function]["Properties"]
    variables: dict[str, Any] = properties.get("Environment", {}).get("Variables", {})
    return variables


FUNCTIONS = ("UpdateVoiceCallFunction", "ContactQueueFunction", "ReconcileFunction")
SET = SHARED | own("ContactQueueFunction") | own("ReconcileFunction")


def rows() -> list[tuple[str, str]]:
    """The table "What to set": parameter and variable of each row, "" for a row without one."""
    table = PAGE.split("## What to set")[1].split("###")[0]
    cells = [[cell.strip().strip("`") for cell in line.split("|")[1:3]] for line in table.splitlines() if "|" in line]
    return [(parameter, variable) for parameter, variable in cells[2:]]


def test_the_template_sets_every_variable_and_no_other() -> None:
    assert set(SET) == VARIABLES


def test_only_a_variables_reader_is_given_it() -> None:
    assert not own("UpdateVoiceCallFunction")
    assert set(own("ContactQueueFunction")) == {*settings.WITH_DEAD_LETTERS}
    # The worker judges ReconcileNotBefore as well.
    only_reconciling = {name for name in VARIABLES if name.startswith("RECONCILE_")} - {"RECONCILE_NOT_BEFORE"}
    assert set(own("ReconcileFunction")) == only_reconciling | {*settings.WITH_DEAD_LETTERS, "ALARM_TOPIC_ARN"}


def test_every_function_of_the_template_is_one_of_these() -> None:
    functions = {name for name, one in TEMPLATE["Resources"].items() if one["Type"] == "AWS::Serverless::Function"}
    assert functions == {*FUNCTIONS}


@pytest.mark.parametrize(
    ("function", "needed"),
    [
        ("UpdateVoiceCallFunction", settings.SENDING),
        ("ContactQueueFunction", (*settings.SENDING, *settings.WITH_DEAD_LETTERS)),
        ("ReconcileFunction", (*settings.RECONCILING, *settings.WITH_DEAD_LETTERS)),
    ],
)
def test_a_function_is_given_what_it_needs(function: str, needed: tuple[str, ...]) -> None:
    assert {*needed} <= (SHARED | own(function)).keys()


def test_the_queues_are_those_of_the_stack() -> None:
    """A queue's Ref is its URL."""
    assert "ContactQueue" in str(SHARED["CONTACT_QUEUE_URL"])
    for function in ("ContactQueueFunction", "ReconcileFunction"):
        assert "DeadLetterQueue" in str(own(function)["DEAD_LETTER_QUEUE_URL"])
    assert "AlarmTopic" in str(own("ReconcileFunction")["ALARM_TOPIC_ARN"])


def test_the_page_lists_every_variable_and_no_other() -> None:
    listed = [variable for _, variable in rows() if variable]
    assert sorted(listed) == sorted(VARIABLES)


def test_the_page_lists_every_parameter_and_no_other() -> None:
    listed = [parameter for parameter, _ in rows() if parameter]
    assert sorted(listed) == sorted(TEMPLATE["Parameters"])


def test_each_row_names_its_parameters_variable() -> None:
    for parameter, variable in rows():
        if parameter and variable:
            assert re.search(rf"\b{parameter}\b", str(SET[variable])), f"{variable} does not come from {parameter}"


def test_the_templates_defaults_are_those_of_the_code() -> None:
    for name, default in settings.OPTIONAL.items():
        # Of two parameters, and of none.
        if name in {"RECONCILE_SCOPE", "POWERTOOLS_SERVICE_NAME", "ALLOW_TEST_ENDPOINT", "ALARM_TOPIC_ARN"}:
            continue
        (parameter,) = [known for known in TEMPLATE["Parameters"] if re.search(rf"'{known}'", str(SET[name]))]
        # One that has to be given has no default in the template.
        assert str(TEMPLATE["Parameters"][parameter].get("Default", "")) == default


def test_the_stacks_default_name_is_the_functions_default() -> None:
    with (ROOT / "samconfig.toml").open("rb") as file:
        name = tomllib.load(file)["default"]["global"]["parameters"]["stack_name"]
    assert name == settings.OPTIONAL["POWERTOOLS_SERVICE_NAME"]
