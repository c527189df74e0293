"""The run on a terminal: what stands there at any moment, whatever happens to it."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fleet.record.live
from fleet.errors import ConnectionLost, RegistryDenied
from fleet.events import (
    Event,
    HostAway,
    HostBack,
    HostLost,
    HostProbed,
    IndexStarted,
    JobPlanned,
    Notice,
)
from fleet.models import Action, ErrorInfo, HostReport, HostSpec, IndexPlan, JobId, Status, Step
from fleet.record import can_draw, wants_colour
from fleet.record.live import LiveTerminal
from tests.screen import Terminal
from tests.unit.plan.builders import AMD64, ARM32, ARM64, REGISTRY, job, repository

from .builders import (
    HELLO,
    PREPARED,
    again,
    failed,
    finished,
    index,
    line,
    run_finished,
    run_started,
    started,
    step,
    stepped,
)

TOOLS = job("tools", AMD64)
GONE = ErrorInfo.of(ConnectionLost("pi-1", "no route to host"))


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are drawn where a test says so."""
    monkeypatch.setattr(fleet.record.live, "PAUSE", 3600.0)


class Show:
    """A display on a terminal, and its clock."""

    def __init__(self, columns: int = 100, lines: int = 24, **rest: Any) -> None:
        self.terminal = Terminal(columns, lines, encoding=rest.pop("encoding", "utf-8"))
        self.now = 1000.0
        usual: Mapping[JobId, float] = rest.pop("usual", {})
        self.display = LiveTerminal(
            self.terminal,  # type: ignore[arg-type]
            usual=lambda: usual,
            size=self.terminal.size,
            clock=lambda: self.now,
            **{"colour": False, **rest},
        )

    def tell(self, *events: Event) -> Show:
        for event in events:
            self.display.read(replace(event, at=self.now))
        return self

    def rows(self, after: float = 0.0) -> list[str]:
        """What stands on the terminal some seconds later."""
        self.now += after
        self.display.draw()
        return self.terminal.rows


@pytest.fixture
def show() -> Iterator[Show]:
    shown = Show(usual={HELLO: 300.0, TOOLS: 60.0})
    shown.tell(run_started("fleet", "build"))
    yield shown
    shown.display.close()


def plan(*jobs: JobId, hosts: tuple[str, ...] = ("thunderx-1", "pi-1")) -> list[Event]:
    return [JobPlanned(job=id, action=Action.BUILD, reason="new", hosts=hosts) for id in jobs]


def at_work(id: JobId = HELLO, host: str = "thunderx-1") -> list[Event]:
    return [started(id, host=host), replace(step(), job=id, host=host)]


# --- what stands there --------------------------------------------------------------------


def test_a_job_at_work_says_where_at_what_how_long_and_how_long_it_takes(show: Show) -> None:
    show.tell(*plan(HELLO), *at_work(), line("#7 [builder 2/5] RUN make -j4"))
    (row,) = [r for r in show.rows(after=65) if "hello" in r]
    assert " ".join(row.split()) == (
        "linux/arm64 hello thunderx-1 [builder 2/5] RUN make -j4 1:05 of 5:00"
    )


def test_outside_of_a_build_the_step_is_fleets(show: Show) -> None:
    show.tell(*plan(HELLO), started(), step(), line("#7 [2/5] RUN make"), stepped())
    show.tell(replace(step(), step=Step.PUSH))
    (row,) = [r for r in show.rows() if "hello" in r]
    assert "push" in row
    assert "RUN make" not in row


def test_a_retry_is_counted_down_and_says_why(show: Show) -> None:
    show.tell(*plan(HELLO), *at_work(), again(ConnectionLost("thunderx-1", "it is gone"), 61))
    assert any("push again in 0:51: it is gone" in row for row in show.rows(after=10))
    assert not any("again in 0:" in row for row in show.rows(after=60))


