"""Logging in: which keys there are, and offering them one after the other.

Nothing is ever asked: no password, no passphrase, no second factor. A key
with a passphrase counts if the agent holds it.

The order is that of ssh, but for one thing: a key that the inventory or
ssh_config names comes before the others of the agent, so that a full agent does
not use up the server's MaxAuthTries.
"""

from __future__ import annotations

import binascii
import socket
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import paramiko
from paramiko.agent import AgentSSH

from fleet.errors import AuthenticationFailed, FleetError
from fleet.hosts.config import Destination
from fleet.hosts.known import fingerprint
from fleet.hosts.transport import Transport

_DEFAULTS = ("id_ed25519", "id_ecdsa", "id_rsa")
_CERTIFICATE = "-cert.pub"


class _Agent(AgentSSH):
    """An SSH agent behind a socket. Raises OSError and SSHException."""

    def __init__(self, path: str) -> None:
        super().__init__()
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10.0)
        try:
            connection.connect(path)
            self._connect(connection)  # type: ignore[attr-defined]
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        self._close()  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class _Offer:
    key: paramiko.PKey
    said: str  # how a message names it


class _Ring:
    """The keys for one destination, and why others are of no use."""

    def __init__(self, where: Destination) -> None:
        self.unusable: list[str] = []
        self.encrypted: Path | None = None
        self._where = where
        self._agent: _Agent | None = None
        if where.agent is not None:
            try:
                self._agent = _Agent(where.agent)
            except (OSError, paramiko.SSHException) as error:
                self.unusable.append(f"the agent at {where.agent} does not answer ({error})")

    def offers(self) -> Iterator[_Offer]:
        """Every usable key once, in the order to offer it in."""
        held = {
            bytes(key.asbytes()): key for key in (self._agent.get_keys() if self._agent else ())
        }
        seen = set()
        named = self._where.identities or tuple(Path.home() / ".ssh" / n for n in _DEFAULTS)
        for path in named:
            offer = self._from_file(path, held, missing_matters=bool(self._where.identities))
            if offer is not None and (blob := bytes(offer.key.asbytes())) not in seen:
                seen.add(blob)
                yield offer
        if not self._where.only_identities:
            for blob, key in held.items():
                if blob not in seen:
                    yield _Offer(key=key, said=f"{fingerprint(blob)} of the agent")

    def _from_file(
        self, path: Path, held: dict[bytes, paramiko.AgentKey], *, missing_matters: bool
    ) -> _Offer | None:
        public = _public_part(path)
        if public in held and public is not None:
            return _Offer(key=held[public], said=f"{path} by the agent")
        try:
            return _Offer(key=_key(path), said=str(path))
        except FileNotFoundError:
            if missing_matters:
                self.unusable.append(f"{path} does not exist")
        except OSError as error:
            self.unusable.append(f"{path} cannot be read ({error.strerror})")
        except (TypeError, paramiko.PasswordRequiredException):
            self.encrypted = self.encrypted or path
            self.unusable.append(f"{path} has a passphrase and the agent does not hold it")
        except (ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
            self.unusable.append(f"{path} is no private key ({str(error).split('.')[0]})")
        return None

    def close(self) -> None:
        if self._agent is not None:
            self._agent.close()


def _key(path: Path) -> paramiko.PKey:
    """The key of a file. Raises what paramiko does."""
    private = path.with_name(path.name.removesuffix(_CERTIFICATE))  # either of the two may be named
    certificate = private.with_name(private.name + _CERTIFICATE)
    seen = [private.stat(), *([certificate.stat()] if certificate.exists() else ())]
    return _loaded(path, tuple((each.st_mtime_ns, each.st_size) for each in seen))


@lru_cache(maxsize=8)
def _loaded(path: Path, _changed: tuple[tuple[int, int], ...]) -> paramiko.PKey:
    """As the file is now, with its certificate: each host of a fleet asks for the same one."""
    return paramiko.PKey.from_path(path)


def _public_part(path: Path) -> bytes | None:
    """The public key beside a private one, or the file itself if it is public."""
    for file in (path, path.with_name(path.name + ".pub")):
        try:
            words = file.read_text(errors="replace").split(maxsplit=2)
            if len(words) >= 2 and words[0].startswith(("ssh-", "ecdsa-", "sk-")):
                return b64decode(words[1], validate=True)
        except (OSError, ValueError, binascii.Error):
            continue
    return None


def log_in(host: str, where: Destination, transport: Transport) -> None:
    """Log in to a server whose own key is already checked.

    Raises AuthenticationFailed, and SSHException where the connection breaks.
    """
    try:
        transport.auth_none(where.user)
        return  # a server that has settled by other means who we are
    except paramiko.BadAuthenticationType as refusal:
        methods = refusal.allowed_types
    if "publickey" not in methods:
        raise AuthenticationFailed(
            host,
            f"{where} takes no keys, only {', '.join(methods)}",
            hint="allow PubkeyAuthentication in its sshd_config: fleet asks for no passwords",
        )
    ring = _Ring(where)
    refused: list[str] = []
    try:
        for offer in ring.offers():
            try:
                more = transport.auth_publickey(where.user, offer.key)
            except paramiko.AuthenticationException:
                refused.append(offer.said)
                if not transport.is_active():
                    # sshd says so; a connection that breaks, or a server that stops, does not.
                    if "authentication failures" not in (transport.farewell or ""):
                        raise paramiko.SSHException(transport.farewell or "no word") from None
                    raise _failed(host, where, ring, refused, hung_up=True) from None
                continue
            except (paramiko.SSHException, OSError) as error:
                # A key that cannot sign (a hardware key that waits for a touch) is one of many.
                if not transport.is_active():
                    raise
                ring.unusable.append(f"{offer.said} cannot sign ({error})")
                continue
            if not more:
                return
            raise AuthenticationFailed(
                host,
                f"{where} takes {offer.said}, but wants more: {', '.join(more)}",
                hint="fleet asks no questions: let this user in by key alone",
            )
    finally:
        ring.close()
    raise _failed(host, where, ring, refused, hung_up=False)


def _failed(
    host: str, where: Destination, ring: _Ring, refused: list[str], *, hung_up: bool
) -> FleetError:
    tried = f"it refused {', '.join(refused)}" if refused else "there was no key to offer"
    if hung_up:
        tried += " and then hung up (MaxAuthTries)"
    said = "; ".join([tried, *ring.unusable])
    if hung_up:
        hint = "name the right key: identity_file in the inventory, or IdentitiesOnly in ssh_config"
    elif ring.encrypted is not None:
        hint = f"fleet asks for no passphrases: ssh-add {ring.encrypted}"
    else:
        hint = f"put your public key there: ssh-copy-id {_as_ssh(where)}"
    return AuthenticationFailed(host, f"{where} lets nobody in by these keys: {said}", hint=hint)


def _as_ssh(where: Destination) -> str:
    port = "" if where.port == 22 else f"-p {where.port} "
    return f"{port}{where.user}@{where.host}"
