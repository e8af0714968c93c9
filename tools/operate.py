"""``python3 -m tools operate``: the operator's command, from a clone; with ``--local``, on the kept local stack."""

from __future__ import annotations

import functools
import getpass
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.config import Config

from tools import stack
from tools.in_process import HANDLERS, LocalLog, Raised, forget_own_environment, invoke, log_file
from voicecall_cli import command_line
from voicecall_cli.log_lines import LogLines, from_file
from voicecall_cli.queues import Queues
from voicecall_cli.target import Answer, CannotOperateError
from voicecall_cli.terminal import printable, printable_json
from voicecall_sync.ledger.table import Table
from voicecall_sync.queue.api import ContactQueue

if TYPE_CHECKING:
    from types_boto3_connect import ConnectClient

PROGRAM = ("python3", "-m", "tools", "operate")
_QUICK = Config(connect_timeout=2, read_timeout=10)


def main(arguments: Sequence[str]) -> int:
    """Run an operator's command; return the exit status."""
    return command_line.main(arguments, program=PROGRAM, local=KeptStack)


class KeptStack:
    """The stack that ``python3 -m tools stack`` keeps running, whose own process runs the worker.

    It calls the functions in this process. It sets the environment of this process, so it is made once.

    Raises:
        CannotOperateError: No stack is running.
    """

    title = "the local stack"
    command = (*PROGRAM, "--local")
    reconciles_by_itself = False

    def __init__(self) -> None:
        variables = stack.running()
        if variables is None:
            raise CannotOperateError(
                "no local stack is running: start one with `python3 -m tools stack` in another terminal"
            )
        forget_own_environment()
        self._variables = {**variables, "RECONCILE_SEARCHES_PER_SECOND": "1000"}  # its Connect has no quota
        os.environ |= self._variables
        self._table = variables["IDEMPOTENCY_TABLE"]
        self._urls = variables["CONTACT_QUEUE_URL"], variables["DEAD_LETTER_QUEUE_URL"]
        self._log = LocalLog()

    @functools.cached_property
    def table(self) -> Table:
        """Return the ledger's table."""
        return Table(boto3.client("dynamodb"), self._table)

    @functools.cached_property
    def queue(self) -> ContactQueue:
        """Return the contact queue, to send to."""
        return ContactQueue(lambda: self._sqs, self._urls[0])

    @functools.cached_property
    def queues(self) -> Queues:
        """Return both queues. The age of their messages is unknown here."""
        return Queues(self._sqs, *self._urls, lambda _: None)

    @functools.cached_property
    def connect(self) -> ConnectClient:
        """Return the client of the stack's Amazon Connect."""
        return boto3.client("connect", config=_QUICK)

    def variables(self) -> Mapping[str, str]:
        """Return the variables of the stack's functions."""
        return self._variables

    def reconcile(self, request: Mapping[str, object]) -> Answer:
        """Run the reconciliation once."""
        return self._answer(invoke(HANDLERS["reconcile"], dict(request), self._log))

    def log_lines(self, contact_id: str, since: datetime) -> LogLines:
        """Search the file that invocations against this stack write their log to."""
        return from_file(log_file(), contact_id, since)

    def operator(self) -> str:
        """Return the machine's user."""
        return getpass.getuser()

    @functools.cached_property
    def _sqs(self) -> Any:  # noqa: ANN401 - there are stubs for some services only
        made: Any = boto3
        return made.client("sqs", config=_QUICK)

    def _answer(self, answer: object) -> Answer:
        if isinstance(answer, Raised):
            return Answer({}, printable(answer.message))
        return Answer(cast("Mapping[str, object]", printable_json(json.dumps(answer))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
