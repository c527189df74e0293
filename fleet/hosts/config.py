"""Where a host is and how to get there, as ``ssh`` itself would say (ssh_config(5)).

paramiko reads Host and Match blocks and most tokens. Added here: Include, the
lists in UserKnownHostsFile, ProxyJump over several hops, and the inventory's
words, which come first as options of the command line do.

Honoured: Host, Match, Include, HostName, Port, User, IdentityFile,
IdentitiesOnly, IdentityAgent, HostKeyAlias, UserKnownHostsFile,
GlobalKnownHostsFile, ConnectTimeout, ProxyJump, ProxyCommand. **Not** honoured,
on purpose: StrictHostKeyChecking (keys are always checked, and none is ever
accepted by itself) and everything that would ask a question.
"""

from __future__ import annotations

import getpass
import glob
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fleet.errors import UsageError
from fleet.models import HostSpec

if TYPE_CHECKING:
    import paramiko

_SYSTEM = Path("/etc/ssh/ssh_config")
_DEEPEST = 16  # levels of Include, as in OpenSSH; and hops of ProxyJump
_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
_LISTS = ("userknownhostsfile", "globalknownhostsfile")


@dataclass(frozen=True, kw_only=True)
class Destination:
    """One SSH server, and everything that is needed to log in to it. Times in seconds."""

    alias: str  # as it was asked for
    host: str
    port: int
    user: str
    identities: tuple[Path, ...]  # empty: the default ones
    only_identities: bool
    agent: str | None  # the agent's socket
    known_hosts: tuple[Path, ...]
    key_alias: str | None  # under which name known_hosts has it
    connect_timeout: float
    host_keys: tuple[str, ...] = ()  # that it may show, whatever known_hosts has
    proxy_command: str | None = None
    jumps: tuple[Destination, ...] = ()  # in the order in which they are passed

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" + (f":{self.port}" if self.port != 22 else "")


def destination(
    spec: HostSpec,
    *,
    ssh_config: Path | None = None,
    known_hosts: Sequence[Path] | None = None,
    connect_timeout: float = 10.0,
) -> Destination:
    """Where a host of the inventory is.

    ``ssh_config`` stands instead of the user's and the system's configuration,
    as with ``ssh -F``; ``known_hosts`` instead of the files it names. Raises
    UsageError for a configuration that cannot be read.
    """
    reader = _Reader(ssh_config, known_hosts, connect_timeout)
    where = reader.destination(
        spec.address or spec.name, spec.user, spec.port, identity=spec.identity_file
    )
    return replace(where, host_keys=spec.host_keys)


class _Reader:
    """ssh_config, read once for a destination and its jumps."""

    def __init__(
        self, file: Path | None, known_hosts: Sequence[Path] | None, connect_timeout: float
    ) -> None:
        self._known_hosts = known_hosts
        self._connect_timeout = connect_timeout
        if file is None:
            own = Path.home() / ".ssh"
            files = [(own / "config", own), (_SYSTEM, _SYSTEM.parent)]
        elif file.is_file():
            files = [(file, Path.home() / ".ssh")]
        else:
            raise UsageError(
                f"{file}: there is no such ssh_config",
                hint="correct ssh_config in the inventory, or leave it out",
            )
        self._lines = [line for path, base in files for line in flatten(path, base)]
        self._names = ", ".join(str(path) for path, _ in files)

    def destination(
        self,
        alias: str,
        user: str | None,
        port: int | None,
        *,
        identity: Path | None = None,
        jumps: Sequence[Destination] | None = None,
        depth: int = 0,
    ) -> Destination:
        """Resolve one name; ``jumps`` stands instead of the ProxyJump of the configuration."""
        if depth > _DEEPEST:
            raise UsageError(
                f"{alias}: ProxyJump goes round in circles",
                hint=f"look at the ProxyJump lines of {self._names}",
            )
        options = self._lookup(alias, user, port)
        host = options["hostname"]
        try:
            number = int(options.get("port", "22"))
            timeout = float(options.get("connecttimeout", self._connect_timeout))
        except ValueError as error:
            raise UsageError(f"{self._names}: {alias}: {error}") from None
        login = options.get("user") or getpass.getuser()
        tokens = {
            "%": "%",
            "d": str(Path.home()),
            "h": host,
            "i": str(os.getuid()),
            "k": options.get("hostkeyalias", host),
            "n": alias,
            "p": str(number),
            "r": login,
            "u": getpass.getuser(),
        }
        own = () if identity is None else (identity.expanduser(),)
        files = options.get("identityfile", ())
        named = (Path(expand(file, tokens)) for file in files if file.lower() != "none")
        # The first of the two that the configuration names counts, as with ssh.
        proxy = next((key for key in options if key in ("proxycommand", "proxyjump")), None)
        if jumps is None:
            value = options["proxyjump"] if proxy == "proxyjump" else "none"
            jumps = self._jumps(value, alias, host, depth) if value.lower() != "none" else ()
            command = options["proxycommand"] if proxy == "proxycommand" else None
        else:
            command = None
        return Destination(
            alias=alias,
            host=host,
            port=number,
            user=login,
            identities=tuple(dict.fromkeys((*own, *named))),
            only_identities=options.get("identitiesonly", "no").lower() == "yes",
            agent=_agent(options.get("identityagent"), tokens),
            known_hosts=self._files(options, tokens),
            key_alias=options.get("hostkeyalias"),
            connect_timeout=timeout,
            proxy_command=command,
            jumps=tuple(jumps),
        )

    def _lookup(self, alias: str, user: str | None, port: int | None) -> dict[str, Any]:
        import paramiko

        # In ssh_config the first value counts, so the inventory's words come first.
        first = [f"User {user}"] * (user is not None) + [f"Port {port}"] * (port is not None)
        try:
            return dict(_parsed("\n".join([*first, *self._lines])).lookup(alias))
        # `Match exec` needs a package of its own, `CanonicalizeHostname` a resolver.
        except (paramiko.SSHException, ImportError, KeyError, ValueError) as error:
            raise UsageError(
                f"{self._names}: cannot be understood: {error}",
                hint=f"`ssh -G {alias}` says what OpenSSH makes of it",
            ) from None

    def _jumps(self, value: str, alias: str, host: str, depth: int) -> tuple[Destination, ...]:
        route: tuple[Destination, ...] = ()
        for hop in value.split(","):
            url = urlsplit(hop.strip() if "://" in hop else f"ssh://{hop.strip()}")
            try:
                name, user, port = url.hostname, url.username, url.port
            except ValueError:
                name = user = port = None
            if not name:
                raise UsageError(
                    f"{self._names}: {alias}: {hop!r} is no host to jump through",
                    hint="write ProxyJump as user@host:port, several with commas between",
                )
            # With `Host *` a bastion is told to jump through itself; ssh goes there directly.
            if name in (alias, host):
                continue
            # Only the way to the first hop is its own; the others are reached from the one before.
            step = self.destination(name, user, port, jumps=route or None, depth=depth + 1)
            route = (*step.jumps, replace(step, jumps=()))
        return route

    def _files(self, options: dict[str, Any], tokens: dict[str, str]) -> tuple[Path, ...]:
        if self._known_hosts is not None:
            return tuple(self._known_hosts)
        try:
            names = [
                *shlex.split(options.get("userknownhostsfile", _KNOWN_HOSTS)),
                *shlex.split(options.get("globalknownhostsfile", _SYSTEM_KNOWN_HOSTS)),
            ]
        except ValueError as error:
            raise UsageError(f"{self._names}: {tokens['n']}: KnownHostsFile: {error}") from None
        return tuple(Path(expand(name, tokens)) for name in names if name not in ("", "none"))


