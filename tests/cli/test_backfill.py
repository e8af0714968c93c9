"""``backfill``: a span of time as far as it goes, what became of it, and an honest account of both."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from rich.console import Console

from tests.cli.conftest import DeployedStack, Operate, Working
from tests.support.contacts import STARTED, abandoned, new_id
from tools.local.local_stack import LocalStack
from tools.local.misbehaviour import Answer
from voicecall_cli import backfill
from voicecall_cli.command_line import parsed
from voicecall_cli.log_lines import LogLines
from voicecall_cli.queues import Queues
from voicecall_cli.target import Answer as Answered
from voicecall_sync.ledger.table import Table
from voicecall_sync.queue.api import ContactQueue

if TYPE_CHECKING:
    from types_boto3_connect import ConnectClient

FAST = {"RECONCILE_SEARCHES_PER_SECOND": "1000"}
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


def test_a_span_is_found_enqueued_and_processed(
    operate: Operate,
    deployed: DeployedStack,
    stack: LocalStack,
    hung_up: Callable[[str], str],
    working: Working,
) -> None:
    contacts = [hung_up(new_id()) for _ in range(3)]
    deployed.deploy(FAST)
    words = ("--stack", deployed.name, "backfill", *DAY)

    tried = operate(*words, "--dry-run")
    before = [stack.state(contact_id) for contact_id in contacts]
    done = operate(*words)
    again = operate(*words, "--json")

    assert [run.status for run in (tried, done, again)] == [0, 0, 0], done.out
    assert before == [None, None, None]
    assert "Would be enqueued: 3. Nothing was written or sent." in tried.out
    assert all(contact_id in tried.out for contact_id in contacts)
    assert f"Searched: {DATE} 00:00 to {NEXT_DATE} 00:00 UTC, scope abandoned" in done.flat
    assert "found 3, of these known 0 and enqueued 3; gone on as another contact 0" in done.flat
    assert "updated, or ignored: 3" in done.out
    assert max(map(len, (tried.out + done.out).splitlines())) <= 80
    assert (again.json["known"], again.json["enqueued"], again.json["became"]) == (3, 0, None)
    assert [stack.salesforce.applied(contact_id) for contact_id in contacts] == [1, 1, 1]
    assert working.slept == 1


def test_what_needs_a_person_and_what_waits(
    operate: Operate,
    deployed: DeployedStack,
    stack: LocalStack,
    hung_up: Callable[[str], str],
    put: Callable[..., str],
    working: Working,
) -> None:
    contacts = [hung_up(new_id()) for _ in range(3)]
    other = put("UNCERTAIN")
    for status in (400, 429):
        stack.salesforce.next(Answer(status))
    deployed.deploy(FAST)

    done = operate("--stack", deployed.name, "backfill", *DAY)

    assert done.status == 1
    for told in (
        "NOT_APPLIED: 1",
        "REJECTED: 1",
        "updated, or ignored: 1",
        "Tried again by themselves",
        "1 need a person",
    ):
        assert told in done.flat
    assert sum(contact_id in done.out for contact_id in contacts) == 2
    assert other not in done.out
    assert f"voicecall-sync --stack {deployed.name} attention" in done.flat
    assert working.slept == 1


def test_an_idle_worker_leaves_contacts_enqueued(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, hung_up: Callable[[str], str], working: Working
) -> None:
    hung_up(new_id())
    deployed.deploy(FAST)
    working.idle = True

    done = operate("--stack", deployed.name, "backfill", *DAY, "--follow", "1")

    assert done.status == 0
    assert working.slept == 12  # one minute
    assert "Not looked at yet: 1. Contact queue: 1 ready" in done.flat
    assert len(stack.queue.messages) == 1


def test_a_paused_worker_is_not_waited_for(
    operate: Operate, deployed: DeployedStack, hung_up: Callable[[str], str], working: Working
) -> None:
    hung_up(new_id())
    deployed.deploy({**FAST, "RECONCILE_PAUSED": "true"})

    done = operate("--stack", deployed.name, "backfill", *DAY)

    assert (done.status, working.slept) == (1, 0)
    assert "The worker is paused (parameter Paused)" in done.flat


def test_calls_before_the_first_day_are_skipped_with_a_note(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, hung_up: Callable[[str], str]
) -> None:
    contact_id = hung_up(new_id())
    deployed.deploy({**FAST, "RECONCILE_NOT_BEFORE": f"{DATE}T10:00:00Z"})

    done = operate("--stack", deployed.name, "backfill", *DAY)

    assert done.status == 0
    assert f"Nothing before {DATE} 10:00 UTC: RECONCILE_NOT_BEFORE bars it." in done.flat
    assert stack.state(contact_id) is None


def test_contacts_by_name(
    operate: Operate,
    deployed: DeployedStack,
    stack: LocalStack,
    hung_up: Callable[[str], str],
    put: Callable[..., str],
    working: Working,
) -> None:
    unknown, waits, sent, refused = hung_up(new_id()), hung_up(put("NOT_APPLIED")), put("UPDATED"), put("REJECTED")
    deployed.deploy(FAST)
    words = [word for contact_id in (unknown, waits, sent, refused) for word in ("--contact", contact_id)]

    tried = operate("--stack", deployed.name, "backfill", *words, "--dry-run")
    before = stack.state(unknown)
    done = operate("--stack", deployed.name, "backfill", *words)
    good = operate("--stack", deployed.name, "backfill", *words[:6], "--json")

    assert (tried.status, before, done.status, good.status) == (1, None, 1, 0)
    assert tried.out.count("dry run") == 2
    for told in ("already UPDATED", "already REJECTED", "UPDATED: 3", "REJECTED: 1", "1 need a person"):
        assert told in done.flat
    assert good.json["became"]["states"] == {"UPDATED": 3}
    assert [stack.salesforce.applied(contact_id) for contact_id in (unknown, waits)] == [1, 1]
    assert working.slept == 1


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

    title, command, reconciles_by_itself = "a script", ("voicecall-sync",), True

    def __init__(self, stack: LocalStack, answers: Iterator[Mapping[str, Any] | str]) -> None:
        self.table = Table(boto3.client("dynamodb"), stack.table)
        self.queue = ContactQueue(lambda: stack.sqs, stack.queue.url)
        self.queues = Queues(stack.sqs, stack.queue.url, stack.dead_letters.url, lambda _: None)
        self.asked: list[Mapping[str, Any]] = []
        self._answers = answers

    @property
    def connect(self) -> "ConnectClient":
        raise NotImplementedError

    def variables(self) -> Mapping[str, str]:
        raise NotImplementedError

    def reconcile(self, request: Mapping[str, object]) -> Answered:
        self.asked.append(request)
        answer = next(self._answers)
        if answer == "Ctrl-C":
            raise KeyboardInterrupt
        if answer == "signed out":
            raise ClientError({"Error": {"Code": "ExpiredTokenException", "Message": ""}}, "Invoke")
        if isinstance(answer, str):
            return Answered({}, answer)
        window = {"from": request["from"], "to": request["to"]}
        return Answered({"window": window, "through": request["to"], **answer})

    def log_lines(self, contact_id: str, since: datetime) -> LogLines:
        raise NotImplementedError

    def operator(self) -> str:
        raise NotImplementedError


def answer(**values: object) -> dict[str, Any]:
    return {
        "scope": "all",
        "paused": False,
        "found": 0,
        "known": 0,
        "enqueued": 0,
        "handedOn": 0,
        "stopped": None,
        "needsALook": False,
        "contacts": [],
        **values,
    }


def came_to(through: str, **values: object) -> dict[str, Any]:
    return answer(through=through, stopped="the time of this run is used up; the next one goes on", **values)


Script = Callable[..., tuple[int, Scripted, str]]


@pytest.fixture
def script(stack: LocalStack, capsys: pytest.CaptureFixture[str]) -> Script:
    """Runs a backfill of the day against answers; gives its exit status, what was asked for, and what it said."""

    def run(*answers: Mapping[str, Any] | str, options: Sequence[str] = ()) -> tuple[int, Scripted, str]:
        target = Scripted(stack, iter(answers))
        status = backfill.run(parsed(["backfill", *DAY, *options]), target, Console(width=80))
        said = capsys.readouterr()
        return status, target, " ".join((said.out + said.err).split())

    return run


def spans(target: Scripted) -> list[tuple[str, str]]:
    """What was asked for: hours and minutes of the day, 24:00 for its end."""
    return [
        (one["from"][11:16], "24:00" if one["to"].startswith(NEXT_DATE) else one["to"][11:16]) for one in target.asked
    ]


def test_it_goes_on_from_where_a_run_came_to(script: Script) -> None:
    status, target, said = script(
        came_to(f"{DATE}T06:00:00+00:00", found=5, known=3),
        came_to(f"{DATE}T06:30:00+00:00", found=2, known=1),
        answer(found=1, known=1),
    )

    assert status == 0
    assert spans(target) == [("00:00", "24:00"), ("06:00", "24:00"), ("06:30", "24:00")]
    assert all(request["scope"] == "abandoned" for request in target.asked)
    assert "found 8, of these known 5" in said


def test_after_a_run_without_progress_the_span_is_halved(script: Script) -> None:
    _, target, _ = script(
        came_to(f"{DATE}T00:00:00+00:00"),
        came_to(f"{DATE}T00:00:00+00:00"),
        answer(),
        answer(),
        answer(),
    )

    assert spans(target) == [
        ("00:00", "24:00"),
        ("00:00", "12:00"),
        ("00:00", "06:00"),
        ("06:00", "18:00"),
        ("18:00", "24:00"),
    ]


def test_a_minute_too_full_for_a_run_ends_the_backfill(script: Script) -> None:
    status, target, said = script(*[came_to(f"{DATE}T00:00:00+00:00")] * 12)

    assert (status, len(target.asked)) == (1, 12)
    assert spans(target)[-1] == ("00:00", "00:01")
    assert "do not fit into one run" in said
    assert f"Not searched: {DATE} 00:00 to {NEXT_DATE} 00:00 UTC." in said


def test_a_function_with_a_late_clock_ends_the_backfill(script: Script) -> None:
    window = {"from": f"{DATE}T00:00:00+00:00", "to": f"{DATE}T23:59:58+00:00"}

    status, target, _ = script(answer(window=window, through=window["to"]))

    assert (status, len(target.asked)) == (0, 1)


def test_a_long_span_is_asked_for_by_the_day(script: Script) -> None:
    start = datetime.now(UTC) - timedelta(hours=30)
    options = ["--from", start.isoformat(), "--to", (start + timedelta(days=9)).isoformat()]

    _, target, _ = script(answer(), answer(), options=options)

    assert [request["from"] for request in target.asked] == [
        (start + timedelta(hours=hours)).isoformat() for hours in (0, 24)
    ]


def test_a_dry_run_lists(script: Script) -> None:
    contacts = [{"contactId": new_id(), "status": "dry run", "detail": "would be enqueued"} for _ in range(25)]

    status, target, said = script(answer(found=30, known=5, contacts=contacts), options=["--dry-run"])

    assert status == 0
    assert target.asked[0]["dryRun"] is True
    assert "Would be enqueued: 25." in said
    assert sum(contact["contactId"] in said for contact in contacts) == 20
    assert "…and 5 more" in said


UNTIL_SIX = came_to(f"{DATE}T06:00:00+00:00")
TIMED_OUT = "no answer came (ReadTimeoutError): it may still be running"
FAILED = answer(through=f"{DATE}T06:00:00+00:00", stopped="Amazon Connect failed at a search", needsALook=True)
UNREADABLE = "its answer cannot be read"


@pytest.mark.parametrize(
    ("last", "status", "said", "searched_to"),
    [
        ([UNTIL_SIX, "Sandbox.Timedout"], 1, "Stopped: Sandbox.Timedout", "06:00"),
        ([UNTIL_SIX, TIMED_OUT], 1, f"Stopped: {TIMED_OUT}", "06:00"),
        ([UNTIL_SIX, "Ctrl-C"], 130, "interrupted", "06:00"),
        ([FAILED], 1, "Stopped: Amazon Connect failed at a search", "06:00"),
        ([{"errorMessage": "something", "through": None}], 1, UNREADABLE, "00:00"),
        ([answer(through=None)], 1, UNREADABLE, "00:00"),
        ([{**answer(window=None), "through": None}], 1, UNREADABLE, "00:00"),
    ],
    ids=["time-out", "no answer", "Ctrl-C", "needs a look", "an error", "no end", "no window"],
)
def test_what_ends_it(
    script: Script, last: list[Mapping[str, Any] | str], status: int, said: str, searched_to: str
) -> None:
    ended, target, words = script(*last)

    assert (ended, len(target.asked)) == (status, len(last))
    assert said in words
    assert f"Not searched: {DATE} {searched_to} to {NEXT_DATE} 00:00 UTC. The same command goes on" in words


def test_interrupted_while_the_queue_empties(script: Script, stack: LocalStack, working: Working) -> None:
    stack.queue.send("a message", delay=0)
    working.interrupted = True

    status, _, said = script(answer(found=2, enqueued=2))

    assert status == 130
    assert "found 2, of these known 0 and enqueued 2" in said
    assert "the same command goes on" in said


def test_after_credentials_expire_the_account_is_still_shown(
    script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ClientError):
        script(came_to(f"{DATE}T06:00:00+00:00", found=7), "signed out")

    assert "found 7" in capsys.readouterr().out
