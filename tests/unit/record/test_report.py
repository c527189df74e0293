"""The report of a run, in each of its forms."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fleet.app import Form, report
from fleet.events import (
    CopyDropped,
    Event,
    HostAway,
    HostBack,
    JobPlanned,
    JobStarted,
    RetryScheduled,
    StepFinished,
    StepStarted,
)
from fleet.models import Action, ErrorInfo, Status, Step
from fleet.record import JsonLines, RunFolder
from fleet.record.report.timeline import timeline
from fleet.record.story import Story
from tests.unit.plan.builders import AMD64, job
from tests.unit.record.builders import (
    HELLO,
    WHERE,
    failed,
    finished,
    index,
    run_finished,
    run_started,
)

PLUGINS = job("plugins", HELLO.platform)
OTHER = job("hello", AMD64)
NASTY = "</script><script>alert(1)</script> \x1b[31mred\x1b[0m \x07 &amp; <b>"
GONE = ErrorInfo(kind="ConnectionLost", message="the connection is <gone>", transient=True)


def on(job: object, host: str, attempt: int = 1) -> dict[str, object]:
    return {"job": job, "host": host, "attempt": attempt}


def the_run(folder: Path) -> tuple[Event, ...]:
    """Two hosts, three jobs: one built after a retry, one built, one that failed on its log."""
    begin = run_started("fleet", "build", "--build-arg", "A=<b>")
    here, there = on(OTHER, "amd64-1"), WHERE
    last = on(PLUGINS, "thunderx-1")
    return (
        type(begin)(**{**vars(begin), "at": 1000.0, "folder": folder}),
        JobPlanned(at=1001.0, job=OTHER, action=Action.BUILD, reason="forced", hosts=("amd64-1",)),
        JobPlanned(at=1001.0, job=HELLO, action=Action.BUILD, reason="forced", hosts=("pi-1",)),
        JobPlanned(
            at=1001.0, job=PLUGINS, action=Action.BUILD, reason="its parent is built anew",
            hosts=("thunderx-1",), parents=(HELLO,),
        ),
        JobStarted(at=1002.0, **here),
        StepStarted(at=1002.0, step=Step.BUILD, **here),
        JobStarted(at=1002.0, **there),
        StepStarted(at=1002.0, step=Step.BUILD, **there),
        HostAway(at=1010.0, host="thunderx-1", error=GONE, wait=300.0),
        HostBack(at=1020.0, host="thunderx-1", seconds=10.0),
        StepFinished(at=1030.0, step=Step.BUILD, seconds=28.0, ok=True, **here),
        StepFinished(at=1050.0, step=Step.BUILD, seconds=48.0, ok=True, **there),
        StepStarted(at=1050.0, step=Step.PUSH, **there),
        RetryScheduled(at=1052.0, step=Step.PUSH, wait=4.0, error=GONE, **there),
        StepFinished(at=1060.0, step=Step.PUSH, seconds=10.0, ok=True, **there),
        *(type(e)(**{**vars(e), "at": 1060.0}) for e in (
            finished(Status.BUILT, "done", id=OTHER), finished(Status.BUILT, "done"), index())),
        JobStarted(at=1061.0, **last),
        StepStarted(at=1061.0, step=Step.BUILD, **last),
        StepFinished(at=1100.0, step=Step.BUILD, seconds=39.0, ok=False, **last),
        *(type(e)(**{**vars(e), "at": 1100.0}) for e in (
            failed(id=PLUGINS), run_finished(1))),
    )  # fmt: skip


@pytest.fixture
def run(state: Path) -> RunFolder:
    folder = RunFolder.create("r1")
    with folder.events.open("w") as out:
        lines = JsonLines(out)
        for event in the_run(folder.path):
            lines.read(event)
    folder.log(PLUGINS, 1).write_text(f"=== build on thunderx-1\n{NASTY}\nx.c:1: error: no\n")
    return folder


def test_the_page_stands_alone_and_what_a_log_says_stays_text(run: RunFolder) -> None:
    page = Path(report("r1", Form.HTML)).read_text()
    assert page.casefold().startswith("<!doctype html>")
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="https?:', page)
    assert "<script>alert" not in page
    assert "alert(1)" in page
    assert "\x1b" not in page
    assert "the connection is &lt;gone&gt;" in page


def test_the_page_tells_jobs_hosts_the_index_and_what_failed(run: RunFolder) -> None:
    page = Path(report("latest", Form.HTML)).read_text()
    for words in ("plugins", "thunderx-1", "amd64-1", "x.c:1: error: no", "sha256:", "critical"):
        assert words in page


def test_the_page_is_bounded_however_much_was_printed(run: RunFolder) -> None:
    run.log(PLUGINS, 1).write_text("x" * 5_000_000 + "\nx.c:1: error: no\n" + "y\n" * 1_000_000)
    assert len(Path(report("r1", Form.HTML)).read_text()) < 500_000


def test_every_host_that_worked_has_a_lane(run: RunFolder) -> None:
    lanes = timeline(Story.of(run.events)).lanes
    assert [lane.name for lane in lanes] == ["controller", "amd64-1", "thunderx-1"]


def test_a_copy_that_was_given_up_says_why(run: RunFolder) -> None:
    copy = on(HELLO, "amd64-1", 2)
    with run.events.open("a") as out:
        lines = JsonLines(out)
        lines.read(JobStarted(at=1055.0, beside="thunderx-1", **copy))  # type: ignore[arg-type]
        lines.read(CopyDropped(at=1061.0, reason="the other one was faster", **copy))  # type: ignore[arg-type]
    page = Path(report("r1", Form.HTML)).read_text()
    assert "hello linux/arm64, attempt 2, given up: the other one was faster, 6.0 s" in page
    bars = timeline(Story.of(run.events)).bars[HELLO]
    assert [bar.status for bar in bars] == [Status.BUILT, None]


def test_the_critical_path_is_what_the_run_waited_for(run: RunFolder) -> None:
    path = timeline(Story.of(run.events)).path
    assert [str(link.bar.job) for link in path] == ["hello linux/arm64", "plugins linux/arm64"]


def test_junit_is_xml_with_a_case_for_every_job(run: RunFolder) -> None:
    tree = ElementTree.fromstring(report("r1", Form.JUNIT))
    cases = tree.findall(".//testcase")
    names = {(case.get("classname"), case.get("name")) for case in cases}
    assert len(names) == len(cases) >= 3
    failures = tree.findall(".//failure")
    assert len(failures) == 1
    assert "x.c:1: error: no" in (failures[0].text or "")


def test_the_summary_says_what_failed_and_what_stands(run: RunFolder) -> None:
    text = report("r1", Form.MARKDOWN)
    assert "plugins" in text
    assert "linux/arm64" in text
    assert "gcc" in text


def test_the_story_is_told_as_json(run: RunFolder) -> None:
    assert '"r1"' in report("r1", Form.JSON)
