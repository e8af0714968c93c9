"""What `stack --sam` prepares for `sam local invoke`, short of the container."""

import json
import sys
from pathlib import Path

import pytest
import urllib3

from tests.commands.conftest import FREE_PORTS, Run, stopped_at_the_end
from tools import stack
from tools.local.local_stack import ROOT
from tools.sam import derived, seen_from_a_container
from tools.template import load

OTHER_ADDRESS = "127.0.0.2"


def test_the_template_is_the_projects_with_other_variables() -> None:
    template = derived(load(ROOT / "template.yaml"), ["A", "B"])

    functions = {name: resource["Properties"] for name, resource in template["Resources"].items()}
    assert {name: (one["Handler"].rpartition(".")[2], one["Timeout"]) for name, one in functions.items()} == {
        "UpdateVoiceCallFunction": ("update_voice_call", 8),
        "ContactQueueFunction": ("contact_queue", 60),
        "ReconcileFunction": ("reconcile", 900),
    }
    for properties in functions.values():
        assert properties["Runtime"].startswith("python3.")
        assert properties["Environment"] == {"Variables": {"A": "", "B": ""}}


def test_addresses_are_those_a_container_knows() -> None:
    inside = seen_from_a_container({"A": "http://127.0.0.1:1", "B": "x", "REQUESTS_CA_BUNDLE": "/here/ca.pem"})

    assert inside == {
        "A": "http://host.docker.internal:1",
        "B": "x",
        "REQUESTS_CA_BUNDLE": "/var/task/local-ca.pem",
    }


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has 127.0.0.1 alone")
def test_a_container_reaches_salesforce_over_tls(environment: dict[str, str], run: Run, tmp_path: Path) -> None:
    artifact, local = tmp_path / "artifact", tmp_path / "local"
    artifact.mkdir()
    (artifact / "code.py").touch()
    command = ["stack", "--sam", f"--artifact={artifact}", f"--container-address={OTHER_ADDRESS}", *FREE_PORTS]
    with stopped_at_the_end(command, {**environment, "VOICECALL_SYNC_LOCAL": str(local)}):
        settings = json.loads((local / "sam" / "env.json").read_text(encoding="utf-8"))["UpdateVoiceCallFunction"]
        authority = local / "sam" / "function" / "local-ca.pem"

        assert settings["SCRT_ENDPOINT_BASE"].startswith("https://host.docker.internal:")
        port = int(settings["SCRT_ENDPOINT_BASE"].rpartition(":")[2])
        with urllib3.HTTPSConnectionPool(
            OTHER_ADDRESS, port, ca_certs=str(authority), server_hostname="host.docker.internal"
        ) as salesforce:
            assert (
                salesforce.request(
                    "GET", "/simulator/received", headers={"Host": f"host.docker.internal:{port}"}
                ).json()
                == []
            )
        here = run("invoke", "events/contact-flow.json", VOICECALL_SYNC_LOCAL=str(local))
        assert json.loads(here.stdout)["status"] == "UPDATED"
    assert (local / "sam" / "function" / "code.py").exists()


def test_sam_needs_the_function_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        stack.main(["--sam", f"--artifact={tmp_path / 'nowhere'}"])

    assert "run `sam build` first" in capsys.readouterr().err
