"""``python3 -m tools stack``: keeps a local AWS, Amazon Connect and Salesforce running, to try them by hand.

While it runs, ``python3 -m tools invoke`` and ``operate --local`` use it, so that an invocation sees the records of the
one before. The worker takes messages from its contact queue as with Lambda's event source mapping. With ``--sam`` it
also prepares the files for ``sam local invoke``, in .local/sam.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import requests

from tools import queue_worker, sam
from tools.examples import Examples
from tools.in_process import (
    forget_own_environment,
    load_contacts,
    local_folder,
    log_file,
    settings_for,
    shown,
)
from tools.local.certificates import Certificate, issue
from tools.local.door import HOST, NAME_IN_CONTAINERS
from tools.local.local_stack import CONTACT_QUEUE, ROOT, LocalStack, Ports
from tools.local.messages import utc_now
from tools.local.salesforce import Received
from tools.template import load
from voicecall_cli.terminal import printable

PORTS = Ports(aws=4566, salesforce=4570, ministack=4571, connect=4572, sqs=4573)
DELAY_SECONDS = 5
"""How long the queue holds back a new message: less than deployed, because a developer is waiting for it."""

_LOOK_SECONDS = 0.2
_ANSWERED_WITHIN = timedelta(seconds=1)


class PortTakenError(Exception):
    """Something else listens where the stack should."""


@dataclass(frozen=True, slots=True)
class _Part:
    option: str
    port: int
    purpose: str


_PARTS = (
    _Part("aws", PORTS.aws, "AWS: the table, the secret, the queues and Amazon Connect"),
    _Part("salesforce", PORTS.salesforce, "Salesforce"),
    _Part("ministack", PORTS.ministack, "MiniStack, behind the first"),
    _Part("connect", PORTS.connect, "the Connect simulator, behind the first"),
    _Part("sqs", PORTS.sqs, "the SQS simulator, behind the first"),
)


def main(arguments: Sequence[str]) -> int:
    """Keep a stack running until Ctrl-C; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.sam and not options.artifact.is_dir():
        parser.error(f"--sam needs the function as built, in {shown(options.artifact)}: run `sam build` first")
    if options.container_address and not sam.is_one_address(options.container_address):
        parser.error("--container-address takes one address of this machine, such as Docker's bridge, 172.17.0.1")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    forget_own_environment()
    try:
        with contextlib.ExitStack() as opened:
            _run(options, opened)
    except PortTakenError as taken:
        print(taken, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tools stack", description=__doc__.partition("\n\n")[2])
    for part in _PARTS:
        parser.add_argument(
            f"--{part.option}-port", type=int, default=part.port, metavar="PORT", help=f"{part.purpose} ({part.port})"
        )
    parser.add_argument("--sam", action="store_true", help="also for `sam local invoke`; after `sam build`")
    parser.add_argument(
        "--container-address",
        metavar="ADDRESS",
        help="where containers reach this machine, for Docker on Linux: its bridge, 172.17.0.1 as a rule",
    )
    parser.add_argument("--artifact", type=Path, default=sam.ARTIFACT, metavar="FOLDER", help="the function as built")
    return parser


def _run(options: argparse.Namespace, opened: contextlib.ExitStack) -> None:
    ports = Ports(**{part.option: getattr(options, f"{part.option}_port") for part in _PARTS})
    certificate = issue(_own_folder("certificate")) if options.sam else None
    stack = opened.enter_context(started(ports, Examples.at(utc_now()), certificate))
    if options.container_address:
        reached = [urlsplit(url).port or 0 for url in (stack.gateway.url, stack.salesforce.url)]
        opened.enter_context(sam.relayed(options.container_address, reached))
    print(_welcome(stack), flush=True)
    if certificate is not None:
        print(_prepare_sam(stack, certificate, options.artifact, options.container_address), flush=True)
    keep(stack)


@contextlib.contextmanager
def started(ports: Ports, examples: Examples, certificate: Certificate | None = None) -> Iterator[LocalStack]:
    """Run a stack that `running` finds, the contacts of events/ in it; see `LocalStack`.

    Raises:
        PortTakenError: something listens on one of the ports already.
    """
    _require_free(ports)
    with LocalStack(ports=ports, certificate=certificate) as stack:
        stack.sqs.set_queue_attributes(QueueUrl=stack.queue.url, Attributes={"DelaySeconds": str(DELAY_SECONDS)})
        load_contacts(stack, examples)
        examples.write(events_folder())
        log_file().unlink(missing_ok=True)  # a killed stack's
        settings = env_file()
        variables = dict.fromkeys(sam.FUNCTIONS, settings_for(stack))
        settings.write_text(json.dumps(variables, indent=2) + "\n", encoding="utf-8")
        try:
            yield stack
        finally:
            settings.unlink(missing_ok=True)
            log_file().unlink(missing_ok=True)
            shutil.rmtree(events_folder(), ignore_errors=True)


def keep(stack: LocalStack) -> None:
    """Run the worker. Print each request that Salesforce gets and each message taken, until Ctrl-C."""
    printed = 0
    with (
        contextlib.suppress(KeyboardInterrupt),
        queue_worker.running(stack, settings_for(stack), lambda line: print(line, flush=True)),
    ):
        print("Requests to Salesforce, and messages of the queue:\n", flush=True)
        while True:
            for request in itertools.takewhile(_is_over, stack.salesforce.received[printed:]):
                print(_line(request), flush=True)
                printed += 1
            time.sleep(_LOOK_SECONDS)
    print("stopping", file=sys.stderr)


def env_file() -> Path:
    """Return where the settings for a running stack are."""
    return local_folder() / "env.json"


def events_folder() -> Path:
    """Return where a stack keeps the files of events/, moved to the time of its contacts."""
    return local_folder() / "events"


def examples() -> Examples:
    """Return the files of events/ as the running stack has them."""
    return Examples(timedelta(), kept=events_folder())


def running() -> Mapping[str, str] | None:
    """Return the settings for a stack that another process keeps running, None if none does."""
    try:
        variables: dict[str, str] = json.loads(env_file().read_text(encoding="utf-8"))[sam.FUNCTION]
        held = f"{variables['SCRT_ENDPOINT_BASE']}/simulator/voiceCalls"
        answer = requests.get(held, timeout=2, verify=variables.get("REQUESTS_CA_BUNDLE", True))
    except (OSError, ValueError, KeyError):  # requests' own are OSErrors
        return None  # a file that a killed stack left behind
    return variables if answer.ok else None


def _require_free(ports: Ports) -> None:
    for part in _PARTS:
        port = getattr(ports, part.option)
        try:
            socket.create_server((HOST, port)).close()
        except OSError as failure:
            raise PortTakenError(
                f"port {port} cannot be used ({os.strerror(failure.errno or 0)}): is another stack running?"
                f" Choose one with --{part.option}-port"
            ) from None


def _is_over(request: Received) -> bool:
    """Tell whether a request is over: it was answered, or it will not be answered any more."""
    return request.status is not None or utc_now() - request.at > _ANSWERED_WITHIN


def _line(request: Received) -> str:
    what = printable(f"{request.at:%H:%M:%S} {request.method} {request.path}".rstrip())
    answered = "no answer" if request.status is None else str(request.status)
    effect = "applied" if request.applied else f"not applied{f': {request.refusal}' if request.refusal else ''}"
    return f"{what} -> {answered}, {printable(effect)}"


def _welcome(stack: LocalStack) -> str:
    salesforce, deployed = stack.salesforce.url, CONTACT_QUEUE["DelaySeconds"]
    authority = stack.environment().get("REQUESTS_CA_BUNDLE")
    curl = f"curl --cacert {shown(Path(authority))}" if authority else "curl"
    failure = '{"behaviour": "Answer", "status": 503, "headers": {"Retry-After": "2"}}'
    return f"""\
The local stack is running; Ctrl-C stops it, and what it holds is gone then.
{queue_worker.SANDBOXES} sandboxes of the worker take messages from the contact queue.
It holds back a new message for {DELAY_SECONDS} s, not for {deployed} s as a deployed one. All else is as deployed:
what fails comes back after 1, 5, 15 and 60 minutes, or when Salesforce says.

  AWS, Amazon Connect   {stack.gateway.url}
  Salesforce            {salesforce}
  settings for both     {shown(env_file())}

In another terminal:

  python3 -m tools invoke events/contact-event-completed.json
      the second time it is a DUPLICATE
  python3 -m tools invoke events/contact-event-outbound.json --to-queue
      into the queue, as a contact event comes when deployed
  python3 -m tools operate --local attention
      the operator's commands, on what is in here
  {curl} {salesforce}/simulator/voiceCalls
      what Salesforce holds; /simulator/received: every request it got
  {curl} --data '{failure}' {salesforce}/simulator/next
      lets the next PATCH fail so; others: {{"behaviour": "Reset", "applied": true}}, {{"behaviour": "Hang"}}, ...
"""


def _prepare_sam(stack: LocalStack, certificate: Certificate, artifact: Path, address: str | None) -> str:
    """Write what SAM needs; return the command."""
    folder = local_folder() / "sam"
    sam.prepare(
        folder,
        artifact=artifact,
        template=load(ROOT / "template.yaml"),
        authority=certificate.ca_file,
        settings=settings_for(stack),
    )
    add_host = f" \\\n      --add-host {NAME_IN_CONTAINERS}:{address}" if address else ""
    return f"""\
  sam local invoke {sam.FUNCTION} --event {shown(events_folder() / "contact-flow.json")} \\
      --template {shown(folder / "template.json")} --env-vars {shown(folder / "env.json")}{add_host}
"""


def _own_folder(name: str) -> Path:
    folder = local_folder() / name
    folder.mkdir(exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
