"""``preview``: what would become of a contact, and that nothing becomes of it by looking."""

import ast
import os
import pty
import re
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import voicecall_sync
from tests.cli.conftest import DeployedStack, Done, Operate
from tests.support.contacts import CUSTOMER, RECORDING, SECRET_VALUE, STARTED, SYSTEM, described, new_id
from tests.support.missed import answered, ended, put, table
from tools.local.local_stack import ROOT, LocalStack
from voicecall_cli import preview as command
from voicecall_cli.command_line import main

READS = re.compile(r"/|GetItem|Describe\w+|SearchContacts|.*/configuration")
NOW = int(time.time())
LATER = NOW + 3000
WAITS = {"attempts": 0, "backBy": LATER, "settledAt": None}
FOUND = {**WAITS, "source": "reconcile", "firstSource": "reconcile"}
MISSED = {**WAITS, "source": "reconcile", "firstSource": "reconcile", "scope": "abandoned"}
ESC = "\x1b"
OPTED_OUT: dict[str, Any] = {"Attributes": {"NoVoiceCallSync": "yes"}}
VOICEMAIL: dict[str, Any] = {"Attributes": {"vm_flag": "true"}}
CLOSED = {"open": None, "since": None, "detail": "no call"}
AT = f"{datetime.fromtimestamp(LATER, UTC):%Y-%m-%d %H:%M:%S}"
BACK = f"its message is back by {AT} UTC at the latest"
LOST = "its message is lost, and the next reconciliation sends another"
NO, OTHERWISE = "would not be sent:", "otherwise would be sent"


def told(stack: LocalStack, known: str = "", /, **changes: Any) -> str:
    """Let Connect know of an answered call, and return its id."""
    contact_id = known or new_id()
    stack.connect.put_contact(described(contact_id, **changes))
    return contact_id


class Preview:
    """Previews contacts of a deployed stack, and asserts each time that looking changed nothing."""

    def __init__(self, operate: Operate, deployed: DeployedStack, stack: LocalStack) -> None:
        self._operate, self._deployed, self._stack = operate, deployed, stack

    def __call__(self, *words: str) -> Done:
        before = table(self._stack), self._stack.queue.messages, self._stack.salesforce.received
        self._stack.gateway.heal()
        done = self._operate("--stack", self._deployed.name, "preview", *words)
        assert (table(self._stack), self._stack.queue.messages, self._stack.salesforce.received) == before
        assert [call for call in self._stack.gateway.calls if not READS.fullmatch(call)] == []
        return done

    def of(self, *words: str, **changes: Any) -> Done:
        return self(told(self._stack, **changes), *words)

    def told(self) -> dict[str, str]:
        """What would become of all contacts of the day on which they ended."""
        day = STARTED.replace(hour=0, minute=0)
        span = "--from", day.isoformat(), "--to", (day + timedelta(days=1)).isoformat()
        done = self(*span, "--scope", "all", "--json")
        assert (done.status, done.json["problem"]) == (0, None)
        return {one["contactId"]: _said(one["verdict"]) for one in done.json["contacts"]}

    def span(self, *words: str, hours: int = 5) -> Done:
        end = datetime.now(UTC)
        return self("--from", (end - timedelta(hours=hours)).isoformat(), "--to", end.isoformat(), *words)


def _said(verdict: dict[str, Any]) -> str:
    otherwise = f"; otherwise {verdict['otherwise']['sent']}" if verdict["otherwise"] else ""
    return f"{verdict['sent']}: {verdict['detail']}{otherwise}"


@pytest.fixture
def variables(request: pytest.FixtureRequest) -> dict[str, str]:
    """What is set of the deployed functions beside the usual; see `deployed_with`."""
    return getattr(request, "param", {})


