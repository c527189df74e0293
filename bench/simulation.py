"""The scheduler under virtual time, against a bound that no scheduler can beat.

It is the code of `fleet/run/schedule.py` that decides; only time is simulated. The
cases are random and repeatable: an image graph of depth three on up to four platforms,
hosts of unlike pace and number of slots (among them a Pi), builds that take what they
usually take but for some noise, hosts that fail in the middle of a run and come back, and
builds that fail.

The bound is the larger of two: the longest path, each of its jobs on its fastest host;
and for each set of platforms the work that only their hosts can do, each job where it is
cheapest in terms of its host's pace, over the slots of those hosts as long as they are
there. Nothing that ran in vain is counted in it.
"""

from __future__ import annotations

import heapq
import itertools
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import Measure, Pair
from fleet.models import Action, Context, ImageSpec, Job, JobId, Plan, Recipe, Status
from fleet.plan import Experience, learn, remaining
from fleet.platforms import Platform
from fleet.run.schedule import Schedule

CASES = 1000
PLATFORMS = tuple(map(Platform.parse, ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386")))
# Nights on record before the one that counts.
_NIGHTS = 5


def measures() -> tuple[Measure, ...]:
    """With and without history."""
    what = f"{CASES} random runs, simulated: hosts of unlike pace, a slow Pi, failures"
    bound = "max(critical path, work / slots)"
    return tuple(
        Measure(
            name=name,
            what=f"{what}; {known}",
            against=bound,
            aim=aim,
            unit="of the bound",
            runs=1,
            warm=0,
            opened=_opened(nights, speculate=speculate),
        )
        for name, known, nights, speculate, aim in (
            ("schedule-new", "nothing is known", 0, False, None),
            ("schedule-once", "one night on record", 1, False, 1.10),
            ("schedule-known", f"{_NIGHTS} nights on record", _NIGHTS, False, 1.05),
            ("schedule-copies", f"{_NIGHTS} nights, `speculate: true`", _NIGHTS, True, 1.05),
        )
    )


def _opened(nights: int, *, speculate: bool) -> Callable[[], AbstractContextManager[Pair]]:
    @contextmanager
    def opened() -> Iterator[Pair]:
        yield lambda: statistics.fmean(ratios(range(CASES), nights, speculate=speculate)), None

    return opened


def ratios(seeds: Sequence[int], nights: int, *, speculate: bool) -> list[float]:
    """How much longer than the bound each case takes, after so many nights on record."""
    return [ratio(random.Random(seed), nights, speculate=speculate) for seed in seeds]


def ratio(dice: random.Random, nights: int, *, speculate: bool) -> float:
    """One case."""
    case = Case.of(dice)
    builds: list[tuple[JobId, str, float]] = []
    for _ in range(nights):
        builds += run(case.night(dice), learn(builds)).builds
    last = case.night(dice)
    done = run(last, learn(builds), speculate=speculate)
    return done.seconds / bound(last, done)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A simulated host."""

    slots: int
    pace: float
    platforms: tuple[Platform, ...]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fleet and what it builds, as it usually is."""

    plan: Plan
    machines: Mapping[str, Machine]
    usual: Mapping[JobId, float]  # seconds on a host of pace 1

    @classmethod
    def of(cls, dice: random.Random) -> Case:
        """A random one."""
        machines = {
            "amd64-1": Machine(
                slots=dice.randint(1, 4), pace=1.0, platforms=(PLATFORMS[0], PLATFORMS[3])
            ),
            "arm64-1": Machine(slots=dice.randint(1, 4), pace=dice.uniform(1, 2.5), platforms=()),
            "pi-1": Machine(slots=1, pace=dice.uniform(4, 8), platforms=(PLATFORMS[2],)),
        }
        for number in range(dice.randint(0, 5)):
            arm = dice.random() < 0.5
            machines[f"more-{number}"] = Machine(
                slots=dice.randint(1, 4),
                pace=dice.lognormvariate(0.2, 0.4),
                platforms=(PLATFORMS[1], PLATFORMS[2]) if arm else (PLATFORMS[0], PLATFORMS[3]),
            )
        machines["arm64-1"] = Machine(
            slots=machines["arm64-1"].slots,
            pace=machines["arm64-1"].pace,
            platforms=(PLATFORMS[1], PLATFORMS[2])[: dice.randint(1, 2)],
        )
        wanted = PLATFORMS[: dice.randint(2, 4)]
        jobs: dict[JobId, Job] = {}
        usual: dict[JobId, float] = {}
        above: list[list[str]] = [[], [], []]
        for number in range(dice.randint(6, 40)):
            depth = dice.choice((0, 1, 1, 2))
            parents = [dice.choice(above[depth - 1])] if depth and above[depth - 1] else []
            name = f"image-{number:02}"
            above[depth if parents else 0].append(name)
            work = dice.lognormvariate(4.5, 1.0)
            for platform in wanted:
                id = JobId(image=name, platform=platform)
                usual[id] = work * dice.lognormvariate(0, 0.2)
                jobs[id] = _job(id, parents, machines)
        return cls(plan=Plan(jobs=tuple(jobs.values()), indexes=()), machines=machines, usual=usual)

    def night(self, dice: random.Random) -> Night:
        """What would happen in one night."""
        fails: dict[JobId, bool] = {id: dice.random() < 0.02 for id in self.usual}
        seconds = {
            (job.id, host): self.usual[job.id]
            * self.machines[host].pace
            * dice.lognormvariate(0, 0.08)
            for job in self.plan.jobs
            for host in job.hosts
        }
        away: dict[str, tuple[float, float]] = {}
        for host in self.machines:
            if dice.random() < 0.05:
                begin = dice.uniform(10, 600)
                away[host] = (begin, begin + dice.uniform(30, 300))
        return Night(case=self, seconds=seconds, away=away, fails=fails)


@dataclass(frozen=True, kw_only=True)
class Night:
    """One run as it would be: nobody knows it beforehand."""

    case: Case
    seconds: Mapping[tuple[JobId, str], float]
    away: Mapping[str, tuple[float, float]]  # from when until when a host does not answer
    fails: Mapping[JobId, bool]


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a run came to."""

    seconds: float
    ran: frozenset[JobId]
    builds: list[tuple[JobId, str, float]] = field(default_factory=list)


def run(night: Night, experience: Experience, *, speculate: bool = False) -> Done:
    """A run, decided by ``Schedule`` and timed by the night."""
    case = night.case
    schedule = Schedule(
        case.plan,
        slots={name: machine.slots for name, machine in case.machines.items()},
        weights=remaining(case.plan, experience.durations, experience.paces),
        durations=experience.durations,
        paces=experience.paces,
        speculate=speculate,
    )
    order = itertools.count()
    events: list[tuple[float, int, str, object]] = []
    for host, (begin, end) in night.away.items():
        heapq.heappush(events, (begin, next(order), "away", host))
        heapq.heappush(events, (end, next(order), "back", host))
    running: dict[tuple[JobId, str], tuple[int, float]] = {}  # its number, its begin
    builds: list[tuple[JobId, str, float]] = []
    ran: set[JobId] = set()
    now = last = 0.0
    while True:
        for it in schedule.take(now):
            number = next(order)
            running[it.job.id, it.host] = (number, now)
            ends = now + night.seconds[it.job.id, it.host]
            heapq.heappush(events, (ends, number, "ends", (it.job.id, it.host)))
        schedule.refused()
        if schedule.finished:
            return Done(seconds=last, ran=frozenset(ran), builds=builds)
        now, number, what, whom = heapq.heappop(events)
        if what == "ends":
            assert isinstance(whom, tuple)
            current, began = running.get(whom, (-1, 0.0))
            if current != number:
                continue  # its host went away under it, or its copy was faster
            job, host = whom
            del running[whom]
            ran.add(job)
            last = now
            if night.fails[job]:
                schedule.ended(job, Status.FAILED, host=host)
            else:
                builds.append((job, host, now - began))
                schedule.ended(job, Status.BUILT, host=host)
            for other in [host for id, host in running if id == job]:
                del running[job, other]
                schedule.dropped(job, host=other)
        elif what == "away":
            for job, host in [pair for pair in running if pair[1] == whom]:
                del running[job, host]
                schedule.suspend(job, host=host)
        else:
            schedule.back(str(whom))


def bound(night: Night, done: Done) -> float:
    """What no schedule of the jobs that ran can be shorter than."""
    case = night.case
    paths: dict[JobId, float] = {}
    for job in case.plan.jobs:  # parents first
        own = min(night.seconds[job.id, host] for host in job.hosts)
        before = max((paths[parent] for parent in job.parents), default=0.0)
        paths[job.id] = before + own if job.id in done.ran else 0.0
    longest = max(paths.values())
    for size in range(1, len(PLATFORMS) + 1):
        for some in itertools.combinations(PLATFORMS, size):
            longest = max(longest, _of_work(night, done, some))
    return longest


def _of_work(night: Night, done: Done, platforms: Sequence[Platform]) -> float:
    """The time that the hosts of some platforms need for the work that only they can do."""
    machines = night.case.machines
    serving = {name for name, m in machines.items() if set(m.platforms) & set(platforms)}
    work = sum(
        min(night.seconds[job.id, host] / machines[host].pace for host in job.hosts)
        for job in night.case.plan.jobs
        if job.id in done.ran and job.id.platform in platforms
    )
    if not work:
        return 0.0
    low, high = 0.0, done.seconds
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        can = sum(
            machines[name].slots / machines[name].pace * _there(night, name, middle)
            for name in serving
        )
        low, high = (middle, high) if can < work else (low, middle)
    return low


def _there(night: Night, host: str, until: float) -> float:
    """How much of the time until then a host answers. Only one that had work is ever away."""
    begin, end = night.away.get(host, (until, until))
    return until - max(0.0, min(end, until) - min(begin, until))


def _job(id: JobId, parents: Sequence[str], machines: Mapping[str, Machine]) -> Job:
    nowhere = Path("/nonexistent")
    return Job(
        id=id,
        recipe=Recipe(
            image=ImageSpec(name=id.image, context=nowhere, dockerfile=nowhere),
            dockerfile="",
            context=Context(root=nowhere, files=(), digest=""),
            bases=((id.platform, ()),),
        ),
        action=Action.BUILD,
        reason="not in the registry",
        hosts=tuple(name for name, m in machines.items() if id.platform in m.platforms),
        parents=tuple(JobId(image=name, platform=id.platform) for name in parents),
        pins=(),
    )
