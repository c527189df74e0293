"""The events as JSON lines."""

from __future__ import annotations

import json
from typing import TextIO

from fleet.events import Event, LogLines, PrepareLine, ProvisionLine, to_json


class JsonLines:
    """Writes a JSON object a line, each flushed, so that a killed run leaves whole lines.

    The lines of commands are left to ``LogFiles`` unless ``logs`` is set: they
    would make the record as large as everything that was ever printed.
    """

    def __init__(self, out: TextIO, *, logs: bool = False) -> None:
        self._out = out
        self._logs = logs

    def read(self, event: Event, /) -> None:
        """Write one event."""
        if isinstance(event, LogLines | PrepareLine | ProvisionLine) and not self._logs:
            return
        self._out.write(json.dumps(to_json(event), separators=(",", ":")) + "\n")
        self._out.flush()

    def close(self) -> None:
        """Flush; the file belongs to whoever opened it."""
        self._out.flush()
