"""How a registry's name becomes an address to talk to, and one to find credentials by."""

from __future__ import annotations

import ipaddress

from fleet.references import DOCKER_HUB

# Docker Hub is known by one name, answers at another, and logs in at a third.
HUB_API = "registry-1.docker.io"
HUB_LOGIN = "https://index.docker.io/v1/"
_HUB = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})


def canonical(registry: str) -> str:
    """One spelling for a registry: lower case, and ``docker.io`` for all of Docker Hub's."""
    registry = registry.lower()
    return DOCKER_HUB if registry in _HUB else registry


def authority(registry: str) -> str:
    """The ``host[:port]`` at which a registry answers."""
    registry = canonical(registry)
    return HUB_API if registry == DOCKER_HUB else registry


def login_server(registry: str) -> str:
    """What Docker calls a registry when it asks a credential helper about it."""
    registry = canonical(registry)
    return HUB_LOGIN if registry == DOCKER_HUB else registry


def host_of(registry: str) -> str:
    """The host of ``host[:port]``, without the brackets of an IPv6 address."""
    if registry.startswith("["):
        return registry[1:].partition("]")[0]
    return registry.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address alone: nothing is looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