def test_a_job_whose_host_failed_under_it_says_what_it_waits_for(show: Show) -> None:
    show.tell(*plan(HELLO), *at_work(), stepped(ok=False))
    show.tell(HostAway(host="thunderx-1", error=GONE, wait=300.0))
    assert any("hello" in row and "waits for its host" in row for row in show.rows())
    show.tell(HostLost(host="thunderx-1", error=GONE))
    assert any("hello" in row and "waits for another host" in row for row in show.rows())
    show.tell(started(attempt=2, host="pi-1"))
    assert not any("waits for another host" in row for row in show.rows())


def test_a_later_attempt_is_told(show: Show) -> None:
    show.tell(*plan(HELLO), started(attempt=2))
    assert any("(attempt 2)" in row for row in show.rows())


def test_hosts_that_are_away_out_or_silent_stay_in_sight(show: Show) -> None:
    silent = HostProbed(report=HostReport(spec=HostSpec(name="pi-3"), error=GONE))
    away = HostAway(host="pi-2", error=GONE, wait=300.0)
    show.tell(*plan(HELLO), silent, HostLost(host="pi-1", error=GONE), away)
    told = [row.strip() for row in show.rows(after=61) if row.startswith("  !")]
    assert told == [
        "! pi-3 was left out: pi-1: no route to host",
        "! pi-1 is out: no route to host",
        "! pi-2 is away for 1:01, and waited for",
    ]
    show.tell(HostBack(host="pi-2", seconds=61.0))
    assert not any("! pi-2" in row for row in show.rows())


def test_what_has_ended_is_folded_and_the_failed_are_named(show: Show) -> None:
    others = [job(f"i{n}", ARM32) for n in range(9)]
    show.tell(*plan(HELLO, TOOLS, *others), finished(), failed(id=TOOLS))
    show.tell(*(finished(Status.KEPT, "same", id=id) for id in others[:5]))
    folded = show.rows()[-2].split("  ")
    assert folded[1:] == ["✓ 1 built", "= 5 kept", "✗ 1 failed (tools linux/amd64)", "… 4 waiting"]


def test_the_bar_says_how_far_it_is_and_what_is_left(show: Show) -> None:
    show.tell(*plan(HELLO, TOOLS), *at_work(), *at_work(TOOLS, "pi-1"), finished(id=TOOLS))
    bar = show.rows(after=60)[-1]
    assert bar.endswith("1 of 2 jobs  1:00  about 4 min left")
    assert 0 < bar.count("━") < 40
    show.tell(finished())
    assert show.rows(after=0.25)[-1].endswith("2 of 2 jobs  1:00")


def test_before_the_plan_stands_it_says_what_is_done(show: Show) -> None:
    assert show.rows()[1].strip() == "looking at what is to be built"
    show.tell(PREPARED[0])
    assert any("preparing hello, b: fetch a  0:05" in row for row in show.rows(after=5))


def test_an_index_that_is_being_put_has_a_line(show: Show) -> None:
    plan_ = IndexPlan(
        image="hello", repository=repository(REGISTRY, "hello"), tags=("latest",), members=(HELLO,)
    )
    show.tell(*plan(HELLO), finished(), IndexStarted(plan=plan_))
    assert any("index of hello is being put" in row for row in show.rows())
    show.tell(index())
    assert not any("is being put" in row for row in show.rows())


def test_what_happened_goes_up_once_and_stays(show: Show) -> None:
    show.tell(*plan(HELLO, TOOLS), *at_work(), finished(), Notice(message="the disk is full"))
    show.tell(index(), finished(Status.KEPT, "same", id=TOOLS), index("tools", unchanged=True))
    first = show.rows()
    assert first[:3] == ["run r1", "✓ hello linux/arm64 built on thunderx-1",
                         "warning: the disk is full"]  # fmt: skip
    assert first[3].startswith("✓ registry.example.org/team/hello:latest published sha256:")
    assert show.rows(after=3)[:4] == first[:4]
    assert sum("tools" in row for row in first) == 0


