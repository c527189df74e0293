"""Removing what builds have left on hosts, all of these at the same time."""

from __future__ import annotations

from collections.abc import Sequence

from fleet.errors import FleetError
from fleet.hosts.abreast import Abreast
from fleet.models import ErrorInfo, Keep, PruneReport
from fleet.run.cancel import Reopen


def prune_hosts(
    names: Sequence[str], *, reopen: Reopen, keep: Keep, dry_run: bool
) -> tuple[PruneReport, ...]:
    """A report of each host, in their order; that of one which does not answer has an error."""

    def on_host(name: str) -> PruneReport:
        try:
            with reopen(name) as engine:
                return engine.prune(keep, dry_run=dry_run)
        except FleetError as error:
            return PruneReport(host=name, error=ErrorInfo.of(error))

    with Abreast(len(names), "prune") as pool:
        return tuple(report.result() for report in pool.each(on_host, names))
