import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tools.local.keeper import die_with_parent
from tools.local.local_stack import ROOT

FREE_PORTS = [f"--{part}-port=0" for part in ("aws", "salesforce", "ministack", "connect", "sqs")]
Run = Callable[..., subprocess.CompletedProcess[str]]
PARTS = 5
"""What a stack has that listens: the gateway, MiniStack, Salesforce, Connect and SQS."""
POLL_SECONDS = 0.2


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the commands of one test session run with: no stack of the developer's own is found, none is disturbed."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
        "VOICECALL_SYNC_LOCAL": str(tmp_path_factory.mktemp("local")),
        "COLUMNS": "120",
    }


@pytest.fixture(scope="session")
def run(environment: dict[str, str]) -> Run:
    """Runs a command's module with this Python, without the set-up, and waits for its end."""

    def command(name: str, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"tools.{name}", *arguments],
            cwd=ROOT,
            env={**environment, **changes},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    return command


@pytest.fixture(scope="session")
def run_seen_listening(environment: dict[str, str]) -> Run:
    """Runs a command that starts a stack of its own, as `run` does. It must listen on loopback only."""

    def command(name: str, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        line, settings = [sys.executable, "-m", f"tools.{name}", *arguments], {**environment, **changes}
        for _ in range(5):  # on a busy machine a command may be over before we look
            seen: set[tuple[str, int]] = set()
            with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
                with subprocess.Popen(line, cwd=ROOT, env=settings, stdout=out, stderr=err) as process:
                    while process.poll() is None:
                        seen |= listening(psutil.Process(process.pid))
                        time.sleep(POLL_SECONDS)
                for file in (out, err):
                    file.seek(0)
                done = subprocess.CompletedProcess(line, process.returncode, out.read(), err.read())
            assert {ip for ip, _ in seen} <= {"127.0.0.1"}
            if len(seen) == PARTS:
                break
        assert len(seen) == PARTS
        return done

    return command


def processes(root: psutil.Process) -> list[psutil.Process]:
    """The process and all that it started."""
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def listening(root: psutil.Process) -> set[tuple[str, int]]:
    """Where a process, or one that it started, listens now."""
    found = set()
    for process in processes(root):
        try:
            sockets = process.net_connections("tcp")
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        found |= {(entry.laddr.ip, entry.laddr.port) for entry in sockets if entry.status == psutil.CONN_LISTEN}
    return found


@pytest.fixture(scope="session")
def running_stack(environment: dict[str, str]) -> Iterator[str]:
    """A `stack` command that runs; gives the address of its Salesforce."""
    with stopped_at_the_end(["stack", *FREE_PORTS], environment) as printed:
        [address] = re.findall(r"Salesforce +(http://127\.0\.0\.1:\d+)", printed)
        yield address
    assert left_in(environment) <= {"demo.log"}  # of a demo that may have run beside it


@contextmanager
def stopped_at_the_end(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    """Run a `stack` command; gives what it says once it is running, and stops it as a service manager would."""
    name, *arguments = command
    with subprocess.Popen(
        [sys.executable, "-m", f"tools.{name}", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        preexec_fn=die_with_parent,  # noqa: PLW1509 - it only asks the kernel for that
    ) as process:
        assert process.stdout is not None
        try:
            yield "".join(itertools.takewhile(lambda line: not line.startswith("Requests to"), process.stdout))
        finally:
            process.send_signal(signal.SIGTERM)
            _, complaints = process.communicate(timeout=20)
    assert (process.returncode, complaints) == (0, "stopping\n")
    assert not left_in(environment) & {"env.json", "events", "log.jsonl"}


def left_in(environment: Mapping[str, str]) -> set[str]:
    """The names of what is in the folder of local stacks."""
    return {path.name for path in Path(environment["VOICECALL_SYNC_LOCAL"]).iterdir()}
