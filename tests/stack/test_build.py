"""What `sam build` ships: everything the function imports, for Lambda's Python and nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.support.alarm_topic import AlarmTopic
from tests.support.artifact import ELSEWHERE, PROJECT, TARGET, require_lambdas_machine, run, tool
from tests.support.contacts import new_id
from tools.local.local_stack import LocalStack
from tools.local.ministack import MiniStack
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
import boto3, cryptography.hazmat.bindings._rust, jwt, requests
import aws_lambda_powertools.logging, aws_lambda_powertools.metrics
artifact = pathlib.Path(sys.argv[1]).resolve()
for module in (artifact / "voicecall_sync").rglob("*.py"):
    name = ".".join(module.relative_to(artifact).with_suffix("").parts)
    importlib.import_module(name.removesuffix(".__init__"))
outside = {
    name for name, module in sys.modules.items()
    if (file := getattr(module, "__file__", None))
    and artifact not in pathlib.Path(file).resolve().parents
    and "site-packages" in file
}
assert not outside, outside
print(boto3.__version__, boto3.__file__)
"""


def pinned() -> dict[str, str]:
    """Name -> version of each line of requirements.txt."""
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [re.fullmatch(r"([\w-]+)(?:\[\w+\])?==([\w.]+)", line) for line in lines]
    return {plain(pin[1]): pin[2] for pin in pins if pin}


def plain(name: str) -> str:
    return name.lower().replace("_", "-")


def test_the_artifact_holds_exactly_the_pinned_packages(artifact: Path) -> None:
    shipped = {plain(found.name): found.version for found in distributions(path=[str(artifact)])}
    assert shipped == pinned()
    assert {"boto3", "cryptography", "pyjwt", "requests", "aws-lambda-powertools"} <= set(shipped)


def test_the_artifact_holds_our_code_and_nothing_of_its_development(artifact: Path) -> None:
    ours = {path.relative_to(PROJECT / "src") for path in (PROJECT / "src" / "voicecall_sync").rglob("*.py")}
    assert {path.relative_to(artifact) for path in (artifact / "voicecall_sync").rglob("*.py")} == ours
    top_level = {path.name for path in artifact.iterdir()}
    assert not top_level & {
        "src",
        "voicecall_cli",
        "tools",
        "tests",
        "events",
        "docs",
        "bin",
        "requirements.txt",
        "pytest",
        "moto",
        "pip",
    }


def test_the_artifact_is_for_lambdas_architecture_and_python(artifact: Path) -> None:
    libraries = {path.name for path in artifact.rglob("*.so")}
    assert any(name.startswith("_cffi_backend.cpython-313-x86_64") for name in libraries)
    assert not [name for name in libraries if "cpython-" in name and "cpython-313-x86_64" not in name]


def test_the_artifact_fits_into_lambda_with_room_to_spare(artifact: Path) -> None:
    size = sum(path.stat().st_size for path in artifact.rglob("*") if path.is_file()) / 1e6
    assert size < UNZIPPED_LIMIT_MB / 3


def test_lambda_can_read_every_file(artifact: Path) -> None:
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
    assert result.stdout.split() == [pinned()["boto3"], str(artifact / "boto3" / "__init__.py")]


CALLS = {
    *("DescribeContact", "DescribeQueue", "DescribeUser", "SearchContacts"),
    *("PutItem", "UpdateItem", "GetItem", "BatchGetItem", "Query"),
    *("GetSecretValue", "Publish"),
    *("SendMessage", "SendMessageBatch", "ChangeMessageVisibility", "GetQueueAttributes"),
}
OF_LAMBDA = {"ReceiveMessage", "DeleteMessage"}
"""What Lambda calls with the function's permissions."""
BY_ANOTHER_NAME = {"SendMessageBatch"}
"""What the permission for SendMessage allows (Service Authorization Reference, Amazon SQS)."""


