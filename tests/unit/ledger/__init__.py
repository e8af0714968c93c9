"""Tests of ``voicecall_sync.ledger``."""