@pytest.fixture
def preview(
    operate: Operate,
    deployed: DeployedStack,
    stack: LocalStack,
    variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Preview:
    monkeypatch.setattr(command, "DESCRIBED_PER_SECOND", 1000)  # this Amazon Connect has no quota
    deployed.configure(variables)
    return Preview(operate, deployed, stack)


def deployed_with(**variables: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("variables", [variables], indirect=True, ids=["deployed"])


# ------------------------------------------------------------------------------------------------------ one contact


def test_what_would_be_sent_without_a_value_of_it(preview: Preview) -> None:
    shown = preview.of()

    assert (shown.status, shown.err) == (0, "")
    assert "record none: judged as if its contact event came now" in shown.flat
    assert "update would be sent: an event's message is looked at 90 seconds after the event" in shown.flat
    for line in ("startTime string", "totalHoldDuration number", "isActiveCall boolean", "disconnectReason object"):
        assert line in shown.flat
    assert "custom field JSON type" in shown.flat
    assert "Age__c number" in shown.flat
    assert "Tier__c string" in shown.flat
    assert "Attributes that fill no custom field: internal" in shown.out
    assert "Nothing was claimed, written or sent." in shown.out
    assert max(map(len, shown.out.splitlines()[:-2])) <= 80
    for value in (CUSTOMER, SYSTEM, SECRET_VALUE, "Support", "jane", "call.wav", "CUSTOMER_DISCONNECT"):
        assert value not in shown.out


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"InitiationMethod": "MONITOR"}, "its initiation method is not in INITIATION_METHODS: MONITOR"),
        ({"Channel": "CHAT"}, "not a voice contact (Contact.Channel)"),
    ],
)
def test_what_no_search_finds(preview: Preview, changes: dict[str, Any], why: str) -> None:
    assert f"update would not be sent: {why}" in preview.of(**changes).flat


def test_a_contact_that_is_not_finished(preview: Preview) -> None:
    shown = preview.of(DisconnectTimestamp=None)

    assert shown.status == 0
    assert "update not yet: Amazon Connect does not describe the contact as finished yet" in shown.flat


def test_why_not_and_when(preview: Preview, stack: LocalStack) -> None:
    no_recording: dict[str, Any] = {"Recordings": None, "AgentInfo": None}
    expected = {
        told(stack, **OPTED_OUT): "would not be sent: it has the attribute of OPT_OUT_ATTRIBUTE",
        told(stack, **VOICEMAIL): "would not be sent: a voicemail: Salesforce's packager updates it",
        told(
            stack, **VOICEMAIL, **no_recording
        ): "would be sent: an event's message is looked at 90 seconds after the event",
    }

    assert preview.told() == expected


def test_a_voicemail_whose_recording_may_still_come(preview: Preview, stack: LocalStack) -> None:
    shown = preview(*put(stack, ended(1, **VOICEMAIL)))

    why = "it has the attribute of VOICEMAIL_ATTRIBUTE, and no recording yet"
    assert re.search(rf"update not yet: {why}; looked at again at \S+ \S+ UTC", shown.flat)


def test_what_is_still_to_come(preview: Preview, stack: LocalStack, put: Callable[..., str]) -> None:
    """Without an event after-contact work may go on; with one, the recording alone is waited for."""
    agent: dict[str, Any] = {**described("x")["AgentInfo"], "ConnectedToAgentTimestamp": datetime.now(UTC)}
    wraps_up = {**ended(2, AgentInfo=agent, Recordings=[RECORDING]), "Id": put("NOT_APPLIED", **FOUND)}
    told_of = {**ended(6, AgentInfo=agent), "Id": put("NOT_APPLIED", **WAITS, completedAt=int(time.time()) - 100)}
    unmet = ended(2, AgentInfo=agent, Recordings=[RECORDING])
    stack.connect.put_contacts([wraps_up, told_of, unmet])

    said = [preview(one["Id"]).flat for one in (wraps_up, told_of, unmet)]

    assert f"update not yet: after-contact work may still go on; {BACK}; looked at again at" in said[0]
    assert f"update not yet: the recording may still come; {BACK}; looked at again at" in said[1]
    assert "after the event; after-contact work may still go on, and the event comes when it is over" in said[2]


