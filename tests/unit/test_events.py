"""Events are the record: every one of them has a name and becomes JSON, and no secret does."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet import events
from fleet.errors import BuildFailed
from fleet.events import (
    BuildOrdered,
    CopyDropped,
    Event,
    HostAway,
    HostBack,
    HostLost,
    HostProbed,
    IndexFinished,
    IndexStarted,
    JobEvent,
    JobFinished,
    JobPlanned,
    JobStarted,
    LogLines,
    Notice,
    PrepareFinished,
    PrepareLine,
    PrepareStarted,
    ProvisionFinished,
    ProvisionLine,
    ProvisionStarted,
    RetryScheduled,
    RunFailed,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    kind,
    to_json,
)
from fleet.models import (
    Action,
    Connection,
    Context,
    Credentials,
    ErrorInfo,
    HostReport,
    HostSpec,
    ImageSpec,
    IndexOutcome,
    IndexPlan,
    Job,
    JobId,
    Outcome,
    Plan,
    Recipe,
    Status,
    Step,
)
from fleet.platforms import Platform
from fleet.references import Reference

ARM32 = Platform.parse("arm/v7")
HELLO = JobId(image="hello", platform=ARM32)
ERROR = ErrorInfo.of(BuildFailed("pi-1", 2, ["the end"]))
INDEX = IndexPlan(
    image="hello", repository=Reference.parse("localhost:5000/hello"), tags=("1",), members=(HELLO,)
)
ON = {"job": HELLO, "host": "pi-1", "attempt": 1}
OUTCOME = Outcome(
    id=HELLO, status=Status.FAILED, reason="it broke", error=ERROR, log=Path("logs/hello.log")
)

ONE_OF_EACH: tuple[Event, ...] = (
    RunStarted(
        run="r1",
        version="0.1.0",
        inventory=Path("inventory.yml"),
        command=("fleet", "build"),
        folder=Path("runs/r1"),
    ),
    PrepareStarted(images=("hello",), folder=Path("hello"), command=("./fetch",)),
    PrepareLine(images=("hello",), line="a line"),
    PrepareFinished(images=("hello",), seconds=1.0, ok=True),
    ProvisionStarted(host="rock-1", what="up", command=("./rent",)),
    ProvisionLine(host="rock-1", what="up", line="a line"),
    ProvisionFinished(host="rock-1", what="up", seconds=1.0, ok=True),
    HostProbed(
        report=HostReport(spec=HostSpec(name="pi-1", platforms=(ARM32,)), error=ERROR),
    ),
    JobPlanned(job=HELLO, action=Action.BUILD, reason="forced", hosts=("pi-1",)),
    HostLost(host="pi-1", error=ERROR),
    HostAway(host="pi-1", error=ERROR, wait=300.0),
    HostBack(host="pi-1", seconds=12.5),
    BuildOrdered(key="sha256:00", **ON),  # type: ignore[arg-type]
    Notice(message="look"),
    RunFailed(error=ERROR),
    RunFinished(run="r1", exit_code=1, seconds=2.5),
    JobStarted(**ON),  # type: ignore[arg-type]
    CopyDropped(**ON, reason="the other one was faster"),  # type: ignore[arg-type]
    StepStarted(step=Step.BUILD, **ON),  # type: ignore[arg-type]
    StepFinished(step=Step.BUILD, seconds=1.0, ok=False, **ON),  # type: ignore[arg-type]
    LogLines(step=Step.BUILD, text="one\n[internal] \x1b[1mé\ufffd", **ON),  # type: ignore[arg-type]
    RetryScheduled(step=Step.PUSH, wait=0.5, error=ERROR, **ON),  # type: ignore[arg-type]
    JobFinished(outcome=OUTCOME),
    IndexStarted(plan=INDEX),
    IndexFinished(outcome=IndexOutcome(plan=INDEX, error=ERROR)),
)


def concrete() -> Iterator[type[Event]]:
    for value in vars(events).values():
        if inspect.isclass(value) and issubclass(value, Event) and value not in (Event, JobEvent):
            yield value


def test_these_tests_know_every_event() -> None:
    assert {type(event) for event in ONE_OF_EACH} == set(concrete())


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=kind)
def test_every_event_becomes_json_with_its_name_first_and_its_time(event: Event) -> None:
    record = json.loads(json.dumps(to_json(event)))
    assert next(iter(record)) == "event"
    assert record["event"] == kind(event)
    assert record["at"] == event.at


def test_names_are_in_kebab_case_and_no_two_are_the_same() -> None:
    assert kind(ONE_OF_EACH[0]) == "run-started"
    assert len({kind(event) for event in ONE_OF_EACH}) == len(ONE_OF_EACH)


def test_every_event_is_documented() -> None:
    assert all("__doc__" in vars(event) and event.__doc__ for event in concrete())


def test_an_event_is_dated_when_it_is_made() -> None:
    first, second = Notice(message="a"), Notice(message="b")
    assert 0 < first.at <= second.at


# --- what values become -------------------------------------------------------------------


def test_values_that_name_something_become_their_names() -> None:
    assert to_json(ARM32) == "linux/arm/v7"
    assert to_json(INDEX.repository) == "localhost:5000/hello"
    assert to_json(Path("a/b")) == "a/b"
    assert to_json(Step.SMOKE) == "smoke"
    assert to_json(Connection.LOCAL) == "local"
    assert to_json(HELLO) == {"image": "hello", "platform": "linux/arm/v7"}


def test_an_outcome_keeps_its_whole_story() -> None:
    record = to_json(JobFinished(at=7.0, outcome=OUTCOME))

    assert record["event"] == "job-finished"
    assert record["outcome"]["status"] == "failed"
    assert record["outcome"]["log"] == "logs/hello.log"
    assert record["outcome"]["error"] == {
        "kind": "BuildFailed",
        "message": "pi-1: the build ended with status 2",
        "hint": None,
        "transient": False,
        "tail": ["the end"],
    }


def test_mappings_tuples_and_plain_values_go_through() -> None:
    assert to_json({"a": (1, 2.5, None, True)}) == {"a": [1, 2.5, None, True]}
    assert to_json({ARM32: [Status.KEPT]}) == {"linux/arm/v7": ["kept"]}


def test_a_plan_names_its_recipes_and_does_not_pour_out_their_contexts() -> None:
    recipe = Recipe(
        image=ImageSpec(name="hello", context=Path("hello"), dockerfile=Path("Dockerfile")),
        dockerfile="FROM debian\n",
        context=Context(root=Path("hello"), files=(), digest="sha256:0"),
        bases=(),
    )
    job = Job(
        id=HELLO,
        recipe=recipe,
        action=Action.BUILD,
        reason="forced",
        hosts=("pi-1",),
        parents=(),
        pins=(("debian", "docker.io/library/debian@sha256:0"),),
    )
    record = to_json(Plan(jobs=(job,), indexes=(INDEX,)))

    assert record.keys() == {"jobs", "indexes", "warnings"}
    assert record["jobs"][0]["recipe"] == "hello"
    assert record["indexes"][0]["members"] == [{"image": "hello", "platform": "linux/arm/v7"}]


def test_what_is_secret_has_no_way_into_a_record() -> None:
    secret = Credentials(username="me", password="s3cret", identity_token="t0ken")
    assert to_json(secret) == {}
