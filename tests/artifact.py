"""The artifact as `sam build` makes it, and a Python 3.13 to run it with."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
TARGET = "build-UpdateVoiceCallFunction"

# What pip says when the network, not the project, is at fault.
OFFLINE = re.compile(
    "NewConnectionError|NameResolutionError|Temporary failure|ReadTimeoutError|ConnectTimeoutError|ProxyError"
)


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of this project's own build, in the project, with pytest's Python first."""
    here = os.environ | {"PYTHON": sys.executable, "SAM_CLI_TELEMETRY": "0"} | environment
    return subprocess.run(
        [str(part) for part in command], cwd=PROJECT, env=here, capture_output=True, text=True, check=False
    )


def tool(name: str) -> str:
    """The path of a command; skips the test, and says why, where it is missing."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def built(result: subprocess.CompletedProcess[str]) -> None:
    """Fails on a failed build, skips on one that could not reach its packages."""
    if result.returncode != 0 and OFFLINE.search(result.stderr):
        pytest.skip(f"the packages can't be downloaded here: {result.stderr.strip().splitlines()[-1]}")
    assert result.returncode == 0, result.stdout + result.stderr


def build(folder: Path) -> Path:
    built(run(tool("make"), TARGET, f"ARTIFACTS_DIR={folder}"))
    return folder


def python_3_13() -> str | None:
    """A Python of the Lambda runtime's minor version that really starts, or None."""
    installed = (Path.home() / ".pyenv" / "versions").glob("3.13.*/bin/python3.13")
    candidates = [sys.executable, shutil.which("python3.13"), *map(str, installed)]
    for candidate in filter(None, candidates):
        if run(candidate, "-c", "import sys; sys.exit(sys.version_info[:2] != (3, 13))").returncode == 0:
            return candidate
    return None
