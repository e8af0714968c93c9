"""Whom a local server lets in: programs of this machine, never a page in somebody's browser.

A web page reaches what listens on loopback too. If it names our address, the browser adds the page's Origin, which is
another. If the page's own name leads to 127.0.0.1 (DNS rebinding), the Host is that name.
"""

from __future__ import annotations

from collections.abc import Collection

HOST = "127.0.0.1"
"""The one address that servers here listen on."""
NAME_IN_CONTAINERS = "host.docker.internal"
"""What this machine is called inside a container."""


def own_hosts(port: int, *, for_containers: bool = False) -> frozenset[str]:
    """Return what a request to our port may have as its Host."""
    names = (HOST, "localhost", NAME_IN_CONTAINERS) if for_containers else (HOST, "localhost")
    return frozenset(f"{name}:{port}" for name in names)


def refusal(host: str | None, origin: str | None, own: Collection[str]) -> str | None:
    """Tell why a request is refused, None for one that is let in.

    Args:
        host: its header Host, None without one.
        origin: its header Origin, None without one.
        own: what `own_hosts` returns.
    """
    if host is None or host.lower() not in own:
        return "the Host is not this server's own address"
    if origin is not None and origin.partition("://")[2].lower() not in own:
        return "the Origin is not this server's own address"
    return None
