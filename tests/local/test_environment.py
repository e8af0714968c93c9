"""The set-up: when it is needed, and what is said to somebody who cannot have it."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.__main__ import too_old
from tools.environment import ROOT, Need, Stamp, folder, need

WANTED = Stamp.wanted((3, 11), [b"requests==1\n", b"rich==1\n"])


def test_a_finished_environment_needs_nothing() -> None:
    assert need(Stamp.parse(str(WANTED)), WANTED) is Need.NOTHING


@pytest.mark.parametrize("text", ["", "3.11", "3.11 abc def"])
def test_one_without_a_whole_stamp_starts_over(text: str) -> None:
    assert need(Stamp.parse(text), WANTED) is Need.EVERYTHING


def test_another_python_starts_over() -> None:
    assert need(Stamp.wanted((3, 12), [b"requests==1\n", b"rich==1\n"]), WANTED) is Need.EVERYTHING


@pytest.mark.parametrize("files", [[b"requests==2\n", b"rich==1\n"], [b"requests==1\nrich==1\n"], []])
def test_other_packages_are_installed(files: list[bytes]) -> None:
    assert need(Stamp.wanted((3, 11), files), WANTED) is Need.PACKAGES


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
def test_a_folder_that_is_somebody_elses_is_left_alone(tmp_path: Path, content: str) -> None:
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
