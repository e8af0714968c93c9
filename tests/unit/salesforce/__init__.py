"""Tests of ``voicecall_sync.salesforce``."""
