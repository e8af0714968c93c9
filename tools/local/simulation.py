"""VoiceCall Sync as deployed, on a clock that jumps: the worker behind its queue, contact flows and the schedule.

    contact event ──> contact queue ──> event source mapping ──> sandboxes of the worker
                                                                 the schedule ──> reconciliation

The clock jumps to the next event. An event is a visible message, a scheduled run, or a planned step of a test or
a simulated day. An invocation takes `busy` of its sandbox; the clock stands still in it, except
where the code itself sleeps.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from boto3 import Session

from tools.local.hand_clock import HandClock
from tools.local.local_stack import LocalStack
from tools.local.mapping import Delivery, EventSourceMapping
from voicecall_sync.app import App
from voicecall_sync.clock import TIMINGS, Clock, Timings
from voicecall_sync.wiring import build

SCHEDULED = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}
TIMEOUTS: Mapping[str, float] = {"update_voice_call": 8, "contact_queue": 60, "reconcile": 900}
"""The functions' Timeouts in template.yaml, by handler."""


class Killed(BaseException):
    """Lambda ended a sandbox in the middle of an invocation: no handler of ours may catch this."""


@dataclass
class MortalClock:
    """A sandbox's clock; the sandbox dies when it looks at the clock for the nth time from now."""

    clock: HandClock
    dies_in: int | None = None

    def now(self) -> datetime:
        """Return the time of day."""
        self._count()
        return self.clock.now()

    def monotonic(self) -> float:
        """Return the monotonic clock."""
        self._count()
        return self.clock.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let so much time pass, at once."""
        self.clock.sleep(seconds)

    def _count(self) -> None:
        if self.dies_in is not None:
            self.dies_in -= 1
            if self.dies_in <= 0:
                self.dies_in = None
                raise Killed


@dataclass(frozen=True, slots=True)
class SimulatedContext:
    """Lambda's context on the simulated clock."""

    clock: Clock
    ends: float
    aws_request_id: str = field(default_factory=lambda: str(uuid4()))

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the invocation may still take."""
        return max(0, int((self.ends - self.clock.monotonic()) * 1000))


@dataclass
class Sandbox:
    """One sandbox of a function."""

    clock: MortalClock
    app: App
    free_at: datetime


class Simulation:
    """The functions on one clock. The environment must be the stack's when they are first called.

    Attributes:
        mapping: the worker's; see `EventSourceMapping`.
        every: how often the schedule runs; None for never.
        timings: how long things may take, in sandboxes that are made from now on.
        busy: how long an invocation of the worker keeps its sandbox.
        deliveries: each message that was handed to the worker, with the moment.
        answers: those of the scheduled runs.
        reconciled_for: how long those took, as far as they slept.
        kills: how many sandboxes were killed.
    """

    def __init__(
        self,
        stack: LocalStack,
        clock: HandClock,
        *,
        sandboxes: int = 1,
        busy: timedelta = timedelta(),
        every: timedelta | None = None,
        timings: Timings = TIMINGS,
        session: Callable[[], Session] = Session,
    ) -> None:
        """Make the sandboxes; nothing happens yet.

        Args:
            stack: what the functions talk to, on the same clock.
            clock: see the module.
            sandboxes: the worker's, one for each that MaximumConcurrency allows.
            busy: see the class.
            every: see the class.
            timings: how long things may take; sockets go by the machine's clock.
            session: gives boto3's session.
        """
        self.stack = stack
        self.clock = clock
        self.busy = busy
        self.every = every
        self.deliveries: list[tuple[datetime, Delivery]] = []
        self.answers: list[dict[str, Any]] = []
        self.reconciled_for = timedelta()
        self.kills = 0
        self.timings = timings
        self._session = session
        self.mapping = EventSourceMapping(stack.sqs, stack.queue.url, clock=clock.now)
        self._workers = [self.new_sandbox() for _ in range(sandboxes)]
        self.flows, self.scheduled = self.new_sandbox(), self.new_sandbox()
        self.schedule(every)
        self._planned: list[tuple[datetime, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def new_sandbox(self) -> Sandbox:
        """Return a cold sandbox."""
        mortal = MortalClock(self.clock)
        app = build(mortal, lambda: str(uuid4()), self._session, self.timings)
        return Sandbox(mortal, app, self.clock.now())

    def use(self, sandbox: Sandbox) -> None:
        """Let this sandbox alone be the worker's, and the contact flows'."""
        self._workers = [sandbox]
        self.flows = sandbox

    def renew(self) -> None:
        """Replace all sandboxes by cold ones, as a deployment does."""
        self._workers = [self.new_sandbox() for _ in self._workers]
        self.flows, self.scheduled = self.new_sandbox(), self.new_sandbox()

    def schedule(self, every: timedelta | None) -> None:
        """Let the schedule run so often from now on; None for never."""
        self.every = every
        self._next_run = self.clock.now() + every if every else None

    def plan(self, moment: datetime, action: Callable[[], object]) -> None:
        """Let something happen at a moment."""
        heapq.heappush(self._planned, (moment, next(self._numbers), action))

    def tell(self, event: object) -> None:
        """Let EventBridge's rule put an event into the queue."""
        self.stack.queue.send(json.dumps(event))

    def flow(self, event: object) -> dict[str, str]:
        """Let a contact flow invoke its function."""
        return self.flows.app.update_voice_call(event, self.context(TIMEOUTS["update_voice_call"]))

    def reconcile(self, request: object = None, seconds: float = TIMEOUTS["reconcile"]) -> dict[str, Any]:
        """Run the reconciliation: as the schedule does, or by hand; in so much time."""
        event = SCHEDULED if request is None else request
        return dict(self.scheduled.app.reconcile(event, self.context(seconds)))

    def kill_next(self, looks: int) -> None:
        """Kill the worker's next sandbox when it looks at the clock for the nth time."""
        for worker in self._workers:
            worker.clock.dies_in = looks

    def run(self, span: timedelta) -> None:
        """Let time pass, and everything happen that falls into it."""
        until = self.clock.now() + span
        while (step := self._next()) is not None and step[0] <= until:
            self._jump(step[0])
            step[1]()
        self._jump(until)

    def _jump(self, moment: datetime) -> None:
        self.clock.pass_time(max(0.0, (moment - self.clock.now()).total_seconds()))

    def _next(self) -> tuple[datetime, Callable[[], object]] | None:
        steps: list[tuple[datetime, Callable[[], object]]] = []
        if self._planned:
            steps.append((self._planned[0][0], self._do_planned))
        if self._next_run is not None:
            steps.append((self._next_run, self._run_schedule))
        visible = self.stack.queue.next_visible_at if self.mapping.is_enabled else None
        if visible is not None:
            worker = min(self._workers, key=lambda one: one.free_at)
            steps.append((max(visible, worker.free_at), lambda: self._deliver(worker)))
        return min(steps, key=lambda step: step[0], default=None)

    def _do_planned(self) -> None:
        _, _, action = heapq.heappop(self._planned)
        action()

    def _run_schedule(self) -> None:
        if self._next_run is not None and self.every is not None:
            self._next_run += self.every
        started = self.clock.now()
        self.answers.append(self.reconcile())
        self.reconciled_for += self.clock.now() - started

    def _deliver(self, worker: Sandbox) -> None:
        started = self.clock.now()
        worker.free_at = started + self.busy
        try:
            turn = self.mapping.turn(
                lambda event: worker.app.contact_queue(event, self.context(TIMEOUTS["contact_queue"]))
            )
        except Killed:
            self.kills += 1
            for one in self._workers:
                one.clock.dies_in = None
            self._workers[self._workers.index(worker)] = self.new_sandbox()
            return
        self.deliveries += ((started, delivery) for delivery in turn)

    def context(self, seconds: float = TIMEOUTS["contact_queue"]) -> SimulatedContext:
        """Return what Lambda hands to an invocation that may take so long."""
        return SimulatedContext(self.clock, self.clock.monotonic() + seconds)
