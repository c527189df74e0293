"""Build contexts: digested by what they are, and sent as they were digested."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.errors import RecipeError, UsageError
from fleet.models import Context
from fleet.recipes import context, write_tar

FILES = {"Dockerfile": b"FROM scratch\n", "src/a.c": b"int a;\n", "src/deep/b": b"", "x": b"#!x"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    lay_out(root, FILES)
    (root / "x").chmod(0o755)
    (root / "link").symlink_to("src/a.c")
    return root


def lay_out(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def read(root: Path) -> Context:
    return context(root, root / "Dockerfile")


def paths(root: Path) -> list[str]:
    return [file.path for file in read(root).files]


def tar_of(made: Context, **limits: object) -> bytes:
    out = io.BytesIO()
    write_tar(made, out, **limits)  # type: ignore[arg-type]
    return out.getvalue()


def complaints(root: Path) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        read(root)
    return str(caught.value).replace(f"{root}", "ROOT").splitlines()


def test_a_context_holds_files_folders_and_links_in_order(folder: Path) -> None:
    found = {file.path: file for file in read(folder).files}
    assert list(found) == ["Dockerfile", "link", "src", "src/a.c", "src/deep", "src/deep/b", "x"]
    assert found["src"].directory
    assert found["link"].link == "src/a.c"
    assert found["x"].mode == 0o755
    assert (found["src/a.c"].mode, found["src/a.c"].size) == (0o644, 7)
    assert found["src/a.c"].digest == f"sha256:{hashlib.sha256(FILES['src/a.c']).hexdigest()}"


def test_the_digest_is_blind_to_time_umask_and_order(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    lay_out(other, dict(reversed(FILES.items())))
    (other / "link").symlink_to("src/a.c")
    for path, mode in {"x": 0o700, "src": 0o700, "src/a.c": 0o600, "Dockerfile": 0o664}.items():
        (other / path).chmod(mode)
    for path in other.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    assert read(other).digest == read(folder).digest
    assert tar_of(read(other)) == tar_of(read(folder))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_digest_is_blind_to_owners(folder: Path) -> None:
    before = read(folder).digest
    for path in folder.rglob("*"):
        os.chown(path, 1234, 4321, follow_symlinks=False)
    assert read(folder).digest == before


CHANGES = {
    "content": lambda root: (root / "src/a.c").write_bytes(b"int b;\n"),
    "content of another size": lambda root: (root / "src/a.c").write_bytes(b""),
    "a name": lambda root: (root / "src/a.c").rename(root / "src/b.c"),
    "a new file": lambda root: (root / "new").write_bytes(b""),
    "a new folder": lambda root: (root / "new").mkdir(),
    "a file less": lambda root: (root / "src/deep/b").unlink(),
    "a program": lambda root: (root / "src/a.c").chmod(0o755),
    "no program": lambda root: (root / "x").chmod(0o644),
    "a link's target": lambda root: [(root / "link").unlink(), (root / "link").symlink_to("x")],
    "a link made a file": lambda root: [
        (root / "link").unlink(),
        (root / "link").write_bytes(FILES["src/a.c"]),
    ],
    "a file made a folder": lambda root: [
        (root / "src/deep/b").unlink(),
        (root / "src/deep/b").mkdir(),
    ],
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_digest_changes_with(what: str, folder: Path) -> None:
    before = read(folder).digest
    CHANGES[what](folder)
    assert read(folder).digest != before


TREES = st.dictionaries(
    st.text(alphabet="abc", min_size=1, max_size=2), st.binary(max_size=3), max_size=5
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(one=TREES, other=TREES)
def test_two_contexts_have_one_digest_exactly_if_they_are_alike(
    one: dict[str, bytes], other: dict[str, bytes], tmp_path: Path
) -> None:
    made = []
    for files in (one, other):
        root = tmp_path / "tree"
        root.mkdir()
        lay_out(root, files)
        made.append((read(root).digest, tar_of(read(root))))
        shutil.rmtree(root)
    assert (made[0] == made[1]) is (one == other)
    assert (made[0][0] == made[1][0]) is (one == other)


def test_ignored_files_stay_out(folder: Path) -> None:
    (folder / ".dockerignore").write_text("src/a.c\nlink\nDockerfile\n")
    assert paths(folder) == [".dockerignore", "src", "src/deep", "src/deep/b", "x"]


def test_an_ignored_folder_comes_for_what_an_exception_brings_back(folder: Path) -> None:
    (folder / ".dockerignore").write_text("*\n!src/deep/b\n")
    assert paths(folder) == ["src", "src/deep", "src/deep/b"]


def test_an_ignored_folder_without_anything_to_bring_back_stays_out(folder: Path) -> None:
    (folder / ".dockerignore").write_text("**\n!**/*.h\n")
    assert paths(folder) == []


def test_the_dockerfiles_own_ignore_file_comes_first(folder: Path) -> None:
    (folder / ".dockerignore").write_text("src\n")
    (folder / "Dockerfile.dockerignore").write_text("*\n!x\n")
    assert paths(folder) == ["x"]


def test_a_bad_ignore_file_is_told_with_its_place(folder: Path) -> None:
    (folder / ".dockerignore").write_text("a\n[\n")
    assert complaints(folder) == ["ROOT/.dockerignore:2:1: '[': a [ is never closed"]


def test_an_ignore_file_that_cannot_be_read_is_told(folder: Path) -> None:
    (folder / ".dockerignore").mkdir()
    assert complaints(folder) == ["ROOT/.dockerignore: cannot be read: Is a directory"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert complaints(tmp_path / "none") == ["ROOT: cannot be read: No such file or directory"]


def test_sockets_and_pipes_are_refused_all_at_once(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.path.relpath(folder / "socket"))
    assert complaints(folder) == [
        "ROOT/pipe: a named pipe cannot be part of a build context; mend it, or name it in "
        ".dockerignore",
        "ROOT/socket: a socket cannot be part of a build context; mend it, or name it in "
        ".dockerignore",
    ]
    (folder / ".dockerignore").write_text("pipe\nsocket\n")
    assert "pipe" not in paths(folder)


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of files and folders that may not be read, not even by root."""
    names: set[str] = set()

    def guard(call: Callable[..., object]) -> Callable[..., object]:
        def guarded(path: str, *rest: object) -> object:
            if os.path.basename(path) in names:
                raise PermissionError(13, "Permission denied", path)
            return call(path, *rest)

        return guarded

    monkeypatch.setattr(os, "open", guard(os.open))
    monkeypatch.setattr(os, "scandir", guard(os.scandir))
    return names