@deployed_with(RECORDING_WAIT_MINUTES="0")
def test_a_recording_that_is_not_waited_for(preview: Preview, stack: LocalStack) -> None:
    assert "update would be sent" in preview(*put(stack, answered(1))).flat


@deployed_with(RECONCILE_NOT_BEFORE="2999-01-01T00:00:00Z")
def test_a_contact_before_the_first_day_gets_a_second_verdict(
    preview: Preview, stack: LocalStack, put: Callable[..., str]
) -> None:
    early = "would not be sent: it ended before RECONCILE_NOT_BEFORE: not ours to update"
    released = {"source": "operator", "releasedAt": NOW, "releasedBy": "jane"}
    expected = {
        told(stack): f"{early}; otherwise would be sent",
        told(stack, **OPTED_OUT): f"{early}; otherwise would not be sent",
        told(stack, put("NOT_APPLIED", **WAITS, namedAt=NOW), **OPTED_OUT): f"{early}; otherwise would be sent",
        told(stack, put("NOT_APPLIED", **{**WAITS, **released}), **OPTED_OUT): f"would be sent: {BACK}",
    }

    assert preview.told() == expected


@deployed_with(INITIATION_METHODS="MONITOR", OPT_OUT_ATTRIBUTE="campaign", CUSTOM_FIELDS='{"language": "Language__c"}')
def test_the_settings_are_those_of_the_deployed_functions(preview: Preview) -> None:
    shown = preview.of(InitiationMethod="MONITOR", Attributes={"Language": "de", "NoVoiceCallSync": "yes"})

    assert "update would be sent" in shown.flat
    assert "Language__c string" in shown.flat


@deployed_with(RECONCILE_PAUSED="true")
def test_a_paused_worker_is_named(preview: Preview) -> None:
    assert "The worker is paused (parameter Paused)" in preview.of().flat
    assert "paused" not in preview.of(**OPTED_OUT).flat


# -------------------------------------------------------------------------------------------------- with its record


def test_what_a_record_says_goes_before(preview: Preview, stack: LocalStack, put: Callable[..., str]) -> None:
    dead = {"deadLetteredAt": NOW, "detail": "not tried any further"}
    records: list[tuple[str, dict[str, Any], str]] = [
        ("UPDATED", {"httpStatus": 200}, f"{NO} its record says UPDATED"),
        ("UPDATED", {"source": "contact-flow"}, f"{NO} its record says UPDATED by a contact flow"),
        ("UNCERTAIN", {}, f"{NO} its record says UNCERTAIN"),
        ("REJECTED", {"httpStatus": 400}, f"{NO} its record says REJECTED, HTTP 400"),
        ("CLAIMED", {"ownerUntil": LATER}, f"{NO} its record says CLAIMED"),
        ("CLAIMED", {"ownerUntil": NOW - 3000}, f"{NO} its record says CLAIMED, and its claim expired"),
        ("EDITED", {}, f"{NO} its record's state is unknown, because the record was changed by hand"),
        ("NOT_APPLIED", WAITS, f"would be sent: {BACK}"),
        ("NOT_APPLIED", {**WAITS, "retryAt": LATER}, f"not yet: {BACK}"),
        ("NOT_APPLIED", {**WAITS, "backBy": NOW - 9000}, f"would be sent: {LOST}"),
        (
            "NOT_APPLIED",
            {**WAITS, **CLOSED},
            f"{NO} its record says that it was ignored: no call; otherwise would be sent",
        ),
        (
            "NOT_APPLIED",
            {**WAITS, **dead},
            f"{NO} its message is in the dead-letter queue: {dead['detail']}; {OTHERWISE}",
        ),
        ("NOT_APPLIED", MISSED, f"{NO} not missed: it was connected to an agent"),
    ]
    expected = {told(stack, put(state, **values)): why for state, values, why in records}

    assert preview.told() == expected


