"""The set-up: when it is needed, and the message to a user who cannot have it."""

import ast
import contextlib
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools.__main__ import too_old
from tools.environment import ROOT, Need, Stamp, folder, need

LOCK = b"requests==1\nrich==1\n"
WANTED = Stamp.wanted((3, 11), LOCK)


def test_a_finished_environment_needs_nothing() -> None:
    assert need(Stamp.parse(str(WANTED)), WANTED) is Need.NOTHING


@pytest.mark.parametrize("text", ["", "3.11", "3.11 abc def"])
def test_one_without_a_whole_stamp_starts_over(text: str) -> None:
    assert need(Stamp.parse(text), WANTED) is Need.EVERYTHING


def test_another_python_starts_over() -> None:
    assert need(Stamp.wanted((3, 12), LOCK), WANTED) is Need.EVERYTHING


def test_other_packages_are_installed() -> None:
    assert need(Stamp.wanted((3, 11), b"requests==2\nrich==1\n"), WANTED) is Need.PACKAGES


def test_folder() -> None:
    assert folder({}) == ROOT / ".venv"
    assert folder({"VOICECALL_SYNC_VENV": ""}) == ROOT / ".venv"
    assert folder({"VOICECALL_SYNC_VENV": "/somewhere/else"}) == Path("/somewhere/else").absolute()


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 10, 13), (2, 7, 18)])
def test_an_old_python_is_told_so(version: tuple[int, ...]) -> None:
    assert too_old(version) == f"VoiceCall Sync needs Python 3.11 or newer; this is {version[0]}.{version[1]}"


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 13, 1), (4, 0, 0)])
def test_a_newer_python_will_do(version: tuple[int, ...]) -> None:
    assert too_old(version) is None


@pytest.mark.parametrize("name", ["__init__.py", "__main__.py"])
def test_what_an_old_python_meets_first_is_written_for_it(name: str) -> None:
    ast.parse((ROOT / "tools" / name).read_text(encoding="utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("content", ["pyvenv.cfg", "thesis.txt"])
def test_a_folder_of_another_owner_stays(tmp_path: Path, content: str) -> None:
    (tmp_path / content).write_text("mine", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "tools", "check"],
        cwd=ROOT,
        env={**os.environ, "VOICECALL_SYNC_VENV": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"{tmp_path} was not made by this command")
    assert [path.name for path in tmp_path.iterdir()] == [content]


def wheel(folder: Path, name: str) -> str:
    """Writes a wheel without contents; returns its line in a lock."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def installed(lock: Path, index: Path, target: Path) -> tuple[int, str]:
    """Installs a lock from a folder of wheels into another; the exit status, and what a terminal shows."""
    program = "import pathlib, sys, tools.environment as it; it.install(*map(pathlib.Path, sys.argv[1:]))"
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", program, sys.prefix, str(lock)],
        cwd=ROOT,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_TARGET": str(target)},
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends, on Linux
            while some := os.read(ours, 4096):
                shown += some
        os.close(ours)
    return process.returncode, shown.decode()


def test_the_set_up_shows_how_far_it_is(tmp_path: Path) -> None:
    lines = [wheel(tmp_path, name) for name in ("first", "second")]
    lock = tmp_path / "some.lock"
    lock.write_text("".join([*lines, "third==1.0 ; sys_platform == 'another' --hash=sha256:" + "0" * 64]), "utf-8")

    status, shown = installed(lock, tmp_path, tmp_path / "target")

    assert status == 0, shown
    steps = [step.strip() for step in shown.replace("\033[K", "").split("\r")]
    assert steps[1:3] == ["fetching package 1 of 2", "fetching package 2 of 2"]
    assert steps[3].startswith("installed ")
    assert steps[-1] == ""
    assert {path.name for path in (tmp_path / "target").iterdir()} == {"first-1.0.dist-info", "second-1.0.dist-info"}


def test_a_package_outside_the_lock_is_not_installed(tmp_path: Path) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text(wheel(tmp_path, "first"), "utf-8")
    with zipfile.ZipFile(tmp_path / "first-1.0-py3-none-any.whl", "a") as archive:
        archive.writestr("first.py", "")

    status, shown = installed(lock, tmp_path, tmp_path / "target")

    assert status != 0
    assert "DO NOT MATCH THE HASHES" in shown
    assert not (tmp_path / "target").exists()
