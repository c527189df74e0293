"""Readers of the event stream: log files, JSON lines, the terminal."""

from fleet.record.folder import RunFolder, state_home
from fleet.record.jsonl import JsonLines
from fleet.record.logs import LogFiles
from fleet.record.tee import Tee
from fleet.record.terminal import FailureTerminal, PlainTerminal, can_draw, wants_colour

__all__ = [
    "FailureTerminal",
    "JsonLines",
    "LogFiles",
    "PlainTerminal",
    "RunFolder",
    "Tee",
    "can_draw",
    "state_home",
    "wants_colour",
]
