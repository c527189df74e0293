"""Detached builds outlive whoever follows them, and their logs are heard once and whole.

No engine is needed for this: the builds here are shell scripts on this machine, with Debian's
own tools and with busybox in place of all of them.
"""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from fleet.engine import LogCursor, State, detached
from fleet.engine.detached import DetachedBuilds
from fleet.engine.script import HostScript
from fleet.errors import ConnectionLost, EngineError
from tests.heard import into
from tests.needs import need
from tests.real.engine.localhost import PrefixedHost, until

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
    """Detached builds in a folder of this machine."""

    def __init__(self, folder: Path, tools: str, *before: str) -> None:
        self.folder = folder
        self.host = PrefixedHost("here", *before, "env", f"PATH={tools}")
        self.builds = DetachedBuilds(self.host, HostScript(self.host, PurePosixPath(folder)))

    def start(
        self, command: str, *, keep: str = "true", seen: str = "", attach: bool = True
    ) -> str:
        files = {"order.json": "{}\n", "keep": keep, "command": command}
        return self.builds.start("one", files, attach=attach, seen=seen).id

    def follow(self, execution: str, lines: list[str]) -> State:
        return self.builds.follow("one", LogCursor(execution=execution), into(lines))

    def read(self, name: str) -> bytes:
        return (self.folder / "builds" / "one" / name).read_bytes()

    def session(self) -> list[int]:
        """The processes of the build that live."""
        runner = self.read("pid").split()[0].decode()
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[3] == runner and fields[0] not in "ZX":
                found.append(int(stat.parent.name))
        return found


@pytest.fixture
def bench(tmp_path: Path, tools: str) -> Iterator[Bench]:
    bench = Bench(tmp_path / "state of fleet's", tools)
    yield bench
    bench.builds.cancel("one")
    bench.host.close()


def printing(data: bytes, folder: Path) -> str:
    """A command that prints these bytes."""
    (folder / "data").write_bytes(data)
    return f"cat {shlex.quote(str(folder / 'data'))}"


# --- the log ------------------------------------------------------------------------------


def test_any_bytes_are_kept_on_the_host_and_lines_of_any_size_arrive(
    bench: Bench, tmp_path: Path
) -> None:
    noise = random.Random(1)
    data = b"\n".join(
        [
            "grüße, 漢字".encode(),
            b"\xff\xfe invalid \xc3",
            b"\x1b[31mred\x1b[0m \0 null",
            b"",
            b"12\nend finished 0\n0",  # as the frames of the log look
            b"x" * 10_000_000,
            noise.randbytes(3_000_000).replace(b"\r", b"."),
            b"without a line feed",
        ]
    )
    lines: list[str] = []
    assert bench.follow(bench.start(printing(data, tmp_path)), lines) is State.FINISHED
    assert lines == [line.decode(errors="replace") for line in data.split(b"\n")]
    assert bench.read("log") == data
    assert bench.read("exit").split() == [b"0"]


def test_a_log_of_200_mb_arrives_whole(bench: Bench, tmp_path: Path) -> None:
    data = b"".join(b"%0249d\n" % n for n in range(800_000))
    cursor = LogCursor(execution=bench.start(printing(data, tmp_path)))
    count = 0

    def on_lines(text: str) -> None:
        nonlocal count
        for line in text.split("\n"):
            assert int(line) == count
            count += 1

    assert bench.builds.follow("one", cursor, on_lines) is State.FINISHED
    assert count == 800_000
    assert cursor.offset == len(data)


def test_a_progress_bar_is_its_last_state(bench: Bench) -> None:
    lines: list[str] = []
    bench.follow(bench.start(r"printf '10%%\r50%%\rdone\r\nnext\r\n'"), lines)
    assert lines == ["done", "next"]


def test_a_log_beyond_the_limit_ends_with_a_notice_and_the_build_goes_on(
    tmp_path: Path, tools: str
) -> None:
    bench = Bench(tmp_path / "state", tools, "env", "FLEET_LOG_LIMIT=100000")
    lines: list[str] = []
    state = bench.follow(bench.start("seq 1 2000000; exit 3"), lines)
    assert state is State.FINISHED
    assert bench.builds.status("one").status == 3
    assert lines[-1].startswith("[fleet] the log ends here")
    assert len(bench.read("log")) < 10_000_000


# --- following again ----------------------------------------------------------------------