def test_when_a_contact_is_due(preview: Preview, stack: LocalStack, put: Callable[..., str]) -> None:
    contact_id = told(stack, put("NOT_APPLIED", **WAITS, retryAt=LATER))

    shown = preview(contact_id)

    assert f"update not yet: {BACK}; looked at again at {AT} UTC" in shown.flat
    assert re.search(rf"voicecall-sync --stack \S+ show {contact_id}", shown.flat)


def test_who_asked_for_a_contact_is_read_from_its_record(
    preview: Preview, stack: LocalStack, put: Callable[..., str]
) -> None:
    opted_out = "would not be sent: it has the attribute of OPT_OUT_ATTRIBUTE"
    sources = {"operator": f"would be sent: {BACK}", "contact-flow": opted_out, "contact-event": opted_out}
    waiting = {source: put("NOT_APPLIED", **WAITS, firstSource=source) for source in sources}
    expected = {told(stack, waiting[source], **OPTED_OUT): why for source, why in sources.items()}
    by_flow = told(stack, put("NOT_APPLIED", **WAITS, firstSource="contact-flow"), InitiationMethod="MONITOR")
    named = told(stack, put("NOT_APPLIED", **WAITS, namedAt=NOW), InitiationMethod="MONITOR", **OPTED_OUT)

    assert preview.told() == expected
    assert all(f"update would be sent: {BACK}" in preview(contact_id).flat for contact_id in (by_flow, named))


# --------------------------------------------------------------------------------- what is left out, what is lacking


def test_what_is_left_out_and_what_is_lacking_are_named(preview: Preview) -> None:
    attributes = {"age": "forty", "sfdc-OwnerId": "005", "callOrigin": "elsewhere"}

    shown = preview.of(Attributes=attributes, Recordings=None, SystemEndpoint=None, QueueInfo={"Id": "gone"})

    for line in (
        "age attribute not a number",
        "sfdc-OwnerId attribute not a custom field",
        "callOrigin property one of Preview",
        "totalHoldDuration property no recordingLocation",
        "queue property Amazon Connect has no name for it any more",
        "No custom field is filled.",
        "Salesforce does not create it. It would need: toNumber",
    ):
        assert line in shown.flat
    assert "forty" not in shown.out


def test_as_json(preview: Preview) -> None:
    said = preview.of("--json", Attributes={"age": "41", f"sfdc-{ESC}": "x", "sfdc-Tier__c": SECRET_VALUE})

    assert said.json["verdict"]["sent"] == "would be sent"
    assert (said.json["state"], said.json["method"], said.json["paused"]) == (None, "INBOUND", False)
    assert said.json["customFields"] == {"Age__c": "number", "Tier__c": "string"}
    assert said.json["properties"]["disconnectReason"] == "object"
    assert list(said.json["leftOut"]) == [f"sfdc-{ESC}"]
    assert ESC not in said.out
    for value in (CUSTOMER, SECRET_VALUE, "Support"):
        assert value not in said.out


# ------------------------------------------------------------------------------------------------------ the values