# --- 200 jobs and small terminals ---------------------------------------------------------


def test_the_frame_fits_whatever_the_size_and_the_number_of_jobs() -> None:
    jobs = [job(f"image-{n:03}", (AMD64, ARM64, ARM32)[n % 3]) for n in range(200)]
    for columns, lines in ((200, 60), (80, 24), (40, 10), (20, 5), (10, 2), (1, 1)):
        show = Show(columns, lines)
        show.tell(run_started("fleet", "build"), *plan(*jobs))
        show.display.draw()
        show.tell(*(event for id in jobs for event in at_work(id, f"host-{id.image}")))
        for host in ("a", "b", "c", "d", "e"):
            show.tell(HostLost(host=host, error=GONE))
        show.rows()
        show.terminal.history.clear()
        rows = show.rows(after=1)
        assert not show.terminal.history, "a frame that does not fit scrolls at every drawing"
        assert all(len(row) < max(2, columns) for row in rows)
        if lines >= 10:
            hidden = next(row for row in rows if "more at work" in row)
            number = sum("host-image" in row or "image-" in row for row in rows)
            assert int(hidden.split()[2]) + number == 200
        show.display.close()


def test_a_long_name_gives_way_to_the_step() -> None:
    show = Show(80, 24)
    id = job("a-team/with-a-very-long-name-of-an-image-indeed", ARM64)
    show.tell(run_started(), *plan(id), *at_work(id, "a-host-with-a-very-long-name.example.org"))
    show.tell(line("#7 [2/3] RUN make", id))
    (row,) = [r for r in show.rows() if "a-team" in r]
    assert "[2/3] RUN m" in row
    show.display.close()


def test_wide_characters_are_counted_as_the_terminal_counts_them() -> None:
    show = Show(60, 24)
    show.tell(run_started(), *plan(HELLO), *at_work(), line(f"#7 [2/3] RUN echo {'雪' * 60}"))
    for _ in range(2):
        rows = show.rows(after=1)
    assert sum("hello" in row for row in rows) == 1
    assert rows[1].endswith("0:02")
    show.display.close()


# --- the terminal -------------------------------------------------------------------------


def test_a_frame_that_has_not_changed_is_not_drawn_again(show: Show) -> None:
    written: list[str] = []
    write = show.terminal.write
    show.terminal.write = lambda text: written.append(text) or write(text)  # type: ignore[method-assign, func-returns-value]
    show.tell(*plan(HELLO), *at_work())
    show.rows()
    written.clear()
    show.rows(after=0.25)
    assert written == []
    show.rows(after=1)
    assert len(written) == 1, "a frame is one write"


def test_only_lines_that_have_changed_are_written(show: Show) -> None:
    show.tell(*plan(HELLO, TOOLS), *at_work(), *at_work(TOOLS, "pi-1"))
    show.rows()
    written: list[str] = []
    write = show.terminal.write
    show.terminal.write = lambda text: written.append(text) or write(text)  # type: ignore[method-assign, func-returns-value]
    show.tell(line("#7 [2/3] RUN make", TOOLS))
    show.rows()
    assert "tools" in written[0]
    assert "hello" not in written[0]


def test_between_two_frames_the_terminal_is_as_it_was_found(show: Show) -> None:
    show.tell(*plan(HELLO), *at_work())
    show.rows()
    assert show.terminal.modes == {"?25": True, "?7": True, "?2026": False}
    assert show.terminal.cursor == (len(show.terminal.rows), 0)


def test_what_others_say_on_standard_error_goes_above_the_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    show = Show()
    monkeypatch.setattr(sys, "stderr", show.terminal)
    show.tell(run_started(), *plan(HELLO), *at_work())
    show.rows()
    print("fleet: warning: the report could not be written", file=sys.stderr)
    assert show.rows()[1] == "fleet: warning: the report could not be written"
    show.tell(run_finished())
    assert sys.stderr is show.terminal


