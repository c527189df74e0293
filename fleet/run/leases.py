"""What is rented, as the controller remembers it: a file a host, before anything is rented.

A controller may be killed at any moment, and a machine that nobody remembers costs
money for ever. So the file is there before ``up`` is run, ``up`` prints into another
file beside it and not into a pipe of fleet's, and both go when ``down`` has succeeded.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from fleet.models import HostSpec, Lease, Provision

_PRIVATE = 0o600  # what `up` prints is the provider's, and may hold secrets


class Leases:
    """The rented hosts of one inventory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> tuple[Lease, ...]:
        """Every host that is up, or may be, by name."""
        names = sorted(path.name.removesuffix(".json") for path in self._folder.glob("*.json"))
        return tuple(filter(None, map(self.find, names)))

    def find(self, host: str) -> Lease | None:
        """One of them; None where it is not up."""
        try:
            told = json.loads(self._file(host).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError):
            told = {}
        return _lease(host, told if isinstance(told, dict) else {}, self._told(host))

    def begin(self, spec: HostSpec, run: str) -> IO[bytes]:
        """Remember that a host is about to be rented; the file that its ``up`` prints into.

        Raises OSError: what cannot be remembered is not to be rented.
        """
        assert spec.provision is not None, "whoever asks has looked"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps(
            {
                "run": run,
                "since": time.time(),
                "up": spec.provision.up,
                "down": spec.provision.down,
                "folder": str(spec.provision.folder),
                "timeout": spec.provision.timeout,
            }
        )
        output = os.fdopen(_opened(self._output(spec.name)), "wb")
        try:
            draft = self._folder / f".{spec.name}.draft"
            with os.fdopen(_opened(draft), "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._file(spec.name))
        except BaseException:
            output.close()
            raise
        return output

    def end(self, host: str) -> None:
        """Forget a host that was given back. Raises OSError."""
        self._file(host).unlink(missing_ok=True)
        self._output(host).unlink(missing_ok=True)

    def _file(self, host: str) -> Path:
        return self._folder / f"{host}.json"

    def _output(self, host: str) -> Path:
        return self._folder / f"{host}.told"

    def _told(self, host: str) -> str:
        with suppress(OSError):
            return self._output(host).read_text(encoding="utf-8", errors="replace")
        return ""


def every_lease(folder: Path) -> tuple[Lease, ...]:
    """Those of every inventory; ``folder`` holds a folder for each."""
    with suppress(OSError):
        return tuple(lease for path in sorted(folder.iterdir()) for lease in Leases(path).all())
    return ()


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)


def _lease(host: str, told: dict[str, object], printed: str) -> Lease:
    """A lease as its file tells it: one that is damaged means a host that is up all the same."""

    def words(key: str) -> tuple[str, ...]:
        value = told.get(key)
        return tuple(map(str, value)) if isinstance(value, list) else ()

    def number(key: str, otherwise: float) -> float:
        value = told.get(key)
        return float(value) if isinstance(value, int | float) else otherwise

    return Lease(
        host=host,
        run=str(told.get("run", "")),
        since=number("since", 0.0),
        provision=Provision(
            up=words("up"),
            down=words("down"),
            folder=Path(str(told.get("folder", "/"))),
            timeout=number("timeout", 600.0),
        ),
        told=printed,
    )
