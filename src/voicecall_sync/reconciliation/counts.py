"""The results of one run: what it counts, and its answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from voicecall_sync.reconciliation.request import ReconcileRequest
from voicecall_sync.times import Window

MOST_LISTED = 1000
"""The number of contacts that an answer names: Lambda's answers end at 6 MB."""


@dataclass(slots=True)
class Counts:
    """The results of a run.

    Attributes:
        found: The number of contacts in the scope, without those whose call went on as another contact.
        known: The number of these that had a record; of named contacts, those that need no message.
        through: For a window by hand: all contacts that ended before this are done.
        skipped: Spans of time that are too far back: no pass searches them any more.
        stopped: Why the run ended early.
        harmless: The next run goes on, and the operator need not look.
        not_told: Why the daily message was not sent.
        contacts: Contacts by name, each with a status and a detail.
    """

    found: int = 0
    known: int = 0
    enqueued: int = 0
    handed_on: int = 0
    expired_claims: int = 0
    enqueued_again: int = 0
    through: datetime | None = None
    skipped: list[Window] = field(default_factory=list)
    stopped: str | None = None
    harmless: bool = True
    not_told: str | None = None
    contacts: list[dict[str, str]] = field(default_factory=list)

    def name(self, contact_id: str, status: str, detail: str) -> None:
        """Name a contact, unless there are too many."""
        if len(self.contacts) < MOST_LISTED:
            self.contacts.append({"contactId": contact_id, "status": status, "detail": detail})

    @property
    def broke_off(self) -> str | None:
        """Return why the run ended early, if an operator must look at that."""
        return None if self.harmless else self.stopped

    @property
    def needs_a_look(self) -> bool:
        """Tell whether something failed that an operator must look at."""
        return self.broke_off is not None or self.not_told is not None

    @property
    def skipped_minutes(self) -> int:
        """Return how many minutes of ended calls no pass searches any more."""
        return round(sum((one.end - one.start).total_seconds() for one in self.skipped) / 60)

    def progress(self) -> dict[str, object]:
        """Return how far the run is."""
        return {
            "found": self.found,
            "known": self.known,
            "enqueued": self.enqueued,
            "handedOn": self.handed_on,
            "enqueuedAgain": self.enqueued_again,
            "stopped": self.stopped,
        }

    def answer(self, request: ReconcileRequest, *, paused: bool) -> dict[str, object]:
        """Return the run's answer as JSON; times in UTC."""
        return {
            "window": _shown(request.window),
            "scope": request.scope.value,
            "dryRun": request.dry_run,
            "paused": paused,
            **self.progress(),
            "deadOwners": self.expired_claims,
            "through": self.through.isoformat() if self.through else None,
            "skipped": [_shown(one) for one in self.skipped],
            "notTold": self.not_told,
            "needsALook": self.needs_a_look,
            "contacts": self.contacts,
        }


def _shown(window: Window | None) -> dict[str, str] | None:
    return None if window is None else {"from": window.start.isoformat(), "to": window.end.isoformat()}
