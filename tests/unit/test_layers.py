"""What the modules may know of one another and of the world, read out of their source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import voicecall_cli
import voicecall_sync

PACKAGE = Path(voicecall_sync.__file__).parent
SRC = PACKAGE.parent
COMMAND = "voicecall_cli/"
TREES = {
    path.relative_to(SRC).with_suffix("").as_posix().removeprefix("voicecall_sync/"): ast.parse(path.read_text("utf-8"))
    for path in SRC.rglob("*.py")
}
"""Module -> its syntax. A deployed module is named as it lies in its package, another one with its package."""
PACKAGES = sorted(name for name in TREES if name.split("/")[-1] == "__init__")
ALL = sorted(TREES.keys() - set(PACKAGES))
MODULES = [name for name in ALL if not name.startswith(COMMAND)]
"""What is deployed."""
FOLDERS = sorted({name.rpartition("/")[0] + "/" for name in ALL if "/" in name})


def listed(package: str | None) -> list[str]:
    """The modules that a package's docstring lists."""
    names = re.findall(r"^    ([\w/, ]+?) {2,}\S", package or "", re.MULTILINE)
    return [name for line in names for name in line.split(", ")]


READING_ORDER = listed(voicecall_sync.__doc__)

# --- the folders' rules ----------------------------------------------------------------------------------------------

VALUES = ("outcome", "errors", "clock", "times", "parse", "contact", "calls")
RULES = {
    "connect/": VALUES,
    "salesforce/": VALUES,
    "queue/": VALUES,
    "ledger/": (*VALUES, "queue/"),
    "reconciliation/": (*VALUES, "connect/", "ledger/", "queue/", "alarm_topic", "report"),
    COMMAND: (
        *(*VALUES, "ledger/", "queue/", "asked", "settings"),
        # for `preview`
        *("connect/", "eligibility", "reconciliation/positions", "reconciliation/request"),
        *("salesforce/custom_fields", "salesforce/voice_call"),
    ),
}
"""Folder -> what its modules may import of ours, beside one another."""
NEVER_INSTALLED = ("report", "wiring", "worker", "update", "salesforce/token", "salesforce/attempt")
"""What the command never loads, not even through another module: it needs packages that operators do not get."""

