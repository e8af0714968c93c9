"""The stack that ``python3 -m tools stack`` keeps running; its functions are called in this process."""

from __future__ import annotations

import functools
import getpass
import json
import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

import boto3

from tools import stack
from tools.invocation import HANDLERS, LocalLog, Raised, forget_own_environment, invoke, log_file
from tools.local.dead_letters import queue_url
from tools.operate.dead_letters import DeadLetters
from tools.operate.log_lines import LogLines, from_file
from tools.operate.target import Answer, CannotOperateError
from voicecall_sync.table import Table


class Local:
    """The running local stack. Made once in a process, whose environment it sets.

    Raises:
        CannotOperateError: None is running.
    """

    title = "the local stack"
    options = ("--local",)
    reconciles_by_itself = False

    def __init__(self) -> None:
        variables = stack.running()
        if variables is None:
            raise CannotOperateError(
                "no local stack is running: start one with `python3 -m tools stack` in another terminal"
            )
        forget_own_environment()
        os.environ |= variables
        self._table = variables["IDEMPOTENCY_TABLE"]
        self._log = LocalLog()

    @functools.cached_property
    def table(self) -> Table:
        """Return the ledger's table."""
        return Table(boto3.client("dynamodb"), self._table)

    def update(self, event: str) -> Answer:
        """Give an event to the handler."""
        return self._answer(invoke(HANDLERS["update_voice_call"], json.loads(event), self._log))

    def reconcile(self, request: Mapping[str, object]) -> Answer:
        """Run the reconciliation once."""
        return self._answer(invoke(HANDLERS["reconcile"], dict(request), self._log))

    def dead_letters(self) -> DeadLetters:
        """Return the queue that `tools invoke` keeps undelivered events in."""
        made: Any = boto3
        client = made.client("sqs")
        return DeadLetters(client, queue_url(client, self._table))

    def log_lines(self, contact_id: str, since: datetime) -> LogLines:
        """Search the file that invocations against this stack write their log to."""
        return from_file(log_file(), contact_id, since)

    def operator(self) -> str:
        """Return the machine's user."""
        return getpass.getuser()

    def _answer(self, answer: object) -> Answer:
        if isinstance(answer, Raised):
            return Answer({}, answer.message)
        return Answer(cast("Mapping[str, object]", answer))
