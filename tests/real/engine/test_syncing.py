"""A context reaches a host as what the host lacks, and stays what it was there for ever.

No engine is needed for this, and no connection: Debian's own tools on this machine, and busybox
in place of all of them.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from fleet.engine import syncing
from fleet.engine.script import HostScript
from fleet.engine.syncing import Syncing
from fleet.errors import ConnectionLost, HostError, RecipeError
from fleet.models import Context
from fleet.recipes import context, write_tar
from fleet.record.contexts import ContextMemory
from tests.needs import need
from tests.real.engine.localhost import PrefixedHost

pytestmark = pytest.mark.real


@pytest.fixture(params=["debian", "busybox"])
def tools(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A PATH on which the host's tools are found."""
    if request.param == "debian":
        return os.environ["PATH"]
    folder = tmp_path / "busybox"
    folder.mkdir()
    subprocess.run([need("busybox", "busybox-static"), "--install", "-s", folder], check=True)
    if not (folder / "flock").exists():  # Debian's busybox is without it, Alpine's has it
        (folder / "flock").symlink_to(need("flock", "util-linux"))
    return str(folder)


class Bench:
    """A folder that becomes contexts, and a host that gets them."""

    def __init__(self, folder: Path, tools: str) -> None:
        self.root = folder / "root"
        self.state = folder / "state of fleet's"
        self.host = PrefixedHost("here", "env", f"PATH={tools}")
        self.script = HostScript(self.host, PurePosixPath(self.state))
        self.memory = ContextMemory(folder / "memory")
        self.syncing = self.controller()

    def controller(self, write: Any = write_tar) -> Syncing:
        """One that remembers what the others do, as on the same machine."""
        return Syncing(self.host, self.script, write, self.memory)

    def write(self, **files: bytes | None) -> Context:
        """The context with these files changed, or gone; dots stand for slashes in names."""
        for name, content in files.items():
            path = self.root / name.replace(".", "/")
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return self.read()

    def read(self) -> Context:
        made = context(self.root, self.root / "Dockerfile")
        self.memory.remember(made)
        return made

    def there(self, made: Context) -> dict[str, object]:
        """What the host has of a context, by path."""
        name = made.digest.removeprefix("sha256:")
        return entries(self.state / "contexts" / name / name)


def entries(root: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder) / name
            kind = path.lstat()
            if path.is_symlink():
                content: object = os.readlink(path)
            else:
                content = None if path.is_dir() else path.read_bytes()
            found[str(path.relative_to(root))] = (stat.S_IMODE(kind.st_mode), content)
    return found


def wanted(made: Context) -> dict[str, object]:
    return {
        file.path: (
            file.mode,
            file.link
            if file.link is not None
            else None
            if file.directory
            else (made.root / file.path).read_bytes(),
        )
        for file in made.files
    }


@pytest.fixture
def bench(tmp_path: Path, tools: str) -> Iterator[Bench]:
    (tmp_path / "root").mkdir()
    bench = Bench(tmp_path, tools)
    yield bench
    bench.host.close()


def test_what_arrives_is_what_was_digested(bench: Bench) -> None:
    bench.write(**{"a": b"1", "deep.er.b": b"2" * 3_000_000, "empty": b""})
    (bench.root / "a").chmod(0o755)
    (bench.root / "link").symlink_to("deep/er/b")
    (bench.root / "nothing").mkdir()
    made = bench.read()
    assert bench.syncing.sync(made) > 3_000_000
    assert bench.there(made) == wanted(made)
    assert bench.syncing.sync(made) == 0


def test_no_time_of_any_machine_is_in_what_buildkit_sees(bench: Bench, tools: str) -> None:
    (bench.root / "nothing").mkdir(parents=True)
    bench.syncing.sync(bench.write(**{"a": b"1", "deep.er.b": b"2", "deep.er.c": b"3"}))
    made = bench.write(**{"a": b"3", "deep.er.b": None, "deep.new.d": b"4"})
    bench.syncing.sync(made)
    name = made.digest.removeprefix("sha256:")
    found = list((bench.state / "contexts" / name / name).rglob("*"))
    if tools != os.environ["PATH"]:  # busybox sets a folder's time before it writes there
        found = [path for path in found if path.is_file()]
    assert {path: path.stat().st_mtime for path in found} == dict.fromkeys(found, 0.0)


def test_only_what_differs_travels_and_what_was_there_stays_as_it_is(bench: Bench) -> None:
    before = bench.write(**{"large": b"1" * 2_000_000, "src.a": b"a", "src.b": b"b", "old.c": b""})
    bench.syncing.sync(before)
    held = bench.there(before)
    (bench.root / "large").chmod(0o755)  # sent once more, and yet not changed where it was
    after = bench.write(**{"src.a": b"A", "old.c": None, "new.d": b"d"})
    assert bench.syncing.sync(after) > 2_000_000
    assert bench.there(after) == wanted(after)
    assert bench.there(before) == held
    again = bench.write(**{"src.b": b"B"})
    assert 0 < bench.syncing.sync(again) < 10_000
    assert bench.there(again) == wanted(again)
    assert bench.there(after)["src/b"] == (0o644, b"b")


