"""Tests of the developer's commands, ``python3 -m tools COMMAND``."""
