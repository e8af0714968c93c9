"""What `pipx install .` gives an operator: the command, with boto3, rich and what these need."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.artifact import PROJECT

PACKAGES = {
    "voicecall-sync",
    *("boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"),
    "certifi",
    *("rich", "markdown-it-py", "mdurl", "pygments"),
}

IMPORT_ALL = """
import importlib, pkgutil, voicecall_cli
for module in pkgutil.iter_modules(voicecall_cli.__path__, "voicecall_cli."):
    importlib.import_module(module.name)
    print(module.name)
"""


def output(*command: str | Path, folder: Path) -> str:
    """Runs a command without the project on its path; returns what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def with_dependencies(name: str) -> set[str]:
    """The package and all that it asks for, as it is installed here."""
    names: set[str] = {canonicalize_name(name)}
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            names |= with_dependencies(requirement.name)
    return names


def site_packages(environment: Path) -> Path:
    [found] = (environment / "lib").glob("python*/site-packages")
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the project's wheel. This environment lends it the packages that the wheel asks for."""
    folder = tmp_path_factory.mktemp("installed")
    environment = folder / "environment"
    output(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, folder=PROJECT)
    [wheel] = folder.glob("*.whl")
    output(sys.executable, "-m", "venv", "--without-pip", environment, folder=folder)
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install", "--quiet")
    output(*pip, "--no-index", "--no-deps", "--no-compile", wheel, folder=folder)
    packages, here = site_packages(environment), Path(sysconfig.get_path("purelib"))
    [ours] = distributions(path=[str(packages)])
    for line in ours.requires or ():
        requirement = Requirement(line)
        assert distribution(requirement.name).version in requirement.specifier
        for name in with_dependencies(requirement.name):
            for top in {file.parts[0] for file in distribution(name).files or ()} - {"..", "__pycache__"}:
                if not (packages / top).exists():
                    (packages / top).symlink_to(here / top)
    return environment


def test_operators_get_the_command(installed: Path, tmp_path: Path) -> None:
    helped = output(installed / "bin" / "voicecall-sync", "--help", folder=tmp_path)
    assert helped.startswith("usage: voicecall-sync ")
    assert "attention" in helped


def test_it_brings_boto3_and_rich_with_their_dependencies(installed: Path) -> None:
    names = {canonicalize_name(found.name) for found in distributions(path=[str(site_packages(installed))])}
    assert names == PACKAGES


def test_every_module_of_the_command_can_be_imported(installed: Path, tmp_path: Path) -> None:
    """Powertools, PyJWT, cryptography and requests are not there."""
    imported = output(installed / "bin" / "python", "-c", IMPORT_ALL, folder=tmp_path).split()
    here = (PROJECT / "src" / "voicecall_cli").glob("[!_]*.py")
    assert set(imported) == {f"voicecall_cli.{path.stem}" for path in here} | {"voicecall_cli.__main__"}
