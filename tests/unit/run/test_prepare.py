"""`prepare` commands run once, in their folder, and whatever goes wrong stops everything."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.errors import ExitCode, Interrupted, InventoryError, PrepareFailed
from fleet.events import Event, PrepareFinished, PrepareLine, PrepareStarted
from fleet.models import ImageSpec, Location, Preparation
from fleet.run.prepare import prepare

Image = Callable[..., ImageSpec]


@pytest.fixture
def image(tmp_path: Path) -> Image:
    def make(name: str, *command: str, folder: str = "context", line: int = 7) -> ImageSpec:
        context = tmp_path / folder
        context.mkdir(exist_ok=True)
        at = Location(file=Path("inventory.yml"), line=line, column=14)
        preparation = Preparation(command=command, folder=context, location=at)
        return ImageSpec(
            name=name,
            context=context,
            dockerfile=context / "Dockerfile",
            prepare=preparation if command else None,
        )

    return make


class Record(list[Event]):
    def __call__(self, event: Event, /) -> None:
        self.append(event)

    @property
    def lines(self) -> list[str]:
        return [event.line for event in self if isinstance(event, PrepareLine)]

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self if isinstance(event, kind)]


def shell(script: str) -> tuple[str, str, str]:
    return "sh", "-c", script


def test_a_command_runs_in_the_contexts_folder_and_its_output_is_told(
    image: Image, tmp_path: Path
) -> None:
    record = Record()
    prepare([image("a", *shell("pwd; echo said >&2; echo made > file"))], emit=record)
    assert (tmp_path / "context" / "file").read_text() == "made\n"
    assert record.lines == [str(tmp_path / "context"), "said"]
    assert [type(event) for event in record] == [
        PrepareStarted, PrepareLine, PrepareLine, PrepareFinished
    ]  # fmt: skip


def test_a_program_of_the_context_is_named_by_its_path_there(image: Image, tmp_path: Path) -> None:
    one = image("a", "tools/fetch", "it")
    (tmp_path / "context" / "tools").mkdir()
    script = tmp_path / "context" / "tools" / "fetch"
    script.write_text("#!/bin/sh\necho fetched $1\n")
    script.chmod(0o755)
    record = Record()
    prepare([one], emit=record)
    assert record.lines == ["fetched it"]


def test_the_same_command_in_the_same_folder_runs_once(image: Image, tmp_path: Path) -> None:
    count = shell("echo x >> ../count")
    record = Record()
    prepare(
        [
            image("a", *count),
            image("b", *count),
            image("none"),
            image("c", *count, folder="other"),
            image("d", *shell("echo x >> ../count; true")),
        ],
        emit=record,
    )
    assert (tmp_path / "count").read_text() == "x\n" * 3
    started = [e.images for e in record if isinstance(e, PrepareStarted)]
    assert started == [("a", "b"), ("c",), ("d",)]


def test_a_failure_is_told_with_its_place_and_last_lines_and_stops_what_follows(
    image: Image, tmp_path: Path
) -> None:
    script = "i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo line $i; done; exit 3"
    record = Record()
    with pytest.raises(PrepareFailed) as caught:
        prepare([image("a", *shell(script)), image("b", *shell("touch ran"))], emit=record)
    error = caught.value
    assert error.message.startswith("inventory.yml:7:14: prepare of a ended with status 3: sh -c ")
    assert error.message.endswith(f" in {tmp_path / 'context'}")
    assert error.tail == tuple(f"line {n}" for n in range(31, 51))
    assert "  | line 50\n" in str(error)
    assert error.exit_code is ExitCode.FAILED
    assert not (tmp_path / "context" / "ran").exists()
    assert [e.ok for e in record if isinstance(e, PrepareFinished)] == [False]


def test_a_command_that_a_signal_ended_is_told_so(image: Image) -> None:
    with pytest.raises(PrepareFailed, match="ended with signal SIGKILL"):
        prepare([image("a", *shell("kill -9 $$"))], emit=Record())


def test_every_program_that_is_not_there_is_told_before_any_runs(
    image: Image, tmp_path: Path
) -> None:
    images = [
        image("a", *shell("touch ran")),
        image("b", "no-such-program-anywhere", line=8),
        image("c", "./missing", line=9),
    ]
    with pytest.raises(InventoryError) as caught:
        prepare(images, emit=Record())
    assert str(caught.value).splitlines() == [
        "inventory.yml:8:14: prepare of b: there is no program 'no-such-program-anywhere' in PATH",
        "inventory.yml:9:14: prepare of c: there is no program './missing' at "
        f"{tmp_path / 'context' / 'missing'}",
    ]
    assert caught.value.exit_code is ExitCode.USAGE
    assert not (tmp_path / "context" / "ran").exists()


def test_a_file_that_is_no_program_is_told(image: Image, tmp_path: Path) -> None:
    one = image("a", "./fetch")
    (tmp_path / "context" / "fetch").write_text("#!/no/such/interpreter\n")
    (tmp_path / "context" / "fetch").chmod(0o755)
    with pytest.raises(
        InventoryError, match=r"^inventory.yml:7:14: prepare of a cannot be started"
    ):
        prepare([one], emit=Record())


def test_the_registrys_credentials_are_not_for_it(
    image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_REGISTRY_PASSWORD", "s3cret")
    monkeypatch.setenv("OTHER", "seen")
    record = Record()
    prepare([image("a", *shell("echo $FLEET_REGISTRY_PASSWORD; echo $OTHER"))], emit=record)
    assert record.lines == ["", "seen"]


def test_bytes_that_are_no_text_and_a_last_line_without_an_end_are_lines(image: Image) -> None:
    record = Record()
    prepare([image("a", "printf", r"\377one\r\ntwo")], emit=record)
    assert record.lines == ["\ufffdone", "two"]


def test_nothing_that_it_leaves_running_holds_the_run(image: Image) -> None:
    record = Record()
    left = shell("echo before; sleep 60 & echo $!")
    prepare([image("a", *left)], emit=record)
    os.kill(int(record.lines[-1]), signal.SIGKILL)


def ends(pid: int) -> bool:
    """Whether a process ends by a deadline; one that nobody has waited for yet has, too."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


# A child of its own, and both deaf to being asked.
STUBBORN = shell("trap '' TERM; sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & wait")


def test_one_that_does_not_end_is_ended_with_all_that_it_started(
    image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.run.local._GRACE", 0.1)
    record = Record()
    with pytest.raises(PrepareFailed, match="did not end within 3 s"):
        prepare([image("a", *STUBBORN)], emit=record, limit=3.0)
    assert ends(int(record.lines[0]))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it_with_all_that_it_started(
    image: Image, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr("fleet.run.local._GRACE", 0.1)
    record = Record()

    def emit(event: Event, /) -> None:
        record(event)
        if isinstance(event, PrepareLine):
            signal.pthread_kill(threading.main_thread().ident or 0, number)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught:
        prepare([image("a", *STUBBORN), image("b", *shell("touch ran"))], emit=emit)
    assert caught.value.exit_code is ExitCode.INTERRUPTED
    assert ends(int(record.lines[0]))
    assert signal.getsignal(number) is before
    assert record.of(PrepareStarted) == record[:1]
