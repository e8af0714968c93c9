"""Sandboxes as Lambda has them: in this process, or as processes of their own that can be killed and frozen."""

import functools
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from boto3 import Session
from botocore.config import Config

from tools.local.keeper import die_with_parent
from voicecall_sync.app import App
from voicecall_sync.clock import Clock, SystemClock, Timings
from voicecall_sync.errors import VoiceCallSyncError
from voicecall_sync.wiring import build

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

    import pytest

    from tools.local.local_stack import LocalStack

UPDATE, QUEUE, RECONCILE = "update_voice_call", "contact_queue", "reconcile"
SCHEDULED = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}


def timings_of_tests() -> Timings:
    """Short time-outs, so that a request that hangs ends soon. The relations between them are the product's.

    A test may set TEST_FLOW_SECONDS, TEST_PATCH_SECONDS and TEST_AWS_SECONDS (one try of a request to the table). They
    are variables, so that they reach a sandbox that is a process, too.
    """
    usual = {"FLOW": 8.0, "PATCH": 3.0, "AWS": 1.0}
    flow, patch, aws = (float(os.environ.get(f"TEST_{name}_SECONDS", seconds)) for name, seconds in usual.items())
    return Timings(
        flow=flow,
        contact=1000.0,  # as much as Lambda gives
        settle=2.5 * aws,
        patch=patch,
        aws_connect=aws / 2,
        aws_answer=aws,
        connect_connect=2 * aws,
        connect_answer=4 * aws,
    )


_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.support.preload"])


@dataclass(frozen=True)
class Context:
    """Lambda's context, with the parts that the functions read."""

    remaining: float = 120.0
    aws_request_id: str = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return int(self.remaining * 1000)


RECONCILE_CONTEXT = Context(remaining=900.0)
"""The template's."""


@dataclass(frozen=True)
class Result:
    """What an invocation ended in: an answer, a raise (Lambda delivers again), or neither (it died).

    For the worker's answer the status is "done" or "comes back".
    """

    answer: dict[str, Any] | None = None
    raised: str | None = None

    @property
    def status(self) -> str:
        if self.answer is not None and "batchItemFailures" in self.answer:
            return "comes back" if self.answer["batchItemFailures"] else "done"
        if self.answer is not None:
            return str(self.answer.get("status", "reconciled"))
        return "raised" if self.raised is not None else "died"


class ShiftedClock:
    """The machine's clocks, so many seconds ahead."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._system = SystemClock()

    def ahead(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self._system.now() + timedelta(seconds=self.ahead())

    def monotonic(self) -> float:
        return self._system.monotonic() + self.ahead()

    def sleep(self, seconds: float) -> None:
        self._system.sleep(seconds)


def batch(*events: object) -> dict[str, Any]:
    """A batch of messages with these events, as Lambda's mapping hands it to the worker; no queue knows of them."""
    return {
        "Records": [
            {"messageId": f"message-{index}", "receiptHandle": "none", "body": json.dumps(event), "attributes": {}}
            for index, event in enumerate(events)
        ]
    }


