"""The Lambda entry points."""

from __future__ import annotations

from voicecall_sync import wiring


def update_voice_call(event: object, context: object) -> dict[str, str]:
    """Update the VoiceCall of a contact flow's contact, or of the contact of a direct contact event.

    Returns:
        ``{"status": …, "contactId": …, "detail": …}``, all strings.

    Raises:
        Redeliver: See ``App.update_voice_call``.
    """
    return wiring.root().update_voice_call(event, context)


def contact_queue(event: object, context: object) -> dict[str, object]:
    """Process messages of the contact queue: contact events, and those of the other functions and operators.

    Returns:
        ``{"batchItemFailures": [{"itemIdentifier": …}]}``: the messages that come back.

    Raises:
        InvalidInput: The event is not a batch of SQS messages.
    """
    return wiring.root().contact_queue(event, context)


def reconcile(event: object, context: object) -> dict[str, object]:
    """Find finished contacts without an update, on a schedule or by hand, and enqueue them.

    Returns:
        The numbers found, known and enqueued, and how far a window by hand came. See ``Reconciliation.run``.

    Raises:
        InvalidInput: See ``App.reconcile``.
        WrongSettings: A variable is missing or wrong.
    """
    return wiring.root().reconcile(event, context)
