"""The frames in which a log arrives, over a host that answers from a script."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.engine import LogCursor, State
from fleet.engine.detached import DetachedBuilds
from fleet.engine.script import HostScript
from fleet.errors import ConnectionLost, EngineError, HostError
from tests.heard import into
from tests.unit.engine.fakes import FakeHost, FakeStream, silence


def follow(
    pieces: list[bytes | HostError], cursor: LogCursor | None = None
) -> tuple[State, list[str]]:
    host = FakeHost(streams=[FakeStream(pieces)])
    lines: list[str] = []
    builds = DetachedBuilds(host, HostScript(host, PurePosixPath("/state")))
    cursor = cursor or LogCursor(execution="e")
    state = builds.follow("name", cursor, into(lines))
    assert host.ran[-1][2:] == ("follow", "/state", "name", "e", "0")
    return state, lines


def framed(payloads: list[bytes]) -> bytes:
    return b"".join(b"%d\n%s" % (len(payload), payload) for payload in payloads)


@given(
    payloads=st.lists(st.binary(max_size=300)),
    cuts=st.lists(st.integers(1, 400), min_size=1),
    noise=st.binary(max_size=100).filter(lambda noise: b"fleet" not in noise),
)
def test_whatever_the_bytes_and_however_they_are_cut_the_log_arrives(
    payloads: list[bytes], cuts: list[int], noise: bytes
) -> None:
    data = noise + b"fleet-host 1\n" + framed(payloads) + b"end finished 0\n"
    pieces: list[bytes | HostError] = []
    while data:
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(data[:size])
        data = data[size:]
    cursor = LogCursor(execution="e")
    state, lines = follow(pieces, cursor)
    log = b"".join(payloads)
    assert state is State.FINISHED
    assert len(lines) == len(log.removesuffix(b"\n").split(b"\n")) if log else lines == []
    assert cursor.offset == len(log)


def test_a_log_that_looks_like_its_own_frames_is_a_log() -> None:
    log = b"0\nend finished 0\n12\nfleet-host 1\n"
    state, lines = follow([b"fleet-host 1\n" + framed([log]) + b"end lost \n"])
    assert state is State.LOST
    assert lines == log.decode().splitlines()


@pytest.mark.parametrize("end", [silence(), b"", ConnectionLost("pi-1", "reset")])
def test_when_the_connection_ends_the_cursor_stands_behind_the_last_whole_line(
    end: bytes | HostError,
) -> None:
    cursor = LogCursor(execution="e")
    with pytest.raises(ConnectionLost):
        follow([b"fleet-host 1\n0\n" + framed([b"one\ntwo\nthr"]), end], cursor)
    assert cursor.offset == len("one\ntwo\n")


@pytest.mark.parametrize(
    "answer",
    [b"fleet-host 1\n<html>\n", b"fleet-host 1\n" + b"9" * 100, b"y\n" * 100_000],
    ids=["no frame", "no end of a frame", "noise without end"],
)
def test_an_answer_that_is_none_of_ours_is_refused(answer: bytes) -> None:
    with pytest.raises(EngineError, match="pi-1: its"):
        follow([answer])


def test_an_answer_without_the_greeting_is_quoted() -> None:
    host = FakeHost(answer=lambda argv: b"This account is disabled.\n")
    with pytest.raises(EngineError, match="This account is disabled"):
        HostScript(host, PurePosixPath("/state")).run("status", "name")


def test_lines_that_arrive_together_are_handed_over_together_and_those_that_do_not_at_once() -> (
    None
):
    stream = FakeStream([b"fleet-host 1\n" + framed([b"one\ntwo\nthr"]), framed([b"ee\n"])])
    host = FakeHost(streams=[stream])
    heard: list[tuple[str, int]] = []
    builds = DetachedBuilds(host, HostScript(host, PurePosixPath("/state")))
    with pytest.raises(ConnectionLost):
        builds.follow(
            "name",
            LogCursor(execution="e"),
            lambda text: heard.append((text, len(stream.pieces))),  # and what is still to come
        )
    assert heard == [("one\ntwo", 1), ("three", 0)]


@given(
    log=st.lists(st.sampled_from([b"one", b"two\n", b"\r", b"\n", b"\xc3", b"\xbc"]), max_size=40),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    size=st.integers(1, 9),
)
def test_wherever_the_connection_breaks_no_line_is_heard_twice_and_none_is_missed(
    log: list[bytes], cuts: list[int], size: int
) -> None:
    whole = b"".join(log)
    uncut: list[str] = []
    heard: list[str] = []
    assert attempt(LogCursor(execution="e"), uncut, [whole] if whole else [], b"end finished 0\n")
    cursor = LogCursor(execution="e")
    for cut in cuts:
        left = whole[cursor.offset :][:cut]
        attempt(cursor, heard, [left[at : at + size] for at in range(0, len(left), size)], b"")
    left = whole[cursor.offset :]
    assert attempt(cursor, heard, [left] if left else [], b"end finished 0\n")
    assert heard == uncut
    assert cursor.offset == len(whole)


def attempt(cursor: LogCursor, lines: list[str], payloads: list[bytes], end: bytes) -> bool:
    """Follow from the cursor on; whether it came to an end."""
    pieces: list[bytes | HostError] = [b"fleet-host 1\n", framed(payloads) + end]
    host = FakeHost(streams=[FakeStream([piece for piece in pieces if piece])])
    builds = DetachedBuilds(host, HostScript(host, PurePosixPath("/state")))
    at = cursor.offset
    try:
        builds.follow("name", cursor, into(lines))
    except ConnectionLost:
        return False
    assert host.ran[-1][2:] == ("follow", "/state", "name", "e", str(at))
    return True
