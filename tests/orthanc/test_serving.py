"""Orthanc serves DICOM and HTTP, as the images of 2018 did and as the Ansible role has it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.orthanc.conftest import LABEL
from tests.orthanc.engine import Container, Engine, Orthanc

J2K = "1.2.840.10008.1.2.4.90"
JPEG2000_LOSSLESS = "=JPEG2000LosslessOnly"


def test_a_password_is_asked_for(orthanc: Orthanc) -> None:
    assert orthanc.status("/system") == 401
    assert orthanc.status("/system", "--user", "orthanc:wrong") == 401
    assert orthanc.status("/system", "--user", orthanc.user) == 200
    assert orthanc.json("/system")["Name"] == "Orthanc"


def test_the_explorer_is_there_with_its_scripts(orthanc: Orthanc) -> None:
    assert "Orthanc Explorer" in orthanc.curl("/app/explorer.html", "--fail")
    scripts = {
        "jquery.min.js": "jQuery",
        "jquery.mobile.min.js": "jQuery Mobile",
        "jquery.mobile.min.css": ".ui-",
        "date.js": "Date.CultureInfo",
    }
    for name, word in scripts.items():
        assert word in orthanc.curl(f"/app/libs/{name}", "--fail"), name
    assert orthanc.status("/app/libs/images/ajax-loader.gif", "--user", orthanc.user) == 200


def test_the_core_plugins_are_loaded(orthanc: Orthanc) -> None:
    assert {"serve-folders", "worklists"} <= set(orthanc.json("/plugins"))


def test_it_answers_c_echo(orthanc: Orthanc) -> None:
    orthanc.peer.exec("echoscu", "-v", orthanc.container.name, "4242")


def test_what_is_stored_over_dicom_is_read_back_as_it_was(orthanc: Orthanc) -> None:
    instance = orthanc.store("/tmp/1.dcm")
    orthanc.curl(f"/instances/{instance}/file", "--fail", "--output", "/tmp/back.dcm")
    dump = "dcmdump {} | sed -n '/^(0008/,$p'"
    there = orthanc.peer.exec("sh", "-c", dump.format("/tmp/1.dcm"))
    assert "DOE^JANE" in there
    assert orthanc.peer.exec("sh", "-c", dump.format("/tmp/back.dcm")) == there


def test_docker_knows_that_it_is_healthy(orthanc: Orthanc, engine: Engine) -> None:
    name = orthanc.container.name

    def healthy() -> bool:
        return str(engine.inspect(name)["State"]["Health"]["Status"]) == "healthy"

    orthanc.container.wait(healthy, "healthy")


def test_gdcmconv_compresses_as_the_role_calls_it(orthanc: Orthanc) -> None:
    text = orthanc.peer.exec("base64", "-w0", "/tmp/1.dcm")
    orthanc.container.exec("sh", "-c", "base64 -d > /tmp/in.dcm", stdin=text)
    orthanc.container.exec("gdcmconv", "-U", "--j2k", "/tmp/in.dcm", "/tmp/out.dcm")
    packed = orthanc.container.exec("base64", "-w0", "/tmp/out.dcm")
    orthanc.peer.exec("sh", "-c", "base64 -d > /tmp/j2k.dcm", stdin=packed)
    meta = orthanc.peer.exec("dcmdump", "+P", "TransferSyntaxUID", "/tmp/j2k.dcm")
    assert JPEG2000_LOSSLESS in meta


def test_it_stops_cleanly_and_what_it_held_is_there_again(
    engine: Engine, image: str, peer: Container
) -> None:
    engine.docker("volume", "create", "--label", LABEL, "orthanc-db")
    options = ["--volume", "orthanc-db:/var/lib/orthanc/db"]
    first = Orthanc(container=engine.start(image, name="first", options=options), peer=peer).wait()
    instance = first.store("/tmp/1.dcm")
    assert first.container.stop() == 0
    assert "Orthanc has stopped" in first.container.logs()
    second = Orthanc(container=engine.start(image, name="second", options=options), peer=peer)
    assert second.wait().json("/instances") == [instance]
    second.container.stop()


def test_it_need_not_be_root(engine: Engine, image: str, peer: Container) -> None:
    container = engine.start(image, name="unprivileged", options=["--user", "orthanc"])
    found = Orthanc(container=container, peer=peer).wait()
    found.store("/tmp/1.dcm")
    assert container.exec("id", "-un") == "orthanc\n"
    assert container.stop() == 0


def test_an_image_that_never_is_root(
    engine: Engine, image_of: Callable[[str], str], peer: Container
) -> None:
    """Built with RUN_AS=orthanc: nobody has to say anything when it is run."""
    image = image_of("orthanc-unprivileged")
    assert engine.inspect(image)["Config"]["User"] == "orthanc"
    engine.docker("volume", "create", "--label", LABEL, "unprivileged-db")
    options = ["--volume", "unprivileged-db:/var/lib/orthanc/db"]
    first = Orthanc(
        container=engine.start(image, name="never-root", options=options), peer=peer
    ).wait()
    uids = first.container.exec("sh", "-c", "grep -h ^Uid: /proc/[0-9]*/status")
    assert {word for line in uids.splitlines() for word in line.split()[1:]} == {"999"}
    instance = first.store("/tmp/1.dcm")
    assert first.container.stop() == 0
    second = Orthanc(container=engine.start(image, name="never-root-2", options=options), peer=peer)
    assert second.wait().json("/instances") == [instance]
    assert second.container.exec("orthanc-healthcheck") == ""
    assert second.container.stop() == 0


def test_a_root_file_system_that_nobody_may_write(
    engine: Engine, image: str, peer: Container
) -> None:
    options = ["--user", "orthanc", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]
    container = engine.start(image, name="read-only", options=options)
    Orthanc(container=container, peer=peer).wait().store("/tmp/1.dcm")
    assert container.stop() == 0


def configuration(engine: Engine, name: str, **more: object) -> str:
    """A configuration folder of one's own on the host; its path."""
    folder = f"/root/{LABEL}/{name}"
    basic: dict[str, object] = {
        "Name": name,
        "StorageDirectory": "/var/lib/orthanc/db",
        "IndexDirectory": "/var/lib/orthanc/db",
        "RemoteAccessAllowed": True,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {"jane": "secret"},
    }
    engine.write(f"{folder}/orthanc.json", json.dumps(basic | more))
    return folder


