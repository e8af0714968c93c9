"""Tests of what fails: requests, sockets, sandboxes that are killed or frozen, a day of all of it."""
