"""What ``python3 -m tools reconcile`` shows."""

import re
import subprocess

import pytest

from tests.local.conftest import Run


@pytest.fixture(scope="module")
def shown(run: Run) -> subprocess.CompletedProcess[str]:
    return run("reconcile", "--calls", "120", "--quota-factor", "40")


def cells(output: str, title: str) -> list[list[str]]:
    """The rows of the table under a title, without its headings."""
    _, _, rest = output.partition(title)
    lines = rest.partition("\n\n")[0].splitlines()[3:]
    return [re.split(r" {2,}", line.strip()) for line in lines]


def test_ends_with_the_count_that_matters(shown: subprocess.CompletedProcess[str]) -> None:
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[-1] == "60 contacts updated in Salesforce, none twice"


def test_shows_the_day_and_who_was_missed(shown: subprocess.CompletedProcess[str]) -> None:
    day = {row[0]: row[1:] for row in cells(shown.stdout, "A day of 120 calls")}
    assert day["hung up in the queue"] == ["60", "yes"]
    assert day["transferred"] == ["7", "no"]


def test_shows_each_run(shown: subprocess.CompletedProcess[str]) -> None:
    runs = [row for row in cells(shown.stdout, "What each run answered") if row[0] in {"1", "2"}]
    assert [row[2:5] for row in runs] == [["78", "12", "18"], ["78", "12", "78"]]
    assert all(row[-1] == "0" for row in runs)
    assert "59 UPDATED" in shown.stdout


def test_shows_what_needs_a_look(shown: subprocess.CompletedProcess[str]) -> None:
    statuses = sorted(row[1] for row in cells(shown.stdout, "What needs a look"))
    assert statuses == ["REJECTED", "UNCERTAIN", "UNCERTAIN"]


def test_stays_within_the_quotas(shown: subprocess.CompletedProcess[str]) -> None:
    assert {row[2] for row in cells(shown.stdout, "What Amazon Connect was asked")} == {"0"}
    assert "PATCHes" in shown.stdout


def test_a_run_too_short_for_all_is_carried_on(run: Run) -> None:
    shown = run("reconcile", "--calls", "150", "--quota-factor", "6", "--scope", "all", "--seconds", "9")
    assert shown.returncode == 0, shown.stderr
    runs = [row for row in cells(shown.stdout, "What each run answered") if row[0].isdigit() and len(row) > 3]
    assert int(runs[0][-1]) > 0
    assert runs[-2][-1] == "0"
