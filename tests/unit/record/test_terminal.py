"""A run as plain lines: what a person reads, and what no build can make of their terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import BuildFailed, ConnectionLost, HostKeyUnknown, RegistryDenied
from fleet.events import Event, HostLost, HostProbed, JobPlanned, Notice
from fleet.models import Action, ErrorInfo, HostReport, HostSpec, Status, Step
from fleet.record import FailureTerminal, PlainTerminal
from tests.unit.plan.builders import AMD64, ARM64, host, job

from .builders import (
    HELLO,
    PREPARED,
    RENTED,
    again,
    failed,
    finished,
    index,
    line,
    run_finished,
    run_started,
    started,
    stepped,
)


def shown(*events: Event, verbose: bool = True) -> list[str]:
    """The lines that the events make."""
    out = io.StringIO()
    terminal = PlainTerminal(out, verbose=verbose)
    for event in events:
        terminal.read(event)
    terminal.close()
    text = out.getvalue()
    assert text == "" or text.endswith("\n")
    return text.split("\n")[:-1]


# --- lines --------------------------------------------------------------------------------


def test_what_concerns_a_job_is_prefixed_with_its_platform_host_and_image() -> None:
    assert shown(started(), line("#5 [2/3] RUN make"), stepped(Step.PUSH, detail="sha256:12")) == [
        "[linux/arm64@thunderx-1] hello: started",
        "[linux/arm64@thunderx-1] hello: #5 [2/3] RUN make",
        "[linux/arm64@thunderx-1] hello: push 4.2 s: sha256:12",
    ]


def test_each_of_the_lines_that_came_together_is_prefixed_and_empty_ones_are_left_out() -> None:
    assert shown(line("one\n\n\x1b[1mtwo\x1b[0m\x07\n"), line("")) == [
        "[linux/arm64@thunderx-1] hello: one",
        "[linux/arm64@thunderx-1] hello: two\ufffd",
    ]


def test_what_is_rented_and_given_back_is_told() -> None:
    assert shown(*RENTED) == [
        "[up] rock-1: ./rent a",
        "[up] rock-1: creating it",
        "[up] rock-1: done in 4.2 s",
        "[down] rock-1: ./end",
        "[down] rock-1: no route",
        "[down] rock-1: failed in 4.2 s",
    ]


def test_what_is_prepared_is_told_before_any_job() -> None:
    begun = "[prepare] hello, b: fetch a in dockerfiles/hello"
    ended = "[prepare] hello: failed in 4.2 s"
    assert shown(*PREPARED) == [begun, "[prepare] hello: 100%", ended]
    assert shown(*PREPARED, verbose=False) == [begun, ended]


def test_a_later_attempt_and_a_retry_are_told() -> None:
    assert shown(started(attempt=2), again(ConnectionLost("thunderx-1", "it is gone"), 61)) == [
        "[linux/arm64@thunderx-1] hello: started (attempt 2)",
        "[linux/arm64@thunderx-1] hello: push again in 1 min 01 s: thunderx-1: it is gone",
    ]


def test_the_lines_of_builds_can_be_left_to_the_log_files() -> None:
    assert shown(line("noise"), started(), verbose=False) == [
        "[linux/arm64@thunderx-1] hello: started"
    ]


def test_every_line_of_a_message_of_several_has_the_prefix() -> None:
    prefix = "[linux/arm64@thunderx-1] hello: "
    lines = shown(finished(Status.FAILED, "first\nsecond"))
    assert lines == [f"{prefix}failed: first", f"{prefix}second"]


def test_the_plan_and_its_reasons_are_told() -> None:
    hosts = ("thunderx-1", "pi-1")
    plan = JobPlanned(job=HELLO, action=Action.BUILD, reason="forced", hosts=hosts)
    keep = JobPlanned(job=HELLO, action=Action.KEEP, reason="inputs unchanged", hosts=hosts)
    assert shown(plan, keep) == [
        "plan: build hello linux/arm64 on thunderx-1, pi-1: forced",
        "plan: keep hello linux/arm64: inputs unchanged",
    ]


def test_a_host_that_answered_says_what_it_is() -> None:
    (told,) = shown(HostProbed(report=host("h1", AMD64, ARM64)))
    assert told == (
        "h1: linux/amd64, linux/arm64; Docker 26.1.5 (buildx); 4 cores, 4.3 GB memory,"
        " 68.7 GB disk free"
    )


def test_a_host_that_did_not_answer_says_why_and_what_to_do() -> None:
    error = ErrorInfo.of(HostKeyUnknown("pi-1", "its key is not known", hint="accept it with:\nX"))
    report = HostReport(spec=HostSpec(name="pi-1"), error=error)
    assert shown(HostProbed(report=report)) == [
        "pi-1: its key is not known",
        "  accept it with:",
        "  X",
    ]


def test_a_lost_host_and_a_notice_are_told() -> None:
    error = ErrorInfo.of(ConnectionLost("pi-1", "it is gone"))
    assert shown(HostLost(host="pi-1", error=error), Notice(message="the disk is full")) == [
        "pi-1 is out for the rest of the run: pi-1: it is gone",
        "warning: the disk is full",
    ]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (Status.SKIPPED, "skipped: why"),
        (Status.BLOCKED, "blocked: why"),
        (Status.CANCELLED, "cancelled: why"),
        (Status.FAILED, "failed: why"),
    ],
)
def test_a_job_that_did_not_end_well_says_why(status: Status, told: str) -> None:
    assert shown(finished(status, "why")) == [f"[linux/arm64@thunderx-1] hello: {told}"]


def test_a_job_that_ended_well_names_its_digest_and_size() -> None:
    built, kept, emulated = shown(
        finished(), finished(Status.KEPT, "inputs unchanged"), finished(emulated=True)
    )
    assert built.startswith("[linux/arm64@thunderx-1] hello: built sha256:")
    assert built.endswith(" (1.0 kB)")
    assert kept.endswith(" (1.0 kB): inputs unchanged")
    assert emulated.endswith(" (1.0 kB), emulated")


def test_an_index_is_told_with_its_members() -> None:
    head, member = shown(index())
    assert head.startswith("registry.example.org/team/hello:latest: published sha256:")
    assert member.startswith("  linux/arm64      sha256:")
    assert shown(index(unchanged=True))[0].startswith(
        "registry.example.org/team/hello:latest: unchanged sha256:"
    )


# --- what a build prints ------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["[internal] load build definition", "[/bold]", "[red]x", ":boom:"]
)
def test_brackets_are_shown_as_they_are(text: str) -> None:
    assert shown(line(text)) == [f"[linux/arm64@thunderx-1] hello: {text}"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;another title\x07text", "text"),
        ("\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b(B\x1b[mtput", "tput"),
        ("\x1bP1$rq\x1b\\dcs", "dcs"),
        ("\x1bcreset", "reset"),
        ("\x1b[2J\x1b[Hcleared", "cleared"),
        ("tab\tstays", "tab\tstays"),
        ("bell\x07", "bell\N{REPLACEMENT CHARACTER}"),
        ("back\x08\x08", "back\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"),
        ("\x9b31mC1", "\N{REPLACEMENT CHARACTER}31mC1"),
        ("cut off \x1b[", "cut off \N{REPLACEMENT CHARACTER}["),
        ("right \u202e to left", "right \N{REPLACEMENT CHARACTER} to left"),
        ("10 %\r50 %\r100 %\r", "100 %"),
        ("Windows\r", "Windows"),
        ("µ → 雪", "µ → 雪"),
    ],
)
def test_nothing_that_a_terminal_would_obey_gets_through(text: str, left: str) -> None:
    assert shown(line(text)) == [f"[linux/arm64@thunderx-1] hello: {left}"]


@given(st.text())
def test_no_text_escapes_its_line_or_its_prefix(text: str) -> None:
    for told in shown(line(text)):
        assert told.startswith("[linux/arm64@thunderx-1] hello: ")
        assert all(c >= " " or c == "\t" for c in told)
        assert not set(told) & {"\x7f", "\x9b", "\u202e"}


def test_errors_of_hosts_and_registries_are_made_harmless_too() -> None:
    error = BuildFailed("pi-1", 1, ["\x1b[2Jtail"])
    bad = ErrorInfo(kind="X", message="\x1b]0;title\x07message", hint="\x1b[31mhint")
    lines = shown(failed(error), index(error=bad), Notice(message="\x1b[2Jnotice"), run_finished(1))
    assert not any("\x1b" in told for told in lines)
    assert "  | tail" in lines


def test_what_the_streams_encoding_cannot_say_is_replaced() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    PlainTerminal(out).read(line("snow 雪"))
    assert raw.getvalue() == b"[linux/arm64@thunderx-1] hello: snow ?\n"


# --- the end ------------------------------------------------------------------------------


def test_a_run_ends_with_counts_and_the_place_of_its_record() -> None:
    lines = shown(
        run_started("fleet", "build"),
        finished(),
        finished(Status.KEPT, "inputs unchanged", id=job("hello", AMD64)),
        index(),
        index("tools", unchanged=True),
        run_finished(),
    )
    assert lines[0] == "run r1"
    assert lines[-3:] == [
        "",
        "1 built, 1 kept, 1 index published, 1 index unchanged; 2 min 05 s; exit 0",
        "record: /state/runs/r1",
    ]


def test_a_run_with_nothing_to_do_says_so() -> None:
    assert shown(run_finished())[-1] == "nothing to do; 2 min 05 s; exit 0"


def test_a_run_that_could_not_begin_does_not_claim_that_there_was_nothing_to_do() -> None:
    assert shown(run_finished(3))[-1] == "nothing was done; 2 min 05 s; exit 3"


def test_a_failed_job_shows_its_last_lines_its_log_and_the_command_that_retries_it() -> None:
    lines = shown(
        run_started("/opt/venv/bin/fleet", "build", inventory="my fleet.yml"),
        finished(id=job("base", ARM64)),
        failed(),
        finished(Status.SKIPPED, "its parent failed", id=job("plugins", ARM64)),
        index(error=ErrorInfo.of(RegistryDenied("no push", hint="log in"))),
        run_finished(1),
    )
    start = lines.index("hello linux/arm64 failed on thunderx-1:")
    assert lines[start:] == [
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
        "1 built, 1 failed, 1 skipped, 1 index not published; 2 min 05 s; exit 1",
        "again, what is missing: fleet build hello plugins --inventory 'my fleet.yml'",
        "record: /state/runs/r1",
    ]


def test_without_a_command_line_the_images_that_are_missing_are_named() -> None:
    lines = shown(failed(), failed(id=job("hello", AMD64)), run_finished(1))
    assert lines[-1] == "again, what is missing: fleet build hello"


def test_a_run_that_lacks_nothing_names_no_command() -> None:
    assert not any("again" in told for told in shown(run_started(), finished(), run_finished()))


def test_a_quiet_run_says_nothing_when_all_is_well_and_the_summary_when_not() -> None:
    def said(*events: Event) -> str:
        out = io.StringIO()
        terminal = FailureTerminal(out)
        for event in events:
            terminal.read(event)
        return out.getvalue()

    assert said(run_started("fleet", "build"), finished(), index(), run_finished()) == ""
    told = said(run_started("fleet", "build"), failed(), run_finished(1))
    assert "hello linux/arm64 failed on thunderx-1:" in told
    assert "exit 1" in told
