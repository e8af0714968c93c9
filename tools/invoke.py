"""``python3 -m tools invoke EVENT_FILE``: one event to the real handler, as ``sam local invoke -e`` would.

The handler's answer goes to standard output as JSON, its log to standard error. Uses the stack that
``python3 -m tools stack`` keeps running, or else one of its own that ends with it. With a stack that is kept,
a contact's event that the handler raised for goes to the dead-letter queue, as if Lambda's retries were used up. Exit
status 1: the handler raised.
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
from tools.invocation import (
    HANDLERS,
    LocalLog,
    Raised,
    forget_own_environment,
    handler_for,
    invoke,
    load_contacts,
)
from tools.local import dead_letters
from tools.local.stack import LocalStack


def main(arguments: Sequence[str]) -> int:
    """Invoke a handler with an event file; return the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m tools invoke", description=__doc__.partition("\n\n")[2])
    parser.add_argument("event_file", type=Path, metavar="EVENT_FILE", help="e.g. events/contact-flow.json")
    parser.add_argument("--handler", choices=HANDLERS, help="the one the event is meant for, unless given")
    parser.add_argument("--keep", action="store_true", help="keep the stack running afterwards, as `stack` does")
    given = parser.parse_args(arguments)
    variables = stack.running()
    examples = Examples.at(datetime.now(UTC)) if variables is None else stack.examples()
    try:
        event = examples.read(given.event_file)
    except OSError as failure:
        parser.error(f"{given.event_file}: {failure.strerror}")
    except ValueError as failure:
        parser.error(f"{given.event_file} holds no JSON: {failure}")
    forget_own_environment()
    with contextlib.ExitStack() as opened:
        kept: LocalStack | None = None
        log: LocalLog | None = LocalLog(sys.stderr)
        if variables is None and given.keep:
            kept = opened.enter_context(stack.started(stack.PORTS, examples=examples))
            variables = kept.environment()
        elif variables is None:
            own = opened.enter_context(LocalStack())
            load_contacts(own, examples)
            variables = own.environment()
            log = None
        os.environ |= variables
        status = _invoke(given.handler or handler_for(event), event, log)
        if kept is not None:
            stack.keep(kept)
    return status


def _invoke(handler: str, event: object, log: LocalLog | None) -> int:
    """Invoke a handler; that there is a log of the stack's own tells that the stack stays when we end."""
    answer = invoke(HANDLERS[handler], event, log or sys.stderr)
    if isinstance(answer, Raised):
        print(f"raised: {answer.message}", file=sys.stderr)
        if log is not None and handler == "update_voice_call":
            _keep(event, answer)
        return 1
    print(json.dumps(answer, indent=2), flush=True)
    return 0


def _keep(event: object, raised: Raised) -> None:
    made: Any = boto3
    dead_letters.keep(made.client("sqs"), os.environ["IDEMPOTENCY_TABLE"], event, raised.message)
    print("the event is in the dead-letter queue: python3 -m tools operate --local redrive", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
