"""``show CONTACT``: the ledger's record and the log's lines of one contact, and what the operator can do."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.text import Text

from voicecall_cli import queues, records
from voicecall_cli.evidence import evidence_of
from voicecall_cli.log_lines import LogLines
from voicecall_cli.tables import styled, table_of
from voicecall_cli.target import Target, command_for
from voicecall_cli.terminal import contact, moment, print_json, shown

LOOKED_BACK = timedelta(days=14)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("contact", type=contact, metavar="CONTACT", help="its ContactId")
    parser.add_argument(
        "--since", type=moment, metavar="ISO", help=f"how far back to search the log ({LOOKED_BACK.days} days)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace, target: Target, console: Console) -> int:
    """Show the contact; return 0, or 1 if the ledger has no record of it."""
    now = datetime.now(UTC)
    record = records.read(target, options.contact)
    means = records.meaning(target, record, now) if record else _unknown(target, options.contact)
    since = options.since or now - LOOKED_BACK
    depths = target.queues.contacts(), target.queues.dead_letters()
    if options.json:
        log = target.log_lines(options.contact, since)
        report = {
            "record": records.as_json(record) if record else None,
            "meaning": list(means),
            "evidence": evidence_of(record).as_json() if record and records.undecided(record, now) else None,
            "queues": queues.as_json(*depths),
            "log": [line.as_json() for line in log.lines],
            "logComplete": log.whole,
        }
        print_json(report)
    else:
        console.print(records.details(record) if record else Text(f"The ledger has no record of {options.contact}."))
        for paragraph in means:
            console.print()
            console.print(Text(paragraph))
        console.print()
        console.print(queues.lines(*depths))
        console.print()
        _show_log(target.log_lines(options.contact, since), since, console)
    return 0 if record else 1


def _show_log(log: LogLines, since: datetime, console: Console) -> None:
    if not log.lines:
        console.print(Text(f"The log ({log.where}) has no line about it since {shown(since)} UTC."))
    else:
        console.print(Text(f"The log ({log.where}), the oldest first:", style="bold underline"))
        table = table_of("at (UTC)", "by", "status", "detail")
        for line in log.lines:
            status = styled(str(line.fields.get("status", "-")))
            table.add_row(shown(line.at, seconds=True), Text(line.by or "-"), status, Text(line.text))
        console.print(table)
    if not log.whole:
        console.print(Text("There may be more lines, which were not looked for: choose the time with --since."))


def _unknown(target: Target, contact_id: str) -> tuple[str, ...]:
    return (
        "So it was never claimed, and nothing was sent for it. That can mean:",
        (
            "- Its event was lost, or AutomaticSource is None and no flow asked. The reconciliation finds it if it is"
            " in its scope and ended lately. To enqueue it by name:\n"
            f"  {command_for(target, 'backfill', '--contact', contact_id)}"
        ),
        "- Its event has just come: the contact queue holds it back for 90 seconds.",
        (
            "- Its event is invalid, or the rule could not deliver it: then it is in the dead-letter queue:\n"
            f"  {command_for(target, 'redrive', '--dry-run')}"
        ),
        "- It is out of scope: not a voice contact, not finished yet, or of another instance (IGNORED in the log).",
        f"- The id is another: {contact_id} must be the ContactId, of the leg that was transferred for example.",
        "- It was claimed more than 25 months ago, and forgotten since.",
    )
