"""The bill of materials, against what lies in the built artifact."""

import json
import re
import shutil
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.support.artifact import PROJECT
from tools import sbom


def written(artifact: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert sbom.main(["--artifact", str(artifact)]) == 0
    return capsys.readouterr().out


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_package_of_the_artifact_is_in_it(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    components: list[dict[str, Any]] = json.loads(written(artifact, capsys))["components"]
    shipped = {(normal(found.name), found.version) for found in distributions(path=[str(artifact)])}
    assert {(one["name"], one["version"]) for one in components} == shipped
    assert len(components) == len(shipped)
    assert all(one["purl"] == f"pkg:pypi/{one['name']}@{one['version']}" for one in components)


def test_each_hash_is_in_the_lock_for_its_package(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    allowed = {
        name: set(re.findall(r"sha256:(\w+)", hashes))
        for name, hashes in re.findall(r"^(\S+)==.*\n((?: .*\n)+)", lock, re.MULTILINE)
    }
    for component in json.loads(written(artifact, capsys))["components"]:
        [stated] = component["hashes"]
        assert stated["alg"] == "SHA-256"
        assert stated["content"] in allowed[component["name"]]


def test_it_keeps_to_the_specification(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = written(artifact, capsys)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.replace('"purl"', '"pearl"')) is not None


def test_it_is_written_to_a_file(artifact: Path, tmp_path: Path) -> None:
    assert sbom.main(["--artifact", str(artifact), "--output", str(tmp_path / "sbom.json")]) == 0
    written_there = json.loads((tmp_path / "sbom.json").read_text(encoding="utf-8"))
    assert written_there["metadata"]["component"]["name"] == "voicecall-sync"


def test_a_package_from_elsewhere_is_not_passed_over(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(artifact / "wheels.sha256", tmp_path)
    (tmp_path / "stray-1.0.dist-info").mkdir()
    metadata = tmp_path / "stray-1.0.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: stray\nVersion: 1.0\n", encoding="utf-8")
    assert sbom.main(["--artifact", str(tmp_path)]) == 2
    assert "no wheel of stray 1.0" in capsys.readouterr().err


def test_without_a_build_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sbom.main(["--artifact", str(tmp_path)]) == 2
    assert "run `sam build` first" in capsys.readouterr().err
