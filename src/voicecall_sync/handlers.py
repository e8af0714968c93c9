"""The Lambda entry points."""

from __future__ import annotations

from voicecall_sync import app


def update_voice_call(event: object, context: object) -> dict[str, str]:
    """Update the VoiceCall of a contact, told of by a contact flow or by EventBridge.

    Returns:
        ``{"status": …, "contactId": …, "detail": …}``, all strings.

    Raises:
        Redeliver: See ``App.update_voice_call``.
    """
    return app.root().update_voice_call(event, context)


def reconcile(event: object, context: object) -> dict[str, object]:
    """Find contacts nobody told us of and what is left open, on a schedule or by hand; then the same pipeline.

    Returns:
        The counts by outcome, what was found, skipped and left over, and the window. See ``Summary.as_answer``.

    Raises:
        InvalidInput: See ``App.reconcile``.
        WrongSettings: A variable is missing or wrong.
    """
    return app.root().reconcile(event, context)
