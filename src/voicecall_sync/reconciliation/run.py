"""The reconciliation: finds finished contacts without an event, and sends their messages to the contact queue.

    1  expired claims                       -> UNCERTAIN, for an operator
    2  the first run of a day               -> the daily message to operators
    3  waiting contacts, message lost       -> a message
    4  finished contacts, in two passes     -> those without a record: a waiting record and a message

It sends nothing to Salesforce, and needs neither the secret nor a contact's description. The worker judges each contact
again. A run that is killed at any line loses nothing. A step that was cut off is done again, half as wide. If a contact
got its waiting record but no message, 3 finds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from voicecall_sync.calls import CallRules
from voicecall_sync.clock import Clock, Deadline
from voicecall_sync.connect.search import Ask, ContactSearch, Paced, TooManyHitsError
from voicecall_sync.contact import FoundContact, Scope
from voicecall_sync.errors import InvalidInput, LedgerUnavailable, NotReady, TooLittleTime
from voicecall_sync.ledger.claims import CLAIM_EXPIRED, Ledger
from voicecall_sync.ledger.open_contacts import OpenContacts
from voicecall_sync.ledger.record import Record
from voicecall_sync.ledger.table import BATCH
from voicecall_sync.ledger.waiting import Waiting
from voicecall_sync.outcome import Source, State, Status
from voicecall_sync.queue.api import ContactQueue
from voicecall_sync.queue.coming_back import DELAY, RETENTION, back_by
from voicecall_sync.reconciliation.counts import Counts
from voicecall_sync.reconciliation.daily_message import DailyMessage
from voicecall_sync.reconciliation.positions import Pass, Position, begin, position_of, switched_off
from voicecall_sync.reconciliation.request import ReconcileDefaults, ReconcileRequest
from voicecall_sync.report import Metric, Report
from voicecall_sync.times import Window

FEW_IN_LINE = 100
"""So few messages wait only seconds, so a message that is two hours late is not among them."""


@dataclass(frozen=True, slots=True)
class ReconciliationParts:
    """The objects and settings of every run; ``wiring`` makes them.

    Attributes:
        search_page: Gets a page of contacts; see ``Connect.search_page``.
        searches_per_second: How many pages it may ask for in a second.
        paused: The worker receives no messages. So no position moves, and a schedule's run sends no messages.
    """

    search_page: Ask
    ledger: Ledger
    open_contacts: OpenContacts
    waiting: Waiting
    queue: ContactQueue
    daily_message: DailyMessage
    clock: Clock
    report: Report
    rules: CallRules
    defaults: ReconcileDefaults
    searches_per_second: float
    paused: bool


@dataclass(slots=True)
class Reconciliation:
    """One run.

    Args:
        parts: The objects and settings it uses.
        request: Its request.
        over: When it must be over.
        reserve: The last seconds before that, in which it asks for no further page.
    """

    parts: ReconciliationParts
    request: ReconcileRequest
    over: Deadline
    reserve: float
    counts: Counts = field(init=False, default_factory=Counts)
    _now: datetime = field(init=False)
    _search: ContactSearch = field(init=False)
    _stands: timedelta = field(init=False, default=timedelta(0))
    _oldest_claim: float | None = field(init=False, default=None)

    def run(self) -> dict[str, object]:
        """Do what the request says, and return the answer. Expected failures are in the answer; none is raised."""
        self._now = self.parts.clock.now()
        paced = Paced(self._page, self.parts.clock, self.parts.searches_per_second)
        self._search = ContactSearch(paced, self.parts.rules)
        try:
            self._work()
        except TooLittleTime as failure:
            self.counts.stopped = str(failure)
        except NotReady as failure:
            self.counts.stopped, self.counts.harmless = str(failure), False
        self._report()
        return self.counts.answer(self.request, paused=self.parts.paused)

    def _work(self) -> None:
        if self.request.contacts is not None:
            self._enqueue_named(self.request.contacts)
        elif self.request.window is not None:
            self._search_by_hand(self.request.window)
        else:
            self._expire_claims()
            self._send_daily_message()
            if not self.parts.paused:
                self._enqueue_lost()
                self._walk()

    # ---------------------------------------------------------------- 1  expired claims

    def _expire_claims(self) -> None:
        self._oldest_claim = 0.0
        for record in self.parts.open_contacts.open(State.CLAIMED):
            self._require_time()
            if record.since is not None:
                self._oldest_claim = max(self._oldest_claim, (self._now - record.since).total_seconds())
            if record.claim_expired(self._now):
                with suppress(LedgerUnavailable):  # the next run expires it
                    self._expire(record)

    def _expire(self, record: Record) -> None:
        if self.parts.ledger.expire_claim(record, self.parts.clock.now()).expired_claim:
            self.counts.expired_claims += 1
            self.parts.report.of_source(Source.RECONCILE)
            self.parts.report.claim_expired(record.contact_id)
            self.parts.report.publish()
            self.counts.name(record.contact_id, Status.UNCERTAIN, CLAIM_EXPIRED)

    # ---------------------------------------------------------------- 2  the daily message

    def _send_daily_message(self) -> None:
        """Send the day's message. If that fails, the run goes on, and the next run tries again."""
        try:
            self.parts.daily_message.send_once_a_day(self._now, self._require_time, paused=self.parts.paused)
        except NotReady as failure:
            self.counts.not_told = f"the daily message was not sent: {failure}"

    # ---------------------------------------------------------------- 3  lost messages

    def _enqueue_lost(self) -> None:
        """Send a message for each contact whose own message is two hours late.

        If messages wait in line, the late one may be among them, and the next run looks again. A few do not count for a
        contact that came back before. A contact gets only one such message, until the worker receives it or SQS can no
        longer have it.
        """
        in_line = self.parts.queue.depth().ready
        for record in self.parts.open_contacts.open(State.NOT_APPLIED):
            self._require_time()
            at_most = FEW_IN_LINE if record.failures or record.waits_for else 0
            if record.lost(self._now) and in_line <= at_most and self._enqueue_again(record):
                self.parts.waiting.expect(record, back_by(self._now, RETENTION))
                self.counts.enqueued_again += 1

    def _enqueue_again(self, record: Record) -> bool:
        """Send a message for a contact that waits. False: the contact has changed, and no message was sent."""
        noted = self.parts.waiting.expect(record, back_by(self._now, DELAY))
        if noted:
            self.parts.queue.send(record.contact_id, Source.RECONCILE, timedelta(0))
        return noted

    # ---------------------------------------------------------------- 4  finished contacts, in two passes

    def _walk(self) -> None:
        if self.request.scope is Scope.NONE:
            for one in Pass:
                self._switch_off(one)
            return
        positions = {one: self._begin(one) for one in Pass}
        try:
            # The pass that is further behind goes first, so that neither takes all the time.
            for one in sorted(Pass, key=lambda one: positions[one].at - self._target(one)):
                while (step := positions[one].next_step(self._target(one))) is not None:
                    positions[one] = self._take_step(one, positions[one], step)
                    self.parts.report.progress("reconciling", **self.counts.progress(), position=step.end.isoformat())
        finally:
            self._stands = max(positions[one].stands(self._target(one), self._now) for one in Pass)

    def _target(self, one: Pass) -> datetime:
        return one.target(self._now, self.parts.defaults.look_back)

    def _switch_off(self, one: Pass) -> None:
        """Note that the scope is ``none``, so that a later run does not search the time until then."""
        saved = self._stored(one)
        if saved is None or saved.scope is not Scope.NONE:
            self._save(one, switched_off(self._now), saved)

    def _begin(self, one: Pass) -> Position:
        saved = self._stored(one)
        defaults = self.parts.defaults
        position, skipped = begin(saved, self.request.scope, self._target(one), self._now, defaults.not_before)
        if position != saved:
            self._save(one, position, saved)
        if skipped is not None:
            self.counts.skipped.append(skipped)
            self.parts.report.skipped(skipped.start, skipped.end)
        return position

    def _stored(self, one: Pass) -> Position | None:
        return position_of(self.parts.open_contacts.note(f"position {one}"))

    def _save(self, one: Pass, position: Position, over: Position | None) -> Position:
        """Save a position over the one that was read.

        Raises:
            TooLittleTime: Another run has moved it meanwhile; this run ends.
        """
        standing = over.as_stored() if over else None
        if not self.parts.open_contacts.save_note(f"position {one}", position.as_stored(), standing):
            raise TooLittleTime("another run of the reconciliation is under way; this one ends")
        return position

    def _take_step(self, one: Pass, position: Position, step: Window) -> Position:
        self._require_time()
        begun = self._save(one, position.begun(step), position)
        try:
            self._search_step(step, chains=one is Pass.SECOND)
            after = position.done(step, self.parts.clock.now())
        except TooManyHitsError:
            after = position.halved(step)
        return self._save(one, after, begun)

    def _search_step(self, step: Window, *, chains: bool) -> None:
        """Enqueue the contacts of a step. The step is done when SQS has accepted every message.

        Raises:
            TooManyHitsError: The step must be halved.
            NotReady: A request failed; the step is not done.
        """
        for page in self._search.pages(step, self.request.scope, self._now, chains=chains):
            self.counts.handed_on += page.handed_on
            self._take_page(page.found)

    def _take_page(self, page: Sequence[FoundContact]) -> None:
        not_before = self.parts.defaults.not_before
        ours = [one for one in page if not_before is None or (one.disconnected_at or not_before) >= not_before]
        known = self.parts.open_contacts.known([one.contact_id for one in ours])
        unknown = list(dict.fromkeys(one.contact_id for one in ours if one.contact_id not in known))
        self.counts.found += len(ours)
        self.counts.known += len(ours) - len(unknown)
        if self.request.dry_run:
            for contact_id in unknown:
                self.counts.name(contact_id, "dry run", "would be enqueued")
            return
        fresh = [contact_id for contact_id in unknown if self._leave(contact_id, Source.RECONCILE)]
        self.parts.queue.send_all(fresh, Source.RECONCILE)
        self.counts.enqueued += len(fresh)
        self.counts.known += len(unknown) - len(fresh)

    def _leave(self, contact_id: str, source: Source) -> bool:
        by_search = source is Source.RECONCILE
        return self.parts.waiting.leave(
            contact_id,
            source,
            "found by the reconciliation" if by_search else "named by an operator",
            back_by=back_by(self._now, DELAY),
            now=self._now,
            scope=self.request.scope if by_search else None,
        )

    # ---------------------------------------------------------------- by hand

    def _search_by_hand(self, window: Window) -> None:
        """Search a window in steps, from its beginning. Only the answer says how far the run came."""
        if window.empty:
            self.counts.stopped = "this window is empty: it begins no earlier than it ends"
        walk = Position(window.start, self.request.scope, self._now)
        self.counts.through = window.start
        while (step := walk.next_step(window.end)) is not None:
            self._require_time()
            try:
                self._search_step(step, chains=True)
                walk = walk.done(step, self._now)
            except TooManyHitsError:
                walk = walk.halved(step)
            self.counts.through = walk.at
        self.counts.through = window.end

    def _enqueue_named(self, named: Sequence[str | InvalidInput]) -> None:
        self.counts.found = len(named)
        for wrong in named:
            if isinstance(wrong, InvalidInput):
                self.counts.name("", Status.INVALID, str(wrong))
        good = [contact for contact in named if isinstance(contact, str)]
        for start in range(0, len(good), BATCH):
            batch = good[start : start + BATCH]
            known = self.parts.open_contacts.known(batch)
            for contact_id in batch:
                self._require_time()
                self._enqueue_one(contact_id, known.get(contact_id))

    def _enqueue_one(self, contact_id: str, record: Record | None) -> None:
        if record is not None and record.state is not State.NOT_APPLIED:
            self.counts.known += 1
            self.counts.name(contact_id, "known", f"already {record.state or 'in a state we do not know'}")
        elif self.request.dry_run:
            self.counts.name(contact_id, "dry run", "would be enqueued")
        else:
            self._enqueue_by_name(contact_id, record)

    def _enqueue_by_name(self, contact_id: str, record: Record | None) -> None:
        if record is not None:
            noted = self.parts.waiting.named(record, back_by(self._now, DELAY), self._now)
        else:
            noted = self._leave(contact_id, Source.OPERATOR)
        if not noted:
            self.counts.known += 1
            self.counts.name(contact_id, "known", "its record has changed just now; name it again if need be")
            return
        self.parts.queue.send(contact_id, Source.OPERATOR, timedelta(0))
        self.counts.enqueued += 1
        self.counts.name(contact_id, "enqueued", "the worker looks at it next")

    # ---------------------------------------------------------------- time, report and answer

    def _page(self, request: Mapping[str, object]) -> Mapping[str, Any]:
        self._require_time()
        return self.parts.search_page(request)

    def _require_time(self) -> None:
        if self.over.left() < self.reserve:
            raise TooLittleTime("the time of this run is used up; the next one goes on")

    def _report(self) -> None:
        counts, report = self.counts, self.parts.report
        scheduled = self.request.window is None and self.request.contacts is None
        if not self.request.dry_run:
            for metric, number in {
                Metric.FOUND: counts.found,
                Metric.KNOWN: counts.known,
                Metric.ENQUEUED: counts.enqueued,
                Metric.ENQUEUED_AGAIN: counts.enqueued_again,
                Metric.HANDED_ON: counts.handed_on,
                Metric.METHOD_NOT_SEARCHED: len(self._search.not_searched),
                Metric.SKIPPED_MINUTES: counts.skipped_minutes,
                **({Metric.RECONCILED: 1} if scheduled and not counts.needs_a_look else {}),
                **({Metric.PAUSED: int(self.parts.paused)} if scheduled else {}),
            }.items():
                report.counted(metric, number)
            report.of_source(Source.RECONCILE)
            report.publish()
            if scheduled:
                report.gauge(Metric.POSITION_STANDS, self._stands.total_seconds())
            if self._oldest_claim is not None:
                report.gauge(Metric.OLDEST_CLAIM_AGE, self._oldest_claim)
        report.progress("reconciled", **self.counts.progress())
        if counts.not_told is not None:
            report.not_told(counts.not_told)
        if counts.broke_off is not None:
            report.stopped(counts.broke_off)
