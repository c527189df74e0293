"""What a fresh machine lacks of a build host, and in which order it gets it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from fleet.errors import HostError, UsageError
from fleet.hosts.bootstrap import (
    DAEMON_FILE,
    Ground,
    HostStep,
    bootstrap,
    merged,
    steps,
)
from fleet.hosts.protocol import Completed, Stream
from fleet.models import HostSpec, StepState

DEBIAN = 'release:PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nrelease:ID=debian\n'
PI = 'release:PRETTY_NAME="Raspbian GNU/Linux 12"\nrelease:ID=raspbian\nrelease:ID_LIKE=debian\n'
ROOT = "user=root\nuid=0\n"
GROUND = Ground(
    host="pi-1",
    system="Debian",
    family=frozenset({"debian"}),
    user="pi",
    root=("sudo", "-n"),
    systemd=True,
)


class Fresh:
    """A machine on which a step is so once it was carried out, unless it is told otherwise."""

    name = "pi-1"
    spec = HostSpec(name="pi-1")

    def __init__(
        self,
        survey: str,
        *,
        done: Sequence[str] = (),
        failing: str | None = None,
        vain: str | None = None,
        sudo: int = 0,
    ) -> None:
        self._survey, self._failing, self._vain, self._sudo = survey, failing, vain, sudo
        self._so = set(done)
        self.made: list[str] = []
        self.prefixes: set[tuple[str, ...]] = set()

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        status, out, err = 0, "", ""
        if list(argv) == ["sudo", "-n", "true"]:
            status = self._sudo
        else:
            at = list(argv).index("/bin/sh")
            script = argv[at + 2].split("\n", 1)[1]
            if script.startswith("user="):
                out = self._survey
            elif script.startswith("if [ -e"):
                status = 9
            else:
                self.prefixes.add(tuple(argv[:at]))
                status, err = self._step(script)
        return Completed(argv=tuple(argv), status=status, stdout=out.encode(), stderr=err.encode())

    def _step(self, script: str) -> tuple[int, str]:
        for step in steps(GROUND):
            if script == step.check:
                return (0 if step.what in self._so else 1), ""
            if script == step.make:
                self.made.append(step.what)
                if step.what == self._failing:
                    return 100, "E: Unable to fetch some archives\n"
                if step.what != self._vain:
                    self._so.add(step.what)
                return 0, ""
        raise AssertionError(script)

    def open(self, argv: Sequence[str]) -> Stream:
        raise NotImplementedError

    def carry(self, address: tuple[str, int]) -> int:
        raise NotImplementedError

    def close(self) -> None:
        pass


def of_pi() -> list[HostStep]:
    return list(steps(GROUND))


def test_what_lacks_is_done_and_a_second_time_changes_nothing() -> None:
    host = Fresh(PI + "user=pi\nuid=1000\nsystemd=1\n")
    assert {report.state for report in bootstrap(host)} == {StepState.DONE}
    assert host.made == [step.what for step in of_pi()]
    assert {report.state for report in bootstrap(host)} == {StepState.SO}
    assert len(host.made) == len(of_pi())


def test_a_dry_run_says_what_is_so_and_does_nothing() -> None:
    first = of_pi()[0].what
    host = Fresh(DEBIAN + "user=pi\nuid=1000\nsystemd=1\n", done=[first])
    states = [report.state for report in bootstrap(host, dry_run=True)]
    assert states == [StepState.SO] + [StepState.TO_DO] * (len(states) - 1)
    assert host.made == []


def test_the_first_step_that_fails_is_the_last_and_says_why() -> None:
    second = of_pi()[1].what
    reports = bootstrap(Fresh(DEBIAN + "user=pi\nuid=1000\nsystemd=1\n", failing=second))
    assert [report.state for report in reports] == [StepState.DONE, StepState.FAILED]
    assert reports[-1].said == ("E: Unable to fetch some archives",)


def test_a_step_that_is_still_not_so_is_not_called_done() -> None:
    first = of_pi()[0].what
    (report,) = bootstrap(Fresh(DEBIAN + "user=pi\nuid=1000\nsystemd=1\n", vain=first))
    assert report.state is StepState.FAILED


def test_root_needs_no_sudo_and_others_use_it() -> None:
    root, pi = (
        Fresh(DEBIAN + ROOT + "systemd=1\n"),
        Fresh(DEBIAN + "user=pi\nuid=1000\nsystemd=1\n"),
    )
    bootstrap(root)
    bootstrap(pi)
    assert (root.prefixes, pi.prefixes) == ({()}, {("sudo", "-n")})


def test_a_user_who_cannot_become_root_is_told_what_lets_him() -> None:
    with pytest.raises(HostError) as caught:
        bootstrap(Fresh(DEBIAN + "user=pi\nuid=1000\n", sudo=1))
    assert "NOPASSWD" in (caught.value.hint or "")


def test_another_family_of_systems_is_refused_by_name() -> None:
    with pytest.raises(HostError, match="Fedora Linux 42"):
        bootstrap(Fresh('release:PRETTY_NAME="Fedora Linux 42"\nrelease:ID=fedora\n' + ROOT))


def test_without_systemd_it_is_said_that_nothing_sees_to_it_at_boot() -> None:
    (runs,) = [s for s in steps(Ground(**{**vars(GROUND), "systemd": False})) if "runs" in s.what]
    assert "not seen to at boot" in runs.what
    assert runs.arguments == ("service", "docker", "start")


# --- the engine's configuration -------------------------------------------------------------


def test_logs_are_bounded_where_nothing_is_said() -> None:
    assert json.loads(merged("pi-1", None)) == {
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "3"},
    }


def test_what_the_configuration_says_already_stands() -> None:
    text = '{"log-opts": {"max-size": "1g"}, "registry-mirrors": ["https://m.example"]}'
    assert json.loads(merged("pi-1", text)) == {
        "log-driver": "json-file",
        "log-opts": {"max-size": "1g", "max-file": "3"},
        "registry-mirrors": ["https://m.example"],
    }


def test_a_log_driver_without_such_limits_is_left_alone() -> None:
    text = '{"log-driver":"journald"}'
    assert merged("pi-1", text) == text


@pytest.mark.parametrize("data_root", [None, "/srv/docker"])
def test_what_was_merged_once_is_not_changed_again(data_root: str | None) -> None:
    once = merged("pi-1", '{"debug": true}', data_root)
    assert merged("pi-1", once, data_root) == once
    assert json.loads(once).get("data-root") == data_root


@pytest.mark.parametrize("text", ["{", "[]", '{"log-opts": 3}'])
def test_a_configuration_that_cannot_be_understood_is_left_as_it_is(text: str) -> None:
    with pytest.raises(HostError, match=DAEMON_FILE):
        merged("pi-1", text)


@pytest.mark.parametrize("data_root", ["srv/docker", "/srv/../docker", ""])
def test_a_data_root_is_a_plain_absolute_path(data_root: str) -> None:
    with pytest.raises(UsageError, match="--data-root"):
        merged("pi-1", None, data_root)
