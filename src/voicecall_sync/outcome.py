"""The outcome of one contact's update, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Source(StrEnum):
    """The source of the request for an update."""

    CONTACT_FLOW = "contact-flow"
    CONTACT_EVENT = "contact-event"
    RECONCILE = "reconcile"
    """The reconciliation found it."""
    OPERATOR = "operator"
    """An operator released it, or named it."""


class State(StrEnum):
    """The state of a contact's record in the ledger.

    Only NOT_APPLIED may be claimed again, from its ``retryAt`` on. An operator may release UNCERTAIN
    and REJECTED, which makes them NOT_APPLIED.
    """

    CLAIMED = "CLAIMED"
    """An owner may be sending; or its invocation ended before it settled."""
    UPDATED = "UPDATED"
    """Salesforce accepted it."""
    UNCERTAIN = "UNCERTAIN"
    """It was sent, and it is not known whether Salesforce applied it."""
    REJECTED = "REJECTED"
    """Salesforce refused it for good."""
    NOT_APPLIED = "NOT_APPLIED"
    """It was certainly not applied, and may be tried again."""


class Status(StrEnum):
    """The word on which a contact flow branches, and that a metric counts."""

    UPDATED = "UPDATED"
    DUPLICATE = "DUPLICATE"
    RETRY_LATER = "RETRY_LATER"
    REJECTED = "REJECTED"
    UNCERTAIN = "UNCERTAIN"
    IGNORED = "IGNORED"
    INVALID = "INVALID"


class Awaited(StrEnum):
    """What a contact waits for if nothing failed, but it is too early to send."""

    CALL = "call"
    """The end of the call."""
    WRAP_UP = "wrap-up"
    """The end of after-contact work: the agent's attributes may still come."""
    RECORDING = "recording"
    VOICEMAIL = "voicemail"
    """The recording of a voicemail. A caller who only hung up leaves no recording."""
    TURN = "turn"
    """The end of a contact flow's attempt, or of the pause that Salesforce asked for."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a claim ends.

    Attributes:
        state: Any state except CLAIMED.
        detail: A few words for an operator, without any value of the contact.
        http_status: The status code of the answer; None without an answer.
        retry_after: The seconds that Salesforce asked to wait; None if it did not ask.
    """

    state: State
    detail: str
    http_status: int | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one contact in one invocation.

    Attributes:
        status: The status for the caller.
        contact_id: The contact; "" if the event has no valid id.
        detail: A sentence for the operator, without any value of the contact.
        state: The state of the record afterwards, if it is known; None without a record.
        http_status: The status code of Salesforce's answer; None without an answer.
        differs: For a DUPLICATE, the names of properties that only one of this and the earlier update has.
        final_blocked: This DUPLICATE has the finished call's values, but a contact flow used the one update before.
        due: For RETRY_LATER, the earliest useful time for the next look, if it is known.
        awaits: For RETRY_LATER, what the contact waits for; None for a failure.
    """

    status: Status
    contact_id: str
    detail: str
    state: State | None = None
    http_status: int | None = None
    differs: tuple[str, ...] = ()
    final_blocked: bool = False
    due: datetime | None = None
    awaits: Awaited | None = None

    @property
    def redeliver(self) -> bool:
        """Whether a contact event that was given directly must raise, so that it comes again."""
        return self.status in {Status.RETRY_LATER, Status.INVALID}

    def as_answer(self) -> dict[str, str]:
        """Return the flat object of strings that a contact flow can read (STRING_MAP)."""
        return {"status": self.status.value, "contactId": self.contact_id, "detail": self.detail}
