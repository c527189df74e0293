"""`update-sources` against a mirror of Debian: a real server, and a list with a real signature."""

from __future__ import annotations

import hashlib
import io
import lzma
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dockerfiles.sources import archive, commands
from dockerfiles.sources.commands import DOCKERFILES, fetch_sources, update_sources
from dockerfiles.sources.pins import read
from tests.needs import need

pytestmark = pytest.mark.real
RELEASED = 1_800_000_000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A mirror of Debian with one release of everything, and what signs its list."""

    folder: Path
    gpg: Path

    def add(self, path: str, content: bytes) -> tuple[str, str]:
        """Put a file into the pool; its name and SHA-256."""
        file = self.folder / "pool" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file.name, hashlib.sha256(content).hexdigest()

    def sign(self, stanzas: list[str]) -> None:
        """Publish a list of sources, as Debian's archive does."""
        suite = self.folder / "dists" / archive.SUITE
        (suite / "main/source").mkdir(parents=True, exist_ok=True)
        listed = lzma.compress("\n\n".join(stanzas).encode())
        (suite / archive.LIST).write_bytes(listed)
        promise = f" {hashlib.sha256(listed).hexdigest()} {len(listed)} {archive.LIST}"
        release = f"Suite: {archive.SUITE}\nSHA256:\n{promise}\n"
        argv = ["gpg", "--homedir", str(self.gpg), "--batch", "--yes", "--clearsign"]
        subprocess.run(
            [*argv, "--output", str(suite / "InRelease")],
            input=release.encode(),
            check=True,
            capture_output=True,
        )


def core(seconds: int) -> bytes:
    """A source's tarball whose newest file is of that moment."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as tar:
        member = tarfile.TarInfo("orthanc/README")
        member.mtime, member.size = seconds, 2
        tar.addfile(member, io.BytesIO(b"hi"))
    return packed.getvalue()


def stanza(package: str, version: str, directory: str, files: list[tuple[str, str]]) -> str:
    sums = "".join(f"\n {sha256} 1 {name}" for name, sha256 in files)
    return (
        f"Package: {package}\nVersion: {version}\nChecksums-Sha256:{sums}\n"
        f"Directory: pool/{directory}"
    )


@pytest.fixture(scope="module")
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A key that stands for the archive's own; its public half is in keyring.gpg."""
    need("gpg", "gnupg")
    need("gpgv", "gpgv")
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    argv = ["gpg", "--homedir", str(home), "--batch", "--passphrase", ""]
    make = [*argv, "--quick-generate-key", "archive@example.org", "ed25519", "sign", "never"]
    subprocess.run(make, check=True, capture_output=True)
    export = [*argv, "--export", "--output", str(home / "keyring.gpg")]
    subprocess.run(export, check=True, capture_output=True)
    yield home
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)


