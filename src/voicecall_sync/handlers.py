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
