"""The lab's keys: one client key and one key for each kind of host.

They are made once per cache and baked into the images of hosts, which listen on this computer's
loopback and private addresses only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import processes


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """A key on disk."""

    private: Path

    @property
    def public_text(self) -> str:
        """Type and key, without the comment."""
        words = self.private.with_name(self.private.name + ".pub").read_text().split()
        return " ".join(words[:2])


def key_pair(path: Path) -> KeyPair:
    """The key pair at that path, made if it is not there. The caller holds the cache's lock."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Made under another name, so that no half-made key is ever found.
        making = path.with_name(f".{path.name}.new")
        for leftover in (making, making.with_name(making.name + ".pub")):
            leftover.unlink(missing_ok=True)
        processes.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "fleet-lab", "-f", str(making)]
        )
        making.with_name(making.name + ".pub").rename(path.with_name(path.name + ".pub"))
        making.rename(path)
    return KeyPair(private=path)
