"""Drives the reconciliation over a span of time, run by run, until it came to the end.

A run is told where it starts, and answers how far it came. The command keeps nothing between two runs, because the
ledger knows which contacts were found already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from voicecall_cli.target import Target
from voicecall_sync.parse import moment_of
from voicecall_sync.times import Window

WIDEST = timedelta(hours=24)
"""The longest span for one run, so that the command shows progress now and then."""
NARROWEST = timedelta(minutes=1)


@dataclass(slots=True)
class Walk:
    """A span of time, and how far the runs have come.

    Attributes:
        at: All contacts that ended before it are done.
        width: The span for the next run.
        searched_from: Where the search began, if RECONCILE_NOT_BEFORE made it begin later than asked.
        listed: The contacts that a dry run would enqueue; a run names a thousand at the most.
        problem: Why it stopped; None if it came to the end, or was interrupted.
    """

    window: Window
    scope: str | None
    dry_run: bool
    at: datetime = field(init=False)
    width: timedelta = WIDEST
    runs: int = 0
    found: int = 0
    known: int = 0
    enqueued: int = 0
    handed_on: int = 0
    paused: bool = False
    searched_from: datetime | None = None
    listed: list[str] = field(default_factory=list)
    problem: str | None = None

    def __post_init__(self) -> None:
        self.at = self.window.start

    @property
    def finished(self) -> bool:
        """Tell whether it came to the end."""
        return self.at >= self.window.end

    def run(self, target: Target, come_to: Callable[[datetime], None]) -> None:
        """Ask for one run after the other, until the end or a problem. After a run without progress, ask for less."""
        while not self.finished and self.problem is None:
            asked = Window(self.at, min(self.at + self.width, self.window.end))
            answer = target.reconcile(self._request(asked))
            if answer.failed is not None:
                self.problem = answer.failed
                return
            try:
                self._add(asked, answer.value)
            except (KeyError, TypeError, ValueError, AttributeError) as unreadable:
                self.problem = f"its answer cannot be read ({type(unreadable).__name__})"
            come_to(self.at)

    def _request(self, asked: Window) -> dict[str, object]:
        return {
            "from": asked.start.isoformat(),
            "to": asked.end.isoformat(),
            **({"scope": self.scope} if self.scope else {}),
            **({"dryRun": True} if self.dry_run else {}),
        }

    def _add(self, asked: Window, answer: Mapping[str, Any]) -> None:
        """Count what a run did, and go on from where it came to.

        Raises:
            KeyError, TypeError, ValueError: It is not a valid answer of the reconciliation.
        """
        searched = {name: _moment(answer["window"][name]) for name in ("from", "to")}
        through = _moment(answer["through"])
        self.runs += 1
        self.scope = self.scope or str(answer["scope"])
        self.paused = bool(answer["paused"])
        self.found += int(answer["found"])
        self.known += int(answer["known"])
        self.enqueued += int(answer["enqueued"])
        self.handed_on += int(answer["handedOn"])
        if self.dry_run:
            self.listed += [str(contact["contactId"]) for contact in answer["contacts"]]
        if self.at == self.window.start and searched["from"] > self.at:
            self.searched_from = searched["from"]
        if answer["needsALook"]:
            self.problem = str(answer["stopped"])
        self._go_on(asked, asked.end if through >= searched["to"] else through)

    def _go_on(self, asked: Window, through: datetime) -> None:
        if through > asked.start:
            self.at = min(through, self.window.end)
            self.width = min(WIDEST, self.width * 2)
        elif self.problem is None and asked.end - asked.start <= NARROWEST:
            self.problem = f"the contacts of {NARROWEST} from {asked.start.isoformat()} on do not fit into one run"
        else:
            self.width = max(NARROWEST, (asked.end - asked.start) / 2)

    def as_json(self) -> dict[str, object]:
        """Return it as JSON; times in UTC."""
        return {
            "from": self.window.start.isoformat(),
            "to": self.window.end.isoformat(),
            "through": self.at.isoformat(),
            "searchedFrom": self.searched_from and self.searched_from.isoformat(),
            "scope": self.scope,
            "dryRun": self.dry_run,
            "paused": self.paused,
            "runs": self.runs,
            "found": self.found,
            "known": self.known,
            "enqueued": self.enqueued,
            "handedOn": self.handed_on,
            "contacts": self.listed,
            "problem": self.problem,
            "finished": self.finished,
        }


def _moment(value: object) -> datetime:
    moment = moment_of(value)
    if moment is None:
        raise ValueError("not a moment")
    return moment
