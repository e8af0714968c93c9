"""The columns to compare in Salesforce, by a record's source and the names of its PATCH's properties."""

import re
from datetime import UTC, datetime

import pytest

from tests.support.builders import CONTACT_ID
from tools.local.local_stack import ROOT
from voicecall_cli import evidence
from voicecall_cli.evidence import Evidence, evidence_of
from voicecall_sync.errors import InvalidInput
from voicecall_sync.ledger.record import Record
from voicecall_sync.outcome import State

SENT = datetime(2026, 11, 22, 9, 30, 5, tzinfo=UTC)
FINISHED = ("startTime", "endTime", "enqueueTime", "queue", "disconnectReason", "isActiveCall", "callCenterApiName")
MID_CALL = ("fromNumber", "queue", "callAttributes", "isActiveCall", "callCenterApiName")
PERSONAL = {"FromPhoneNumber", "ToPhoneNumber", "Description", "OwnerId", "Name"}


def of(*names: str, source: str = "contact-event", contact_id: str = CONTACT_ID) -> Evidence:
    return evidence_of(Record(contact_id, State.UNCERTAIN, source=source, claimed_at=SENT, properties=tuple(names)))


def said(found: Evidence) -> str:
    return " ".join(" ".join(evidence.paragraphs(found, "CLOSE", "RELEASE")).split())


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("startTime", "CallStartDateTime"),
        ("enqueueTime", "CallQueuedDateTime"),
        ("acceptTime", "CallAcceptDateTime"),
        ("totalHoldDuration", "CustomerHoldDuration"),
        ("longestHoldDuration", "LongestHoldDuration"),
        ("numberOfHolds", "NumberOfHolds"),
        ("queue", "QueueName"),
        ("callOrigin", "CallOrigin"),
        ("callSubType", "CallSubtype"),
        ("disconnectReason", "DisconnectReason"),
    ],
)
def test_a_column_is_compared_if_its_property_was_carried(name: str, column: str) -> None:
    carried, other = of(name), of("toNumber")

    assert (carried.compared, carried.silent) == ({column: name}, {})
    assert column in carried.queries[0].split(" FROM ")[0]
    assert column not in other.compared
    assert f"{column}  {name}" in re.sub(r" {2,}", "  ", evidence.what_to_compare(carried))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("endTime", "CallEndDateTime is never empty"),
        ("fromNumber", "another form"),
        ("toNumber", "only when the row is created"),
        ("initiationMethod", "only when the row is created"),
        ("agentInteractionDuration", "no column"),
        ("recordingLocation", "recording part only"),
        ("totalRecordingDuration", "recording part only"),
        ("isActiveCall", "by others too"),
        ("agent", "no column"),
        ("callCenterApiName", "every call"),
        ("parentCallIdentifier", "itself"),
        ("addedTomorrow", "no column is known"),
    ],
)
def test_a_property_that_proves_nothing_is_not_compared(name: str, why: str) -> None:
    found = of(name)

    assert (found.compared, set(found.silent)) == ({}, {name})
    assert why in found.silent[name]
    assert f"{name}  {found.silent[name]}" in evidence.what_to_compare(found)
    assert not found.recognisable
    assert "No row can show it" in evidence.when_to_close(found)


