"""``python3 -m tools invoke EVENT_FILE``: one event to the real handler, as ``sam local invoke -e`` would.

The handler's answer goes to standard output as JSON. Its log goes to standard error. For messages of the queue, so does
the meaning of the answer. Uses the stack that ``python3 -m tools stack`` keeps running, or else one of its own that
ends with it. With ``--to-queue`` the event goes into that stack's queue instead, as a contact event does when deployed.
Exit status 1: the handler raised.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3

from tools import stack
from tools.examples import Examples
from tools.in_process import (
    HANDLERS,
    LocalLog,
    Raised,
    forget_own_environment,
    handler_for,
    invoke,
    load_contacts,
    settings_for,
)
from tools.local.local_stack import LocalStack
from voicecall_cli.terminal import printable
from voicecall_sync.asked import asked_in
from voicecall_sync.errors import InvalidInput
from voicecall_sync.ledger.record import Record, record_of
from voicecall_sync.ledger.table import Table
from voicecall_sync.outcome import State
from voicecall_sync.queue.messages import Message, messages_of


def main(arguments: Sequence[str]) -> int:
    """Invoke a handler with an event file; return the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m tools invoke", description=__doc__.partition("\n\n")[2])
    parser.add_argument("event_file", type=Path, metavar="EVENT_FILE", help="e.g. events/contact-flow.json")
    parser.add_argument("--handler", choices=HANDLERS, help="by default the handler that the event is for")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--keep", action="store_true", help="keep the stack running afterwards, as `stack` does")
    way.add_argument("--to-queue", action="store_true", help="put the event into the running stack's contact queue")
    options = parser.parse_args(arguments)
    variables = stack.running()
    if options.to_queue and variables is None:
        parser.error("--to-queue needs a running stack: start `python3 -m tools stack` in another terminal")
    examples = Examples.at(datetime.now(UTC)) if variables is None else stack.examples()
    try:
        event = examples.read(options.event_file)
    except OSError as failure:
        parser.error(f"{options.event_file}: {failure.strerror}")
    except ValueError as failure:
        parser.error(f"{options.event_file} holds no JSON: {failure}")
    forget_own_environment()
    if options.to_queue and variables is not None:
        os.environ |= variables
        return _send(event)
    with contextlib.ExitStack() as opened:
        kept: LocalStack | None = None
        log: LocalLog | None = LocalLog(sys.stderr)
        if variables is None and options.keep:
            kept = opened.enter_context(stack.started(stack.PORTS, examples=examples))
            variables = settings_for(kept)
        elif variables is None:
            own = opened.enter_context(LocalStack())
            load_contacts(own, examples)
            variables = settings_for(own)
            log = None
        os.environ |= variables
        status = _invoke(options.handler or handler_for(event), event, log)
        if kept is not None:
            stack.keep(kept)
    return status


def _send(event: object) -> int:
    """Put an event into the contact queue; of a batch of messages, each message."""
    batch = handler_for(event) == "contact_queue"
    bodies = [message.body for message in messages_of(event)] if batch else [json.dumps(event)]
    made: Any = boto3
    for body in bodies:
        made.client("sqs").send_message(QueueUrl=os.environ["CONTACT_QUEUE_URL"], MessageBody=body)
    print("in the contact queue; the terminal of `python3 -m tools stack` shows the result", file=sys.stderr)
    return 0


def _invoke(handler: str, event: object, log: LocalLog | None) -> int:
    """Invoke a handler; its log is the kept stack's, or standard error where the stack ends with us."""
    answer = invoke(HANDLERS[handler], event, log or sys.stderr)
    if isinstance(answer, Raised):
        print(f"raised: {printable(answer.message)}", file=sys.stderr)
        return 1
    print(json.dumps(answer, indent=2), flush=True)
    if handler == "contact_queue":
        _explain(messages_of(event), answer)
    return 0


def _explain(messages: Sequence[Message], answer: Any) -> None:  # noqa: ANN401 - any JSON
    """Say what an answer means for each message, and what the ledger says of its contact."""
    failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
    for message in messages:
        print(
            f"message {printable(message.message_id)}: {_meaning(message, comes_back=message.message_id in failed)}",
            file=sys.stderr,
        )


def _meaning(message: Message, *, comes_back: bool) -> str:
    meaning = "comes back" if comes_back else "done, SQS deletes it"
    try:
        contact_id = asked_in(message.body).contact_id
    except InvalidInput:
        return f"{meaning}; it names no contact, and the log says where it went"
    made: Any = boto3
    item = Table(made.client("dynamodb"), os.environ["IDEMPOTENCY_TABLE"]).get(contact_id)
    return f"{meaning}; contact {contact_id}: {_summary(record_of(contact_id, item)) if item else 'no record'}"


def _summary(record: Record) -> str:
    waits = record.state is State.NOT_APPLIED and record.since is not None
    return f"{record.state}{' (it waits)' if waits else ''}, {printable(record.detail)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
