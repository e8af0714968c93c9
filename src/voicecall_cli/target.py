"""The stack that the commands work on, be it on AWS or on this machine."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from voicecall_cli.log_lines import LogLines
from voicecall_cli.queues import Queues
from voicecall_sync import errors
from voicecall_sync.ledger.table import Table
from voicecall_sync.queue.api import ContactQueue

if TYPE_CHECKING:
    from types_boto3_connect import ConnectClient

_OURS = frozenset(name for name, kind in vars(errors).items() if isinstance(kind, type))


class CannotOperateError(Exception):
    """The stack or a right is missing. The message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A function's answer.

    Attributes:
        value: The object that it returned; empty if it did not return one, or failed.
        failed: Why it did not return; None if it did.
    """

    value: Mapping[str, object]
    failed: str | None = None


class Target(Protocol):
    """A ledger, the reconciliation, two queues and a log."""

    @property
    def title(self) -> str:
        """Return what to call it, as in "of …"."""
        ...

    @property
    def command(self) -> Sequence[str]:
        """Return the words that begin a command line for it, such as ``voicecall-sync --stack NAME``."""
        ...

    @property
    def reconciles_by_itself(self) -> bool:
        """Tell whether a schedule runs the reconciliation."""
        ...

    @property
    def table(self) -> Table:
        """Return the ledger's table."""
        ...

    @property
    def queue(self) -> ContactQueue:
        """Return the contact queue, to send to."""
        ...

    @property
    def queues(self) -> Queues:
        """Return both queues, to look at and to redrive."""
        ...

    @property
    def connect(self) -> ConnectClient:
        """Return Amazon Connect's client, with the operator's own credentials."""
        ...

    def variables(self) -> Mapping[str, str]:
        """Return the variables of the functions that find and update finished calls."""
        ...

    def reconcile(self, request: Mapping[str, object]) -> Answer:
        """Run the reconciliation once, and wait for its end."""
        ...

    def log_lines(self, contact_id: str, since: datetime) -> LogLines:
        """Return the log's lines about a contact."""
        ...

    def operator(self) -> str:
        """Return the operator's name, which the ledger notes for a release."""
        ...


def command_for(target: Target, *words: str) -> str:
    """Return a command line for the same target, to be pasted."""
    return shlex.join([*target.command, *words])


def reason(kind: str, message: str) -> str:
    """Name a function's failure. Only our own message is repeated, because another one may hold a value.

    Args:
        kind: The exception's type, as Lambda gives it.
        message: Its message.
    """
    return message if kind in _OURS else kind
