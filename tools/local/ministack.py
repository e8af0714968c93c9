"""MiniStack, the embedded AWS, as a process of its own: DynamoDB, Secrets Manager and what else a stack needs."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from tools.local.loopback import HOST, free_ports

_START_SECONDS = 30.0
_STOP_SECONDS = 5.0
# MiniStack reads the first two; the rest keeps it from opening ports of its own beside the gateway's.
_QUIET = {"BINDHOST": HOST, "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0", "LOG_LEVEL": "WARNING"}


class MiniStack:
    """A MiniStack that runs inside the ``with``, empty at its start, on a free port of 127.0.0.1."""

    def __init__(
        self, log: Path | None = None, port: int = 0, environment: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Make one that is not yet running.

        Args:
            log: where its output goes; nowhere if None.
            port: 0 for a free one.
            environment: further variables, which its Lambda functions see too.
        """
        self._log = log
        self._environment = environment
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``; known once started."""
        return f"http://{HOST}:{self._port}"

    def __enter__(self) -> Self:
        self._port = self._port or free_ports(1)[0]
        with contextlib.ExitStack() as opened:
            output = opened.enter_context(self._log.open("ab")) if self._log else subprocess.DEVNULL
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ministack"],
                env={**os.environ, **_QUIET, **self._environment, "GATEWAY_PORT": str(self._port)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is ours to handle; it is stopped below
            )
        try:
            self._wait_until_ready()
        except BaseException:  # Ctrl-C among them: a process of its own session would outlive us
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait_until_ready(self) -> None:
        """Wait for its health page.

        Raises:
            RuntimeError: it ended, or did not answer in time.
        """
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError("MiniStack ended while starting")
            with (
                contextlib.suppress(OSError, ValueError),
                urllib.request.urlopen(  # noqa: S310 - our own address
                    f"{self.url}/_ministack/health", timeout=1
                ) as answer,
            ):
                if json.load(answer).get("services"):
                    return
            time.sleep(0.05)
        raise RuntimeError(f"MiniStack did not answer within {_START_SECONDS} s")
