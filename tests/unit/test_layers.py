"""What the modules may know of one another and of the world, read out of their source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

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


@cache
def imported(name: str) -> Sequence[tuple[str, str]]:
    """Name what a module imports: the module, and what it takes from it ("" for the module itself)."""
    found: list[tuple[str, str]] = []
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found += ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            found += ((node.module or "", alias.name) for alias in node.names)
    return found


def packages(name: str) -> set[str]:
    """Name the packages that a module imports, or imports from."""
    return {module.partition(".")[0] for module, _ in imported(name)}


@cache
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


@cache
def touched(name: str) -> set[tuple[str, str]]:
    """Name each ``x.y`` in a module, and each y imported from x."""
    attributes = {
        (node.value.id, node.attr)
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    return attributes | set(imported(name))


def found_in(names: Iterable[str], find: Callable[[str], AbstractSet[object]]) -> dict[str, AbstractSet[object]]:
    """What there is to complain of in modules, by name. One test for all: pytest takes longer for a test than this."""
    return {name: found for name in names if (found := find(name))}


def test_the_reading_order_names_each_module_once() -> None:
    assert sorted(READING_ORDER) == MODULES


def test_a_module_imports_only_from_those_above_it() -> None:
    assert set(MODULES) <= set(READING_ORDER)
    assert found_in(MODULES, lambda name: our_imports(name) - set(READING_ORDER[: READING_ORDER.index(name)])) == {}


def test_each_folder_has_a_rule_about_what_there_is() -> None:
    assert sorted(RULES) == FOLDERS
    assert {*NEVER_INSTALLED, *(name for rule in RULES.values() for name in rule)} <= {*ALL, *FOLDERS}


def test_a_module_imports_only_its_folders_modules() -> None:
    def forbidden(name: str) -> set[str]:
        return {found for found in our_imports(name) if not allowed(found, (room(name), *RULES[room(name)]))}

    assert found_in([name for name in ALL if "/" in name], forbidden) == {}


def test_no_circle_leads_through_the_folders() -> None:
    arrows: dict[str, set[str]] = {room(name): set() for name in ALL}
    for name in ALL:
        arrows[room(name)] |= {room(found) for found in our_imports(name)} - {room(name)}
    TopologicalSorter(arrows).prepare()  # raises CycleError, which names the circle


def test_no_circle_leads_through_the_modules() -> None:
    TopologicalSorter({name: our_imports(name) for name in ALL}).prepare()


def test_nothing_deployed_imports_the_command() -> None:
    assert found_in(MODULES, lambda name: {one for one in our_imports(name) if one.startswith(COMMAND)}) == {}


def test_nothing_imports_the_tools() -> None:
    assert found_in(ALL, lambda name: packages(name) & {"tools"}) == {}


def test_the_command_loads_nothing_that_sends() -> None:
    command = [name for name in ALL if name.startswith(COMMAND)]
    assert found_in(command, lambda name: loaded(name) & set(NEVER_INSTALLED)) == {}


def test_the_command_lists_its_modules() -> None:
    named = [COMMAND + name for name in listed(voicecall_cli.__doc__)]
    assert sorted(named) == [name for name in ALL if name.startswith(COMMAND) and name != f"{COMMAND}__main__"]


def test_a_package_itself_imports_nothing() -> None:
    assert found_in(PACKAGES, lambda name: set(imported(name))) == {}


def test_only_settings_reads_the_environment() -> None:
    assert set(found_in(MODULES, lambda name: {one for one in touched(name) if one[1] in ENVIRONMENT})) == {"settings"}


def test_only_clock_reads_the_machines_clocks() -> None:
    def reads(name: str) -> set[tuple[str, str]]:
        return {pair for pair in touched(name) if pair[1] in MACHINE_CLOCKS.get(pair[0], ())}

    assert set(found_in(MODULES, reads)) == {"clock"}


def test_a_pure_module_imports_nothing_of_the_outside_world() -> None:
    assert found_in(PURE, lambda name: packages(name) & OUTSIDE_WORLD) == {}


def test_a_pure_module_imports_pure_modules_only() -> None:
    assert found_in(PURE, lambda name: our_imports(name) - set(PURE)) == {}


def test_nothing_prints_evaluates_unpickles_or_starts_a_program() -> None:
    def forbidden(name: str) -> set[object]:
        names = {node.id for node in ast.walk(TREES[name]) if isinstance(node, ast.Name)}
        started = {pair for pair in touched(name) if pair[0] == "os" and pair[1] in OTHER_PROGRAMS}
        return {*(names & FORBIDDEN_CALLS), *(packages(name) & FORBIDDEN_MODULES), *started}

    assert found_in(MODULES, forbidden) == {}


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
