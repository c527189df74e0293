"""A night of a large fleet: what the controller takes for 100, 500 and 2,000 jobs.

`fleet build`, one whole process, over real SSH: four jobs for each host, so that 2,000 jobs
are those of 500 hosts. Half of the images are built on the other half. All hosts are this
machine, and so is the registry; the engine is ``bench/builder.py``, which does everything of
a build but the work. What is measured are the CPU and the memory of the controller's process
alone; what the hosts' side takes on the same cores only makes the night longer.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from unittest.mock import patch

from bench import builder, peers
from bench.loopback import Farm, farm
from bench.measure import Measure, Pair
from fleet import app

PLATFORMS = ("linux/amd64", "linux/386")  # what any PC executes
JOBS = (100, 500, 2000)
PER_HOST = 4
# That a build takes: few real ones take less. 500 hosts, whose sshd have the same two cores as
# the controller, need minutes to begin and to end that many.
SECONDS = {100: 30.0, 500: 30.0, 2000: 240.0}


@dataclass(frozen=True, kw_only=True)
class Night:
    """What a night took: seconds, and megabytes of the controller's memory at its peak."""

    jobs: int
    wall: float
    cpu: float
    memory: float


def measures() -> tuple[Measure, ...]:
    """Memory, share of a core and CPU of each job, for every size; and how the CPU grows."""
    figures: tuple[tuple[str, str, str, float | None, Callable[[Night], float]], ...] = (
        ("memory", "memory at its peak", "MB", 300.0, lambda night: night.memory),
        ("share", "share of a core", "%", 25.0, lambda night: 100 * night.cpu / night.wall),
        ("job", "CPU for each job", "s", None, lambda night: night.cpu / night.jobs),
    )
    return (
        *(
            Measure(
                name=f"crowd-{jobs}-{name}",
                what=f"the controller's {what}: {jobs} jobs of {SECONDS[jobs]:.0f} s on"
                f" {jobs // PER_HOST} hosts (stub engine, real SSH and registry)",
                aim=aim if jobs == max(JOBS) else None,
                unit=unit,
                runs=1,
                warm=0,
                opened=_opened((jobs,), partial(_of_one, figure)),
            )
            for jobs in JOBS
            for name, what, unit, aim, figure in figures
        ),
        Measure(
            name="crowd-exponent",
            what=f"CPU of the controller over {', '.join(map(str, JOBS))} jobs: the exponent",
            aim=None,
            unit="",
            runs=1,
            warm=0,
            opened=_opened(JOBS, exponent),
        ),
    )


def _of_one(figure: Callable[[Night], float], nights: Sequence[Night]) -> float:
    return figure(nights[0])


def exponent(nights: Sequence[Night]) -> float:
    """Of CPU in jobs: the slope of the line through the logarithms, by least squares."""
    points = [(math.log(night.jobs), math.log(night.cpu)) for night in nights]
    x, y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    above = math.fsum((a - x) * (b - y) for a, b in points)
    return above / math.fsum((a - x) ** 2 for a, _ in points)


def _opened(
    sizes: Sequence[int], figure: Callable[[Sequence[Night]], float]
) -> Callable[[], AbstractContextManager[Pair]]:
    @contextmanager
    def opened() -> Iterator[Pair]:
        yield lambda: figure([night(jobs) for jobs in sizes]), None

    return opened


@lru_cache
def night(jobs: int) -> Night:
    """One night, which all rows that tell of it share: it takes minutes."""
    peers.here("docker-registry", "docker-registry")
    with builder.engine(SECONDS[jobs]) as path, farm(jobs // PER_HOST, path=str(path)) as hosts:
        inventory = _write(hosts, jobs // len(PLATFORMS))
        environment = {**os.environ, "XDG_STATE_HOME": str(hosts.folder / "state")}
        argv = [sys.executable, "-m", "fleet", "build", "--progress", "plain"]
        argv += ["--inventory", str(inventory)]
        with patch.dict(os.environ, environment):
            registry = app.embedded_registry()
        registry.start()
        try:
            return _taken(argv, environment, jobs, inventory)
        finally:
            registry.stop()


def _taken(argv: Sequence[str], environment: dict[str, str], jobs: int, inventory: Path) -> Night:
    with tempfile.TemporaryFile() as out:
        began = time.monotonic()
        process = subprocess.Popen(argv, env=environment, stdout=out, stderr=out)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            out.seek(0)
            raise RuntimeError(f"fleet ended with {process.returncode}:\n{out.read()[-3000:]!r}")
    return Night(
        jobs=jobs, wall=wall, cpu=used.ru_utime + used.ru_stime, memory=used.ru_maxrss / 1000
    )


def _write(hosts: Farm, images: int) -> Path:
    """The inventory, and a small context for each image."""
    for number in range(images):
        context = hosts.folder / "dockerfiles" / f"image-{number:04}"
        context.mkdir(parents=True)
        base = f"image-{number - 1:04}" if number % 2 else "scratch"
        (context / "Dockerfile").write_text(f"FROM {base}\nCOPY data /data\n")
        (context / "data").write_text(f"{number}\n" * 1000)
    inventory = hosts.folder / "inventory.yml"
    # Each with a folder of its own for fleet, as all of them have one home.
    lines = "".join(
        f"  h{number}: {{address: {address}, state: {hosts.folder}/on/{number}}}\n"
        for number, address in enumerate(hosts.addresses)
    )
    inventory.write_text(
        f"registry: embedded\nssh_config: {hosts.config}\n"
        f"platforms: [{', '.join(PLATFORMS)}]\nhosts:\n{lines}"
    )
    return inventory