def test_another_password_takes_the_known_ones_place(
    engine: Engine, image: str, peer: Container
) -> None:
    folder = configuration(engine, "own-password")
    container = engine.start(
        image, name="own-password", options=["--volume", f"{folder}:/etc/orthanc:ro"]
    )
    found = Orthanc(container=container, peer=peer, user="jane:secret").wait()
    assert found.json("/system")["Name"] == "own-password"
    assert found.status("/system", "--user", "orthanc:orthanc") == 401
    container.stop()


def test_it_serves_https(engine: Engine, image: str, peer: Container) -> None:
    folder = configuration(
        engine, "tls", SslEnabled=True, SslCertificate="/etc/orthanc/certificate.pem"
    )
    peer.exec(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj"),
        *("/CN=tls", "-addext", "subjectAltName=DNS:tls", "-keyout", "/tmp/key.pem"),
        *("-out", "/tmp/certificate.pem"),
    )
    pem = peer.exec("cat", "/tmp/certificate.pem", "/tmp/key.pem")
    engine.write(f"{folder}/certificate.pem", pem)
    container = engine.start(image, name="tls", options=["--volume", f"{folder}:/etc/orthanc:ro"])
    trusted = ["--cacert", "/tmp/certificate.pem"]
    found = Orthanc(container=container, peer=peer, scheme="https", user="jane:secret")
    found.wait(*trusted)
    assert found.json("/system", *trusted)["Name"] == "tls"
    assert container.exec("orthanc-healthcheck") == ""
    assert container.stop() == 0


@pytest.mark.parametrize("verbose", [(), ("--verbose",)], ids=["quiet", "verbose"])
def test_as_the_ansible_role_runs_it(
    verbose: tuple[str, ...], engine: Engine, plugins: str, peer: Container
) -> None:
    """derekmerck.orthanc-docker: entrypoint, command, TZ, and folders mounted over the image's."""
    script = f"/root/{LABEL}/scripts/hello.lua"
    engine.write(script, 'print("the script of the role is loaded")\n')
    folder = configuration(
        engine,
        "role",
        LuaScripts=["/var/lib/orthanc/scripts/hello.lua"],
        Plugins=[
            "/usr/share/orthanc/plugins/libOrthancPostgreSQLIndex.so",
            "/usr/share/orthanc/plugins/libOrthancPostgreSQLStorage.so",
        ],
        PostgreSQL={"EnableIndex": False, "EnableStorage": False},
    )
    name = f"role-{len(verbose)}"
    container = engine.start(
        plugins,
        "/etc/orthanc",
        *verbose,
        name=name,
        options=[
            *("--entrypoint", "Orthanc", "--env", "TZ=America/New_York"),
            *("--volume", f"{folder}:/etc/orthanc"),
            *("--volume", f"/root/{LABEL}/scripts:/var/lib/orthanc/scripts:ro"),
        ],
    )
    found = Orthanc(container=container, peer=peer, user="jane:secret").wait()
    assert {"postgresql-index", "postgresql-storage"} <= set(found.json("/plugins"))
    assert "the script of the role is loaded" in container.logs()
    assert container.exec("date", "+%Z").strip() in ("EST", "EDT")
    assert container.stop() == 0
