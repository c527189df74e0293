"""A host that does not answer now is asked again, the others are not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from fleet.errors import (
    AuthenticationFailed,
    EngineDown,
    FleetError,
    HostUnreachable,
)
from fleet.hosts.protocol import Host
from fleet.models import ErrorInfo, HostReport, HostSpec
from fleet.platforms import Platform
from fleet.run import probing
from fleet.run.retry import Policy
from tests.unit.engine.fakes import FakeHost
from tests.unit.plan.builders import AMD64, host


class Probes:
    """Stands for ``probe_all``: each host fails so and so, once for each of its errors."""

    def __init__(self, **errors: list[FleetError]) -> None:
        self.errors = errors
        self.asked: list[list[str]] = []

    def __call__(
        self,
        hosts: Sequence[tuple[HostSpec, Host]],
        platforms: Sequence[Platform],
        on_report: Callable[[HostReport], None],
    ) -> tuple[HostReport, ...]:
        self.asked.append([spec.name for spec, _ in hosts])
        reports = []
        for spec, _ in hosts:
            left = self.errors.get(spec.name)
            if left:
                reports.append(HostReport(spec=spec, error=ErrorInfo.of(left.pop(0))))
            else:
                reports.append(host(spec.name, AMD64))
            on_report(reports[-1])
        return tuple(reports)


def probe(
    probes: Probes,
    monkeypatch: pytest.MonkeyPatch,
    *names: str,
    attempts: int = 6,
    needed: Sequence[Platform] = (),
) -> tuple[tuple[HostReport, ...], list[str]]:
    monkeypatch.setattr(probing, "probe_all", probes)
    told: list[str] = []
    reports = probing.probe_patiently(
        [FakeHost(spec=HostSpec(name=name), name=name) for name in names],
        platforms=[AMD64],
        needed=needed,
        policy=Policy(attempts=attempts, first_wait=0.0, longest_wait=0.0),
        stop=threading.Event(),
        on_report=lambda report: told.append(report.spec.name),
        before_wait=lambda error, wait: told.append(error.message),
    )
    return reports, told


def test_only_those_whose_trouble_may_pass_are_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probes = Probes(
        b=[HostUnreachable("b", "no route"), EngineDown("b", "it starts")],
        c=[AuthenticationFailed("c", "no key")],
    )
    reports, told = probe(probes, monkeypatch, "a", "b", "c")
    assert probes.asked == [["a", "b", "c"], ["b"], ["b"]]
    assert [bool(r.facts) for r in reports] == [True, True, False]
    assert [r.spec.name for r in reports] == ["a", "b", "c"]
    assert told[:3] == ["a", "c", "not every host answers: b: no route"]
    assert told[-1] == "b"


def test_a_host_that_never_answers_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    probes = Probes(b=[HostUnreachable("b", "no route")] * 9)
    reports, told = probe(probes, monkeypatch, "a", "b")
    assert len(probes.asked) == 3
    assert reports[1].error is not None
    assert told.count("b") == 1


def test_a_host_that_no_other_stands_in_for_is_asked_for_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probes = Probes(a=[HostUnreachable("a", "frozen")] * 7)
    (report,), told = probe(probes, monkeypatch, "a", needed=[AMD64])
    assert len(probes.asked) == 8
    assert report.facts is not None
    assert told[-1] == "a"

    alone = Probes(a=[HostUnreachable("a", "dead")] * 99)
    (report,), told = probe(alone, monkeypatch, "a", needed=[AMD64])
    assert len(alone.asked) == 3 + 6
    assert report.error is not None
    assert told.count("a") == 1

    beside = Probes(a=[HostUnreachable("a", "dead")] * 99)
    probe(beside, monkeypatch, "a", "b", needed=[AMD64])
    assert len(beside.asked) == 3

    in_haste = Probes(a=[HostUnreachable("a", "dead")] * 99)
    probe(in_haste, monkeypatch, "a", needed=[AMD64], attempts=2)
    assert len(in_haste.asked) == 2


def test_no_hosts_are_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe(Probes(), monkeypatch) == ((), [])