def test_what_may_not_be_read_is_refused_unless_ignored(folder: Path, forbidden: set[str]) -> None:
    forbidden |= {"a.c", "deep"}
    refused = "cannot be read: Permission denied; mend it, or name it in .dockerignore"
    assert complaints(folder) == [f"ROOT/src/a.c: {refused}", f"ROOT/src/deep: {refused}"]
    (folder / ".dockerignore").write_text("src/*\n")
    assert "src" in paths(folder)


def test_an_ignored_folder_that_may_not_be_read_is_no_trouble_with_exceptions(
    folder: Path, forbidden: set[str]
) -> None:
    forbidden.add("deep")
    (folder / ".dockerignore").write_text("src/deep\n!src/deep/b\n")
    assert "src/deep" not in paths(folder)


def test_links_are_never_followed(folder: Path) -> None:
    (folder / "up").symlink_to("..")
    (folder / "gone").symlink_to("/nowhere")
    found = {file.path: file.link for file in read(folder).files}
    assert (found["up"], found["gone"]) == ("..", "/nowhere")
    assert not any(path.startswith("up/") for path in found)


def test_a_folder_may_itself_be_named_by_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(folder)
    assert read(tmp_path / "alias").digest == read(folder).digest


def test_names_of_any_bytes_and_any_length_travel(folder: Path, tmp_path: Path) -> None:
    names = [b"caf\xe9", "caf\u00e9".encode(), b"new\nline", b"back\\slash", b"n" * 255]
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(name)
    deep = folder.joinpath(*["d" * 100] * 5)
    deep.mkdir(parents=True)
    (deep / "link").symlink_to("t" * 300)
    out = tmp_path / "out"
    out.mkdir()
    made = read(folder)
    subprocess.run(["tar", "-xf", "-", "-C", out], input=tar_of(made), check=True)
    again = context(out, out / "Dockerfile")
    assert (again.files, again.digest) == (made.files, made.digest)


def test_a_folder_may_be_deeper_than_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(1100):
        os.mkdir("d")
        os.chdir("d")
    try:
        assert len(read(tmp_path).files) == 1100
    finally:
        # shutil.rmtree, and so pytest, recurses.
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)


def test_the_tar_is_the_same_bytes_every_time(folder: Path) -> None:
    made = read(folder)
    assert tar_of(made) == tar_of(made) == tar_of(read(folder))


def test_the_tar_says_nothing_of_owners_and_times(folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(tar_of(read(folder)))) as tar:
        for member in tar:
            assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
            assert member.mtime == 0
            assert member.pax_headers == {}


