"""A contact's record, shown, and what its state means to an operator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from uuid import uuid4

from rich.table import Table
from rich.text import Text

from voicecall_cli import evidence
from voicecall_cli.tables import NARROW, styled, table_of
from voicecall_cli.target import Target, command_for
from voicecall_cli.terminal import printable, shown
from voicecall_sync.ledger.attention import need_of
from voicecall_sync.ledger.open_contacts import OpenContacts
from voicecall_sync.ledger.record import EXPIRED_AFTER, Record, record_of
from voicecall_sync.outcome import Source, State
from voicecall_sync.queue.coming_back import TRIED_FOR

SECOND_UPDATE = (
    "A second update overwrites totalHoldDuration, numberOfHolds and agentInteractionDuration with what it carries;"
    " what it does not carry becomes zero. It also closes the conversation in Salesforce."
)
REFUSED = "Its last attempt applied nothing."
LOCALLY_BY_HAND = "python3 -m tools invoke events/scheduled.json"


def details(record: Record) -> Table:
    """Return all that a record says, one thing a line."""
    rows = [
        ("contact", Text(record.contact_id, style="bold")),
        ("state", _state(record)),
        ("in it since", Text(shown(record.since, seconds=True))),
        ("source", Text(record.source or "-")),
        ("first source", Text(record.first_source or "-") if record.first_source != record.source else None),
        ("found in scope", Text(record.scope) if record.scope else None),
        ("first met", Text(shown(record.met_at, seconds=True))),
        ("attempts", Text(str(record.attempts))),
        ("last claimed", Text(shown(record.claimed_at, seconds=True))),
        ("claim ends", Text(shown(record.owner_until, seconds=True)) if record.state is State.CLAIMED else None),
        ("settled", Text(shown(record.settled_at, seconds=True))),
        ("due again", _while_waiting(record, record.retry_at)),
        ("message back by", _while_waiting(record, record.back_by)),
        ("came back", _failures(record)),
        ("dead-lettered", _while_waiting(record, record.dead_lettered_at)),
        ("released", _noted(record.released_at, record.released_by)),
        ("named by an operator", Text(shown(record.named_at, seconds=True)) if record.named_at else None),
        ("closed", _noted(record.closed_at, record.closed_by)),
        ("HTTP", Text(str(record.http_status or "-"))),
        ("detail", Text(record.detail or "-")),
        ("properties", Text(", ".join(sorted(record.properties)) or "-")),
        ("custom fields", Text(", ".join(sorted(record.custom_fields)) or "-")),
    ]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value is not None:
            table.add_row(Text(name, style="dim"), value)
    return table


def read(target: Target, contact_id: str) -> Record | None:
    """Return a contact's record; None if the ledger does not have one.

    Raises:
        LedgerUnavailable: The table failed.
    """
    item = target.table.get(contact_id)
    return _printable(record_of(contact_id, item)) if item else None


def opened(target: Target, state: State, *, newest_first: bool = False) -> Iterator[Record]:
    """Return the records in an open state, the oldest first.

    Raises:
        LedgerUnavailable: The table failed.
    """
    return map(_printable, open_contacts(target).open(state, newest_first=newest_first))


def open_contacts(target: Target) -> OpenContacts:
    """Return a ledger's open contacts, to release and to close."""
    return OpenContacts(target.table, lambda: str(uuid4()))


def _printable(record: Record) -> Record:
    """Return a record as it may be shown, because a person or another program may have edited it.

    Its contact id, state and owner stay as they are: a write is conditional on them.
    """
    return replace(
        record,
        source=_known(record.source),
        first_source=_known(record.first_source),
        scope=_known(record.scope),
        detail=printable(record.detail),
        released_by=_known(record.released_by),
        closed_by=_known(record.closed_by),
        properties=tuple(map(printable, record.properties)),
        custom_fields=tuple(map(printable, record.custom_fields)),
    )


def _known(text: str | None) -> str | None:
    return None if text is None else printable(text)