def test_a_cut_follower_goes_on_at_the_very_byte(bench: Bench) -> None:
    command = "for i in $(seq 1 200); do seq $((i * 1000 - 999)) $((i * 1000)); sleep 0.01; done"
    cursor = LogCursor(execution=bench.start(command))
    lines: list[str] = []
    at, cuts = [1, 777, 50_000, 123_456], 0

    def on_lines(text: str) -> None:
        nonlocal cuts
        lines.extend(text.split("\n"))
        if at and len(lines) >= at[0]:
            at[:] = [number for number in at if number > len(lines)]
            cuts += 1
            bench.host.streams[-1].cut()

    while True:
        try:
            state = bench.builds.follow("one", cursor, on_lines)
            break
        except ConnectionLost:
            pass
    assert state is State.FINISHED
    assert cuts >= 3  # the first two may fall together
    assert lines == [str(n) for n in range(1, 200_001)]
    assert bench.read("log").count(b"\n") == 200_000


def test_the_end_of_the_follower_is_not_the_end_of_the_build(bench: Bench) -> None:
    cursor = LogCursor(execution=bench.start("echo one; sleep 600"))
    lines: list[str] = []

    def kill(text: str) -> None:
        lines.extend(text.split("\n"))
        bench.host.streams[-1].process.kill()

    with pytest.raises(ConnectionLost):
        bench.builds.follow("one", cursor, kill)
    assert lines == ["one"]
    assert bench.builds.status("one").state is State.RUNNING


def test_a_connection_that_falls_silent_is_noticed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detached, "SILENCE", 10.0)
    execution = bench.start("echo one; sleep 600")

    def freeze(text: str) -> None:
        bench.host.streams[-1].process.send_signal(signal.SIGSTOP)

    with pytest.raises(ConnectionLost, match="no sign of life for 10 seconds"):
        bench.builds.follow("one", LogCursor(execution=execution), freeze)


def test_a_silent_build_is_not_taken_for_a_dead_connection(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detached, "SILENCE", 10.0)
    lines: list[str] = []
    assert bench.follow(bench.start("sleep 12; echo there"), lines) is State.FINISHED
    assert lines == ["there"]


def test_what_a_shell_prints_before_anything_else_is_no_harm(tmp_path: Path, tools: str) -> None:
    banner = ("sh", "-c", 'echo "Welcome to *this* host"; echo 12; exec "$@"', "sh")
    bench = Bench(tmp_path / "state", tools, *banner)
    lines: list[str] = []
    assert bench.follow(bench.start("echo one"), lines) is State.FINISHED
    assert lines == ["one"]


# --- one build of a name ------------------------------------------------------------------


def test_two_who_start_the_same_build_get_one_and_both_hear_all_of_it(
    bench: Bench, tmp_path: Path
) -> None:
    command = f"echo begun >>{shlex.quote(str(tmp_path / 'count'))}; seq 1 1000; sleep 1; echo end"
    heard: list[list[str]] = [[] for _ in range(6)]

    def controller(lines: list[str]) -> None:
        bench.follow(bench.start(command), lines)

    threads = [threading.Thread(target=controller, args=(lines,)) for lines in heard]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert heard == [[*(str(n) for n in range(1, 1001)), "end"]] * 6
    assert (tmp_path / "count").read_text() == "begun\n"


def test_a_build_that_finished_unheard_is_collected(bench: Bench) -> None:
    execution = bench.start("echo one")
    until(lambda: bench.builds.status("one").state is State.FINISHED)
    assert bench.start("echo one") == execution
    lines: list[str] = []
    assert bench.follow(execution, lines) is State.FINISHED
    assert lines == ["one"]


def test_what_it_made_being_gone_a_finished_build_is_started_anew(bench: Bench) -> None:
    execution = bench.start("echo one", keep="test -e log && false")
    until(lambda: bench.builds.status("one").state is State.FINISHED)
    assert bench.start("echo one") != execution


def test_a_failure_is_told_to_who_followed_it_and_repeated_for_others(bench: Bench) -> None:
    execution = bench.start("seq 1 100; exit 3")
    until(lambda: bench.builds.status("one").state is State.FINISHED)
    assert bench.start("exit 4", seen=execution) == execution
    assert bench.builds.status("one").status == 3
    assert bench.builds.tail("one") == tuple(str(n) for n in range(81, 101))
    again = bench.start("exit 4")
    assert again != execution
    assert bench.follow(again, []) is State.FINISHED
    assert bench.builds.status("one").status == 4
    assert bench.read("log.1").endswith(b"100\n")


def test_starting_afresh_ends_the_one_that_runs_and_says_so(bench: Bench) -> None:
    first = bench.start("echo first; sleep 600")
    states: list[State] = []
    lines: list[str] = []
    follower = threading.Thread(target=lambda: states.append(bench.follow(first, lines)))
    follower.start()
    until(lambda: lines)
    old = bench.session()
    second = bench.start("echo second; sleep 600", attach=False)
    follower.join(60)
    assert states == [State.REPLACED]
    assert not [pid for pid in old if pid in bench.session()]
    # Who follows the second is not thrown out of it by asking once more.
    assert bench.start("echo third", attach=False, seen=second) == second


