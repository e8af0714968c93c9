import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.artifact import lambda_kit, make_sam, make_wheels, make_with_sam, once
from tests.support.contacts import abandoned, described
from tests.support.missed import QUOTAS_LIFTED
from tests.support.sandbox import Sandbox
from tests.support.simulated import World
from tools.local.gateway import AwsGateway
from tools.local.hand_clock import HandClock
from tools.local.local_stack import LocalStack
from tools.local.ministack import MiniStack
from tools.local.runtime import Kit

_count = iter(range(1_000_000))

QUICK = {
    "AWS_MAX_ATTEMPTS": "2",
    **QUOTAS_LIFTED,
}


TRACED = frozenset(
    {
        "test_bad_input",
        "test_contacts_end_to_end",
        "test_reconcile",
        "test_table_of_answers",
        "test_time_and_sockets",
    }
)


def pytest_configure() -> None:
    """Let Python go through all its objects a hundred times less often: that took a tenth of the tests' time."""
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, 100 * old)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--renew", action="store_true", help="write tests/stack/translated.json anew, for a review of its diff"
    )


@pytest.fixture
def renew(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--renew"))


@pytest.fixture(scope="session")
def ministack() -> Iterator[MiniStack]:
    with MiniStack(services=()) as running:  # the operator's commands look after a deployed stack
        yield running


@pytest.fixture(scope="session")
def gateway(ministack: MiniStack) -> Iterator[AwsGateway]:
    """One for all tests, so that AWS has the same address in all of them: making boto3's clients costs most."""
    with AwsGateway(aws=ministack.url) as running:
        yield running


@pytest.fixture
def stack(ministack: MiniStack, gateway: AwsGateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStack]:
    """All the function talks to, with a table of its own; the environment points at it."""
    with LocalStack(ministack=ministack, gateway=gateway, table=f"table-{next(_count)}") as running:
        for name, value in {**running.environment(), **QUICK}.items():
            monkeypatch.setenv(name, value)
        running.connect.put_queue("queue-support", "Support")
        running.connect.put_user("agent-jane", "jane@example.com")
        yield running


@pytest.fixture
def ready_token(stack: LocalStack) -> None:
    """For tests that have many cold sandboxes and are not about the key."""
    stack.put_secret(stack.jwt_secret())


@pytest.fixture(scope="session")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "sam", make_sam)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "wheels", make_wheels)


@pytest.fixture(scope="session")
def built_with_sam(tmp_path_factory: pytest.TempPathFactory, sam: Path, wheels: Path) -> Path:
    """A copy of the project after `sam build`."""
    return once(tmp_path_factory, "built", lambda folder: make_with_sam(folder, sam, wheels))


@pytest.fixture(scope="session")
def artifact(built_with_sam: Path) -> Path:
    return built_with_sam / ".aws-sam" / "build" / "UpdateVoiceCallFunction"


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory, sam: Path) -> Kit:
    """What runs the artifact as Lambda does."""
    return lambda_kit(tmp_path_factory, sam)


@pytest.fixture
def sandbox(stack: LocalStack) -> Sandbox:  # noqa: ARG001 - it has set the environment
    """A cold sandbox in this process."""
    return Sandbox()


@pytest.fixture
def new_world(
    ministack: MiniStack, gateway: AwsGateway, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., World]]:
    """Gives the functions on a clock that jumps, with a stack of their own; options are `Simulation`'s."""
    with ExitStack() as stacks:

        def world(**options: Any) -> World:
            clock = HandClock(datetime.now(UTC))
            stack = stacks.enter_context(
                LocalStack(ministack=ministack, gateway=gateway, table=f"table-{next(_count)}", clock=clock.now)
            )
            for name, value in {**stack.environment(), **QUICK}.items():
                monkeypatch.setenv(name, value)
            stack.connect.put_queue("queue-support", "Support")
            stack.connect.put_user("agent-jane", "jane@example.com")
            return World(stack, clock, **options)

        yield world


@pytest.fixture
def finished(stack: LocalStack) -> Callable[[str], str]:
    """Lets Connect know of a finished call, and returns its id."""

    def put(contact_id: str) -> str:
        stack.connect.put_contact(described(contact_id))
        return contact_id

    return put


@pytest.fixture
def hung_up(stack: LocalStack) -> Callable[[str], str]:
    """Lets Connect know of an abandoned call, and returns its id."""

    def put(contact_id: str) -> str:
        stack.connect.put_contact(abandoned(contact_id))
        return contact_id

    return put


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Trace only the tests of the function's own lines, because tracing costs a third of a test's time and more.

    Give more time to the tests that need what SAM builds.
    """
    for item in items:
        traced = "unit" in item.path.parts or item.path.stem in TRACED
        if not traced:
            item.add_marker(pytest.mark.no_cover)
        if "sam" in getattr(item, "fixturenames", ()):  # the first of them builds, and the others wait for it
            item.add_marker(pytest.mark.timeout(420))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many combinations the fault sweep went through; under xdist the workers' reports end up here too."""
    swept = [
        int(str(value))
        for report in terminalreporter.stats.get("passed", [])
        for name, value in getattr(report, "user_properties", [])
        if name == "fault combinations" and report.when == "call"
    ]
    if swept:
        terminalreporter.write_line(
            f"fault sweep: {sum(swept)} combinations over {len(swept)} calls; invariants held in all"
        )
