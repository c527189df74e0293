"""Removing what builds have left on hosts, all of these at the same time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from fleet.errors import FleetError
from fleet.models import ErrorInfo, Keep, PruneReport
from fleet.run.cancel import Reopen

_MOST_AT_ONCE = 64
_STAGGER = 0.02  # seconds between two hosts: sshd drops log-ins that come all at once


def prune_hosts(
    names: Sequence[str], *, reopen: Reopen, keep: Keep, dry_run: bool
) -> tuple[PruneReport, ...]:
    """A report of each host, in their order; that of one which does not answer has an error."""

    def on_host(numbered: tuple[int, str]) -> PruneReport:
        number, name = numbered
        time.sleep(number * _STAGGER)
        try:
            with reopen(name) as engine:
                return engine.prune(keep, dry_run=dry_run)
        except FleetError as error:
            return PruneReport(host=name, error=ErrorInfo.of(error))

    size = min(len(names), _MOST_AT_ONCE) or 1
    with ThreadPoolExecutor(size, thread_name_prefix="prune") as pool:
        return tuple(pool.map(on_host, enumerate(names)))
