"""The commands, started where a user happens to be."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tools.__main__ import COMMANDS
from tools.local.local_stack import ROOT

AS_A_PATH = (str(ROOT / "tools"),)
AS_A_MODULE = ("-m", "tools")


def tools(where: Path, how: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *how, *arguments],
        cwd=where,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )


EVERY_HELP = """
import contextlib, runpy, sys
_, folder, *commands = sys.argv
for command in commands:
    sys.argv[1:] = [command, "--help"]
    with contextlib.suppress(SystemExit):
        runpy.run_path(folder, run_name="__main__")
"""
"""As a path, in one process: most of each command's time is for its imports."""


def test_every_command_tells_of_its_options(tmp_path: Path) -> None:
    done = tools(tmp_path, ("-c", EVERY_HELP), *AS_A_PATH, *COMMANDS)
    assert done.returncode == 0, done.stderr
    assert re.findall("^usage: python3 -m tools (\\w+) ", done.stdout, re.MULTILINE) == list(COMMANDS)
    assert list(tmp_path.iterdir()) == []


def test_the_module_is_found_through_pythonpath(tmp_path: Path) -> None:
    done = tools(tmp_path, AS_A_MODULE, "invoke", str(ROOT / "events" / "nowhere.json"))
    assert done.stderr.endswith("nowhere.json: No such file or directory\n")


def test_the_help_of_test_names_our_option() -> None:
    assert "--coverage" in tools(ROOT, AS_A_MODULE, "test", "--help").stdout


def test_a_file_of_tests_is_relative_to_the_users_folder() -> None:
    listed = tools(ROOT / "tests" / "unit", AS_A_PATH, "test", "test_clock.py", "--collect-only", "--quiet")
    assert listed.returncode == 0, listed.stdout
    assert "tests/unit/test_clock.py::" in listed.stdout
