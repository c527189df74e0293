"""One run at a time per inventory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet.errors import ExitCode, LockHeld
from fleet.run.lock import end_holder, run_lock

HOLDS = """
import sys
from pathlib import Path
from fleet.run.lock import end_holder, run_lock
with run_lock(Path(sys.argv[1]), Path(sys.argv[2]), run="the-first"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return tmp_path / "inventory.yml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "locks"


@contextmanager
def another_process(folder: Path, inventory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, folder, inventory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def refusal(folder: Path, inventory: Path) -> LockHeld:
    """What a second run is told."""
    with pytest.raises(LockHeld) as caught, run_lock(folder, inventory, run="the-second"):
        pass
    return caught.value


def holder_file(folder: Path) -> Path:
    (found,) = folder.glob("*.json")
    return found


def test_a_second_run_is_told_which_one_holds_the_lock(folder: Path, inventory: Path) -> None:
    with another_process(folder, inventory) as process:
        error = refusal(folder, inventory)
        assert f"run the-first, process {process.pid}, since " in error.message
        assert str(inventory) in error.message
        assert error.hint
        assert error.exit_code is ExitCode.LOCKED


def test_a_second_run_of_the_same_process_is_kept_out_too(folder: Path, inventory: Path) -> None:
    with run_lock(folder, inventory, run="the-first"):
        assert "run the-first" in refusal(folder, inventory).message
        # The refused one has not taken away what the holder has written.
        assert json.loads(holder_file(folder).read_text())["run"] == "the-first"


def test_other_ways_to_name_the_inventory_are_the_same_lock(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.yml").symlink_to(tmp_path / "inventory.yml")
    with run_lock(folder, tmp_path / "inventory.yml", run="the-first"):
        for name in ("sub/../inventory.yml", "link.yml"):
            assert refusal(folder, tmp_path / name)


def test_two_inventories_do_not_lock_each_other(folder: Path, tmp_path: Path) -> None:
    with (
        run_lock(folder, tmp_path / "a.yml", run="a") as first,
        run_lock(folder, tmp_path / "b.yml", run="b") as second,
    ):
        assert first is None
        assert second is None


def test_the_lock_is_free_after_the_run_however_it_ended(folder: Path, inventory: Path) -> None:
    with pytest.raises(KeyboardInterrupt), run_lock(folder, inventory, run="the-first"):
        raise KeyboardInterrupt
    with run_lock(folder, inventory, run="the-second"):
        pass
    assert not list(folder.glob("*.json"))


def test_the_lock_of_a_killed_process_is_no_obstacle(folder: Path, inventory: Path) -> None:
    with another_process(folder, inventory) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert json.loads(holder_file(folder).read_text())["run"] == "the-first"
        with run_lock(folder, inventory, run="the-second"):
            assert json.loads(holder_file(folder).read_text())["run"] == "the-second"


def test_a_run_can_wait_for_the_other_to_end(folder: Path, inventory: Path) -> None:
    with another_process(folder, inventory) as process:
        assert process.stdin is not None
        process.stdin.close()
        with run_lock(folder, inventory, run="the-second", wait=60.0):
            assert json.loads(holder_file(folder).read_text())["run"] == "the-second"


@pytest.mark.parametrize("left", ["", "{", "[]", '{"run": "x"}', '{"run": 1, "pid": "x"}'])
def test_a_damaged_holders_file_still_makes_a_sentence(
    folder: Path, inventory: Path, left: str
) -> None:
    with run_lock(folder, inventory, run="the-first"):
        holder_file(folder).write_text(left)
        assert "it has just begun" in refusal(folder, inventory).message


def test_what_a_dead_process_has_written_is_not_blamed(folder: Path, inventory: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    with run_lock(folder, inventory, run="the-first"):
        # As if the first had the lock and had not yet written its name over the older one's.
        holder_file(folder).write_text(json.dumps({"run": "old", "pid": dead.pid, "since": 0}))
        assert "it has just begun" in refusal(folder, inventory).message


def test_where_nothing_can_be_written_the_run_goes_on_with_a_warning(
    tmp_path: Path, inventory: Path
) -> None:
    (tmp_path / "state").write_text("a file, where the folder should be")
    with run_lock(tmp_path / "state" / "locks", inventory, run="the-first") as warning:
        assert warning is not None
        assert "cannot be written" in warning


# --- ending the run that holds it ---------------------------------------------------------


def test_a_run_that_goes_on_is_told_to_stop(folder: Path, inventory: Path) -> None:
    with another_process(folder, inventory) as process:
        assert end_holder(folder, inventory, run="the-first")
        assert process.wait(30) == -signal.SIGTERM


def test_another_run_than_the_named_one_is_left_alone(folder: Path, inventory: Path) -> None:
    with another_process(folder, inventory) as process:
        assert not end_holder(folder, inventory, run="another")
        assert process.poll() is None


def test_what_a_dead_run_has_left_signals_nobody(folder: Path, inventory: Path) -> None:
    folder.mkdir(parents=True)
    with run_lock(folder, inventory, run="mine"):
        pass
    (holder,) = {path.with_suffix(".json") for path in folder.glob("*.lock")}
    holder.write_text(json.dumps({"run": "mine", "pid": os.getpid(), "since": 0.0}))
    assert not end_holder(folder, inventory, run="mine")


def test_a_run_that_does_not_end_is_an_error(folder: Path, inventory: Path) -> None:
    deaf = HOLDS.replace("import sys\n", "import signal, sys\nsignal.signal(15, signal.SIG_IGN)\n")
    process = subprocess.Popen(
        [sys.executable, "-c", deaf, folder, inventory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(LockHeld, match="told to stop"):
            end_holder(folder, inventory, run="the-first", patience=0.1)
        process.kill()