@pytest.fixture
def mirror(tmp_path: Path, gpg: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    made = Mirror(folder=tmp_path / "mirror", gpg=gpg)
    orthanc, civetweb = "main/o/orthanc", "main/c/civetweb"
    stanzas = [
        stanza(
            "orthanc",
            "1.14.0+dfsg-2",
            orthanc,
            [
                made.add(f"{orthanc}/orthanc_1.14.0+dfsg.orig.tar.xz", core(RELEASED)),
                made.add(f"{orthanc}/orthanc_1.14.0+dfsg-2.debian.tar.xz", b"packaging"),
            ],
        ),
        stanza(
            "civetweb",
            "1.17+dfsg-1",
            civetweb,
            [made.add(f"{civetweb}/civetweb_1.17+dfsg.orig.tar.xz", b"web server")],
        ),
    ]
    for name in ("orthanc-postgresql", "orthanc-gdcm"):
        tarball = made.add(f"main/o/{name}/{name}_11.0+dfsg.orig.tar.xz", name.encode())
        stanzas.append(stanza(name, "11.0+dfsg-1", f"main/o/{name}", [tarball]))
    made.sign(stanzas)
    monkeypatch.setattr(archive, "KEYRING", gpg / "keyring.gpg")
    monkeypatch.delenv("FLEET_SOURCES", raising=False)
    handler = partial(Quiet, directory=str(made.folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("FLEET_LAB_MIRROR", f"http://127.0.0.1:{server.server_port}")
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's own images, as far as they name a release, for the commands to work on."""
    folder = tmp_path / "dockerfiles"
    for image in ("orthanc", "orthanc-plugins"):
        (folder / image).mkdir(parents=True)
        for name in ("Dockerfile", "sources.toml"):
            shutil.copy(DOCKERFILES / image / name, folder / image / name)
    shutil.copy(DOCKERFILES / "README.md", folder / "README.md")
    monkeypatch.setattr(commands, "DOCKERFILES", folder)
    return folder


def texts(tree: Path) -> dict[str, str]:
    return {str(it.relative_to(tree)): it.read_text() for it in tree.rglob("*") if it.is_file()}


def test_a_release_that_debian_has_is_named_everywhere_and_can_be_fetched(
    mirror: Mirror, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert update_sources(["1.14.0"]) == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line.startswith("changed: ")] == [
        "changed: dockerfiles/orthanc/sources.toml",
        "changed: dockerfiles/orthanc-plugins/sources.toml",
        "changed: dockerfiles/orthanc/Dockerfile",
        "changed: dockerfiles/orthanc-plugins/Dockerfile",
        "changed: dockerfiles/README.md",
    ]
    assert commands.CHECK in said
    dockerfile = (tree / "orthanc/Dockerfile").read_text()
    assert "ARG ORTHANC_VERSION=1.14.0\n" in dockerfile
    assert f"ARG SOURCE_DATE_EPOCH={RELEASED}\n" in dockerfile
    assert "1.13.0" not in dockerfile
    row = "| `orthanc` | **debian** | 1.14.0 | `orthanc_1.14.0+dfsg.orig.tar.xz`, "
    assert row in (tree / "README.md").read_text()

    assert fetch_sources([]) == 0
    sources = tree / "orthanc/sources"
    assert (sources / "civetweb.tar.xz").read_bytes() == b"web server"
    assert {it.name for it in sources.iterdir()} == {
        *(it.name for it in read(tree / "orthanc").lane().tarballs),
        "SHA256SUMS",
    }

    capsys.readouterr()
    assert update_sources(["1.14.0"]) == 0
    assert capsys.readouterr().out == "everything names Orthanc 1.14.0 already\n"


@pytest.mark.parametrize("version", ["9.9", "1.14", "v1.14.0", "1.13.0"])
def test_a_release_that_debian_has_not_changes_nothing(
    version: str, mirror: Mirror, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = texts(tree)
    assert update_sources([version]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"has no Orthanc {version} (it has: 1.14.0)" in said.err
    assert f"dockerfiles/update-sources --lane upstream {version}" in said.err
    assert texts(tree) == before


def test_a_mirror_that_is_out_of_reach_changes_nothing(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = texts(tree)
    monkeypatch.setenv("FLEET_LAB_MIRROR", "http://127.0.0.1:1/debian")
    assert update_sources(["1.14.0"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("update-sources: http://127.0.0.1:1/debian/dists/unstable: ")
    assert "refused" in said
    assert "FLEET_LAB_MIRROR names another one" in said
    assert texts(tree) == before


def test_a_list_that_is_not_the_signed_one_is_not_believed(
    mirror: Mirror, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = mirror.folder / "dists" / archive.SUITE / archive.LIST
    listed.write_bytes(lzma.compress(b"Package: orthanc\nVersion: 1.14.0-1\n"))
    assert update_sources(["1.14.0"]) == 1
    assert "and the signed list says" in capsys.readouterr().err


def test_a_signature_of_somebody_else_is_not_believed(
    mirror: Mirror, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = mirror.folder / "empty.gpg"
    empty.write_bytes(b"")
    monkeypatch.setattr(archive, "KEYRING", empty)
    assert update_sources(["1.14.0"]) == 1
    assert "Debian's archive did not sign the list" in capsys.readouterr().err


def test_a_tarball_that_is_not_the_listed_one_is_not_pinned(
    mirror: Mirror, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = texts(tree)
    mirror.add("main/o/orthanc/orthanc_1.14.0+dfsg.orig.tar.xz", core(RELEASED + 1))
    assert update_sources(["1.14.0"]) == 1
    assert "orthanc_1.14.0+dfsg.orig.tar.xz: its sha256 is" in capsys.readouterr().err
    assert texts(tree) == before
