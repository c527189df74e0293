"""QEMU's machine protocol: commands to a running emulator, over its unix socket."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from .errors import LabError


class Monitor:
    """One connection to an emulator, which takes one at a time. A context manager."""

    def __init__(self, path: Path, *, seconds: float = 10.0) -> None:
        """Connect; raises LabError if nobody answers within that many seconds."""
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        try:
            self._socket.connect(str(path))
            self._file = self._socket.makefile("rwb")
            self._read()
            self.execute("qmp_capabilities")
        except OSError as error:
            self._socket.close()
            raise LabError(f"the emulator at {path} does not answer: {error}") from error

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def execute(self, command: str, *, seconds: float = 10.0, **arguments: Any) -> Any:
        """Run a command and return its result. Raises LabError with QEMU's own words."""
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        self._socket.settimeout(seconds)
        try:
            self._file.write(json.dumps(request).encode() + b"\n")
            self._file.flush()
            while True:
                reply = self._read()
                if "return" in reply:
                    return reply["return"]
                if "error" in reply:
                    raise LabError(f"QEMU refused {command}: {reply['error']['desc']}")
        except OSError as error:
            raise LabError(f"QEMU at {self.path} did not answer {command}: {error}") from error

    def human(self, line: str, *, seconds: float = 120.0) -> str:
        """Run a line of the human monitor. Raises LabError if it prints an error."""
        command = "human-monitor-command"
        said: str = self.execute(command, seconds=seconds, **{"command-line": line})
        if "Error" in said or "error" in said:
            raise LabError(f"QEMU refused {line}: {said.strip()}")
        return said

    def _read(self) -> dict[str, Any]:
        line = self._file.readline()
        if not line:
            raise OSError("the connection was closed")
        reply: dict[str, Any] = json.loads(line)
        return reply
