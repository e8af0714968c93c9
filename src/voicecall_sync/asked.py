"""What a message's body asks for. The one place where contact events and our own messages are told apart.

    an EventBridge contact event, as it came
    {"contactId": "…", "source": "reconcile" | "contact-flow" | "operator"}

A message only chooses *which* contact is looked at. What may be done with it is read from the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from voicecall_sync.connect.events import asked_by
from voicecall_sync.contact import Asked, contact_id_of
from voicecall_sync.errors import InvalidInput
from voicecall_sync.outcome import Source

_OURS = frozenset({Source.RECONCILE, Source.CONTACT_FLOW, Source.OPERATOR})
_EXPECTED = (
    'an EventBridge contact event, or {"contactId": "...", "source": "..."} with one of '
    f"{', '.join(sorted(_OURS))} as its source"
)


def asked_in(body: str) -> Asked:
    """Read a message's body, as far as it says which contact it is about.

    Raises:
        InvalidInput: It is neither of the two; see the module.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInput("the message", _EXPECTED) from None
    if isinstance(said, Mapping) and "detail-type" in said:
        asked = asked_by(said)
        if asked.source is Source.CONTACT_EVENT:
            return asked
    elif isinstance(said, Mapping):
        source = said.get("source")
        if isinstance(source, str) and source in _OURS:
            return Asked(Source(source), contact_id_of(said.get("contactId"), "contactId"), {})
    raise InvalidInput("the message", _EXPECTED)
