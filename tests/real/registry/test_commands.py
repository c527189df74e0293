"""The commands on real registries: an inventory with its own authority, passwords and names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.registry import CredentialStore, Registry, publish
from tests.unit.registry.content import ALL, ARM64, image, sha

from .conftest import Serve
from .servers import PASSWORD, USER, Certificates, Server, clean_environment, free_port

pytestmark = pytest.mark.real


class Desk:
    """A folder with an inventory whose registry has a private authority and asks for a password."""

    def __init__(self, folder: Path, server: Server, certificates: Certificates) -> None:
        self.folder = folder
        self.server = server
        (folder / "dockerfiles/hello").mkdir(parents=True)
        (folder / "dockerfiles/hello/Dockerfile").write_text("FROM scratch\n")
        (folder / "our.crt").write_bytes(certificates.ca.read_bytes())
        (folder / "inventory.yml").write_text(
            f"registry: {{address: '{server.address}/team', ca: our.crt}}\n"
            "hosts: {here: {connection: local}}\n"
        )
        environ = {"HOME": "/nowhere", **self.login}
        registry = Registry(
            credentials=CredentialStore(server.address, environ=environ),
            authorities={server.address: certificates.ca},
        )
        hello = server.repository("team/hello")
        members = []
        for platform in ALL:
            tag = f"latest-{platform.library_name}"
            server.push(image(platform), tag, repository="team/hello")
            members.append(registry.image(hello.tagged(tag)))
        done = publish(registry, repository=hello, tags=["latest"], members=members)
        self.digest = done.indexes[0].digest

    @property
    def login(self) -> dict[str, str]:
        return {"FLEET_REGISTRY_USERNAME": USER, "FLEET_REGISTRY_PASSWORD": PASSWORD}

    def fleet(self, *arguments: str, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        environ = {k: v for k, v in clean_environment().items() if not k.startswith("FLEET_")}
        state = {"XDG_STATE_HOME": str(self.folder / "state")}
        done = subprocess.run(
            [sys.executable, "-m", "fleet", *arguments],
            cwd=self.folder,
            env={**environ, **self.login, **state, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == exit_code, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return done


@pytest.fixture
def desk(serve: Serve, certificates: Certificates, tmp_path: Path) -> Desk:
    return Desk(tmp_path, serve(passwords=True, tls=certificates), certificates)


def test_an_image_of_the_inventory_is_tagged_promoted_exported_and_verified(
    desk: Desk, serve: Serve
) -> None:
    assert "verified" in desk.fleet("verify", "hello").stdout
    (tagged,) = json.loads(desk.fleet("tag", "hello", "1.2", "--json").stdout)
    assert tagged["digest"] == desk.digest
    other = serve()
    told = desk.fleet("promote", "hello:1.2", f"http://{other.address}/there/hello").stdout
    assert f"{desk.server.address}/team/hello:1.2 -> {other.address}/there/hello:1.2" in told
    assert "blobs copied" in told
    assert f"{other.address}/there/hello:1.2-arm64v8" in told
    desk.fleet("export", "hello:1.2", "hello.oci")
    index = json.loads((desk.folder / "hello.oci/index.json").read_text())
    assert index["manifests"][0]["digest"] == desk.digest
    desk.fleet("export", "hello", "arm.tar", "--platform", "linux/arm64")
    assert "verified" in desk.fleet("verify", f"http://{other.address}/there/hello:1.2").stdout


def test_a_layer_that_is_gone_ends_verify_with_1_and_its_name(desk: Desk) -> None:
    layer = image(ARM64).blobs[1]
    data = desk.server.folder / "data/docker/registry/v2/repositories/team/hello/_layers/sha256"
    (data / sha(layer).removeprefix("sha256:") / "link").unlink()
    done = desk.fleet("verify", "hello", exit_code=1)
    assert f"not so: linux/arm64: the blob {sha(layer)}" in done.stdout
    assert "NOT as it should be" in done.stdout


def test_a_mirror_that_is_down_is_said_and_the_registry_asked(desk: Desk, serve: Serve) -> None:
    origin = serve()
    origin.push(image(ARM64), "trixie", repository="library/debian")
    with (desk.folder / "inventory.yml").open("a") as file:
        file.write(f"mirrors: {{'{origin.address}': 'http://127.0.0.1:{free_port()}'}}\n")
    looked = desk.fleet("doctor", exit_code=1).stdout
    assert f"FAULT  mirror      {origin.address}" in looked
    target = desk.server.repository("team/debian").tagged("trixie")
    source = f"http://{origin.address}/library/debian:trixie"
    done = desk.fleet("promote", source, str(target))
    assert f"the mirror of {origin.address} was of no use" in done.stderr
    assert f"{origin.address} itself is asked from now on" in done.stderr
    assert image(ARM64).digest in done.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("tag", "hello:gone", "1.2"), 1, "hello:gone: not there"),
        (("tag", "hello", "-x"), 2, "'-x' is not a valid tag"),
        (("promote", "hello", "a/b@sha256:1"), 2, "is not an image"),
        (("promote", "hello", "nowhere.invalid/hello:1"), 1, "does not resolve"),
        (("promote", "http://127.0.0.1:1/hello", "hello"), 3, "connection refused"),
        (("export", "hello", "dockerfiles"), 2, "dockerfiles is there already"),
        (("export", "hello", "x.oci", "--platform", "s390x"), 1, "not there for linux/s390x"),
    ],
)
def test_bad_input_is_one_clear_message(
    desk: Desk, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    if arguments[-1] == "-x":
        arguments = (*arguments[:-1], "--", "-x")
    done = desk.fleet(*arguments, exit_code=exit_code)
    assert said in done.stdout + done.stderr
    assert not (desk.folder / "x.oci").exists()
