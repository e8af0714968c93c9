"""The reconciliation: finds the contacts nobody told us of, and what is left open; then the same pipeline.

    1  claims whose owner died         -> UNCERTAIN, for an operator
    2  NOT_APPLIED, due again          -> the pipeline; after a week of trying REJECTED, "given up"
    3  finished contacts in the window -> those without a record: the pipeline; not where the scope is none

A run ends in good time before its invocation does. What is left is named in its summary, and a cursor lets the next
run carry on there. Killed at any line, it has lost nothing: the next run finds the same contacts, and the ledger says
which of them are done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import islice
from traceback import extract_tb

from voicecall_sync.backlog import TRIED_FOR, Backlog, Cursor
from voicecall_sync.clock import Clock, Deadline, Moments, Timings
from voicecall_sync.connect import Connect
from voicecall_sync.contact import Contact, FoundContact
from voicecall_sync.errors import InvalidInput, LedgerUnavailable, NotOurs, NotReady, TooLittleTime
from voicecall_sync.ledger import Ledger
from voicecall_sync.outcome import Outcome, Source, State, Status
from voicecall_sync.reconcile_request import ReconcileRequest, Scope, Usual, Window
from voicecall_sync.record import Record
from voicecall_sync.report import Report
from voicecall_sync.search import ContactSearch, Page
from voicecall_sync.summary import Summary
from voicecall_sync.sync import Sync, expecting
from voicecall_sync.table import BATCH

MOST_FAILURES_IN_A_ROW = 25
"""After so many PATCHes that did not succeed, one after the other, a run ends: one wrong setting, or a broken
Salesforce, must not make a day's contacts wait for an operator."""
LONGEST_CATCH_UP = timedelta(days=7)
"""How far a scheduled run goes back at the most where earlier runs did not come through."""
RETRIES_SHARE = 0.5
"""The part of a run's time that contacts due again may take; the window has the rest."""
_LAST_CHANCE = timedelta(hours=1)
_TIME_IS_UP = "the time of this run is used up"

_NOT_DONE = frozenset({Status.RETRY_LATER, Status.IGNORED, Status.INVALID})
_SENT_IN_VAIN = frozenset({State.UNCERTAIN, State.REJECTED, State.NOT_APPLIED})


@dataclass(frozen=True, slots=True)
class Means:
    """What every run works with; the composition root puts it together.

    Attributes:
        concurrency: How many contacts are updated at once.
    """

    sync: Sync
    connect: Connect
    ledger: Ledger
    backlog: Backlog
    clock: Clock
    timings: Timings
    report: Report
    usual: Usual
    concurrency: int


Result = Outcome | str | None
"""What became of a contact; in a dry run, what would; None where there was no time left to begin with it."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One contact's turn.

    Attributes:
        ended: When the contact ended, as far as a search told.
    """

    contact_id: str
    work: Callable[[], Result]
    ended: datetime | None = None


