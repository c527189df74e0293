"""A rented host is given back, whatever happens, and what is up is never forgotten."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from fleet.errors import (
    EngineMissing,
    ExitCode,
    FleetError,
    HostKeyChanged,
    HostNotRented,
    HostUnreachable,
    Interrupted,
    UsageError,
)
from fleet.events import Event, HostProbed, Notice, ProvisionFinished, ProvisionLine
from fleet.models import HostReport, HostSpec, Provision
from fleet.platforms import Platform
from fleet.run.leases import Leases, every_lease
from fleet.run.local import LocalCommand
from fleet.run.machine import Machine
from fleet.run.renting import Rental
from fleet.run.retry import Policy
from tests.unit.plan.builders import AMD64, ARM64
from tests.unit.plan.builders import host as probed

TOLD = '{"address": "root@10.0.0.7", "id": "i-7"}'
UP = f"echo up $FLEET_HOST >> log; echo '{TOLD}'"
DOWN = "echo down $FLEET_HOST $(cat) >> log"


class Desk:
    """Rents one host by commands of a shell, in a folder of its own."""

    def __init__(self, folder: Path, up: str, down: str, *, timeout: float = 30.0) -> None:
        self.folder = folder
        self.events: list[Event] = []
        self.leases = Leases(folder / "rented" / "fleet")
        self.spec = HostSpec(
            name="rock-1",
            platforms=(ARM64,),
            provision=Provision(
                up=("sh", "-c", up), down=("sh", "-c", down), folder=folder, timeout=timeout
            ),
        )
        self.answers: list[FleetError | Platform] = []  # to whoever connects; then it is ready
        self.seen: list[str] = []
        self.closed = threading.Event()
        self.rental = self.another()

    def another(self, *hosts: HostSpec) -> Rental:
        """What another run, with the same state folder, rents with."""
        return Rental(
            hosts or (self.spec,),
            leases=self.leases,
            arrive=self.arrive,
            emit=self.events.append,
            run="r-1",
            pause=0.01,
            giving_back=Policy(attempts=3, first_wait=0.0, longest_wait=0.0),
        )

    def arrive(self, spec: HostSpec, told: str) -> Machine:
        self.seen.append(told.strip())
        answer = self.answers.pop(0) if self.answers else ARM64
        if isinstance(answer, FleetError):
            raise answer
        facts = probed(spec.name, answer).facts
        return Machine(
            report=HostReport(spec=spec, facts=facts),
            host=SimpleNamespace(close=self.closed.set),  # type: ignore[arg-type]
            engine=SimpleNamespace(),  # type: ignore[arg-type]
            tunnelled={},
        )

    @property
    def log(self) -> list[str]:
        """What the commands have noted."""
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def notices(self) -> str:
        return "\n".join(event.message for event in self.events if isinstance(event, Notice))


Make = Callable[..., Desk]


@pytest.fixture
def desk(tmp_path: Path) -> Make:
    def make(up: str = UP, down: str = DOWN, *, timeout: float = 30.0) -> Desk:
        return Desk(tmp_path, up, down, timeout=timeout)

    return make


def test_a_host_is_rented_probed_and_given_back_with_what_up_printed(desk: Make) -> None:
    it = desk(f"echo hello >&2; {UP}")
    machine = it.rental.rent("rock-1")
    assert machine.report.spec.name == "rock-1"
    assert it.seen == [TOLD]
    (lease,) = it.leases.all()
    assert (lease.host, lease.run, lease.told.strip()) == ("rock-1", "r-1", TOLD)
    it.rental.end()
    assert it.log == ["up rock-1", f"down rock-1 {TOLD}"]
    assert it.leases.all() == ()
    assert it.closed.is_set()
    assert [e.line for e in it.events if isinstance(e, ProvisionLine)] == ["hello"]
    assert [(e.what, e.ok) for e in it.events if isinstance(e, ProvisionFinished)] == [
        ("up", True),
        ("down", True),
    ]
    assert len([e for e in it.events if isinstance(e, HostProbed)]) == 1


@pytest.mark.parametrize(
    ("printed", "given"),
    [
        (f"creating it\n{TOLD}\n", TOLD),
        ('{\n  "address": "h"\n}\n', '{"address": "h"}'),
        ("no object\n", "{}"),
        ("", "{}"),
    ],
)
def test_down_is_given_the_object_alone(
    desk: Make, tmp_path: Path, printed: str, given: str
) -> None:
    (tmp_path / "printed").write_text(printed)
    it = desk("cat printed")
    it.rental.rent("rock-1")
    it.rental.end()
    assert it.log == [f"down rock-1 {given}"]


def test_what_up_prints_is_private_and_in_no_event(desk: Make, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('{"address": "a", "token": "hunter2"}')
    it = desk("cat secret")
    it.rental.rent("rock-1")
    assert "hunter2" not in str(it.events)
    (folder,) = (tmp_path / "rented").iterdir()
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_giving_back_happens_once_however_often_it_is_asked_for(desk: Make) -> None:
    it = desk()
    it.rental.rent("rock-1")
    asked = [threading.Thread(target=it.rental.release, args=("rock-1",)) for _ in range(4)]
    for thread in asked:
        thread.start()
    it.rental.end()
    for thread in asked:
        thread.join()
    assert it.log == ["up rock-1", f"down rock-1 {TOLD}"]


def test_an_up_that_fails_is_told_with_its_last_lines_and_down_runs(desk: Make) -> None:
    it = desk("echo up >> log; echo quota exceeded >&2; exit 3")
    with pytest.raises(HostNotRented, match="rock-1: `up` ended with status 3") as caught:
        it.rental.rent("rock-1")
    assert caught.value.tail == ("quota exceeded",)
    assert caught.value.exit_code is ExitCode.UNREACHABLE
    assert it.log == ["up", "down rock-1 {}"]
    it.rental.end()
    assert len(it.log) == 2


def test_an_up_that_does_not_end_in_time_is_ended(
    desk: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.run.renting._GRACE", 0.2)
    it = desk("trap '' TERM; while :; do sleep 0.1; done", timeout=1.0)
    with pytest.raises(HostNotRented, match="did not end within 1 s"):
        it.rental.rent("rock-1")
    assert it.log == ["down rock-1 {}"]


def test_a_program_that_is_not_there_is_said(desk: Make) -> None:
    it = desk()
    it.spec = replace(
        it.spec,
        provision=replace(it.spec.provision, up=("./nowhere",)),  # type: ignore[type-var]
    )
    with pytest.raises(HostNotRented, match="cannot be started"):
        it.another().rent("rock-1")


def test_a_host_is_waited_for_until_it_is_ready(desk: Make) -> None:
    it = desk()
    it.answers = [
        HostUnreachable("rock-1", "refused"),
        HostUnreachable("rock-1", "refused"),
        EngineMissing("rock-1", "there is no docker command"),  # it is being installed
    ]
    assert it.rental.rent("rock-1")
    assert len(it.seen) == 4
    assert it.notices.count("not ready yet") == 2  # once for each reason


def test_a_host_that_never_is_ready_is_given_back(desk: Make) -> None:
    it = desk(timeout=2.0)
    it.answers = [HostUnreachable("rock-1", "refused")] * 10_000
    with pytest.raises(HostNotRented, match="not ready within 2 s of `up`: refused"):
        it.rental.rent("rock-1")
    assert it.log == ["up rock-1", f"down rock-1 {TOLD}"]


@pytest.mark.parametrize(
    "error", [HostKeyChanged("rock-1", "another key"), UsageError("`up` printed nothing")]
)
def test_what_no_waiting_changes_is_not_waited_for(desk: Make, error: FleetError) -> None:
    it = desk()
    it.answers = [error]
    with pytest.raises(HostNotRented):
        it.rental.rent("rock-1")
    assert len(it.seen) == 1
    assert it.log == ["up rock-1", f"down rock-1 {TOLD}"]


def test_a_host_of_another_platform_is_refused_and_given_back(desk: Make) -> None:
    it = desk()
    it.answers = [AMD64]
    with pytest.raises(HostNotRented, match="not what the inventory says: linux/arm64: "):
        it.rental.rent("rock-1")
    assert it.log[-1] == f"down rock-1 {TOLD}"


def test_the_end_interrupts_an_up_and_gives_back_what_it_may_have_rented(desk: Make) -> None:
    it = desk("echo up >> log; touch begun; while :; do sleep 0.1; done")
    failed: list[FleetError] = []

    def rent() -> None:
        try:
            it.rental.rent("rock-1")
        except FleetError as error:
            failed.append(error)

    thread = threading.Thread(target=rent)
    thread.start()
    deadline = time.monotonic() + 30
    while not (it.folder / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    it.rental.end()
    thread.join()
    assert [type(error) for error in failed] == [Interrupted]
    assert it.log == ["up", "down rock-1 {}"]
    with pytest.raises(Interrupted):  # and nothing is rented any more
        it.rental.rent("rock-1")
    assert len(it.log) == 2


def test_a_down_that_fails_is_tried_again_and_then_remembered(desk: Make) -> None:
    it = desk(down="echo down >> log; echo no route >&2; test -e mended")
    it.rental.rent("rock-1")
    it.rental.end()
    assert it.log == ["up rock-1", "down", "down", "down"]
    assert it.rental.kept == {"rock-1"}
    assert "`down` ended with status 1" in it.notices
    assert "| no route" in it.notices
    assert "fleet hosts down rock-1" in it.notices
    it.rental.end()  # it was tried, and told of
    assert len(it.log) == 4
    assert [lease.host for lease in every_lease(it.folder / "rented")] == ["rock-1"]
    (it.folder / "mended").touch()
    later = it.another()
    assert later.release("rock-1")
    assert later.kept == set()
    assert it.leases.all() == ()


# --- what a killed run has left -----------------------------------------------------------


def test_a_host_that_is_still_up_is_used_again_and_given_back(desk: Make) -> None:
    it = desk()
    it.rental.rent("rock-1")  # and then its process was killed
    later = it.another()
    later.rent("rock-1")
    assert it.log == ["up rock-1"]
    assert "still up from the run r-1" in it.notices
    later.end()
    assert it.log == ["up rock-1", f"down rock-1 {TOLD}"]


def test_a_host_that_nobody_needs_any_more_is_given_back_at_the_end(desk: Make) -> None:
    it = desk()
    it.rental.rent("rock-1")
    it.another().end()
    assert it.log == ["up rock-1", f"down rock-1 {TOLD}"]


def test_one_that_is_of_no_use_is_given_back_and_rented_anew(
    desk: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = desk()
    it.rental.rent("rock-1")
    monkeypatch.setattr("fleet.run.renting._AGAIN", 0.0)
    it.answers = [HostUnreachable("rock-1", "it is gone"), HostUnreachable("rock-1", "not yet")]
    it.another().rent("rock-1")
    assert it.log == ["up rock-1", f"down rock-1 {TOLD}", "up rock-1"]


def test_a_run_that_was_killed_within_up_leaves_what_is_known(desk: Make) -> None:
    it = desk()
    it.leases.begin(it.spec, "r-0").close()
    (lease,) = it.leases.all()
    assert (lease.run, lease.told) == ("r-0", "")
    it.answers = [UsageError("`up` printed nothing")]
    it.another().rent("rock-1")
    assert it.log == ["down rock-1 {}", "up rock-1"]


def test_a_host_that_the_inventory_has_no_more_is_given_back_as_it_was_to_be(desk: Make) -> None:
    it = desk()
    it.rental.rent("rock-1")
    it.another(HostSpec(name="other")).end()
    assert it.log[-1] == f"down rock-1 {TOLD}"


def test_a_down_that_was_mended_in_the_inventory_is_the_one_that_runs(desk: Make) -> None:
    it = desk(down="exit 1")
    it.rental.rent("rock-1")
    mended = Provision(up=("false",), down=("sh", "-c", DOWN), folder=it.folder)
    it.another(replace(it.spec, provision=mended)).end()
    assert it.leases.all() == ()


def test_a_damaged_lease_is_a_host_that_is_up_all_the_same(desk: Make) -> None:
    it = desk()
    it.rental.rent("rock-1")
    (file,) = it.leases._folder.glob("*.json")
    file.write_text('{"run": ')
    (lease,) = it.leases.all()
    assert (lease.host, lease.provision.down) == ("rock-1", ())
    it.another(HostSpec(name="other")).end()
    assert "nothing is known any more of how it is given back" in it.notices
    it.another().end()  # the inventory knows
    assert it.leases.all() == ()


def test_what_cannot_be_written_down_is_not_rented(desk: Make, tmp_path: Path) -> None:
    it = desk()
    (tmp_path / "rented").write_text("a file, and no folder")
    with pytest.raises(HostNotRented, match="it is not rented, as that cannot be written down"):
        it.rental.rent("rock-1")
    assert it.log == []


def test_a_local_command_has_no_credentials_of_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_REGISTRY_PASSWORD", "hunter2")
    lines: list[str] = []
    LocalCommand(["env"], folder=tmp_path, extra={"FLEET_HOST": "x"}).follow(30.0, lines.append)
    assert "FLEET_HOST=x" in lines
    assert not any("hunter2" in line for line in lines)
