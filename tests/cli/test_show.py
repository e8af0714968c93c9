"""``show``: a contact's story."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.conftest import DeployedStack, Operate
from tests.support.contacts import CUSTOMER, contact_event, new_id
from tests.support.sandbox import Sandbox
from tools.local.local_stack import LocalStack
from tools.local.misbehaviour import Answer

LONG_AGO = int(time.time()) - 7200


def test_the_whole_story_of_an_uncertain_contact(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, sandbox: Sandbox, finished: Callable[[str], str]
) -> None:
    contact_id = finished(new_id())
    stack.salesforce.next(Answer(500))
    sandbox.invoke(contact_event(contact_id))
    deployed.log(
        "flow",
        {"contactId": contact_id, "level": "ERROR", "message": "contact UNCERTAIN", "status": "UNCERTAIN"},
        {"contactId": new_id(), "message": "another contact's line"},
        "START RequestId: no JSON",
        {"contactId": contact_id, "message": "contact DUPLICATE", "differs": ["queue"], "number": CUSTOMER},
    )
    deployed.log(
        "reconcile",
        {"contactId": contact_id, "message": "came first", "source": "reconcile"},
        at=datetime.now(UTC) - timedelta(hours=1),
    )

    shown = operate("--stack", deployed.name, "show", contact_id)

    assert shown.status == 0
    assert max(map(len, shown.out.splitlines())) <= 80
    for told in ("UNCERTAIN", "contact-event", "Salesforce answered 500", "agentInteractionDuration", "500"):
        assert told in shown.out
    for command in ("close", "release"):
        assert f"voicecall-sync --stack {deployed.name} {command}" in shown.out
    story = shown.flat.partition("the oldest first")[2]
    assert story.index("came first") < story.index("contact UNCERTAIN") < story.index("contact DUPLICATE")
    assert "another contact's line" not in shown.out
    assert CUSTOMER not in shown.out


def test_what_a_waiting_contact_waits_for(operate: Operate, deployed: DeployedStack, put: Callable[..., str]) -> None:
    waits = {"attempts": 0, "scope": "all", "source": "reconcile", "firstSource": "contact-flow"}
    contact_id = put("NOT_APPLIED", **waits, backBy=LONG_AGO, failures=3, failedSince=LONG_AGO, metAt=LONG_AGO)

    shown = operate("--stack", deployed.name, "show", contact_id)
    report = operate("--stack", deployed.name, "show", contact_id, "--json").json

    at = f"{datetime.fromtimestamp(LONG_AGO, UTC):%Y-%m-%d %H:%M:%S}"
    for told in (f"first met {at}", f"message back by {at}", f"came back 3 times, since {at}", "found in scope all"):
        assert told in shown.flat
    assert "Contact queue: 0 ready" in shown.out
    record = report["record"]
    assert (record["failures"], record["scope"], record["firstSource"]) == (3, "all", "contact-flow")
    assert all(
        datetime.fromisoformat(record[name]).timestamp() == LONG_AGO for name in ("metAt", "backBy", "failedSince")
    )
    assert report["queues"]["deadLetters"]["ready"] == 0


def test_as_json(operate: Operate, deployed: DeployedStack, put: Callable[..., str]) -> None:
    contact_id = put("UPDATED", closedAt=LONG_AGO, closedBy="jane", httpStatus=200)

    report = operate("--stack", deployed.name, "show", contact_id, "--json").json

    assert report["record"]["state"] == "UPDATED"
    assert report["record"]["closedBy"] == "jane"
    assert report["record"]["properties"] == ["endTime", "queue"]
    assert datetime.fromisoformat(report["record"]["closedAt"]).timestamp() == LONG_AGO
    assert (report["log"], report["logComplete"]) == ([], True)


@pytest.mark.parametrize(
    ("state", "values"), [("UNCERTAIN", {"claimedAt": LONG_AGO}), ("CLAIMED", {"ownerUntil": LONG_AGO})]
)
def test_every_contact_perhaps_sent_is_shown_with_its_evidence(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], state: str, values: dict[str, object]
) -> None:
    contact_id = put(state, **values, releasedAt=LONG_AGO, releasedBy="jane")

    shown = operate("--stack", deployed.name, "show", contact_id)
    evidence = operate("--stack", deployed.name, "show", contact_id, "--json").json["evidence"]

    assert f"FROM VoiceCall WHERE VendorCallKey = '{contact_id}'" in shown.flat
    assert "One row has QueueName as they were sent, and CustomerHoldDuration and NumberOfHolds filled" in shown.flat
    assert "CallEndDateTime is never empty" in shown.flat
    assert "It was released before, at" in shown.flat
    assert max(map(len, shown.out.splitlines())) <= 80
    assert (evidence["compare"], set(evidence["provesNothing"])) == ({"QueueName": "queue"}, {"endTime"})
    assert evidence["queries"][0].endswith(f"VendorCallKey = '{contact_id}'")


@pytest.mark.parametrize(
    ("state", "values"),
    [("UPDATED", {}), ("REJECTED", {}), ("NOT_APPLIED", {}), ("CLAIMED", {"ownerUntil": int(time.time()) + 600})],
)
def test_nothing_is_looked_for_where_it_is_known(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], state: str, values: dict[str, object]
) -> None:
    contact_id = put(state, **values)

    assert "SELECT" not in operate("--stack", deployed.name, "show", contact_id).out
    assert operate("--stack", deployed.name, "show", contact_id, "--json").json["evidence"] is None


def test_a_contact_without_a_record(operate: Operate, deployed: DeployedStack) -> None:
    contact_id = new_id()
    deployed.log("flow", {"contactId": contact_id, "message": "contact RETRY_LATER", "status": "RETRY_LATER"})

    shown = operate("--stack", deployed.name, "show", contact_id)

    assert shown.status == 1
    assert f"The ledger has no record of {contact_id}" in shown.out
    assert f"voicecall-sync --stack {deployed.name} redrive --dry-run" in shown.flat
    assert f"backfill --contact {contact_id}" in shown.flat
    assert "contact RETRY_LATER" in shown.out


def test_the_log_is_searched_as_far_back_as_asked(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str]
) -> None:
    contact_id = put("UPDATED")
    line = {"contactId": contact_id, "message": "weeks ago"}
    deployed.log("flow", line, at=datetime.now(UTC) - timedelta(days=20))

    usual = operate("--stack", deployed.name, "show", contact_id)
    further = operate("--stack", deployed.name, "show", contact_id, "--since", "2020-01-01T00:00:00Z")

    assert "weeks ago" not in usual.out
    assert "weeks ago" in further.out


def test_what_an_operator_closed_is_not_shown_as_accepted(
    operate: Operate, deployed: DeployedStack, stack: LocalStack, sandbox: Sandbox, finished: Callable[[str], str]
) -> None:
    contact_id = finished(new_id())
    stack.salesforce.next(Answer(101, applied=True))
    sandbox.invoke(contact_event(contact_id))
    operate("--stack", deployed.name, "close", contact_id, "--yes")

    shown = operate("--stack", deployed.name, "show", contact_id)

    assert "root found the update in Salesforce and closed the contact" in shown.flat
    assert "accepted" not in shown.flat


CLOSED: list[tuple[dict[str, object], str]] = [
    ({"closedAt": LONG_AGO, "closedBy": "jane"}, "jane found the update in Salesforce"),
    ({"closedAt": LONG_AGO}, "An operator found the update in Salesforce"),
    ({"closedBy": "jane"}, "jane found the update in Salesforce"),
    ({"closedAt": "yesterday", "closedBy": 7}, "changed by hand"),
    ({"detail": "its claim expired: the invocation ended between claim and settle"}, "changed by hand"),
]


@pytest.mark.parametrize("status", [101, 301, None])
def test_who_closed_a_contact_is_read_and_not_guessed(
    operate: Operate, deployed: DeployedStack, put: Callable[..., str], status: int | None
) -> None:
    for closed, told in CLOSED:
        contact_id = put("UPDATED", **closed, **({"httpStatus": status} if status else {}))

        shown = operate("--stack", deployed.name, "show", contact_id)

        assert told in shown.flat, closed
        assert "Salesforce accepted" not in shown.flat


STATES: list[tuple[str, dict[str, object], str]] = [
    ("UPDATED", {"httpStatus": 200}, "Nothing to do"),
    ("UPDATED", {"httpStatus": 204}, "Nothing to do"),
    ("UPDATED", {"source": "contact-flow", "httpStatus": 200}, "if that was during the call"),
    ("CLAIMED", {"ownerUntil": int(time.time()) + 600}, "Look again after that"),
    ("CLAIMED", {"ownerUntil": LONG_AGO}, "ended between claim and settle"),
    ("NOT_APPLIED", {"retryAt": int(time.time()) + 600}, "it may be sent from"),
    ("NOT_APPLIED", {"retryAt": LONG_AGO, "backBy": int(time.time()) + 600}, "its message is back by"),
    ("NOT_APPLIED", {"backBy": LONG_AGO - 7200}, "the message is lost"),
    ("NOT_APPLIED", {"deadLetteredAt": LONG_AGO}, "it is not tried again by itself"),
    ("NOT_APPLIED", {"since": None, "open": None}, "It was ignored"),
    ("NOT_APPLIED", {"releasedAt": LONG_AGO, "releasedBy": "jane"}, "by jane"),
    ("REJECTED", {}, " release "),
    ("SOMETHING", {}, "the record was changed by hand"),
]


def test_each_state_is_explained(operate: Operate, deployed: DeployedStack, put: Callable[..., str]) -> None:
    for state, values, told in STATES:
        shown = operate("--stack", deployed.name, "show", put(state, **values))

        assert told.strip() in shown.flat, (state, values)
