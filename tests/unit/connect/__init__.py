"""Tests of ``voicecall_sync.connect``."""
