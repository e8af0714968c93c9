from __future__ import annotations

from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import settings

# No test here is timed; a busy machine must not fail one.
settings.register_profile("unit", settings(), deadline=None)
settings.load_profile("unit")


@dataclass(frozen=True)
class Key:
    """An RSA key, in the two ways it may be written."""

    private: rsa.RSAPrivateKey
    pkcs1: str
    pkcs8: str
    public: str


def _key() -> Key:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def pem(form: PrivateFormat) -> str:
        return private.private_bytes(Encoding.PEM, form, NoEncryption()).decode()

    public = private.public_key().public_bytes(Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Key(private, pem(PrivateFormat.TraditionalOpenSSL), pem(PrivateFormat.PKCS8), public.decode())


@pytest.fixture(scope="session")
def key() -> Key:
    return _key()


@pytest.fixture(scope="session")
def other_key() -> Key:
    return _key()
