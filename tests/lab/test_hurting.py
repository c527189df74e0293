"""Every way to hurt a host, on a namespace host and on a guest, each with its way back."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from lab import Host, Lab, LabError

pytestmark = pytest.mark.lab

SLOW = 120.0
"""Seconds in which a host that is well answers, emulated and busy as it may be."""


@pytest.fixture(scope="module", params=["amd64-1", "arm64-1"])
def host(request: pytest.FixtureRequest, lab: Lab) -> Host:
    return lab.up([request.param])[0]


@pytest.fixture(autouse=True)
def well_again(host: Host) -> Iterator[None]:
    yield
    # Whatever a failed test left behind.
    assert host.run(["true"], timeout=SLOW).returncode == 0


def silent(host: Host, seconds: float = 4.0) -> bool:
    """Whether a command on the host is not even refused within that time."""
    try:
        host.run(["true"], timeout=seconds)
    except LabError:
        return True
    return False


def session(host: Host) -> subprocess.Popen[str]:
    """A session on the host that has begun and lasts."""
    process = subprocess.Popen(
        ["ssh", "-F", str(host.lab.ssh_config), host.name, "echo begun; sleep 300"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def test_a_frozen_host_is_silent_and_goes_on(host: Host) -> None:
    with session(host) as open_session:
        host.hurt.freeze()
        try:
            assert silent(host)
            assert host.up()
            assert open_session.poll() is None
        finally:
            host.hurt.thaw()
        assert host.run(["true"], timeout=SLOW).returncode == 0
        assert open_session.poll() is None
        open_session.kill()


def test_a_cut_cable_is_silent_and_resets_nothing(host: Host) -> None:
    with session(host) as open_session:
        host.hurt.cut_network()
        try:
            assert silent(host)
            assert open_session.poll() is None
        finally:
            host.hurt.restore_network()
        assert host.run(["true"], timeout=SLOW).returncode == 0
        open_session.kill()


def test_reset_connections_ends_sessions_and_takes_new_ones(host: Host) -> None:
    with session(host) as open_session:
        host.hurt.reset_connections()
        assert open_session.wait(timeout=SLOW) == 255
    assert host.run(["true"], timeout=SLOW).returncode == 0


def test_without_sshd_connections_are_refused_and_sessions_go_on(host: Host) -> None:
    with session(host) as open_session:
        host.hurt.stop_sshd()
        try:
            refused = host.run(["true"], timeout=SLOW)
            assert refused.returncode == 255
            assert open_session.poll() is None
        finally:
            host.hurt.start_sshd()
        open_session.kill()


def test_without_docker_nothing_is_built_until_it_is_started(host: Host) -> None:
    host.hurt.stop_docker()
    try:
        answer = host.run(["docker", "version"], timeout=SLOW)
        assert answer.returncode == 1
        assert "Cannot connect to the Docker daemon" in answer.stderr
    finally:
        host.hurt.start_docker()
    assert host.run(["docker", "version"], timeout=SLOW).returncode == 0


def test_a_full_disk_takes_nothing_more(host: Host) -> None:
    write = ["dd", "if=/dev/zero", "of=/root/more", "bs=1M", "count=8"]
    host.hurt.fill_disk()
    try:
        answer = host.run(write, timeout=SLOW)
        assert "No space left on device" in answer.stderr
    finally:
        host.hurt.free_disk()
    host.run(["rm", "-f", "/root/more"], timeout=SLOW)
    assert host.run(write, timeout=SLOW).returncode == 0
    host.run(["rm", "-f", "/root/more"], timeout=SLOW)


def test_a_fake_emulator_is_seen_on_that_host_alone(host: Host) -> None:
    entry = "/proc/sys/fs/binfmt_misc/qemu-riscv64"
    host.hurt.fake_binfmt("linux/riscv64")
    try:
        text = host.run(["cat", entry], timeout=SLOW).stdout
        assert text.splitlines()[:2] == ["enabled", "interpreter /usr/bin/qemu-riscv64"]
        assert "magic 7f454c4602010100000000000000000002" in text
        own = subprocess.run(["test", "-e", entry], check=False)
        assert own.returncode == 1
    finally:
        host.hurt.clear_binfmt()
    assert host.run(["test", "-e", entry], timeout=SLOW).returncode == 1


def test_a_changed_host_key_is_noticed(host: Host) -> None:
    host.hurt.change_host_key()
    try:
        answer = host.run(["true"], timeout=SLOW)
        assert answer.returncode == 255
        assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in answer.stderr
    finally:
        host.hurt.restore_host_key()
    assert host.run(["true"], timeout=SLOW).returncode == 0


def test_a_skewed_clock(host: Host) -> None:
    def skew() -> float:
        return float(host.run(["date", "+%s.%N"], timeout=SLOW).stdout) - time.time()

    if host.machine.kind == "namespace":
        with pytest.raises(LabError, match="shares this computer's clock"):
            host.hurt.skew_clock(-3600)
        return
    host.hurt.skew_clock(-3600)
    try:
        assert -3610 < skew() < -3590
    finally:
        host.hurt.skew_clock(0)
    assert abs(skew()) < 10


def test_a_reboot_keeps_the_disk_and_loses_what_runs(host: Host) -> None:
    before = host.run(
        ["sh", "-c", "echo kept >/root/kept; sync; cat /proc/sys/kernel/random/boot_id"]
    )
    running = session(host)
    host.hurt.reboot()
    assert running.wait(timeout=SLOW) == 255 or host.machine.kind == "namespace"
    running.kill()
    running.wait()
    assert before.returncode == 0
    assert host.run(["cat", "/root/kept"], timeout=SLOW).stdout == "kept\n"
    assert host.run(["pgrep", "-x", "sleep", "-a"], timeout=SLOW).stdout.count("300") == 0


def test_a_killed_host_is_gone_until_it_is_booted(host: Host) -> None:
    host.hurt.kill()
    assert not host.up()
    answer = host.run(["true"], timeout=SLOW)
    assert answer.returncode == 255
    host.lab.up([host.name])
    assert host.up()