def as_json(record: Record) -> dict[str, object]:
    """Return a record as JSON, in the table's spelling, without unknown fields; times in UTC."""
    fields = {
        "contactId": record.contact_id,
        "state": record.state.value if record.state else None,
        "since": _iso(record.since),
        "source": record.source or None,
        "firstSource": record.first_source or None,
        "scope": record.scope,
        "metAt": _iso(record.met_at),
        "attempts": record.attempts,
        "claimedAt": _iso(record.claimed_at),
        "ownerUntil": _iso(record.owner_until) if record.state is State.CLAIMED else None,
        "settledAt": _iso(record.settled_at),
        "retryAt": _iso(record.retry_at) if record.state is State.NOT_APPLIED else None,
        "backBy": _iso(record.back_by) if record.state is State.NOT_APPLIED else None,
        "failures": record.failures or None,
        "failedSince": _iso(record.failed_since),
        "waitsFor": record.waits_for.value if record.waits_for else None,
        "waitsSince": _iso(record.waits_since),
        "deadLetteredAt": _iso(record.dead_lettered_at),
        "releasedAt": _iso(record.released_at),
        "releasedBy": record.released_by,
        "namedAt": _iso(record.named_at),
        "closedAt": _iso(record.closed_at),
        "closedBy": record.closed_by,
        "httpStatus": record.http_status,
        "detail": record.detail or None,
        "properties": sorted(record.properties) or None,
        "customFields": sorted(record.custom_fields) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def listing(records: Iterable[Record], width: int) -> Table:
    """Return a table of records, a row each; in a narrow terminal the detail stands below the contact."""
    numbers = ("since (UTC)", "attempts", "HTTP")
    table = table_of("contact\ndetail", *numbers) if width < NARROW else table_of("contact", *numbers, "detail")
    for record in records:
        cells = [shown(record.since), str(record.attempts), str(record.http_status or "-")]
        detail = Text(record.detail or "-")
        if width < NARROW:
            table.add_row(Text("\n  ").join((_contact(record), detail)), *cells)
        else:
            table.add_row(_contact(record), *cells, detail)
    return table


def waiting(records: Iterable[Record], width: int) -> Table:
    """Return a table of contacts whose message comes back, a row each."""
    narrow = width < NARROW
    headings = ("came back", "back by (UTC)")
    table = (
        table_of("contact\ndetail", *headings) if narrow else table_of("contact", *headings, "since (UTC)", "detail")
    )
    for record in records:
        contact, detail = _contact(record), Text(record.detail or "-")
        cells = (str(record.failures), shown(record.back_by))
        if narrow:
            table.add_row(Text("\n  ").join((contact, detail)), *cells)
        else:
            table.add_row(contact, *cells, shown(record.waiting_since), detail)
    return table


def needs_a_person(record: Record, now: datetime) -> bool:
    """Tell whether an operator must decide."""
    return record.state is None or need_of(record, now) is not None


def undecided(record: Record, now: datetime) -> bool:
    """Tell whether only Salesforce can show the result."""
    return record.state is State.UNCERTAIN or record.claim_expired(now)


def released_before(record: Record) -> bool:
    """Tell whether an operator released it, so that more than one PATCH may have been sent."""
    return bool({"releasedAt", "releasedBy"} & record.history.keys())


def earlier_update(record: Record) -> Sequence[str]:
    """Return a paragraph about the update before an operator's release; nothing if there was no release."""
    if not released_before(record):
        return ()
    at = f"{shown(record.released_at, seconds=True)} UTC" if record.released_at else "an unknown time"
    first = f"{shown(record.met_at, seconds=True)} UTC" if record.met_at else "an unknown time"
    return (
        (
            f"It was released before, at {at} by {record.released_by or 'an operator'}. It was first met at"
            f" {first}; attempts so far: {record.attempts}. The record does not say how the attempts before the release"
            " ended: one may have been applied, and what you find in Salesforce may be from that one."
        ),
    )


def meaning(target: Target, record: Record, now: datetime) -> Sequence[str]:
    """Return what a record's state means and what to do, a paragraph each."""
    match record.state:
        case State.UPDATED:
            return _updated(record)
        case State.CLAIMED:
            return _claimed(target, record, now)
        case State.NOT_APPLIED:
            return _not_applied(target, record, now)
        case State.UNCERTAIN:
            return (
                "It was sent, and whether Salesforce applied it is unknown. It is not sent again by itself.",
                *earlier_update(record),
                *_what_to_look_for(target, record),
            )
        case State.REJECTED:
            return (
                f"Salesforce refused it for good; detail says why. {REFUSED} It is not sent again by itself.",
                *earlier_update(record),
                (
                    "Correct the cause (an unknown field, a wrong address or call center), then release it:\n"
                    f"  {command_for(target, 'release', record.contact_id)}"
                ),
            )
        case None:
            return (
                "Its state is unknown: the record was changed by hand. It is never sent as it is.",
                "Put the state back to what it was (point-in-time recovery keeps 35 days), or leave it.",
            )


def _what_to_look_for(target: Target, record: Record) -> Sequence[str]:
    close, release = (command_for(target, command, record.contact_id) for command in ("close", "release"))
    return evidence.paragraphs(evidence.evidence_of(record), close, release)


def _updated(record: Record) -> Sequence[str]:
    if record.closed_at or record.closed_by:
        by = record.closed_by or "An operator"
        return (f"{by} found the update in Salesforce and closed the contact. It is never sent again.",)
    # The ledger writes UPDATED only after a 2xx; a closing is noted.
    if not HTTPStatus.OK <= (record.http_status or 0) < HTTPStatus.MULTIPLE_CHOICES:
        answer = f"HTTP {record.http_status}, which is not a success" if record.http_status else "no HTTP status"
        return (
            (
                f"The record says UPDATED, but it holds {answer}, and no operator closed it: it was changed by hand."
                " It is never sent again. Whether Salesforce has the update is not known."
            ),
        )
    accepted = "Salesforce accepted the update; it applies it later and does not report the result. Nothing to do."
    if record.source != Source.CONTACT_FLOW:
        return (accepted,)
    return (
        accepted,
        (
            "A contact flow asked for it: if that was during the call, the finished call's times and durations were"
            " not sent any more. If an event came later, the log's line DUPLICATE says in what it differs."
        ),
    )


def _claimed(target: Target, record: Record, now: datetime) -> Sequence[str]:
    if not record.claim_expired(now):
        until = shown(record.owner_until, seconds=True)
        return (
            (
                f"An invocation has it and must be over by {until} UTC. Look again after that:"
                f"\n  {command_for(target, 'show', record.contact_id)}"
            ),
        )
    return (
        (
            "Its invocation ended between claim and settle: whether Salesforce got the update is unknown."
            f" (It should have been over more than {EXPIRED_AFTER.seconds} s ago.)"
        ),
        f"{_next_run(target)} makes it UNCERTAIN; only then can it be closed or released.",
        *earlier_update(record),
        *_what_to_look_for(target, record),
    )


def _not_applied(target: Target, record: Record, now: datetime) -> Sequence[str]:
    if record.since is None:
        return ("It was ignored: nothing is to be sent for it, and it is open no more. detail says why.",)
    if record.dead_lettered_at is not None:
        return _dead_lettered(target, record)
    due = "may be sent now" if record.due(now) else f"may be sent from {shown(record.retry_at, seconds=True)} UTC on"
    released = record.released_at is not None and (record.settled_at is None or record.released_at >= record.settled_at)
    known = f"{record.released_by or 'An operator'} released it" if released else "It certainly was not applied"
    waits = (
        f"{known}, and it {due}. It waits in the contact queue, and its message is back by"
        f" {shown(record.back_by, seconds=True)} UTC at the latest. {TRIED_FOR.days} days after its first failure the"
        " message goes to the dead-letter queue."
    )
    again = f"To send it a new message now:\n  {command_for(target, 'release', record.contact_id)}"
    if not record.lost(now):
        return (waits, again)
    lost = f"That is two hours past: the message is lost. {_next_run(target)} sends another, unless it is paused."
    return (waits, lost, again)


def _dead_lettered(target: Target, record: Record) -> Sequence[str]:
    release, redrive = command_for(target, "release", record.contact_id), command_for(target, "redrive")
    return (
        (
            "It certainly was not applied. Its message is in the dead-letter queue, and it is not tried again by"
            " itself; detail says why."
        ),
        f"Correct the cause, then enqueue this contact again, for another {TRIED_FOR.days} days:\n  {release}",
        f"Or everything that is in the dead-letter queue:\n  {redrive}",
    )


def _next_run(target: Target) -> str:
    if target.reconciles_by_itself:
        return "The next reconciliation (every 15 minutes)"
    return f"The next reconciliation (no schedule runs here: {LOCALLY_BY_HAND})"


def _contact(record: Record) -> Text:
    return Text(printable(record.contact_id))


def _state(record: Record) -> Text:
    return styled(record.state.value) if record.state else Text("unknown", style="red")


def _while_waiting(record: Record, at: datetime | None) -> Text | None:
    return Text(shown(at, seconds=True)) if record.state is State.NOT_APPLIED and at else None


def _failures(record: Record) -> Text | None:
    times = "once" if record.failures == 1 else f"{record.failures} times"
    since = f", since {shown(record.failed_since, seconds=True)}" if record.failed_since else ""
    return Text(f"{times}{since}") if record.failures else None


def _noted(at: datetime | None, by: str | None) -> Text | None:
    return Text(f"{shown(at, seconds=True)} by {by or 'an operator'}") if at or by else None


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
