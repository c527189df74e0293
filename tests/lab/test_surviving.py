"""Stops, limits and shares, on real machines. What befalls a run by accident is in tests/faults."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab import Host, Lab
from tests.lab.fleetcli import Controller
from tests.lab.test_build import image, lab_base

pytestmark = pytest.mark.lab

AMD64 = "platforms: [linux/amd64]\n"
SLOW = "i=0; while [ $i -lt 120 ]; do i=$((i+1)); echo tick $i; sleep 0.5; done"
OURS = r"/bin/[0-9a-f]{16}\.sh|docker(-buildx)?.* build |tick"

Make = Callable[..., Controller]


@pytest.fixture
def controller(tmp_path: Path, lab: Lab) -> Iterator[Make]:
    """Makes controllers, each in a folder of its own below the same images."""
    made: list[Controller] = []

    def make(hosts: tuple[str, ...], rest: str, *, folder: Path = tmp_path) -> Controller:
        lab.up(hosts)
        made.append(Controller.of(folder, lab, hosts, rest))
        return made[-1]

    yield make
    for one in made:
        one.fleet("registry", "stop")


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.1)


def ours(host: Host) -> list[str]:
    """The processes of fleet's builds on a host, those within BuildKit's containers among them."""
    found = host.admin(["pgrep", "-af", OURS], check=False).stdout.splitlines()
    return [line for line in found if "pgrep" not in line]


def heard(process: subprocess.Popen[str], words: str) -> list[str]:
    """What a run says until it says that."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:  # the test's own time-out is the deadline
        said.append(line)
        if words in line:
            return said
    raise AssertionError("".join(said))


def run_name(fleet: Controller) -> str:
    return max((fleet.state / "fleet" / "runs").iterdir()).name


