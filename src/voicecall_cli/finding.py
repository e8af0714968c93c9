"""Finds the first contacts of a span of time, as the reconciliation does: step by step, through the same search."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from voicecall_sync.connect.search import ContactSearch, TooManyHitsError
from voicecall_sync.contact import FoundContact, Scope
from voicecall_sync.reconciliation.positions import Position
from voicecall_sync.times import Window


@dataclass(slots=True)
class Finding:
    """The contacts found in a span of time.

    Attributes:
        first: The largest number of contacts to find.
        now: The time of day.
        at: All contacts that ended before it were found, unless there are more than `first`.
        contacts: By their ids, in the order in which they were found.
        handed_on: The number of contacts left out because their call went on as another contact.
        more: There may be more than these.
    """

    window: Window
    scope: Scope
    first: int
    now: datetime
    at: datetime = field(init=False)
    contacts: dict[str, FoundContact] = field(default_factory=dict)
    handed_on: int = 0
    more: bool = True

    def __post_init__(self) -> None:
        self.at = self.window.start

    def run(self, search: ContactSearch, come_to: Callable[[datetime], None]) -> None:
        """Search until enough contacts were found, or the span ends. The search's exceptions pass through."""
        walk = Position(self.window.start, self.scope, self.now)
        while (step := walk.next_step(self.window.end)) is not None:
            try:
                if self._enough(search, step):
                    return
                walk = walk.done(step, self.now)
            except TooManyHitsError:
                walk = walk.halved(step)
            self.at = walk.at
            come_to(self.at)
        self.more = False

    def _enough(self, search: ContactSearch, step: Window) -> bool:
        for one in self._found(search, step):
            if len(self.contacts) == self.first and one.contact_id not in self.contacts:
                return True
            self.contacts[one.contact_id] = one
        return False

    def _found(self, search: ContactSearch, step: Window) -> Iterator[FoundContact]:
        # By hand, calls that went on are decided at once, as a window of the reconciliation does.
        for page in search.pages(step, self.scope, self.now, chains=True):
            self.handed_on += page.handed_on
            yield from page.found
