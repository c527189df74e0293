"""The executor of a plan: jobs over hosts and slots, indexes as their members come in.

One thread a running job; everything that decides lives in the thread that
calls ``execute`` and in ``Schedule``. A job's failure is an outcome and never
stops its siblings. A host that fails in a way that may pass is away: another
thread asks whether it is back, once for all of its jobs, which wait or go
elsewhere meanwhile; one that fails time and again is out.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.errors import (
    EngineDown,
    FleetError,
    HostClosed,
    HostNotRented,
    HostStayedAway,
    Interrupted,
    OutOfMemory,
)
from fleet.events import (
    CopyDropped,
    HostAway,
    HostBack,
    HostLost,
    IndexFinished,
    JobFinished,
    JobStarted,
    Notice,
    RetryScheduled,
)
from fleet.models import (
    Action,
    Begun,
    ErrorInfo,
    IndexOutcome,
    IndexPlan,
    JobId,
    LeftImage,
    Outcome,
    Plan,
    PublishedImage,
    Status,
    Step,
)
from fleet.plan import Experience, remaining
from fleet.run.cancel import Reopen, cancel_builds
from fleet.run.claims import Claims
from fleet.run.defects import defect
from fleet.run.interrupts import Interrupt, interrupts_to
from fleet.run.job import Shop, Task
from fleet.run.machine import Machine
from fleet.run.publish import put_index
from fleet.run.renting import Rental
from fleet.run.retry import Policy, speaks_against_host
from fleet.run.schedule import Assignment, Refusal, Schedule

# Failures of a host, with no job done there in between, after which it is out.
STRIKES = 3
# Seconds after Ctrl-C in which another one means: end the builds on the hosts as well.
GRACE = 3.0
_RECONSIDER = 5.0  # seconds after which a job that was let wait for a better host may take another
_LONGEST_PAUSE = 15.0  # seconds between two questions to a host that is away

LogPath = Callable[[JobId, int], Path]


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """A job has ended on a host. Times are seconds since the epoch."""

    assignment: Assignment
    began: float
    ended: float
    result: PublishedImage | LeftImage | Exception


@dataclass(frozen=True, kw_only=True)
class _Built:
    """All that is left of a job is the push of what a host has built."""

    job: JobId
    host: str


@dataclass(frozen=True, kw_only=True)
class _Back:
    """A host that was away answers again, after so many seconds."""

    host: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class _Rented:
    """A host is up, and is what it should be; or it could not be had."""

    host: str
    result: Machine | FleetError


@dataclass(frozen=True, kw_only=True)
class _StayedAway:
    """A host that was away is waited for no longer."""

    host: str
    error: FleetError


_Message = _Ended | Begun | _Built | _Back | _StayedAway | _Rented | IndexOutcome | Interrupt


def execute(
    plan: Plan,
    *,
    shop: Shop,
    machines: Mapping[str, Machine],
    log_path: LogPath,
    experience: Experience | None = None,
    run: str = "RUN",
    reopen: Reopen | None = None,
    rental: Rental | None = None,
) -> tuple[tuple[Outcome, ...], tuple[IndexOutcome, ...]]:
    """Run a plan to its end: every job and every index has an outcome, in plan order.

    ``experience``, from history, orders the queue and chooses the hosts. SIGINT and SIGTERM
    stop following: builds on the hosts go on, what has not started is
    cancelled, and the outcomes so far are returned. A second SIGINT, at the
    latest some seconds after the first, ends the builds on the hosts as well,
    over connections that ``reopen`` makes. ``run`` is the name under which the
    operator can resume or cancel.

    Hosts of the plan that the ``rental`` has are rented when a job finds no free slot
    without them, and given back when no job may need them any more. Builds there are
    ended by the first signal, since the host does not stay.
    """
    execution = _Execution(
        plan, shop, machines, log_path, experience or Experience(), run, reopen, rental
    )
    return execution.run()


def may_come_back(error: Exception) -> bool:
    """Whether a host that failed like this is worth waiting for."""
    return isinstance(error, EngineDown) or (isinstance(error, FleetError) and error.transient)


class _Execution:
    def __init__(
        self,
        plan: Plan,
        shop: Shop,
        machines: Mapping[str, Machine],
        log_path: LogPath,
        experience: Experience,
        name: str,
        reopen: Reopen | None,
        rental: Rental | None,
    ) -> None:
        self._plan = plan
        self._name = name
        self._reopen = reopen
        self._shop = shop
        self._machines = dict(machines)
        self._log_path = log_path
        self._slots = {name: machine.report.spec.slots for name, machine in machines.items()}
        self._rental = rental
        sought = {name for job in plan.to_build for name in job.hosts}
        self._rented = {
            name: spec
            for name, spec in (rental.hosts if rental else {}).items()
            if name in sought and name not in machines
        }
        self._schedule = Schedule(
            plan,
            slots=self._slots,
            to_come={name: spec.slots for name, spec in self._rented.items()},
            weights=remaining(plan, experience.durations, experience.paces),
            durations=experience.durations,
            paces=experience.paces,
            speculate=shop.speculate,
            emulated={
                (name, job.id.platform)
                for job in plan.to_build
                for name in job.hosts
                if (name in machines and machines[name].report.emulates(job.id.platform))
                or (name in self._rented and job.id.platform in self._rented[name].emulate)
            },
        )
        self._messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._outcomes: dict[JobId, Outcome] = {}
        self._unput = list(plan.indexes)
        self._putting = 0
        self._indexes: dict[str, IndexOutcome] = {}
        self._strikes: Counter[str] = Counter()
        self._watched: set[str] = set()  # hosts that are away, each with a thread that asks it
        self._renting: set[str] = set()  # hosts that a thread is about to have up
        self._up: set[str] = set()  # rented hosts that are up
        self._over = threading.Event()  # then nobody waits for them any more
        # Builds on hosts, as far as they matter: of a job by host, for it may have a copy.
        self._begun: defaultdict[JobId, dict[str, Begun]] = defaultdict(dict)
        self._claims = Claims()
        self._unwanted: set[tuple[JobId, str]] = set()  # copies that are being ended
        self._unlucky: dict[JobId, Outcome] = {}  # how jobs fared that are to be done once more
        # Builds on a host that was lost, of jobs that go on on another one.
        self._orphans: defaultdict[str, list[Begun]] = defaultdict(list)
        self._tried_alone: set[JobId] = set()
        self._stops: list[int] = []  # the signals that came

    def run(self) -> tuple[tuple[Outcome, ...], tuple[IndexOutcome, ...]]:
        # A slot is free while what was built in it is pushed: so twice as many threads, and a
        # push less than that may wait. Putting an index takes a thread, too.
        slots = [*self._slots.values(), *(spec.slots for spec in self._rented.values())]
        workers = 2 * sum(slots) + 2
        with (
            interrupts_to(self._messages.put),
            ThreadPoolExecutor(max_workers=workers, thread_name_prefix="job") as pool,
        ):
            self._settle_planned()
            self._advance(pool)
            while self._schedule.running or self._putting or self._waits:
                message = self._next()
                if message is not None:
                    self._receive(message, pool)
                self._advance(pool)
            self._over.set()
            if self._stops:
                self._leave()
        return (
            tuple(self._outcomes[job.id] for job in self._plan.jobs),
            tuple(self._indexes[i.image] for i in self._plan.indexes if i.image in self._indexes),
        )

    def _next(self) -> _Message | None:
        """What happens next; None where it is time itself that may have changed things."""
        try:
            return self._messages.get(timeout=_RECONSIDER if self._schedule.reconsiders else None)
        except queue.Empty:
            return None

    @property
    def _waits(self) -> bool:
        """Whether a host that is away is waited for, with something to do for it."""
        awaited = self._watched or self._renting
        return bool(awaited) and not self._stops and not self._schedule.finished

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
        for assignment in self._schedule.take(time.monotonic()):
            pool.submit(self._work, assignment, self._parents(assignment))
        for host in self._schedule.wanted():
            self._renting.add(host)
            _thread(self._rent, host)
        for host in tuple(self._up):
            if not self._stops and not self._schedule.needs(host):
                self._up.discard(host)
                _thread(self._release, host)
        for refusal in self._schedule.refused():
            self._finish(self._refusal(refusal))
        for index in tuple(self._unput):
            if all(id in self._outcomes for id in index.members):
                self._unput.remove(index)
                self._putting += 1
                pool.submit(self._put, index, [self._outcomes[id] for id in index.members])

    def _refusal(self, refusal: Refusal) -> Outcome:
        """The outcome of a job that nobody does any more; it may have been begun."""
        before = self._unlucky.get(refusal.id) or Outcome(
            id=refusal.id, status=refusal.status, reason=""
        )
        error = before.error and replace(before.error, message=refusal.reason)
        if refusal.status is Status.CANCELLED:
            error = None
        return replace(before, status=refusal.status, reason=refusal.reason, error=error)

    def _parents(self, assignment: Assignment) -> dict[JobId, PublishedImage | LeftImage]:
        outcomes = {id: self._outcomes[id] for id in assignment.job.parents}
        images = {id: outcome.image or outcome.left for id, outcome in outcomes.items()}
        return {id: image for id, image in images.items() if image is not None}

    # --- in a worker's thread -------------------------------------------------------------

    def _work(
        self, assignment: Assignment, parents: Mapping[JobId, PublishedImage | LeftImage]
    ) -> None:
        """One job on one host; its end becomes a message."""
        job, host, began = assignment.job, assignment.host, time.time()
        self._shop.emit(
            JobStarted(job=job.id, host=host, attempt=assignment.attempt, beside=assignment.beside)
        )

        def built() -> None:
            self._claims.claim(job.id, host)
            self._messages.put(_Built(job=job.id, host=host))

        result: PublishedImage | LeftImage | Exception
        try:
            result = Task(
                shop=self._shop,
                job=job,
                machine=self._machines[host],
                attempt=assignment.attempt,
                parents=parents,
                on_order=lambda key: self._messages.put(Begun(job=job.id, host=host, key=key)),
                on_built=built,
                check=lambda: self._claims.check(job.id, host),
            ).run()
        except Exception as error:  # noqa: BLE001 - judged where everything is decided
            result = error
        self._messages.put(
            _Ended(assignment=assignment, began=began, ended=time.time(), result=result)
        )

    def _put(self, index: IndexPlan, outcomes: list[Outcome]) -> None:
        """Put an index, or say why not."""
        recipe = self._plan.job(index.members[0]).recipe if index.members else None
        partial = self._shop.allow_partial or (recipe is not None and recipe.image.allow_partial)
        self._messages.put(put_index(index, outcomes, shop=self._shop, in_part=partial))

    def _watch(self, host: str, error: FleetError) -> None:
        """Ask a host that is away, again and again, whether it is back."""
        began, asked = time.monotonic(), 0
        pauses = Policy(first_wait=self._shop.policy.first_wait, longest_wait=_LONGEST_PAUSE)
        while (left := began + self._shop.limits.host_wait - time.monotonic()) > 0:
            asked += 1
            if self._over.wait(min(left, pauses.wait(None, asked))):
                return
            try:
                self._machines[host].engine.answer()
            except FleetError as new:
                error = new
                if may_come_back(new):
                    continue
                break
            self._messages.put(_Back(host=host, seconds=time.monotonic() - began))
            return
        self._messages.put(_StayedAway(host=host, error=error))

    def _rent(self, host: str) -> None:
        """Have a host up; its end becomes a message."""
        assert self._rental is not None, "otherwise no host is to come"
        result: Machine | FleetError
        try:
            result = self._rental.rent(host)
        except FleetError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - judged where everything is decided
            result = HostNotRented(host, defect(error).message, tail=defect(error).tail)
        self._messages.put(_Rented(host=host, result=result))

    def _release(self, host: str) -> None:
        """Give a host back that no job needs any more; at the end of the run, it is waited for."""
        assert self._rental is not None, "otherwise no host was rented"
        self._rental.release(host)

    def _end_orphan(self, orphan: Begun) -> None:
        """End a build that nobody waits for any more; one that cannot be ended ends by itself."""
        with suppress(FleetError):
            self._machines[orphan.host].engine.cancel(orphan.key)

    def _end_copy(self, host: str, copy: Begun) -> None:
        """End what nobody waits for on a host; it may be about to begin, so until it has ended."""
        while self._schedule.runs(copy.job, host) and not self._over.is_set():
            self._end_orphan(copy)
            self._over.wait(_RECONSIDER)

    # --- what came of it ------------------------------------------------------------------

    def _receive(self, message: _Message, pool: ThreadPoolExecutor) -> None:
        match message:
            case _Ended():
                self._ended(message)
            case Begun():
                for host in tuple(self._begun[message.job]):
                    if host != message.host and not self._schedule.runs(message.job, host):
                        self._abandon(message.job, host)
                self._begun[message.job][message.host] = message
                if self._claims.superseded(message.job, message.host):
                    self._give_up(message)
            case _Built():
                self._schedule.built(message.job, host=message.host)
                for copy in self._begun[message.job].values():
                    if copy.host != message.host and self._schedule.runs(message.job, copy.host):
                        self._give_up(copy)
            case _Back():
                self._watched.discard(message.host)
                for orphan in self._orphans.pop(message.host, ()):
                    pool.submit(self._end_orphan, orphan)
                self._schedule.back(message.host)
                self._shop.emit(HostBack(host=message.host, seconds=message.seconds))
            case _Rented():
                self._renting.discard(message.host)
                self._came(message.host, message.result)
            case _StayedAway():
                self._watched.discard(message.host)
                self._stayed_away(message.host, message.error)
            case IndexOutcome():
                self._putting -= 1
                self._indexes[message.plan.image] = message
                self._shop.emit(IndexFinished(outcome=message))
            case Interrupt():
                self._stops.append(message.number)
                if len(self._stops) == 1:
                    self._interrupt()

    def _came(self, host: str, result: Machine | FleetError) -> None:
        if isinstance(result, Machine):
            self._machines[host] = result
            self._up.add(host)
            if not self._stops:
                self._schedule.back(host)
        elif not self._stops:
            self._shop.emit(HostLost(host=host, error=ErrorInfo.of(result)))
            self._schedule.lose(host, result.message)

    def _ended(self, end: _Ended) -> None:
        job, host, result = end.assignment.job, end.assignment.host, end.result
        unwanted = isinstance(result, Exception) and (job.id, host) in self._unwanted
        if unwanted or job.id in self._outcomes or self._claims.superseded(job.id, host):
            self._drop(end, "the other one was faster")
            return
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
            self._strikes.pop(host, None)
            emulated = self._machines[host].report.emulates(job.id.platform)
            built = replace(failed, status=Status.BUILT, reason=job.reason, emulated=emulated)
            if isinstance(result, LeftImage):
                self._end(replace(built, left=result))
            else:
                self._end(replace(built, image=result))
            return
        error = ErrorInfo.of(result) if isinstance(result, FleetError) else defect(result)
        failed = replace(failed, reason=error.message, error=error)
        if self._schedule.copied(job.id) and not self._claims.holds(job.id, host):
            stopped = self._shop.stop.is_set()
            if isinstance(result, FleetError) and speaks_against_host(result) and not stopped:
                self._abandon(job.id, host)
                self._host_failed(failed, result)
                self._tell_drop(end, error.message)
            else:
                self._drop(end, "interrupted" if stopped else error.message)
        elif self._shop.stop.is_set() and _only_interrupted(result):
            fate = "ends with it, as it is rented" if host in self._rented else "goes on there"
            reason = f"interrupted; what it began on {host} {fate}"
            self._end(replace(failed, status=Status.CANCELLED, reason=reason, error=None))
        elif isinstance(result, OutOfMemory) and self._may_be_alone(job.id, host):
            self._alone(failed, error)
        elif isinstance(result, FleetError) and speaks_against_host(result):
            self._host_failed(failed, result)
        else:
            self._end(failed)

    def _drop(self, end: _Ended, reason: str) -> None:
        """One of two copies has ended, and the other one decides what becomes of the job."""
        job, host = end.assignment.job.id, end.assignment.host
        if not self._shop.stop.is_set():  # otherwise its build may go on
            self._begun[job].pop(host, None)
        self._unwanted.discard((job, host))
        self._schedule.dropped(job, host=host)
        self._tell_drop(end, reason)

    def _tell_drop(self, end: _Ended, reason: str) -> None:
        it = end.assignment
        self._shop.emit(CopyDropped(job=it.job.id, host=it.host, attempt=it.attempt, reason=reason))

    def _give_up(self, copy: Begun) -> None:
        """Have the build of a copy ended: another host is about to push what it has built."""
        if (copy.job, copy.host) not in self._unwanted:
            self._unwanted.add((copy.job, copy.host))
            _thread(self._end_copy, copy.host, copy)

    def _abandon(self, job: JobId, host: str) -> None:
        """Have a build ended on a host that was lost, once it is back; another one does the job."""
        if (begun := self._begun[job].pop(host, None)) is not None:
            self._orphans[host].append(begun)

    def _may_be_alone(self, job: JobId, host: str) -> bool:
        """Whether a job that found too little memory may find more without others beside it."""
        return self._schedule.slots(host) > 1 and job not in self._tried_alone

    def _alone(self, failed: Outcome, error: ErrorInfo) -> None:
        self._tried_alone.add(failed.id)
        self._claims.let_go(failed.id, failed.host or "")
        self._unlucky[failed.id] = failed
        self._shop.emit(
            RetryScheduled(
                job=failed.id,
                host=failed.host or "",
                attempt=failed.attempts,
                step=Step.BUILD,
                wait=0.0,
                error=replace(error, message=f"{error.message}; once more, alone on the host"),
            )
        )
        self._schedule.alone(failed.id)

    def _host_failed(self, failed: Outcome, error: FleetError) -> None:
        """A host failed under a job, which waits for it or moves on if it can."""
        host = failed.host or ""
        self._unlucky[failed.id] = failed
        self._claims.let_go(failed.id, host)
        if self._schedule.has(host):
            self._strikes[host] += 1
            if not may_come_back(error) or self._shop.limits.host_wait <= 0:
                self._take_out(failed, host, ErrorInfo.of(error))
            elif self._strikes[host] >= STRIKES:
                often = f"{host}: it failed {STRIKES} times in a row, at last so: {error.message}"
                self._take_out(failed, host, replace(ErrorInfo.of(error), message=often))
            else:
                self._schedule.suspend(failed.id, host=host)
                wait = self._shop.limits.host_wait
                self._shop.emit(HostAway(host=host, error=ErrorInfo.of(error), wait=wait))
                self._watched.add(host)
                # A run that has nothing more to do does not wait for a host that is not there.
                _thread(self._watch, host, error)
        else:
            self._schedule.suspend(failed.id, host=host)  # another job was faster to find out

    def _take_out(self, failed: Outcome, host: str, error: ErrorInfo) -> None:
        self._shop.emit(HostLost(host=host, error=error))
        if not self._schedule.lost(failed.id, error.message, host=host):
            self._finish(replace(failed, reason=error.message, error=error))

    def _stayed_away(self, host: str, error: FleetError) -> None:
        if self._stops:
            return
        wait = self._shop.limits.host_wait
        why = HostStayedAway(
            host,
            f"it did not come back within {wait:.0f} s: {error.message.removeprefix(f'{host}: ')}",
            hint=error.hint or "the inventory sets how long: `limits: {host_wait: 5m}`",
        )
        self._shop.emit(HostLost(host=host, error=ErrorInfo.of(why)))
        self._schedule.lose(host, why.message)

    def _end(self, outcome: Outcome) -> None:
        self._schedule.ended(outcome.id, outcome.status, host=outcome.host)
        self._finish(outcome)

    def _finish(self, outcome: Outcome) -> None:
        self._outcomes[outcome.id] = outcome
        self._shop.emit(JobFinished(outcome=outcome))

    # --- interruption ---------------------------------------------------------------------

    def _interrupt(self) -> None:
        """Stop following: builds go on on their hosts, nothing new is started."""
        self._shop.stop.set()
        self._over.set()
        self._schedule.drain("interrupted before it started")
        for machine in self._machines.values():
            machine.host.close()
        if left := [build for build in self._left() if build.host not in self._rented]:
            again = "" if self._stops[0] == signal.SIGTERM else f"; Ctrl-C within {GRACE:.0f} s"
            self._shop.emit(
                Notice(
                    message=f"interrupted; what was begun goes on: {', '.join(map(str, left))}."
                    f" `fleet resume {self._name}` collects it, `fleet cancel {self._name}`"
                    f"{again} ends it"
                )
            )

    def _left(self) -> list[Begun]:
        """The builds that may go on on their hosts: those of jobs that have not ended well."""
        return [
            begun
            for job, of_job in self._begun.items()
            if job not in self._outcomes or self._outcomes[job].status is Status.CANCELLED
            for begun in of_job.values()
        ]

    def _leave(self) -> None:
        """Give the operator a moment to say that the builds on the hosts are to end as well."""
        left = [build for build in self._left() if build.host not in self._rented]
        ending = [build for build in self._left() if build.host in self._rented]
        if ending and self._reopen is not None:
            cancel_builds(ending, reopen=self._reopen, emit=self._shop.emit)
        if not left or self._reopen is None or self._stops[0] == signal.SIGTERM:
            return
        deadline = time.monotonic() + GRACE
        while len(self._stops) < 2:
            try:
                message = self._messages.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return
            if isinstance(message, Interrupt):
                self._stops.append(message.number)
        cancel_builds(left, reopen=self._reopen, emit=self._shop.emit)


def _thread(work: Callable[..., None], host: str, *arguments: object) -> None:
    """Something that takes its time about a host, and that the end of the run need not await."""
    threading.Thread(target=work, args=(host, *arguments), name=f"host-{host}", daemon=True).start()


def _only_interrupted(error: Exception) -> bool:
    """Whether an error, once the run was told to stop, is no more than the end of listening."""
    if isinstance(error, FleetError) and error.transient:
        return True
    return isinstance(error, Interrupted | HostClosed) or speaks_against_host(error)
