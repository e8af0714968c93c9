"""``python -m tools.local.keeper COMMAND …``: runs a command that ends when its starter does, even if that is killed.

The starter holds the other end of the keeper's standard input. When the starter is gone, the input ends, and the
keeper kills the command with everything that the command started.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_END_SECONDS = 10.0


def start(
    command: Sequence[str], *, environment: Mapping[str, str], log: IO[bytes] | int, where: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a command under a keeper; `end` ends it, and so does any end of this process.

    The keeper has a session of its own, so that Ctrl-C in a terminal is for this process to handle.

    Args:
        command: the program and its arguments; its standard input is empty.
        environment: the command's variables, and nothing of this process's.
        log: where its output goes.
        where: its working directory; this process's if None.

    Returns:
        The keeper's process.
    """
    return subprocess.Popen(
        [sys.executable, "-I", __file__, *command],
        cwd=where,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def end(keeper: subprocess.Popen[bytes]) -> None:
    """Kill the command with everything that it started, and wait until that is done; nothing if it has ended."""
    if keeper.stdin is not None:
        keeper.stdin.close()
    keeper.wait(_END_SECONDS)


def command_of(keeper: subprocess.Popen[bytes]) -> psutil.Process | None:
    """Return the command's process, None before it has started and after it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return next(iter(psutil.Process(keeper.pid).children()), None)
    return None


def die_with_parent() -> None:
    """Let the kernel kill this process, frozen or not, when the thread that started it ends; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _adopt_orphans() -> None:
    """Become the parent of what a process leaves behind that we kill; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


_killing = threading.Lock()
"""Held so that this process does not end while its other thread still kills."""


def _keep(command: Sequence[str]) -> int:
    _adopt_orphans()
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - no other thread is there yet
    )
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    threading.Thread(target=_kill_at_the_end_of_input, daemon=True).start()
    status = child.wait()
    _kill_descendants()
    return status if status >= 0 else 128 - status


def _kill_at_the_end_of_input() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock would be held when this process ends
        pass
    _kill_descendants()


def _kill_descendants() -> None:
    with _killing:
        while descendants := psutil.Process().children(recursive=True):
            for process in descendants:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(descendants)


if __name__ == "__main__":
    sys.exit(_keep(sys.argv[1:]))