class _FrugalSession(Session):
    """Loads botocore's models once, and makes like clients once: nothing in a test costs more than those.

    Alike are clients that were asked for alike while boto3's own variables were the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[object, Any] = {}

    def client(self, service_name: str, *, config: Config | None = None, **others: Any) -> Any:  # type: ignore[override]
        variables = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
        key = service_name, repr(vars(config)) if config else "", repr(others), variables
        if key not in self._made:
            make: Any = super().client
            self._made[key] = make(service_name, config=config, **others)
        return self._made[key]


@functools.cache
def frugal_session() -> _FrugalSession:
    return _FrugalSession()


class _ClockFromOutside(ShiftedClock):
    """A clock whose shift another process sets."""

    def __init__(self, shift: "Synchronized[float]") -> None:
        super().__init__(0)
        self._shift = shift

    def ahead(self) -> float:
        return self._shift.value


def send_to(address: str, stack: "LocalStack", monkeypatch: "pytest.MonkeyPatch") -> None:
    """Let what is built from here on send to another address, which the secret states, too."""
    monkeypatch.setenv("SCRT_ENDPOINT_BASE", address)
    stack.put_secret(stack.provisioned_secret(address))


class Sandbox:
    """A sandbox in this process: an App of its own, warm from its second event on."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.app: App = build(clock or SystemClock(), lambda: str(uuid4()), frugal_session, timings_of_tests())

    def get_ready(self) -> None:
        """Make what the first event would make."""
        self.app.flow()

    def invoke(self, event: object, context: object = None) -> Result:
        return self.call(UPDATE, event, context or Context())

    def reconcile(self, event: object = None, context: object = None) -> dict[str, Any]:
        """Run the reconciliation, as a schedule does unless told otherwise; it must answer."""
        result = self.call(RECONCILE, SCHEDULED if event is None else event, context or RECONCILE_CONTEXT)
        assert result.answer is not None, result
        return result.answer

    def call(self, handler: str, event: object, context: object) -> Result:
        handlers: dict[str, Callable[[object, object], Any]] = {
            UPDATE: self.app.update_voice_call,
            QUEUE: self.app.contact_queue,
            RECONCILE: self.app.reconcile,
        }
        try:
            return Result(answer=handlers[handler](event, context))
        except VoiceCallSyncError as raised:
            return Result(raised=str(raised))


class ProcessSandbox:
    """A sandbox that is a process: it can be killed and frozen at any instruction."""

    def __init__(
        self,
        environment: Mapping[str, str],
        event: object,
        *,
        context: Context | None = None,
        ahead: float = 0.0,
        handler: str = UPDATE,
        held: bool = False,
    ) -> None:
        """Start it; if it is held, it takes the event only when it is let go, and is warm then."""
        self._ours, theirs = _forks.Pipe()
        self._ahead = _forks.Value("d", ahead)
        self._process = _forks.Process(
            target=_live,
            args=(dict(environment), handler, event, context or Context(), self._ahead, held, theirs),
            daemon=True,
        )
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def wait_until_warm(self, seconds: float = 100.0) -> None:
        """Wait until it is about to take the event it is held back from."""
        assert self._ours.poll(seconds), "it did not start"
        self._ours.recv()

    def let_go(self) -> None:
        """Let it take the event."""
        self._ours.send(None)

    def kill(self) -> None:
        """Kill it, if it still lives."""
        with suppress(ProcessLookupError):
            self._signal(signal.SIGKILL)
        self._process.join()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def jump(self, seconds: float) -> None:
        """Move both its clocks, as if so much time had passed; while it is frozen, say."""
        self._ahead.value += seconds

    def result(self, seconds: float = 30.0) -> Result:
        """Wait for it to end, and return what in."""
        result = Result()
        if self._ours.poll(seconds):
            with suppress(EOFError):
                result = self._ours.recv()
        self._process.join(seconds)
        return result

    def _signal(self, number: int) -> None:
        os.kill(self.pid, number)


def fork_server_is_loaded() -> bool:
    """Tell whether ``tests.support.preload`` is loaded in a new process; without it, all works more slowly."""
    ours, theirs = _forks.Pipe()
    process = _forks.Process(target=_tell_what_is_loaded, args=(theirs,), daemon=True)
    process.start()
    loaded: bool = ours.recv()
    process.join()
    return loaded


def _tell_what_is_loaded(results: Connection) -> None:
    results.send(frugal_session.cache_info().currsize == 1)


def _live(
    environment: Mapping[str, str],
    handler: str,
    event: object,
    context: Context,
    ahead: "Synchronized[float]",
    held: bool,  # noqa: FBT001 - a process's arguments have no names
    results: Connection,
) -> None:
    die_with_parent()
    os.environ.update(environment)
    sandbox = Sandbox(_ClockFromOutside(ahead))
    if held:
        sandbox.get_ready()
        results.send(None)
        results.recv()
    result = sandbox.call(handler, event, context)
    # Lambda freezes a sandbox once it answered. Ending here as well must not wait for threads left behind.
    results.send(result)
    results.close()
    os._exit(0)
