"""Which contacts need an operator, and why. The operator's command and the daily message ask here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from voicecall_sync.ledger.record import Record
from voicecall_sync.outcome import State


class Need(StrEnum):
    """Why a contact needs an operator."""

    UNCERTAIN = "UNCERTAIN"
    REJECTED = "REJECTED"
    EXPIRED_CLAIM = "CLAIMED"
    DEAD_LETTERED = "DEAD_LETTERED"


MEANING: Mapping[Need, str] = {
    Need.UNCERTAIN: "UNCERTAIN: sent, and its result is unknown",
    Need.REJECTED: "REJECTED: refused for good",
    Need.EXPIRED_CLAIM: "CLAIMED, stuck: the claim expired",
    Need.DEAD_LETTERED: "in the dead-letter queue: not applied, and not tried again by itself",
}


def need_of(record: Record, now: datetime) -> Need | None:
    """Return why a contact needs an operator; None if it does not, or if its state is unknown."""
    match record.state:
        case State.UNCERTAIN:
            return Need.UNCERTAIN
        case State.REJECTED:
            return Need.REJECTED
        case State.CLAIMED:
            return Need.EXPIRED_CLAIM if record.claim_expired(now) else None
        case State.NOT_APPLIED:
            return Need.DEAD_LETTERED if record.dead_lettered else None
        case State.UPDATED | None:
            return None
