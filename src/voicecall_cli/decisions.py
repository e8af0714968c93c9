"""``release`` and ``close``: what only a person can decide of a contact; each write is conditional on its record."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from rich.console import Console
from rich.text import Text

from voicecall_cli import evidence, records, watch
from voicecall_cli.target import Target, command_for
from voicecall_cli.terminal import INTERRUPTED, ask, contact, moment, printable, progress, say, shown
from voicecall_sync.errors import QueueUnavailable
from voicecall_sync.ledger.open_contacts import RELEASABLE, OpenContacts
from voicecall_sync.ledger.record import LOST_AFTER, Record
from voicecall_sync.ledger.waiting import Waiting
from voicecall_sync.outcome import Source, State
from voicecall_sync.queue.coming_back import back_by

MOST_SHOWN = 20
NOT_DONE = 1
_AT_ONCE = timedelta(0)
_ENQUEUED_LATER = (
    f"The reconciliation sends a message once this one counts as lost ({LOST_AFTER // timedelta(hours=1)} hours after"
    ' "message back by")'
)


def add_release_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `release` takes."""
    parser.add_argument("contact", type=contact, nargs="?", metavar="CONTACT", help="one contact's ContactId, or:")
    parser.add_argument("--state", choices=sorted(RELEASABLE), help="all contacts in this state")
    parser.add_argument("--http-status", type=int, metavar="CODE", help="... that Salesforce answered so")
    parser.add_argument(
        "--since", type=moment, metavar="ISO", help="... that came into the state at this moment or later"
    )
    parser.add_argument("--until", type=moment, metavar="ISO", help="... that came into it before this moment")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be released")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--now", action="store_true", help="show for two minutes what becomes of the contact")
    parser.set_defaults(wrong=_wrong)


def add_close_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `close` takes."""
    parser.add_argument("contact", type=contact, metavar="CONTACT", help="its ContactId")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def release(options: argparse.Namespace, target: Target, console: Console) -> int:
    """Let one contact, or all that match, be sent once more; return 0 if that was done."""
    return _release_many(options, target, console) if options.state else _release_one(options, target, console)


def close(options: argparse.Namespace, target: Target, console: Console) -> int:
    """Note that an UNCERTAIN contact's update was found in Salesforce; return 0 if that was done."""
    record = _decidable(options.contact, {State.UNCERTAIN}, "closed", target, console)
    if record is None:
        return NOT_DONE
    sought = evidence.evidence_of(record)
    _show_paragraphs(
        console,
        evidence.where_to_look(sought),
        evidence.what_to_compare(sought),
        f"Close it only if: {evidence.when_to_close(sought)}",
        *records.earlier_update(record),
        "Closing it says that this update was found in Salesforce. It is never sent again, and open no more.",
    )
    if not options.yes and not ask(evidence.question(sought)):
        return _unchanged(console)
    if not records.open_contacts(target).close(record, target.operator(), _now()):
        return _moved_on(target, record, console)
    console.print(Text(f"closed {record.contact_id}", style="green"))
    return 0


# --------------------------------------------------------------------------------------------------- one contact


def _release_one(options: argparse.Namespace, target: Target, console: Console) -> int:
    record = _decidable(options.contact, RELEASABLE | {State.NOT_APPLIED}, "released", target, console)
    if record is None:
        return NOT_DONE
    waits = record.state is State.NOT_APPLIED
    if waits:
        _tell_of_its_message(record, console)
    else:
        _warn(record, console)
    if options.dry_run:
        console.print(Text(f"It would be {'enqueued again' if waits else 'released'}. Nothing was changed."))
        return 0
    if not options.yes and not ask("Enqueue it again?" if waits else "Release it?"):
        return _unchanged(console)
    release = records.open_contacts(target).release
    changed = _name(target, record) if waits else release(record, target.operator(), _now())
    if not changed:
        return _moved_on(target, record, console)
    return _enqueue(options, target, record, console)


