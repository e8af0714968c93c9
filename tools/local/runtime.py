"""A built artifact under Lambda's own runtime: its interface emulator, and the runtime client awslambdaric; and `sam`.

AWS publishes both. The emulator is inside the package aws-sam-cli; the client is the one in Lambda's Python images.
There is no container here: the artifact runs with this machine's Python 3.13 and its libraries.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import requests

from tools.local import keeper
from tools.local.door import HOST
from tools.local.loopback import free_ports

_CLIENT = Path(__file__).with_name("runtime_client.lock")
_SAM = Path(__file__).with_name("sam.lock")
_PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64")
_FOR_LAMBDA = ("--implementation=cp", "--python-version=3.13", *(f"--platform={name}" for name in _PLATFORMS))
_LOCKED = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary=:all:")
_INVOCATIONS = "/2015-03-31/functions/function/invocations"
_TRIES = 3
_STARTS_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class Kit:
    """What it takes to run an artifact.

    Attributes:
        emulator: The emulator's program.
        client: The folder with awslambdaric.
        python: A Python 3.13.
    """

    emulator: Path
    client: Path
    python: str

    @classmethod
    def of(cls, client: Path, sam: Path, python: str) -> Self:
        """Put a kit together from the folders of `fetch_client` and `fetch_sam`."""
        machine = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
        emulator = sam / "samcli" / "local" / "rapid" / f"aws-lambda-rie-{machine}"
        emulator.chmod(0o755)
        return cls(emulator, client, python)


@functools.cache
def find_python() -> str | None:
    """Return a Python of the Lambda runtime's minor version that really starts, or None."""
    installed = (Path.home() / ".pyenv" / "versions").glob("3.13.*/bin/python3.13")
    candidates = [sys.executable, shutil.which("python3.13"), *map(str, installed)]
    is_runtime = "import sys; sys.exit(sys.version_info[:2] != (3, 13))"
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", is_runtime], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def fetch_client(folder: Path) -> None:
    """Get awslambdaric for Lambda's Python from the package index into a folder.

    Raises:
        subprocess.CalledProcessError: pip failed; its output is in ``stderr``.
    """
    _install(folder, _CLIENT, *_FOR_LAMBDA)


def fetch_wheels(folder: Path, lock: Path) -> None:
    """Get a lock's wheels for Lambda's Python on x86_64 from the package index into a folder, not installed.

    Raises:
        subprocess.CalledProcessError: pip failed; its output is in ``stderr``.
    """
    _pip("download", "--dest", str(folder), *_FOR_LAMBDA, "--requirement", str(lock))


def fetch_sam(folder: Path) -> None:
    """Get SAM CLI, and with it the emulator, from the package index into a folder; `run_sam` runs it.

    Raises:
        subprocess.CalledProcessError: pip failed; its output is in ``stderr``.
    """
    _install(folder, _SAM)


def run_sam(
    folder: Path, arguments: Sequence[str], *, where: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run ``sam`` with this Python and what `fetch_sam` put into the folder."""
    quiet = {"SAM_CLI_TELEMETRY": "0", "PYTHONPATH": str(folder), "PYTHON": sys.executable}
    return subprocess.run(
        [sys.executable, "-m", "samcli", *arguments],
        cwd=where,
        env={**os.environ, **quiet, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _install(folder: Path, lock: Path, *options: str) -> None:
    _pip("install", "--no-compile", "--target", str(folder), *options, "--requirement", str(lock))


def _pip(command: str, *arguments: str) -> None:
    line = [sys.executable, "-m", "pip", command, *_LOCKED, *arguments]
    subprocess.run(line, check=True, capture_output=True, text=True)


class LambdaRuntime:
    """One function, as Lambda runs it; a context manager. One invocation at a time: the emulator bears no two.

    Args:
        kit: See ``Kit.of``.
        artifact: The built folder.
        handler: The template's Handler.
        timeout: The template's Timeout, in seconds.
        environment: The function's variables, and nothing of this machine's.
        log: Where the function's output and the emulator's go.
    """

    def __init__(
        self, kit: Kit, artifact: Path, handler: str, *, timeout: int, environment: Mapping[str, str], log: Path
    ) -> None:
        self._kit, self._handler = kit, handler
        self._artifact = artifact
        self._environment = {
            "PATH": os.defpath,
            "PYTHONPATH": f"{artifact}{os.pathsep}{kit.client}",
            "PYTHONNOUSERSITE": "1",
            "AWS_LAMBDA_FUNCTION_NAME": handler.rpartition(".")[2],
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            **environment,
        }
        self.log = log

    def __enter__(self) -> Self:
        for _ in range(_TRIES):
            if self._listens():
                return self
            keeper.end(self._process)
        raise TimeoutError(f"the emulator does not listen; see {self.log}")

    def _listens(self) -> bool:
        """Start the emulator. False: it ended, as where another program took its port first, or it does not listen."""
        self._port, api = free_ports(2)
        command = [
            str(self._kit.emulator),
            *("--runtime-interface-emulator-address", f"{HOST}:{self._port}"),
            *("--runtime-api-address", f"{HOST}:{api}"),
            # -S: what that Python has besides must not stand in for what the artifact lacks, nor meddle with it.
            *(self._kit.python, "-S", "-m", "awslambdaric", self._handler),
        ]
        with self.log.open("ab") as log:
            self._process = keeper.start(command, environment=self._environment, log=log, where=self._artifact)
        ends = time.monotonic() + _STARTS_WITHIN
        while time.monotonic() < ends and self._process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection((HOST, self._port), timeout=1).close()
                return True
            time.sleep(0.01)
        return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        keeper.end(self._process)

    def invoke(self, event: object, patience: float = 60.0) -> Any:  # noqa: ANN401 - JSON, or the emulator's own words
        """Invoke the function, and return its answer; ``{"errorMessage": …}`` where it raised; text where it died."""
        body = json.dumps(event)
        answer = requests.post(f"http://{HOST}:{self._port}{_INVOCATIONS}", data=body, timeout=patience)
        try:
            return answer.json()
        except ValueError:
            return answer.text

    def signal(self, number: signal.Signals) -> None:
        """Kill, freeze or thaw the function."""
        for runtime in self.runtimes():
            with contextlib.suppress(psutil.NoSuchProcess):
                runtime.send_signal(number)

    def runtimes(self) -> list[psutil.Process]:
        """Return the processes of the function itself."""
        emulator = keeper.command_of(self._process)
        with contextlib.suppress(psutil.NoSuchProcess):
            return emulator.children() if emulator else []
        return []
