"""What became of one contact, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Source(StrEnum):
    """Who asked for the update."""

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
    """An owner is about to send, or died sending."""
    UPDATED = "UPDATED"
    """Salesforce accepted it."""
    UNCERTAIN = "UNCERTAIN"
    """It was sent, and nobody can know whether it was applied."""
    REJECTED = "REJECTED"
    """Salesforce refused it for good."""
    NOT_APPLIED = "NOT_APPLIED"
    """It certainly was not applied: try again."""


class Status(StrEnum):
    """The word a contact flow branches on, and a metric counts."""

    UPDATED = "UPDATED"
    DUPLICATE = "DUPLICATE"
    RETRY_LATER = "RETRY_LATER"
    REJECTED = "REJECTED"
    UNCERTAIN = "UNCERTAIN"
    IGNORED = "IGNORED"
    INVALID = "INVALID"


class Awaited(StrEnum):
    """What a contact waits for where nothing failed: it only is not yet time to send."""

    CALL = "call"
    """The end of the call."""
    WRAP_UP = "wrap-up"
    """The end of after-contact work: the agent's attributes may still come."""
    RECORDING = "recording"
    VOICEMAIL = "voicemail"
    """The recording that tells a voicemail from a caller who hung up."""
    TURN = "turn"
    """The end of a contact flow's attempt, or of the pause that Salesforce asked for."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a claim ends.

    Attributes:
        state: Any state but CLAIMED.
        detail: A few words for an operator; no value of the contact in them.
        http_status: The status code of the answer, or None where none came.
        retry_after: Seconds that Salesforce asked us to wait, or None where it did not say.
    """

    state: State
    detail: str
    http_status: int | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one contact in one invocation.

    Attributes:
        status: What to tell the caller.
        contact_id: The contact, or "" where the event did not hold a usable one.
        detail: A sentence for a person; no value of the contact in it.
        state: The state of the record in the ledger afterwards, as far as we know; None for no record.
        http_status: The status code of Salesforce's answer, where one came.
        differs: For a DUPLICATE, the properties in which it differs from what was sent.
        final_blocked: A DUPLICATE that holds the finished call's values, barred by an earlier update
            from a contact flow.
        due: For RETRY_LATER, the moment from which on it makes sense to try again, where one is known.
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
