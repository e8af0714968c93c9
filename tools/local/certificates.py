"""Throw-away TLS certificates for servers on the loopback interface, made by `trustme`."""

from dataclasses import dataclass
from pathlib import Path

import trustme

from tools.local.door import HOST, NAME_IN_CONTAINERS


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server certificate and the authority a client is told to trust, as PEM files.

    Attributes:
        ca_file: the authority's certificate, for the client (``requests``' ``verify``).
        cert_file: the server's certificate, for 127.0.0.1, localhost and host.docker.internal.
        key_file: the server's private key, not encrypted.
    """

    ca_file: Path
    cert_file: Path
    key_file: Path


def issue(directory: Path) -> Certificate:
    """Make an authority and a server certificate signed by it.

    The directory must exist; files of an earlier call are overwritten. The authority's key is written nowhere.
    """
    authority = trustme.CA()
    return _write(directory, trusted=authority, signer=authority)


def issue_from_unknown_authority(directory: Path) -> Certificate:
    """Like `issue`, but the server's certificate is signed by an authority that ``ca_file`` does not hold.

    A client that trusts ``ca_file``, or the public authorities, must refuse it.
    """
    return _write(directory, trusted=trustme.CA(), signer=trustme.CA())


def _write(directory: Path, *, trusted: trustme.CA, signer: trustme.CA) -> Certificate:
    files = Certificate(directory / "ca.pem", directory / "server.pem", directory / "server-key.pem")
    server = signer.issue_cert(HOST, "localhost", NAME_IN_CONTAINERS)
    trusted.cert_pem.write_to_path(files.ca_file)
    server.cert_chain_pems[0].write_to_path(files.cert_file)
    files.key_file.touch(mode=0o600)
    server.private_key_pem.write_to_path(files.key_file)
    return files
