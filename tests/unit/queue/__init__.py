"""Tests of ``voicecall_sync.queue``."""
