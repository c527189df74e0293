"""The matrix: each fault in each step, what is to come of it, and what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.bench import Bench, Controller, until

STEPS = ("probe", "sync", "build", "smoke", "push", "stitch")
TICKS = 12
SILENCE = 25.0  # seconds; longer than a connection bears
FROST = 60.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One fault in one step."""

    fault: str
    step: str

    def __str__(self) -> str:
        return f"{self.fault} in {self.step}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a cell. ``seconds`` are from the fault to the published index."""

    cell: Cell
    survived: bool
    seconds: float
    builds: int
    remark: str = ""
    tries: int = 1  # that it took; on a busy machine a fault may strike beside its step


Befall = Callable[[Bench, str], None]


def reset(bench: Bench, host: str) -> None:
    bench.lab.host(host).hurt.reset_connections()


def cut(bench: Bench, host: str) -> None:
    bench.lab.host(host).hurt.cut_network()
    time.sleep(SILENCE)
    bench.lab.host(host).hurt.restore_network()


def restart_sshd(bench: Bench, host: str) -> None:
    hurt = bench.lab.host(host).hurt
    hurt.stop_sshd()
    hurt.reset_connections()
    time.sleep(3)
    hurt.start_sshd()


def freeze(bench: Bench, host: str) -> None:
    bench.lab.host(host).hurt.freeze()
    time.sleep(FROST)
    bench.lab.host(host).hurt.thaw()


def kill_host(bench: Bench, host: str) -> None:
    bench.lab.host(host).hurt.kill()


def restart_engine(bench: Bench, host: str) -> None:
    hurt = bench.lab.host(host).hurt
    hurt.stop_docker()
    hurt.start_docker()


def refuse(bench: Bench, host: str) -> None:
    bench.registry.mood.refuse_with = 503
    bench.registry.mood.refuse_until = time.monotonic() + 30


def throttle(bench: Bench, host: str) -> None:
    mood = bench.registry.mood
    mood.refuse_with, mood.retry_after = 429, 8
    mood.refuse_until = time.monotonic() + 8


def cut_uploads(bench: Bench, host: str) -> None:
    bench.registry.mood.resets = 3


def fill(bench: Bench, host: str) -> None:
    bench.lab.host(host).hurt.fill_disk()


FAULTS: dict[str, Befall] = {
    "connection reset": reset,
    "silent drop": cut,
    "sshd restarted": restart_sshd,
    "host frozen for 60 s": freeze,
    "host killed": kill_host,
    "engine restarted": restart_engine,
    "registry 503 for 30 s": refuse,
    "registry resets uploads": cut_uploads,
    "registry 429, Retry-After": throttle,
    "controller SIGKILLed": lambda bench, host: None,
    "disk full on the host": fill,
}
CELLS = tuple(Cell(fault=fault, step=step) for fault in FAULTS for step in STEPS)
# Those that are quick enough for every day, one of each kind of recovery.
QUICK = (
    Cell(fault="connection reset", step="build"),
    Cell(fault="engine restarted", step="build"),
    Cell(fault="registry resets uploads", step="push"),
    Cell(fault="controller SIGKILLed", step="push"),
    Cell(fault="disk full on the host", step="build"),
)


def run(bench: Bench, cell: Cell) -> Result:
    """Run a cell and check all that must hold after it. Raises AssertionError."""
    bench.up()
    _prepare(bench, cell)
    before = bench.published()
    two = cell.fault == "host killed"
    hosts = ("amd64-1", "amd64-2") if two else ("amd64-1",)
    fleet = bench.fleet("build", "work", hosts=hosts)
    host = _reach(bench, cell, fleet)
    began = time.monotonic()
    killed = cell.fault == "controller SIGKILLed"
    remark, runs = "", 1
    if killed:
        fleet.kill()
        assert bench.published() == before, "the index moved before it was put"
        fleet = bench.fleet("resume", hosts=hosts)
        runs = 2 if cell.step == "stitch" else 1  # then nothing is left to be heard
    befalls = threading.Thread(target=FAULTS[cell.fault], args=(bench, host))
    befalls.start()
    code = fleet.end()
    seconds = time.monotonic() - began
    befalls.join()
    if cell.fault == "disk full on the host":
        remark = _failed_by_name(bench, fleet, code, before)
        bench.lab.host(host).hurt.free_disk()
        if code != 0:
            began = time.monotonic()
            fleet = bench.fleet("build", "work", hosts=hosts)
            code = fleet.end()
            seconds = time.monotonic() - began
            runs = 2  # of the second build, what the first one finished is cached
    assert code == 0, fleet.story(f"exit {code}")
    assert bench.published() != before, "the index is the old one"
    assert bench.whole(), "the index is not whole, or not of this recipe"
    builds = bench.builds()
    least, most = _executed(cell)
    assert least <= builds <= most, f"{builds} builds were executed, not {least} to {most}"
    # What was executed on a host that is dead cannot be counted there.
    _check_log(bench, builds + two, runs)
    bench.check_nothing_is_left()
    return Result(cell=cell, survived=True, seconds=seconds, builds=builds, remark=remark)