@pytest.mark.parametrize("name", ["amd64-1", "amd64-2"])
def test_ctrl_c_twice_leaves_no_process_on_the_host(
    name: str, controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    image(tmp_path, "slow", f"FROM busybox\nRUN : {name}; {SLOW}\n")
    fleet = controller((name,), AMD64)
    run = fleet.start("build")
    heard(run, "tick 2")
    assert ours(lab.host(name))
    run.send_signal(signal.SIGINT)
    heard(run, "fleet cancel")
    run.send_signal(signal.SIGINT)
    assert run.stdout is not None
    assert "is cancelled" in run.stdout.read()
    assert run.wait() == 130
    until(lambda: not ours(lab.host(name)))


def test_a_killed_run_is_cancelled_by_name(controller: Make, lab: Lab, tmp_path: Path) -> None:
    lab_base(tmp_path)
    image(tmp_path, "slow", f"FROM busybox\nRUN : killed; {SLOW}\n")
    fleet = controller(("amd64-2",), AMD64)
    run = fleet.start("build")
    heard(run, "tick 2")
    run.kill()
    run.wait()
    assert ours(lab.host("amd64-2"))
    assert "is cancelled" in fleet.fleet("cancel", run_name(fleet)).stdout
    until(lambda: not ours(lab.host("amd64-2")))


def test_a_run_that_goes_on_is_stopped_and_cancelled_by_name(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    image(tmp_path, "slow", f"FROM busybox\nRUN : goes on; {SLOW}\n")
    fleet = controller(("amd64-2",), AMD64)
    run = fleet.start("build")
    heard(run, "tick 2")
    fleet.fleet("cancel", run_name(fleet))
    assert run.wait(60) == 130
    until(lambda: not ours(lab.host("amd64-2")))


def test_a_forced_run_is_resumed_from_another_folder_and_builds_nothing_twice(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    short = SLOW.replace("120", "16")
    image(tmp_path, "slow", f"FROM busybox\nRUN : forced; {short}; cat /proc/uptime\n")
    fleet = controller(("amd64-2",), AMD64)
    fleet.fleet("build")
    run = fleet.start("build", "slow", "--force", "--no-cache")
    heard(run, "tick 3")
    run.kill()
    run.wait()
    done = subprocess.run(
        fleet.argv("resume", run_name(fleet)),
        env=fleet.environment, cwd="/", capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert fleet.outcomes()["slow linux/amd64"] == "built"
    told = done.stdout
    assert len(re.findall(r"slow: #\d+ [\d.]+ tick 16$", told, re.MULTILINE)) == 1
    runs = lab.host("amd64-2").run(
        ["sh", "-c", "grep -l 'forced' ~/.cache/fleet/builds/*/Dockerfile"], check=True
    )
    folder = Path(runs.stdout.split()[0]).parent
    # The first build's log is the one before; the resumed run made no third.
    for log in ("log", "log.1"):
        text = lab.host("amd64-2").run(["cat", str(folder / log)], check=True).stdout
        assert len(re.findall(r" tick 16$", text, re.MULTILINE)) == 1


def test_what_is_whole_is_published_with_exit_4_where_that_is_allowed(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    # No arm64 machine is there; the inventory of the images wants it all the same.
    image(tmp_path, "work", "FROM busybox\nRUN echo partial > /work\n")
    fleet = controller(("amd64-2",), "platforms: [linux/amd64, linux/arm64]\n")
    fleet.fleet("build", expect=1)
    fleet.fleet("inspect", f"{fleet.address()}/work:latest", expect=1)
    done = fleet.fleet("build", "--allow-partial", expect=4)
    assert "not renewed: linux/arm64" in done.stdout
    index = fleet.json("inspect", f"{fleet.address()}/work:latest")
    assert [m["platform"] for m in index["members"]] == ["linux/amd64"]
    assert ["io.xarch-fleet.partial", "linux/arm64"] in index["annotations"]


def test_two_inventories_share_a_hosts_one_slot(controller: Make, lab: Lab, tmp_path: Path) -> None:
    clock = "$(cut -d' ' -f1 /proc/uptime)"
    began = f"echo begin:{clock}; sleep 4; echo end:{clock}"
    fleets, runs = [], []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        lab_base(folder)
        image(folder, "work", f"FROM busybox\nRUN : {name}; {began}\n")
        fleets.append(controller(("amd64-2",), AMD64, folder=folder))
        fleets[-1].fleet("build", "busybox")
    for fleet in fleets:
        runs.append(fleet.start("build", "work"))
    said = []
    for run in runs:
        assert run.stdout is not None
        said.append(run.stdout.read())
        assert run.wait() == 0, said[-1]
    spans = sorted(
        (float(re.findall(r"begin:([\d.]+)$", text, re.MULTILINE)[-1]),
         float(re.findall(r"end:([\d.]+)$", text, re.MULTILINE)[-1]))
        for text in said
    )  # fmt: skip
    assert spans[0][1] <= spans[1][0], "they were built at the same time"
    assert sum("builds of other runs" in text for text in said) == 1


def test_a_build_that_says_nothing_is_ended_and_says_why(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    image(tmp_path, "mute", "FROM busybox\nRUN sleep 3600 # tick\n")
    fleet = controller(("amd64-1",), f"{AMD64}limits: {{silence: 4s}}\n")
    done = fleet.fleet("build", expect=1)
    assert "the build was ended: it printed nothing for 4 s" in done.stdout
    until(lambda: not ours(lab.host("amd64-1")))


def test_leftovers_are_removed_and_what_is_used_is_not(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    fleet = controller(("amd64-2",), AMD64)
    fleet.fleet("build")
    host = lab.host("amd64-2")
    assert not re.search(r"\d images?,", fleet.fleet("prune").stdout)
    host.run(["sh", "-c", "find ~/.cache/fleet -exec touch -d '10 days ago' {} +"], check=True)
    said = fleet.fleet("prune").stdout
    # How many is up to the tests before: a build that failed has a folder and no image.
    assert re.search(r"amd64-2 .*\b[1-9]\d* contexts?\b.*\b[1-9]\d* images?\b", said), said
    left = host.run(["sh", "-c", "ls ~/.cache/fleet/builds ~/.cache/fleet/contexts"], check=True)
    assert re.findall(r"[0-9a-f]{32}", left.stdout) == []
    assert host.run(["docker", "image", "ls", "-q", "fleet/busybox"], check=True).stdout == ""
    fleet.fleet("build", "--force")


def test_a_shell_that_prints_a_banner_is_no_harm(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    (host,) = lab.up(["amd64-2"])
    banner = "echo 'Welcome! 12'; echo end finished 0; printf '\\033[31mfleet-host\\n'"
    host.admin(
        ["sh", "-c", 'printf "%s\\n" "$1" | tee /root/.bashrc >/root/.profile', "sh", banner]
    )
    try:
        image(tmp_path, "work", "FROM busybox\nRUN echo banner > /work\n")
        controller(("amd64-2",), AMD64).fleet("build")
    finally:
        host.admin(["rm", "-f", "/root/.bashrc", "/root/.profile"])


def test_bad_bytes_of_a_build_reach_the_log_and_harm_nothing(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    noise = (
        r"printf '\377\376 bad \303\n\033[31mred\033[0m \033]0;title\007 [/bold] end\n';"
        " head -c 10000000 /dev/zero | tr '\\0' x; echo; echo after"
    )
    image(tmp_path, "noisy", f"FROM busybox\nRUN {noise}\n")
    fleet = controller(("amd64-1",), AMD64)
    said = fleet.fleet("build").stdout
    assert "\033" not in said
    assert "after" in said
    newest = max((fleet.state / "fleet" / "runs").iterdir())
    log = (newest / "logs" / "noisy-amd64.1.log").read_text(encoding="utf-8")
    assert "\ufffd\ufffd bad" in log
    assert "after" in log


def test_a_host_whose_clock_is_two_hours_off_builds_all_the_same(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    (host,) = lab.up(["arm64-1"])
    host.hurt.skew_clock(-7200)
    try:
        image(tmp_path, "work", "FROM busybox\nRUN echo skewed > /work\n")
        fleet = controller(("arm64-1",), "platforms: [linux/arm64]\n")
        fleet.fleet("build")
    finally:
        host.hurt.skew_clock(0)
    assert fleet.outcomes()["work linux/arm64"] == "built"


def test_a_build_is_told_how_many_compilers_its_host_bears(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    image(tmp_path, "made", "FROM busybox\nARG MAKE_JOBS=none\nRUN echo jobs=$MAKE_JOBS\n")
    fleet = controller(("amd64-1",), AMD64 + "images: {busybox: {}, made: {memory_per_job: 1TB}}\n")
    fleet.fleet("build")
    newest = max((fleet.state / "fleet" / "runs").iterdir())
    assert "jobs=1\n" in (newest / "logs" / "made-amd64.1.log").read_text()


def test_a_slow_job_is_begun_on_an_idle_host_as_well_and_only_the_faster_is_published(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    # The host with many slots gives a build one compiler: there it takes longer than the test.
    slow = "FROM busybox\nARG MAKE_JOBS\nCOPY data /data\n"
    slow += 'RUN if [ "$MAKE_JOBS" = 1 ]; then sleep 1234; fi\n'
    image(tmp_path, "work", slow, data="one")
    fleet = controller(("amd64-1", "amd64-2"), AMD64 + "speculate: true\n")
    told = fleet.inventory.read_text()
    for host, slots in (("amd64-1", 64), ("amd64-2", 1)):
        told = told.replace(f"address: {host}", f"address: {host}, slots: {slots}")
    fleet.inventory.write_text(told)
    fleet.fleet("build", "--limit", "amd64-2")  # from here on history knows how long it takes
    (tmp_path / "dockerfiles" / "work" / "data").write_text("two")
    fleet.fleet("build", "work")
    (ended,) = [
        e["outcome"]
        for e in fleet.events()
        if e["event"] == "job-finished" and e["outcome"]["id"]["image"] == "work"
    ]
    assert (ended["status"], ended["host"]) == ("built", "amd64-2")
    hosts = [(e["host"], e["beside"]) for e in fleet.events() if e["event"] == "job-started"]
    assert hosts == [("amd64-1", None), ("amd64-2", "amd64-1")]
    dropped = [e["host"] for e in fleet.events() if e["event"] == "copy-dropped"]
    assert dropped == ["amd64-1"]
    left = "for it in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$it; echo; done 2>/dev/null"
    found = lab.host("amd64-1").run(["sh", "-c", left], check=True)
    assert "sleep 1234" not in found.stdout, "the slow build goes on"
    fleet.fleet("verify", "work")


@contextmanager
def little_memory(host: Host, extra: int) -> Iterator[None]:
    """Let a namespace host have only so many bytes more than it uses."""
    group = host.backend.group  # type: ignore[attr-defined]
    names = (("memory.limit_in_bytes", "memory.usage_in_bytes"), ("memory.max", "memory.current"))
    for folder in group.folders:
        for limit, usage in names:
            if (folder / limit).exists():
                before = (folder / limit).read_text()
                (folder / limit).write_text(str(int((folder / usage).read_text()) + extra))
                try:
                    yield
                finally:
                    (folder / limit).write_text(before if before != "max\n" else "max")
                return
    pytest.skip("this machine's control groups do not limit memory")


def test_a_build_that_the_kernel_ended_for_want_of_memory_says_so(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    image(
        tmp_path,
        "hog",
        "FROM busybox\nRUN x=$(head -c 900000000 /dev/zero | tr '\\0' x); echo $x | wc -c\n",
    )
    image(tmp_path, "killed", "FROM busybox\nRUN sh -c 'kill -9 $$'; exit $?\n")
    fleet = controller(("amd64-1",), AMD64)
    fleet.fleet("build", "busybox")
    fleet.fleet("build", "killed", expect=1)
    kinds = {e["outcome"]["error"]["kind"] for e in fleet.events() if e["event"] == "job-finished"
             and e["outcome"]["error"]}  # fmt: skip
    assert kinds == {"BuildFailed"}  # somebody else's `kill -9` is no want of memory
    with little_memory(lab.host("amd64-1"), 200_000_000):
        done = fleet.fleet("build", "hog", expect=1)
    assert "the kernel ended the build for want of memory" in done.stdout


@dataclass
class Building:
    """A run that builds, and how often its log says that it did, each time with its ticks."""

    run: subprocess.Popen[str]
    executions: list[list[int]] = field(default_factory=list)


def executions(fleet: Controller, log: str) -> list[list[int]]:
    """The ticks of a job's logs, all attempts together, as executions that start at 1."""
    newest = max((fleet.state / "fleet" / "runs").iterdir())
    found: list[list[int]] = []
    for path in sorted((newest / "logs").glob(f"{log}.*.log")):
        for tick in re.findall(r"^#\d+ [\d.]+ tick (\d+)$", path.read_text(), re.MULTILINE):
            if tick == "1" or not found:
                found.append([])
            found[-1].append(int(tick))
    return found


@contextmanager
def building_on_arm(controller: Make, lab: Lab, folder: Path, marker: str) -> Iterator[Building]:
    """A build of 20 ticks on an ARM machine, at the third; its end is seen to be good."""
    lab_base(folder)
    short = SLOW.replace("120", "20")
    image(folder, "slow", f"FROM busybox\nRUN : {marker}; {short}; cat /proc/uptime\n")
    limits = "limits: {host_wait: 4m}\n"
    fleet = controller(("arm64-1",), f"platforms: [linux/arm64]\n{limits}")
    run = fleet.start("build")
    heard(run, "tick 3")
    building = Building(run)
    yield building
    assert run.stdout is not None
    said = run.stdout.read()
    assert run.wait(300) == 0, said
    assert fleet.outcomes()["slow linux/arm64"] == "built"
    building.executions = executions(fleet, "slow-arm64v8")


def test_an_arm_machine_that_freezes_for_a_minute_goes_on_with_its_build(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    host = lab.host("arm64-1")
    with building_on_arm(controller, lab, tmp_path, "frozen") as building:
        host.hurt.freeze()
        try:
            heard(building.run, "arm64-1 is away")
        finally:
            host.hurt.thaw()
    assert building.executions == [list(range(1, 21))]


def test_an_arm_machine_that_loses_its_power_builds_again_when_it_is_back(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    with building_on_arm(controller, lab, tmp_path, "power") as building:
        lab.host("arm64-1").hurt.kill()
        heard(building.run, "arm64-1 is away")
        lab.up(["arm64-1"])
    lost, whole = building.executions
    assert lost == list(range(1, len(lost) + 1))
    assert whole == list(range(1, 21))
