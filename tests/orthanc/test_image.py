"""What the images are, without running Orthanc."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from dockerfiles.sources.commands import DOCKERFILES
from dockerfiles.sources.pins import read
from tests.orthanc.engine import Container, Engine

# What Debian's smallest system has (packages login, mount, passwd, util-linux), and
# libpam's helper.
SETUID = {"chage", "chfn", "chsh", "expiry", "gpasswd", "mount", "newgrp", "passwd", "su", "umount"}
SETUID |= {"unix_chkpwd"}

both = pytest.mark.parametrize("name", ["orthanc", "orthanc-plugins"])


@both
def test_what_the_images_of_2018_promised(
    name: str, engine: Engine, image_of: Callable[[str], str]
) -> None:
    about = engine.inspect(image_of(name))
    config = about["Config"]
    assert set(config["ExposedPorts"]) == {"4242/tcp", "8042/tcp"}
    assert set(config["Volumes"]) == {"/var/lib/orthanc/db"}
    assert config["Cmd"] == ["Orthanc", "/etc/orthanc/"]
    assert not config["Entrypoint"]
    assert "LANG=en_US.UTF-8" in config["Env"]
    assert config["Healthcheck"]["Test"] == ["CMD", "orthanc-healthcheck"]


@both
def test_the_labels(name: str, engine: Engine, image_of: Callable[[str], str]) -> None:
    labels = engine.inspect(image_of(name))["Config"]["Labels"]
    lane = read(DOCKERFILES / name).lane()
    assert labels["architecture"] == "amd64"
    assert labels["os"] == "linux"
    assert labels["orthanc.version"] == lane.version
    assert labels["orthanc.sources"] == lane.name
    for key in ("maintainer", "description", "vendor"):
        assert labels[key]
    for key in ("title", "description", "url", "documentation", "vendor", "version", "licenses"):
        assert labels[f"org.opencontainers.image.{key}"]


def test_the_machine_is_the_one_that_the_label_says(engine: Engine, image: str) -> None:
    assert engine.run(image, "arch") == "x86_64\n"
    assert engine.run(image, "dpkg", "--print-architecture") == "amd64\n"


@both
def test_nothing_may_become_root_but_what_debian_lets(
    name: str, engine: Engine, image_of: Callable[[str], str]
) -> None:
    argv = ["find", "/", "-xdev", "-perm", "/6000", "-type", "f"]
    found = {path.rpartition("/")[2] for path in engine.run(image_of(name), *argv).split()}
    assert found <= SETUID


@both
def test_nothing_of_the_build_is_left(
    name: str, engine: Engine, image_of: Callable[[str], str]
) -> None:
    script = (
        "ls -A /tmp /var/tmp /var/lib/apt/lists /usr/src /root/.cache 2>/dev/null; "
        "ls -d /stage /etc/shadow- /etc/passwd- /var/log/dpkg.log 2>/dev/null; "
        "command -v g++ cmake make dpkg-buildflags; true"
    )
    lines = engine.run(image_of(name), "sh", "-c", script).split()
    assert [line for line in lines if not line.endswith(":")] in ([], ["partial"])


@both
def test_the_licences_and_what_was_compiled_are_in_it(
    name: str, engine: Engine, image_of: Callable[[str], str]
) -> None:
    pins = read(DOCKERFILES / name).lane()
    folder = "orthanc" if name == "orthanc" else "orthanc-postgresql"
    said = engine.run(image_of(name), "cat", f"/usr/share/doc/{folder}/SOURCES")
    for tarball in pins.tarballs:
        assert f"{tarball.sha256}  {tarball.name}\n" in said
    assert "LICENSE" in engine.run(image_of(name), "head", "-1", f"/usr/share/doc/{folder}/COPYING")


def test_what_was_compiled_carries_the_moment_of_the_release(engine: Engine, image: str) -> None:
    epoch = re.search(
        r"^ARG SOURCE_DATE_EPOCH=(\d+)$", (DOCKERFILES / "orthanc/Dockerfile").read_text(), re.M
    )
    assert epoch is not None
    argv = ["stat", "-c", "%Y", "/usr/sbin/Orthanc", "/etc/orthanc/orthanc.json"]
    assert set(engine.run(image, *argv).split()) == {epoch[1]}


def test_the_locale_and_the_tools_of_gdcm(engine: Engine, image: str) -> None:
    script = "locale charmap && locale | grep LC_CTYPE && gdcmconv --version | head -1"
    said = engine.run(image, "sh", "-c", script)
    assert said.startswith('UTF-8\nLC_CTYPE="en_US.UTF-8"\n')
    assert "gdcmconv" in said


@pytest.mark.parametrize(
    "path",
    [
        "/usr/sbin/Orthanc",
        "/usr/share/orthanc/plugins/libServeFolders.so",
        "/usr/share/orthanc/plugins/libOrthancGdcm.so",
        "/usr/share/orthanc/plugins/libOrthancPostgreSQLIndex.so",
        "/usr/share/orthanc/plugins/libOrthancPostgreSQLStorage.so",
    ],
)
def test_the_executables_are_hardened(
    path: str, engine: Engine, plugins: str, peer: Container
) -> None:
    copy = "docker run --rm --entrypoint cat {} {} | docker exec -i {} sh -c 'cat > /tmp/elf'"
    engine.host.run(["sh", "-c", copy.format(plugins, path, peer.name)], check=True)
    said = peer.exec("readelf", "-W", "-h", "-l", "-d", "--dyn-syms", "/tmp/elf")
    assert re.search(r"Type:\s+DYN", said), "position-independent"
    assert "GNU_RELRO" in said
    assert re.search(r"BIND_NOW|Flags:.*NOW", said), "all symbols bound at start"
    assert re.search(r"GNU_STACK\s.*RW ", said), "no executable stack"
    assert "__stack_chk_fail" in said
    if path.endswith("Orthanc"):
        assert "_chk@" in said, "checked functions of the C library"
    assert "RPATH" not in said
    assert "RUNPATH" not in said


def test_the_configuration_says_in_force_what_it_has_to(engine: Engine, image: str) -> None:
    text = engine.run(image, "cat", "/etc/orthanc/orthanc.json")
    plain = re.sub(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', r"\1", text, flags=re.DOTALL)
    found = json.loads(plain)
    assert found["Name"] == "Orthanc"
    assert found["StorageDirectory"] == found["IndexDirectory"] == "/var/lib/orthanc/db"
    assert found["Plugins"] == ["/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins"]
    assert found["RemoteAccessAllowed"] is True
    assert found["AuthenticationEnabled"] is True
    assert found["RegisteredUsers"] == {"orthanc": "orthanc"}
