"""The real handlers called as Lambda calls them, in this process, against the local stack."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from tools.examples import CONTACTS, Examples, files
from tools.local.local_stack import ROOT, LocalStack
from tools.local.simulation import TIMEOUTS
from voicecall_sync import handlers, settings
from voicecall_sync.connect.events import asked_by
from voicecall_sync.contact import Scope
from voicecall_sync.errors import InvalidInput, VoiceCallSyncError
from voicecall_sync.reconciliation.request import KEYS as REQUEST_KEYS
from voicecall_sync.reconciliation.request import ReconcileDefaults, parse

Handler = Callable[[object, object], object]
HANDLERS: Mapping[str, Handler] = {
    name: function
    for name, function in inspect.getmembers(handlers, inspect.isfunction)
    if function.__module__ == handlers.__name__
}
"""The Lambda entry points, by name."""


@dataclass(frozen=True, slots=True)
class LambdaContext:
    """What the handlers use of the object that Lambda hands them."""

    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    ends: float = field(default_factory=lambda: time.monotonic() + TIMEOUTS["update_voice_call"])

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the invocation may still take."""
        return max(0, int((self.ends - time.monotonic()) * 1000))


@dataclass(frozen=True, slots=True)
class Raised:
    """The handler raised, which is an error of the invocation."""

    message: str


class LocalLog(io.TextIOBase):
    """What handlers log against a kept stack: appended to a file beside its settings, and perhaps shown as well.

    Args:
        shown: where to.
    """

    def __init__(self, shown: TextIO | None = None) -> None:
        self._shown = shown

    def write(self, text: str) -> int:
        """Append, however many processes do: nothing stays open in between."""
        with log_file().open("a", encoding="utf-8") as file:
            file.write(text)
        if self._shown is not None:
            self._shown.write(text)
        return len(text)

    def writable(self) -> bool:
        """Tell that it is."""
        return True

    def flush(self) -> None:
        """Flush what is shown."""
        if self._shown is not None:
            self._shown.flush()


def local_folder() -> Path:
    """Return the folder for what the commands leave behind: .local, or what VOICECALL_SYNC_LOCAL names."""
    folder = Path(os.environ.get("VOICECALL_SYNC_LOCAL") or ROOT / ".local").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def log_file() -> Path:
    """Return where the log of invocations against a kept stack is; it begins and ends with the stack."""
    return local_folder() / "log.jsonl"


def shown(path: Path) -> str:
    """Return a path as one would type it in the project's folder."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def handler_for(event: object) -> str:
    """Return the name of the handler that an event is meant for: the queue's, the reconciliation, or one contact's."""
    if isinstance(event, Mapping) and "Records" in event:
        return "contact_queue"
    try:
        parse(event, ReconcileDefaults(Scope.ABANDONED, timedelta(hours=24), not_before=None), datetime.now(UTC))
    except InvalidInput as refused:
        return "reconcile" if refused.field in REQUEST_KEYS else "update_voice_call"
    return "reconcile"


def invoke(handler: Handler, event: object, log: TextIO | LocalLog) -> object | Raised:
    """Call a handler once, with its Timeout as deployed. Its log goes to `log`.

    It catches only the handlers' own exceptions, because any other one is a defect.

    Args:
        handler: one of HANDLERS.
        event: any JSON.
        log: the same in every call of a process: the function's logger keeps the first one it sees.
    """
    limit = TIMEOUTS[getattr(handler, "__name__", "update_voice_call")]
    with contextlib.redirect_stdout(log):
        try:
            return handler(event, LambdaContext(ends=time.monotonic() + limit))
        except VoiceCallSyncError as failure:
            return Raised(str(failure))


def forget_own_environment() -> None:
    """Keep a developer's own AWS profile, Region, proxy and exported settings from the function and the stack."""
    ours = {*settings.SENDING, *settings.WITH_DEAD_LETTERS, *settings.RECONCILING, *settings.OPTIONAL} - {"LOG_LEVEL"}
    for name in list(os.environ):
        if name in ours or name.startswith("AWS_"):
            del os.environ[name]
    os.environ |= {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def settings_for(stack: LocalStack) -> dict[str, str]:
    """Return the variables with which the functions work against a stack; its Amazon Connect has no quota."""
    return stack.environment() | {"RECONCILE_SEARCHES_PER_SECOND": "1000"}


def load_contacts(stack: LocalStack, examples: Examples) -> frozenset[str]:
    """Let the simulators know the contacts that the files in events/ are about.

    Salesforce has a record for a call that was offered to an agent, or that a contact flow reports. The other calls,
    above all abandoned ones, do not have a record until a PATCH creates it.

    Returns:
        The ids of the calls that Salesforce has a record of.
    """
    known: Any = examples.read(CONTACTS)
    stack.connect.load(known)
    offered = {contact["Id"] for contact in known["contacts"] if _was_with_an_agent(contact)}
    told_of = {asked_by(examples.read(path)).contact_id for path in files() if path.name.startswith("contact-flow")}
    for call_id in sorted(offered | told_of):
        stack.salesforce.seed(call_id)
    return frozenset(offered | told_of)


def _was_with_an_agent(contact: Mapping[str, Any]) -> bool:
    connected = contact.get("AgentInfo", {}).get("ConnectedToAgentTimestamp")
    return connected is not None and not connected.startswith("1970")
