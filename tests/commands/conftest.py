import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.local.keeper import die_with_parent
from tools.local.local_stack import ROOT

FREE_PORTS = [f"--{part}-port=0" for part in ("aws", "salesforce", "ministack", "connect", "sqs")]
Run = Callable[..., subprocess.CompletedProcess[str]]


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
def running_stack(environment: dict[str, str]) -> Iterator[str]:
    """A `stack` command that runs; gives the address of its Salesforce."""
    with stopped_at_the_end(["stack", *FREE_PORTS], environment) as printed:
        [address] = re.findall(r"Salesforce +(http://127\.0\.0\.1:\d+)", printed)
        yield address


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
    assert not Path(environment["VOICECALL_SYNC_LOCAL"], "env.json").exists()