def test_what_a_key_press_echoes_is_gone_with_the_next_frame(show: Show) -> None:
    show.tell(*plan(HELLO), *at_work())
    show.rows()
    show.terminal.write("^C")
    assert not any("^C" in row for row in show.rows(after=1))


@pytest.mark.parametrize("size", [(60, 24), (140, 24), (100, 12), (33, 24), (100, 40)])
def test_a_resized_terminal_shows_one_frame(show: Show, size: tuple[int, int]) -> None:
    show.tell(*plan(HELLO, TOOLS), *at_work(), *at_work(TOOLS, "pi-1"))
    show.tell(line("#7 [builder 2/5] RUN make -j4 && make install && make check", TOOLS))
    show.rows()
    show.terminal.resize(*size)
    for _ in range(2):
        rows = show.rows(after=1)
    told = [*show.terminal.history, *rows]
    assert sum("linux/arm64" in row for row in told) == 1
    assert sum("linux/amd64" in row for row in told) == 1
    assert sum("run r1" in row for row in told) == 1


def test_a_frame_as_high_as_the_screen_leaves_no_copy_in_the_history() -> None:
    jobs = [job(f"image-{n:03}", ARM64) for n in range(30)]
    show = Show(90, 10)
    show.tell(run_started("fleet", "build"), *plan(*jobs))
    show.tell(*(event for id in jobs for event in at_work(id)))
    for id in jobs[:5]:
        show.rows(after=1)
        show.tell(finished(id=id))
    show.rows()
    ended = [f"✓ {id} built on thunderx-1" for id in jobs[:5]]
    assert [*show.terminal.history, *show.terminal.rows][:6] == ["run r1", *ended]
    show.display.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(1, 120), st.integers(1, 40)),
            st.text(max_size=30),
            st.sampled_from(["finish", "fail", "notice", "start", "lose"]),
        ),
        max_size=15,
    )
)
def test_whatever_happens_the_end_is_the_summary_below_what_was_printed(steps: list[Any]) -> None:
    show = Show(80, 24)
    show.tell(run_started("fleet", "build"), *plan(HELLO, TOOLS), *at_work())
    for what in steps:
        match what:
            case (columns, lines):
                show.terminal.resize(columns, lines)
            case "finish":
                show.tell(finished())
            case "fail":
                show.tell(failed(id=TOOLS))
            case "notice":
                show.tell(Notice(message="the disk is full"))
            case "start":
                show.tell(*at_work(TOOLS, "pi-1"))
            case "lose":
                show.tell(HostLost(host="pi-1", error=GONE))
            case text:
                show.tell(line(f"#7 [2/3] RUN {text}"))
        show.rows(after=1)
    show.terminal.resize(80, 24)
    show.rows()
    show.tell(run_finished())
    assert show.terminal.rows[-1] == "record: /state/runs/r1"
    assert not any("more at work" in row or "━" in row for row in show.terminal.rows)
    assert show.terminal.visible


def test_nothing_that_a_terminal_would_obey_gets_through(show: Show) -> None:
    show.tell(*plan(HELLO), *at_work(), line("#7 [2/3] RUN echo \x1b[2J\x1b]0;title\x07\tx\r"))
    show.tell(Notice(message="\x1b[31mred"))
    rows = show.rows()  # the terminal of the tests refuses what it does not know
    assert any("RUN echo" in row for row in rows)
    assert "31" not in show.terminal.coloured


def test_colours_are_left_out_where_nobody_wants_them() -> None:
    events = (run_started(), *plan(HELLO, TOOLS), *at_work(), failed(id=TOOLS), run_finished(1))
    for colour in (True, False):
        show = Show(colour=colour).tell(*events[:-1])
        show.rows()
        show.tell(events[-1])
        assert bool(show.terminal.coloured) is colour
    assert wants_colour({"NO_COLOR": ""})
    assert not wants_colour({"NO_COLOR": "1"})


