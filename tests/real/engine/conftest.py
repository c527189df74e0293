"""A real engine and real registries for these tests, in namespaces of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fleet.engine import Engine
from fleet.models import Builder, EngineFacts, HostFacts
from fleet.platforms import Platform
from fleet.recipes import write_tar
from lab.debian import codename
from tests.needs import need
from tests.real.engine.localhost import PrefixedHost
from tests.real.engine.machine import Machine


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "suite" in metafunc.fixturenames:
        suites = os.environ.get("FLEET_TEST_SUITES", codename()).split(",")
        metafunc.parametrize("suite", suites, scope="session")


@pytest.fixture(scope="session")
def machine(suite: str) -> Iterator[Machine]:
    for command, package in (
        ("mmdebstrap", "mmdebstrap"),
        ("unshare", "util-linux"),
        ("ip", "iproute2"),
    ):
        need(command, package)
    if os.geteuid() != 0:
        missing = pytest.fail if os.environ.get("FLEET_REQUIRE_LAB") == "1" else pytest.skip
        missing("needs root, since an engine runs in namespaces of its own")
    # Not pytest's folder: what an engine keeps is large, and root's overlays are no mere files.
    with TemporaryDirectory(prefix="fleet-test-engine-") as folder:
        machine = Machine(suite, Path(folder))
        machine.start()
        try:
            yield machine
        finally:
            machine.stop()


@pytest.fixture(scope="session")
def facts(machine: Machine) -> HostFacts:
    ask = "{{.Server.Version}} {{.Server.APIVersion}} {{.Client.Version}}"
    version, api, cli = machine.host().run(["docker", "version", "-f", ask]).text.split()
    buildx = machine.host().run(["docker", "buildx", "version"], check=False)
    return HostFacts(
        host=machine.suite,
        machine="",
        kernel="",
        system="",
        cores=2,
        memory=0,
        memory_available=0,
        disk_free=0,
        clock_skew=0.0,
        engine=EngineFacts(
            version=version,
            api_version=api,
            cli_version=cli,
            architecture="amd64",
            builder=Builder.INTEGRATED if buildx.status else Builder.BUILDX,
            builder_version=version if buildx.status else buildx.text.split()[1],
            storage_driver="overlay2",
            containerd_store=False,
            root_dir="/var/lib/docker",
        ),
        proofs=(),
        home="/root",
    )


@pytest.fixture
def host(machine: Machine, tmp_path: Path) -> Iterator[PrefixedHost]:
    """A connection of this test's own, with a state folder of its own."""
    host = machine.host(state=f"/root/{tmp_path.name}")
    yield host
    host.close()


@pytest.fixture
def engine(host: PrefixedHost, facts: HostFacts) -> Iterator[Engine]:
    engine = Engine(host, facts, write_tar=write_tar)
    yield engine
    engine.close()


@pytest.fixture
def later(host: PrefixedHost, facts: HostFacts) -> Iterator[Engine]:
    """The same engine as a later run meets it: nothing is remembered of an earlier one."""
    engine = Engine(host, facts, write_tar=write_tar)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def native(machine: Machine) -> Platform:
    architecture = machine.host().run(["docker", "version", "-f", "{{.Server.Arch}}"]).text
    return Platform.of("linux", architecture)


@pytest.fixture(scope="session")
def base(machine: Machine) -> str:
    """An image of busybox alone, by digest in the open registry and nowhere else."""
    host = machine.host()
    name = "127.0.0.1:5000/busybox:1"
    host.run(["docker", "import", "-", name], stdin=machine.busybox())
    host.run(["docker", "push", name])
    host.run(["docker", "image", "rm", name])
    return f"127.0.0.1:5000/busybox@{machine.digest_in_registry('open', 'busybox', '1')}"
