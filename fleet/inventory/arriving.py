"""What ``up`` prints, and the host that it means."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from pathlib import Path
from typing import Any

from fleet.errors import UsageError
from fleet.inventory.addresses import parse_address, parse_port
from fleet.models import HostSpec, printed_object

_FORM = '`up` prints JSON such as {"address": "user@host:port", "host_key": "ssh-ed25519 AAAA..."}'


def arrived(spec: HostSpec, told: str) -> HostSpec:
    """A rented host with the address that its ``up`` has printed.

    That is a JSON object, alone or in the last line: ``address`` as the inventory
    has it, ``user``, ``port`` and ``identity_file`` likewise, and ``host_key``, one or a
    list, as a ``.pub`` file has it. Whatever else is there is for ``down``. Raises
    UsageError.
    """
    found = _object(told)
    if not isinstance(found.get("address"), str):
        raise UsageError("what `up` printed has no address", hint=_FORM)
    address = parse_address(found["address"])
    port = found.get("port")
    identity = _text(found, "identity_file")
    folder = spec.provision.folder if spec.provision else Path()
    return replace(
        spec,
        address=address.host,
        user=address.user or _text(found, "user") or spec.user,
        port=address.port or (parse_port(str(port)) if port is not None else spec.port),
        identity_file=folder / Path(identity).expanduser() if identity else spec.identity_file,
        host_keys=_keys(found.get("host_key")),
    )


def _object(told: str) -> dict[str, Any]:
    if (found := printed_object(told)) is not None:
        return found
    shown = "nothing" if not told.strip() else "no JSON object"
    raise UsageError(f"`up` printed {shown}", hint=_FORM)


def _text(found: dict[str, Any], key: str) -> str | None:
    value = found.get(key)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{key} in what `up` printed is no text", hint=_FORM)
    return value or None


def _keys(value: object) -> tuple[str, ...]:
    """``TYPE BASE64`` of each key, without comments."""
    if value is None:
        return ()
    keys = []
    for text in value if isinstance(value, list) else [value]:
        words = text.split() if isinstance(text, str) else []
        try:
            base64.b64decode(words[1], validate=True)
        except (IndexError, ValueError, binascii.Error):
            raise UsageError(
                "host_key in what `up` printed is no public key",
                hint="write it as ssh_host_ed25519_key.pub has it: ssh-ed25519 AAAA...",
            ) from None
        keys.append(" ".join(words[:2]))
    return tuple(keys)
