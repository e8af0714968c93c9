"""The artifact as `sam build` makes it, once for a whole test run; and what it takes to run it."""

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.local.runtime import Kit, fetch_client, fetch_sam, fetch_wheels, find_python, run_sam

PROJECT = Path(__file__).parents[2]
TARGET = "build-UpdateVoiceCallFunction"

ELSEWHERE = "ReconcileFunction"
"""The function that is built on another machine: as far as one machine can be another."""
MAKE = """#!/bin/sh
case "$*" in
*build-{elsewhere}*) umask 077; export TZ=Asia/Tokyo PYTHONHASHSEED=7;;
esac
exec {make} "$@"
"""

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


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder of this name that all workers of this run share. The first one to ask makes it.

    A skip and a failure are shared too: the others skip or fail for the same reason without trying.
    """
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, skip, failure = shared / name, shared / f"{name}.skipped", shared / f"{name}.failed"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if skip.exists():
            pytest.skip(skip.read_text(encoding="utf-8"))
        if failure.exists():
            pytest.fail(failure.read_text(encoding="utf-8"), pytrace=False)
        if not (folder / ".made").exists():
            shutil.rmtree(folder, ignore_errors=True)  # what was interrupted
            folder.mkdir()
            try:
                make(folder / "it")
            except pytest.skip.Exception as skipped:
                skip.write_text(str(skipped), encoding="utf-8")
                raise
            except AssertionError as failed:
                failure.write_text(str(failed), encoding="utf-8")
                raise
            (folder / ".made").touch()
    return folder / "it"


def download(fetched: Callable[[], object]) -> None:
    """Fails or skips as `built` does."""
    try:
        fetched()
    except subprocess.CalledProcessError as failed:
        built(subprocess.CompletedProcess(failed.cmd, failed.returncode, failed.stdout, failed.stderr))


def make_sam(folder: Path) -> None:
    download(lambda: fetch_sam(folder))


def make_wheels(folder: Path) -> None:
    """What every build installs: fetching it takes longer than all else in a build."""
    download(lambda: fetch_wheels(folder, PROJECT / "requirements.lock"))


def from_wheels(folder: Path) -> dict[str, str]:
    """The variables with which pip installs from this folder alone. The lock's hashes count for its files, too."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}


def make_with_sam(folder: Path, sam: Path, wheels: Path) -> None:
    """`sam build`, in a copy of what it needs of the project: it leaves things behind."""
    ours = folder / "commands" / "make"
    ours.parent.mkdir(parents=True)
    ours.write_text(MAKE.format(elsewhere=ELSEWHERE, make=tool("make")), encoding="utf-8")
    ours.chmod(0o755)
    for name in ("template.yaml", "samconfig.toml", "Makefile", "requirements.lock"):
        shutil.copy(PROJECT / name, folder)
    shutil.copytree(PROJECT / "src", folder / "src")  # with the bytecode of this Python, as a user has it
    path = f"{ours.parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"AWS_DEFAULT_REGION": "us-east-1", "PATH": path, **from_wheels(wheels)}
    built(run_sam(sam, ["build"], where=folder, environment=settings))


def require_lambdas_machine() -> None:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("the artifact's libraries are for Linux on x86_64")


def lambda_kit(factory: pytest.TempPathFactory, sam: Path) -> Kit:
    python = find_python()
    if python is None:
        pytest.skip("there is no Python 3.13 here, Lambda's own")
    require_lambdas_machine()
    client = once(factory, "client", lambda folder: download(lambda: fetch_client(folder)))
    return Kit.of(client, sam, python)
