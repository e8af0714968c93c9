"""``release`` and ``close``: only what may be, only when asked for, and only if nothing changed meanwhile."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from tests.cli.conftest import DeployedStack, Operate, Working
from tests.support.contacts import contact_event, described, new_id
from tests.support.sandbox import Sandbox
from tools.local.gateway import Fault
from tools.local.local_stack import ROOT, LocalStack
from tools.local.misbehaviour import Answer

NOW = int(time.time())


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


# --------------------------------------------------------------------------------------------------- one contact


def test_the_page_on_operating_has_both_commands() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert all(f"\nvoicecall-sync {command} CONTACT\n" in page for command in ("release", "close"))


def test_a_released_contact_is_sent_once_more(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, sandbox: Sandbox, finished: Callable[[str], str]
) -> None:
    contact_id = finished(new_id())
    stack.salesforce.next(Answer(500))
    sandbox.invoke(contact_event(contact_id))

    done = operate("--stack", deployed.name, "release", contact_id, typed="yes\n")

    assert done.status == 0
    for told in ("totalHoldDuration, numberOfHolds and agentInteractionDuration", "becomes zero", "closes the conv"):
        assert told in done.flat
    assert f"released and enqueued {contact_id}" in done.flat
    [message] = stack.queue.messages
    assert message.json == {"contactId": contact_id, "source": "operator"}
    assert message.visible_at <= datetime.now(UTC)
    assert sandbox.invoke(contact_event(contact_id)).status == "UPDATED"
    record = stack.record(contact_id)
    assert record is not None
    assert (record["attempts"], record["releasedBy"]) == ({"N": "2"}, {"S": "root"})  # MiniStack's caller


def test_a_refused_contact_is_released_without_a_warning(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, sandbox: Sandbox, finished: Callable[[str], str]
) -> None:
    contact_id = finished(new_id())
    stack.salesforce.next(Answer(400))
    sandbox.invoke(contact_event(contact_id))

    done = operate("--stack", deployed.name, "release", contact_id, typed="yes\n")

    assert "Its last attempt applied nothing. Releasing it allows one more." in done.flat
    for warning in ("second update", "overwrites", "VoiceCalls", "released before"):
        assert warning not in done.flat
    assert sandbox.invoke(contact_event(contact_id)).status == "UPDATED"


def test_a_refused_contact_that_was_released_before_is_warned_of(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, sandbox: Sandbox, finished: Callable[[str], str]
) -> None:
    """The first update may have been applied; the second, released by hand, was refused."""
    contact_id = finished(new_id())
    stack.salesforce.next(Answer(500, applied=True))
    sandbox.invoke(contact_event(contact_id))
    operate("--stack", deployed.name, "release", contact_id, "--yes")
    stack.salesforce.next(Answer(400))
    sandbox.invoke(contact_event(contact_id))
    assert stack.state(contact_id) == "REJECTED"

    shown = operate("--stack", deployed.name, "show", contact_id)
    asked = operate("--stack", deployed.name, "release", contact_id, typed="no\n")

    for said in (shown, asked):
        assert "It was released before, at 2" in said.flat
        assert "UTC by root. It was first met at 2" in said.flat
        assert "attempts so far: 2. The record does not say how the attempts before the release ended" in said.flat
    assert f"FROM VoiceCall WHERE VendorCallKey = '{contact_id}'" in asked.flat
    assert "It may be a second update. A second update overwrites totalHoldDuration" in asked.flat


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"releasedBy": "jane"}, "at an unknown time by jane"),
        ({"releasedAt": NOW}, "UTC by an operator"),
        ({"releasedAt": "yesterday", "releasedBy": 7}, "at an unknown time by an operator"),
    ],
)
def test_a_release_that_is_only_half_noted_counts(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], values: dict[str, object], told: str
) -> None:
    done = operate("--stack", deployed.name, "release", put("REJECTED", **values), typed="no\n")

    assert told in done.flat
    assert "second update" in done.flat


CARRIED_BY_A_FLOW = ["fromNumber", "queue", "callAttributes", "isActiveCall"]


def test_what_an_uncertain_update_of_mid_call_leaves_in_salesforce(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str]
) -> None:
    """It never carried an end time or a disconnect reason: who missed them sent the contact a second time."""
    contact_id = put("UNCERTAIN", source="contact-flow", properties=CARRIED_BY_A_FLOW)

    shown = operate("--stack", deployed.name, "show", contact_id)
    released = operate("--stack", deployed.name, "release", contact_id, typed="no\n")
    closed = operate("--stack", deployed.name, "close", contact_id, typed="no\n")

    for said in (shown, released, closed):
        assert f"SystemModstamp, QueueName FROM VoiceCall WHERE VendorCallKey = '{contact_id}'" in said.flat
        assert not {"CallEndDateTime", "DisconnectReason", "endTime"} & set(said.flat.replace(",", " ").split())
        for old in ("end time", "disconnect reason"):
            assert old not in said.flat + said.err
    assert "in QueueName and custom fields, or does the log say" in closed.err
    assert "Close it only if: One row has QueueName and custom fields as they were sent" in closed.flat
    assert "Release it only if: Hours after" in released.flat
    assert "It may be a second update." in released.flat
    for command in ("close", "release"):
        assert f"{command} it: voicecall-sync --stack {deployed.name} {command} {contact_id}" in shown.flat


def test_closed(operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack) -> None:
    """The question names what the finished call carried."""
    contact_id = put("UNCERTAIN", properties=["endTime", "disconnectReason", "enqueueTime"])

    done = operate("--stack", deployed.name, "close", contact_id, typed="yes\n")

    assert done.status == 0
    assert "have what was sent in CallQueuedDateTime and DisconnectReason, or does the log" in done.err
    assert "endTime CallEndDateTime is never empty" in done.flat
    record = stack.record(contact_id)
    assert record is not None
    assert (record["state"], record["closedBy"]) == ({"S": "UPDATED"}, {"S": "root"})
    assert "open" not in record
    assert operate("--stack", deployed.name, "attention").status == 0


@pytest.mark.parametrize("typed", ["no\n", "\n", "", "YES please\n"])
@pytest.mark.parametrize("command", ["release", "close"])
def test_nothing_is_done_without_a_yes(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack, command: str, typed: str
) -> None:
    contact_id = put("UNCERTAIN")
    before = stack.record(contact_id)

    done = operate("--stack", deployed.name, command, contact_id, typed=typed)

    assert done.status == 1
    assert done.out.endswith("Nothing was changed.\n")
    assert stack.record(contact_id) == before


@pytest.mark.parametrize(
    ("command", "state"),
    [
        *(("release", state) for state in (None, "UPDATED", "CLAIMED", "SOMETHING")),
        *(("close", state) for state in (None, "UPDATED", "CLAIMED", "NOT_APPLIED", "REJECTED", "SOMETHING")),
    ],
)
def test_other_states_are_refused(
    operate: Operate,
    deployed: DeployedStack,
    put: Callable[..., str],
    stack: LocalStack,
    command: str,
    state: str | None,
) -> None:
    contact_id = put(state) if state else new_id()
    before = stack.record(contact_id)

    done = operate("--stack", deployed.name, command, contact_id, "--yes")

    assert done.status == 1
    why = f"contacts can be {command}d. Nothing was changed." if state else "nothing was ever sent for it"
    assert why in done.flat
    assert stack.record(contact_id) == before


@pytest.mark.parametrize("command", ["release", "close"])
def test_a_contact_that_moved_on_while_it_was_shown(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack, command: str
) -> None:
    contact_id = put("UNCERTAIN")

    def settle_late(operation: str) -> None:
        if operation == "UpdateItem":
            stack.dynamodb.update_item(
                TableName=stack.table,
                Key={"contactId": {"S": contact_id}},
                UpdateExpression="SET #state = :updated",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={":updated": {"S": "UPDATED"}},
            )

    stack.gateway.before = settle_late

    done = operate("--stack", deployed.name, command, contact_id, "--yes")

    assert done.status == 1
    assert "It has moved on while it was shown: now UPDATED" in done.flat
    record = stack.record(contact_id)
    assert record is not None
    assert not {"releasedBy", "closedBy"} & record.keys()


@pytest.mark.parametrize("values", [{}, {"deadLetteredAt": NOW - 60}, {"backBy": NOW + 3600, "failures": 4}])
def test_what_waits_is_enqueued_again_and_its_record_notes_that(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack, values: dict[str, object]
) -> None:
    contact_id = put("NOT_APPLIED", **values)
    before, started = stack.record(contact_id), time.time()

    done = operate("--stack", deployed.name, "release", contact_id, typed="yes\n")

    assert done.status == 0
    assert "It gets a new message; its record notes that it was named." in done.flat
    assert ("you may wait for that" in done.flat) == ("backBy" in values)
    assert ("Its old message stays in the dead-letter queue" in done.flat) == ("deadLetteredAt" in values)
    assert [message.json["contactId"] for message in stack.queue.messages] == [contact_id]
    assert before is not None
    after = stack.record(contact_id)
    assert after is not None
    assert started + 359 < float(after["backBy"]["N"]) < time.time() + 361
    assert {**after, "backBy": None} == {**before, "backBy": None, "namedAt": after["namedAt"]}


@pytest.mark.parametrize(
    ("state", "values", "told"),
    [
        ("UNCERTAIN", {}, "The ledger has the release, but no message was sent. The reconciliation sends a message"),
        ("NOT_APPLIED", {}, "No message was sent. The reconciliation sends a message once"),
        ("NOT_APPLIED", {"deadLetteredAt": NOW - 60}, "No message was sent. Or run the same command again"),
    ],
)
def test_a_queue_that_fails_after_the_ledger_was_written(
    operate: Operate,
    deployed: DeployedStack,
    put: Callable[..., str],
    stack: LocalStack,
    state: str,
    values: dict[str, object],
    told: str,
) -> None:
    contact_id = put(state, **values)
    stack.gateway.fail("SendMessage", Fault.REFUSED)

    done = operate("--stack", deployed.name, "release", contact_id, "--yes")
    stack.gateway.heal()
    again = operate("--stack", deployed.name, "release", contact_id, "--yes")

    assert (done.status, again.status) == (1, 0)
    assert "the contact queue failed at send" in done.flat
    assert told in done.flat
    assert stack.state(contact_id) == "NOT_APPLIED"
    assert len(stack.queue.messages) == 1


# --------------------------------------------------------------------------------------------- watched for a while


@dataclass(frozen=True)
class Watched:
    """A contact that is released and watched.

    Attributes:
        state, values: Its record before.
        answer: Salesforce's; None for the usual one.
        status, slept, said: What the command ends with.
    """

    state: str
    values: Mapping[str, object]
    answer: Answer | None
    status: int
    slept: int
    said: Sequence[str]


DEAD = {"attempts": 0, "failures": 40, "deadLetteredAt": NOW - 60}
SENT = ["UPDATED: Salesforce answered 200"]
REFUSED = ["REJECTED: Salesforce answered 400", "voicecall-sync --stack STACK show CONTACT"]
BUSY = Answer(429, headers=(("Retry-After", "900"),))
PUT_OFF = [
    "NOT_APPLIED: Salesforce answered 429",
    "It waits: Salesforce answered 429",
    "It may be sent from 2",
    "Its message is back by 2",
]
WATCHED = {
    "sent": Watched("UNCERTAIN", {}, None, 0, 1, SENT),
    "dead-lettered": Watched("NOT_APPLIED", DEAD, None, 0, 1, SENT),
    "refused again": Watched("REJECTED", {}, Answer(400), 1, 1, REFUSED),
    "put off": Watched("REJECTED", {}, BUSY, 1, 60, PUT_OFF),  # two minutes
}


@pytest.mark.parametrize("watched", WATCHED.values(), ids=WATCHED)
def test_released_and_watched(
    operate: Operate,
    deployed: DeployedStack,
    stack: LocalStack,
    finished: Callable[[str], str],
    put: Callable[..., str],
    working: Working,
    watched: Watched,
) -> None:
    contact_id = finished(put(watched.state, **watched.values))
    if watched.answer:
        stack.salesforce.next(watched.answer)

    done = operate("--stack", deployed.name, "release", contact_id, "--yes", "--now")

    assert (done.status, working.slept) == (watched.status, watched.slept)
    for said in watched.said:
        assert said.replace("STACK", deployed.name).replace("CONTACT", contact_id) in f"{done.flat} {done.err}"
    assert stack.salesforce.applied(contact_id) == (1 if watched.said is SENT else 0)
    assert operate("--stack", deployed.name, "attention").status == (1 if watched.said is REFUSED else 0)


def test_released_while_the_worker_is_idle(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack, working: Working
) -> None:
    contact_id = put("REJECTED")
    working.idle = True

    done = operate("--stack", deployed.name, "release", contact_id, "--yes", "--now")

    assert done.status == 1
    assert "The worker has not looked at it yet: it is paused, or other messages come first." in done.flat
    assert "Contact queue: 1 ready" in done.flat
    assert stack.state(contact_id) == "NOT_APPLIED"


def test_enqueued_again_and_ignored(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack, working: Working
) -> None:
    """A chat, as Connect describes it."""
    contact_id = put("NOT_APPLIED")
    stack.connect.put_contact({**described(contact_id), "Channel": "CHAT"})

    done = operate("--stack", deployed.name, "release", contact_id, "--yes", "--now")

    assert (done.status, working.slept) == (1, 1)
    assert "IGNORED: " in done.out
    assert "It was ignored" in operate("--stack", deployed.name, "show", contact_id).flat


def test_watching_is_interrupted(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack, working: Working
) -> None:
    contact_id = put("REJECTED")
    working.interrupted = True

    done = operate("--stack", deployed.name, "release", contact_id, "--yes", "--now")

    assert done.status == 130
    assert "The contact goes on by itself" in done.err
    assert len(stack.queue.messages) == 1


# --------------------------------------------------------------------------------------------------- many contacts


def test_many_are_released_by_what_they_have_in_common(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack
) -> None:
    wanted = {put("REJECTED", httpStatus=400, since=NOW - 100) for _ in range(23)}
    others = {
        put("REJECTED", httpStatus=403, since=NOW - 100),
        put("REJECTED", httpStatus=400, since=NOW - 1000),
        put("REJECTED", httpStatus=400, since=NOW),
        put("UNCERTAIN", httpStatus=400, since=NOW - 100),
    }
    words = ("release", "--state", "REJECTED", "--http-status", "400", "--since", iso(NOW - 500), "--until", iso(NOW))

    tried = operate("--stack", deployed.name, *words, "--dry-run")
    before = {stack.state(contact_id) for contact_id in wanted}
    done = operate("--stack", deployed.name, *words, typed="yes\n")

    assert (tried.status, done.status) == (0, 0)
    for said in (tried, done):
        assert "Contacts that match: 23" in said.out
        assert sum(contact_id in said.out for contact_id in wanted) == 20
        assert "…and 3 more" in said.out
    assert before == {"REJECTED"}
    assert "released 23; skipped, because they moved on meanwhile: 0" in done.out
    assert {message.json["contactId"] for message in stack.queue.messages} == wanted
    assert {stack.state(contact_id) for contact_id in wanted} == {"NOT_APPLIED"}
    assert {stack.state(contact_id) for contact_id in others} == {"REJECTED", "UNCERTAIN"}


@pytest.mark.parametrize(("typed", "state"), [("yes\n", "UNCERTAIN"), ("3\n", "UNCERTAIN"), ("2\n", "NOT_APPLIED")])
def test_a_whole_state_is_released_only_by_its_number(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack, typed: str, state: str
) -> None:
    contacts = [put("UNCERTAIN") for _ in range(2)]

    done = operate("--stack", deployed.name, "release", "--state", "UNCERTAIN", typed=typed)

    assert "Type 2 to go on" in done.err
    assert {stack.state(contact_id) for contact_id in contacts} == {state}


def test_those_that_moved_on_are_counted(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], stack: LocalStack
) -> None:
    first, second = put("UNCERTAIN", since=NOW), put("UNCERTAIN", since=NOW - 1)

    def release_the_second(operation: str) -> None:
        if operation == "UpdateItem":
            stack.gateway.before = None
            operate("--stack", deployed.name, "release", second, "--yes")

    stack.gateway.before = release_the_second
    done = operate("--stack", deployed.name, "release", "--state", "UNCERTAIN", "--yes")

    assert "released 1; skipped, because they moved on meanwhile: 1" in done.out
    assert {stack.state(contact_id) for contact_id in (first, second)} == {"NOT_APPLIED"}


@pytest.mark.parametrize("state", ["UNCERTAIN", "REJECTED"])
@pytest.mark.parametrize("before", [0, 2])
def test_releasing_many_warns_of_updates_that_may_be_applied(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], state: str, before: int
) -> None:
    for _ in range(before):
        put(state, releasedAt=NOW - 60, releasedBy="jane")
    put(state)

    tried = operate("--stack", deployed.name, "release", "--state", state, "--dry-run")
    asked = operate("--stack", deployed.name, "release", "--state", state, typed="no\n")

    for done in (tried, asked):
        assert (f"Released before: {before}." in done.flat) == (before > 0)
        assert ("It may be a second update." in done.flat) == (before > 0 or state == "UNCERTAIN")
        assert ("The last attempt of each applied nothing." in done.flat) == (state == "REJECTED")
        assert (f"voicecall-sync --stack {deployed.name} show CONTACT" in done.flat) == (state == "UNCERTAIN")


def test_none_match(operate: Operate, deployed: DeployedStack) -> None:
    done = operate("--stack", deployed.name, "release", "--state", "REJECTED")

    assert (done.status, done.out) == (0, "No contact matches. Nothing was changed.\n")
