"""The main job on real machines: three native architectures under one tag."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet.events import COLLECTED
from lab import Lab
from tests.lab.fleetcli import Controller

pytestmark = pytest.mark.lab

IMAGES = Path(__file__).resolve().parents[2] / "lab" / "images"
THREE = ("amd64-1", "arm64-1", "armv7-1")
ALL_THREE = "platforms: [linux/amd64, linux/arm64, linux/arm/v7]\n"
# A build takes a minute on an emulated ARM machine; `make demo` builds all that the lab has.
TWO = "images: {busybox: {}, hello: {smoke: [/bin/hello]}}\n"
ARCH = {"linux/amd64": "x86_64", "linux/arm64": "aarch64", "linux/arm/v7": "armv7l"}

Make = Callable[..., Controller]


@pytest.fixture
def controller(tmp_path: Path, lab: Lab) -> Iterator[Make]:
    """Makes controllers; their registries end with the test."""
    made: list[Controller] = []

    def make(hosts: tuple[str, ...], rest: str) -> Controller:
        lab.up(hosts)
        made.append(Controller.of(tmp_path, lab, hosts, rest))
        return made[-1]

    yield make
    for one in made:
        one.fleet("registry", "stop")


def image(folder: Path, name: str, dockerfile: str, **files: str) -> None:
    """An image's folder under ``dockerfiles/``; `base` stands for the lab's busybox."""
    context = folder / "dockerfiles" / name
    context.mkdir(parents=True)
    (context / "Dockerfile").write_text(dockerfile)
    for path, text in files.items():
        (context / path).write_text(text)


def lab_base(folder: Path) -> None:
    """The lab's busybox as an image named ``busybox``."""
    (folder / "dockerfiles").mkdir(exist_ok=True)
    (folder / "dockerfiles" / "busybox").symlink_to(IMAGES / "busybox")


def test_three_architectures_under_one_tag_and_nothing_is_built_twice(controller: Make) -> None:
    fleet = controller(THREE, f"dockerfiles: {IMAGES}\n{ALL_THREE}{TWO}")
    fleet.fleet("build")
    assert set(fleet.outcomes().values()) == {"built"}
    assert len(fleet.outcomes()) == 6
    (verdict,) = fleet.json("verify", "hello", "--run")
    assert {t["platform"]: t["output"] for t in verdict["trials"]} == ARCH
    assert [m["platform"] for m in verdict["index"]["members"]] == sorted(ARCH)
    before = fleet.json("inspect", f"{fleet.address()}/hello:latest")

    fleet.fleet("build")
    assert set(fleet.outcomes().values()) == {"kept"}
    assert fleet.json("inspect", f"{fleet.address()}/hello:latest") == before

    # By hand for one host: that platform is replaced, the others stay, none is there twice.
    fleet.fleet("build", "hello", "--limit", "amd64-1", "--force")
    assert fleet.outcomes()["hello linux/amd64"] == "built"
    after = fleet.json("inspect", f"{fleet.address()}/hello:latest")
    was = {m["platform"]: m["descriptor"]["digest"] for m in before["members"]}
    now = {m["platform"]: m["descriptor"]["digest"] for m in after["members"]}
    assert sorted(now) == sorted(was)
    assert {p for p in now if now[p] != was[p]} <= {"linux/amd64"}


