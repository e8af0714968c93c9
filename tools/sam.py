"""The files that ``sam local invoke`` needs for the local stack, from inside its container.

- The functions' own address is not this machine's there; the machine is ``host.docker.internal``.
- The function takes plain http on a loopback address only, so Salesforce speaks TLS. The authority of its certificate
  is beside the function's code, the one folder of ours in the container.
- SAM passes only the variables that the template declares (SAM CLI 1.170). template.yaml does not declare boto3's. So
  SAM gets a template of its own, for the same artifact.
- Docker Desktop lets a container reach what listens on this machine's 127.0.0.1. Docker on Linux does not: there it
  has to be `relayed` to Docker's bridge.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import shutil
import socket
import socketserver
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.local.door import HOST, NAME_IN_CONTAINERS
from tools.local.local_stack import ROOT
from tools.template import Template

FUNCTION = "UpdateVoiceCallFunction"
FUNCTIONS = (FUNCTION, "ContactQueueFunction", "ReconcileFunction")
ARTIFACT = ROOT / ".aws-sam" / "build" / FUNCTION
"""All three functions have the same code."""

_AUTHORITY = "local-ca.pem"
_CODE = "/var/task"
_CHUNK = 65536


def prepare(folder: Path, *, artifact: Path, template: Template, authority: Path, settings: Mapping[str, str]) -> None:
    """Write the template, the settings and a copy of the artifact into the folder, over what is there.

    Args:
        folder: where to; made if it does not exist.
        artifact: the built function.
        template: the project's.
        authority: the certificate authority the function is to trust, PEM.
        settings: those for a function on this machine.

    Raises:
        FileNotFoundError: there is no built function.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(artifact, folder / "function")
    shutil.copyfile(authority, folder / "function" / _AUTHORITY)
    inside = seen_from_a_container(settings)
    _write(folder / "env.json", dict.fromkeys(FUNCTIONS, inside))
    _write(folder / "template.json", derived(template, inside))


def seen_from_a_container(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with this machine's addresses and files as a container knows them."""
    inside = {name: value.replace(f"//{HOST}:", f"//{NAME_IN_CONTAINERS}:") for name, value in settings.items()}
    return {**inside, "REQUESTS_CA_BUNDLE": f"{_CODE}/{_AUTHORITY}"}


def derived(template: Template, variables: Iterable[str]) -> Template:
    """Return a template of the functions, as in the project's, that declares these variables."""
    shared: dict[str, Any] = template["Globals"]["Function"]
    declared = dict.fromkeys(variables, "")

    def function(name: str) -> dict[str, Any]:
        own: dict[str, Any] = template["Resources"][name]["Properties"]
        return {
            "CodeUri": "function",
            "Handler": own["Handler"],
            "Runtime": shared["Runtime"],
            "Architectures": shared["Architectures"],
            "Timeout": own["Timeout"],
            "MemorySize": template["Parameters"]["MemorySize"]["Default"],
            "Environment": {"Variables": declared},
        }

    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {name: {"Type": "AWS::Serverless::Function", "Properties": function(name)} for name in FUNCTIONS},
    }


def is_one_address(text: str) -> bool:
    """Tell whether the text is one private address, and not all of them (0.0.0.0)."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_private and not address.is_unspecified


@contextlib.contextmanager
def relayed(address: str, ports: Iterable[int]) -> Iterator[None]:
    """Let these ports of 127.0.0.1 be reached at another address of this machine as well.

    Raises:
        OSError: one of the ports is taken there.
    """
    with contextlib.ExitStack() as opened:
        for port in ports:
            relay = opened.enter_context(_Relay((address, port), _Passage))
            threading.Thread(target=relay.serve_forever, daemon=True).start()
            opened.callback(relay.shutdown)
        yield


class _Relay(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


class _Passage(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        port: int = self.request.getsockname()[1]
        with contextlib.suppress(OSError), socket.create_connection((HOST, port)) as inner:
            back = threading.Thread(target=_copy, args=(inner, self.request), daemon=True)
            back.start()
            _copy(self.request, inner)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