def _tell_of_its_message(record: Record, console: Console) -> None:
    """Say what it does to enqueue a contact that waits already."""
    console.print(Text("It certainly was not applied. It gets a new message; its record notes that it was named."))
    if record.dead_lettered_at is not None:
        console.print(Text("Its old message stays in the dead-letter queue, and does no harm."))
    elif record.back_by is not None and not record.lost(_now()):
        back = shown(record.back_by, seconds=True)
        console.print(Text(f"It has a message, which is back by {back} UTC at the latest: you may wait for that."))


def _name(target: Target, record: Record) -> bool:
    """Note that an operator named a contact. False: the contact has moved on."""
    waiting = Waiting(target.table, lambda: str(uuid4()))
    now = _now()
    return waiting.named(record, back_by(now, _AT_ONCE), now)


def _enqueue(options: argparse.Namespace, target: Target, record: Record, console: Console) -> int:
    """Send the message of a contact whose record is written already."""
    waits = record.state is State.NOT_APPLIED
    try:
        target.queue.send(record.contact_id, Source.OPERATOR, _AT_ONCE)
    except QueueUnavailable as failure:
        done = "" if waits else "The ledger has the release, but "
        later = "" if record.dead_lettered_at is not None else f" {_ENQUEUED_LATER}."
        sent = f"{done}{'no' if done else 'No'} message was sent."
        problem = f"{printable(str(failure))}. {sent}{later} Or run the same command again."
        console.print(Text(problem, style="red"))
        return NOT_DONE
    console.print(Text(f"{'enqueued' if waits else 'released and enqueued'} {record.contact_id}", style="green"))
    if options.now:
        return watch.until_settled(target, record, console)
    console.print(Text("The worker sends it next, as Amazon Connect describes it, if its call has ended."))
    return 0


def _warn(record: Record, console: Console) -> None:
    """Say the risk of releasing a contact. A refused one has a risk only if it was released before."""
    uncertain = record.state is State.UNCERTAIN
    if not uncertain:
        console.print(Text(f"{records.REFUSED} Releasing it allows one more."))
    if not uncertain and not records.released_before(record):
        return
    sought = evidence.evidence_of(record)
    _show_paragraphs(console, *records.earlier_update(record), evidence.where_to_look(sought))
    if uncertain:
        _show_paragraphs(console, f"Release it only if: {evidence.when_to_release(sought)}")
    console.print(Text(f"It may be a second update. {records.SECOND_UPDATE}", style="yellow"))


def _show_paragraphs(console: Console, *paragraphs: str) -> None:
    for paragraph in paragraphs:
        console.print(Text(paragraph))
        console.print()


def _decidable(
    contact_id: str, states: Collection[State], what: str, target: Target, console: Console
) -> Record | None:
    """Show a contact's record, and return it if its state is one of these; else say why not."""
    record = records.read(target, contact_id)
    if record is None:
        console.print(Text(f"The ledger has no record of {contact_id}: nothing was ever sent for it.", style="red"))
        console.print(Text(f"What that can mean:\n  {command_for(target, 'show', contact_id)}"), soft_wrap=True)
        return None
    console.print(records.details(record))
    console.print()
    if record.state in states:
        return record
    *others, last = sorted(states, reverse=True)
    named = f"{', '.join(others)} and {last}" if others else last
    console.print(Text(f"Only {named} contacts can be {what}. Nothing was changed.", style="red"))
    for paragraph in records.meaning(target, record, _now()):
        console.print(Text(paragraph), soft_wrap=True)
    return None


def _moved_on(target: Target, record: Record, console: Console) -> int:
    """Say that a conditional write met another record than the one shown."""
    standing = records.read(target, record.contact_id)
    state = standing.state if standing else None
    console.print(
        Text(f"It has moved on while it was shown: now {state or 'gone'}. Nothing was changed.", style="yellow")
    )
    return NOT_DONE


def _unchanged(console: Console) -> int:
    console.print(Text("Nothing was changed."))
    return NOT_DONE


# --------------------------------------------------------------------------------------------------- many contacts


