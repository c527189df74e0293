"""The plugins do what they are for: PostgreSQL holds the index, GDCM decodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.orthanc.engine import Container, Engine, Orthanc
from tests.orthanc.test_serving import configuration


@pytest.fixture(scope="module")
def database(engine: Engine, peer_image: str) -> Iterator[Container]:
    """A PostgreSQL server of Debian's."""
    found = engine.start(peer_image, "serve-postgresql", name="database")
    argv = ["docker", "exec", found.name, "psql", "-h", "localhost", "-U", "postgres", "-l"]
    found.wait(lambda: engine.host.run(argv).returncode == 0, "serving")
    yield found
    engine.docker("rm", "--force", "--volumes", found.name)


def test_the_plugins_are_loaded_and_postgresql_stays_off(
    engine: Engine, plugins: str, peer: Container
) -> None:
    container = engine.start(plugins, name="plugins")
    found = Orthanc(container=container, peer=peer).wait()
    wanted = {"gdcm", "postgresql-index", "postgresql-storage", "serve-folders", "worklists"}
    assert wanted <= set(found.json("/plugins"))
    assert found.json("/system")["DatabaseBackendPlugin"] is None
    assert container.stop() == 0


def test_gdcm_decodes_what_the_core_cannot(engine: Engine, plugins: str, peer: Container) -> None:
    container = engine.start(plugins, name="gdcm")
    found = Orthanc(container=container, peer=peer).wait()
    text = peer.exec("base64", "-w0", "/tmp/2.dcm")
    container.exec("sh", "-c", "base64 -d > /tmp/in.dcm", stdin=text)
    container.exec("gdcmconv", "--j2k", "/tmp/in.dcm", "/tmp/out.dcm")
    container.exec(
        *("curl", "--silent", "--fail", "--user", found.user, "--data-binary", "@/tmp/out.dcm"),
        "http://localhost:8042/instances",
    )
    (instance,) = found.json("/instances")
    syntax = found.json(f"/instances/{instance}/metadata?expand")["TransferSyntax"]
    assert syntax == "1.2.840.10008.1.2.4.90", "stored as JPEG 2000"
    found.curl(f"/instances/{instance}/image-uint16", "--fail", "--output", "/tmp/back.png")
    assert "PNG" in peer.exec("head", "-c", "4", "/tmp/back.png")
    assert container.stop() == 0


def test_postgresql_holds_the_index_and_the_files(
    engine: Engine, plugins: str, peer: Container, database: Container
) -> None:
    folder = configuration(
        engine,
        "with-database",
        Plugins=["/usr/share/orthanc/plugins"],
        PostgreSQL={
            "EnableIndex": True,
            "EnableStorage": True,
            "Host": database.name,
            "Port": 5432,
            "Database": "orthanc",
            "Username": "orthanc",
            "Password": "orthanc",
        },
    )
    options = ["--volume", f"{folder}:/etc/orthanc:ro"]
    first = Orthanc(
        container=engine.start(plugins, name="with-database", options=options),
        peer=peer,
        user="jane:secret",
    ).wait()
    assert "PostgreSQL" in first.json("/system")["DatabaseBackendPlugin"]
    instance = first.store("/tmp/1.dcm")
    argv = ["psql", "-h", "localhost", "-U", "postgres", "-At", "orthanc", "-c"]
    assert int(database.exec(*argv, "select count(*) from resources")) == 4
    assert int(database.exec(*argv, "select count(*) from storagearea")) > 0
    assert first.container.stop() == 0

    # Another container, with nothing but the database in common.
    second = Orthanc(
        container=engine.start(plugins, name="with-database-2", options=options),
        peer=peer,
        user="jane:secret",
    ).wait()
    assert second.json("/instances") == [instance]
    second.curl(f"/instances/{instance}/file", "--fail", "--output", "/tmp/back.dcm")
    assert "DOE^JANE" in peer.exec("dcmdump", "+P", "PatientName", "/tmp/back.dcm")
    assert second.container.stop() == 0


def test_without_its_database_it_does_not_pretend(
    engine: Engine, plugins: str, peer: Container
) -> None:
    folder = configuration(
        engine,
        "no-database",
        Plugins=["/usr/share/orthanc/plugins"],
        PostgreSQL={
            "EnableIndex": True,
            "Host": "nowhere.invalid",
            "ConnectionRetryInterval": 1,
            "MaximumConnectionRetries": 1,
        },
    )
    container = engine.start(
        plugins, name="no-database", options=["--volume", f"{folder}:/etc/orthanc:ro"]
    )
    status = int(engine.docker("wait", container.name, seconds=180))
    assert status != 0, container.logs()[-2000:]
