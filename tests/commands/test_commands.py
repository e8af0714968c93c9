"""The commands `invoke` and `stack`, as a user meets them."""

import json
import re
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
import requests

from tests.commands.conftest import Run
from tools import invoke
from tools.local.local_stack import ROOT

COMPLETED = "events/contact-event-completed.json"


def applied(salesforce: str, contact: str) -> list[int]:
    """How many PATCHes a call got, by the beginning of its id."""
    calls = requests.get(f"{salesforce}/simulator/voiceCalls", timeout=5).json()
    return [call["applied"] for call in calls if call["call_id"].startswith(contact)]


def test_invoke_without_a_stack_starts_one_of_its_own(run_seen_listening: Run, tmp_path: Path) -> None:
    done = run_seen_listening("invoke", COMPLETED, VOICECALL_SYNC_LOCAL=str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "status": "UPDATED",
        "contactId": "c3a85f17-6e2d-4b9c-8d41-0f1e2d3c4b5a",
        "detail": "Salesforce answered 200",
    }
    assert '"message":"contact UPDATED"' in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_invoke_uses_a_stack_that_can_be_told_to_fail(run: Run, running_stack: str) -> None:
    failure = {"behaviour": "Answer", "status": 429}
    requests.post(f"{running_stack}/simulator/next", json=failure, timeout=5).raise_for_status()

    failed, cured, again = (run("invoke", COMPLETED) for _ in range(3))

    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.splitlines()[-1] == "raised: RETRY_LATER: Salesforce answered 429"
    assert [json.loads(done.stdout)["status"] for done in (cured, again)] == ["UPDATED", "DUPLICATE"]
    assert applied(running_stack, "c3a85f17") == [1]


def test_a_stacks_worker_takes_messages(run: Run, running_stack: str, environment: dict[str, str]) -> None:
    """What fails comes back when Salesforce says; where the worker logs, other invocations do."""
    failure = {"behaviour": "Answer", "status": 429, "headers": {"Retry-After": "1"}}
    requests.post(f"{running_stack}/simulator/next", json=failure, timeout=5).raise_for_status()

    sent = run("invoke", "events/contact-event-callback.json", "--to-queue")

    assert (sent.returncode, sent.stdout) == (0, ""), sent.stderr
    log = Path(environment["VOICECALL_SYNC_LOCAL"], "log.jsonl")
    wanted = [("RETRY_LATER", "contact-event"), ("UPDATED", "contact-event")]
    ends = time.monotonic() + 30
    while time.monotonic() < ends and outcomes(log, "4b20d59f") != wanted:  # its last line comes after the update
        time.sleep(0.1)
    assert outcomes(log, "4b20d59f") == wanted
    assert applied(running_stack, "4b20d59f") == [1]


def outcomes(log: Path, contact: str) -> list[tuple[str, str]]:
    """The contact's outcomes in the log, each with its source, without an unfinished line."""
    whole = log.read_text(encoding="utf-8").rpartition("\n")[0]
    lines = [json.loads(line) for line in whole.splitlines()]
    return [
        (line["status"], line["source"])
        for line in lines
        if line.get("contactId", "").startswith(contact) and line["message"].startswith("contact ")
    ]


def test_a_stacks_queue_holds_a_message_back_for_seconds(environment: dict[str, str], running_stack: str) -> None:
    assert running_stack
    kept = Path(environment["VOICECALL_SYNC_LOCAL"], "env.json").read_text(encoding="utf-8")
    settings = json.loads(kept)["ContactQueueFunction"]
    sqs = boto3.client(
        "sqs", "us-east-1", endpoint_url=settings["AWS_ENDPOINT_URL"], aws_access_key_id="a", aws_secret_access_key="b"
    )
    attributes = sqs.get_queue_attributes(QueueUrl=settings["CONTACT_QUEUE_URL"], AttributeNames=["All"])["Attributes"]

    assert (attributes["DelaySeconds"], attributes["VisibilityTimeout"]) == ("5", "360")
    assert "RedrivePolicy" in attributes


