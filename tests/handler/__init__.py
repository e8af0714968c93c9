"""Tests through the handlers, against the simulators: events in, requests and records out."""
