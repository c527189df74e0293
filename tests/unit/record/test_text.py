"""Small things are written in one way everywhere."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.record.text import count, plain, seconds, several, size


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.0 s"),
        (4.21, "4.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (60, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.7, "1 h 00 min"),
        (7440, "2 h 04 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_durations(value: float, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (812, "812 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_951, "1.0 MB"),
        (4_130_000, "4.1 MB"),
        (2_000_000_000, "2.0 GB"),
        (3_200_000_000_000, "3.2 TB"),
        (5_000_000_000_000_000, "5000.0 TB"),
    ],
)
def test_sizes(value: int, text: str) -> None:
    assert size(value) == text


@given(st.integers(0, 10**15))
def test_no_size_below_a_petabyte_has_more_than_three_digits_before_the_point(value: int) -> None:
    assert re.fullmatch(r"\d{1,3} B|\d{1,3}\.\d [kMGT]B|1000\.0 TB", size(value))


@given(st.floats(0, 1e7))
def test_no_duration_says_60(value: float) -> None:
    assert not re.search(r"\b60(\.0)? (s|min)\b", seconds(value))


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "host", "0 hosts"),
        (1, "index", "1 index"),
        (2, "index", "2 indexes"),
        (2, "check", "2 checks"),
    ],
)
def test_numbers_and_nouns(number: int, noun: str, text: str) -> None:
    assert count(number, noun) == text


def test_no_character_passes_that_moves_the_cursor_or_turns_the_direction() -> None:
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for character in map(chr, range(0x3000)):
        control = unicodedata.category(character) == "Cc" and character != "\t"
        if control or unicodedata.bidirectional(character) in turning:
            assert plain(f"a{character}b") == "a\ufffdb" or character in "\r\n\x1b", repr(character)
            assert character not in plain(f"a{character}{character}b{character}")


def test_what_can_be_printed_stays_as_it_is() -> None:
    for line in ("", " ", "[internal] #5 0.1 a\tb", "grüße, 漢字 \N{PARTY POPPER}", "a\u00a0b"):
        assert plain(line) == line


def test_many_names_are_few_and_a_number() -> None:
    names = [f"pi-{number}" for number in range(10)]
    assert several(names[:8]) == "pi-0, pi-1, pi-2, pi-3, pi-4, pi-5, pi-6, pi-7"
    assert several(names) == f"{several(names[:8])} and 2 more"
    assert several([]) == ""
