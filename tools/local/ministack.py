"""MiniStack, the embedded AWS, as a process of its own: DynamoDB, Secrets Manager and what else a stack needs."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from tools.local import keeper
from tools.local.door import HOST
from tools.local.loopback import free_ports

ROOT = Path(__file__).parents[2]
_START_SECONDS = 30.0
# MiniStack's own names. The first two keep it from opening further ports; ours is bound by `ministack_server`.
_QUIET = {"IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0", "LOG_LEVEL": "WARNING"}
SERVICES = ("dynamodb", "secretsmanager", "sqs")
"""What the function talks to beside Amazon Connect; what a stack needs that nothing is deployed into."""


class MiniStack:
    """A MiniStack that runs inside the ``with``, empty at its start, on a free port of 127.0.0.1."""

    def __init__(
        self,
        log: Path | None = None,
        port: int = 0,
        environment: Mapping[str, str] = MappingProxyType({}),
        services: Collection[str] = SERVICES,
    ) -> None:
        """Make one that is not yet running.

        Args:
            log: where its output goes; nowhere if None.
            port: 0 for a free one.
            environment: further variables, which its Lambda functions see too.
            services: what it serves, in MiniStack's names; what else is asked of it fails. None at all: everything.
        """
        self._log = log
        self._environment = {**environment, "SERVICES": ",".join(services)}
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
            self._process = keeper.start(
                [sys.executable, "-m", "tools.local.ministack_server", str(self._port)],
                environment={**os.environ, **_QUIET, **self._environment, "GATEWAY_PORT": str(self._port)},
                log=output,
                where=ROOT,
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
        if self._process is not None:
            keeper.end(self._process)

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
