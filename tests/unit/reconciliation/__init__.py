"""Tests of ``voicecall_sync.reconciliation``."""
