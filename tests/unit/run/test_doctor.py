"""What the doctor says of a controller, of the way to a host, and of what a host tells."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from filelock import FileLock

from fleet.errors import (
    AuthenticationFailed,
    BuilderMissing,
    CommandTimedOut,
    ConnectionLost,
    EngineMissing,
    EnginePermission,
    FleetError,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    NameUnknown,
)
from fleet.hosts.protocol import Completed, Stream
from fleet.hosts.vitals import Room, Vitals, large_ones_vanish, vitals
from fleet.models import HostReport, HostSpec, Lease, Provision
from fleet.run.doctor import (
    Finding,
    examine_controller,
    examine_hosts,
    examine_leases,
    examine_provision,
    settle,
)
from fleet.run.doctor.controller import unmet
from fleet.run.doctor.hosts import able, engine_fault, large_packets, machine, way
from tests.unit.plan.builders import AMD64, ARM32, host

WELL = Vitals(
    rooms=(Room(folder="/", free=10**11, inodes=10**6, inodes_free=10**6),),
    memory_available=10**9,
    clock_skew=0.1,
    handlers=(),
)


class Scripted:
    """A host that answers each command by what a function makes of it."""

    def __init__(self, answer: object, spec: HostSpec | None = None) -> None:
        self._answer = answer
        self.spec = spec or HostSpec(name="pi-1")
        self.name = self.spec.name
        self.asked: list[tuple[str, ...]] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        self.asked.append(tuple(argv))
        found = self._answer(argv, stdin) if callable(self._answer) else self._answer
        if isinstance(found, FleetError):
            raise found
        text = found if isinstance(found, str) else ""
        return Completed(argv=tuple(argv), status=0, stdout=text.encode(), stderr=b"")

    def open(self, argv: Sequence[str]) -> Stream:
        raise NotImplementedError

    def carry(self, address: tuple[str, int]) -> int:
        raise NotImplementedError

    def close(self) -> None:
        pass


def faults(findings: object) -> dict[str, Finding]:
    assert isinstance(findings, Sequence) or hasattr(findings, "__iter__")
    return {f.check.name: f for f in findings if not f.check.ok}


# --- the controller -------------------------------------------------------------------------


def test_a_package_that_is_absent_or_too_old_is_named() -> None:
    there = {"httpx": "0.26.1", "docker": "7.1.0"}

    def version(name: str) -> str:
        if name not in there:
            raise metadata.PackageNotFoundError(name)
        return there[name]

    requires = ["httpx>=0.27", "docker>=7.1", "rich>=13.7", 'mypy>=1.10; extra == "dev"']
    assert list(unmet(requires, version)) == [
        "httpx is 0.26.1, and 0.27 is needed",
        "rich is not there",
    ]


def test_a_state_folder_that_the_first_run_makes_is_no_fault(tmp_path: Path) -> None:
    state = tmp_path / "state" / "fleet"
    (finding,) = [f for f in examine_controller(state) if f.check.name == "state"]
    assert finding.check.ok
    assert not state.exists()


def test_a_state_folder_that_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    (finding,) = [
        f for f in examine_controller(tmp_path / "state" / "fleet") if f.check.name == "state"
    ]
    assert not finding.check.ok
    assert "lets nobody make it" in finding.check.detail


def test_what_a_dead_run_has_written_is_removed_and_what_a_live_one_has_is_not(
    tmp_path: Path,
) -> None:
    locks = tmp_path / "locks"
    locks.mkdir()
    for name in ("dead", "live"):
        (locks / f"{name}.json").write_text(json.dumps({"run": name, "pid": 1, "since": 0}))
    with FileLock(locks / "live.lock"):
        (finding,) = [f for f in examine_controller(tmp_path) if f.check.name == "locks"]
        assert settle(finding, fix=True).detail.endswith("mended: 1 removed")
    assert {file.name for file in locks.glob("*.json")} == {"live.json"}


# --- the way to a host ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "station", "passed"),
    [
        (NameUnknown("pi-1", "no such name", hint="mend"), "dns", None),
        (HostUnreachable("pi-1", "no route", hint="mend"), "route", "dns"),
        (HostKeyUnknown("pi-1", "unknown", hint="mend"), "host key", "dns, route"),
        (HostKeyChanged("pi-1", "changed", hint="mend"), "host key", "dns, route"),
        (AuthenticationFailed("pi-1", "refused", hint="mend"), "log-in", "dns, route, host key"),
    ],
)
def test_the_way_ends_at_the_station_that_fails(
    error: FleetError, station: str, passed: str | None
) -> None:
    checks = [finding.check for finding in way(Scripted(""), error)]
    assert (checks[-1].name, checks[-1].ok, checks[-1].remedy) == (station, False, "mend")
    assert [check.detail for check in checks[:-1]] == ([f"as far as {passed}"] if passed else [])


def test_a_dead_host_is_told_of_beside_the_others() -> None:
    dead = Scripted(HostUnreachable("dead", "no route"), HostSpec(name="dead"))
    also = Scripted(HostKeyUnknown("new", "unknown"), HostSpec(name="new"))
    found = examine_hosts(
        [dead, also],
        [],
        ready=lambda report, host: pytest.fail("nothing was probed"),
        repository=None,
        credentials=None,
    )
    assert [(f.check.subject, f.check.name) for f in found if not f.check.ok] == [
        ("dead", "route"),
        ("new", "host key"),
    ]


@pytest.mark.parametrize(
    "error", [CommandTimedOut("pi-1", "no end"), ConnectionLost("pi-1", "silence")]
)
@pytest.mark.parametrize(("large", "way_"), [("wc", "to it"), ("head", "from it")])
def test_small_packets_pass_and_large_ones_vanish(error: FleetError, large: str, way_: str) -> None:
    scripted = Scripted(lambda argv, stdin: error if argv[0] == large else "")
    assert large_ones_vanish(scripted) == way_
    assert scripted.asked[-1] == ("true",)
    finding = large_packets("pi-1", way_)
    assert not finding.check.ok
    assert "mtu" in (finding.check.remedy or "")


def test_a_host_that_answers_nothing_at_all_has_no_mtu_trouble() -> None:
    gone = ConnectionLost("pi-1", "silence")
    with pytest.raises(ConnectionLost):
        large_ones_vanish(Scripted(gone))


def test_a_payload_is_larger_than_any_packet() -> None:
    sent: list[int] = []
    large_ones_vanish(Scripted(lambda argv, stdin: sent.append(len(stdin)) or ""))
    assert sent[0] == 65536


# --- what a host tells ----------------------------------------------------------------------


def test_vitals_are_read_from_the_answer() -> None:
    answer = (
        "bytes 2048 /var/lib/docker\ninodes 1000/900 /var/lib/docker\n"
        "bytes 4 /home/pi\ninodes -/- /home/pi\nmemory 512 -\nhandler qemu-arm -\n"
    )
    seen = vitals(Scripted(lambda argv, stdin: "1.5" if argv[0] == "date" else answer))
    assert seen.rooms == (
        Room(folder="/var/lib/docker", free=2048 * 1024, inodes=1000, inodes_free=900),
        Room(folder="/home/pi", free=4096, inodes=0, inodes_free=0),
    )
    assert seen.memory_available == 512 * 1024
    assert seen.handlers == ("qemu-arm",)


def test_a_machine_that_is_well_has_no_fault() -> None:
    assert faults(machine(Scripted(""), WELL)) == {}


def test_each_shortage_is_a_fault_of_its_own() -> None:
    short = Vitals(
        rooms=(
            Room(folder="/var/lib/docker", free=10**6, inodes=10**6, inodes_free=10),
            Room(folder="/home/pi", free=10**11, inodes=0, inodes_free=0),
        ),
        memory_available=10**9,
        clock_skew=7200.0,
        handlers=("qemu-arm",),
    )
    spec = HostSpec(name="pi-1", slots=8)
    assert set(faults(machine(Scripted("", spec), short))) == {"disk", "inodes", "memory", "clock"}


def test_a_file_system_without_inodes_to_count_lacks_none() -> None:
    room = Room(folder="/", free=10**11, inodes=0, inodes_free=0)
    assert faults(machine(Scripted(""), replace(WELL, rooms=(room,)))) == {}


@pytest.mark.parametrize(
    ("error", "check", "remedy"),
    [
        (EngineMissing("pi-1", "no docker", hint="apt"), "engine", "fleet bootstrap pi-1"),
        (BuilderMissing("pi-1", "no buildx", hint="apt"), "buildkit", "apt"),
        (EnginePermission("pi-1", "not allowed", hint="usermod"), "permission", "usermod"),
    ],
)
def test_an_engine_fails_at_the_check_that_it_fails(
    error: EngineMissing | BuilderMissing | EnginePermission, check: str, remedy: str
) -> None:
    (finding,) = engine_fault("pi-1", error)
    assert (finding.check.name, finding.check.ok) == (check, False)
    assert remedy in (finding.check.remedy or "")


def proven(report: HostReport) -> dict[str, Finding]:
    assert report.facts is not None
    return faults(able(report, report.facts))


def test_a_healthy_engine_has_no_fault() -> None:
    assert proven(host("amd64-1", AMD64)) == {}


def test_a_limit_that_the_host_cannot_meet_is_a_fault() -> None:
    (fault,) = proven(host("thunderx-1", AMD64, limit=[ARM32])).values()
    assert fault.check.name == "platforms"
    assert "linux/arm/v7" in fault.check.detail


def test_commands_of_a_rented_host_that_are_not_there_are_a_fault(tmp_path: Path) -> None:
    provision = Provision(up=("./rent",), down=("no-such-program",), folder=tmp_path)
    (finding,) = examine_provision("rock-1", provision)
    assert not finding.check.ok
    assert finding.check.detail == (
        "up: there is no program './rent'; down: there is no program 'no-such-program'"
    )
    (tmp_path / "rent").write_text("#!/bin/sh\n")
    (tmp_path / "rent").chmod(0o755)
    (finding,) = examine_provision("rock-1", replace(provision, down=("sh",)))
    assert finding.check.ok


def test_a_host_that_is_up_for_nobody_is_a_fault(tmp_path: Path) -> None:
    provision = Provision(up=("up",), down=("down",), folder=tmp_path)
    lease = Lease(host="rock-1", run="r-1", since=time.time() - 7200, provision=provision)
    (finding,) = examine_leases([lease])
    assert finding.check.detail == "rented 2.0 h ago by the run r-1, and still up for nobody"
    assert "fleet hosts down rock-1" in (finding.check.remedy or "")
