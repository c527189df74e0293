"""The executor of a plan: jobs over hosts and slots, indexes as their members come in.

One thread a running job; everything that decides lives in the thread that
calls ``execute`` and in ``Schedule``. A job's failure is an outcome and never
stops its siblings.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.errors import (
    BuildLost,
    ChannelRefused,
    CommandTimedOut,
    ExitCode,
    FleetError,
    HostError,
    Interrupted,
)
from fleet.events import HostLost, IndexFinished, JobFinished, JobStarted
from fleet.models import (
    Action,
    ErrorInfo,
    IndexOutcome,
    IndexPlan,
    JobId,
    LeftImage,
    Outcome,
    Plan,
    PublishedImage,
    Status,
)
from fleet.plan import remaining
from fleet.run.defects import defect
from fleet.run.interrupts import Interrupt, interrupts_to
from fleet.run.job import Shop, Task
from fleet.run.machine import Machine
from fleet.run.publish import put_index
from fleet.run.schedule import Assignment, Schedule

LogPath = Callable[[JobId, int], Path]


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """A job has ended on a host. Times are seconds since the epoch."""

    assignment: Assignment
    began: float
    ended: float
    result: PublishedImage | LeftImage | Exception


_Message = _Ended | IndexOutcome | Interrupt


def execute(
    plan: Plan,
    *,
    shop: Shop,
    machines: Mapping[str, Machine],
    log_path: LogPath,
    durations: Mapping[JobId, float] | None = None,
) -> tuple[tuple[Outcome, ...], tuple[IndexOutcome, ...]]:
    """Run a plan to its end: every job and every index has an outcome, in plan order.

    ``durations`` in seconds, from history, order the queue. SIGINT and SIGTERM
    stop following: builds on the hosts go on, what has not started is
    cancelled, and the outcomes so far are returned.
    """
    return _Execution(plan, shop, machines, log_path, durations or {}).run()


def speaks_against_host(error: Exception) -> bool:
    """Whether an error says that a host cannot be used, whatever the job: then the job moves on."""
    return isinstance(error, HostError) and (
        error.exit_code is ExitCode.UNREACHABLE
        or isinstance(error, ChannelRefused | CommandTimedOut | BuildLost)
    )


class _Execution:
    def __init__(
        self,
        plan: Plan,
        shop: Shop,
        machines: Mapping[str, Machine],
        log_path: LogPath,
        durations: Mapping[JobId, float],
    ) -> None:
        self._plan = plan
        self._shop = shop
        self._machines = machines
        self._log_path = log_path
        self._slots = {name: machine.report.spec.slots for name, machine in machines.items()}
        self._schedule = Schedule(
            plan,
            slots=self._slots,
            weights=remaining(plan, durations),
            emulated={
                (name, job.id.platform)
                for job in plan.to_build
                for name in job.hosts
                if name in machines and machines[name].report.emulates(job.id.platform)
            },
        )
        self._messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._outcomes: dict[JobId, Outcome] = {}
        self._unput = list(plan.indexes)
        self._putting = 0
        self._indexes: dict[str, IndexOutcome] = {}

    def run(self) -> tuple[tuple[Outcome, ...], tuple[IndexOutcome, ...]]:
        # Putting an index takes a thread, too, and must not wait for a build's slot.
        workers = sum(self._slots.values()) + 2
        with (
            interrupts_to(self._messages.put),
            ThreadPoolExecutor(max_workers=workers, thread_name_prefix="job") as pool,
        ):
            self._settle_planned()
            self._advance(pool)
            while self._schedule.running or self._putting:
                self._receive(self._messages.get())
                self._advance(pool)
        return (
            tuple(self._outcomes[job.id] for job in self._plan.jobs),
            tuple(self._indexes[i.image] for i in self._plan.indexes if i.image in self._indexes),
        )

    def _settle_planned(self) -> None:
        """What the plan has already decided."""
        for job in self._plan.jobs:
            if job.action is Action.KEEP:
                kept = Outcome(id=job.id, status=Status.KEPT, reason=job.reason, image=job.kept)
                self._finish(kept)
            elif job.action is Action.BLOCKED:
                self._finish(Outcome(id=job.id, status=Status.BLOCKED, reason=job.reason))

    def _advance(self, pool: ThreadPoolExecutor) -> None:
        """Start what can start now, and tell what never will."""
        for assignment in self._schedule.take():
            pool.submit(self._work, assignment, self._parents(assignment))
        for refusal in self._schedule.refused():
            self._finish(Outcome(id=refusal.id, status=refusal.status, reason=refusal.reason))
        for index in tuple(self._unput):
            if all(id in self._outcomes for id in index.members):
                self._unput.remove(index)
                self._putting += 1
                pool.submit(self._put, index, [self._outcomes[id] for id in index.members])

    def _parents(self, assignment: Assignment) -> dict[JobId, PublishedImage | LeftImage]:
        outcomes = {id: self._outcomes[id] for id in assignment.job.parents}
        images = {id: outcome.image or outcome.left for id, outcome in outcomes.items()}
        return {id: image for id, image in images.items() if image is not None}

    # --- in a worker's thread -------------------------------------------------------------

    def _work(
        self, assignment: Assignment, parents: Mapping[JobId, PublishedImage | LeftImage]
    ) -> None:
        """One job on one host; its end becomes a message."""
        job, began = assignment.job, time.time()
        self._shop.emit(JobStarted(job=job.id, host=assignment.host, attempt=assignment.attempt))
        result: PublishedImage | LeftImage | Exception
        try:
            result = Task(
                shop=self._shop,
                job=job,
                machine=self._machines[assignment.host],
                attempt=assignment.attempt,
                parents=parents,
            ).run()
        except Exception as error:  # noqa: BLE001 - judged where everything is decided
            result = error
        self._messages.put(
            _Ended(assignment=assignment, began=began, ended=time.time(), result=result)
        )

    def _put(self, index: IndexPlan, outcomes: list[Outcome]) -> None:
        """Put an index, or say why not."""
        self._messages.put(put_index(index, outcomes, shop=self._shop))

    # --- what came of it ------------------------------------------------------------------

    def _receive(self, message: _Message) -> None:
        match message:
            case _Ended():
                self._ended(message)
            case IndexOutcome():
                self._putting -= 1
                self._indexes[message.plan.image] = message
                self._shop.emit(IndexFinished(outcome=message))
            case Interrupt():
                self._interrupt()

    def _ended(self, end: _Ended) -> None:
        job, host, result = end.assignment.job, end.assignment.host, end.result
        failed = Outcome(
            id=job.id,
            status=Status.FAILED,
            reason="",
            host=host,
            attempts=end.assignment.attempt,
            started=end.began,
            ended=end.ended,
            log=self._log_path(job.id, end.assignment.attempt),
        )
        if not isinstance(result, Exception):
            emulated = self._machines[host].report.emulates(job.id.platform)
            built = replace(failed, status=Status.BUILT, reason=job.reason, emulated=emulated)
            if isinstance(result, LeftImage):
                self._end(replace(built, left=result))
            else:
                self._end(replace(built, image=result))
            return
        error = ErrorInfo.of(result) if isinstance(result, FleetError) else defect(result)
        failed = replace(failed, reason=error.message, error=error)
        if self._shop.stop.is_set() and _only_interrupted(result):
            reason = f"interrupted; what it began on {host} goes on there"
            self._end(replace(failed, status=Status.CANCELLED, reason=reason, error=None))
        elif speaks_against_host(result):
            self._move(failed, host, error)
        else:
            self._end(failed)

    def _move(self, failed: Outcome, host: str, error: ErrorInfo) -> None:
        """A host failed under a job: it is taken out, and the job moves on if it can."""
        if self._schedule.has(host):
            self._shop.emit(HostLost(host=host, error=error))
        if not self._schedule.lost(failed.id, error.message):
            self._finish(failed)

    def _end(self, outcome: Outcome) -> None:
        self._schedule.ended(outcome.id, outcome.status)
        self._finish(outcome)

    def _finish(self, outcome: Outcome) -> None:
        self._outcomes[outcome.id] = outcome
        self._shop.emit(JobFinished(outcome=outcome))

    def _interrupt(self) -> None:
        """Stop following: builds go on on their hosts, nothing new is started."""
        self._shop.stop.set()
        self._schedule.drain("interrupted before it started")
        for machine in self._machines.values():
            machine.host.close()


def _only_interrupted(error: Exception) -> bool:
    """Whether an error, once the run was told to stop, is no more than the end of listening."""
    if isinstance(error, FleetError) and error.transient:
        return True
    return isinstance(error, Interrupted) or speaks_against_host(error)
