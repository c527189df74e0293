"""Ending builds on their hosts, whoever has started them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

from fleet.engine import Engine
from fleet.errors import FleetError
from fleet.events import Emit, Notice
from fleet.models import Begun

Reopen = Callable[[str], AbstractContextManager[Engine]]
"""Opens a new connection to a host by name, for one use. Raises FleetError."""


def cancel_builds(builds: Iterable[Begun], *, reopen: Reopen, emit: Emit) -> tuple[Begun, ...]:
    """End builds with every process of them; those that could not be ended.

    One that has ended already stays as it is. A host that does not answer is
    told of in a notice, and keeps its builds.
    """
    by_host: defaultdict[str, list[Begun]] = defaultdict(list)
    for build in builds:
        by_host[build.host].append(build)

    def on_host(host: str) -> list[Begun]:
        left = list(by_host[host])
        try:
            with reopen(host) as engine:
                while left:
                    engine.cancel(left[0].key)
                    emit(Notice(host=host, message=f"{left.pop(0)} is cancelled"))
        except FleetError as error:
            names = ", ".join(map(str, left))
            emit(Notice(host=host, message=f"{names} could not be cancelled: {error.message}"))
        return left

    with ThreadPoolExecutor(max_workers=len(by_host) or 1, thread_name_prefix="cancel") as pool:
        return tuple(build for left in pool.map(on_host, by_host) for build in left)
