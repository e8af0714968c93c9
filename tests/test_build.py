"""What `sam build` ships: everything the function imports, for Lambda's Python and nothing else."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.artifact import PROJECT, TARGET, require_lambdas_machine, run, tool
from tools.local.runtime import find_python
from tools.template import load

FUNCTIONS = [
    name
    for name, resource in load(PROJECT / "template.yaml")["Resources"].items()
    if resource["Type"] == "AWS::Serverless::Function"
]

UNZIPPED_LIMIT_MB = 250
"""Lambda's quota for the unzipped artifact (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""

IMPORT_EVERYTHING = """
import importlib, pathlib, sys
import botocore, cryptography.hazmat.bindings._rust, jwt, requests
import aws_lambda_powertools.logging, aws_lambda_powertools.metrics
artifact = pathlib.Path(sys.argv[1]).resolve()
for module in (artifact / "voicecall_sync").glob("*.py"):
    importlib.import_module("voicecall_sync" if module.stem == "__init__" else f"voicecall_sync.{module.stem}")
outside = {
    name for name, module in sys.modules.items()
    if (file := getattr(module, "__file__", None))
    and artifact not in pathlib.Path(file).resolve().parents
    and "site-packages" in file
}
assert not outside, outside
print(botocore.__version__, botocore.__file__)
"""


def pinned() -> dict[str, str]:
    """Name -> version of each line of requirements.txt."""
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [re.fullmatch(r"([\w-]+)(?:\[\w+\])?==([\w.]+)", line) for line in lines]
    return {plain(pin[1]): pin[2] for pin in pins if pin}


def plain(name: str) -> str:
    return name.lower().replace("_", "-")


def test_the_artifact_holds_every_pinned_package_in_its_version_and_no_other(artifact: Path) -> None:
    shipped = {plain(found.name): found.version for found in distributions(path=[str(artifact)])}
    assert shipped == pinned()
    assert {"botocore", "cryptography", "pyjwt", "requests", "aws-lambda-powertools"} <= set(shipped)


def test_the_artifact_holds_our_code_and_nothing_of_its_development(artifact: Path) -> None:
    ours = {path.relative_to(PROJECT / "src") for path in (PROJECT / "src").rglob("*.py")}
    assert {path.relative_to(artifact) for path in (artifact / "voicecall_sync").rglob("*.py")} == ours
    top_level = {path.name for path in artifact.iterdir()}
    assert not top_level & {"tools", "tests", "events", "docs", "bin", "requirements.txt", "pytest", "moto", "pip"}


def test_the_artifact_is_for_lambdas_architecture_and_python(artifact: Path) -> None:
    libraries = {path.name for path in artifact.rglob("*.so")}
    assert any(name.startswith("_cffi_backend.cpython-313-x86_64") for name in libraries)
    assert not [name for name in libraries if "cpython-" in name and "cpython-313-x86_64" not in name]


def test_the_artifact_fits_into_lambda_with_room_to_spare(artifact: Path) -> None:
    size = sum(path.stat().st_size for path in artifact.rglob("*") if path.is_file()) / 1e6
    assert size < UNZIPPED_LIMIT_MB / 3


def test_lambda_can_read_every_file_whoever_built_it(artifact: Path) -> None:
    assert all(path.stat().st_mode & 0o004 for path in artifact.rglob("*"))


def test_every_module_has_its_bytecode_for_the_runtime(artifact: Path) -> None:
    if find_python() is None:
        pytest.skip("there is no Python 3.13 here to compile with")
    for source in (artifact / "voicecall_sync").rglob("*.py"):
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        # The flags after the magic number: 1 is "by hash, unchecked" (PEP 552).
        assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00", source
    assert {path.suffixes[0] for path in artifact.rglob("*.pyc")} == {".cpython-313"}


def test_python_3_13_imports_everything_from_the_artifact_alone(artifact: Path, tmp_path: Path) -> None:
    python = find_python()
    if python is None:
        pytest.skip("there is no Python 3.13 here to import with")
    require_lambdas_machine()
    # -S leaves the Python's own packages out: what is missing in the artifact is missing.
    program = tmp_path / "import_everything.py"
    program.write_text(IMPORT_EVERYTHING, encoding="utf-8")
    result = run(python, "-S", program, artifact, PYTHONPATH=str(artifact), PYTHONDONTWRITEBYTECODE="1")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [pinned()["botocore"], str(artifact / "botocore" / "__init__.py")]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_of_the_template_can_be_built_and_from_the_same_code(tmp_path: Path, function: str) -> None:
    would_run = [
        run(tool("make"), "--dry-run", f"build-{name}", f"ARTIFACTS_DIR={tmp_path}").stdout
        for name in ("UpdateVoiceCallFunction", function)
    ]
    assert "cp -R src/voicecall_sync" in would_run[1]
    assert would_run[0] == would_run[1]


def test_another_architecture_gets_its_own_libraries(tmp_path: Path) -> None:
    """What would be run is enough to see: a whole second artifact would cost the suite twenty seconds."""
    printed = run(tool("make"), "--dry-run", TARGET, f"ARTIFACTS_DIR={tmp_path}", "ARCHITECTURE=arm64")
    assert "--platform manylinux2014_aarch64" in printed.stdout
    assert "manylinux2014_x86_64" not in printed.stdout


@pytest.mark.parametrize(
    ("argument", "message"),
    [("ARCHITECTURE=sparc", "neither x86_64 nor arm64"), ("ARTIFACTS_DIR=", "ARTIFACTS_DIR is not set")],
)
def test_a_build_that_could_not_work_says_so_before_it_begins(tmp_path: Path, argument: str, message: str) -> None:
    result = run(tool("make"), TARGET, f"ARTIFACTS_DIR={tmp_path}", argument)
    assert result.returncode != 0
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    result = run(tool("make"), TARGET, f"ARTIFACTS_DIR={tmp_path}")
    assert result.returncode != 0
    assert "is not empty" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_every_function_has_the_same_artifact(artifact: Path) -> None:
    """Each is deployed as an archive of its own; what runs must not differ."""

    def files(folder: Path) -> dict[Path, bytes]:
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    for function in FUNCTIONS:
        assert files(artifact.parent / function) == files(artifact), function
