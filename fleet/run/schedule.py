"""Which job runs next, and where: longest remaining path first, where it ends earliest.

Pure state without threads or clocks, so that it can be tested and simulated
(``bench/simulation.py`` does, against a lower bound). The order is that of list
scheduling by critical path (R. L. Graham, "Bounds on Multiprocessing Timing Anomalies",
1969; T. C. Hu, "Parallel Sequencing and Assembly Line Problems", 1961). Where history
tells that hosts are not equally fast, a job goes where it is expected to end first,
which may mean to wait for a fast host beside a slow one that is free (the earliest
finish time of H. Topcuoglu, S. Hariri, M. Wu, "Performance-Effective and Low-Complexity
Task Scheduling for Heterogeneous Computing", 2002). A job that takes long may be begun a
second time on a host that has nothing to do (the backup tasks of J. Dean, S. Ghemawat,
"MapReduce: Simplified Data Processing on Large Clusters", 2004, section 3.6).
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from statistics import fmean

from fleet.models import Action, Job, JobId, Plan, Status
from fleet.platforms import Platform

_Rank = tuple[float, int]  # the heaviest first; among equals, the plan's order
# Of the time that a job takes: by less, hosts do not differ, and the idlest of them is taken.
_ALIKE = 0.03
# Jobs of one queue that may wait for better hosts before no more of it are looked at.
_LOOK_AHEAD = 100
# Seconds after which a host that is away is expected back: a reboot takes no longer.
_BACK = 120.0
# A copy pays if it is expected to take no more than this share of what the job still takes.
_PAYS = 0.7


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A job that is to start now on a host. ``attempt`` counts its hosts, from 1.

    ``beside`` is the host that is at it already, where this is a second copy.
    """

    job: Job
    host: str
    attempt: int
    beside: str | None = None


