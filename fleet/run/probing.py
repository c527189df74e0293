"""Probing with patience: a host that does not answer now may do so in a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from fleet.errors import EngineDown, FleetError, HostUnreachable
from fleet.hosts import probe_all
from fleet.hosts.protocol import Host
from fleet.models import ErrorInfo, HostReport
from fleet.platforms import Platform
from fleet.run.retry import Policy, retry


def probe_patiently(
    hosts: Sequence[Host],
    *,
    platforms: Sequence[Platform],
    needed: Collection[Platform] = (),
    policy: Policy,
    stop: threading.Event,
    on_report: Callable[[HostReport], None],
    before_wait: Callable[[FleetError, float], None],
) -> tuple[HostReport, ...]:
    """A report of each host, in their order; those whose trouble may pass are asked again.

    ``needed`` are platforms without which the run has failed: as long as no host that
    answers builds one of them, the others are asked as often as anything else would be
    whose trouble may pass, and not only as often as a host. ``on_report`` is told of
    each host once, with what it came to; ``before_wait`` of those that are asked again.
    """
    reports: dict[str, HostReport] = {}

    def heard(report: HostReport) -> None:
        reports[report.spec.name] = report
        if report.error is None or not _may_pass(report.error):
            on_report(report)

    def attempt() -> None:
        left = [host for host in hosts if _unsettled(reports.get(host.name))]
        probe_all([(host.spec, host) for host in left], platforms, on_report=heard)
        again = [reports[host.name].error for host in left if _unsettled(reports[host.name])]
        if again:
            said = "; ".join(error.message for error in again if error is not None)
            raise HostUnreachable("not every host answers", said)

    longer = replace(policy, host_attempts=policy.attempts)
    for patience in (policy, longer) if policy.attempts > policy.host_attempts else (policy,):
        try:
            retry(attempt, policy=patience, stop=stop, before_wait=before_wait)
            break
        except HostUnreachable:
            if stop.is_set() or not _lacking(needed, reports.values()):
                break
    for report in reports.values():
        if _unsettled(report):
            on_report(report)
    return tuple(reports[host.name] for host in hosts)


def _lacking(needed: Collection[Platform], reports: Collection[HostReport]) -> bool:
    """Whether a platform is built by none of the hosts so far, and may be by one that is silent."""

    def may(report: HostReport, platform: Platform) -> bool:
        limit = report.spec.platforms
        return _unsettled(report) and (limit is None or platform in limit)

    return any(
        not any(report.may_build(platform) for report in reports)
        and any(may(report, platform) for report in reports)
        for platform in needed
    )


def _may_pass(error: ErrorInfo) -> bool:
    return error.transient or error.kind == EngineDown.__name__


def _unsettled(report: HostReport | None) -> bool:
    return report is None or (report.error is not None and _may_pass(report.error))