def test_a_folder_becomes_a_file_a_link_a_folder_and_names_are_of_any_bytes(bench: Bench) -> None:
    bench.write(**{"one.a": b"a", "one.b.c": b"c", "two": b"2", "-r": b"", "three": b"3"})
    (bench.root / "link").symlink_to("one")
    odd = os.fsdecode(b" odd \xff\n\\0 'name'")
    (bench.root / odd).write_bytes(b"odd")
    bench.syncing.sync(bench.read())
    for path in ("one/b/c", "one/a", "-r", odd, "link", "two"):
        (bench.root / path).unlink()
    (bench.root / "one/b").rmdir()
    (bench.root / "one").rmdir()
    (bench.root / "link").mkdir()
    made = bench.write(**{"one": b"now a file", "two.a": b"now a folder", "link.a": b"no link"})
    (bench.root / "three").unlink()
    (bench.root / "three").symlink_to("two")
    made = bench.read()
    bench.syncing.sync(made)
    assert bench.there(made) == wanted(made)


def test_what_has_arrived_before_a_drop_is_not_sent_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "_PART", 0.0)  # every chunk is a part
    made = bench.write(**{f"file-{n}": bytes([n]) * 2_000_000 for n in range(5)})
    sent: list[str] = []

    def dropping(context: Context, out: Any, only: Any = None, **how: Any) -> None:
        if len(sent) == 3 and only:
            write_tar(context, out, only=only, end=False)
            bench.host.streams[-1].cut()
            raise ConnectionLost("here", "cut")
        sent.extend(file.path for file in only)
        write_tar(context, out, only=only, **how)

    with pytest.raises(ConnectionLost):
        bench.controller(dropping).sync(made)
    assert sent == ["file-0", "file-1", "file-2"]
    assert bench.controller().sync(made) < 4_100_000
    assert bench.there(made) == wanted(made)


@pytest.mark.parametrize("end", [True, False])
def test_a_tar_that_was_cut_off_is_no_context(bench: Bench, end: bool) -> None:
    made = bench.write(**{f"file-{n}": b"x" for n in range(30)})

    def short(context: Context, out: Any, only: Any = None, **how: Any) -> None:
        write_tar(context, out, only=only, end=end)
        bench.host.streams[-1].end_input()

    with pytest.raises(HostError):
        bench.controller(short).sync(made)
    with pytest.raises(FileNotFoundError):
        os.listdir(bench.state / "contexts" / made.digest.removeprefix("sha256:"))
    assert bench.controller().sync(made) > 0
    assert bench.there(made) == wanted(made)


def test_a_file_that_changes_on_the_way_is_not_sent_and_spoils_nothing(bench: Bench) -> None:
    made = bench.write(a=b"1" * 10, b=b"2" * 10)
    (bench.root / "b").write_bytes(b"3" * 10)
    with pytest.raises(RecipeError, match="changed after it was digested"):
        bench.syncing.sync(made)
    made = bench.read()
    bench.syncing.sync(made)
    assert bench.there(made) == wanted(made)


def test_over_a_slow_link_what_shrinks_is_compressed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "_SLOW", 1e12)
    made = bench.write(**{f"file-{n}": b"fleet " * 300_000 for n in range(6)})
    assert bench.syncing.sync(made) < 8_000_000  # of 10.8
    assert bench.there(made) == wanted(made)
    hard = bench.write(**{f"file-{n}": os.urandom(1_800_000) for n in range(6)})
    assert bench.syncing.sync(hard) > 10_800_000
    assert bench.there(hard) == wanted(hard)


def test_many_send_the_same_at_the_same_time(bench: Bench) -> None:
    before = bench.write(**{f"file-{n}": bytes([n]) * 400_000 for n in range(10)})
    bench.syncing.sync(before)
    made = bench.write(**{f"file-{n}": bytes([n]) * 400_001 for n in range(9)})
    counts: list[int] = []
    others = [
        threading.Thread(target=lambda: counts.append(bench.controller().sync(made)))
        for _ in range(4)
    ]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    assert sorted(count > 0 for count in counts) == [False, False, False, True]
    assert bench.there(made) == wanted(made)
    assert bench.there(before)["file-0"] == (0o644, bytes(400_000))


def test_one_that_hangs_holds_nobody_up(bench: Bench) -> None:
    made = bench.write(a=b"1", b=b"2")
    name = made.digest.removeprefix("sha256:")
    hanging = bench.script.open("receive", name, name)
    hanging.settimeout(20.0)
    said = b""
    while b"at=0" not in said:
        said += hanging.recv(4096)
    assert bench.syncing.sync(made) > 0  # beside it
    assert bench.there(made) == wanted(made)
    hanging.close()


def test_a_base_that_was_pruned_is_no_loss(bench: Bench) -> None:
    before = bench.write(a=b"1", b=b"2")
    bench.syncing.sync(before)
    shutil.rmtree(bench.state / "contexts" / before.digest.removeprefix("sha256:"))
    made = bench.write(a=b"3")
    assert bench.syncing.sync(made) > 0
    assert bench.there(made) == wanted(made)
