"""The operator's commands on the kept local stack: `operate --local`."""

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from tests.cli.conftest import Done
from tests.cli.test_foreign_text import HOSTILE
from tests.commands.conftest import Run
from tests.commands.test_commands import applied
from tests.commands.test_foreign_text import harmless
from tests.support.contacts import new_id
from tools.operate import main

Operate = Callable[..., Done]


@pytest.fixture
def operate(
    environment: dict[str, str], running_stack: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Operate]:
    """Runs a command in this process, beside the running stack, with an operator's answers."""
    assert running_stack
    mine = dict(os.environ)
    os.environ |= {"VOICECALL_SYNC_LOCAL": environment["VOICECALL_SYNC_LOCAL"], "COLUMNS": "80"}

    def run(*words: str, typed: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        status = main(["--local", *words])
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    yield run
    os.environ.clear()
    os.environ |= mine


def test_the_way_of_a_rejected_contact(run: Run, operate: Operate, running_stack: str) -> None:
    contact_id = "07ec915b-a261-4fd0-8185-4d5e6f708192"
    failure = json.dumps({"behaviour": "Answer", "status": 400})
    requests.post(f"{running_stack}/simulator/next", data=failure, timeout=5).raise_for_status()
    run("invoke", "events/contact-event-sentinel.json")

    needed = operate("attention", "--json")
    released = operate("release", contact_id, typed="yes\n")
    shown = operate("show", contact_id)
    settled = operate("attention")

    assert [contact["contactId"] for contact in needed.json["REJECTED"]["contacts"]] == [contact_id]
    assert (needed.status, released.status, shown.status, settled.status) == (1, 0, 0, 0)
    assert f"released and enqueued {contact_id}" in released.flat
    assert "contact REJECTED" in shown.flat.partition("the oldest first")[2]
    assert "+1" not in shown.out
    ends = time.monotonic() + 30
    while time.monotonic() < ends and applied(running_stack, contact_id) != [1]:
        time.sleep(0.2)
    assert applied(running_stack, contact_id) == [1]  # or another test's failure would be for this update


def test_the_backfill_finds_the_examples_on_any_day(run: Run, running_stack: str) -> None:
    assert running_stack
    yesterday, tomorrow = (f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%dT00:00:00Z}" for days in (-1, 1))

    span = ("--from", yesterday, "--to", tomorrow, "--scope", "all", "--dry-run")

    tried = run("operate", "--local", "backfill", *span, "--json")

    assert tried.returncode == 0, tried.stderr
    assert json.loads(tried.stdout)["found"] == 6  # the one that moved to another queue is no call


def test_the_preview_looks_at_the_local_stack(operate: Operate) -> None:
    last_week = f"{datetime.now(UTC) - timedelta(days=7):%Y-%m-%dT%H}:00Z"

    shown = operate("preview", "--from", last_week, "--to", "2999-01-01T00:00:00Z", "--scope", "all", "--first", "2")

    assert shown.status == 0, shown.err
    assert "Looked at 2" in shown.out


def test_a_line_of_the_log_file_is_shown_harmlessly(operate: Operate, environment: dict[str, str]) -> None:
    contact_id = new_id()
    line = {"timestamp": "2026-01-01T00:00:00+00:00", "contactId": contact_id, "message": HOSTILE, "source": HOSTILE}
    with Path(environment["VOICECALL_SYNC_LOCAL"], "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")

    shown = operate("show", contact_id, "--since", "2025-01-01T00:00:00Z")

    assert shown.status == 1, shown.err
    assert harmless(shown.out + shown.err)
    assert "52;c;cm0gLXJm" in shown.flat.replace(" ", "")