def test_a_terminal_without_unicode_is_drawn_with_what_it_has() -> None:
    show = Show(encoding="ascii")
    show.tell(run_started(), *plan(HELLO, TOOLS), *at_work(), failed(id=TOOLS))
    assert all(row.isascii() for row in show.rows())
    show.tell(run_finished(1))
    assert all(row.isascii() for row in show.terminal.rows)


def test_a_dumb_terminal_and_a_pipe_are_not_drawn_on() -> None:
    terminal: Any = Terminal()
    assert can_draw(terminal, {"TERM": "xterm-256color"})
    assert not can_draw(terminal, {"TERM": "dumb"})
    assert not can_draw(terminal, {})
    assert not can_draw(io.StringIO(), {"TERM": "xterm-256color"})


# --- the end ------------------------------------------------------------------------------


def test_the_last_screen_of_a_failed_run_says_what_why_where_and_how_to_go_on(show: Show) -> None:
    show.tell(*plan(HELLO, TOOLS), *at_work(), finished(id=TOOLS))
    show.rows()
    show.tell(failed())
    show.tell(index(error=ErrorInfo.of(RegistryDenied("no push", hint="log in"))), run_finished(1))
    rows = show.terminal.rows
    assert rows[rows.index("hello linux/arm64 failed on thunderx-1:") :] == [
        "hello linux/arm64 failed on thunderx-1:",
        "  thunderx-1: the build ended with status 2",
        "  | gcc -c x.c",
        "  | x.c:1: error: no",
        "  the whole log: /state/runs/r1/logs/hello-arm64v8.1.log",
        "",
        "registry.example.org/team/hello is not published:",
        "  no push",
        "    log in",
        "",
        "1 built, 1 failed, 1 index not published; 2 min 05 s; exit 1",
        "again, what is missing: fleet build hello",
        "record: /state/runs/r1",
    ]
    assert show.terminal.cursor == (len(rows), 0)
    assert show.terminal.visible


def test_a_run_that_ends_without_a_word_leaves_no_frame(show: Show) -> None:
    show.tell(*plan(HELLO), *at_work())
    show.rows()
    show.display.close()
    assert show.terminal.rows == ["run r1"]
    assert show.terminal.cursor == (1, 0)


def test_nothing_is_drawn_before_a_run_begins() -> None:
    show = Show()
    show.display.close()
    assert show.terminal.rows == []


# --- other threads ------------------------------------------------------------------------


def test_a_terminal_that_is_held_holds_up_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    show = Show()
    held, writing = threading.Event(), threading.Event()
    write = show.terminal.write

    def slow(text: str) -> int:
        writing.set()
        assert held.wait(30)
        return write(text)

    show.terminal.write = slow  # type: ignore[method-assign]
    monkeypatch.setattr(fleet.record.live, "PAUSE", 0.01)
    show.tell(run_started(), *plan(HELLO))
    assert writing.wait(30)
    show.tell(*at_work(), line("#7 [2/3] RUN make"))  # returns, or the test never ends
    held.set()
    show.tell(run_finished())
    assert show.terminal.rows[-1] == "record: /state/runs/r1"


def test_a_terminal_that_is_gone_is_told_of_at_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    show = Show()
    gone = threading.Event()

    def broken(_text: str) -> int:
        gone.set()
        raise OSError(5, "Input/output error")

    show.terminal.write = broken  # type: ignore[method-assign]
    monkeypatch.setattr(fleet.record.live, "PAUSE", 0.01)
    show.tell(run_started())
    assert gone.wait(30)
    for _ in range(3000):
        try:
            show.tell(Notice(message="x"))
        except OSError:
            break
        threading.Event().wait(0.01)
    else:
        raise AssertionError("nobody was told")
    show.display.close()
