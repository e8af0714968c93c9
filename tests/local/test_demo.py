import re
import subprocess

import pytest

from tests.local.conftest import Run


@pytest.fixture(scope="module")
def demo(run: Run) -> subprocess.CompletedProcess[str]:
    return run("demo")


def section(output: str, title: str) -> list[str]:
    """The lines of the table under a title."""
    _, _, rest = output.partition(title)
    lines = rest.splitlines()[1:]
    ends = [index for index, line in enumerate(lines) if re.match(r"What |UNCERTAIN \(|\d+ contacts", line)]
    return lines[: ends[0]]


def row(lines: list[str], beginning: str) -> list[str]:
    """The cells of the first row that begins so, as its first line has them."""
    line = next(line for line in lines if line.startswith(beginning))
    return re.split(r" {2,}", line.strip())


def test_ends_with_the_count_that_matters(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stderr
    assert demo.stdout.splitlines()[-1] == "9 contacts, 9 PATCHes applied, none twice"


@pytest.mark.parametrize(
    ("event", "cells"),
    [
        ("contact-flow ", ["contact-flow", "UPDATED", "200"]),
        ("contact-flow-awkward", ["contact-flow", "UPDATED", "200"]),
        ("contact-event-initiated", ["contact-event", "IGNORED", "-"]),
        ("contact-event-chat", ["contact-event", "IGNORED", "-"]),
        ("contact-event-disconnected", ["contact-event", "IGNORED", "-"]),
        ("contact-event-abandoned", ["contact-event", "UPDATED", "200"]),
        ("contact-event-outbound", ["contact-event", "raised", "429"]),
        ("contact-event-callback", ["contact-event", "UNCERTAIN", "500"]),
    ],
)
def test_shows_what_the_handler_answered(demo: subprocess.CompletedProcess[str], event: str, cells: list[str]) -> None:
    assert row(section(demo.stdout, "What the handler answered"), event)[1:4] == cells


def test_shows_that_a_replayed_event_sends_nothing(demo: subprocess.CompletedProcess[str]) -> None:
    lines = [line for line in section(demo.stdout, "What the handler answered") if "contact-event-completed" in line]

    assert [re.split(r" {2,}", line.strip())[2:4] for line in lines] == [["UPDATED", "200"], ["DUPLICATE", "-"]]


def test_shows_the_second_delivery_cure_the_first(demo: subprocess.CompletedProcess[str]) -> None:
    lines = [line for line in section(demo.stdout, "What the handler answered") if "contact-event-outbound" in line]

    assert [re.split(r" {2,}", line.strip())[2:4] for line in lines] == [["raised", "429"], ["UPDATED", "200"]]


def test_shows_the_voice_calls(demo: subprocess.CompletedProcess[str]) -> None:
    lines = section(demo.stdout, "What Salesforce holds now")
    start = next(index for index, line in enumerate(lines) if line.startswith("c3a85f17"))

    day = re.compile(r"[A-Z][a-z]{2} \d{2} \d{2}:\d{2}")
    assert [re.split(r" {2,}", day.sub("DAY", line.strip())) for line in lines[start : start + 3]] == [
        ["c3a85f17", "+12065550143", "INBOUND", "6:39", "Support", "Tier__c gold", "5:09"],
        ["updated", "+12065550100", "DAY", "4:45", "saanvi.sarkar", "Age__c 42", "1"],
        ["0:25", "CUSTOMER_DISCONNECT", "Resolved__c yes"],
    ]


def test_shows_that_an_abandoned_call_was_created(demo: subprocess.CompletedProcess[str]) -> None:
    lines = section(demo.stdout, "What Salesforce holds now")
    start = next(index for index, line in enumerate(lines) if line.startswith("d4b96e28"))

    assert lines[start + 1].startswith("created")


@pytest.mark.parametrize(
    ("contact", "cells"),
    [
        ("a1f0c3d2", ["UPDATED", "contact-flow", "1", "200"]),
        ("3a1fc48e", ["UPDATED", "contact-event", "2", "200"]),
        ("4b20d59f", ["UNCERTAIN", "contact-event", "1", "500"]),
    ],
)
def test_shows_the_ledger(demo: subprocess.CompletedProcess[str], contact: str, cells: list[str]) -> None:
    assert row(section(demo.stdout, "What the ledger says"), contact)[1:5] == cells


def test_keeps_the_handlers_log_out_of_the_tables(demo: subprocess.CompletedProcess[str]) -> None:
    assert "CloudWatchMetrics" not in demo.stdout + demo.stderr
    assert "demo.log" in demo.stdout


def test_shows_the_handlers_log_when_asked_to(run: Run) -> None:
    shown = run("demo", "--logs", COLUMNS="100")

    assert '"message":"contact UPDATED"' in shown.stderr
    assert "CloudWatchMetrics" not in shown.stdout


@pytest.mark.parametrize("columns", [80, 100])
def test_loses_nothing_in_a_narrower_terminal(run: Run, columns: int) -> None:
    shown = run("demo", COLUMNS=str(columns))

    assert max(map(len, shown.stdout.splitlines())) <= columns
    assert "…" not in shown.stdout
    for word in ("CUSTOMER_DISCONNECT", "+12065550143", "Tier__c gold", "contact-event-disconnected"):
        assert word in shown.stdout
