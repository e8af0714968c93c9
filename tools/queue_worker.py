"""The kept stack's worker: sandboxes of ContactQueueFunction behind the local queue, run as Lambda's mapping would.

Each sandbox is a process, so that each has its own breaker and its own metrics, as deployed. For each message it prints
its result as a line of JSON. Its log goes to the same place as the log of other invocations.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urljoin

import boto3

from tools.in_process import HANDLERS, LocalLog, Raised, invoke
from tools.local import keeper
from tools.local.local_stack import ROOT, LocalStack
from tools.local.mapping import EventSourceMapping
from tools.local.messages import utc_now
from voicecall_cli.terminal import printable
from voicecall_sync.asked import asked_in
from voicecall_sync.errors import InvalidInput

SANDBOXES = 2
"""The least that the parameter Concurrency allows."""


class FailedError(Exception):
    """The function raised: its messages come back."""


@contextlib.contextmanager
def running(stack: LocalStack, variables: Mapping[str, str], tell: Callable[[str], None]) -> Iterator[None]:
    """Run the worker on the stack's contact queue inside the ``with``.

    Args:
        stack: Whose queue.
        variables: The function's.
        tell: Gets a line for each message that a sandbox took; called in threads.
    """
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    command = [sys.executable, "-m", "tools.queue_worker"]
    with contextlib.ExitStack() as started:
        for _ in range(SANDBOXES):
            reading, writing = os.pipe()
            try:
                sandbox = keeper.start(
                    command, environment={**os.environ, **variables, "PYTHONPATH": paths}, log=writing, where=ROOT
                )
            finally:
                os.close(writing)
            threading.Thread(target=_listen, args=(reading, stack, tell), daemon=True).start()
            started.callback(keeper.end, sandbox)
        yield


def main() -> None:
    """Be one sandbox, until killed."""
    log = LocalLog()

    def work(event: dict[str, Any]) -> object:
        answer: Any = invoke(HANDLERS["contact_queue"], event, log)
        if isinstance(answer, Raised):
            raise FailedError(answer.message)
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        for record in event["Records"]:
            taken = {"id": record["messageId"], "body": record["body"], "comesBack": record["messageId"] in failed}
            print(json.dumps(taken), flush=True)
        return answer

    made: Any = boto3
    queue_url = os.environ["CONTACT_QUEUE_URL"]
    # The mapping is Lambda's, not the function's: it goes to SQS directly, past the gateway and its faults.
    mapping = EventSourceMapping(made.client("sqs", endpoint_url=urljoin(queue_url, "/")), queue_url)
    mapping.run(work)


def _listen(reading: int, stack: LocalStack, tell: Callable[[str], None]) -> None:
    with os.fdopen(reading, encoding="utf-8") as lines:
        for line in lines:
            try:
                tell(_line(json.loads(line), stack))
            except (ValueError, KeyError, TypeError):
                tell(printable(line.rstrip()))  # the traceback of a sandbox that fails


def _line(told: Mapping[str, Any], stack: LocalStack) -> str:
    done = "done"
    try:
        about = f"about contact {asked_in(told['body']).contact_id}"
    except InvalidInput:
        about, done = "that names no contact", "in the dead-letter queue"
    if told["comesBack"]:
        back = next((message.visible_at for message in stack.queue.messages if message.id == told["id"]), None)
        done = "comes back" + (f" at {back:%H:%M:%S}" if back else "")
    return f"{utc_now():%H:%M:%S} message {about}: {done}"


if __name__ == "__main__":
    main()
