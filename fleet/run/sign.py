"""Signing what was published: a command of the operator's, such as cosign, with the digest."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import SignFailed
from fleet.references import Reference
from fleet.run.environment import without_secrets

_SECONDS = 300.0
_TAIL = 20  # lines of what the command printed


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Runs a command once for each index.

    In its words ``{reference}`` stands for the index by digest, ``{digest}`` for
    the digest alone, ``{tag}`` for the first tag. ``memory`` is a folder in which
    this controller keeps what it has signed: an index that stood already is signed
    where that failed before, or was not asked for then.
    """

    command: Sequence[str]
    memory: Path

    def sign(self, reference: Reference, digest: str) -> bool:
        """Sign an index; whether it had to be. Raises SignFailed."""
        name = reference.pinned(digest)
        argv = [_filled(word, reference, digest) for word in self.command]
        mark = (
            self.memory / hashlib.sha256("\0".join([str(name), *self.command]).encode()).hexdigest()
        )
        if mark.exists():
            return False
        _run(argv, name)
        with suppress(OSError):  # then it is signed once more the next time
            self.memory.mkdir(parents=True, exist_ok=True)
            mark.write_text(f"{name}\n")
        return True


def _filled(word: str, reference: Reference, digest: str) -> str:
    for key, value in (
        ("{reference}", str(reference.pinned(digest))),
        ("{digest}", digest),
        ("{tag}", reference.tag or ""),
    ):
        word = word.replace(key, value)
    return word


def _run(argv: Sequence[str], name: Reference) -> None:
    """Run the command, in fleet's environment without the registry's credentials."""
    try:
        done = subprocess.run(
            argv,
            env=without_secrets(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace").splitlines()[-_TAIL:]
        raise SignFailed(
            f"{argv[0]} did not end within {_SECONDS:.0f} s", tail=tuple(said)
        ) from None
    except OSError as error:
        raise SignFailed(
            f"{argv[0]} cannot be run to sign {name}: {error.strerror}",
            hint="it is the first word of `sign:` in the inventory: is it installed, and in PATH?",
        ) from None
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace").splitlines()[-_TAIL:]
        raise SignFailed(
            f"signing {name} failed: {argv[0]} ended with status {done.returncode}",
            tail=tuple(said),
        )
