from __future__ import annotations

import json

import pytest

from voicecall_sync.outcome import Outcome, Source, State, Status


@pytest.mark.parametrize("status", Status)
def test_the_answer_to_a_flow_is_three_strings(status: Status) -> None:
    """STRING_MAP: a flow takes a flat object of strings, and its Error branch for anything else."""
    outcome = Outcome(
        status,
        "c-1",
        "detail",
        state=State.CLAIMED,
        http_status=503,
        differs=("queue",),
        final_blocked=True,
    )
    answer = outcome.as_answer()
    assert answer == {"status": status.value, "contactId": "c-1", "detail": "detail"}
    assert {type(value) for value in answer.values()} == {str}
    assert json.loads(json.dumps(answer)) == answer


def test_without_a_contact_the_answer_still_is_strings() -> None:
    assert Outcome(Status.INVALID, "", "").as_answer() == {"status": "INVALID", "contactId": "", "detail": ""}


def test_the_words_others_go_by_stay_as_they_are() -> None:
    """Contact flows branch on the statuses; records kept for 25 months hold the states and the sources."""
    assert {status.value for status in Status} == {
        "UPDATED",
        "DUPLICATE",
        "RETRY_LATER",
        "REJECTED",
        "UNCERTAIN",
        "IGNORED",
        "INVALID",
    }
    assert {state.value for state in State} == {"CLAIMED", "UPDATED", "UNCERTAIN", "REJECTED", "NOT_APPLIED"}
    assert {source.value for source in Source} == {"contact-flow", "contact-event", "reconcile", "operator"}


@pytest.mark.parametrize("status", Status)
def test_a_contact_event_comes_again_until_it_is_done(status: Status) -> None:
    assert Outcome(status, "c-1", "").redeliver is (status in {Status.RETRY_LATER, Status.INVALID})
