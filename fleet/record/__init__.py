"""Readers of the event stream: log files, JSON lines, the terminal."""

from fleet.record.folder import RunFolder, state_home
from fleet.record.jsonl import JsonLines
from fleet.record.live import LiveTerminal, can_draw, wants_colour
from fleet.record.logs import LogFiles
from fleet.record.tee import Tee
from fleet.record.terminal import FailureTerminal, PlainTerminal

__all__ = [
    "FailureTerminal",
    "JsonLines",
    "LiveTerminal",
    "LogFiles",
    "PlainTerminal",
    "RunFolder",
    "Tee",
    "can_draw",
    "state_home",
    "wants_colour",
]
