"""Killing and freezing a sandbox while one of its calls is under way."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.sandbox import Context, ProcessSandbox
from tools.local.gateway import Fault
from tools.local.local_stack import LocalStack
from tools.local.misbehaviour import Close

PATCH = "PATCH"
BEFORE, AFTER = "before", "after"
# Far more time than a test takes: what ends the sandbox is what we do to it, not a time-out.
PATIENT = {"TEST_AWS_SECONDS": "30", "TEST_PATCH_SECONDS": "60"}
PATIENT_CONTEXT = Context(remaining=180.0)


@dataclass(frozen=True)
class Interruption:
    """A sandbox with a call under way that is held back.

    Attributes:
        sandbox: to be killed, frozen and thawed.
        release: lets the call go on, and all that follow go well.
    """

    sandbox: ProcessSandbox
    release: Callable[[], None]


@contextmanager
def interrupted(
    stack: LocalStack,
    environment: Mapping[str, str],
    event: object,
    call: str,
    when: str,
    *,
    nth: int = 1,
    **options: Any,
) -> Iterator[Interruption]:
    """Run an event in a process, stopped at its nth such request, before or after the request's effect.

    A call interrupted before its effect has none later either: its connection is closed. At the end of the ``with``
    the process is killed, if it still lives. Options are `ProcessSandbox`'s.
    """
    under_way, go_on = threading.Event(), threading.Event()
    seen = iter(range(1, 1000))

    def hold(called: str) -> None:
        if called == call and next(seen) == nth:
            under_way.set()
            go_on.wait(60)

    def release() -> None:
        stack.salesforce.before_apply = stack.salesforce.after_apply = None
        stack.gateway.heal()
        go_on.set()

    if call == PATCH:
        setattr(stack.salesforce, f"{when}_apply", lambda _: hold(PATCH))
        if when == BEFORE:
            stack.salesforce.next(Close(applied=False))
    else:
        setattr(stack.gateway, when, hold)
        if when == BEFORE:
            stack.gateway.fail(call, Fault.REFUSED, skip=nth - 1, times=1)
    with ProcessSandbox(environment, event, context=PATIENT_CONTEXT, **options) as sandbox:
        try:
            if not under_way.wait(30):
                raise TimeoutError(f"{call} was not called; it ended as {sandbox.result(1)}")
            yield Interruption(sandbox, release)
        finally:
            sandbox.kill()
            release()
