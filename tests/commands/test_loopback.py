"""Nothing of ours is reached from elsewhere: not from another machine, not from a web page, not after its parent."""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import boto3
import psutil
import pytest
import requests

from tests.commands.conftest import FREE_PORTS, PARTS, POLL_SECONDS, listening, processes
from tests.support.contacts import flow_event, new_id
from tools import stack as stack_command
from tools.local import keeper
from tools.local.door import own_hosts, refusal
from tools.local.gateway import Fault
from tools.local.local_stack import ROOT, LocalStack
from tools.local.ministack import MiniStack
from tools.local.runtime import Kit, LambdaRuntime
from tools.sam import is_one_address

COMMANDS = {"demo": [], "stack": FREE_PORTS}


def gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(left: list[psutil.Process]) -> None:
    """Wait for it; pytest's own time-out ends what does not come."""
    while not all(map(gone, left)):
        time.sleep(0.01)


@pytest.fixture
def own(environment: dict[str, str], tmp_path: Path) -> Mapping[str, str]:
    """An environment in which no stack runs."""
    return {**environment, "VOICECALL_SYNC_LOCAL": str(tmp_path)}


def started(command: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", f"tools.{command}", *COMMANDS[command]],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


# ------------------------------------------------------------------------------------------ other machines


def test_the_tests_and_lambdas_emulator_listen_on_loopback_only(
    stack: LocalStack,
    kit: Kit,
    artifact: Path,
    tmp_path: Path,
) -> None:
    function = LambdaRuntime(
        kit, artifact, "voicecall_sync.handlers.update_voice_call", timeout=8, environment=stack.environment(),
        log=tmp_path / "log",
    )  # fmt: skip
    before = listening(psutil.Process())
    with function:
        seen = listening(psutil.Process())

    assert len(before) >= PARTS
    assert len(seen - before) >= 1  # its second address is not listened on before the first invocation
    assert {ip for ip, _ in seen} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("172.17.0.1", True),
        ("127.0.0.2", True),
        ("0.0.0.0", False),  # noqa: S104 - refused
        ("::", False),
        ("203.0.113.5x", False),
        ("8.8.8.8", False),
        ("all", False),
    ],
)
def test_which_address_a_container_may_reach(address: str, taken: bool) -> None:  # noqa: FBT001
    assert is_one_address(address) is taken


def test_a_container_reaches_one_private_address_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        stack_command.main(["--sam", f"--artifact={tmp_path}", "--container-address=0.0.0.0"])

    assert "--container-address takes one address of this machine" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- web pages


@pytest.fixture(params=["gateway", "ministack", "salesforce", "connect"])
def server(request: pytest.FixtureRequest, stack: LocalStack, ministack: MiniStack) -> str:
    return {
        "gateway": stack.gateway.url,
        "ministack": ministack.url,
        "salesforce": stack.salesforce.url,
        "connect": stack.connect.url,
    }[request.param]


