from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleet.engine.logs import Lines, text

awkward = st.one_of(st.binary(), st.sampled_from([b"\n", b"\r", b"\xc3", b"\xbc", b"\x1b[2K"]))


@given(st.lists(awkward))
def test_however_a_log_is_cut_into_pieces_its_lines_are_the_same(pieces: list[bytes]) -> None:
    lines = Lines()
    got = [line for piece in pieces for line in lines.feed(piece)] + list(lines.end())
    whole = b"".join(pieces)
    assert got == (whole.removesuffix(b"\n").split(b"\n") if whole else [])


def test_a_line_that_has_not_ended_is_not_given_before_the_end() -> None:
    lines = Lines()
    assert list(lines.feed(b"one\ntwo")) == [b"one"]
    assert list(lines.end()) == [b"two"]
    assert list(lines.end()) == []


def test_a_line_of_many_pieces_is_joined_once() -> None:
    lines = Lines()
    for _ in range(200_000):  # joining at every piece would copy 20 GB
        assert list(lines.feed(b"x")) == []
    assert list(lines.feed(b"\n")) == [b"x" * 200_000]


def test_of_a_progress_bar_its_last_state_is_left() -> None:
    assert text(b"1%\r2%\r100%") == "100%"
    assert text(b"done\r") == "done"
    assert text(b"1%\rdone\r\r") == "done"


def test_what_cannot_be_decoded_is_replaced() -> None:
    assert text(b"gr\xfc\xdfe") == "gr\ufffd\ufffde"
    assert text("漢字".encode()) == "漢字"
