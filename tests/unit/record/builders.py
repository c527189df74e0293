"""Events and outcomes of a line each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from fleet.errors import BuildFailed, FleetError
from fleet.events import (
    IndexFinished,
    JobFinished,
    JobStarted,
    LogLines,
    PrepareFinished,
    PrepareLine,
    PrepareStarted,
    ProvisionFinished,
    ProvisionLine,
    ProvisionStarted,
    RetryScheduled,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
)
from fleet.models import ErrorInfo, IndexOutcome, IndexPlan, JobId, Outcome, Status, Step
from tests.unit.plan.builders import (
    ARM64,
    REGISTRY,
    index_of,
    job,
    published,
    repository,
)

HELLO = job("hello", ARM64)
WHERE: dict[str, Any] = {"job": HELLO, "host": "thunderx-1", "attempt": 1}
FAILURE = BuildFailed("thunderx-1", 2, ["gcc -c x.c", "x.c:1: error: no"])


PREPARED = (
    PrepareStarted(images=("hello", "b"), folder=Path("dockerfiles/hello"), command=("fetch", "a")),
    PrepareLine(images=("hello", "b"), line="10%\r100%"),
    PrepareFinished(images=("hello", "b"), seconds=4.2, ok=False),
)


RENTED = (
    ProvisionStarted(host="rock-1", what="up", command=("./rent", "a")),
    ProvisionLine(host="rock-1", what="up", line="creating it"),
    ProvisionFinished(host="rock-1", what="up", seconds=4.2, ok=True),
    ProvisionStarted(host="rock-1", what="down", command=("./end",)),
    ProvisionLine(host="rock-1", what="down", line="no route"),
    ProvisionFinished(host="rock-1", what="down", seconds=4.2, ok=False),
)


def started(job: JobId = HELLO, *, attempt: int = 1, host: str = "thunderx-1") -> JobStarted:
    return JobStarted(job=job, host=host, attempt=attempt)


def step(step: Step = Step.BUILD) -> StepStarted:
    return StepStarted(step=step, **WHERE)


def stepped(step: Step = Step.BUILD, *, detail: str = "", ok: bool = True) -> StepFinished:
    return StepFinished(step=step, seconds=4.2, ok=ok, detail=detail, **WHERE)


def line(text: str, job: JobId = HELLO, *, attempt: int = 1) -> LogLines:
    return LogLines(step=Step.BUILD, text=text, **{**WHERE, "job": job, "attempt": attempt})


def again(error: FleetError, wait: float = 3.0) -> RetryScheduled:
    return RetryScheduled(step=Step.PUSH, wait=wait, error=ErrorInfo.of(error), **WHERE)


def finished(status: Status = Status.BUILT, reason: str = "", **rest: Any) -> JobFinished:
    return JobFinished(outcome=outcome(status, reason, **rest))


def outcome(status: Status = Status.BUILT, reason: str = "", **rest: Any) -> Outcome:
    id = rest.pop("id", HELLO)
    told = Outcome(id=id, status=status, reason=reason, host="thunderx-1", attempts=1)
    return replace(told, **({"image": published(id)} if told.good else {}), **rest)


def failed(error: FleetError = FAILURE, *, id: JobId = HELLO) -> JobFinished:
    info = ErrorInfo.of(error)
    log = Path("/state/runs/r1/logs/hello-arm64v8.1.log")
    return finished(Status.FAILED, info.message, error=info, log=log, id=id)


def index(name: str = "hello", **rest: Any) -> IndexFinished:
    plan = IndexPlan(
        image=name, repository=repository(REGISTRY, name), tags=("latest",), members=(HELLO,)
    )
    told = {} if "error" in rest else {"published": (index_of(name, published(HELLO)),)}
    return IndexFinished(outcome=IndexOutcome(plan=plan, **told, **rest))


def run_started(*command: str, **request: Any) -> RunStarted:
    return RunStarted(
        run="r1",
        version="0.1.0",
        inventory=Path("inventory.yml"),
        command=command,
        folder=Path("/state/runs/r1"),
        request=request,
    )


def run_finished(exit_code: int = 0) -> RunFinished:
    return RunFinished(run="r1", exit_code=exit_code, seconds=125.0)
