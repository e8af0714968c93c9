"""The one reading of a moment and of a boolean, wherever a text holds them: events, settings, attributes, requests."""

from __future__ import annotations

from datetime import UTC, datetime

_FIRST_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)


def boolean_of(text: str) -> bool | None:
    """Return what a text says, in upper or lower case; None if it is neither true nor false."""
    return {"true": True, "false": False}.get(text.strip().lower())


def instant_of(value: object) -> datetime | None:
    """Return a moment in ISO 8601 with its zone, in UTC; None if it is not one.

    "10:00" without a zone is another moment in each office.
    """
    try:
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else None
        return moment.astimezone(UTC) if moment is not None and moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def moment_of(value: object) -> datetime | None:
    """Return a moment as `instant_of` does; None also before 2000, when there were no contacts."""
    moment = instant_of(value)
    return moment if moment is not None and moment >= _FIRST_MOMENT else None
