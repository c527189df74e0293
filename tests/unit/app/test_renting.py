"""What is still up is shown, and ended by hand, whatever is known of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet import app
from fleet.app.renting import forgotten, is_up, leases_of, located
from fleet.errors import ExitCode, HostNotRented, LockHeld, UsageError
from fleet.models import HostSpec, Provision, PruneReport
from fleet.record import state_home
from fleet.run.lock import run_lock

INVENTORY = """\
registry: embedded
hosts:
  rock-1: {platforms: [linux/arm64]}
  rock-2: {platforms: [linux/arm64]}
  here: {connection: local}
groups:
  rocks:
    hosts: [rock-1, rock-2]
    provision: {up: "false", down: [sh, -c, "echo $FLEET_HOST $(cat) >> log; test ! -e broken"]}
"""


@pytest.fixture
def request_(tmp_path: Path, state: Path) -> app.Request:
    context = tmp_path / "dockerfiles" / "hello"
    context.mkdir(parents=True)
    (context / "Dockerfile").write_text("FROM scratch\n")
    path = tmp_path / "inventory.yml"
    path.write_text(INVENTORY)
    return app.Request.of(inventory=path, limit=["rocks"])


def rented(request: app.Request, name: str, told: str = "", run: str = "r-1") -> None:
    """A run has rented a host, and was killed."""
    spec = next((host for host in app.load(request).hosts if host.name == name), None)
    if spec is None:
        down = ("sh", "-c", "echo stray >> log")
        folder = request.inventory.parent
        spec = HostSpec(name=name, provision=Provision(up=("up",), down=down, folder=folder))
    with leases_of(request.inventory).begin(spec, run) as output:
        output.write(told.encode())


def log(request: app.Request) -> str:
    return (request.inventory.parent / "log").read_text()


def test_hosts_that_are_not_up_are_shown_as_such_and_are_no_fault(request_: app.Request) -> None:
    reports = app.probe(request_)
    assert [report.to_come for report in reports] == [True, True]
    assert app.unreached(reports) is ExitCode.OK
    assert app.hosts_text(reports)[:2] == [
        "rock-1", "  not up: it is rented when a job for linux/arm64 needs it"
    ]  # fmt: skip


def test_a_host_of_which_nobody_knows_where_it_is_is_shown_with_what_ends_it(
    request_: app.Request,
) -> None:
    rented(request_, "rock-1")
    reports = app.probe(request_)
    assert app.unreached(reports) is ExitCode.UNREACHABLE
    assert reports[1].to_come
    said = "\n".join(app.hosts_text(reports))
    assert "by the run r-1, and where it is is not known: `up` printed nothing" in said
    assert "`fleet hosts down rock-1`" in said


def test_a_host_that_the_inventory_has_no_more_is_shown_too(request_: app.Request) -> None:
    rented(request_, "old", '{"address": "192.0.2.7"}')
    all_of_it = app.Request.of(inventory=request_.inventory, limit=["!here"])
    assert len(app.probe(all_of_it)) == 2  # a limit is a limit
    text = INVENTORY.replace("  here: {connection: local}\n", "")
    request_.inventory.write_text(text)
    reports = app.probe(app.Request.of(inventory=request_.inventory))
    assert "old: it was rented on" in "\n".join(app.hosts_text(reports))
    assert app.release_hosts(request_, ["old"], ()) is ExitCode.OK
    assert log(request_) == "stray\n"


def test_down_ends_what_is_named_or_all(request_: app.Request) -> None:
    rented(request_, "rock-1", '{"address": "192.0.2.7"}')
    rented(request_, "rock-2")
    assert [lease.host for lease in forgotten()] == ["rock-1", "rock-2"]
    assert app.release_hosts(request_, ["rock-1"], ()) is ExitCode.OK
    assert log(request_) == 'rock-1 {"address": "192.0.2.7"}\n'
    assert app.release_hosts(request_, [], ()) is ExitCode.OK
    assert log(request_).endswith("\nrock-2 {}\n")
    assert forgotten() == ()
    assert app.release_hosts(request_, ["rock-1"], ()) is ExitCode.OK  # it is not up
    with pytest.raises(UsageError, match="rents no host 'rock-3'"):
        app.release_hosts(request_, ["rock-3"], ())
    with pytest.raises(UsageError, match="rents no host 'here'"):
        app.release_hosts(request_, ["here"], ())


def test_what_a_run_needs_is_not_taken_from_it(request_: app.Request) -> None:
    rented(request_, "rock-1")
    with run_lock(state_home() / "locks", request_.inventory, run="r-1"):
        assert forgotten() == ()
        with pytest.raises(LockHeld, match="run r-1"):
            app.release_hosts(request_, [], ())
        fleet = app.load(request_)
        with pytest.raises(HostNotRented, match="the run r-1 is renting it"):
            located(fleet, fleet.hosts[0])
    assert [lease.host for lease in forgotten()] == ["rock-1"]


def test_a_host_is_where_its_up_said(request_: app.Request) -> None:
    fleet = app.load(request_)
    assert not is_up(fleet.hosts[0])
    with pytest.raises(HostNotRented, match="is not up"):
        located(fleet, fleet.hosts[0])
    rented(request_, "rock-1", '{"address": "root@192.0.2.7:2222"}')
    found = located(fleet, fleet.hosts[0])
    assert (found.address, found.user, found.port) == ("192.0.2.7", "root", 2222)
    assert located(fleet, fleet.hosts[2]) == fleet.hosts[2]


def test_what_is_left_on_a_host_that_is_not_up_is_nothing(request_: app.Request) -> None:
    reports = app.prune(request_, keep="1d")
    assert reports == (PruneReport(host="rock-1"), PruneReport(host="rock-2"))
    assert app.pruned(reports) is ExitCode.OK


def test_one_that_is_not_up_cannot_be_bootstrapped(request_: app.Request) -> None:
    with pytest.raises(HostNotRented, match="it is rented when a job needs it, and is not up"):
        app.bootstrap(request_, "rock-1", data_root=None, dry_run=True, on_step=lambda report: None)