def _wrong(options: argparse.Namespace) -> str | None:
    """Return what is wrong with the options of `release` together, None if nothing is."""
    restricted = options.http_status is not None or options.since is not None or options.until is not None
    if (options.contact is None) == (options.state is None):
        return "name one CONTACT, or all of a --state"
    if options.state is None and restricted:
        return "--http-status, --since and --until go with --state"
    if options.state is not None and options.now:
        return "--now goes with one CONTACT"
    return None


def _release_many(options: argparse.Namespace, target: Target, console: Console) -> int:
    matching = _matching(target, options)
    if not matching:
        console.print(Text("No contact matches. Nothing was changed."))
        return 0
    console.print(Text(f"Contacts that match: {len(matching)}, the newest first", style="bold underline"))
    console.print(records.listing(matching[:MOST_SHOWN], console.width))
    if len(matching) > MOST_SHOWN:
        console.print(Text(f"…and {len(matching) - MOST_SHOWN} more"))
    _warn_of_many(matching, State(options.state), target, console)
    if options.dry_run:
        console.print(Text("They would be released. Nothing was changed."))
        return 0
    restricted = options.http_status is not None or options.since is not None or options.until is not None
    wanted = "yes" if restricted else str(len(matching))
    if not options.yes and not ask(f"Release all {len(matching)}?", wanted):
        return _unchanged(console)
    return _release_all(records.open_contacts(target), matching, target, console)


def _warn_of_many(matching: Sequence[Record], state: State, target: Target, console: Console) -> None:
    before = sum(map(records.released_before, matching))
    if state is State.UNCERTAIN:
        show = command_for(target, "show", "CONTACT")
        console.print(Text(f"What to look for in Salesforce before you release one:\n  {show}"), soft_wrap=True)
    else:
        console.print(Text("The last attempt of each applied nothing. Releasing them allows one more of each."))
    if before:
        warning = f"Released before: {before}. An earlier update of these may have been applied."
        console.print(Text(warning, style="yellow"))
    if before or state is State.UNCERTAIN:
        console.print(Text(f"It may be a second update. {records.SECOND_UPDATE}", style="yellow"))


def _matching(target: Target, options: argparse.Namespace) -> list[Record]:
    """Return what matches, the newest first, and read no further than that."""
    matching = []
    for record in records.opened(target, State(options.state), newest_first=True):
        if options.since is not None and (record.since is None or record.since < options.since):
            break
        too_new = options.until is not None and (record.since is None or record.since >= options.until)
        other = options.http_status is not None and record.http_status != options.http_status
        if not too_new and not other:
            matching.append(record)
    return matching


def _release_all(open_contacts: OpenContacts, matching: Sequence[Record], target: Target, console: Console) -> int:
    by = target.operator()
    counts: Counter[bool] = Counter()
    interrupted, failure = False, ""
    try:
        with progress() as bar:
            for record in bar.track(matching, description="releasing"):
                released = open_contacts.release(record, by, _now())
                counts[released] += 1
                if released:
                    target.queue.send(record.contact_id, Source.OPERATOR, _AT_ONCE)
    except KeyboardInterrupt:
        interrupted = True
        say("interrupted; the same command goes on with the rest. The last one may lack its message for two hours")
    except QueueUnavailable as unavailable:
        failure = f"{printable(str(unavailable))}. The last one was released without a message. {_ENQUEUED_LATER}."
    finally:
        console.print(Text(f"released {counts[True]}; skipped, because they moved on meanwhile: {counts[False]}"))
    return _left(len(matching) - counts.total(), failure, console, interrupted=interrupted)


def _left(left: int, failure: str, console: Console, *, interrupted: bool) -> int:
    if failure:
        console.print(Text(failure, style="red"))
    if left:
        console.print(Text(f"not come to: {left}. The same command goes on with them.", style="yellow"))
    if not failure:
        console.print(Text("The worker sends them next, as Amazon Connect describes them."))
    if interrupted:
        return INTERRUPTED
    return NOT_DONE if failure else 0


def _now() -> datetime:
    return datetime.now(UTC)
