"""The reconciliation: finds the contacts nobody told us of, and what is left open; then the same pipeline.

    1  claims whose owner died         -> UNCERTAIN, for an operator
    2  NOT_APPLIED, due again          -> the pipeline; after a week of trying REJECTED, "given up"
    3  finished contacts in the window -> those without a record: the pipeline

A run ends in good time before its invocation does. What is left is named in its summary, and a cursor lets the next
run carry on there. Killed at any line, it has lost nothing: the next run finds the same contacts, and the ledger says
which of them are done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from itertools import islice
from traceback import extract_tb

from voicecall_sync.backlog import TRIED_FOR, Backlog, Cursor
from voicecall_sync.clock import Clock
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
from voicecall_sync.sync import Sync, TimeLimits, expecting
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
        limits: The invocation's.
        reserve: Seconds of the invocation's time in which no contact is begun any more.
        request_id: The invocation's, for the log.
    """

    means: Means
    request: ReconcileRequest
    limits: TimeLimits
    reserve: float
    request_id: str
    _started: datetime = field(init=False)
    _summary: Summary = field(init=False)
    _pool: ThreadPoolExecutor = field(init=False)
    _in_vain: int = field(init=False, default=0)
    _one_went_through: bool = field(init=False, default=False)

    def run(self) -> Summary:
        """Do what was asked for. No failure of one contact, and none of those expected, is raised."""
        self._started = self.means.clock.now()
        self._summary = Summary(self.request, window=self.request.window if self.request.contacts is None else None)
        self._one_went_through = self.request.dry_run
        with ThreadPoolExecutor(self.means.concurrency, thread_name_prefix="contact") as self._pool:
            try:
                if self.request.contacts is not None:
                    self._take_named(self.request.contacts)
                else:
                    self._look_for_dead_owners()
                    self.means.sync.tokens.current(self._started)  # without one there is nothing to begin
                    self._take_due()
                    self._take_window()
            except NotReady as failure:
                self._stop(failure)
        self._report()
        return self._summary

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
                self._give_up_dead_owner(record)
            if self.limits.deadline.left() < self.reserve:
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
        until = self.limits.deadline.left() * (1 - RETRIES_SHARE)
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
        def work() -> Result:
            outcome = self._update(record.contact_id, lambda contact: self._note_lost_parameters(record, contact))
            since = record.trying_since()
            tried_long = since is not None and self._started - since > TRIED_FOR
            if not tried_long or not isinstance(outcome, Outcome) or outcome.status is not Status.RETRY_LATER:
                return outcome
            return self._give_up(outcome)

        return work

    def _give_up(self, outcome: Outcome) -> Result:
        if self.request.dry_run:
            return "giveUp"
        detail = f"given up after {TRIED_FOR.days} days: {outcome.detail}"
        record = self.means.ledger.read(outcome.contact_id)
        if record is None or record.state is not State.NOT_APPLIED:
            return outcome
        if not self.means.backlog.give_up(record, detail, self.means.clock.now()):
            return outcome
        return replace(
            outcome, status=Status.REJECTED, detail=detail, redeliver=False, state=State.REJECTED, given_up=True
        )

    def _note_lost_parameters(self, record: Record, contact: Contact) -> None:
        if record.first_source == Source.CONTACT_FLOW and not self.request.dry_run:
            self.means.report.parameters_gone(contact.contact_id, record.digests)

    # ---------------------------------------------------------------- 3  the window

    def _take_window(self) -> None:
        cursor, window = self._resumed()
        self._summary.window = window
        if window.empty:
            self._summary.stop("nothing can lie in this window: it begins no earlier than it ends", harmless=True)
            return
        position = window.start
        search = ContactSearch(self.means.connect.search_page)
        try:
            for page in search.pages(window, self.request.scope, self._started):
                left = self._take_page(page)
                if not left:
                    position = max(position, page.done_until)
                if left or (position < window.end and self._stop_reason(self.reserve)):
                    self._summary.leave(left, page.to_come, Window(position, window.end))
                    break
                if position < window.end:
                    self._save(Cursor(position, cursor.completed_until))
                self._summary.position = position
                self.means.report.progress("reconciling", **self._summary.progress())
            else:
                self._save(Cursor(None, window.end))
                return
        except NotReady as failure:
            self._stop(failure)
            self._summary.leave([], 0, Window(position, window.end))
        self._save(Cursor(position, cursor.completed_until))

    def _resumed(self) -> tuple[Cursor, Window]:
        """Return the cursor, and the window from where an earlier run left off.

        A scheduled window looks back from where the last one was completed: what an outage of our own left unseen
        is seen later.
        """
        window, name = self.request.window, self.request.cursor
        cursor = self.means.backlog.cursor(name) if name is not None else Cursor()
        start = window.start
        if name == "" and cursor.completed_until is not None:
            start = min(
                start, max(cursor.completed_until, self._started - LONGEST_CATCH_UP) - self.means.usual.look_back
            )
        if cursor.position is not None and cursor.position < window.end:
            start = cursor.position
        not_before = self.means.usual.not_before
        return cursor, Window(max(start, not_before) if not_before else start, window.end)

    def _save(self, cursor: Cursor) -> None:
        if self.request.cursor is not None:
            self.means.backlog.save_cursor(self.request.cursor, cursor, self.means.clock.now())

    def _take_page(self, page: Page) -> list[str]:
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
        return [job.contact_id for job in left]

    def _first_try(self, found: FoundContact) -> Callable[[], Result]:
        return lambda: self._update(found.contact_id, self._require_missed)

    def _require_missed(self, contact: Contact) -> None:
        """Look again, now that the contact is described: the search's index lags."""
        self._require_ours(contact)
        if self.request.scope is Scope.ALL:
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
        instead: list[str | None] = []

        def work() -> Outcome:
            contact = self.means.connect.finished_contact(contact_id, Source.RECONCILE)
            look(contact)
            if not self.request.dry_run:
                return self.means.sync.update(contact, self.limits)
            self.means.sync.rehearse(contact)
            instead.append("update")
            return Outcome(Status.IGNORED, contact_id, "")

        def in_time() -> Outcome:
            try:
                return work()
            except TooLittleTime:
                instead.append(None)
                raise

        try:
            outcome = expecting(contact_id, in_time)
        except Exception as defect:  # noqa: BLE001 - a defect that one contact brings out must not bar all others for ever
            where = f"{type(defect).__name__} at {extract_tb(defect.__traceback__)[-1].name}"
            self.means.report.defect(contact_id, where)
            return Outcome(Status.RETRY_LATER, contact_id, f"a defect: {where}")
        return instead[0] if instead else outcome

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
                running[self._pool.submit(job.work)] = job
            if not running:
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                job, result = running.pop(future), future.result()
                if result is None:
                    self._summary.stop(_TIME_IS_UP, harmless=True)
                    waiting.append(job)
                else:
                    self._count(job, result)
        return list(waiting)

    def _stop_reason(self, reserve: float) -> str | None:
        if self._summary.stopped is None and self.limits.deadline.left() < reserve:
            if reserve > self.reserve:
                return "the share of time for contacts due again is used up"
            self._summary.stop(_TIME_IS_UP, harmless=True)
        return self._summary.stopped

    def _count(self, job: _Job, outcome: Outcome | str) -> None:
        if isinstance(outcome, str):
            self._summary.would(outcome, job.contact_id)
            return
        self._summary.add(outcome)
        if not self.request.dry_run:
            self.means.report.outcome(outcome, Source.RECONCILE, self.request_id)
            self._keep_trace(job, outcome)
        if outcome.status is Status.UPDATED:
            self._one_went_through, self._in_vain = True, 0
        elif outcome.state in _SENT_IN_VAIN and outcome.status is not Status.DUPLICATE:
            self._one_went_through = True
            self._in_vain += 1
        if outcome.http_status == HTTPStatus.UNAUTHORIZED:
            self._summary.stop("Salesforce refused a fresh token (401): the rest would fare no better")
        elif self._in_vain >= MOST_FAILURES_IN_A_ROW:
            self._summary.stop(f"{MOST_FAILURES_IN_A_ROW} updates in a row did not succeed: see the log for why")

    def _keep_trace(self, job: _Job, outcome: Outcome) -> None:
        """Note a contact that failed before its claim, where no later search would find it any more."""
        oldest = self._started - self.means.usual.look_back + _LAST_CHANCE
        if (
            outcome.status is Status.RETRY_LATER
            and outcome.state is None
            and job.ended is not None
            and job.ended < oldest
        ):
            try:
                self.means.backlog.keep_unsent(job.contact_id, outcome.detail, self.means.clock.now())
            except LedgerUnavailable as failure:
                self._summary.stop(str(failure))

    def _report(self) -> None:
        summary, report = self._summary, self.means.report
        if not self.request.dry_run:
            for metric, number in summary.metrics().items():
                report.counted(metric, number)
            report.flush(Source.RECONCILE)
            expires_at = self.means.sync.tokens.expires_at()
            hours_left = (expires_at - self._started).total_seconds() / 3600 if expires_at else None
            report.health(summary.oldest_claim_seconds, hours_left)
        report.progress("reconciled", **summary.progress())
        if summary.stopped is not None and not summary.harmless:
            report.stopped(summary.stopped)
