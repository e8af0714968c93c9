"""The options of ``voicecall-sync``, and which command runs.

The caller may hand in the local stack, which is for development only.

Exit status:

- 0: done as asked.
- 1: a contact needs an operator, or a part was not done.
- 2: no stack, no credentials or wrong options.
- 130: interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from voicecall_cli import attention, backfill, decisions, deployed, preview, redrive, show, tables
from voicecall_cli.target import CannotOperateError, Target
from voicecall_cli.terminal import printable
from voicecall_sync.errors import LedgerUnavailable

PROGRAM = "voicecall-sync"


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        example: What could stand behind ``voicecall-sync``.
    """

    purpose: str
    example: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Target, Console], int]


COMMANDS = {
    "attention": Command(
        "what needs a person; exit status 1 if something does", "attention", attention.add_options, attention.run
    ),
    "show": Command(
        "one contact's story: its record, what that means, the log",
        "show c3a85f17-6e2d-4b9c-8d41-0f1e2d3c4b5a",
        show.add_options,
        show.run,
    ),
    "preview": Command(
        "what would be sent for a contact, when, or why not; sends nothing",
        "preview c3a85f17-6e2d-4b9c-8d41-0f1e2d3c4b5a",
        preview.add_options,
        preview.run,
    ),
    "release": Command(
        "let a contact be sent once more, or all that match; or enqueue again what waits",
        "release --state REJECTED --http-status 400 --since 2026-11-22T00:00:00Z",
        decisions.add_release_options,
        decisions.release,
    ),
    "close": Command(
        "note that an UNCERTAIN contact's update was found in Salesforce",
        "close c3a85f17-6e2d-4b9c-8d41-0f1e2d3c4b5a",
        decisions.add_close_options,
        decisions.close,
    ),
    "backfill": Command(
        "find and enqueue the calls of a span of time that have no record; or calls by name",
        "backfill --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z --scope all --dry-run",
        backfill.add_options,
        backfill.run,
    ),
    "redrive": Command(
        "move the messages of the dead-letter queue back to the contact queue",
        "redrive --dry-run",
        redrive.add_options,
        redrive.run,
    ),
}


def main(
    arguments: Sequence[str], *, program: Sequence[str] = (PROGRAM,), local: Callable[[], Target] | None = None
) -> int:
    """Run an operator's command; return the exit status.

    Args:
        arguments: What follows the program on the command line.
        program: The words that start it, as help texts and suggested command lines have them.
        local: Finds the local stack, for ``--local``; None where no such stack can be.
    """
    options = parsed(arguments, program=program, local=local is not None)
    try:
        target = local() if local is not None and options.local else _deployed(options, program)
        return COMMANDS[options.command].run(options, target, tables.console())
    except (CannotOperateError, LedgerUnavailable) as failure:
        print(printable(str(failure)), file=sys.stderr)
    except (BotoCoreError, ClientError) as failure:
        print(deployed.explained(failure), file=sys.stderr)
    except BrokenPipeError:  # `| head` has closed the pipe; Python must not write to it at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 2


def parsed(arguments: Sequence[str], *, program: Sequence[str] = (PROGRAM,), local: bool = False) -> argparse.Namespace:
    """Read the arguments. If they are wrong, print why and end the process."""
    parser, commands = _parsers(" ".join(program), local=local)
    options = parser.parse_args(arguments)
    complaint = options.wrong(options) if "wrong" in options else None
    if complaint:
        commands[options.command].error(complaint)
    if options.local and (options.stack or options.region or options.profile):
        parser.error("--local does not go with --stack, --region or --profile")
    return options


def _deployed(options: argparse.Namespace, program: Sequence[str]) -> Target:
    flags = [
        word
        for name in ("stack", "region", "profile")
        if (value := getattr(options, name))
        for word in (f"--{name}", str(value))
    ]
    return deployed.found(options.stack or deployed.DEFAULT_STACK, options.region, options.profile, (*program, *flags))


def _parsers(program: str, *, local: bool) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    width = max(map(len, COMMANDS))
    listed = "\n".join(
        f"  {name:{width}}  {command.purpose}\n  {'':{width}}    {command.example}"
        for name, command in COMMANDS.items()
    )
    parser = argparse.ArgumentParser(
        prog=program,
        usage=f"%(prog)s [--stack NAME] [--region R] [--profile P]{' | --local ' if local else ''} COMMAND ...",
        description="Looks after a deployed VoiceCall Sync, with the AWS credentials boto3 finds"
        + ("; or after the local\nstack, to try all of it without an account." if local else "."),
        epilog=f"commands, with an example each:\n{listed}\n\n"
        "`... COMMAND --help` says more about one; docs/operations.md which to use when.\n\n"
        "exit status: 0 as asked; 1 something needs a person or was not done; 2 no stack, no\n"
        "credentials or wrong options; 130 interrupted",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stack", metavar="NAME", help=f"the CloudFormation stack ({deployed.DEFAULT_STACK})")
    parser.add_argument("--region", metavar="R", help="its Region, if not the one boto3 finds")
    parser.add_argument("--profile", metavar="P", help="the AWS profile, if not the one boto3 finds")
    parser.set_defaults(local=False)
    if local:
        parser.add_argument(
            "--local", action="store_true", help="the stack that `python3 -m tools stack` keeps running"
        )
    added = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", help=argparse.SUPPRESS, prog=parser.prog
    )
    commands = {}
    for name, command in COMMANDS.items():
        sub = added.add_parser(
            name,
            description=f"{command.purpose[0].upper()}{command.purpose[1:]}.",
            epilog=f"example:\n  {program} {command.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_options(sub)
        commands[name] = sub
    return parser, commands
