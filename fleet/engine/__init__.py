"""Docker on a host: detached build, reattach, smoke, push. The only user of the Docker SDK."""

from fleet.engine.detached import State
from fleet.engine.engine import Engine
from fleet.engine.logs import LogCursor
from fleet.engine.orders import BuildOrder, BuiltImage, RemoteBuild

__all__ = ["BuildOrder", "BuiltImage", "Engine", "LogCursor", "RemoteBuild", "State"]
