"""The tables of the commands: of outcomes, of VoiceCalls, of the ledger. Values in, rich's tables out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tools.local.voice_call_rules import VoiceCall
from voicecall_cli.tables import NARROW, styled, table_of
from voicecall_cli.terminal import printable

_Line = TypeVar("_Line", str, Text)
_SHOWN_OF_ID = 8
_UNKNOWN = "-"
_OUTCOME_HEADINGS = ("at (UTC)", "event", "source", "status", "PATCH", "detail")
_VOICE_CALL = (
    ("call", "record"),
    ("from", "to"),
    ("initiated", "start (UTC)"),
    ("length", "talk", "hold"),
    ("queue", "agent", "ended"),
    ("custom fields",),
    ("recording", "PATCHes"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """The outcome of a contact, or of several with the same outcome.

    Attributes:
        at: When; of several, the first.
        what: The event's name.
        count: Of how many contacts.
        sent: Salesforce's status for each PATCH sent for one of them; empty where nothing was sent.
    """

    at: datetime
    what: str
    count: int
    source: str
    status: str
    sent: Sequence[str]
    detail: str


@dataclass(frozen=True, slots=True)
class Chapter:
    """The outcomes of a part of the morning, under a title."""

    title: str
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Shown:
    """A VoiceCall as Salesforce holds it, how many PATCHes it took, and whether one of them created it."""

    call: VoiceCall
    patches: int
    created: bool


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """The ledger's record of a contact, or of several with the same values.

    Attributes:
        contact: The id; of several, that of one.
        count: Of how many contacts.
        at: When it came into its state; of several, the last.
    """

    contact: str
    state: str
    source: str
    attempts: int
    http_status: int | None
    detail: str
    at: datetime
    count: int = 1

    def merged(self, other: LedgerRow) -> LedgerRow:
        """Return both as one."""
        return replace(self, count=self.count + other.count, at=max(self.at, other.at))


def chapters(told: Sequence[Chapter], width: int) -> Group:
    """Return the tables of the outcomes, one for each chapter, with equal columns."""
    narrow = width < NARROW
    headings = ("at (UTC)", "event\ndetail", "status", "PATCH") if narrow else _OUTCOME_HEADINGS
    cells = [[_row(row, narrow=narrow) for row in chapter.rows] for chapter in told]
    others = [heading.split("\n")[0] for heading in headings]
    widest = [
        max(max(map(len, str(cell).split("\n"))) for cell in column)
        for column in zip(others, *itertools.chain.from_iterable(cells), strict=True)
    ]
    shown: list[RenderableType] = []
    for chapter, rows in zip(told, cells, strict=True):
        table = table_of(*headings)
        table.show_header = chapter is told[0]
        for column, least in zip(table.columns, widest, strict=True):
            if column.overflow != "fold":
                column.min_width = least
        for row in rows:
            table.add_row(*row)
        shown += [Text(f"\n{chapter.title}", style="bold"), table]
    return Group(*shown)


def voice_calls(calls: Iterable[Shown], width: int) -> Table:
    """Return a table of the VoiceCalls, a row each; values that belong together share a cell."""
    rows = [_cells(shown) for shown in calls]
    headings: list[tuple[str, ...]] = list(_VOICE_CALL)
    if width < NARROW:
        rows, headings = [_narrowed(cells) for cells in rows], _narrowed(headings)
    height = max(map(len, headings))
    table = table_of(*("\n".join(lines) + "\n" * (height - len(lines)) for lines in headings), lines=True)
    for cells in rows:
        table.add_row(*(Text("\n").join(lines) for lines in cells))
    return table


def ledger(entries: Iterable[LedgerRow]) -> Table:
    """Return a table of the ledger's records, a row for each contact."""
    table = table_of("contact", "state", "source", "attempts", "HTTP", "detail", "settled (UTC)")
    for entry in entries:
        table.add_row(
            short(entry.contact) if entry.count == 1 else f"{entry.count} calls",
            styled(entry.state),
            entry.source,
            str(entry.attempts),
            str(entry.http_status or _UNKNOWN),
            Text(entry.detail),
            f"{entry.at.astimezone(UTC):%H:%M:%S}",
        )
    return table


def short(contact_id: str) -> str:
    """Return the beginning of an id, enough to tell it from the others."""
    return contact_id[:_SHOWN_OF_ID]


def _row(row: Row, *, narrow: bool) -> list[Text]:
    """Return the cells for the outcome of a contact, or of several."""
    what = row.what if row.count == 1 else f"{row.count} calls"
    detail = [Text(f"{what}\n  {row.detail}")] if narrow else [Text(what), Text(row.source)]
    sent = Text(", ".join(row.sent) or _UNKNOWN)
    return [Text(f"{row.at:%H:%M:%S}"), *detail, styled(row.status), sent, *([] if narrow else [Text(row.detail)])]


def _cells(shown: Shown) -> list[tuple[Text, ...]]:
    """Return the lines of each cell of a call's row."""
    call, reason = shown.call, shown.call.disconnect_reason
    start = f"{call.start_time.astimezone(UTC):%b %d %H:%M}" if call.start_time else None
    seconds = (call.call_duration_in_seconds, call.agent_interaction_duration, call.customer_hold_duration)
    ended = Text(printable(reason.value), style="red" if reason.is_error else "") if reason else _known(None)
    fields = tuple(Text(printable(f"{name} {_plain(value)}")) for name, value in call.custom_fields.items())
    recording = _known(_minutes(call.recording.duration) or "yes") if call.recording else Text("no", style="dim")
    return [
        (Text(printable(short(call.call_id)), style="bold"), Text("created" if shown.created else "updated")),
        (_known(call.from_number), _known(call.to_number)),
        (_known(call.initiation_method), _known(start)),
        tuple(_known(_minutes(duration)) for duration in seconds),
        (_known(call.queue), _known(call.agent), ended),
        fields or (_known(None),),
        (recording, Text(str(shown.patches), style="bold red" if shown.patches > 1 else "")),
    ]


def _narrowed(cells: list[tuple[_Line, ...]]) -> list[tuple[_Line, ...]]:
    """Return the cells with the custom fields below queue, agent and reason, which need the room anyway."""
    *before, names, fields, last = cells
    return [*before, names + fields, last]


def _known(value: str | None) -> Text:
    return Text(printable(value)) if value else Text(_UNKNOWN, style="dim")


def _plain(value: str | float | bool) -> str:  # noqa: FBT001 - a field's value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _minutes(seconds: int | None) -> str:
    """Return a duration as m:ss, "" for none."""
    return f"{seconds // 60}:{seconds % 60:02}" if seconds else ""