FOREIGN: tuple[Mapping[str, str], ...] = (
    {"Host": "attacker.example"},
    {"Host": "attacker.example:{port}"},
    {"Host": "127.0.0.1"},
    {"Host": "127.0.0.1:1"},
    {"Host": "host.docker.internal:{port}"},
    {"Origin": "https://attacker.example"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
)


def test_a_web_page_is_refused(server: str) -> None:
    port = server.rpartition(":")[2]
    for method, headers in itertools.product(("GET", "POST", "PATCH", "OPTIONS"), FOREIGN):
        sent = {name: value.format(port=port) for name, value in headers.items()}

        answer = requests.request(method, f"{server}/simulator/received", headers=sent, timeout=10)

        assert answer.status_code == 403, (method, sent)
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("headers", [{}, {"Host": "localhost:{port}"}, {"Origin": "{server}"}])
def test_this_machines_programs_are_let_in(server: str, headers: dict[str, str]) -> None:
    port = server.rpartition(":")[2]
    own = {name: value.format(port=port, server=server) for name, value in headers.items()}

    assert requests.get(f"{server}/simulator/received", headers=own, timeout=10).status_code != 403


def test_a_refused_request_has_no_effect(stack: LocalStack) -> None:
    behaviour = '{"behaviour": "Hang"}'
    requests.post(
        f"{stack.salesforce.url}/simulator/next", behaviour, headers={"Origin": "http://a.example"}, timeout=10
    )
    stack.salesforce.wait_for(lambda salesforce: salesforce.connections_open == 0)

    assert stack.salesforce.received == []
    answer = requests.patch(f"{stack.salesforce.url}/telephony/v1/voiceCalls/a", timeout=10)
    assert answer.status_code == 401  # not left without an answer


@pytest.mark.parametrize(
    ("headers", "let_in"),
    [
        ({"Host": "127.0.0.1:80"}, True),
        ({"Host": "LOCALHOST:80", "Origin": "http://localhost:80"}, True),
        ({"Host": "127.0.0.1:80", "Origin": "https://127.0.0.1:80"}, True),
        ({"Host": "127.0.0.1:80", "Sec-Fetch-Site": "none"}, True),
        ({"Host": "127.0.0.1:80", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Host": "127.0.0.1:80", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Host": "127.0.0.1:80", "Sec-Fetch-Site": "same-site"}, False),
        ({}, False),
        ({"Host": ""}, False),
        ({"Host": "127.0.0.1:80, a.example"}, False),
        ({"Host": "127.0.0.1:80", "Origin": "127.0.0.1:80"}, False),
        ({"Host": "host.docker.internal:80"}, False),
    ],
)
def test_whom_the_door_lets_in(headers: Mapping[str, str], let_in: bool) -> None:  # noqa: FBT001
    assert (refusal(headers.get, own_hosts(80)) is None) is let_in


def test_what_is_started_for_containers_lets_them_in() -> None:
    headers = {"Host": "host.docker.internal:80"}
    assert refusal(headers.get, own_hosts(80, for_containers=True)) is None


def test_a_link_or_an_image_makes_aws_do_nothing(stack: LocalStack, ministack: MiniStack) -> None:
    """A browser that says nothing of Sec-Fetch-Site sends no Origin with them either."""
    for server in (ministack.url, stack.gateway.url):
        answer = requests.get(f"{server}/?Action=CreateQueue&QueueName=by-a-page&Version=2012-11-05", timeout=10)
        assert answer.status_code == 403
    queues = boto3.client("sqs", endpoint_url=ministack.url).list_queues()
    assert "by-a-page" not in str(queues.get("QueueUrls"))


@pytest.mark.parametrize("service", ["lambda", "s3", "iam", "cloudformation"])
def test_a_command_starts_only_the_services_it_needs(service: str, own_ministack: MiniStack) -> None:
    credential = (
        f"AWS4-HMAC-SHA256 Credential=a/20261124/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=b"
    )

    answer = requests.get(
        f"{own_ministack.url}/2015-03-31/functions/", headers={"Authorization": credential}, timeout=10
    )

    assert answer.status_code == 400


@pytest.fixture(scope="module")
def own_ministack() -> Iterator[MiniStack]:
    """As a command starts it."""
    with MiniStack() as running:
        yield running


# --------------------------------------------------------------------------------- parents that are killed

TESTS = """
import json, sys, time
sys.path[:0] = ["src"]
from tests.support.sandbox import ProcessSandbox
sandbox = ProcessSandbox(json.loads(sys.argv[1]), json.loads(sys.argv[2]))
print(sandbox.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("command", "least"),
    [
        ("stack", 7),  # itself, the keeper and MiniStack; the worker's two sandboxes, a keeper each
        ("demo", 3),
    ],
)
def test_nothing_outlives_a_killed_command(command: str, least: int, own: Mapping[str, str]) -> None:
    """Nor did it listen elsewhere than on loopback."""
    process = started(command, own)
    root = psutil.Process(process.pid)
    while len(listening(root)) < PARTS or len(processes(root)) < least:
        assert process.poll() is None
        time.sleep(POLL_SECONDS)
    left = processes(root)
    assert {ip for ip, _ in listening(root)} == {"127.0.0.1"}

    process.kill()
    process.wait()

    wait_until_gone(left)


def test_nor_a_killed_keeper(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        kept = keeper.start([sys.executable, "-c", "import time; time.sleep(600)"], environment={}, log=log)
    while (command := keeper.command_of(kept)) is None:
        time.sleep(0.01)

    kept.kill()
    keeper.end(kept)

    if sys.platform == "linux":
        wait_until_gone([command])
    else:
        command.kill()


def test_a_keeper_ends_all_that_its_command_started(tmp_path: Path) -> None:
    inner = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    with (tmp_path / "log").open("wb") as log:
        kept = keeper.start([sys.executable, "-c", inner], environment={}, log=log)
    while len(processes(psutil.Process(kept.pid))) < 3:
        time.sleep(0.01)
    left = processes(psutil.Process(kept.pid))

    keeper.end(kept)

    wait_until_gone(left)


def test_a_keeper_ends_as_its_command_does() -> None:
    kept = keeper.start([sys.executable, "-c", "raise SystemExit(7)"], environment={}, log=subprocess.DEVNULL)
    status = kept.wait()
    keeper.end(kept)

    assert status == 7


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a frozen child with its parent")
def test_a_frozen_sandbox_goes_with_the_tests(stack: LocalStack) -> None:
    """As when the tests are killed while one of their sandboxes is frozen."""
    stack.gateway.fail("GetSecretValue", Fault.HANG)
    program = [sys.executable, "-c", TESTS, json.dumps(stack.environment()), json.dumps(flow_event(new_id()))]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE) as tests:
        assert tests.stdout is not None
        sandbox = psutil.Process(int(tests.stdout.readline()))
        stack.gateway.wait_for(lambda gateway: gateway.under_way > 0)
        sandbox.suspend()
        tests.kill()

    wait_until_gone([sandbox])