@lru_cache(maxsize=8)
def _parsed(text: str) -> paramiko.SSHConfig:
    """A configuration taken apart: each host of a fleet asks for the same one."""
    import paramiko

    return paramiko.SSHConfig.from_text(text)


def _agent(value: str | None, tokens: dict[str, str]) -> str | None:
    if value is None or value == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK") or None
    if value.lower() == "none":
        return None
    if value.startswith("$"):
        return os.environ.get(value.strip("${}")) or None
    return expand(value, tokens)


def expand(text: str, tokens: dict[str, str]) -> str:
    """Replace ``%x`` tokens, ``${NAME}`` and a leading ``~``; unknown ones stay as they are."""
    text = re.sub(r"%(.)", lambda found: tokens.get(found[1], found[0]), text)
    text = re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], found[0]), text)
    return os.path.expanduser(text)


def aliases(path: Path) -> tuple[str, ...]:
    """The hosts that a configuration names, without patterns and log-ins as ``git``.

    What is only in Match blocks is left out. Raises UsageError.
    """
    found: dict[str, str] = {}  # with the user of each
    block: list[str] = []
    for line in flatten(path, path.parent):
        key, value = _split(line)
        if key == "host":
            words = shlex.split(value)
            block = [word for word in words if not set("*?!") & set(word)]
            found.update((word, found.get(word, "")) for word in block)
        elif key == "match":
            block = []
        elif key == "user":
            found.update((word, found[word] or value) for word in block)
    return tuple(name for name, user in found.items() if user != "git")


def flatten(path: Path, base: Path, outer: tuple[str, ...] = (), depth: int = 0) -> Iterator[str]:
    """The lines of a configuration with every Include in its place.

    A Host line in a file that is included within a block holds only where the
    outer block holds too: it becomes a Match line with both conditions. Where
    the file ends, the block around it goes on. Raises UsageError.
    """
    if depth > _DEEPEST:
        raise UsageError(f"{path}: Include goes deeper than {_DEEPEST} levels")
    try:
        text = path.read_text(errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    head, block = _head(outer), outer
    yield head
    for number, line in enumerate(text.splitlines(), start=1):
        key, value = _split(line)
        try:
            if key == "host":
                block = (*outer, f"originalhost {shlex.quote(','.join(shlex.split(value)))}")
            elif key == "match":
                block = (*outer, value)
            if key in ("host", "match"):
                head = _head(block) if outer else line
                yield head
            elif key == "include":
                for pattern in shlex.split(value):
                    for file in sorted(glob.glob(str(base / os.path.expanduser(pattern)))):
                        yield from flatten(Path(file), base, block, depth + 1)
                yield head
            elif key in _LISTS:
                # paramiko takes the quotes off the ends, which tears a list of quoted names.
                yield f"{key} '' {value}"
            else:
                yield line
        except ValueError as error:
            raise UsageError(f"{path}:{number}: {error}") from None


def _head(conditions: tuple[str, ...]) -> str:
    if not conditions:
        return "Host *"
    # `all` says nothing beside another condition, and paramiko refuses it there.
    real = [part for part in conditions if part.strip().lower() != "all"]
    return "Match " + (" ".join(real) or "all")


def _split(line: str) -> tuple[str, str]:
    found = re.match(r"\s*(\w+)(?:\s*=\s*|\s+)(.*?)\s*$", line)
    return (found[1].lower(), found[2]) if found else ("", "")
