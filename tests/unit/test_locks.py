"""The locks, which pip installs from, against the lists that people read."""

import re

import pytest

from tools.lock import LOCKS, ROOT, Lock, pins

ARTIFACT, TOOLS, SAM = LOCKS[:3]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def listed(path: str) -> dict[str, set[str]]:
    """Name -> versions; a lock has two of a package where one Python has no use for the newer."""
    found: dict[str, set[str]] = {}
    for name, version in pins((ROOT / path).read_text(encoding="utf-8")):
        found.setdefault(plain(name), set()).add(version)
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.requirements)
def test_a_lock_has_every_package_of_its_list(lock: Lock) -> None:
    locked = listed(lock.path)
    assert {name: locked.get(name) for name in listed(lock.requirements)} == listed(lock.requirements)


def test_the_artifacts_list_is_complete() -> None:
    assert listed(ARTIFACT.requirements) == listed(ARTIFACT.path)


def test_the_tests_run_on_the_artifacts_versions() -> None:
    locked = listed(TOOLS.path)
    assert {name: locked.get(name) for name in listed(ARTIFACT.path)} == listed(ARTIFACT.path)


def test_sam_brings_no_package_that_is_there_already() -> None:
    assert not listed(SAM.path).keys() & listed(TOOLS.path).keys()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.path)
def test_every_package_has_its_hashes_and_nothing_names_an_index(lock: Lock) -> None:
    text = (ROOT / lock.path).read_text(encoding="utf-8")
    packages = re.findall(r"^\S+==.*\\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    assert len(packages) == len(list(pins(text)))
    assert not re.search(r"https?:|^-", text, re.MULTILINE)


def test_lambdas_packages_do_not_depend_on_the_building_machine() -> None:
    """pip asks a condition of the Python it runs with, not of the one it installs for."""
    assert ";" not in (ROOT / ARTIFACT.path).read_text(encoding="utf-8")
