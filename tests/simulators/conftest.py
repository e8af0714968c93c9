import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import jwt
import pytest
import requests
from botocore.config import Config
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tools.local.certificates import Certificate, issue
from tools.local.salesforce import SalesforceSimulator

if TYPE_CHECKING:
    from types_boto3_connect import ConnectClient

ORG_ID = "00D000000000001EAA"
CALL_CENTER = "ContactCenter1"
INSTANCE = "11111111-2222-3333-4444-555555555555"
NOW = datetime(2025, 3, 1, 12, 0, 0, tzinfo=UTC)


@dataclass(frozen=True)
class KeyPair:
    private: rsa.RSAPrivateKey
    public_pem: bytes


@pytest.fixture(scope="session")
def keys() -> KeyPair:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return KeyPair(key, key.public_key().public_bytes(serialization.Encoding.PEM, spki))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return issue(tmp_path_factory.mktemp("certificate"))


def claims(**changes: object) -> dict[str, Any]:
    """The claims of an acceptable token; a change to None leaves the claim out."""
    proper = {"iss": ORG_ID, "sub": CALL_CENTER, "iat": NOW, "exp": NOW + timedelta(hours=1)}
    return {name: value for name, value in {**proper, **changes}.items() if value is not None}


def sign(keys: KeyPair, **changes: object) -> str:
    return jwt.encode(claims(**changes), keys.private, algorithm="RS256")


@dataclass
class Client:
    """Sends PATCHes the way the function under development does: with a pooled session, no retries."""

    simulator: SalesforceSimulator
    keys: KeyPair
    verify: str | None = None
    patience: float = 10.0
    session: requests.Session = field(default_factory=requests.Session)

    def patch(
        self,
        call_id: str = "call-1",
        body: object = None,
        *,
        path: str | None = None,
        method: str = "PATCH",
        headers: Mapping[str, str | None] | None = None,
    ) -> requests.Response:
        """Send the body with proper headers; `headers` replace them, and None leaves one out."""
        proper = {
            "Authorization": f"Bearer {sign(self.keys)}",
            "Content-Type": "application/json",
            "Telephony-Provider-Name": "amazon-connect",
        }
        merged = {name: value for name, value in {**proper, **(headers or {})}.items() if value is not None}
        raw = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        return self.session.request(
            method,
            self.simulator.url + (path or f"/telephony/v1/voiceCalls/{call_id}"),
            data=raw,
            headers=merged,
            verify=self.verify or True,
            timeout=self.patience,
            allow_redirects=False,
        )


def simulator_of(keys: KeyPair, certificate: Certificate | None = None) -> SalesforceSimulator:
    return SalesforceSimulator(
        public_key_pem=keys.public_pem,
        org_id=ORG_ID,
        call_center_api_name=CALL_CENTER,
        certificate=certificate,
        clock=lambda: NOW,
    )


@pytest.fixture
def salesforce(keys: KeyPair) -> Iterator[SalesforceSimulator]:
    with simulator_of(keys) as simulator:
        yield simulator


@pytest.fixture
def client(salesforce: SalesforceSimulator, keys: KeyPair) -> Iterator[Client]:
    with requests.Session() as session:
        yield Client(salesforce, keys, session=session)


@pytest.fixture
def tls_client(keys: KeyPair, certificate: Certificate) -> Iterator[Client]:
    with simulator_of(keys, certificate) as simulator, requests.Session() as session:
        yield Client(simulator, keys, verify=str(certificate.ca_file), session=session)


@pytest.fixture
def dial(salesforce: SalesforceSimulator) -> Iterator[Callable[[], socket.socket]]:
    """Opens plain sockets to the simulator, for what an HTTP client would not do."""
    with ExitStack() as sockets:
        address = urlsplit(salesforce.url)
        yield lambda: sockets.enter_context(
            socket.create_connection((str(address.hostname), address.port or 0), timeout=5)
        )


def make_connect_client(url: str) -> "ConnectClient":
    return boto3.client(
        "connect",
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1, "mode": "standard"}),
    )