@pytest.fixture
def on_a_terminal(
    stack: LocalStack,  # noqa: ARG001 - it has set the environment
    deployed: DeployedStack,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., tuple[int, str]]:
    """Runs a command whose standard output is a terminal; gives its exit status and what the terminal got."""
    deployed.configure()
    monkeypatch.setenv("TERM", "dumb")  # so that rich itself writes no escape sequence
    monkeypatch.setenv("COLUMNS", "80")

    def run(*words: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        got: list[bytes] = []
        reader = threading.Thread(target=_read_all, args=(ours, got))
        reader.start()
        with monkeypatch.context() as patched, os.fdopen(theirs, "w", encoding="utf-8") as terminal:
            patched.setattr(sys, "stdout", terminal)
            status = main(["--stack", deployed.name, "preview", *words])
        reader.join()
        os.close(ours)
        return status, b"".join(got).decode()

    return run


def _read_all(terminal: int, got: list[bytes]) -> None:
    try:
        while block := os.read(terminal, 4096):
            got.append(block)
    except OSError:  # the other end was closed
        return


def test_values_on_the_operators_own_terminal(
    on_a_terminal: Callable[..., tuple[int, str]], finished: Callable[[str], str]
) -> None:
    status, shown = on_a_terminal(finished(new_id()), "--values")

    flat = " ".join(shown.split())
    assert status == 0
    for line in (
        f'fromNumber string "{CUSTOMER}"',
        'queue string "Support"',
        "Age__c number 41",
        f'Tier__c string "{SECRET_VALUE}"',
        '{"value": "CUSTOMER_DISCONNECT", "isError": false}',
    ):
        assert line in flat


def test_no_values_unless_asked_for(
    on_a_terminal: Callable[..., tuple[int, str]], finished: Callable[[str], str]
) -> None:
    assert CUSTOMER not in on_a_terminal(finished(new_id()))[1]


def test_text_from_outside_is_escaped_for_the_terminal(
    on_a_terminal: Callable[..., tuple[int, str]], stack: LocalStack
) -> None:
    hostile = f"{ESC}[2J{ESC}]0;title\x07"
    attributes = {
        f"sfdc-{hostile}__c": "left out",
        hostile: "of no field",
        "sfdc-Markup__c": "[bold red]x[/]",
        "sfdc-Order__c": "a\u202eb\nc",
        "sfdc-Escape__c": hostile,
    }
    [contact_id] = put(stack, described(new_id(), Attributes=attributes, InitiationMethod=f"NEW{ESC}[2J"))

    _, shown = on_a_terminal(contact_id, "--values")

    assert [one for one in shown if not one.isprintable() and one not in "\r\n"] == []
    flat = " ".join(shown.split())
    assert 'Markup__c string "[bold red]x[/]"' in flat
    assert r'Order__c string "a\u202eb\nc"' in flat
    assert r"sfdc-\x1b[2J\x1b]0;title\x07__c attribute" in flat
    assert "sfdc-Escape__c attribute not valid text" in flat
    assert r"method NEW\x1b[2J" in flat


def test_values_go_into_no_pipe(operate: Operate, stack: LocalStack, finished: Callable[[str], str]) -> None:
    contact_id = finished(new_id())
    stack.gateway.heal()

    refused = operate("preview", contact_id, "--values")

    assert (refused.status, refused.out) == (2, "")
    assert "--values needs your own terminal as standard output" in refused.err
    assert stack.gateway.calls == []


# -------------------------------------------------------------------------------------------------- a span of time


def test_the_first_contacts_of_a_span(preview: Preview, stack: LocalStack, put: Callable[..., str]) -> None:
    known = answered(80)
    known["Id"] = put("UPDATED")
    stack.connect.put_contacts([known, answered(70, **OPTED_OUT), ended(60), ended(50, Attributes={"age": "old"})])

    shown = preview.span("--scope", "all")

    assert shown.status == 0
    assert max(map(len, shown.out.splitlines()[:-2])) <= 80
    assert known["Id"] in shown.out
    for told in (
        "scope all",
        "INBOUND: would not be sent: its record says UPDATED",
        "INBOUND: would not be sent: it has the attribute of OPT_OUT_ATTRIBUTE",
        "INBOUND: would be sent",
        "Looked at 4: would be sent 2; would not be sent 2",
    ):
        assert told in shown.flat


@deployed_with(RECONCILE_SCOPE="none")
def test_a_span_has_every_contact_where_no_scope_is_set(preview: Preview, stack: LocalStack) -> None:
    taken, missed, _ = put(stack, answered(80), ended(60), ended(600))

    everything = preview.span("--json").json
    abandoned = preview.span("--scope", "abandoned", "--json").json

    assert (everything["scope"], everything["more"]) == ("all", False)
    assert [one["contactId"] for one in everything["contacts"]] == [taken, missed]
    assert [one["contactId"] for one in abandoned["contacts"]] == [missed]


def test_no_more_than_the_first_are_looked_at(preview: Preview, stack: LocalStack) -> None:
    contacts = put(stack, *(ended(minutes) for minutes in (200, 130, 60)))

    shown = preview.span("--first", "2")

    assert [one for one in contacts if one in shown.out] == contacts[:2]
    assert "There may be more: these are the first 2" in shown.flat
    assert stack.gateway.calls.count("DescribeContact") == 2


def test_a_span_without_contacts(preview: Preview) -> None:
    shown = preview.span()

    assert shown.status == 0
    assert "Looked at 0" in shown.out


# ------------------------------------------------------------------------------------------- what cannot be answered


def test_a_contact_that_connect_does_not_know(preview: Preview) -> None:
    shown = preview(new_id())

    assert shown.status == 1
    assert "update cannot be told: Amazon Connect does not know this contact" in shown.flat


def test_a_search_that_fails(preview: Preview, stack: LocalStack) -> None:
    stack.connect.fail_next("SearchContacts", "InternalServiceException", 500, times=10)

    shown = preview.span()

    assert shown.status == 1
    assert "Stopped: Amazon Connect failed at SearchContacts: InternalServiceException" in shown.flat


def test_one_contact_of_a_span_that_cannot_be_described(preview: Preview, stack: LocalStack) -> None:
    put(stack, ended(80), ended(60))
    stack.connect.fail_next("DescribeContact", "InvalidParameterException", 400)

    shown = preview.span()

    assert shown.status == 1
    assert "Looked at 2: would be sent 1; cannot be told 1" in shown.flat


def test_a_right_that_the_operator_lacks(preview: Preview, stack: LocalStack) -> None:
    stack.connect.fail_next("DescribeUser", "AccessDeniedException", 403)

    refused = preview.of()

    assert (refused.status, refused.out) == (2, "")
    assert re.fullmatch(r"Amazon Connect failed at DescribeUser: AccessDeniedException: [^\n]+\n", refused.err)


@deployed_with(CUSTOM_FIELDS="{")
def test_settings_that_are_wrong(preview: Preview) -> None:
    refused = preview.of()

    assert (refused.status, refused.out) == (2, "")
    assert "are wrong: CUSTOM_FIELDS must be a JSON object" in refused.err


def test_functions_that_are_not_there(operate: Operate, deployed: DeployedStack) -> None:
    refused = operate("--stack", deployed.name, "preview", new_id())

    assert (refused.status, refused.err) == (2, "AWS failed at GetFunctionConfiguration: ResourceNotFoundException\n")


# ------------------------------------------------------------------------------------------------------ what it needs


def test_a_preview_needs_nothing_that_sends() -> None:
    """So that it can be installed without what signs and logs."""
    package = Path(voicecall_sync.__file__).parent
    command = ROOT / "src" / "voicecall_cli"
    todo = {name for one in ("preview", "outlook", "finding") for name in imported(command / f"{one}.py")}
    found: set[str] = set()
    while todo:
        name = todo.pop()
        found.add(name)
        todo |= imported(package / f"{name}.py") - found

    assert {"salesforce/voice_call", "connect/api", "connect/search"} <= found
    sending = {"salesforce/token", "salesforce/attempt", "salesforce/answers", "queue/breaker", "ledger/claims"}
    assert found & {*sending, "report", "update", "worker", "reconciliation/run", "wiring", "handlers"} == set()


def imported(module: Path) -> set[str]:
    package = Path(voicecall_sync.__file__).parent
    found = [node for node in ast.walk(ast.parse(module.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
    named = {f"{node.module}.{alias.name}" for node in found for alias in node.names}
    paths = {name.replace(".", "/") for name in named | {node.module or "" for node in found}}
    ours = {path.removeprefix("voicecall_sync/") for path in paths if path.startswith("voicecall_sync/")}
    return {name for name in ours if (package / f"{name}.py").exists()}
