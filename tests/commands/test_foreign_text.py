"""What an event, a record or a VoiceCall holds reaches the terminal of a local command as text."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.table import Table

from tests.cli.test_foreign_text import HOSTILE, SHOWN
from tests.commands.conftest import Run
from tools import tables
from tools.local.voice_call_rules import DisconnectReason, VoiceCall
from tools.tables import Chapter, LedgerRow, Row, Shown
from voicecall_cli.tables import console

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def harmless(text: str) -> bool:
    return [one for one in text if not one.isprintable() and one != "\n"] == []


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")


def shown(table: Table, capsys: pytest.CaptureFixture[str]) -> str:
    console().print(table)
    return capsys.readouterr().out


def test_in_a_voice_call(capsys: pytest.CaptureFixture[str]) -> None:
    call = VoiceCall(
        "c3a85f17",
        from_number=HOSTILE,
        queue=HOSTILE,
        agent=HOSTILE,
        disconnect_reason=DisconnectReason(HOSTILE, is_error=False),
        custom_fields={"Tier__c": HOSTILE},
    )

    told = shown(tables.voice_calls([Shown(call, 1, created=False)], 1000), capsys)

    assert harmless(told)
    assert told.count(SHOWN) == 5


def test_markup_in_the_ledger_and_in_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    entries = tables.ledger([LedgerRow("c3a85f17", "UPDATED", SHOWN, 1, 200, SHOWN, NOW)])
    assert shown(entries, capsys).count(SHOWN) == 2
    happened = tables.chapters([Chapter("A chapter", [Row(NOW, "an event", 1, SHOWN, "UPDATED", [], SHOWN)])], 1000)
    console().print(happened)
    assert capsys.readouterr().out.count(SHOWN) == 2


def test_in_a_batch_of_messages(run: Run, tmp_path: Path) -> None:
    batch = tmp_path / "batch.json"
    body = json.dumps({"contactId": HOSTILE, "source": "operator"})
    batch.write_text(json.dumps({"Records": [{"messageId": HOSTILE, "body": body}]}), encoding="utf-8")

    done = run("invoke", str(batch), "--handler", "contact_queue", VOICECALL_SYNC_LOCAL=str(tmp_path / "local"))

    assert done.returncode == 0, done.stderr
    assert harmless(done.stdout + done.stderr)
    assert f"message {SHOWN}: done" in done.stderr
