"""Readers of the event stream: log files, JSON lines, the terminal.

A name of this package brings its module with it when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet.byneed import by_need

if TYPE_CHECKING:
    from fleet.record.folder import RunFolder as RunFolder
    from fleet.record.folder import state_home as state_home
    from fleet.record.jsonl import JsonLines as JsonLines
    from fleet.record.logs import LogFiles as LogFiles
    from fleet.record.tee import Tee as Tee
    from fleet.record.terminal import FailureTerminal as FailureTerminal
    from fleet.record.terminal import PlainTerminal as PlainTerminal
    from fleet.record.terminal import can_draw as can_draw
    from fleet.record.terminal import wants_colour as wants_colour

_NAMES = {
    "fleet.record.folder": "RunFolder state_home",
    "fleet.record.jsonl": "JsonLines",
    "fleet.record.logs": "LogFiles",
    "fleet.record.tee": "Tee",
    "fleet.record.terminal": "FailureTerminal PlainTerminal can_draw wants_colour",
}

__getattr__ = by_need(__name__, _NAMES)
