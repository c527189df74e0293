"""Where hosts and registries are: texts of an inventory taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

from fleet.errors import InvalidReference, UsageError
from fleet.models import RegistrySpec
from fleet.references import DOCKER_HUB, Reference
from fleet.suggest import did_you_mean

EMBEDDED = "embedded"

# A host name, an IPv4 address, or an alias of ssh_config. A leading hyphen would be an option
# of ssh; anything that a shell or a URL would take apart is no host's name.
_HOST = re.compile(r"[\w.][\w.+%-]*")
_USER = re.compile(r"[\w.][\w.$+@\\-]*")
_LOOPBACK = re.compile(r"(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where ssh finds a host; what is None is for ssh_config to say."""

    host: str
    user: str | None = None
    port: int | None = None


def parse_address(text: str) -> Address:
    """Read ``host``, ``user@host``, ``user@host:port``, ``[IPv6]:port`` or ``ssh://...``.

    The URL form is that of OpenSSH (``ssh://[user@]host[:port]``). Raises UsageError.
    """
    url, separator, rest = text.rpartition("://")
    user, at, where = rest.rpartition("@")
    if ":" in user:  # before any message that would show it
        raise UsageError(
            "an address holds no password",
            hint="use a key, an agent or ssh_config; take the password out of the file",
        )
    if separator and url != "ssh":
        raise _no_address(text, f"{url}:// is not a way to reach a host; ssh:// is")
    if at and not _USER.fullmatch(user):
        raise _no_address(text, f"{_shown(user)} is no user name")
    if url:
        where = where.removesuffix("/")
    host, port = _host_and_port(text, where)
    return Address(host=host, user=user or None, port=port)


def _host_and_port(text: str, where: str) -> tuple[str, int | None]:
    if where.startswith("["):
        host, bracket, tail = where[1:].partition("]")
        if not bracket or not _is_ipv6(host) or (tail and not tail.startswith(":")):
            raise _no_address(text, "brackets hold an IPv6 address, such as [2001:db8::1]:22")
        return host, parse_port(tail[1:]) if tail else None
    if _is_ipv6(where):
        return where, None
    host, colon, port = where.partition(":")
    if not _HOST.fullmatch(host):
        raise _no_address(text, "write it as host, user@host, user@host:port or [IPv6]:port")
    return host, parse_port(port) if colon else None


def parse_port(text: str) -> int:
    """A TCP port. Raises UsageError."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise UsageError(f"a port is a number from 1 to 65535, not {_shown(text)}")
    return int(text)


def parse_registry(text: str) -> RegistrySpec:
    """Read ``host[:port][/path]``, ``http://...``, ``https://...`` or ``embedded[/path]``.

    A registry on the loopback of the controller is out of the hosts' reach, so
    it is carried to them, as the embedded one is. Raises UsageError.
    """
    scheme, separator, rest = text.rpartition("://")
    if "@" in rest:  # before any message that would show them
        raise UsageError(
            "a registry's address holds no credentials",
            hint="`docker login` keeps them, or FLEET_REGISTRY_USERNAME and _PASSWORD",
        )
    if separator and scheme not in ("http", "https"):
        raise _no_registry(text, f"{scheme}:// is not a registry's protocol")
    address, _, prefix = rest.rstrip("/").partition("/")
    if address == EMBEDDED and not scheme:
        if prefix:
            _check(text, "localhost", prefix)
        return RegistrySpec(address=None, prefix=prefix, plain_http=True, tunnel=True)
    if not ("." in address or ":" in address or address == "localhost"):
        if near := did_you_mean(address, [EMBEDDED]):
            raise UsageError(f"{_shown(address)} is no registry{near}")
        raise _no_registry(text, f"it begins with a host, such as {DOCKER_HUB}/ACCOUNT")
    address = _check(text, address, prefix)
    if address == DOCKER_HUB and not prefix:
        raise _no_registry(text, f"Docker Hub needs an account: {DOCKER_HUB}/ACCOUNT")
    return RegistrySpec(
        address=address,
        prefix=prefix,
        plain_http=scheme == "http",
        tunnel=_LOOPBACK.fullmatch(address) is not None,
    )


def parse_registry_name(text: str) -> str:
    """The name of a registry alone, as references begin with it. Raises UsageError."""
    if not ("." in text or ":" in text or text == "localhost"):
        raise _no_registry(text, f"it is a name as images begin with, such as {DOCKER_HUB}")
    if "/" in text:
        raise _no_registry(text, f"a registry as a whole has a mirror: {text.partition('/')[0]}")
    return _check(text, text, "library").lower()


def parse_mirror(text: str) -> RegistrySpec:
    """Read ``host[:port][/path]``, ``http://...`` or ``https://...``. Raises UsageError."""
    spec = parse_registry(text)
    if spec.embedded:
        raise UsageError("fleet's own registry is no mirror: it holds only what fleet builds")
    return spec


def _check(text: str, address: str, prefix: str) -> str:
    """The registry's address as references spell it. Raises UsageError."""
    if ":" in prefix:
        raise _no_registry(text, "tags stand under `tags`, not here")
    try:
        registry = Reference.parse("/".join(filter(None, (address, prefix, "image")))).registry
    except InvalidReference as error:
        raise _no_registry(text, error.hint or error.message) from None
    port = re.search(r":(\d+)$", registry)
    if port:
        parse_port(port[1])
    return registry


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _no_address(text: str, why: str) -> UsageError:
    return UsageError(f"{_shown(text)} is no address of a host", hint=why)


def _no_registry(text: str, why: str) -> UsageError:
    return UsageError(f"{_shown(text)} is no registry", hint=why)