def test_invoke_says_what_the_answer_about_a_message_means(run: Run, running_stack: str) -> None:
    failure = {"behaviour": "Answer", "status": 429}
    requests.post(f"{running_stack}/simulator/next", json=failure, timeout=5).raise_for_status()

    failed, cured = (run("invoke", "events/contact-queue-operator.json") for _ in range(2))

    message = "message 6f0f9d3e-2c41-4c7a-9a55-3d2b1c0e9f02"
    contact = "contact d4b96e28-7f3e-4cad-9e52-1a2b3c4d5e6f"
    assert (failed.returncode, cured.returncode) == (0, 0)
    assert len(json.loads(failed.stdout)["batchItemFailures"]) == 1
    assert failed.stderr.splitlines()[-1] == (
        f"{message}: comes back; {contact}: NOT_APPLIED (it waits), Salesforce answered 429"
    )
    assert json.loads(cured.stdout) == {"batchItemFailures": []}
    assert cured.stderr.splitlines()[-1] == (
        f"{message}: done, SQS deletes it; {contact}: UPDATED, Salesforce answered 200"
    )


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Gives what `invoke` says to wrong arguments, where no stack runs."""
    monkeypatch.setenv("VOICECALL_SYNC_LOCAL", str(tmp_path))

    def complaint(*arguments: str) -> str:
        with pytest.raises(SystemExit, match="2"):
            invoke.main(arguments)
        return capsys.readouterr().err

    return complaint


def test_to_queue_needs_a_running_stack(refused: Callable[..., str]) -> None:
    assert "start `python3 -m tools stack`" in refused(COMPLETED, "--to-queue")


def test_a_stack_writes_its_settings_for_sam(running_stack: str, environment: dict[str, str]) -> None:
    settings = json.loads(Path(environment["VOICECALL_SYNC_LOCAL"], "env.json").read_text(encoding="utf-8"))

    assert settings.keys() == {"UpdateVoiceCallFunction", "ContactQueueFunction", "ReconcileFunction"}
    assert {variables["SCRT_ENDPOINT_BASE"] for variables in settings.values()} == {running_stack}


def test_no_key_is_in_the_files_of_a_stack(running_stack: str, environment: dict[str, str]) -> None:
    assert running_stack
    files = [path for path in Path(environment["VOICECALL_SYNC_LOCAL"]).rglob("*") if path.is_file()]
    assert files
    assert [path.name for path in files if b"PRIVATE KEY" in path.read_bytes()] == []


def test_a_stack_keeps_the_events_of_its_contacts_for_sam(running_stack: str, environment: dict[str, str]) -> None:
    """Moved by the same time as the contacts it holds, whenever it was started; `sam local invoke -e` takes a file."""
    assert running_stack
    kept = Path(environment["VOICECALL_SYNC_LOCAL"], "events")
    event, contacts = (
        json.loads((kept / f"{name}.json").read_text()) for name in ("contact-event-completed", "contacts")
    )
    detail = event["detail"]
    (contact,) = [one for one in contacts["contacts"] if one["Id"] == detail["contactId"]]

    assert {path.name for path in kept.iterdir()} == {path.name for path in (ROOT / "events").glob("*.json")}
    assert timedelta(0) < datetime.now(UTC) - datetime.fromisoformat(event["time"]) < timedelta(days=1)
    assert datetime.fromisoformat(detail["disconnectTimestamp"]) == datetime.fromisoformat(
        contact["DisconnectTimestamp"]
    )


def test_invoke_ignores_a_killed_stack_and_the_developers_settings(run: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = f"http://127.0.0.1:{closed.getsockname()[1]}"
    (tmp_path / "env.json").write_text(json.dumps({"UpdateVoiceCallFunction": {"SCRT_ENDPOINT_BASE": gone}}))
    own = {
        "AWS_PROFILE": "production",
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:9",
        "TELEPHONY_PROVIDER_NAME": "another",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }

    done = run("invoke", COMPLETED, VOICECALL_SYNC_LOCAL=str(tmp_path), **own)

    assert json.loads(done.stdout)["status"] == "UPDATED", done.stderr


def test_invoke_says_what_is_wrong_with_a_file(refused: Callable[..., str], tmp_path: Path) -> None:
    no_json = tmp_path / "event.json"
    no_json.write_text("{")

    assert "nowhere.json: No such file" in refused("nowhere.json")
    assert f"{no_json} holds no JSON" in refused(str(no_json))


def test_stack_names_the_port_that_is_taken(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        refused = run("stack", f"--aws-port={port}")

    assert refused.returncode == 2
    assert re.fullmatch(rf"port {port} cannot be used .*--aws-port\n", refused.stderr)


def test_commands_are_listed(run: Run) -> None:
    listed = run("__main__")

    assert listed.returncode == 0
    for name in ("demo", "invoke", "stack", "test", "check"):
        assert re.search(rf"^  {name} +\w", listed.stdout, re.MULTILINE)
        assert (ROOT / "tools" / f"{name}.py").exists()
