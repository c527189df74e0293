"""What ``fleet prune`` does."""

from __future__ import annotations

from collections.abc import Iterable

from fleet import inventory
from fleet.app.connecting import Reopened
from fleet.app.renting import is_up, leases_of
from fleet.app.request import Request, load
from fleet.durations import parse_duration
from fleet.errors import ExitCode, FleetError, UsageError
from fleet.inventory.sizes import parse_size
from fleet.models import Keep, PruneReport
from fleet.run.prune import prune_hosts


def prune(request: Request, *, keep: str, dry_run: bool = False) -> tuple[PruneReport, ...]:
    """Remove what builds have left on the hosts of an inventory and that is not to be kept.

    ``keep`` is ``7d``, ``10GB`` or ``3``: see ``parse_keep``. Raises UsageError.
    """
    wanted = parse_keep(keep)
    fleet = load(request)
    specs = inventory.select_hosts(fleet, request.selection.limit)
    leased = {lease.host for lease in leases_of(fleet.path).all()}
    names = [spec.name for spec in specs if is_up(spec) or spec.name in leased]
    reports = prune_hosts(names, reopen=Reopened(fleet), keep=wanted, dry_run=dry_run)
    seen = {report.host: report for report in reports}
    # On a rented host that is not up there is nothing.
    return tuple(seen.get(spec.name) or PruneReport(host=spec.name) for spec in specs)


def pruned(reports: Iterable[PruneReport]) -> ExitCode:
    """3 where a host could not be reached, or stopped answering."""
    return ExitCode.UNREACHABLE if any(report.error for report in reports) else ExitCode.OK


def parse_keep(text: str) -> Keep:
    """``7d`` is an age, ``10GB`` a size, and a number alone a number of images.

    Raises UsageError.
    """
    text = text.strip()
    try:
        if text.isascii() and text.isdigit() and len(text) < 10:
            return Keep(count=int(text))
        if text[-1:] in ("b", "B"):
            return Keep(size=parse_size(text))
        return Keep(age=parse_duration(text))
    except FleetError:
        raise UsageError(
            f"--keep {text[:80]!r} says neither for how long, nor how much, nor how many",
            hint="write 7d for what was used within a week, 10GB for what was used last and takes"
            " no more, or 3 for the last three images of each name and platform",
        ) from None
