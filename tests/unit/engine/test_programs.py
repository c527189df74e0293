"""Which file an image runs, found in its file system as the engine gives it out."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Iterator
from typing import Any, cast

import docker.errors
import pytest

from fleet.engine.smoke import _Programs
from fleet.errors import SmokeFailed
from fleet.platforms import Platform
from tests.unit.engine.test_elf import header

AMD64 = Platform.parse("linux/amd64")
GOOD, FOREIGN = header(62), header(183)


class FakeFiles:
    """``get_archive`` over a mapping of paths to contents, or to the targets of links."""

    def __init__(self, files: dict[str, bytes | str]) -> None:
        self.files = files

    def get_archive(self, container: str, path: str) -> tuple[Iterator[bytes], dict[str, Any]]:
        path = posixpath.normpath(path)
        if path not in self.files:
            raise docker.errors.NotFound("no such file")
        found, target = self.files[path], ""
        buffer = io.BytesIO()
        # Capabilities and the like travel in a header of their own before the file's.
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            member = tarfile.TarInfo(posixpath.basename(path))
            member.pax_headers = {"SCHILY.xattr.security.capability": "x"}
            if isinstance(found, str):
                target = found
                while isinstance(self.files.get(target), str):
                    target = cast(str, self.files[target])
                member.type, member.linkname = tarfile.SYMTYPE, found
                tar.addfile(member)
            else:
                member.size = len(found)
                tar.addfile(member, io.BytesIO(found))
        data = buffer.getvalue()
        pieces = (data[n : n + 700] for n in range(0, len(data), 700))
        return pieces, {"linkTarget": target, "size": len(data)}


def check(files: dict[str, bytes | str], **config: Any) -> str:
    api = cast(Any, FakeFiles(files))
    return _Programs(api=api, container="c", host="pi-1", platform=AMD64).check(config)


def test_the_entrypoint_goes_before_the_command() -> None:
    assert check({"/a": GOOD, "/b": FOREIGN}, Entrypoint=["/a"], Cmd=["/b"]).startswith("/a:")


def test_a_word_is_looked_for_on_the_path_of_the_image() -> None:
    files: dict[str, bytes | str] = {"/opt/x/run": GOOD, "/bin/run": FOREIGN}
    assert "/opt/x/run" in check(files, Cmd=["run"], Env=["PATH=/usr/bin:/opt/x:/bin"])
    with pytest.raises(SmokeFailed, match="/bin/run is an executable for linux/arm64"):
        check(files, Cmd=["run"])


def test_a_relative_word_is_looked_for_where_the_image_works() -> None:
    assert "/srv/run" in check({"/srv/run": GOOD}, Cmd=["./run"], WorkingDir="/srv")


def test_links_are_followed_to_their_end() -> None:
    files: dict[str, bytes | str] = {"/bin/sh": "/bin/dash", "/bin/dash": "/x", "/x": FOREIGN}
    with pytest.raises(SmokeFailed, match="not linux/amd64"):
        check(files, Cmd=["sh"])


def test_a_script_is_as_good_as_its_interpreter() -> None:
    files: dict[str, bytes | str] = {
        "/run": b"#!/usr/bin/env -S A=1 python3 -u\nimport this\n",
        "/usr/bin/env": GOOD,
        "/usr/bin/python3": FOREIGN,
    }
    with pytest.raises(SmokeFailed, match="/usr/bin/python3 is an executable for linux/arm64"):
        check(files, Cmd=["/run"])


def test_a_starter_is_looked_through() -> None:
    files: dict[str, bytes | str] = {"/sbin/tini": GOOD, "/app": FOREIGN}
    with pytest.raises(SmokeFailed, match="/app is"):
        check(files, Entrypoint=["/sbin/tini", "-g", "--"], Cmd=["/app", "serve"])


def test_an_image_that_names_nothing_has_a_shell_or_nothing_to_run() -> None:
    assert "/bin/sh" in check({"/bin/sh": GOOD})
    assert "nothing to run" in check({})
    with pytest.raises(SmokeFailed):
        check({"/bin/sh": FOREIGN})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"#!\n", "names no interpreter"),
        (b"#!/a\n", "is run by itself"),
        (b"", "no executable"),
        (b"#!/no/such\n", "'/no/such', and there is no such file"),
    ],
)
def test_a_file_that_cannot_run_is_said_to(content: bytes, words: str) -> None:
    with pytest.raises(SmokeFailed, match=words):
        check({"/a": content}, Cmd=["/a"])
