"""Reads a message's body. The one place that tells contact events from our own messages.

    an EventBridge contact event, as it came
    {"contactId": "…", "source": "reconcile" | "contact-flow" | "operator"}

A message only says *which* contact the worker looks at. The ledger says what may be done with it.
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
    """Read the source and the contact id of a message's body.

    Raises:
        InvalidInput: It is neither a contact event nor one of our own messages.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInput("the message", _EXPECTED) from None
    if isinstance(content, Mapping) and "detail-type" in content:
        asked = asked_by(content)
        if asked.source is Source.CONTACT_EVENT:
            return asked
    elif isinstance(content, Mapping):
        source = content.get("source")
        if isinstance(source, str) and source in _OURS:
            return Asked(Source(source), contact_id_of(content.get("contactId"), "contactId"), {})
    raise InvalidInput("the message", _EXPECTED)
