"""What a run leaves behind: its folder, the events, a log per job and attempt."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import ConnectionLost
from fleet.events import CopyDropped, JobStarted, Notice, to_json
from fleet.models import Status, Step
from fleet.record import JsonLines, LogFiles, RunFolder, state_home
from tests.unit.plan.builders import AMD64, ARM32, job

from .builders import (
    HELLO,
    PREPARED,
    RENTED,
    WHERE,
    again,
    failed,
    finished,
    index,
    line,
    run_finished,
    run_started,
    started,
    step,
    stepped,
)

# --- the folder ---------------------------------------------------------------------------


def test_a_run_has_a_folder_of_its_own_with_room_for_logs(state: Path) -> None:
    folder = RunFolder.create(RunFolder.new_name())
    assert folder.path == state / "fleet" / "runs" / folder.run
    assert folder.warning is None
    assert folder.events == folder.path / "events.jsonl"
    assert folder.log(HELLO, 2).parent.is_dir()


def test_two_runs_in_one_second_have_two_folders(state: Path) -> None:
    first, second = RunFolder.new_name(), RunFolder.new_name()
    assert RunFolder.create(first).path != RunFolder.create(second).path


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_a_state_home_that_is_not_absolute_is_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", value)
    assert state_home() == tmp_path / ".local" / "state" / "fleet"


def test_where_the_state_folder_cannot_be_written_the_run_is_recorded_elsewhere(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    state.write_text("a file, where the folder should be")
    folder = RunFolder.create(RunFolder.new_name())
    assert folder.warning is not None
    assert str(state) in folder.warning
    assert str(folder.path) in folder.warning
    folder.events.write_text("")
    folder.log(HELLO, 1).write_text("")


# --- the events ---------------------------------------------------------------------------


def test_each_event_is_one_line_that_says_what_it_is() -> None:
    out = io.StringIO()
    events = [run_started("fleet"), started(), stepped(), failed(), index(), run_finished(1)]
    reader = JsonLines(out)
    for event in events:
        reader.read(event)
    reader.close()
    told = [json.loads(text) for text in out.getvalue().splitlines()]
    assert told == [to_json(event) for event in events]
    assert [t["event"] for t in told] == [
        "run-started",
        "job-started",
        "step-finished",
        "job-finished",
        "index-finished",
        "run-finished",
    ]


@given(st.text())
def test_no_text_breaks_a_line(text: str) -> None:
    out = io.StringIO()
    JsonLines(out, logs=True).read(line(text))
    assert out.getvalue().isascii()
    assert out.getvalue().count("\n") == 1
    assert json.loads(out.getvalue())["text"] == text


def test_the_lines_of_builds_are_left_to_the_log_files_unless_asked_for() -> None:
    out = io.StringIO()
    JsonLines(out).read(line("a line"))
    assert out.getvalue() == ""
    JsonLines(out, logs=True).read(line("a line"))
    assert json.loads(out.getvalue())["text"] == "a line"


def test_each_event_is_there_before_the_next_so_that_a_killed_run_leaves_whole_lines(
    tmp_path: Path,
) -> None:
    path = tmp_path / "events.jsonl"
    with path.open("w") as file:
        JsonLines(file).read(Notice(message="one"))
        assert json.loads(path.read_text())["message"] == "one"


# --- the logs -----------------------------------------------------------------------------


@pytest.fixture
def folder(state: Path) -> RunFolder:
    return RunFolder.create(RunFolder.new_name())


def logs(folder: RunFolder) -> dict[str, str]:
    """The log files by name."""
    return {path.name: path.read_text() for path in sorted((folder.path / "logs").iterdir())}


def test_a_job_has_one_file_per_attempt(folder: RunFolder) -> None:
    reader = LogFiles(folder)
    for event in (
        started(),
        step(Step.BUILD),
        line("one"),
        started(attempt=2, host="thunderx-2"),
        line("two", attempt=2),
        stepped(),
        finished(attempts=2),
    ):
        reader.read(event)
    assert logs(folder) == {
        "hello-arm64v8.1.log": "=== build on thunderx-1\none\n",
        "hello-arm64v8.2.log": "two\n=== built\n",
    }


def test_two_copies_of_a_job_have_a_file_each(folder: RunFolder) -> None:
    reader = LogFiles(folder)
    slow = {**WHERE, "reason": "the other one was faster"}
    for event in (
        started(),
        line("slow"),
        JobStarted(job=HELLO, host="thunderx-2", attempt=2, beside="thunderx-1"),
        line("fast", attempt=2),
        line("slower"),
        finished(attempts=2, host="thunderx-2"),
        CopyDropped(**slow),
        line("late"),
    ):
        reader.read(event)
    assert logs(folder) == {
        "hello-arm64v8.1.log": "slow\nslower\n=== given up: the other one was faster\n",
        "hello-arm64v8.2.log": "fast\n=== built\n",
    }


def test_jobs_that_run_at_the_same_time_do_not_mix(folder: RunFolder) -> None:
    reader = LogFiles(folder)
    one, other = job("team/hello", ARM32), job("hello", AMD64)
    for event in (started(one), started(other), line("1", one), line("2", other), line("3", one)):
        reader.read(event)
    reader.close()
    assert logs(folder) == {"hello-amd64.1.log": "2\n", "team..hello-arm32v7.1.log": "1\n3\n"}


def test_a_line_is_in_the_file_as_soon_as_it_came(folder: RunFolder) -> None:
    reader = LogFiles(folder)
    reader.read(started())
    reader.read(line("where it hangs"))
    assert logs(folder) == {"hello-arm64v8.1.log": "where it hangs\n"}


def test_lines_that_came_together_are_written_together(folder: RunFolder) -> None:
    reader = LogFiles(folder)
    reader.read(started())
    many = "\n".join(f"#5 0.{number:05} cc -c x.c" for number in range(50_000))
    for text in (many, "", "a\n\nb", "grüße, 漢字 \ufffd"):
        reader.read(line(text))
        assert logs(folder)["hello-arm64v8.1.log"].endswith(f"{text}\n")
    assert logs(folder) == {"hello-arm64v8.1.log": f"{many}\n\na\n\nb\ngrüße, 漢字 \ufffd\n"}


def test_what_no_file_can_hold_is_replaced(folder: RunFolder) -> None:
    reader = LogFiles(folder)
    reader.read(started())
    reader.read(line("half a character: \ud800"))  # as JSON from an engine may bring it
    assert logs(folder) == {"hello-arm64v8.1.log": "half a character: ?\n"}


def test_a_log_says_what_was_tried_again_and_how_it_ended(folder: RunFolder) -> None:
    reader = LogFiles(folder)
    for event in (started(), again(ConnectionLost("thunderx-1", "it is gone")), failed()):
        reader.read(event)
    assert logs(folder)["hello-arm64v8.1.log"].splitlines() == [
        "=== push again in 3.0 s: thunderx-1: it is gone",
        "=== failed: thunderx-1: the build ended with status 2",
    ]


def test_a_job_that_never_started_has_no_log(folder: RunFolder) -> None:
    reader = LogFiles(folder)
    reader.read(finished(Status.SKIPPED, "its parent failed"))
    reader.close()
    assert logs(folder) == {}


@given(st.text(st.characters(exclude_characters="\r\n")))
def test_any_text_can_be_logged(text: str) -> None:
    with tempfile.TemporaryDirectory() as path:
        (Path(path) / "logs").mkdir()
        folder = RunFolder(run="r", path=Path(path))
        reader = LogFiles(folder)
        reader.read(started())
        reader.read(line(text))
        reader.close()
        written = folder.log(HELLO, 1).read_bytes()
    assert written == text.encode(errors="replace") + b"\n"


def test_a_rented_host_has_a_log_of_what_its_commands_said(state: Path) -> None:
    folder = RunFolder.create(RunFolder.new_name())
    logs, out = LogFiles(folder), io.StringIO()
    for event in RENTED:
        logs.read(event)
        JsonLines(out).read(event)
    said = b"=== up\ncreating it\n=== down\nno route\n"
    assert folder.provision_log("rock-1").read_bytes() == said
    assert "no route" not in out.getvalue()


def test_a_prepare_command_has_a_log_of_its_own_and_its_lines_are_not_in_the_record(
    state: Path,
) -> None:
    folder = RunFolder.create(RunFolder.new_name())
    logs, out = LogFiles(folder), io.StringIO()
    for event in PREPARED:
        logs.read(event)
        JsonLines(out).read(event)
    assert folder.prepare_log("hello").read_bytes() == b"10%\r100%\n"
    kinds = [json.loads(line)["event"] for line in out.getvalue().splitlines()]
    assert kinds == ["prepare-started", "prepare-finished"]
