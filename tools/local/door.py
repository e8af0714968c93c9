"""Which requests a local server accepts: those of programs on this machine, never those of a web page.

A web page reaches servers on loopback too. If it names our address, the browser adds the page's own Origin. For an
image or a link it adds no Origin, but its Sec-Fetch-Site says that the page is another site's. If the page's own name
leads to 127.0.0.1 (DNS rebinding), the Host is that name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

HOST = "127.0.0.1"
"""The one address that servers here listen on."""
NAME_IN_CONTAINERS = "host.docker.internal"
"""What this machine is called inside a container."""


def own_hosts(port: int, *, for_containers: bool = False) -> frozenset[str]:
    """Return what a request to our port may have as its Host."""
    names = (HOST, "localhost", NAME_IN_CONTAINERS) if for_containers else (HOST, "localhost")
    return frozenset(f"{name}:{port}" for name in names)


def refusal(header: Callable[[str], str | None], own: Collection[str]) -> str | None:
    """Tell why a request is refused, None for one that is let in.

    Args:
        header: gives its header of a name, None without one.
        own: what `own_hosts` returns.
    """
    host, origin, site = header("Host"), header("Origin"), header("Sec-Fetch-Site")
    if host is None or host.lower() not in own:
        return "the Host is not this server's own address"
    if origin is not None and origin.partition("://")[2].lower() not in own:
        return "the Origin is not this server's own address"
    if site is not None and site not in {"same-origin", "none"}:  # none: typed into the browser's address bar
        return "another site's page sent it"
    return None
