"""Throw-away TLS certificates for servers on the loopback interface."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tools.local.door import HOST, NAME_IN_CONTAINERS

_LIFE = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server certificate and the authority a client is told to trust, as PEM files.

    Attributes:
        ca_file: the authority's certificate, for the client (``requests``' ``verify``).
        cert_file: the server's certificate, for 127.0.0.1, localhost and host.docker.internal.
        key_file: the server's private key, PKCS#8, not encrypted.
    """

    ca_file: Path
    cert_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True)
class _Authority:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def issue(directory: Path) -> Certificate:
    """Make an authority and a server certificate signed by it; valid from yesterday for two days.

    The directory must exist; files of an earlier call are overwritten.
    """
    authority = _authority("Simulator CA")
    return _write(directory, trusted=authority, signer=authority)


def issue_from_unknown_authority(directory: Path) -> Certificate:
    """Like `issue`, but the server's certificate is signed by an authority that ``ca_file`` does not hold.

    A client that trusts ``ca_file``, or the public authorities, must refuse it.
    """
    return _write(directory, trusted=_authority("Simulator CA"), signer=_authority("Unknown CA"))


def _write(directory: Path, *, trusted: _Authority, signer: _Authority) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    files = Certificate(directory / "ca.pem", directory / "server.pem", directory / "server-key.pem")
    files.ca_file.write_bytes(trusted.certificate.public_bytes(serialization.Encoding.PEM))
    files.cert_file.write_bytes(_server(key, signer).public_bytes(serialization.Encoding.PEM))
    files.key_file.touch(mode=0o600)
    files.key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def _authority(name: str) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _unsigned(name, issuer=_name(name), key=key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _Authority(key, certificate)


def _server(key: ec.EllipticCurvePrivateKey, signer: _Authority) -> x509.Certificate:
    names = [
        x509.DNSName("localhost"),
        x509.DNSName(NAME_IN_CONTAINERS),
        x509.IPAddress(ipaddress.IPv4Address(HOST)),
    ]
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    return (
        _unsigned("localhost", issuer=signer.certificate.subject, key=key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(signer.key, hashes.SHA256())
    )


def _unsigned(name: str, *, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(yesterday)
        .not_valid_after(yesterday + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    # Python 3.13 verifies strictly: an authority without keyCertSign is refused.
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
