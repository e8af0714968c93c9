"""Template, settings and README name the same variables, with the same defaults."""

import re
import tomllib

from tools.local.stack import ROOT
from tools.template import load
from voicecall_sync import settings

README = (ROOT / "README.md").read_text(encoding="utf-8")
TEMPLATE = load(ROOT / "template.yaml")
VARIABLES = {*settings.REQUIRED, *settings.OPTIONAL}
SHARED = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
"""What every function is given."""
OF_RECONCILIATION = TEMPLATE["Resources"]["ReconcileFunction"]["Properties"]["Environment"]["Variables"]
"""What the function that reconciles is given besides."""
SET = SHARED | OF_RECONCILIATION


def rows() -> list[tuple[str, str]]:
    """The README's table "What to set": parameter and variable of each row, "" where there is none."""
    table = README.split("## What to set")[1].split("###")[0]
    cells = [[cell.strip().strip("`") for cell in line.split("|")[1:3]] for line in table.splitlines() if "|" in line]
    return [(parameter, variable) for parameter, variable in cells[2:]]


def test_the_template_sets_every_variable_and_no_other() -> None:
    assert set(SET) == VARIABLES
    assert {name for name in VARIABLES if name.startswith("RECONCILE_")} == set(OF_RECONCILIATION)


def test_the_readme_lists_every_variable_and_no_other() -> None:
    listed = [variable for _, variable in rows() if variable]
    assert sorted(listed) == sorted(VARIABLES)


def test_the_readme_lists_every_parameter_and_no_other() -> None:
    listed = [parameter for parameter, _ in rows() if parameter]
    assert sorted(listed) == sorted(TEMPLATE["Parameters"])


def test_a_row_of_the_readme_names_the_variable_its_parameter_becomes() -> None:
    for parameter, variable in rows():
        if parameter and variable:
            assert re.search(rf"\b{parameter}\b", str(SET[variable])), f"{variable} does not come from {parameter}"


def test_the_templates_defaults_are_those_of_the_code() -> None:
    for name, default in settings.OPTIONAL.items():
        if name in {"RECONCILE_SCOPE", "POWERTOOLS_SERVICE_NAME"}:  # of two parameters, and of none
            continue
        (parameter,) = [known for known in TEMPLATE["Parameters"] if re.search(rf"'{known}'", str(SET[name]))]
        # One that has to be given has no default in the template.
        assert str(TEMPLATE["Parameters"][parameter].get("Default", "")) == default


def test_the_stack_is_called_by_default_as_a_function_without_one_calls_itself() -> None:
    with (ROOT / "samconfig.toml").open("rb") as file:
        name = tomllib.load(file)["default"]["global"]["parameters"]["stack_name"]
    assert name == settings.OPTIONAL["POWERTOOLS_SERVICE_NAME"]