def _prepare(bench: Bench, cell: Cell) -> None:
    mood = type(bench.registry.mood)()
    sizes: dict[str, Any] = {"ticks": TICKS if cell.step == "build" else 2}
    match cell.step:
        case "sync":
            sizes["sparse"] = 192 << 20
        case "smoke":
            sizes["smoke"] = 12
        case "push":
            sizes["data"] = 4 << 20
            mood.upload_rate = 1.5e6
        case "stitch":
            mood.hold_index = 2.0
    bench.registry.mood = mood
    bench.recipe(**sizes)


def _reach(bench: Bench, cell: Cell, fleet: Controller) -> str:
    """Wait until the step is in the middle of what it does; the host that does it."""
    if cell.step == "probe":
        fleet.wait_for(lambda e: e["event"] == "run-started", "the run begins")
        if cell.fault in ("connection reset", "sshd restarted"):
            # There is nothing to reset before there is a connection.
            sessions = ["sh", "-c", "pgrep -P $(cat /run/sshd.pid)"]
            admin = bench.lab.host("amd64-1").admin
            until(lambda: admin(sessions, check=False).stdout, "fleet connects", 30)
        return "amd64-1"
    if cell.step == "stitch":
        fleet.wait_for(_is("index-started"), "the index is put")
        until(bench.registry.mood.holding.is_set, "the registry is asked to take the index", 30)
        # Whatever has built it; the one that is killed must be there.
        return next(e["host"] for e in fleet.events if e["event"] == "job-started")
    began = fleet.wait_for(
        lambda e: _is("step-started")(e) and e["step"] == cell.step and _of_work(e),
        f"{cell.step} begins",
    )
    match cell.step:
        case "build" | "smoke":
            sign = "tick 3" if cell.step == "build" else "smoke 2"
            fleet.wait_for(
                lambda e: _is("log-lines")(e) and _ends_a_line(sign, e["text"]),
                f"{sign} is heard",
            )
        case "push":
            until(bench.registry.mood.uploading.is_set, "a layer is on its way", 60)
        case "sync":
            arrives = ["sh", "-c", "ls -d /root/.cache/fleet/contexts/.incoming-*/*/*"]
            admin = bench.lab.host(began["host"]).admin
            until(lambda: admin(arrives, check=False).stdout, "the context is on its way", 30)
    return str(began["host"])


def _ends_a_line(sign: str, text: str) -> bool:
    return any(line.endswith(sign) for line in text.split("\n"))


def _is(kind: str) -> Callable[[dict[str, Any]], bool]:
    return lambda event: bool(event["event"] == kind)


def _of_work(event: dict[str, Any]) -> bool:
    return bool(event["job"]["image"] == "work")


def _executed(cell: Cell) -> tuple[int, int]:
    """How many builds the hosts may execute: one, but where the one in flight cannot live."""
    match cell.fault, cell.step:
        case "host killed", "stitch":
            return 0, 1  # counted on those that live
        case "engine restarted", "build":
            return 2, 4
        case "engine restarted", "sync":
            return 1, 3
        case "disk full on the host", "build":
            return 1, 4
        case _:
            return 1, 1


def _check_log(bench: Bench, builds: int, runs: int) -> None:
    """No line of an execution twice, none lost, and the last one to its end."""
    heard = bench.heard(runs)
    assert heard, "the log holds nothing of the build"
    # A second run hears a build that it collects from its first line on.
    assert len(heard) <= builds * runs, f"more was heard than was built: {heard}"
    for ticks in heard:
        assert ticks == list(range(1, len(ticks) + 1)), f"lines are missing or repeated: {ticks}"
    assert heard[-1] == list(range(1, bench.ticks + 1)), f"the log has no end: {heard[-1]}"


def _failed_by_name(bench: Bench, fleet: Controller, code: int, before: str) -> str:
    """A full disk need not matter any more; where it does, it is called by its name."""
    if code == 0:
        return "not needed any more"
    assert code == 1, fleet.story(f"exit {code}")
    assert bench.published() == before, "a failed run has moved the index"
    said = "".join(fleet.said)
    assert '"DiskFull"' in said, fleet.story("the full disk is not called by its name")
    return "named, old index stood; published once there was room"


# --- the table ----------------------------------------------------------------------------


def table(results: Sequence[Result], before: Mapping[Cell, str] | None = None) -> Iterator[str]:
    """The matrix in Markdown; what was not run now stands as it stood ``before``."""
    words = {**(before or {}), **{result.cell: _word(result) for result in results}}
    yield "| fault \\ step | " + " | ".join(STEPS) + " |"
    yield "|---" * (len(STEPS) + 1) + "|"
    for fault in FAULTS:
        cells = [words.get(Cell(fault=fault, step=step), "not run") for step in STEPS]
        yield f"| {fault} | " + " | ".join(cells) + " |"


def standing(text: str) -> dict[Cell, str]:
    """The cells of a matrix in Markdown."""
    rows = [[word.strip() for word in line.strip("|").split("|")] for line in text.splitlines()]
    return {
        Cell(fault=row[0], step=step): word
        for row in rows
        if row[0] in FAULTS
        for step, word in zip(STEPS, row[1:], strict=True)
    }


def _word(result: Result) -> str:
    if not result.survived:
        return f"**failed** {result.remark.splitlines()[0][:60]}"
    times = "" if result.builds == 1 else f", {result.builds} builds"
    again = "" if result.tries == 1 else f", try {result.tries}"
    return f"survived, {result.seconds:.0f} s{times}{again}"
