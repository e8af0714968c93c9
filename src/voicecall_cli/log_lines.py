"""The log's lines about a contact: from CloudWatch Logs, or from the file that local invocations write."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from voicecall_cli.terminal import printable_json
from voicecall_sync.errors import aws_reason

MOST_LINES = 200
"""Of one log."""
LONGEST_SEARCH_SECONDS = 30.0
"""In one log: CloudWatch searches page by page, and many pages may hold nothing."""
_SHOWN = (
    *("level", "message", "source", "status", "detail", "state", "trueState", "httpStatus"),
    *("differs", "propertiesSentBefore", "requestId"),
)
"""The fields that the commands show: only those that the function writes about a contact."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line about a contact.

    Attributes:
        function: Which function wrote it; "" where that is not known.
    """

    at: datetime
    function: str
    fields: Mapping[str, object]

    @property
    def by(self) -> str:
        """Return the line's source, or the function that wrote it."""
        return str(self.fields.get("source") or self.function)

    @property
    def text(self) -> str:
        """Return the line as one sentence."""
        parts = [str(self.fields.get("message", ""))]
        if "trueState" in self.fields:
            parts.append(f"truly {self.fields['trueState']}")
        parts += [str(self.fields[name]) for name in ("detail",) if self.fields.get(name)]
        for name, heading in (("differs", "differs in"), ("propertiesSentBefore", "sent before")):
            names = self.fields.get(name)
            if isinstance(names, list) and heading not in str(self.fields.get("detail", "")):
                parts.append(f"{heading} {', '.join(map(str, names))}")
        return "; ".join(parts)

    def as_json(self) -> dict[str, object]:
        """Return it as JSON."""
        return {"at": self.at.isoformat(), "function": self.function, **self.fields}


@dataclass(frozen=True, slots=True)
class LogLines:
    """The lines about a contact, the oldest first.

    Attributes:
        where: Where they were looked for.
        whole: Whether there are no more.
    """

    where: str
    lines: tuple[LogLine, ...]
    whole: bool = True


def from_cloudwatch(client: Any, groups: Mapping[str, str], contact_id: str, since: datetime) -> LogLines:  # noqa: ANN401
    """Search log groups for a contact. The number of lines and the time are bounded.

    Args:
        client: A client of CloudWatch Logs.
        groups: Function -> log group. A log group that does not exist has no lines.
        contact_id: The contact; letters, digits, - and _ only.
        since: Older lines are not read.
    """
    searched = [_in_group(client, function, group, contact_id, since) for function, group in groups.items()]
    lines = [line for of_group, _ in searched for line in of_group]
    return _ordered(", ".join(groups.values()), lines, whole=all(whole for _, whole in searched))


def _in_group(
    client: Any,  # noqa: ANN401
    function: str,
    group: str,
    contact_id: str,
    since: datetime,
) -> tuple[list[LogLine], bool]:
    """Return a group's lines about a contact, and whether these are all."""
    latest = time.monotonic() + LONGEST_SEARCH_SECONDS
    lines: list[LogLine] = []
    for event in _events(client, group, contact_id, since):
        if event is None:  # a page's end: searching may take long without finding anything
            if time.monotonic() > latest:
                return lines, False
        elif fields := _about(event["message"], contact_id):
            if len(lines) == MOST_LINES:
                return lines, False
            lines.append(LogLine(datetime.fromtimestamp(event["timestamp"] / 1000, UTC), function, fields))
    return lines, True


def from_file(path: Path, contact_id: str, since: datetime) -> LogLines:
    """Search a file with a JSON object in each line. A missing file has no lines."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        text = ""
    timed = (_timed(line, contact_id) for line in text.splitlines())
    lines = list(islice((line for line in timed if line is not None and line.at >= since), MOST_LINES + 1))
    return _ordered(str(path), lines[:MOST_LINES], whole=len(lines) <= MOST_LINES)


def _events(client: Any, group: str, contact_id: str, since: datetime) -> Iterator[dict[str, Any] | None]:  # noqa: ANN401
    pages = client.get_paginator("filter_log_events").paginate(
        logGroupName=group,
        filterPattern=f'{{ $.contactId = "{contact_id}" }}',
        startTime=int(since.timestamp() * 1000),
    )
    try:
        for page in pages:
            yield from page["events"]
            yield None
    except ClientError as failure:
        if aws_reason(failure) != "ResourceNotFoundException":
            raise


def _timed(line: str, contact_id: str) -> LogLine | None:
    fields = _about(line, contact_id, "timestamp")
    if fields is None:
        return None
    try:
        at = datetime.fromisoformat(str(fields.pop("timestamp"))).astimezone(UTC)
    except (KeyError, ValueError):
        return None
    return LogLine(at, "", fields)


def _about(line: str, contact_id: str, *more: str) -> dict[str, object] | None:
    """Return the printable fields of a line; None for a line about something else."""
    fields = printable_json(line)
    if not isinstance(fields, dict) or fields.get("contactId") != contact_id:
        return None
    return {name: fields[name] for name in (*_SHOWN, *more) if name in fields}


def _ordered(where: str, lines: Iterable[LogLine], *, whole: bool) -> LogLines:
    return LogLines(where, tuple(sorted(lines, key=lambda line: line.at)), whole)