@pytest.fixture
def every_call(
    ministack: MiniStack, stack: LocalStack, finished: Callable[[str], str]
) -> Callable[..., dict[str, str | None]]:
    """Runs tests/support/every_call.py with Lambda's Python and the packages of these folders alone."""
    python = find_python()
    if python is None:
        pytest.skip("there is no Python 3.13 here to call with")
    require_lambdas_machine()

    def call(*folders: Path) -> dict[str, str | None]:
        done = subprocess.run(
            # -S and -P: neither that Python's own packages nor what lies beside the program.
            [
                python,
                "-S",
                "-P",
                PROJECT / "tests" / "support" / "every_call.py",
                finished(new_id()),
                stack.dead_letters.url,
            ],
            env={
                **stack.environment(),
                "ALARM_TOPIC_ARN": AlarmTopic(ministack.url).arn,
                "PYTHONPATH": os.pathsep.join(map(str, folders)),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        errors: dict[str, str | None] = json.loads(done.stdout)
        return errors

    return call


def descriptions(artifact: Path) -> set[str]:
    """The services whose descriptions botocore has there."""
    return {path.name for path in (artifact / "botocore" / "data").iterdir() if path.is_dir()}


def test_every_call_of_the_code_works_from_the_artifact_alone(
    artifact: Path, stack: LocalStack, every_call: Callable[..., dict[str, str | None]]
) -> None:
    """And no other service is built in."""
    stack.gateway.heal()
    assert every_call(artifact) == dict.fromkeys(descriptions(artifact))
    assert set(stack.gateway.calls) - OF_LAMBDA == CALLS


def test_a_request_to_an_unpacked_service_does_not_pass(
    artifact: Path, tmp_path: Path, every_call: Callable[..., dict[str, str | None]]
) -> None:
    """Each service on its own: a folder that is missing is missed."""
    ignored = shutil.ignore_patterns(*descriptions(artifact))
    shutil.copytree(artifact / "botocore" / "data", tmp_path / "botocore" / "data", ignore=ignored)
    for path in (artifact / "botocore").iterdir():
        if path.name != "data":
            (tmp_path / "botocore" / path.name).symlink_to(path)
    errors = every_call(tmp_path, artifact)
    assert errors.keys() == descriptions(artifact)
    for service, error in errors.items():
        assert f"UnknownServiceError: Unknown service: '{service}'" in str(error)


def test_every_call_that_a_policy_allows_is_among_them() -> None:
    template = (PROJECT / "template.yaml").read_text(encoding="utf-8")
    allowed = set(re.findall(r"\b(?:connect|dynamodb|secretsmanager|sns|sqs):([A-Z]\w+)", template))
    assert allowed == (CALLS - BY_ANOTHER_NAME) | OF_LAMBDA


def test_every_call_in_the_code_is_among_them() -> None:
    """As far as a call is written as boto3 has it: on a client."""
    code = "".join(path.read_text("utf-8") for path in (PROJECT / "src" / "voicecall_sync").rglob("*.py"))
    called = set(re.findall(r"\b(?:_?client(?:\(\))?|secrets)\.([a-z_]+)\(", code))
    assert {name.title().replace("_", "") for name in called} == CALLS


def test_the_artifact_describes_no_resources_of_other_services(artifact: Path) -> None:
    assert {path.name for path in (artifact / "boto3" / "data").iterdir()} <= descriptions(artifact)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_is_built_from_the_same_code(tmp_path: Path, function: str) -> None:
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
def test_an_impossible_build_fails_before_it_begins(tmp_path: Path, argument: str, message: str) -> None:
    result = run(tool("make"), TARGET, f"ARTIFACTS_DIR={tmp_path}", argument)
    assert result.returncode != 0
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_with_content_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    result = run(tool("make"), TARGET, f"ARTIFACTS_DIR={tmp_path}")
    assert result.returncode != 0
    assert "is not empty" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def files(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Name -> mode, time and content of each file."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def differing(one: Path, other: Path) -> list[str]:
    """The names of the files that are not the same in both folders."""
    left, right = files(one), files(other)
    return sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))


def test_every_function_has_the_same_artifact_from_any_machine(artifact: Path) -> None:
    """Each is deployed as an archive of its own; what runs must not differ.

    One was built on another machine, as far as one machine can be another. Its hour, zone, permissions, order of sets
    and folder are others.
    """
    for function in FUNCTIONS:
        assert differing(artifact, artifact.parent / function) == [], function
    assert ELSEWHERE in FUNCTIONS
    assert not artifact.samefile(artifact.parent / ELSEWHERE)


def counterfeit(folder: Path, name: str, version: str, build: str) -> None:
    """Writes a wheel of this name and version, with other contents."""
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(folder / f"{stem}{build}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name.replace('-', '_')}.py", "raise SystemExit('counterfeit')")
        wheel.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")


@pytest.mark.parametrize("build", ["", "-1"], ids=["same name", "with a build tag"])
def test_a_wheel_that_the_lock_does_not_know_is_refused(tmp_path: Path, build: str) -> None:
    """Of the right name and version, from an index that this machine is set up with."""
    (tmp_path / "index").mkdir()
    (tmp_path / "artifact").mkdir()
    for name, version in pinned().items():
        counterfeit(tmp_path / "index", name, version, build)
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index")}
    result = run(tool("make"), TARGET, f"ARTIFACTS_DIR={tmp_path / 'artifact'}", **index)
    assert result.returncode != 0
    assert "DO NOT MATCH THE HASHES" in result.stderr
    assert list((tmp_path / "artifact").iterdir()) == []


def test_the_artifact_says_which_wheels_it_was_made_of(artifact: Path) -> None:
    lines = (artifact / "wheels.sha256").read_text(encoding="utf-8").splitlines()
    wheels = {plain(wheel.split("-")[0]): digest for digest, wheel in (line.split("  ") for line in lines)}
    locked = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    assert wheels.keys() == pinned().keys()
    assert all(f"--hash=sha256:{digest}" in locked for digest in wheels.values())
