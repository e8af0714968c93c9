"""What one run of the reconciliation did: counts, what is left, and by name whatever needs a look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from voicecall_sync.outcome import Outcome, Status
from voicecall_sync.reconcile_request import ReconcileRequest, Scope, Window

MOST_NAMED = 100
"""How many contacts of a window are named; of contacts asked for by name, and in a dry run, ten times as many."""


@dataclass(slots=True)
class Summary:
    """Counts as the run goes on.

    Attributes:
        window: What was searched; None for contacts asked for by name, for the scope none, or where it did not come to
            that.
        found: Contacts in the scope; of a window, without those whose call went on as another contact.
        skipped: Of these, how many the ledger knew.
        unseen: What lies too far back to be caught up with; somebody has to ask for it by hand.
        oldest_claim_seconds: Age of the oldest claim not settled; None where nobody looked.
        position: All contacts that ended before it are done.
        stopped: Why the run ended before it was through.
        harmless: The next run simply carries on.
    """

    request: ReconcileRequest
    window: Window | None = None
    found: int = 0
    handed_on: int = 0
    skipped: int = 0
    retried: int = 0
    dead_owners: int = 0
    given_up: int = 0
    left_over: int = 0
    unseen: Window | None = None
    oldest_claim_seconds: float | None = None
    position: datetime | None = None
    stopped: str | None = None
    harmless: bool = False
    _outcomes: Counter[str] = field(default_factory=Counter)
    _would: Counter[str] = field(default_factory=Counter)
    _contacts: list[dict[str, str]] = field(default_factory=list)
    _left: list[str] = field(default_factory=list)
    _left_window: Window | None = None

    def add(self, outcome: Outcome) -> None:
        """Count what became of a contact."""
        self._outcomes[outcome.status.value] += 1
        self.given_up += outcome.given_up
        if outcome.status is not Status.UPDATED or self.request.contacts is not None:
            self._name(outcome.contact_id, outcome.status.value, outcome.detail)

    def dead_owner(self, outcome: Outcome) -> None:
        """Count a contact whose owner died."""
        self.dead_owners += 1
        self.add(outcome)

    def would(self, what: str, contact_id: str) -> None:
        """Count what a dry run would have done."""
        self._would[what] += 1
        self._name(contact_id, "dry run", f"would {_WOULD[what]}")

    def skip(self, contact_id: str, why: str) -> None:
        """Count a contact, asked for by name, that the ledger knows."""
        self.skipped += 1
        self._name(contact_id, "skipped", why)

    def leave(self, contact_ids: Sequence[str], to_come: int = 0, window: Window | None = None) -> None:
        """Count what the run did not get to.

        Args:
            contact_ids: Those it knows of.
            to_come: How many more there are at the most.
            window: The span of time that is left.
        """
        self.left_over += len(contact_ids) + to_come
        self._left += contact_ids[: MOST_NAMED - len(self._left)]
        self._left_window = window or self._left_window

    def stop(self, reason: str, *, harmless: bool = False) -> None:
        """Note why the run ends early; the first reason counts."""
        if self.stopped is None:
            self.stopped, self.harmless = reason, harmless

    def metrics(self) -> dict[str, int]:
        """Return the metrics of the run as a whole, by name."""
        came_through = self.stopped is None or (self.harmless and (self.position is not None or self._nothing_there))
        usual = self.request.cursor == "" and not self.request.dry_run
        return {
            "Found": self.found,
            "Skipped": self.skipped,
            "HandedOn": self.handed_on,
            "LeftOver": self.left_over,
            "GivenUp": self.given_up,
            **({"Reconciled": 1} if usual and came_through else {}),
        }

    @property
    def _nothing_there(self) -> bool:
        return self.request.scope is Scope.NONE or (self.window is not None and self.window.empty)

    def progress(self) -> dict[str, object]:
        """Return the counts, for the log."""
        return {
            "found": self.found,
            "skipped": self.skipped,
            "handedOn": self.handed_on,
            "outcomes": dict(self._outcomes),
            "leftOver": self.left_over,
            "position": self.position and self.position.isoformat(),
            "stopped": self.stopped,
        }

    def as_answer(self) -> dict[str, object]:
        """Return all of it as JSON; times in UTC."""
        answer: dict[str, object] = {
            "window": _shown(self.window),
            "scope": self.request.scope.value,
            "dryRun": self.request.dry_run,
            "found": self.found,
            "handedOn": self.handed_on,
            "skipped": self.skipped,
            "outcomes": dict(self._outcomes),
            "retried": self.retried,
            "deadOwners": self.dead_owners,
            "givenUp": self.given_up,
            "leftOver": self.left_over,
            "left": {"contactIds": self._left, "window": _shown(self._left_window)},
            "unseen": _shown(self.unseen),
            "stopped": self.stopped,
            "needsALook": self.stopped is not None and not self.harmless,
            "contacts": self._contacts,
        }
        return answer | ({"would": dict(self._would)} if self.request.dry_run else {})

    def _name(self, contact_id: str, status: str, detail: str) -> None:
        by_name = self.request.contacts is not None or self.request.dry_run
        if len(self._contacts) < (10 * MOST_NAMED if by_name else MOST_NAMED):
            self._contacts.append({"contactId": contact_id, "status": status, "detail": detail})


_WOULD = {
    "update": "send an update",
    "giveUp": "give it up: tried for a week",
    "becomeUncertain": "make it UNCERTAIN: its owner died between claim and settle",
}


def _shown(window: Window | None) -> dict[str, str] | None:
    return None if window is None else {"from": window.start.isoformat(), "to": window.end.isoformat()}