MACHINE_CLOCKS = {
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "sleep"},
}
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
OTHER_PROGRAMS = {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp"}
FORBIDDEN_CALLS = {"print", "eval", "exec", "compile", "__import__", "input", "breakpoint"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "subprocess", "multiprocessing", "pdb", "runpy", "importlib"}

# What a module that takes values and gives values has no use for.
OUTSIDE_WORLD = {
    *("asyncio", "boto3", "botocore", "http", "io", "logging", "os", "pathlib", "random", "requests", "secrets"),
    *("select", "shutil", "signal", "socket", "ssl", "sys", "tempfile", "time", "urllib", "urllib3", "uuid"),
    *("aws_lambda_powertools", "concurrent", "queue"),
}
PURE = (
    *(
        "errors",
        "outcome",
        "times",
        "parse",
        "contact",
        "connect/fields",
        "connect/events",
        "connect/described",
        "asked",
        "calls",
        "salesforce/custom_fields",
        "salesforce/voice_call",
        "salesforce/token",
        "ledger/record",
        "ledger/attention",
    ),
    *(
        "queue/messages",
        "queue/depth",
        "queue/coming_back",
        "reconciliation/request",
        "eligibility",
        "reconciliation/positions",
    ),
    *("reconciliation/counts", "reconciliation/summary"),
)


def imported(name: str) -> Iterator[tuple[str, str]]:
    """Name what a module imports: the module, and what it takes from it ("" for the module itself)."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            yield from ((node.module or "", alias.name) for alias in node.names)


def our_imports(name: str) -> set[str]:
    """Name our own modules that a module imports, for types only or not."""
    paths = {path for module, taken in imported(name) for path in (module, f"{module}.{taken}")}
    return {path.removeprefix("voicecall_sync.").replace(".", "/") for path in paths} & set(ALL)


def loaded(name: str) -> set[str]:
    """Name our own modules that are loaded with a module: what it imports, what that imports, and so on."""
    reached, next_ones = set[str](), {name}
    while next_ones:
        reached |= next_ones
        next_ones = {found for one in next_ones for found in our_imports(one)} - reached
    return reached


def room(name: str) -> str:
    """The folder of a module; a module that lies in none is a room of its own."""
    folder, slash, _ = name.rpartition("/")
    return folder + slash if slash else name


def allowed(name: str, rule: Iterable[str]) -> bool:
    return name in rule or room(name) in rule


def touched(name: str) -> set[tuple[str, str]]:
    """Name each ``x.y`` in a module, and each y imported from x."""
    attributes = {
        (node.value.id, node.attr)
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    return attributes | set(imported(name))


def test_the_reading_order_names_each_module_once() -> None:
    assert sorted(READING_ORDER) == MODULES


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_from_those_above_it(name: str) -> None:
    assert name in READING_ORDER, "not in the reading order"
    above = READING_ORDER[: READING_ORDER.index(name)]
    assert our_imports(name) <= set(above)


def test_each_folder_has_a_rule_about_what_there_is() -> None:
    assert sorted(RULES) == FOLDERS
    assert {*NEVER_INSTALLED, *(name for rule in RULES.values() for name in rule)} <= {*ALL, *FOLDERS}


@pytest.mark.parametrize("name", [name for name in ALL if "/" in name])
def test_a_module_imports_only_its_folders_modules(name: str) -> None:
    assert {found for found in our_imports(name) if not allowed(found, (room(name), *RULES[room(name)]))} == set()


def test_no_circle_leads_through_the_folders() -> None:
    arrows: dict[str, set[str]] = {room(name): set() for name in ALL}
    for name in ALL:
        arrows[room(name)] |= {room(found) for found in our_imports(name)} - {room(name)}
    TopologicalSorter(arrows).prepare()  # raises CycleError, which names the circle


def test_no_circle_leads_through_the_modules() -> None:
    TopologicalSorter({name: our_imports(name) for name in ALL}).prepare()


@pytest.mark.parametrize("name", MODULES)
def test_nothing_deployed_imports_the_command(name: str) -> None:
    assert [found for found in our_imports(name) if found.startswith(COMMAND)] == []


@pytest.mark.parametrize("name", ALL)
def test_nothing_imports_the_tools(name: str) -> None:
    assert "tools" not in {module.partition(".")[0] for module, _ in imported(name)}


@pytest.mark.parametrize("name", [name for name in ALL if name.startswith(COMMAND)])
def test_the_command_loads_nothing_that_sends(name: str) -> None:
    assert loaded(name) & set(NEVER_INSTALLED) == set()


def test_the_command_lists_its_modules() -> None:
    named = [COMMAND + name for name in listed(voicecall_cli.__doc__)]
    assert sorted(named) == [name for name in ALL if name.startswith(COMMAND) and name != f"{COMMAND}__main__"]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_itself_imports_nothing(name: str) -> None:
    assert list(imported(name)) == []


@pytest.mark.parametrize("name", MODULES)
def test_only_settings_reads_the_environment(name: str) -> None:
    reads = {f"{owner}.{attribute}" for owner, attribute in touched(name) if attribute in ENVIRONMENT}
    assert bool(reads) is (name == "settings"), reads


@pytest.mark.parametrize("name", MODULES)
def test_only_clock_reads_the_machines_clocks(name: str) -> None:
    reads = {pair for pair in touched(name) if pair[1] in MACHINE_CLOCKS.get(pair[0], ())}
    assert bool(reads) is (name == "clock"), reads


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_imports_nothing_of_the_outside_world(name: str) -> None:
    assert {module.partition(".")[0] for module, _ in imported(name)} & OUTSIDE_WORLD == set()


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_imports_pure_modules_only(name: str) -> None:
    assert our_imports(name) <= set(PURE)


@pytest.mark.parametrize("name", MODULES)
def test_nothing_prints_evaluates_unpickles_or_starts_a_program(name: str) -> None:
    names = {node.id for node in ast.walk(TREES[name]) if isinstance(node, ast.Name)}
    assert not names & FORBIDDEN_CALLS
    assert not {module.partition(".")[0] for module, _ in imported(name)} & FORBIDDEN_MODULES
    assert not {pair for pair in touched(name) if pair[0] == "os" and pair[1] in OTHER_PROGRAMS}


IMPORT_THE_HANDLERS = """
import sys
sys.path[:0] = sys.argv[1:]

import os, socket, threading
import botocore.session

def refuse(*arguments, **named):
    raise AssertionError("importing must not do this")

socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
socket.getaddrinfo = socket.create_connection = refuse
botocore.session.Session.create_client = refuse
threading.Thread.start = refuse
before = dict(os.environ)

import voicecall_sync.handlers

assert dict(os.environ) == before
assert callable(voicecall_sync.handlers.update_voice_call)
print("imported", voicecall_sync.__file__)
"""


def test_importing_the_handlers_does_nothing_else() -> None:
    """In a fresh interpreter with an empty environment: no socket, no client, no thread, no variable missed."""
    child = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", IMPORT_THE_HANDLERS, str(PACKAGE.parent)],
        env={},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.stderr == ""
    assert child.stdout == f"imported {PACKAGE / '__init__.py'}\n"