def test_a_host_that_knows_nothing_takes_the_layers_of_what_was_published(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    slow = "FROM busybox\nRUN echo layers >/slow; cat /proc/uptime >>/slow\nCOPY data /data\n"
    image(tmp_path, "work", slow, data="one")
    only = "platforms: [linux/amd64]\nimages: {busybox: {}, work: {cache: registry}}\n"
    fleet = controller(("amd64-1",), only)
    fleet.fleet("build")
    # As new, and with the same engine: one of another age need not know its steps again.
    forget = "docker image rm -f $(docker image ls -q | sort -u); docker builder prune -af"
    lab.host("amd64-1").run(["sh", "-c", f"{forget}; rm -rf ~/.cache/fleet"], check=True)
    (tmp_path / "dockerfiles" / "work" / "data").write_text("two")
    fleet.fleet("build", "work")
    assert fleet.outcomes()["work linux/amd64"] == "built"
    newest = max((fleet.state / "fleet" / "runs").iterdir())
    log = (newest / "logs" / "work-amd64.1.log").read_text()
    step = next(line.split()[0] for line in log.splitlines() if "RUN echo layers" in line)
    assert f"{step} CACHED" in log, log


def test_platforms_are_proven_and_labels_say_so(controller: Make) -> None:
    fleet = controller(("arm64-1", "armv7-1"), f"dockerfiles: {IMAGES}\n")
    native = {
        report["spec"]["name"]: {p["platform"] for p in report["facts"]["proofs"] if p["native"]}
        for report in fleet.json("hosts")
    }
    assert "linux/arm64" in native["arm64-1"]
    assert "linux/arm/v7" in native["armv7-1"]
    assert "linux/amd64" not in native["arm64-1"] | native["armv7-1"]
    assert "linux/arm64" not in native["armv7-1"]


def test_a_failed_build_shows_its_last_lines_and_skips_its_children(
    controller: Make, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    script = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; done; exit 7"
    image(tmp_path, "broken", f"FROM busybox\nRUN {script}\n")
    image(tmp_path, "child", "FROM broken\n")
    image(tmp_path, "sibling", "FROM busybox\nRUN echo well > /well\n")
    fleet = controller(("amd64-2",), "platforms: [linux/amd64]\n")
    done = fleet.fleet("build", "--progress", "steps", expect=1)
    assert fleet.outcomes() == {
        "busybox linux/amd64": "built",
        "broken linux/amd64": "failed",
        "child linux/amd64": "skipped",
        "sibling linux/amd64": "built",
    }
    assert "line 40" in done.stdout
    log = next(
        line.split(": ", 1)[1] for line in done.stdout.splitlines() if "the whole log" in line
    )
    assert "line 1\n" in Path(log.strip()).read_text().replace("\r", "") or "line 1" in (
        Path(log.strip()).read_text()
    )
    fleet.fleet("inspect", f"{fleet.address()}/sibling:latest")
    fleet.fleet("inspect", f"{fleet.address()}/broken:latest", expect=1)


def test_a_foreign_executable_in_an_image_is_never_published(
    controller: Make, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    copy = "COPY --from=busybox /bin/busybox /bin/tool\n"
    # An ELF header of another machine: what a careless COPY of a prebuilt binary brings.
    image(tmp_path, "foreign", f'FROM busybox\n{copy}ADD tool /bin/tool\nCMD ["/bin/tool"]\n')
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00\x01\x00\x00\x00" + bytes(40)
    (tmp_path / "dockerfiles" / "foreign" / "tool").write_bytes(header)
    (tmp_path / "dockerfiles" / "foreign" / "tool").chmod(0o755)
    fleet = controller(("amd64-2",), "platforms: [linux/amd64]\n")
    done = fleet.fleet("build", "foreign", expect=1)
    assert "linux/arm64" in done.stdout
    fleet.fleet("inspect", f"{fleet.address()}/foreign:latest-amd64", expect=1)


def test_a_context_is_filtered_once_by_the_file_that_docker_would_take(
    controller: Make, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    image(
        tmp_path,
        "kept",
        "FROM busybox\nCOPY kept.txt /kept.txt\n",
        **{
            "kept.txt": "here",
            "Dockerfile.dockerignore": "other.txt\n",
            ".dockerignore": "kept.txt\n",
        },
    )
    fleet = controller(("amd64-2",), "platforms: [linux/amd64]\n")
    fleet.fleet("build", "kept")
    assert fleet.outcomes()["kept linux/amd64"] == "built"


@pytest.mark.parametrize("host", ["amd64-1", "amd64-2"])
def test_a_byte_that_changed_is_built_though_size_and_time_are_the_same(
    host: str, controller: Make, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    recipe = "FROM busybox\nCOPY data /data\nRUN echo one > /made\n"
    image(tmp_path, "work", recipe, data="one\n")
    smoke = "images: {busybox: {}, work: {smoke: [cat, /data, /made]}}\n"
    fleet = controller((host,), f"platforms: [linux/amd64]\n{smoke}")
    fleet.fleet("build")
    context = tmp_path / "dockerfiles" / "work"
    (context / "data").write_text("two\n")
    fleet.fleet("build")
    (context / "Dockerfile").write_text(recipe.replace("one", "two"))
    said = fleet.fleet("build").stdout
    assert fleet.outcomes() == {"busybox linux/amd64": "kept", "work linux/amd64": "built"}
    assert said.count(f"@{host}] work: two\n") == 2
    assert f"@{host}] work: one\n" not in said


def test_two_hosts_of_one_platform_share_the_work(controller: Make, tmp_path: Path) -> None:
    lab_base(tmp_path)
    for number in range(4):
        image(tmp_path, f"work{number}", f"FROM busybox\nRUN sleep 2; echo {number} > /n\n")
    fleet = controller(("amd64-1", "amd64-2"), "platforms: [linux/amd64]\n")
    fleet.fleet("build")
    started = [e for e in fleet.events() if e["event"] == "job-started"]
    assert {e["host"] for e in started} == {"amd64-1", "amd64-2"}


def test_a_lost_host_hands_its_jobs_to_another(controller: Make, tmp_path: Path, lab: Lab) -> None:
    lab_base(tmp_path)
    image(tmp_path, "work", "FROM busybox\nRUN echo work > /work\n")
    fleet = controller(("amd64-1", "amd64-2"), "platforms: [linux/amd64]\n")
    lab.host("amd64-1").hurt.stop_docker()
    try:
        fleet.fleet("build")
    finally:
        lab.host("amd64-1").hurt.start_docker()
    assert set(fleet.outcomes().values()) == {"built"}
    started = [e for e in fleet.events() if e["event"] == "job-started"]
    assert {e["host"] for e in started} == {"amd64-2"}


def test_a_qemu_handler_counts_as_emulation_and_is_refused(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    fleet = controller(("amd64-1",), "platforms: [linux/arm64]\n")
    host = lab.host("amd64-1")
    host.hurt.fake_binfmt("linux/arm64")
    try:
        done = fleet.fleet("build", "busybox", expect=1)
    finally:
        host.hurt.clear_binfmt()
    assert "qemu-aarch64" in done.stdout
    assert fleet.outcomes() == {"busybox linux/arm64": "blocked"}


def test_a_host_key_that_changed_stops_everything(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    fleet = controller(("amd64-2",), "platforms: [linux/amd64]\n")
    host = lab.host("amd64-2")
    host.hurt.change_host_key()
    try:
        done = fleet.fleet("build", expect=3)
    finally:
        host.hurt.restore_host_key()
    assert "ssh-keygen -R" in done.stdout + done.stderr


def test_a_user_who_may_not_use_docker_is_told_how(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    fleet = controller(("amd64-2",), "platforms: [linux/amd64]\n")
    text = fleet.inventory.read_text().replace("address: amd64-2", "address: nodocker@amd64-2")
    fleet.inventory.write_text(text)
    done = fleet.fleet("doctor", expect=1)
    assert "usermod -aG docker nodocker" in done.stdout


def test_the_host_keeps_nothing_of_the_run_but_what_it_caches(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    fleet = controller(("amd64-2",), "platforms: [linux/amd64]\n")
    fleet.fleet("build")
    host = lab.host("amd64-2")
    assert host.run(["docker", "ps", "-aq"], check=True).stdout == ""
    names = host.run(["docker", "image", "ls", "--format", "{{.Repository}}"], check=True).stdout
    assert all(name.startswith("fleet/") for name in names.split())


def test_a_night_where_nothing_changed_connects_to_no_host(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    fleet = controller(("amd64-2",), "platforms: [linux/amd64]\n")
    fleet.fleet("build")
    lab.host("amd64-2").hurt.stop_sshd()
    try:
        fleet.fleet("build", "--progress", "quiet")
    finally:
        lab.host("amd64-2").hurt.start_sshd()
    assert fleet.outcomes() == {"busybox linux/amd64": "kept"}
    assert not [e for e in fleet.events() if e["event"] == "host-probed"]


def test_a_build_outlives_its_connection_and_its_controller(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    count = "i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo tick $i; sleep 0.5; done"
    image(tmp_path, "slow", f"FROM busybox\nRUN {count}\n")
    fleet = controller(("amd64-2",), "platforms: [linux/amd64]\n")
    first = fleet.start("build")
    try:
        assert first.stdout is not None
        for line in first.stdout:  # the test's own time-out is the deadline
            if "tick 3" in line:
                break
        lab.host("amd64-2").hurt.reset_connections()
        for line in first.stdout:
            if "tick 12" in line:
                break
    finally:
        first.kill()
        first.wait()
    fleet.fleet("build")
    assert fleet.outcomes()["slow linux/amd64"] == "built"
    # Counted on the host, not by fleet: one build, whose log both controllers followed.
    log = "cat ~/.cache/fleet/builds/*/log"
    lines = lab.host("amd64-2").run(["sh", "-c", log], check=True).stdout.splitlines()
    assert sum("tick 30" in line for line in lines if "RUN" not in line) == 1
    newest = max((fleet.state / "fleet" / "runs").iterdir())
    told = (newest / "logs" / "slow-amd64.1.log").read_text()
    assert [told.count(f" tick {n}\n") for n in range(1, 31)] == [1] * 30


def test_ctrl_c_leaves_the_build_running_and_the_next_run_collects_it(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    count = "i=0; while [ $i -lt 12 ]; do i=$((i+1)); echo tick $i; sleep 0.5; done"
    image(tmp_path, "slow", f"FROM busybox\nRUN {count}; cat /proc/sys/kernel/random/uuid\n")
    fleet = controller(("amd64-2",), "platforms: [linux/amd64]\n")
    first = fleet.start("build")
    assert first.stdout is not None
    said = []
    for line in first.stdout:
        said.append(line)
        if "tick 2" in line:
            first.send_signal(signal.SIGINT)
    assert first.wait() == 130
    assert any("goes on" in line for line in said), "".join(said)
    assert not any("tick 11" in line for line in said)
    fleet.fleet("inspect", f"{fleet.address()}/slow:latest", expect=1)
    fleet.fleet("build")
    assert fleet.outcomes() == {"busybox linux/amd64": "kept", "slow linux/amd64": "built"}
    assert COLLECTED in {event.get("detail") for event in fleet.events()}
    # The log of an execution before this one would be there as log.1.
    grep = "grep -l 'tick 12' ~/.cache/fleet/builds/*/log | xargs dirname | xargs ls"
    listed = lab.host("amd64-2").run(["sh", "-c", grep], check=True).stdout.split()
    assert "log" in listed
    assert "log.1" not in listed


def test_a_second_run_on_one_inventory_ends_at_once_and_names_the_first(
    controller: Make, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    image(tmp_path, "slow", "FROM busybox\nRUN echo begun; sleep 6\n")
    fleet = controller(("amd64-2",), "platforms: [linux/amd64]\n")
    first = fleet.start("build")
    assert first.stdout is not None
    run = next(line.split()[1] for line in first.stdout if line.startswith("run "))
    assert run in fleet.fleet("build", expect=75).stderr
    first.stdout.read()
    assert first.wait() == 0


CORE = """\
FROM os AS builder
ARG DOCKER_ARCH
ARG WHO
COPY fetched /fetched
RUN echo $WHO on $DOCKER_ARCH > /made
FROM os
COPY --from=builder /made /made
"""
PLUGINS = """\
FROM builder AS build
RUN cat /made /fetched > /plugin
FROM team/core-amd64:latest
COPY --from=build /plugin /plugin
"""
COMPOSE = f"""\
services:
  os: {{build: {IMAGES}/busybox}}
  core-amd64:
    image: team/core-amd64:latest
    build: &core
      context: core
      args: &args {{DOCKER_ARCH: amd64, WHO: "${{WHO:-compose}}"}}
      labels: [vendor=test]
      additional_contexts: {{os: "service:os"}}
  builder: {{build: {{<<: *core, target: builder}}}}
  plugins: {{build: plugins}}
  unbuilt: {{image: postgres}}
"""
CORE_TARGET = {
    "context": "core",
    "args": {"DOCKER_ARCH": "amd64", "WHO": "compose"},
    "labels": {"vendor": "test"},
    "contexts": {"os": "target:os"},
}
BAKE = {
    "group": {"default": {"targets": ["core-amd64", "builder", "plugins"]}},
    "target": {
        "os": {"context": f"{IMAGES}/busybox"},
        "core-amd64": {**CORE_TARGET, "tags": ["team/core-amd64:latest"]},
        "builder": {**CORE_TARGET, "target": "builder"},
        "plugins": {"context": "plugins", "output": [{"type": "registry"}]},
    },
}
PREPARED = """\
images:
  core: {prepare: &fetch [sh, -c, "echo x >> ../count; cp ../source fetched"]}
  builder: {prepare: *fetch}
  plugins: {smoke: [cat, /plugin]}
"""


def test_compose_and_bake_files_build_the_same_from_what_was_prepared(
    controller: Make, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    for name, dockerfile in (("core", CORE), ("plugins", PLUGINS)):
        (project / name).mkdir(parents=True)
        (project / name / "Dockerfile").write_text(dockerfile)
    (project / "source").write_text("one\n")
    (project / "docker-compose.yml").write_text(COMPOSE)
    (project / "docker-bake.json").write_text(json.dumps(BAKE, indent=2))
    rest = f"platforms: [linux/amd64]\nrecipes: project/docker-compose.yml\n{PREPARED}"
    fleet = controller(("amd64-1",), rest)
    every = {f"{name} linux/amd64" for name in ("os", "core", "builder", "plugins")}

    said = fleet.fleet("build").stdout
    assert fleet.outcomes() == dict.fromkeys(every, "built")
    assert (project / "count").read_text() == "x\n"
    for line in ("compose on amd64", "one"):
        assert f"[linux/amd64@amd64-1] plugins: {line}\n" in said
    (member,) = fleet.json("inspect", f"{fleet.address()}/core:latest")["members"]
    assert ["vendor", "test"] in member["labels"]

    # The bake form means the same: its inputs are those that the registry has images of.
    text = fleet.inventory.read_text()
    fleet.inventory.write_text(text.replace("docker-compose.yml", "docker-bake.json"))
    said = fleet.fleet("build").stdout
    assert fleet.outcomes() == dict.fromkeys(every, "kept")
    assert "output is ignored" in said

    # A plan is about what a build would have: it prepares, too.
    (project / "source").write_text("two\n")
    reasons = [job["reason"] for job in fleet.json("plan", "core")["plan"]["jobs"]]
    assert any("context changed: 1 file (fetched)" in reason for reason in reasons)

    (project / "source").unlink()
    done = fleet.fleet("build", expect=1)
    assert "cannot stat" in done.stderr
    assert "prepare of core ended with status 1" in done.stderr
    assert not fleet.outcomes()
