"""The images under test, on the lab's amd64 machine, and whom they talk to.

Run by `make test-orthanc`, and only so: the images have to be there, which `make orthanc` takes
a quarter of an hour for. FLEET_ORTHANC_LAB names another lab than the default one, and
FLEET_ORTHANC_IMAGES other images on its amd64-1 than the last that fleet built there, as
`orthanc=NAME orthanc-plugins=NAME`.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import Lab
from lab.lab import DEFAULT
from tests.orthanc.engine import Container, Engine, Orthanc

LABEL = "fleet-test-orthanc"
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Docker on the lab's amd64 machine."""
    host = Lab.named(os.environ.get("FLEET_ORTHANC_LAB", DEFAULT)).host("amd64-1")
    if not host.up():
        pytest.fail("the lab's amd64-1 is not up: `make orthanc` boots it and builds the images")
    found = Engine(host=host, label=LABEL)
    found.sweep()
    found.docker("network", "create", "--label", LABEL, LABEL)
    yield found
    found.sweep()


@pytest.fixture(scope="session")
def image_of(engine: Engine) -> Callable[[str], str]:
    """The image on the machine that is meant by a name."""
    said = os.environ.get("FLEET_ORTHANC_IMAGES", "").split()
    named = dict(entry.partition("=")[::2] for entry in said)

    def find(name: str) -> str:
        if name in named:
            return named[name]
        form = ["--format", "{{.Repository}}:{{.Tag}}"]
        newest_first = engine.docker("images", *form, f"fleet/{name}").split()
        if not newest_first:
            pytest.fail(f"fleet has built no {name} on amd64-1: `make orthanc` does")
        return newest_first[0]

    return find


@pytest.fixture(scope="session")
def image(image_of: Callable[[str], str]) -> str:
    """Orthanc alone."""
    return image_of("orthanc")


@pytest.fixture(scope="session")
def plugins(image_of: Callable[[str], str]) -> str:
    """Orthanc with its plugins."""
    return image_of("orthanc-plugins")


@pytest.fixture(scope="session")
def peer_image(engine: Engine, image: str) -> str:
    """Debian's dcmtk and PostgreSQL."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path in sorted((HERE / "peer").iterdir()):
            tar.add(path, path.name)
    path = f"/root/{LABEL}/peer"
    for file in sorted((HERE / "peer").iterdir()):
        engine.write(f"{path}/{file.name}", file.read_text())
    engine.host.run(["chmod", "+x", f"{path}/serve-postgresql"], check=True)
    engine.docker("build", "--build-arg", f"BASE={image}", "--tag", LABEL, path, seconds=580)
    return LABEL


@pytest.fixture(scope="session")
def peer(engine: Engine, peer_image: str) -> Container:
    """The other end, with files to be sent: 8 by 8 pixels of 16 bits, of two patients."""
    found = engine.start(peer_image, name="peer")
    found.exec("sh", "-c", "head -c 128 /dev/zero | tr '\\0' '\\1' > /tmp/pixels")
    for number, patient in enumerate(("DOE^JANE", "DOE^JOHN"), start=1):
        dump = "\n".join(
            [
                "(0002,0010) UI =LittleEndianExplicit",
                "(0008,0016) UI =SecondaryCaptureImageStorage",
                f"(0008,0018) UI [1.2.826.0.1.3680043.8.498.{number}]",
                "(0008,0060) CS [OT]",
                f"(0010,0010) PN [{patient}]",
                f"(0010,0020) LO [patient-{number}]",
                f"(0020,000d) UI [1.2.826.0.1.3680043.8.499.{number}]",
                f"(0020,000e) UI [1.2.826.0.1.3680043.8.500.{number}]",
                "(0028,0002) US 1",
                "(0028,0004) CS [MONOCHROME2]",
                "(0028,0010) US 8",
                "(0028,0011) US 8",
                "(0028,0100) US 16",
                "(0028,0101) US 16",
                "(0028,0102) US 15",
                "(0028,0103) US 0",
                "(7fe0,0010) OW =/tmp/pixels",
            ]
        )
        found.exec("sh", "-c", f"cat > /tmp/{number}.dump", stdin=dump + "\n")
        found.exec("dump2dcm", "+te", f"/tmp/{number}.dump", f"/tmp/{number}.dcm")
    return found


@pytest.fixture(scope="module")
def orthanc(engine: Engine, image: str, peer: Container) -> Iterator[Orthanc]:
    """Orthanc as the image runs it, whole and alone."""
    container = engine.start(image, name="orthanc")
    yield Orthanc(container=container, peer=peer).wait()
    engine.docker("rm", "--force", "--volumes", container.name)