@dataclass(kw_only=True)
class _Run:
    """A job on a host, since when, and the slots that it holds there: none while it is pushed."""

    began: float
    slots: int


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A job that has ended without running, and why."""

    id: JobId
    status: Status
    reason: str


class Schedule:
    """The state of a plan's execution: what is ready, what runs where, what is done.

    A host is there, away (nothing is given to it, and what only it may take waits for
    it) or gone for the rest of the run.

    ``slots`` are those of the hosts that are there; those that are ``to_come`` are away
    until somebody has them come, which ``wanted`` asks for. ``weights`` are the longest
    remaining path of each job, in any one unit. ``emulated`` names the platforms
    that a host would emulate: it is chosen where no native host has a free slot.
    ``durations`` are those of the jobs on a host of usual pace, and ``paces`` how many
    times as long a host takes for a platform, where that is known. Where no pace is, no
    job waits for another host than one that is free.

    With ``speculate`` a job of known duration that seems to take much longer than it
    would on an idle native host is begun there as well, once in a run. Whoever tells of
    a job names the ``host`` then; it may be left out of a job without a copy.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        slots: Mapping[str, int],
        to_come: Mapping[str, int] | None = None,
        weights: Mapping[JobId, float],
        emulated: Collection[tuple[str, Platform]] = (),
        durations: Mapping[JobId, float] | None = None,
        paces: Mapping[tuple[str, Platform], float] | None = None,
        speculate: bool = False,
    ) -> None:
        self._plan = plan
        self._speculate = speculate
        self._durations = durations or {}
        self._usual = fmean(self._durations.values()) if self._durations else 1.0
        self._paces = paces or {}
        to_come = to_come or {}
        self._slots = dict(slots)
        self._free = {**slots, **to_come}
        self._emulated = frozenset(emulated)
        self._sought = Counter(host for job in plan.to_build for host in job.hosts)
        self._away: dict[str, int] = dict(to_come)  # hosts that may come back -> their slots
        self._unasked = dict.fromkeys(to_come)  # those of them that nobody has asked for
        self._coming: set[str] = set()  # and those that somebody has
        self._gone: dict[str, str] = {}  # hosts that were taken out -> why
        # Jobs that shall have a host to themselves, in the order in which they came to it.
        self._alone: defaultdict[str, list[Job]] = defaultdict(list)
        self._running: defaultdict[JobId, dict[str, _Run]] = defaultdict(dict)  # by host
        self._here: defaultdict[str, set[JobId]] = defaultdict(set)  # what runs on a host
        self._costly = frozenset(to_come)  # hosts that somebody has come: not for copies
        self._copied: set[JobId] = set()  # jobs that have had their copy
        self._attempts: dict[JobId, int] = {}
        self._status: dict[JobId, Status] = {}
        self._refused: list[Refusal] = []
        self._deferring = False  # whether ``take`` has let a job wait that could have started
        self._rank: dict[JobId, _Rank] = {
            job.id: (-weights.get(job.id, 0.0), place) for place, job in enumerate(plan.jobs)
        }
        # A queue for each set of hosts: where its first job finds no slot, none of it does.
        self._ready: defaultdict[tuple[str, ...], list[_Rank]] = defaultdict(list)
        self._waiting = {job.id: len(job.parents) for job in plan.jobs}
        self._children: defaultdict[JobId, list[JobId]] = defaultdict(list)
        for job in plan.jobs:
            for parent in job.parents:
                self._children[parent].append(job.id)
        for job in plan.jobs:
            match job.action:
                case Action.KEEP:
                    self._settle(job.id, Status.KEPT)
                case Action.BLOCKED:
                    self._settle(job.id, Status.BLOCKED)
                case Action.BUILD if not job.parents:
                    self._make_ready(job)
                case Action.BUILD:
                    pass  # its parents make it ready

    # --- what is to be done ---------------------------------------------------------------

    def take(self, now: float = 0.0) -> list[Assignment]:
        """The jobs to start now; each takes a slot of its host until it ends.

        ``now`` in seconds, from any moment on, is what is reckoned with where paces are known.
        A job that is let wait for a better host is thought about at each call, since what
        holds that host may take longer than it was expected to; so is a copy of a job that
        runs (``reconsiders``).
        """
        started = []
        for free, jobs in self._alone.items():
            if jobs and free in self._slots and self._free[free] == self._slots[free]:
                job = jobs.pop(0)
                started.append(self._start(job, free, now, slots=self._slots[free]))
        heads = [(queue[0], hosts) for hosts, queue in self._ready.items() if queue]
        heapq.heapify(heads)
        frees: dict[str, list[float]] = {}  # when each slot of a host is free for the next job
        waits: defaultdict[tuple[str, ...], list[_Rank]] = defaultdict(list)
        while heads:
            (rank, hosts) = heapq.heappop(heads)
            job = self._plan.jobs[rank[1]]
            host = self._best(job, now, frees)
            if host is None:
                continue
            queue = self._ready[hosts]
            heapq.heappop(queue)
            if frees and (frees[host][0] > now or self._free[host] == 0):
                ends = frees[host][0] + self._duration(job.id, host)
                heapq.heapreplace(frees[host], ends)
                waits[hosts].append(rank)
            else:
                started.append(self._start(job, host, now))
                if frees:
                    heapq.heapreplace(frees[host], now + self._duration(job.id, host))
            if queue and len(waits[hosts]) < _LOOK_AHEAD:
                heapq.heappush(heads, (queue[0], hosts))
        self._deferring = any(waits.values())
        for hosts, ranks in waits.items():
            for rank in ranks:
                heapq.heappush(self._ready[hosts], rank)
        return started + self._copies(now)

    @property
    def reconsiders(self) -> bool:
        """Whether ``take`` may start more by and by, though nothing happens meanwhile."""
        return self._deferring or (self._speculate and bool(self._running))

    def wanted(self) -> list[str]:
        """Hosts to come that ready jobs have found no free slot without; each is asked for once.

        To be called after ``take``. A host on its way has room for as many jobs as it
        has slots, and only those beyond want another one.
        """
        if not self._unasked:
            return []
        asked: list[str] = []
        room = {host: self._away[host] for host in self._coming if host in self._away}
        for _, place in sorted(rank for queue in self._ready.values() for rank in queue):
            hosts = self._plan.jobs[place].hosts
            if any(self._free[host] > 0 for host in self._candidates(self._plan.jobs[place])):
                continue  # it waits for a faster one of its own will
            host = next((host for host in hosts if room.get(host)), None)
            if host is None:
                host = next((host for host in hosts if host in self._unasked), None)
                if host is None:
                    continue
                del self._unasked[host]
                self._coming.add(host)
                asked.append(host)
                room[host] = self._away[host]
            room[host] -= 1
        return asked

    def needs(self, host: str) -> bool:
        """Whether a host that is not gone may still be given a job, or has one."""
        if host in self._gone or (host not in self._slots and host not in self._away):
            return bool(self._here[host])
        return any(
            host in job.hosts
            for job in self._plan.jobs
            if job.id not in self._status and job.action is Action.BUILD
        )

    def refused(self) -> list[Refusal]:
        """The jobs that have ended without running since the last call."""
        refused, self._refused = self._refused, []
        return refused

    def has(self, host: str) -> bool:
        """Whether a host takes jobs."""
        return host in self._slots

    def is_away(self, host: str) -> bool:
        """Whether a host is waited for."""
        return host in self._away

    def slots(self, host: str) -> int:
        """How many jobs a host takes at a time; 0 where it is away or gone."""
        return self._slots.get(host, 0)

    @property
    def finished(self) -> bool:
        """Whether every job has ended."""
        return len(self._status) == len(self._plan.jobs)

    @property
    def running(self) -> int:
        """How many jobs run now; a job and its copy are two."""
        return sum(map(len, self._running.values()))

    def runs(self, id: JobId, host: str) -> bool:
        """Whether a job runs on a host."""
        return host in self._running.get(id, ())

    def copied(self, id: JobId) -> bool:
        """Whether a job runs on more than one host."""
        return len(self._running.get(id, ())) > 1

    # --- what happened --------------------------------------------------------------------

    def ended(self, id: JobId, status: Status, *, host: str | None = None) -> None:
        """A running job has ended; its children become ready or are skipped.

        A copy of it keeps its slot until it is ``dropped``.
        """
        self._release(id, host)
        self._settle(id, status)

    def dropped(self, id: JobId, *, host: str) -> None:
        """One of two copies has ended and says nothing of the job: the other one does, or did.

        Where that one has lost its host meanwhile, the job is done once more.
        """
        self._release(id, host)
        if id not in self._running and id not in self._status:
            self._make_ready(self._plan.job(id))

    def built(self, id: JobId, *, host: str | None = None) -> None:
        """A running job needs its slot no more, though it goes on: its image is on its way."""
        runs = self._running.get(id, {})
        host = host or next(iter(runs), "")
        if host in runs:
            self._free[host] += runs[host].slots
            runs[host].slots = 0

    def lost(self, id: JobId, why: str, *, host: str | None = None) -> bool:
        """A running job has lost its host, which is taken out; whether another one can take it.

        Where none can, the job has failed. ``why`` is a sentence that names the host.
        """
        job = self._plan.job(id)
        self.lose(self._release(id, host), why)
        if id in self._running:
            return True
        if self._hopes(job):
            self._make_ready(job)
            return True
        self._settle(id, Status.FAILED)
        return False

    def suspend(self, id: JobId, *, host: str | None = None) -> None:
        """A running job has lost its host, which may come back; another one may take the job."""
        job, host = self._plan.job(id), self._release(id, host)
        if host in self._slots:
            self._away[host] = self._slots.pop(host)
            # What was to be alone there may be so elsewhere, by luck, or wait.
            for waiting in self._alone.pop(host, []):
                self._make_ready(waiting)
        if id not in self._running:
            self._make_ready(job)

    def back(self, host: str) -> None:
        """A host that was away takes jobs again."""
        if host in self._away:
            self._coming.discard(host)
            self._slots[host] = self._away.pop(host)

    def alone(self, id: JobId) -> None:
        """A running job is to be done once more, on the same host, with nothing beside it."""
        job, host = self._plan.job(id), self._release(id)
        if host in self._slots:
            self._alone[host].append(job)
        else:
            self._make_ready(job)

    def lose(self, host: str, why: str) -> None:
        """Take a host out; ready jobs that no other host may take are blocked.

        Those that had been begun have failed. ``why`` is a sentence that names the host.
        """
        if self._slots.pop(host, None) is None and self._away.pop(host, None) is None:
            return
        self._gone[host] = why
        for job in self._alone.pop(host, []):
            self._make_ready(job)
        for hosts, queue in tuple(self._ready.items()):
            if not any(other in self._slots or other in self._away for other in hosts):
                del self._ready[hosts]
                for _, place in sorted(queue):
                    self._block(self._plan.jobs[place])

    def drain(self, reason: str) -> None:
        """Start nothing any more: what has not started is cancelled."""
        self._slots.clear()
        self._away.clear()
        self._unasked.clear()
        self._ready.clear()
        self._alone.clear()
        for job in self._plan.jobs:
            if job.id not in self._status and job.id not in self._running:
                self._status[job.id] = Status.CANCELLED
                self._refuse(job.id, Status.CANCELLED, reason)

    # --- parts ----------------------------------------------------------------------------

    def _candidates(self, job: Job) -> list[str]:
        """The hosts that may take a job now, but for those that are promised to another one."""
        return [host for host in job.hosts if host in self._slots and not self._alone.get(host)]

    def _hopes(self, job: Job) -> bool:
        """Whether there is a host that may take a job now or later."""
        return any(host in self._slots or host in self._away for host in job.hosts)

    def _best(self, job: Job, now: float, frees: dict[str, list[float]]) -> str | None:
        """The host on which a job is to be done; None where it must wait for any.

        It may have no free slot: then it is to be waited for. ``frees`` is filled where
        paces are known.
        """
        candidates = self._candidates(job)
        free = [host for host in candidates if self._free[host] > 0]
        native = [host for host in free if (host, job.id.platform) not in self._emulated]
        if native and len(native) < len(free):
            # However fast an emulator may be, it is for where nothing native is free.
            emulating = set(free) - set(native)
            candidates, free = [h for h in candidates if h not in emulating], native
        if not free or not self._paces:
            return max(free, key=lambda host: self._merit(job, host), default=None)
        # What was lost may be back, and done, before a slow host that is there would be.
        away = [host for host in job.hosts if host in self._away and host not in self._costly]
        candidates = candidates + away
        for host in candidates:
            if host not in frees:
                frees[host] = self._expect(host, now)
        if all(frees[host][0] > now for host in free):
            return None  # what is free is promised to heavier jobs
        ends = {host: frees[host][0] + self._duration(job.id, host) for host in candidates}
        earliest = min(ends.values())
        most = earliest + _ALIKE * (earliest - now)
        alike = [host for host in candidates if ends[host] <= most]
        at_once = [host for host in alike if host in free and frees[host][0] <= now]
        if at_once:
            return max(at_once, key=lambda host: self._merit(job, host))
        return min(alike, key=lambda host: ends[host])

    def _merit(self, job: Job, host: str) -> tuple[bool, float, int]:
        """The host with the largest free share of its slots; a native one where one is free.

        Among equals, the one that fewest of the plan's jobs could use instead; then
        the plan's order.
        """
        native = (host, job.id.platform) not in self._emulated
        return native, self._free[host] / self._slots[host], -self._sought[host]

    def _duration(self, id: JobId, host: str) -> float:
        return self._durations.get(id, self._usual) * self._paces.get((host, id.platform), 1.0)

    def _expect(self, host: str, now: float) -> list[float]:
        """When each slot of a host is expected to be free, as a heap."""
        if host in self._away:
            return [now + _BACK] * self._away[host]
        ends = [now] * self._free[host]
        for id in self._here[host]:
            ends += [now + self._left(id, host, now)] * self._running[id][host].slots
        heapq.heapify(ends)
        return ends

    def _left(self, id: JobId, host: str, now: float) -> float:
        """How long a job is expected to run on a host yet."""
        since = now - self._running[id][host].began
        left = self._duration(id, host) - since
        # What takes longer than it was expected to will take longer still.
        return left if left > 0 else since / 2

    def _copies(self, now: float) -> list[Assignment]:
        """Second copies of jobs that are expected to end earlier elsewhere, on idle hosts."""
        if not self._speculate:
            return []
        sought = {host for hosts, queue in self._ready.items() if queue for host in hosts}
        idle = (
            {
                host
                for host, slots in self._slots.items()
                if slots > 0 and self._free[host] > 0 and not self._alone.get(host)
            }
            - sought
            - self._costly
        )
        started: list[Assignment] = []
        late = [
            (self._left(id, host, now), id, host)
            for id, runs in (self._running.items() if idle else ())
            if id in self._durations and id not in self._copied and id not in self._status
            for host, run in runs.items()
            if run.slots == 1
        ]
        for left, id, host in sorted(late, key=lambda it: -it[0]):
            job = self._plan.job(id)
            others = [
                other
                for other in job.hosts
                if other in idle and other != host and (other, id.platform) not in self._emulated
            ]
            best = min(others, key=lambda other: self._duration(id, other), default=None)
            if best is not None and self._duration(id, best) <= _PAYS * left:
                self._copied.add(id)
                started.append(self._start(job, best, now, beside=host))
                if self._free[best] == 0:
                    idle.discard(best)
        return started

    def _start(
        self, job: Job, host: str, now: float, *, slots: int = 1, beside: str | None = None
    ) -> Assignment:
        attempt = self._attempts.get(job.id, 0) + 1
        self._attempts[job.id] = attempt
        self._running[job.id][host] = _Run(began=now, slots=slots)
        self._here[host].add(job.id)
        self._free[host] -= slots
        return Assignment(job=job, host=host, attempt=attempt, beside=beside)

    def _release(self, id: JobId, host: str | None = None) -> str:
        runs = self._running[id]
        host = host or next(iter(runs))
        self._free[host] += runs.pop(host).slots
        self._here[host].discard(id)
        if not runs:
            del self._running[id]
        return host

    def _make_ready(self, job: Job) -> None:
        if self._hopes(job):
            heapq.heappush(self._ready[job.hosts], self._rank[job.id])
        else:
            self._block(job)

    def _block(self, job: Job) -> None:
        why = "; ".join(self._gone[host] for host in job.hosts if host in self._gone)
        status = Status.FAILED if job.id in self._attempts else Status.BLOCKED
        self._refuse(job.id, status, "no host is left for it" + (f": {why}" if why else ""))
        self._settle(job.id, status)

    def _refuse(self, id: JobId, status: Status, reason: str) -> None:
        self._refused.append(Refusal(id=id, status=status, reason=reason))

    def _settle(self, id: JobId, status: Status) -> None:
        """Record an end and pass it on to the children; a chain may be longer than the stack."""
        self._status[id] = status
        todo = [id]
        while todo:
            parent = todo.pop()
            end = self._status[parent]
            for child in self._children[parent]:
                job = self._plan.job(child)
                if child in self._status or job.action is not Action.BUILD:
                    continue
                if end in (Status.BUILT, Status.KEPT):
                    self._waiting[child] -= 1
                    if self._waiting[child] == 0:
                        self._make_ready(job)
                else:
                    was = "" if end is Status.FAILED else "was "
                    self._status[child] = Status.SKIPPED
                    self._refuse(child, Status.SKIPPED, f"its parent {parent} {was}{end}")
                    todo.append(child)
