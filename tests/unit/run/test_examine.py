"""What the doctor says, and what proves a published index."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.errors import HostKeyUnknown
from fleet.models import ErrorInfo, HostReport, HostSpec
from fleet.platforms import Platform
from fleet.run.examine import examine_host, says
from tests.unit.plan.builders import AMD64, ARM32, host


@pytest.mark.parametrize(
    ("arch", "platform", "right"),
    [
        ("x86_64", "linux/amd64", True),
        ("aarch64", "linux/arm64", True),
        ("armv7l", "linux/arm/v7", True),
        ("armv7l", "linux/arm/v6", True),
        ("aarch64", "linux/arm/v7", True),  # a 64-bit kernel under a 32-bit image
        ("x86_64", "linux/386", True),
        ("x86_64", "linux/arm64", False),
        ("armv7l", "linux/arm64", False),
        ("", "linux/amd64", False),
        ("exec format error", "linux/amd64", False),
    ],
)
def test_what_arch_prints_is_held_against_the_platform(
    arch: str, platform: str, right: bool
) -> None:
    assert says(arch, Platform.parse(platform)) is right


def test_a_host_that_does_not_answer_is_one_fault_with_its_remedy() -> None:
    error = ErrorInfo.of(HostKeyUnknown("pi-1", "its key is not known", hint="ssh-keyscan pi-1"))
    (check,) = examine_host(HostReport(spec=HostSpec(name="pi-1"), error=error))
    assert not check.ok
    assert check.remedy == "ssh-keyscan pi-1"


def test_a_healthy_host_has_no_fault() -> None:
    assert [check for check in examine_host(host("amd64-1", AMD64)) if not check.ok] == []


def test_each_shortage_is_a_fault_of_its_own() -> None:
    report = host("pi-1", ARM32)
    assert report.facts is not None
    short = replace(
        report.facts, disk_free=1_000_000, memory_available=1_000_000, clock_skew=7200.0
    )
    faults = {c.name for c in examine_host(replace(report, facts=short)) if not c.ok}
    assert faults == {"disk", "memory", "clock"}


def test_a_limit_that_the_host_cannot_meet_is_a_fault() -> None:
    checks = examine_host(host("thunderx-1", AMD64, limit=[ARM32]))
    (fault,) = [check for check in checks if not check.ok]
    assert fault.name == "platforms"
    assert "linux/arm/v7" in fault.detail