def test_times_are_those_of_source_date_epoch(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    with tarfile.open(fileobj=io.BytesIO(tar_of(read(folder)))) as tar:
        assert {member.mtime for member in tar} == {1_700_000_000}


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "\u0663", "9" * 30])
def test_a_source_date_epoch_that_is_no_time_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        tar_of(read(folder))


def test_a_tar_may_come_in_pieces_in_any_order_with_more_behind_them(folder: Path) -> None:
    made = read(folder)
    files = {file.path: file for file in made.files}
    first = tar_of(made, only=[files["x"], files["src"]], end=False)
    last = tar_of(made, only=(), more={"mark": b"more"})
    with tarfile.open(fileobj=io.BytesIO(first + last)) as tar:
        assert tar.getnames() == ["x", "src", "mark"]
        assert tar.extractfile("mark").read() == b"more"  # type: ignore[union-attr]


def test_the_tar_is_the_one_that_tarfile_writes(folder: Path) -> None:
    (folder / ("n" * 99)).write_bytes(b"1")
    (folder / ("n" * 100)).write_bytes(b"2")
    (folder / ("n" * 101)).write_bytes(b"3")
    (folder / ("d" * 99)).mkdir()
    (folder / ("d" * 100)).mkdir()
    (folder / os.fsdecode(b"\xff")).write_bytes(b"\xff" * 1000)
    made = read(folder)
    expected = b""
    for file in made.files:
        info = tarfile.TarInfo(file.path)
        info.mode, info.size = file.mode, file.size
        content = b""
        if file.directory:
            info.type = tarfile.DIRTYPE
        elif file.link is not None:
            info.type, info.linkname = tarfile.SYMTYPE, file.link
        else:
            content = (folder / file.path).read_bytes()
        expected += info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        expected += content + bytes(-len(content) % 512)
    assert tar_of(made) == expected + bytes(1024)


def test_an_empty_context_is_a_tar_too(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(tar_of(read(tmp_path)))) as tar:
        assert tar.getnames() == []


BIG = 3 * (1 << 20)  # several times what is read at once


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, BIG])
def test_files_of_any_size_travel_whole(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    lay_out(tmp_path, {"a": content, "b": b"end"})
    with tarfile.open(fileobj=io.BytesIO(tar_of(read(tmp_path)))) as tar:
        members = {member.name: tar.extractfile(member) for member in tar}
        assert members["a"] is not None
        assert members["a"].read() == content
        assert list(members) == ["a", "b"]


LATER = {
    "other bytes": lambda root: (root / "src/a.c").write_bytes(b"int c;\n"),
    "longer": lambda root: (root / "src/a.c").write_bytes(b"int c;\n\n"),
    "shorter": lambda root: (root / "src/a.c").write_bytes(b"int"),
    "longer than nothing": lambda root: (root / "src/deep/b").write_bytes(b"x"),
    "a program": lambda root: (root / "src/a.c").chmod(0o755),
    "gone": lambda root: (root / "src/a.c").unlink(),
    "a folder": lambda root: [(root / "x").unlink(), (root / "x").mkdir()],
    "a link": lambda root: [(root / "x").unlink(), (root / "x").symlink_to("src/a.c")],
    "a pipe": lambda root: [(root / "x").unlink(), os.mkfifo(root / "x", 0o755)],
    "a link elsewhere": lambda root: [(root / "link").unlink(), (root / "link").symlink_to("x")],
    "a link made a file": lambda root: [(root / "link").unlink(), (root / "link").touch()],
}


@pytest.mark.parametrize("what", LATER)
def test_what_changed_after_it_was_digested_is_not_sent(what: str, folder: Path) -> None:
    made = read(folder)
    LATER[what](folder)
    with pytest.raises(RecipeError, match="it changed after it was digested") as caught:
        tar_of(made)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("size", [1 << 20, BIG, BIG + 1])
def test_a_big_file_that_grew_is_noticed(tmp_path: Path, size: int) -> None:
    lay_out(tmp_path, {"a": b"x" * size})
    made = read(tmp_path)
    with (tmp_path / "a").open("ab") as file:
        file.write(b"x")
    with pytest.raises(RecipeError, match="it changed"):
        tar_of(made)


def test_trouble_with_the_receiver_is_not_taken_for_a_change(folder: Path) -> None:
    class Broken(io.RawIOBase):
        def write(self, _: object) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        write_tar(read(folder), Broken())  # type: ignore[arg-type]