# --- ends ---------------------------------------------------------------------------------


def test_cancelling_ends_every_process_also_those_that_ignore_it(bench: Bench) -> None:
    bench.start("trap '' TERM; (trap '' TERM; sleep 600) & sleep 600; sleep 600")
    until(lambda: len(bench.session()) >= 4)
    assert bench.builds.cancel("one").state is State.CANCELLED
    assert bench.session() == []
    assert bench.builds.cancel("one").state is State.CANCELLED


def test_a_runner_that_was_killed_is_lost_and_its_build_started_anew(bench: Bench) -> None:
    execution = bench.start("echo one; sleep 600")
    runner = int(bench.read("pid").split()[0])
    os.kill(runner, signal.SIGKILL)
    assert bench.follow(execution, []) is State.LOST
    left = bench.session()
    assert left
    assert bench.start("sleep 600") != execution
    for pid in left:
        assert not Path(f"/proc/{pid}/fd").exists() or pid not in bench.session()


@pytest.mark.parametrize("field", [2, 3], ids=["recycled number", "rebooted"])
def test_another_process_with_its_number_is_not_taken_for_it(bench: Bench, field: int) -> None:
    bench.start("sleep 600")
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        path = bench.folder / "builds" / "one" / "pid"
        words = path.read_text().split()
        bench.builds.cancel("one")
        (path.parent / "exit").unlink()
        stat = Path(f"/proc/{bystander.pid}/stat").read_text().rpartition(")")[2].split()
        words[0] = words[1] = str(bystander.pid)
        words[2] = stat[19]
        words[field] = "1"
        path.write_text(" ".join(words) + "\n")
        assert bench.builds.status("one").state is State.LOST
        bench.builds.cancel("one")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_follower_ends_soon_after_its_reader(bench: Bench) -> None:
    execution = bench.start("echo one; sleep 600")

    def cut(text: str) -> None:
        bench.host.streams[-1].cut()

    with pytest.raises(ConnectionLost):
        bench.builds.follow("one", LogCursor(execution=execution), cut)
    until(lambda: bench.host.streams[-1].process.poll() is not None, 30)


# --- answers that make no sense -----------------------------------------------------------


def test_a_host_without_the_tools_is_told_what_to_install(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "cat", "mkdir", "mv"):
        (folder / tool).symlink_to(need(tool, "coreutils"))
    with pytest.raises(EngineError, match="there is no dd on this host") as caught:
        Bench(tmp_path / "state", str(folder)).start("true")
    assert "util-linux" in str(caught.value.hint)


def test_an_answer_that_is_no_log_is_refused(bench: Bench) -> None:
    bench.start("true")
    prefix, bench.host.prefix = bench.host.prefix, ("sh", "-c", "yes", "sh")
    with pytest.raises(EngineError, match="not fleet's"):
        bench.follow("x", [])
    bench.host.prefix = prefix


# --- limits -------------------------------------------------------------------------------


class Limited(Bench):
    """The same with limits: seconds in all, seconds of silence, slots of the host."""

    def order(self, name: str, command: str, limits: str) -> LogCursor:
        files = {"order.json": "{}\n", "keep": "true", "command": command, "limits": limits + "\n"}
        return LogCursor(execution=self.builds.start(name, files).id)


@pytest.fixture
def limited(tmp_path: Path, tools: str) -> Iterator[Limited]:
    bench = Limited(tmp_path / "state", tools)
    yield bench
    for name in ("one", "two"):
        bench.builds.cancel(name)
    bench.host.close()


@pytest.mark.parametrize(
    ("limits", "command", "state"),
    [
        ("3 0 0", "while echo busy; do sleep 0.2; done", State.TIMED_OUT),
        ("600 3 0", "echo begun; sleep 600", State.SILENT),
    ],
)
def test_a_build_beyond_its_limits_is_ended_on_the_host_with_nobody_there(
    limited: Limited, limits: str, command: str, state: State
) -> None:
    cursor = limited.order("one", command, limits)
    until(lambda: limited.builds.status("one").state is state)
    assert limited.builds.follow("one", cursor, lambda line: None) is state
    until(lambda: limited.session() == [])
    assert limited.order("one", "echo anew", limits).execution != cursor.execution


def test_a_build_within_its_limits_leaves_no_watcher(limited: Limited) -> None:
    cursor = limited.order("one", "for i in 1 2 3 4; do echo $i; sleep 1; done", "60 3 0")
    lines: list[str] = []
    assert limited.builds.follow("one", cursor, into(lines)) is State.FINISHED
    assert lines == ["1", "2", "3", "4"]
    watchers = ["pgrep", "-f", f"watch {limited.folder}"]
    until(lambda: subprocess.run(watchers, capture_output=True, check=False).returncode == 1)


