"""``backfill``: window by window, as far as it goes, and an honest account of it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from rich.console import Console

from tests.contacts import STARTED, abandoned, new_id
from tests.operate.conftest import PACED_HANDLERS, DeployedStack, Operate
from tests.sandbox import PATIENT_CALLS
from tools.local.misbehaviour import Answer
from tools.local.stack import LocalStack
from tools.operate import backfill
from tools.operate.command_line import parsed
from tools.operate.dead_letters import DeadLetters
from tools.operate.log_lines import LogLines
from tools.operate.target import Answer as Answered
from voicecall_sync.table import Table

FAST = {"RECONCILE_SEARCHES_PER_SECOND": "1000", "RECONCILE_DESCRIBES_PER_SECOND": "1000"}
BEGAN = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=4)
"""The day on which the contacts ended, at 09:35: one that is over, as windows end where now is."""
DATE, NEXT_DATE = (f"{day:%Y-%m-%d}" for day in (BEGAN, BEGAN + timedelta(days=1)))
DAY = ("--from", f"{DATE}T00:00:00Z", "--to", f"{NEXT_DATE}T00:00:00Z", "--scope", "abandoned")


@pytest.fixture
def hung_up(stack: LocalStack) -> Callable[[str], str]:
    """Lets Connect know of a call abandoned on that day, and returns its id."""
    later = BEGAN - STARTED.replace(hour=0, minute=0)

    def put(contact_id: str) -> str:
        contact = abandoned(contact_id)
        queue = contact["QueueInfo"]
        changes = {name: contact[name] + later for name in ("InitiationTimestamp", "DisconnectTimestamp")}
        changes["QueueInfo"] = {**queue, "EnqueueTimestamp": queue["EnqueueTimestamp"] + later}
        stack.connect.put_contact({**contact, **changes})
        return contact_id

    return put


# ------------------------------------------------------------------------------------ through the deployed function


def test_a_span_is_worked_off(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, hung_up: Callable[[str], str]
) -> None:
    contacts = [hung_up(new_id()) for _ in range(3)]
    deployed.deploy(FAST)
    words = ("--stack", deployed.name, "backfill", *DAY, "--window-hours", "6", "--json")

    tried = operate(*words, "--dry-run")
    before = [stack.state(contact_id) for contact_id in contacts]
    done = operate(*words)
    again = operate(*words)

    assert [run.status for run in (tried, done, again)] == [0, 0, 0]
    assert before == [None, None, None]
    assert [window["would"] for window in tried.json["windows"]] == [{}, {"update": 3}, {}, {}]
    assert [window["outcomes"] for window in done.json["windows"]] == [{}, {"UPDATED": 3}, {}, {}]
    assert [window["skipped"] for window in again.json["windows"]] == [0, 3, 0, 0]
    assert done.json["complete"] is True
    assert [stack.salesforce.applied(contact_id) for contact_id in contacts] == [1, 1, 1]


def test_its_table_fits_the_terminal(operate: Operate, deployed: DeployedStack, hung_up: Callable[[str], str]) -> None:
    hung_up(new_id())
    deployed.deploy(FAST)

    done = operate("--stack", deployed.name, "backfill", *DAY, "--window-hours", "12")

    assert "Contacts in the scope: abandoned" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    [row] = [line.split() for line in done.out.splitlines() if line.startswith(f"{DATE} 00:00")]
    assert row == [DATE, "00:00", "1", "1", "0", "0", "UPDATED", "1", "0"]
    assert [line.split()[:4] for line in done.out.splitlines() if line.startswith("2 windows")] == [
        ["2", "windows", "2", "1"]
    ]


def test_a_window_is_asked_for_until_nothing_of_it_is_left(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, hung_up: Callable[[str], str]
) -> None:
    contacts = [hung_up(new_id()) for _ in range(8)]
    # Less than half of a run's minute is for calling Connect, every seven seconds.
    deployed.deploy(
        {**FAST, **PATIENT_CALLS, "RECONCILE_DESCRIBES_PER_SECOND": "0.15", "RECONCILE_CONCURRENCY": "1"},
        handlers=PACED_HANDLERS,
        seconds=60,
    )

    done = operate("--stack", deployed.name, "backfill", *DAY, "--json")

    [window] = done.json["windows"]
    assert done.status == 0, done.out
    assert window["runs"] > 1
    assert window["outcomes"] == {"UPDATED": 8}
    assert (window["leftOver"], window["finished"]) == (0, True)
    assert [stack.salesforce.applied(contact_id) for contact_id in contacts] == [1] * 8


def test_a_broken_salesforce_ends_it(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, hung_up: Callable[[str], str]
) -> None:
    contact_id = hung_up(new_id())
    stack.salesforce.next(Answer(401))
    deployed.deploy(FAST)

    done = operate("--stack", deployed.name, "backfill", *DAY, "--window-hours", "12")

    assert done.status == 1
    assert "Salesforce refused the token (401)" in done.flat
    assert "not begun: 1 windows. The same command carries on." in done.flat
    assert f"{contact_id} RETRY_LATER: Salesforce answered 401" in done.flat


def test_what_lies_before_the_first_day_is_not_touched_and_that_is_said(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, hung_up: Callable[[str], str]
) -> None:
    contact_id = hung_up(new_id())
    deployed.deploy({**FAST, "RECONCILE_NOT_BEFORE": f"{DATE}T10:00:00Z"})

    done = operate("--stack", deployed.name, "backfill", *DAY, "--window-hours", "8")

    assert done.status == 0
    assert f"00:00 to {DATE} 08:00: not searched: all of it is before RECONCILE_NOT_BEFORE" in done.flat
    assert f"searched from {DATE} 10:00:00 (RECONCILE_NOT_BEFORE, or where an earlier run left off)" in done.flat
    assert stack.state(contact_id) is None


def test_a_function_that_is_not_there(operate: Operate, deployed: DeployedStack) -> None:
    refused = operate("--stack", deployed.name, "backfill", *DAY)

    assert refused.status == 2
    assert refused.err == "AWS failed at Invoke: ResourceNotFoundException\n"


def test_a_function_that_raises(operate: Operate, deployed: DeployedStack) -> None:
    deployed.deploy({"RECONCILE_SCOPE": "everything"})

    done = operate("--stack", deployed.name, "backfill", *DAY)

    assert done.status == 1
    assert "Traceback" not in done.out + done.err


# ------------------------------------------------------------------------------------ what the function may answer


class Scripted:
    """A target whose reconciliation answers as written."""

    title, options, reconciles_by_itself = "a script", (), True

    def __init__(self, table: Table, answers: Iterator[Mapping[str, Any] | str]) -> None:
        self.table = table
        self.asked: list[Mapping[str, object]] = []
        self._answers = answers

    def reconcile(self, request: Mapping[str, object]) -> Answered:
        self.asked.append(request)
        answer = next(self._answers)
        if answer == "Ctrl-C":
            raise KeyboardInterrupt
        if answer == "signed out":
            raise ClientError({"Error": {"Code": "ExpiredTokenException", "Message": ""}}, "Invoke")
        return Answered({}, answer) if isinstance(answer, str) else Answered(answer)

    def update(self, event: str) -> Answered:
        raise NotImplementedError

    def dead_letters(self) -> DeadLetters:
        raise NotImplementedError

    def log_lines(self, contact_id: str, since: datetime) -> LogLines:
        raise NotImplementedError

    def operator(self) -> str:
        raise NotImplementedError


def answer(**values: object) -> dict[str, Any]:
    return {
        "window": None,
        "scope": "all",
        "found": 0,
        "handedOn": 0,
        "skipped": 0,
        "outcomes": {},
        "retried": 0,
        "leftOver": 0,
        "left": {"contactIds": [], "window": None},
        "stopped": None,
        "needsALook": False,
        "contacts": [],
        **values,
    }


def left_off(at: str, left: int, **values: object) -> dict[str, Any]:
    window = {"from": at, "to": f"{NEXT_DATE}T00:00:00+00:00"}
    return answer(
        leftOver=left, left={"contactIds": [], "window": window}, stopped="the time of this run is used up", **values
    )


Script = Callable[..., tuple[int, Scripted, str]]


@pytest.fixture
def script(stack: LocalStack, capsys: pytest.CaptureFixture[str]) -> Script:
    """Runs a backfill of the day against answers; gives its exit status, what was asked for, and what it said."""

    def run(*answers: Mapping[str, Any] | str, options: Sequence[str] = ()) -> tuple[int, Scripted, str]:
        target = Scripted(Table(boto3.client("dynamodb"), stack.table), iter(answers))
        status = backfill.run(parsed(["backfill", *DAY, *options]), target, Console(width=80))
        said = capsys.readouterr()
        return status, target, " ".join((said.out + said.err).split())

    return run


def test_the_same_window_is_asked_for_again(script: Script) -> None:
    status, target, _ = script(
        left_off(f"{DATE}T06:00:00+00:00", 5, outcomes={"UPDATED": 7}),
        left_off(f"{DATE}T06:00:00+00:00", 3, outcomes={"UPDATED": 2}),
        answer(outcomes={"UPDATED": 3}),
    )

    assert status == 0
    assert (
        target.asked
        == [{"from": f"{DATE}T00:00:00+00:00", "to": f"{NEXT_DATE}T00:00:00+00:00", "scope": "abandoned"}] * 3
    )


def test_a_window_that_is_left_without_contacts_known_is_not_finished(script: Script) -> None:
    status, target, _ = script(left_off(f"{DATE}T06:00:00+00:00", 0), answer())

    assert (status, len(target.asked)) == (0, 2)


def test_a_dry_run_carries_on_where_it_left_off(script: Script) -> None:
    _, target, _ = script(
        left_off(f"{DATE}T06:00:00+00:00", 5, would={"update": 7}),
        answer(would={"update": 5}),
        options=["--dry-run"],
    )

    assert [request["from"] for request in target.asked] == [f"{DATE}T00:00:00+00:00", f"{DATE}T06:00:00+00:00"]
    assert all(request["dryRun"] for request in target.asked)


def test_a_window_that_does_not_get_on_is_left_and_the_others_are_not(script: Script) -> None:
    status, target, said = script(
        left_off(f"{DATE}T00:00:00+00:00", 5, outcomes={"RETRY_LATER": 5}),
        answer(),
        options=["--window-hours", "12"],
    )

    assert (status, len(target.asked)) == (1, 2)
    assert f"{DATE} 00:00 to {DATE} 12:00: it does not get on" in said


@pytest.mark.parametrize("failure", ["Sandbox.Timedout", "no answer came (ReadTimeoutError): it may still be running"])
def test_a_run_without_an_answer_ends_it(script: Script, failure: str) -> None:
    status, target, said = script(answer(), failure, options=["--window-hours", "8"])

    assert (status, len(target.asked)) == (1, 2)
    assert failure in said
    assert "not begun: 1 windows" in said


def test_an_answer_we_do_not_know_ends_it(script: Script) -> None:
    status, _, said = script({"errorMessage": "something"})

    assert status == 1
    assert "its answer is none that we know (KeyError)" in said


def test_interrupted(script: Script) -> None:
    status, _, said = script(answer(), "Ctrl-C", options=["--window-hours", "8"])

    assert status == 130
    assert "the same command carries on" in said


def test_credentials_that_run_out_do_not_take_the_account_with_them(
    script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ClientError):
        script(answer(outcomes={"UPDATED": 7}), "signed out", options=["--window-hours", "8"])

    assert "UPDATED 7" in capsys.readouterr().out


def test_what_went_through_later_is_no_failure(script: Script, put: Callable[..., str]) -> None:
    cured, waiting = put("UPDATED"), put("NOT_APPLIED")
    failures = [
        {"contactId": contact_id, "status": "RETRY_LATER", "detail": "Salesforce answered 429"}
        for contact_id in (cured, waiting)
    ]

    status, _, said = script(answer(outcomes={"RETRY_LATER": 2}, contacts=failures))

    assert status == 1
    assert "Not updated: 1" in said
    assert waiting in said
    assert cured not in said


def test_the_windows_end_where_now_is(script: Script) -> None:
    start = datetime.now(UTC) - timedelta(hours=30)
    options = ["--from", start.isoformat(), "--to", (start + timedelta(days=9)).isoformat()]

    _, target, _ = script(answer(), answer(), options=options)

    assert len(target.asked) == 2
    assert json.loads(json.dumps(target.asked[1]))["from"] == (start + timedelta(hours=24)).isoformat()


# ------------------------------------------------------------------------------------------------------- locally


def test_locally_the_examples_are_found_on_any_day(locally: Operate) -> None:
    yesterday, tomorrow = (f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%dT00:00:00Z}" for days in (-1, 1))
    span = ("--from", yesterday, "--to", tomorrow, "--scope", "all", "--dry-run")

    tried = locally("operate", "--local", "backfill", *span, "--json")

    assert tried.status == 0, tried.err
    assert sum(window["found"] for window in tried.json["windows"]) == 7
