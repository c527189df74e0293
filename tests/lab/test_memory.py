"""The registry is the memory: what a run finds there, and what it leaves, on real machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab
from tests.lab.fleetcli import Controller
from tests.lab.test_build import Make, controller, image, lab_base

pytestmark = pytest.mark.lab
__all__ = ["controller"]  # the fixture

AMD64 = "platforms: [linux/amd64]\n"


def reasons(fleet: Controller) -> dict[str, str]:
    """Why the newest run did what it did, by job."""
    return {
        f"{e['job']['image']} {e['job']['platform']}": f"{e['action']}: {e['reason']}"
        for e in fleet.events()
        if e["event"] == "job-planned"
    }


def digests(fleet: Controller, name: str) -> dict[str, str]:
    told = fleet.json("inspect", f"{fleet.address()}/{name}")
    return {member["platform"]: member["descriptor"]["digest"] for member in told["members"]}


def test_the_reason_names_the_files_that_changed_and_another_controller_keeps_what_is_there(
    controller: Make, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    image(tmp_path, "work", "FROM busybox\nCOPY . /data/\n", one="1\n", two="2\n")
    fleet = controller(("amd64-2",), AMD64)
    fleet.fleet("build")
    context = tmp_path / "dockerfiles" / "work"
    (context / "one").write_text("other\n")
    (context / "three").write_text("3\n")
    fleet.fleet("build")
    assert reasons(fleet)["work linux/amd64"] == "build: context changed: 2 files (one, three)"

    # A second controller knows nothing but what the registry tells.
    for memory in (fleet.state / "fleet" / "contexts").iterdir():
        memory.unlink()
    fleet.fleet("build")
    assert set(reasons(fleet).values()) == {"keep: inputs unchanged"}
    (context / "one").write_text("another\n")
    fleet.fleet("build")
    assert reasons(fleet)["work linux/amd64"] == "build: context changed"


def test_what_is_too_old_is_built_anew_and_without_a_cache(
    controller: Make, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    image(tmp_path, "work", "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /made\n")
    fleet = controller(("amd64-2",), AMD64)
    fleet.fleet("build")
    first = digests(fleet, "work:latest")
    fleet.fleet("build", "--max-age", "1d")
    assert digests(fleet, "work:latest") == first
    fleet.fleet("build", "work", "--max-age", "0s")
    assert reasons(fleet)["work linux/amd64"].startswith("build: too old: made on ")
    assert digests(fleet, "work:latest") != first


def test_every_tag_is_published_with_arch_tags_annotations_and_a_metadata_file(
    controller: Make, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    image(tmp_path, "work", "FROM busybox\nRUN echo tagged > /work\n")
    images = 'images: {busybox: {version: "1"}, work: {version: "1.35"}}'
    fleet = controller(("amd64-2",), f"{AMD64}record_host: true\n{images}\n")
    written = tmp_path / "metadata.json"
    fleet.fleet("build", "-t", "latest", "-t", "{version}", "--metadata-file", str(written))
    index = fleet.json("inspect", f"{fleet.address()}/work:1.35")
    told = json.loads(written.read_text())["work"]
    assert told["containerimage.digest"] == index["digest"]
    assert told["image.name"].count(":1.35") == 1
    (member,) = index["members"]
    said = dict(member["descriptor"]["annotations"])
    assert said["org.opencontainers.image.version"] == "1.35"
    assert said["io.xarch-fleet.emulated"] == "false"
    assert said["io.xarch-fleet.host"] == "amd64-2"
    # The next run keeps the image, and gives it the new tag all the same.
    fleet.fleet("build", "-t", "latest", "-t", "{date}")
    assert set(fleet.outcomes().values()) == {"kept"}
    day = fleet.events()[-2]["outcome"]["plan"]["tags"][1]
    assert digests(fleet, f"work:{day}") == digests(fleet, "work:latest")
    fleet.fleet("stitch", "work", "-t", day)  # from the arch tag that the run left


def test_an_index_is_stitched_from_arch_tags_alone(controller: Make, tmp_path: Path) -> None:
    lab_base(tmp_path)
    fleet = controller(("amd64-2",), AMD64)
    fleet.fleet("stitch", expect=1)
    fleet.fleet("build")
    before = digests(fleet, "busybox:latest")
    said = fleet.fleet("stitch").stdout
    assert "unchanged" in said
    assert digests(fleet, "busybox:latest") == before


def test_images_that_are_not_pushed_stay_on_their_host_and_the_next_run_collects_them(
    controller: Make, lab: Lab, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    image(tmp_path, "child", "FROM busybox\nRUN echo child > /child\n")
    fleet = controller(("amd64-1", "amd64-2"), AMD64)
    said = fleet.fleet("build", "--no-push").stdout
    left = [e["outcome"]["left"] for e in fleet.events() if e["event"] == "job-finished"]
    assert len({it["host"] for it in left}) == 1
    assert "left there as fleet/child:amd64-" in said
    fleet.fleet("inspect", f"{fleet.address()}/child:latest", expect=1)
    name = left[1]["reference"]
    run = ["docker", "run", "--rm", "--net=none", name, "cat", "/child"]
    assert lab.host(left[0]["host"]).run(run, check=True).stdout == "child\n"
    fleet.fleet("build")
    assert set(fleet.outcomes().values()) == {"built"}


def test_what_is_published_is_signed_by_digest(controller: Make, tmp_path: Path) -> None:
    lab_base(tmp_path)
    told = tmp_path / "signed"
    script = f"import sys; open({str(told)!r}, 'a').write(sys.argv[1] + '\\n')"
    command = json.dumps([sys.executable, "-c", script, "{reference}"])
    fleet = controller(("amd64-2",), f"{AMD64}sign: {command}\n")
    fleet.fleet("build")
    index = fleet.json("inspect", f"{fleet.address()}/busybox:latest")
    assert told.read_text() == f"{fleet.address()}/busybox@{index['digest']}\n"
    fleet.fleet("build")
    assert len(told.read_text().splitlines()) == 1


@pytest.fixture
def attesting(lab: Lab) -> Iterator[str]:
    """A host whose engine keeps images in containerd, as new Docker does by default."""
    lab.up(["amd64-1"])
    host = lab.host("amd64-1")
    settings = '{"features": {"containerd-snapshotter": true}}'
    host.admin(["sh", "-c", f"mkdir -p /etc/docker; echo '{settings}' > /etc/docker/daemon.json"])
    host.hurt.stop_docker()
    host.hurt.start_docker()
    yield "amd64-1"
    host.admin(["rm", "/etc/docker/daemon.json"])
    host.hurt.stop_docker()
    host.hurt.start_docker()


def test_a_provenance_is_made_where_the_engine_keeps_it_and_stands_in_the_index(
    attesting: str, controller: Make, tmp_path: Path
) -> None:
    lab_base(tmp_path)
    image(tmp_path, "work", "FROM busybox\nRUN echo work > /work\n")
    wants = "images: {busybox: {}, work: {provenance: true, smoke: [cat, /work]}}\n"
    fleet = controller((attesting,), f"{AMD64}{wants}")
    fleet.fleet("build")
    index = fleet.json("inspect", f"{fleet.address()}/work:latest")
    (member,) = index["members"]
    (attestation,) = member["attestations"]
    about = dict(attestation["annotations"])
    assert about["vnd.docker.reference.digest"] == member["descriptor"]["digest"]
    (verdict,) = fleet.json("verify", "work", "--run")
    assert [trial["output"] for trial in verdict["trials"]] == ["x86_64"]
    fleet.fleet("build")
    assert set(fleet.outcomes().values()) == {"kept"}


def test_a_host_that_keeps_no_attestation_is_named(controller: Make, tmp_path: Path) -> None:
    lab_base(tmp_path)
    fleet = controller(("amd64-2",), f"{AMD64}images: {{busybox: {{sbom: true}}}}\n")
    said = fleet.fleet("build").stdout
    assert "warning: busybox: no sbom of what amd64-2 builds" in said
