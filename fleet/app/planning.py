"""What a run would do, and why, without doing it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fleet.app.office import Office
from fleet.app.request import Request, load
from fleet.errors import ExitCode, RegistryError
from fleet.events import Emit
from fleet.models import ErrorInfo, Held, HostReport, Plan


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What ``fleet plan`` tells: the plan, and what could not be asked."""

    plan: Plan
    reports: tuple[HostReport, ...]
    registry_error: ErrorInfo | None

    @property
    def exit_code(self) -> ExitCode:
        """3 where the registry, or every host that something must be built on, is silent."""
        reached = any(report.facts or report.to_come for report in self.reports)
        needed = any(job.kept is None for job in self.plan.jobs)
        if self.registry_error is not None or (needed and not reached):
            return ExitCode.UNREACHABLE
        return ExitCode.OK


def explain(request: Request, emit: Emit) -> Explanation:
    """Plan as ``build`` would, and build nothing; what does not answer is part of the answer.

    `prepare` commands are run: what they leave is part of the contexts, and a plan
    without it would be about other contexts than the build's. Somebody waits for the
    answer, so that nobody is asked more than twice.
    """
    request = replace(request, retries=min(request.retries, 1))
    with Office.opened(load(request), request, emit) as office:
        office.prepare()
        read = office.read()
        error = None
        try:
            reports, held = office.look(read)
        except RegistryError as raised:
            reports, held = office.probe(), Held()
            error = ErrorInfo.of(raised)
        plan_ = office.plan(read, reports, held)
        return Explanation(plan=plan_, reports=reports, registry_error=error)
