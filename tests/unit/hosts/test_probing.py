"""What a probe makes of what a host says."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from fleet.errors import (
    BuilderMissing,
    ConnectionLost,
    EngineDown,
    EngineError,
    EngineMissing,
    EnginePermission,
    FleetError,
    HostError,
)
from fleet.hosts import probe, probe_all
from fleet.hosts.protocol import Completed, Stream
from fleet.models import Builder, HostReport, HostSpec, PlatformProof
from fleet.platforms import Platform
from tests.unit.hosts.test_binfmt import QEMU_ARM

AMD64, I386, ARM64, ARMV7 = map(
    Platform.parse, ("linux/amd64", "linux/386", "linux/arm64", "linux/arm/v7")
)
GiB = 1 << 30


def version(cli: str = "26.1.5", engine: str | None = "26.1.5") -> str:
    server = {"Version": engine, "ApiVersion": "1.45", "Arch": "amd64"} if engine else None
    return json.dumps({"Client": {"Version": cli}, "Server": server})


def info(**more: Any) -> str:
    return "/var/lib/docker\n" + json.dumps(
        {"Driver": "overlay2", "DockerRootDir": "/var/lib/docker", **more}
    )


# Name -> (output, errors, status), of a Pi with a 64-bit kernel on which all is well.
PI: dict[str, tuple[str, str, int]] = {
    "system": ("Linux\n", "", 0),
    "machine": ("aarch64\n", "", 0),
    "kernel": ("6.12.0\n", "", 0),
    "arch": ("aarch64\n", "", 0),
    "release": ('NAME=x\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n', "", 0),
    "cores": ("4\n", "", 0),
    "memory": ("MemTotal: 4194304 kB\nMemFree: 1 kB\nMemAvailable: 1048576 kB\n", "", 0),
    "home": ("/home/pi", "", 0),
    "user": ("pi\n", "", 0),
    "binfmt": ("enabled\n", "", 0),
    "docker": ("/usr/bin/docker\n", "", 0),
    "version": (version() + "\n", "", 0),
    "info": (info() + "\n", "", 0),
    "buildx": ("github.com/docker/buildx v0.13.1 788433953af1\n", "", 0),
    "disk": (
        "Filesystem 1024-blocks Used Available Capacity Mounted on\n"
        "/dev/mapper/a-very-long-name 62914560 1000 31457280 50% /\n",
        "",
        0,
    ),
    "place": ("/home/pi/.cache/fleet\n", "", 0),
    "proof-linux-arm64": ("native\n", "", 0),
    "proof-linux-arm-v7": ("native\n", "", 0),
    "proof-linux-amd64": ("", "Exec format error", 126),
    "proof-linux-386": ("", "Exec format error", 126),
}


class Said:
    """A host that answers a probe with what it is told to."""

    def __init__(self, *, skew: float = 0.0, cut: bool = False, **changed: Any) -> None:
        answers = {**PI, **{name.replace("_", "-"): said for name, said in changed.items()}}
        self.answers = {name: said for name, said in answers.items() if said is not None}
        self.spec = HostSpec(name="pi-1", address="pi")
        self.name = "pi-1"
        self.skew = skew
        self.cut = cut
        self.stdin = b""

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60, check: bool = True
    ) -> Completed:
        self.stdin = stdin
        mark = argv[2]
        clock = (f"{time.time() + self.skew:.9f}", "", 0)
        answer = ""
        for name, (out, err, status) in {**self.answers, "clock": clock}.items():
            said = out.rstrip("\n") + (f"\n{mark} errors\n{err}" if err else "")
            answer += f"{mark} begin {name}\n{said}\n{mark} end {name} {status}\n"
        if not self.cut:
            answer += f"\n{mark} done\n"
        return Completed(argv=tuple(argv), status=0, stdout=answer.encode(), stderr=b"sh: gone\n")

    def open(self, argv: Sequence[str]) -> Stream:
        raise NotImplementedError

    def carry(self, address: tuple[str, int]) -> int:
        raise NotImplementedError

    def close(self) -> None:
        pass


def proof(host: Said, platform: Platform) -> PlatformProof:
    (found,) = probe(host, platforms=[platform]).proofs
    return found


def test_facts_are_in_bytes_and_seconds() -> None:
    facts = probe(Said(skew=7200.0), platforms=[])
    assert (facts.memory, facts.memory_available, facts.disk_free) == (4 * GiB, GiB, 30 * GiB)
    assert (facts.cores, facts.machine, facts.kernel) == (4, "aarch64", "6.12.0")
    assert (facts.system, facts.home) == ("Debian GNU/Linux 13 (trixie)", "/home/pi")
    assert round(facts.clock_skew) == 7200
    assert facts.engine.root_dir == "/var/lib/docker"
    assert not facts.engine.containerd_store


# --- promise 1: native or nothing ---------------------------------------------------------


def test_what_runs_and_is_served_by_no_handler_is_native() -> None:
    for platform in (ARM64, ARMV7):
        found = proof(Said(), platform)
        assert found.native
        assert found.emulator is None


def test_what_does_not_run_is_not_native_whatever_uname_says() -> None:
    # A ThunderX: a kernel for arm64 on processors without a 32-bit state.
    found = proof(Said(proof_linux_arm_v7=("", "Exec format error", 126)), ARMV7)
    assert not found.native
    assert found.emulator is None
    assert found.reason == "it does not execute linux/arm/v7 (Exec format error)"


def test_an_older_processor_is_told_apart() -> None:
    assert "illegal instruction" in proof(Said(proof_linux_arm_v7=("", "", 132)), ARMV7).reason


def test_a_status_without_the_word_proves_nothing() -> None:
    assert not proof(Said(proof_linux_arm64=("", "", 0)), ARM64).native
    assert not proof(Said(proof_linux_arm64=("native\nand more\n", "", 0)), ARM64).native


def test_a_handler_that_serves_it_is_emulation_even_for_the_hosts_own_platform() -> None:
    found = proof(Said(binfmt=(f"enabled\n== qemu-arm\n{QEMU_ARM}", "", 0)), ARMV7)
    assert not found.native
    assert found.emulator == "qemu-arm"
    assert "qemu-arm (/usr/libexec/qemu-binfmt/arm-binfmt-P) serves it" in found.reason


def test_a_handler_for_another_platform_does_not_matter() -> None:
    assert proof(Said(binfmt=(f"enabled\n== qemu-arm\n{QEMU_ARM}", "", 0)), ARM64).native


def test_a_handler_that_fails_is_named_and_may_not_even_emulate() -> None:
    host = Said(
        binfmt=(f"enabled\n== qemu-arm\n{QEMU_ARM}", "", 0), proof_linux_arm_v7=("", "", 127)
    )
    found = proof(host, ARMV7)
    assert (found.native, found.emulator, found.runs) == (False, "qemu-arm", False)
    assert "fails: not found" in found.reason
    spec = replace(host.spec, emulate=(ARMV7,))
    report = HostReport(spec=spec, facts=probe(host, platforms=[ARMV7]))
    assert not report.may_build(ARMV7)


def test_emulation_by_an_unseen_handler_shows_in_the_kernels_own_name() -> None:
    # In a container: binfmt_misc cannot be read, and uname says what QEMU makes it say.
    hidden = ("", "cat: /proc/sys/fs/binfmt_misc/status: No such file", 1)
    host = Said(binfmt=hidden, arch=("x86_64\n", "", 0), proof_linux_amd64=("native\n", "", 0))
    found = proof(host, ARM64)
    assert not found.native
    assert found.emulator == "an unseen handler"
    assert "its kernel is x86_64" in found.reason
    assert proof(host, AMD64).native


def test_without_the_kernels_own_name_uname_must_do() -> None:
    host = Said(arch=("", "cat: No such file", 1), proof_linux_amd64=("native\n", "", 0))
    assert proof(host, ARM64).native
    assert not proof(host, AMD64).native


def test_a_host_that_executes_no_files_anywhere_proves_nothing() -> None:
    found = proof(Said(place=("/home/pi/.cache/fleet\n/dev/shm\n/tmp\n", "", 1)), ARM64)
    assert not found.native
    assert "no folder there executes files (tried /home/pi/.cache/fleet, /dev/shm" in found.reason


def test_handlers_that_cannot_be_understood_prove_nothing() -> None:
    found = proof(Said(binfmt=("enabled\n== odd\nenabled\nmagic zz\n", "", 0)), ARM64)
    assert not found.native
    assert "binfmt_misc is not clear" in found.reason


def test_a_platform_without_a_test_executable_is_not_native() -> None:
    assert "no test executable" in proof(Said(), Platform.parse("linux/mips")).reason


def test_the_executables_travel_in_the_script() -> None:
    host = Said()
    probe(host, platforms=[ARM64, AMD64])
    assert b"\nproof linux-arm64 '\\0177\\0105\\0114\\0106" in host.stdin
    assert host.stdin.endswith(b"finish\n")


# --- engines ------------------------------------------------------------------------------

NOT_A_COMMAND = ("", "docker: 'buildx' is not a docker command.\n", 1)


def test_an_engine_of_before_23_builds_without_the_plugin() -> None:
    host = Said(version=(version("20.10.24+dfsg1", "20.10.24+dfsg1"), "", 0), buildx=NOT_A_COMMAND)
    engine = probe(host, platforms=[]).engine
    assert engine.builder is Builder.INTEGRATED
    assert engine.builder_version == "20.10.24+dfsg1"


def test_the_plugin_is_used_where_it_is() -> None:
    engine = probe(Said(version=(version("20.10.24"), "", 0)), platforms=[]).engine
    assert (engine.builder, engine.builder_version) == (Builder.BUILDX, "0.13.1")


def test_the_containerd_store_is_noticed() -> None:
    status = [["driver-type", "io.containerd.snapshotter.v1"]]
    host = Said(info=(info(DriverStatus=status), "", 0))
    assert probe(host, platforms=[]).engine.containerd_store


CANNOT_CONNECT = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."
DENIED = "permission denied while trying to connect to the Docker daemon socket at unix:///..."


@pytest.mark.parametrize(
    ("changed", "error", "message", "hint"),
    [
        (
            {"docker": ("", "", 127), "version": ("", "docker: not found", 127)},
            EngineMissing,
            "no docker command",
            "apt-get install docker.io",
        ),
        (
            {"version": (version(engine=None), CANNOT_CONNECT, 1)},
            EngineDown,
            "does not answer: Cannot connect",
            "systemctl start docker",
        ),
        ({"version": ("", "", 124)}, EngineDown, "no answer within 30 s", "start it"),
        ({"version": ("", "boom", 1)}, EngineDown, "boom", "start it"),
        (
            {"version": (version(engine=None), DENIED, 1)},
            EnginePermission,
            "the user pi may not use",
            "usermod -aG docker pi",
        ),
        (
            {"buildx": NOT_A_COMMAND},
            BuilderMissing,
            "26.1.5 needs the buildx plugin",
            "docker-buildx-plugin",
        ),
        (
            {"version": (version("17.03.1", "17.03.1"), "", 0), "buildx": NOT_A_COMMAND},
            BuilderMissing,
            "17.03.1 is too old",
            "18.09",
        ),
        (
            {
                "version": (
                    '{"Client":{"APIVersion":"4.3.1"}}',
                    "Emulate Docker CLI using podman",
                    0,
                )
            },
            BuilderMissing,
            "docker command is podman",
            "podman-docker",
        ),
        ({"info": ("/x\n{}", "", 0)}, EngineError, "without 'Driver'", "docker info"),
        ({"version": ("hello", "", 0)}, HostError, "no JSON object: 'hello'", "POSIX"),
    ],
)
def test_an_engine_that_is_of_no_use_says_why_and_what_to_do(
    changed: dict[str, Any], error: type[FleetError], message: str, hint: str
) -> None:
    with pytest.raises(error) as caught:
        probe(Said(**changed), platforms=[])
    assert type(caught.value) is error
    assert message in caught.value.message
    assert hint in str(caught.value.hint)


# --- nonsense -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "message"),
    [
        (Said(cut=True), "it ended early: sh: gone"),
        (Said(kernel=None), "it has no part 'kernel'"),
        (Said(machine=("", "", 0)), "machine is ''"),
        (Said(cores=("many\n", "", 0)), "no number in cores"),
        (Said(memory=("", "", 1)), "no number in memory"),
        (Said(disk=("df: /: Permission denied", "", 1)), "no number in disk"),
    ],
)
def test_an_answer_that_makes_no_sense_says_where(host: Said, message: str) -> None:
    with pytest.raises(HostError, match="its answer to the probe makes no sense") as caught:
        probe(host, platforms=[ARM64])
    assert message in caught.value.message


def test_another_system_than_linux_is_refused_by_name() -> None:
    with pytest.raises(HostError, match="pi-1: it runs Darwin"):
        probe(Said(system=("Darwin\n", "", 0)), platforms=[])


# --- many hosts ---------------------------------------------------------------------------


class Dead(Said):
    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        raise ConnectionLost(self.name, "gone")


def test_reports_are_in_the_order_of_the_hosts_and_an_error_is_one_of_them() -> None:
    hosts = [Dead(), Said(), Said(docker=("", "", 1))]
    heard: list[HostReport] = []
    reports = probe_all([(host.spec, host) for host in hosts], [ARM64], heard.append)
    assert [report.error.kind if report.error else None for report in reports] == [
        "ConnectionLost",
        None,
        "EngineMissing",
    ]
    assert len(heard) == 3
    assert reports[1].may_build(ARM64)


def test_no_hosts_are_no_reports() -> None:
    assert probe_all([], [ARM64]) == ()


def test_a_defect_is_not_taken_for_a_dead_host() -> None:
    class Broken(Said):
        def run(self, argv: Sequence[str], **_: Any) -> Completed:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        probe_all([(Broken().spec, Broken())], [ARM64])