def test_builds_of_strangers_share_the_slots_of_a_host(limited: Limited) -> None:
    first = limited.order("one", "echo one; sleep 600", "0 0 1")
    until(lambda: b"one" in limited.read("log"))
    second = limited.order("two", "echo two", "0 0 1")
    log = limited.folder / "builds" / "two" / "log"
    until(lambda: log.read_bytes())
    assert b"builds of other runs" in log.read_bytes()
    # A slot whose holder is dead is no obstacle.
    for pid in limited.session():
        os.kill(pid, signal.SIGKILL)
    lines: list[str] = []
    assert limited.builds.follow("two", second, into(lines)) is State.FINISHED
    assert lines[1:] == ["two"]
    assert limited.builds.follow("one", first, into(lines)) is State.LOST


def test_what_is_left_over_is_removed_and_what_is_in_use_is_not(limited: Limited) -> None:
    state = limited.folder
    running = {
        "order.json": '{"context": "sha256:aa"}\n',
        "Dockerfile": "FROM base@sha256:ee\nCOPY --from=fleet/x:amd64-1 / /\n",
        "keep": "true",
        "command": "sleep 600",
    }
    ended = {"order.json": '{"old": 1}\n', "keep": "true", "command": "true"}
    limited.builds.start("one", running)
    limited.builds.start("two", {**ended, "drop": f"touch {state}/dropped"})
    until(lambda: limited.builds.status("two").state is State.FINISHED)
    for name in ("aa", "bb", "cc", ".incoming-old"):
        (state / "contexts" / name / name).mkdir(parents=True)
        (state / "contexts" / name / "used").touch()
    old = 1_000_000_000
    for path in ("contexts/aa/used", "contexts/bb/used", "contexts/.incoming-old", "builds/two"):
        os.utime(state / path, (old, old))
    limited.builds.about_to_use("sha256:dd")
    left = limited.builds.left(sizes=True)
    assert {b.name: (b.running, b.bases) for b in left.builds} == {
        "one": (True, ("sha256:ee", "fleet/x:amd64-1")),
        "two": (False, ()),
    }
    assert {c.name: c.used > 1e8 for c in left.contexts} == {"aa": True, "bb": True, "cc": False}
    assert left.bases == ("sha256:dd",)
    assert left.size >= max(b.size for b in left.builds) > 0
    # Asked for everything, it looks once more at what is in use.
    gone = limited.builds.remove(left.builds, left.contexts, unused=3600)
    assert gone == {"two", "aa", "bb"}
    assert (state / "dropped").exists()
    assert sorted(path.name for path in (state / "builds").iterdir()) == ["one"]
    assert sorted(path.name for path in (state / "contexts").glob("*")) == [".lock", "cc"]
    assert limited.builds.remove(left.builds, left.contexts, unused=3600) == set()
    assert limited.builds.free(str(state / "not" / "there")) > 0
    assert limited.builds.free(str(state), "/proc") == limited.builds.free("/proc") == 0


def test_a_build_that_was_started_anew_since_it_was_looked_at_stays(limited: Limited) -> None:
    files = {"order.json": "{}\n", "keep": "true", "command": "true"}
    limited.builds.start("one", files)
    until(lambda: limited.builds.status("one").state is State.FINISHED)
    seen = limited.builds.left(sizes=False).builds
    limited.builds.start("one", files, attach=False)
    until(lambda: limited.builds.status("one").state is State.FINISHED)
    os.utime(limited.folder / "builds" / "one", (1_000_000_000, 1_000_000_000))
    assert limited.builds.remove(seen, (), unused=3600) == set()
    anew = limited.builds.left(sizes=False).builds
    assert limited.builds.start("one", files).fresh is False  # somebody collects it
    assert limited.builds.remove(anew, (), unused=3600) == set()
    os.utime(limited.folder / "builds" / "one", (1_000_000_000, 1_000_000_000))
    assert limited.builds.remove(anew, (), unused=3600) == {"one"}


def test_an_old_build_that_is_collected_is_in_use(limited: Limited) -> None:
    files = {"order.json": "{}\n", "keep": "true", "command": "true"}
    limited.builds.start("one", files)
    until(lambda: limited.builds.status("one").state is State.FINISHED)
    os.utime(limited.folder / "builds" / "one", (1_000_000_000, 1_000_000_000))
    assert not limited.builds.start("one", files).fresh
    (build,) = limited.builds.left(sizes=False).builds
    assert build.used < 3600


def test_a_build_that_is_not_there_is_said_to_be_none(limited: Limited) -> None:
    assert limited.builds.follow("nothing", LogCursor(), print) is State.NONE