def test_every_property_of_a_patch_has_a_rule() -> None:
    field_map = (ROOT / "docs" / "fields.md").read_text("utf-8").split("## Field map\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in field_map.splitlines() if line.startswith("| ")]
    names = {name for row in rows[1:] for name in row.split(", ")}

    assert {"startTime", "callAttributes", "disconnectReason"} <= names <= evidence.RULES.keys()


def test_the_query_reads_all_rows_and_nothing_personal() -> None:
    (query,) = of(*evidence.RULES.keys() - {"recordingLocation"}).queries

    assert query.endswith(f" FROM VoiceCall WHERE VendorCallKey = '{CONTACT_ID}'")
    assert all(column in query for column in evidence.ALWAYS)
    assert not {*PERSONAL, "LIMIT", "CallEndDateTime", "custom"} & set(re.findall(r"\w+", query))


def test_a_recording_is_asked_for_where_it_was_sent() -> None:
    first, second = of("recordingLocation", "queue").queries

    assert "Recording" not in first
    assert second.startswith("SELECT VoiceCallId, DurationInSeconds, CreatedDate FROM VoiceCallRecording WHERE ")
    assert second.endswith(f" VoiceCall.VendorCallKey = '{CONTACT_ID}'")


@pytest.mark.parametrize("key", ["x' OR Name != '", "a'", "a\\", "", "a b", "é"])
def test_an_invalid_contact_id_does_not_get_into_a_query(key: str) -> None:
    with pytest.raises(InvalidInput):
        of("queue", contact_id=key)


def test_what_is_pasted_is_the_query() -> None:
    found = of(*evidence.RULES)
    lines = evidence.where_to_look(found).splitlines()
    queries = [" ".join(block.split()) for block in "\n".join(lines[1:-1]).split("\n\n")]

    assert tuple(queries) == found.queries
    assert max(map(len, lines[1:-1])) <= 80


def test_the_columns_stay_in_a_terminal_of_80() -> None:
    lines = evidence.what_to_compare(of(*evidence.RULES)).splitlines()

    assert max(len(line) for line in lines if line.startswith("  ")) <= 80


def test_the_operator_adds_the_names_of_custom_fields() -> None:
    assert "API names of your custom fields" in evidence.where_to_look(of("callAttributes"))
    assert "custom" not in evidence.where_to_look(of("queue"))


def test_a_finished_call() -> None:
    told = said(of(*FINISHED))

    assert "One row has CallStartDateTime, CallQueuedDateTime, QueueName and DisconnectReason as they were sent" in told
    assert "CustomerHoldDuration and NumberOfHolds filled (0 counts)" in told
    assert "Hours after 2026-11-22 09:30:05 UTC, CustomerHoldDuration and NumberOfHolds are empty in every row" in told
    assert "This one may still be applied later; then there are two" in told
    assert "during the call" not in told


@pytest.mark.parametrize("source", ["contact-flow", "", "edited"])
def test_an_update_during_the_call_has_its_own_evidence(source: str) -> None:
    found = of(*MID_CALL, source=source)
    told = said(found)

    assert not {"DisconnectReason", "CallStartDateTime", "CallQueuedDateTime"} & found.compared.keys()
    assert "perhaps during the call: then CallDisposition stays in-progress" in told
    assert "- One row has QueueName and custom fields as they were sent: its values are there" in told
    assert "QueueName, custom fields, CustomerHoldDuration and NumberOfHolds are empty in every row" in told


def test_a_column_that_is_never_empty_is_not_waited_for() -> None:
    told = evidence.when_to_release(of("startTime", "queue", source="contact-flow"))

    assert "QueueName, CustomerHoldDuration" in told
    assert "CallStartDateTime" not in told


def test_an_update_that_cannot_be_recognised() -> None:
    told = said(of("startTime", "isActiveCall", source="contact-flow"))

    assert "No row can show it" in told
    assert "SystemModstamp is still earlier than 2026-11-22 09:30:05 UTC in every row" in told


def test_a_record_that_says_nothing() -> None:
    found = evidence_of(Record(CONTACT_ID, State.UNCERTAIN, source="contact-event"))

    assert "The record does not say which properties its PATCH carried" in evidence.what_to_compare(found)
    assert "No row can show it" in evidence.when_to_close(found)
    assert "Hours after the moment it was sent" in evidence.when_to_release(found)


@pytest.mark.parametrize("found", [of(*FINISHED), of(*MID_CALL, source="contact-flow"), of()])
def test_what_is_said_of_each(found: Evidence) -> None:
    told = said(found)

    for each in (
        "several VoiceCalls may have this key",
        "So does no row at all",
        "it may still get it",
        "some update was applied, perhaps another one. Never release it",
        "CTRDataSync",
        "vm_flag",
        "Anything else proves nothing: leave it",
    ):
        assert each in told
    assert told.index("CLOSE") < told.index("RELEASE") < told.index("leave it. So")
