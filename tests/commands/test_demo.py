import re
import subprocess

import pytest

from tests.commands.conftest import Run

TITLE = re.compile(r"What |UNCERTAIN \(|\d+ calls,|\w.* (?:on|wrong|finds it|120|after 3)$")


@pytest.fixture(scope="module")
def demo(run: Run) -> subprocess.CompletedProcess[str]:
    return run("demo")


def section(output: str, title: str) -> list[str]:
    """The lines under a title, up to the next one."""
    _, found, rest = output.partition(title)
    assert found, output
    lines = rest.splitlines()[1:]
    ends = [index for index, line in enumerate(lines) if TITLE.match(line)]
    return lines[: ends[0]]


def rows(lines: list[str], *columns: int) -> list[tuple[str, ...]]:
    """These cells of each row that begins with a time."""
    cells = [re.split(r" {2,}", line.strip()) for line in lines if re.match(r"\d\d:\d\d:\d\d ", line)]
    return [tuple(row[column] for column in columns) for row in cells]


def row(lines: list[str], beginning: str) -> list[str]:
    """The cells of the first row that begins so, as its first line has them."""
    line = next(line for line in lines if line.startswith(beginning))
    return re.split(r" {2,}", line.strip())


def test_ends_with_the_count_that_matters(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stderr
    assert demo.stdout.splitlines()[-1] == "28 calls, 22 PATCHes applied, none twice"


def test_contact_flows_are_answered_at_once(demo: subprocess.CompletedProcess[str]) -> None:
    lines = section(demo.stdout, "Two contact flows")
    assert rows(lines, 0, 1, 3, 4) == [
        ("10:00:10", "contact-flow", "UPDATED", "200"),
        ("10:00:30", "contact-flow-awkward", "UPDATED", "200"),
    ]


def test_events_wait_in_the_queue_and_a_repetition_sends_nothing(
    demo: subprocess.CompletedProcess[str],
) -> None:
    assert rows(section(demo.stdout, "Calls end: each event waits"), 0, 1, 3, 4) == [
        ("10:09:44", "contact-event-completed", "UPDATED", "200"),
        ("10:10:44", "contact-event-completed", "DUPLICATE", "-"),
        ("10:33:29", "contact-event-queue-transfer", "IGNORED", "-"),
        ("10:48:32", "contact-event-webrtc", "RETRY_LATER", "-"),
        ("10:52:02", "contact-event-webrtc", "UPDATED", "200"),
        ("10:56:50", "contact-event-sentinel", "UPDATED", "200"),
        ("10:58:30", "a wrong message", "INVALID", "-"),
    ]


def test_a_lost_event_is_found_by_the_reconciliation(demo: subprocess.CompletedProcess[str]) -> None:
    assert rows(section(demo.stdout, "A call was abandoned"), 0, 1, 2, 3) == [
        ("11:00:00", "reconciliation", "reconcile", "found"),
        ("11:00:00", "contact-event-abandoned", "reconcile", "UPDATED"),
    ]


def test_a_429_comes_back_when_salesforce_said(demo: subprocess.CompletedProcess[str]) -> None:
    assert rows(section(demo.stdout, "Salesforce is busy"), 0, 3, 4, 5) == [
        ("11:11:15", "RETRY_LATER", "429", "Salesforce answered 429; back at 11:13:15"),
        ("11:13:15", "UPDATED", "200", "Salesforce answered 200"),
    ]


def test_an_outage_uses_up_few_calls(demo: subprocess.CompletedProcess[str]) -> None:
    assert rows(section(demo.stdout, "20 calls end"), 0, 1, 3, 4) == [
        ("11:27:18", "3 calls", "UNCERTAIN", "503"),
        ("11:27:24", "17 calls", "RETRY_LATER", "-"),
        ("11:28:22", "1 call", "UNCERTAIN", "503"),
        ("11:28:23", "16 calls", "RETRY_LATER", "-"),
        ("11:30:22", "1 call", "UNCERTAIN", "503"),
        ("11:30:23", "15 calls", "RETRY_LATER", "-"),
        ("11:34:22", "15 calls", "UPDATED", "200"),
    ]


def test_shows_the_voice_calls(demo: subprocess.CompletedProcess[str]) -> None:
    lines = section(demo.stdout, "What Salesforce holds now")
    start = next(index for index, line in enumerate(lines) if line.startswith("c3a85f17"))

    day = re.compile(r"[A-Z][a-z]{2} \d{2} \d{2}:\d{2}")
    assert [re.split(r" {2,}", day.sub("DAY", line.strip())) for line in lines[start : start + 3]] == [
        ["c3a85f17", "+12065550143", "INBOUND", "6:39", "Support", "Age__c 42", "5:10"],
        ["updated", "+12065550100", "DAY", "4:45", "saanvi.sarkar", "Tier__c gold", "1"],
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
        ("d4b96e28", ["UPDATED", "reconcile", "1", "200"]),
        ("3a1fc48e", ["UPDATED", "contact-event", "2", "200"]),
        ("5 calls ", ["UNCERTAIN", "contact-event", "1", "503"]),
        ("15 calls", ["UPDATED", "contact-event", "1", "200"]),
    ],
)
def test_shows_the_ledger(demo: subprocess.CompletedProcess[str], contact: str, cells: list[str]) -> None:
    assert row(section(demo.stdout, "What the ledger says"), contact)[1:5] == cells


def test_shows_what_the_queues_hold(demo: subprocess.CompletedProcess[str]) -> None:
    lines = section(demo.stdout, "What the queues hold")

    assert lines[0] == "contact queue: empty"
    assert lines[1].startswith('dead-letter queue: {"contact": ')
    assert "contactId must be a contact id" in lines[2]


def test_keeps_the_functions_log_out_of_the_tables(demo: subprocess.CompletedProcess[str]) -> None:
    assert "CloudWatchMetrics" not in demo.stdout + demo.stderr
    assert "demo.log" in demo.stdout


def test_shows_the_log_and_fits_into_a_narrow_terminal(run_seen_listening: Run) -> None:
    shown = run_seen_listening("demo", "--logs", COLUMNS="80")

    assert '"message":"contact UPDATED"' in shown.stderr
    assert "CloudWatchMetrics" not in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "…" not in shown.stdout
    for word in ("CUSTOMER_DISCONNECT", "+12065550143", "Tier__c gold", "contact-event-queue-transfer", "RETRY_LATER"):
        assert word in shown.stdout