@dataclass(slots=True)
class Reconciliation:
    """One run.

    Args:
        means: What it works with.
        request: What it is to do.
        over: When it must be over but for its last request to the table.
        lease: Until when the invocation can go on, by the time of day.
        reserve: Seconds of the invocation's time in which no contact is begun any more.
        request_id: The invocation's, for the log.
    """

    means: Means
    request: ReconcileRequest
    over: Deadline
    lease: datetime
    reserve: float
    request_id: str
    _started: datetime = field(init=False)
    _cursor: Cursor = field(init=False)
    _position: datetime = field(init=False)
    _summary: Summary = field(init=False)
    _pool: ThreadPoolExecutor = field(init=False)
    _in_vain: int = field(init=False, default=0)
    _one_went_through: bool = field(init=False, default=False)

    def run(self) -> Summary:
        """Do what was asked for. No failure of one contact, and none of those expected, is raised."""
        self._started = self.means.clock.now()
        self._summary = Summary(self.request)
        self._one_went_through = self.request.dry_run
        with ThreadPoolExecutor(self.means.concurrency, thread_name_prefix="contact") as self._pool:
            try:
                if self.request.contacts is not None:
                    self._take_named(self.request.contacts)
                else:
                    self._look_for_dead_owners()
                    self._take_all()
            except NotReady as failure:
                self._stop(failure)
        self._report()
        return self._summary

    def _take_all(self) -> None:
        """Take what is due, then the window; whatever ends that early, the next run begins where this one came to."""
        window = None if self.request.scope is Scope.NONE else self._open_window()
        try:
            self.means.sync.tokens.current(self._started)  # without one there is nothing to begin
            self._take_due()
            if window is None:  # what ends while the scope is none is no later run's to catch up with
                self._save(Cursor(completed_until=self.request.window.end))
            else:
                self._take_window(window)
        except NotReady as failure:
            self._stop(failure)
            if window is not None:
                self._leave_window(window, [], 0)

    def _stop(self, failure: NotReady) -> None:
        if isinstance(failure, TooLittleTime):
            self._summary.stop(_TIME_IS_UP, harmless=True)
        else:
            self._summary.stop(str(failure))

    # ---------------------------------------------------------------- 1  claims whose owner died

    def _look_for_dead_owners(self) -> None:
        oldest = 0.0
        for record in self.means.backlog.open(State.CLAIMED):
            if record.since is not None:
                oldest = max(oldest, (self._started - record.since).total_seconds())
            if record.owner_dead(self._started):
                with suppress(LedgerUnavailable):  # the next run meets it again
                    self._give_up_dead_owner(record)
            if self.over.left() < self.reserve:
                break
        self._summary.oldest_claim_seconds = oldest

    def _give_up_dead_owner(self, record: Record) -> None:
        if self.request.dry_run:
            self._summary.would("becomeUncertain", record.contact_id)
            return
        found = self.means.ledger.give_up_dead_owner(record, self.means.clock.now())
        if found.given_up:
            self.means.report.owner_died(record.contact_id)
            detail = "its owner died between claim and settle"
            self._summary.dead_owner(Outcome(Status.UNCERTAIN, record.contact_id, detail, state=State.UNCERTAIN))

    # ---------------------------------------------------------------- 2  due again

    def _take_due(self) -> None:
        """Try once what may be tried again, the longest waiting first, for a part of the time."""
        until = self.over.left() * (1 - RETRIES_SHARE)
        due = (record for record in self._waiting() if record.due(self._started))
        while batch := list(islice(due, BATCH)):
            jobs = [_Job(record.contact_id, self._retry(record)) for record in batch]
            self._summary.retried += len(jobs)
            left = self._each(jobs, until)
            self._summary.retried -= len(left)
            self._summary.leave([job.contact_id for job in left])
            self.means.report.flush(Source.RECONCILE)
            if left:
                return

    def _waiting(self) -> Iterable[Record]:
        for record in self.means.backlog.open(State.NOT_APPLIED):
            if record.since is not None and record.since >= self._started:
                return  # from here on they are what this run has tried itself
            yield record

    def _retry(self, record: Record) -> Callable[[], Result]:
        def look(contact: Contact) -> None:
            if record.scope in list(Scope):  # found once, and never sent: it is judged as when it was found
                self._require_missed(contact, Scope(record.scope))
            self._note_lost_parameters(record, contact)

        def work() -> Result:
            result = self._update(record.contact_id, look)
            if not isinstance(result, Outcome) or result.status not in _NOT_DONE:
                return result
            since = record.trying_since()
            tried_long = since is not None and self._started - since > TRIED_FOR
            if self.request.dry_run:
                return "giveUp" if tried_long else result
            try:
                return self._give_up(result) if tried_long else self._put_off(record, result)
            except LedgerUnavailable:
                return result  # the next run meets it again

        return work

    def _give_up(self, outcome: Outcome) -> Outcome:
        detail = f"given up after {TRIED_FOR.days} days: {outcome.detail}"
        record = self.means.ledger.read(outcome.contact_id)
        if record is None or record.state is not State.NOT_APPLIED:
            return outcome
        if not self.means.backlog.give_up(record, detail, self.means.clock.now()):
            return outcome
        return replace(outcome, status=Status.REJECTED, detail=detail, state=State.REJECTED, given_up=True)

    def _put_off(self, record: Record, outcome: Outcome) -> Outcome:
        """Let the others have their turn first, the next time, where a contact failed before it was claimed."""
        if outcome.status is Status.IGNORED and record.scope is not None:
            self.means.backlog.set_aside(record, outcome.detail, self.means.clock.now())
        elif outcome.state is None:
            self.means.backlog.postpone(record, self.means.clock.now())
        return outcome

    def _note_lost_parameters(self, record: Record, contact: Contact) -> None:
        if record.first_source == Source.CONTACT_FLOW and not self.request.dry_run:
            self.means.report.parameters_gone(contact.contact_id, record.properties)

    # ---------------------------------------------------------------- 3  the window

    def _open_window(self) -> Window:
        """Return the window, from where an earlier run left off.

        A scheduled window looks back from where the last one that was completed had begun: what an outage of our own
        left unseen is seen later, and whoever failed in it is looked for once more.
        """
        asked, name, usual = self.request.window, self.request.cursor, self.means.usual
        self._cursor = self.means.backlog.cursor(name) if name is not None else Cursor()
        start, completed = asked.start, self._cursor.completed_until
        if name == "" and completed is not None:
            furthest = self._started - LONGEST_CATCH_UP
            if completed < furthest and self._cursor.position is None:
                self._summary.unseen = Window(completed - usual.look_back, furthest - usual.look_back)
            start = min(start, max(completed, furthest) - usual.look_back)
        if self._cursor.position is not None and self._cursor.position < asked.end:
            start = self._cursor.position
        else:
            self._cursor = replace(self._cursor, begun_until=asked.end)
        self._position = max(start, usual.not_before) if usual.not_before else start
        self._summary.window = Window(self._position, asked.end)
        return self._summary.window

    def _take_window(self, window: Window) -> None:
        if window.empty:
            self._summary.stop("nothing can lie in this window: it begins no earlier than it ends", harmless=True)
            return
        search = ContactSearch(self.means.connect.search_page)
        for page in search.pages(window, self.request.scope, self._started):
            left = self._take_page(page)
            self._position = max(self._position, _done_until(page, left))
            self._summary.position = self._position
            if left or (self._position < window.end and self._stop_reason(self.reserve)):
                self._leave_window(window, [job.contact_id for job in left], page.to_come)
                return
            if self._position < window.end:
                self._save(replace(self._cursor, position=self._position))
            self.means.report.progress("reconciling", **self._summary.progress())
        self._save(Cursor(completed_until=self._cursor.begun_until))

    def _leave_window(self, window: Window, left: list[str], to_come: int) -> None:
        """Note where the next run is to begin, and that something is left, though nobody may know how many."""
        self._summary.leave(left, to_come or int(not left), Window(self._position, window.end))
        self._save(replace(self._cursor, position=self._position))

    def _save(self, cursor: Cursor) -> None:
        if self.request.cursor is not None and not self.request.dry_run:
            self.means.backlog.save_cursor(self.request.cursor, cursor, self.means.clock.now())

    def _take_page(self, page: Page) -> list[_Job]:
        """Update whom the ledger does not know; return whom there was no time for."""
        not_before = self.means.usual.not_before
        found = [one for one in page.found if not_before is None or one.disconnected_at >= not_before]
        known = self.means.backlog.known([one.contact_id for one in found])
        unknown = [one for one in found if one.contact_id not in known]
        self._summary.found += len(found)
        self._summary.handed_on += page.handed_on
        self._summary.skipped += len(found) - len(unknown)
        left = self._each([_Job(one.contact_id, self._first_try(one), one.disconnected_at) for one in unknown])
        self.means.report.flush(Source.RECONCILE)
        return left

    def _first_try(self, found: FoundContact) -> Callable[[], Result]:
        return lambda: self._update(found.contact_id, lambda contact: self._require_missed(contact, self.request.scope))

    def _require_missed(self, contact: Contact, scope: Scope) -> None:
        """Look again, now that the contact is described: the search's index lags."""
        self._require_ours(contact)
        if scope is Scope.ALL:
            return
        if contact.connected_to_agent_at is not None:
            raise NotOurs("not missed: it was connected to an agent")
        if contact.handed_on:
            raise NotOurs("not missed: the call went on as another contact")

    def _require_ours(self, contact: Contact) -> None:
        not_before = self.means.usual.not_before
        if not_before is not None and contact.disconnected_at is not None and contact.disconnected_at < not_before:
            raise NotOurs("it ended before RECONCILE_NOT_BEFORE: not ours to update")

    # ---------------------------------------------------------------- by name

    def _take_named(self, named: Sequence[str | InvalidInput]) -> None:
        good = [contact for contact in named if isinstance(contact, str)]
        self._summary.found += len(named)
        for wrong in named:
            if isinstance(wrong, InvalidInput):
                self._count(_Job("", str), Outcome(Status.INVALID, "", str(wrong)))
        left = good
        try:
            self.means.sync.tokens.current(self._started)
            while left and not self._stop_reason(self.reserve):
                batch, rest = left[:BATCH], left[BATCH:]
                known = self.means.backlog.known(batch)
                jobs = [self._named_job(one, known.get(one)) for one in batch if self._open_to_us(known.get(one))]
                left = [job.contact_id for job in self._each(jobs)] + rest
                self.means.report.flush(Source.RECONCILE)
        finally:
            self._summary.leave(left)

    def _named_job(self, contact_id: str, record: Record | None) -> _Job:
        if record is not None:
            return _Job(contact_id, self._retry(record))
        return _Job(contact_id, lambda: self._update(contact_id, self._require_ours))

    def _open_to_us(self, record: Record | None) -> bool:
        """Tell whether a contact may be sent; if not, count it as what it is."""
        if record is None or record.due(self._started):
            return True
        if record.owner_dead(self._started):
            self._give_up_dead_owner(record)
        else:
            due = (
                f", due at {record.retry_at.isoformat()}"
                if record.state is State.NOT_APPLIED and record.retry_at
                else ""
            )
            self._summary.skip(record.contact_id, f"already {record.state or 'in a state we do not know'}{due}")
        return False

    # ---------------------------------------------------------------- many contacts at once

    def _update(self, contact_id: str, look: Callable[[Contact], None]) -> Result:
        """Describe a contact, look at it, and update its VoiceCall; in a worker's thread."""

        def work() -> Result:
            contact = self.means.connect.finished_contact(contact_id, Source.RECONCILE)
            look(contact)
            if not self.request.dry_run:
                timings = self.means.timings
                over = self.over.or_after(timings.contact)
                return self.means.sync.update(contact, Moments.ending(over, timings, self.lease))
            self.means.sync.rehearse(contact)
            return "update"

        def in_time() -> Result:
            try:
                return work()
            except TooLittleTime:
                return None

        return expecting(contact_id, in_time)

    def _safely(self, job: _Job) -> Result:
        """Do one contact's job; whatever becomes of it must not keep the others from being counted."""
        try:
            return job.work()
        except Exception as defect:  # noqa: BLE001 - a defect that one contact brings out must not bar all others for ever
            where = f"{type(defect).__name__} at {extract_tb(defect.__traceback__)[-1].name}"
            self.means.report.defect(job.contact_id, where)
            return Outcome(Status.RETRY_LATER, job.contact_id, f"a defect: {where}")

    def _each(self, jobs: Sequence[_Job], reserve: float = 0.0) -> list[_Job]:
        """Do the jobs, some at a time, and return those that were not begun.

        The first goes alone until one has gone through to Salesforce: if the token is refused, one contact learns it.
        """
        waiting, running = deque(jobs), dict[Future[Result], _Job]()
        reserve = max(reserve, self.reserve)
        while waiting or running:
            width = self.means.concurrency if self._one_went_through else 1
            while waiting and len(running) < width and not self._stop_reason(reserve):
                job = waiting.popleft()
                running[self._pool.submit(self._safely, job)] = job
            if not running:
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                job, result = running.pop(future), future.result()
                if result is None:
                    self._summary.stop(_TIME_IS_UP, harmless=True)
                    waiting.append(job)
                elif not self._count(job, result):
                    waiting.append(job)
        return list(waiting)

    def _stop_reason(self, reserve: float) -> str | None:
        if self._summary.stopped is None and self.over.left() < reserve:
            if reserve > self.reserve:
                return "the share of time for contacts due again is used up"
            self._summary.stop(_TIME_IS_UP, harmless=True)
        return self._summary.stopped

    def _count(self, job: _Job, outcome: Outcome | str) -> bool:
        """Count what became of a contact. False: it has to be looked for again."""
        if isinstance(outcome, str):
            self._summary.would(outcome, job.contact_id)
            return True
        self._summary.add(outcome)
        if self.request.dry_run:
            return True
        self.means.report.outcome(outcome, Source.RECONCILE, self.request_id)
        if outcome.status is Status.UPDATED:
            self._one_went_through, self._in_vain = True, 0
        elif outcome.http_status is not None or (outcome.state in _SENT_IN_VAIN and not outcome.given_up):
            self._one_went_through = True
            self._in_vain += outcome.status is not Status.DUPLICATE
        if outcome.http_status == HTTPStatus.UNAUTHORIZED:
            self._summary.stop("Salesforce refused the token (401): the rest would fare no better")
        elif self._in_vain >= MOST_FAILURES_IN_A_ROW:
            self._summary.stop(f"{MOST_FAILURES_IN_A_ROW} updates in a row did not succeed: see the log for why")
        return self._keep_trace(job, outcome)

    def _keep_trace(self, job: _Job, outcome: Outcome) -> bool:
        """Note a contact that failed before its claim, where no later search would find it; False if that failed."""
        if outcome.status is not Status.RETRY_LATER or outcome.state is not None or job.ended is None:
            return True
        oldest = self._started - self.means.usual.look_back + _LAST_CHANCE
        if self.request.cursor == "" and job.ended >= oldest:
            return True
        try:
            now = self.means.clock.now()
            self.means.backlog.keep_unsent(job.contact_id, self.request.scope, outcome.detail, now)
        except LedgerUnavailable as failure:
            self._summary.stop(str(failure))
            return False
        return True

    def _report(self) -> None:
        summary, report = self._summary, self.means.report
        if not self.request.dry_run:
            if summary.unseen is not None:
                report.unseen(summary.unseen.start, summary.unseen.end)
            for metric, number in summary.metrics().items():
                report.counted(metric, number)
            report.flush(Source.RECONCILE)
            expires_at = self.means.sync.tokens.expires_at()
            hours_left = (expires_at - self._started).total_seconds() / 3600 if expires_at else None
            report.health(summary.oldest_claim_seconds, hours_left)
        report.progress("reconciled", **summary.progress())
        if summary.stopped is not None and not summary.harmless:
            report.stopped(summary.stopped)


def _done_until(page: Page, left: Sequence[_Job]) -> datetime:
    """Return the moment before which all contacts are done, after a page of which some are left."""
    if not left:
        return page.done_until
    return (
        min(job.ended for job in left if job.ended is not None) if page.in_order else datetime.min.replace(tzinfo=UTC)
    )
