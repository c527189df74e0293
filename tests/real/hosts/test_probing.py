"""What a probe finds out on a real machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.errors import EngineMissing
from fleet.hosts import connect, probe, probe_all
from fleet.hosts.local import LocalHost
from fleet.hosts.proof import WORD, executable, provable
from fleet.models import Builder, Connection, HostReport, HostSpec
from fleet.platforms import Platform
from tests.needs import need
from tests.real.hosts.conftest import Server

pytestmark = pytest.mark.real

AMD64, ARM64 = map(Platform.parse, ("linux/amd64", "linux/arm64"))

# Stands in for the docker command: what a probe is about here is the machine.
VERSION = {
    "Client": {"Version": "26.1.5+dfsg1"},
    "Server": {"Version": "26.1.5+dfsg1", "ApiVersion": "1.45", "Arch": "amd64"},
}
INFO = {
    "Driver": "overlayfs",
    "DockerRootDir": "/var/lib/docker/no/such",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
}
DOCKER = f"""#!/bin/sh
case $1 in
version) echo '{json.dumps(VERSION)}' ;;
info) echo /var/lib/docker/no/such; echo '{json.dumps(INFO)}' ;;
buildx) echo 'github.com/docker/buildx 0.13.1+ds1-3 ' ;;
esac
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "docker").write_text(DOCKER)
    (tools / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    return tools / "docker"


def here(tmp_path: Path) -> LocalHost:
    spec = HostSpec(name="here", connection=Connection.LOCAL, state=str(tmp_path / "state"))
    return LocalHost(spec)


def test_a_probe_tells_the_machine_as_it_is(docker: Path, tmp_path: Path) -> None:
    facts = probe(here(tmp_path), platforms=[AMD64, ARM64])
    assert facts.machine == os.uname().machine
    assert facts.kernel == os.uname().release
    assert facts.cores == len(os.sched_getaffinity(0))
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert abs(facts.memory - pages) < pages / 10
    assert 0 < facts.memory_available <= facts.memory
    assert 0 < facts.disk_free <= shutil.disk_usage("/var/lib").total
    assert abs(facts.clock_skew) < 5
    assert facts.home == os.environ["HOME"]
    assert facts.engine.builder is Builder.BUILDX
    assert facts.engine.builder_version == "0.13.1+ds1-3"
    assert facts.engine.containerd_store


def test_a_probe_leaves_nothing_behind(docker: Path, tmp_path: Path) -> None:
    probe(here(tmp_path), platforms=provable())
    assert list((tmp_path / "state").iterdir()) == []


def test_a_probe_runs_under_busybox_as_well(
    docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busybox = need("busybox", "busybox")
    applets = docker.parent
    skip = {"sh", "ash"}  # of those /bin/sh is called by its path
    for name in subprocess.run([busybox, "--list"], capture_output=True, text=True).stdout.split():
        if name not in skip and not (applets / name).exists():
            (applets / name).symlink_to(busybox)
    monkeypatch.setenv("PATH", str(applets))

    class Busy(LocalHost):
        def open(self, argv):  # type: ignore[no-untyped-def]
            return super().open([busybox, "sh", *argv[1:]] if argv[0] == "/bin/sh" else argv)

    spec = HostSpec(name="here", connection=Connection.LOCAL, state=str(tmp_path / "state"))
    facts = probe(Busy(spec), platforms=[AMD64, ARM64])
    assert facts.machine == os.uname().machine
    assert facts.engine.builder is Builder.BUILDX


def test_a_probe_over_ssh_finds_the_same(
    docker: Path, tmp_path: Path, sshd: Callable[..., Server]
) -> None:
    server = sshd(SetEnv=f"PATH={os.environ['PATH']} HOME={tmp_path}")
    host = server.host()
    try:
        over = probe(host, platforms=provable())
    finally:
        host.close()
    local = probe(here(tmp_path), platforms=provable())
    assert over.proofs == local.proofs
    assert (over.machine, over.kernel, over.system) == (local.machine, local.kernel, local.system)


def test_a_machine_without_docker_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in (
        "cat",
        "chmod",
        "date",
        "df",
        "head",
        "id",
        "mkdir",
        "mktemp",
        "nproc",
        "rm",
        "sh",
    ):
        (tools / name).symlink_to(str(shutil.which(name)))
    (tools / "uname").symlink_to(str(shutil.which("uname")))
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(EngineMissing, match="here: there is no docker command") as caught:
        probe(here(tmp_path), platforms=[])
    assert "apt-get install docker.io" in str(caught.value.hint)


def test_a_dead_host_delays_nobody_and_is_reported_with_its_reason(
    docker: Path, tmp_path: Path
) -> None:
    config = tmp_path / "ssh_config"
    config.write_text("")
    dead = connect(HostSpec(name="dead", address="no-such-host.invalid"), ssh_config=config)
    alive = here(tmp_path)
    heard: list[str] = []

    def hear(report: HostReport) -> None:
        heard.append(report.spec.name)

    reports = probe_all([(dead.spec, dead), (alive.spec, alive)], [AMD64], hear)
    assert [report.spec.name for report in reports] == ["dead", "here"]
    assert sorted(heard) == ["dead", "here"]
    assert reports[0].error is not None
    assert reports[0].error.kind == "NameUnknown"
    assert reports[1].facts is not None


# --- the test executables -----------------------------------------------------------------


def test_this_machine_executes_its_own_platform_and_no_other(docker: Path, tmp_path: Path) -> None:
    facts = probe(here(tmp_path), platforms=[AMD64, ARM64])
    own = {"x86_64": AMD64, "aarch64": ARM64}.get(os.uname().machine)
    if own is None:
        pytest.skip("needs an amd64 or arm64 machine")
    assert facts.native == (own,)
    (other,) = (proof for proof in facts.proofs if proof.platform != own)
    assert not other.native
    assert other.emulator or "Exec format error" in other.reason


QEMU = {
    "386": "i386",
    "amd64": "x86_64",
    "arm": "arm",
    "arm64": "aarch64",
    "loong64": "loongarch64",
    "mips64le": "mips64el",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of QEMU's user-mode emulators.

    Unpacked where they are not installed: installing them would register binfmt
    handlers on this machine, and then it would emulate.
    """
    if found := shutil.which("qemu-arm-static"):
        return Path(found).parent
    folder = tmp_path_factory.mktemp("qemu")
    apt, dpkg = need("apt-get", "apt"), need("dpkg", "dpkg")
    # Since Debian 13 the static ones are in qemu-user.
    for package in ("qemu-user-static", "qemu-user"):
        subprocess.run([apt, "-qq", "download", package], cwd=folder, capture_output=True)
        for archive in folder.glob(f"{package}_*.deb"):
            subprocess.run([dpkg, "-x", str(archive), str(folder)], check=True)
        for name in ("qemu-arm-static", "qemu-arm"):
            if (folder / "usr" / "bin" / name).is_file():
                return folder / "usr" / "bin"
    need("qemu-arm-static", "qemu-user-static")
    raise AssertionError("`need` does not come back here")


def emulated(
    platform: Platform, emulators: Path, folder: Path, *options: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a test executable by an emulator called by its name: nothing is registered."""
    emulator = emulators / f"qemu-{QEMU[platform.architecture]}"
    static = emulator.with_name(f"{emulator.name}-static")
    file = folder / "proof"
    file.write_bytes(executable(platform) or b"")
    file.chmod(0o755)
    command = [str(static if static.exists() else emulator), *options, str(file)]
    return subprocess.run(command, capture_output=True)


# AVX-512 (amd64/v4) is what QEMU does not emulate; only a processor that has it can tell.
@pytest.mark.parametrize("platform", [p for p in provable() if p.variant != "v4"], ids=str)
def test_each_executable_proves_itself_on_its_processor(
    platform: Platform, emulators: Path, tmp_path: Path
) -> None:
    done = emulated(platform, emulators, tmp_path)
    assert (done.returncode, done.stdout) == (0, WORD)


@pytest.mark.parametrize(
    ("processor", "executes"),
    [
        ("arm926", ["v5"]),
        ("arm1176", ["v5", "v6"]),
        ("cortex-a7", ["v5", "v6", "v7"]),
    ],
)
def test_a_processor_executes_no_variant_above_its_own(
    processor: str, executes: list[str], emulators: Path, tmp_path: Path
) -> None:
    variants = [Platform.parse(f"linux/arm/{v}") for v in ("v5", "v6", "v7")]
    done = [emulated(platform, emulators, tmp_path, "-cpu", processor) for platform in variants]
    assert [p.variant for p, d in zip(variants, done, strict=True) if d.stdout == WORD] == executes


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_a_shell_that_takes_an_executable_for_a_script_does_nothing(
    shell: str, tmp_path: Path
) -> None:
    command = [need(shell, shell), *(["sh"] if shell == "busybox" else [])]
    for platform in provable():
        file = tmp_path / "proof"
        file.write_bytes(executable(platform) or b"")
        done = subprocess.run([*command, str(file)], cwd=tmp_path, capture_output=True)
        assert done.returncode in (2, 126)
        assert done.stdout == b""
