"""A log in pieces: lines whole, characters whole, and every byte counted once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleet.engine.logs import Lines, text

# What a log is made of, and where cutting, decoding or joining it may go wrong.
awkward = st.one_of(
    st.binary(),
    st.text().map(lambda said: said.encode(errors="surrogatepass")),
    st.sampled_from([b"\n", b"\r", b"\r\n", b"\r\r\n", b"\n\n", b"\xc3", b"\xbc", b"\xe6\xbc"]),
    st.sampled_from([b"\xf0\x9f\x90", b"\x1b[2K", b"\x0b", b"\x0c", b"\x85", b"\xe2\x80\xa8"]),
)


def read(line: bytes) -> str:
    """What one line says, by the letter: the definition that pieces are held against."""
    return line.rstrip(b"\r").split(b"\r")[-1].decode(errors="replace")


@given(st.lists(awkward))
def test_however_a_log_is_cut_into_pieces_its_lines_are_the_same(pieces: list[bytes]) -> None:
    lines = Lines()
    got = [whole for piece in pieces if (whole := lines.feed(piece))]
    assert all(whole.endswith(b"\n") for whole in got)
    if rest := lines.end():
        assert b"\n" not in rest
        got.append(rest)
    whole = b"".join(pieces)
    assert b"".join(got) == whole
    heard = [line for piece in got for line in text(piece).split("\n")]
    assert heard == ([*map(read, whole.removesuffix(b"\n").split(b"\n"))] if whole else [])


@given(st.lists(awkward))
def test_a_line_arrives_with_the_piece_that_ends_it(pieces: list[bytes]) -> None:
    lines, given, got = Lines(), b"", b""
    for piece in pieces:
        given += piece
        got += lines.feed(piece)
        assert got == given[: given.rfind(b"\n") + 1]


def test_a_line_that_has_not_ended_is_not_given_before_the_end() -> None:
    lines = Lines()
    assert lines.feed(b"one\ntwo") == b"one\n"
    assert lines.end() == b"two"
    assert lines.end() == b""


def test_a_line_of_many_pieces_is_joined_once() -> None:
    lines = Lines()
    for _ in range(200_000):  # joining at every piece would copy 20 GB
        assert lines.feed(b"x") == b""
    assert lines.feed(b"\n") == b"x" * 200_000 + b"\n"


def test_of_a_progress_bar_its_last_state_is_left() -> None:
    assert text(b"1%\r2%\r100%") == "100%"
    assert text(b"done\r") == "done"
    assert text(b"1%\rdone\r\r\n") == "done"
    assert text(b"before\n1%\r2%\r\n\rafter\r\n\r\n") == "before\n2%\nafter\n"


def test_empty_lines_are_lines() -> None:
    assert text(b"\n") == ""
    assert text(b"\n\n") == "\n"
    assert text(b"a\n\n") == "a\n"


def test_what_cannot_be_decoded_is_replaced() -> None:
    assert text(b"gr\xfc\xdfe") == "gr\ufffd\ufffde"
    assert text(b"\xe6\xbc\n\xc3\n") == "\ufffd\n\ufffd"  # no line takes a byte of the next
    assert text("漢字".encode()) == "漢字"
