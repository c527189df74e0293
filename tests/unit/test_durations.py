"""Lengths of time are read as people write them."""

from __future__ import annotations

import pytest

from fleet.durations import parse_duration
from fleet.errors import InvalidDuration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("90", 90), ("90s", 90), ("5m", 300), ("6h", 21600), ("7d", 604800), ("2w", 1209600)),
        *(("1h30m", 5400), (" 1D ", 86400), ("0s", 0)),
    ],
)
def test_a_length_of_time_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "7 d", "-1d", "1.5h", "7y", "٣d", "1h30", "9" * 99])
def test_what_is_none_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(InvalidDuration) as caught:
        parse_duration(text)
    assert "7d" in str(caught.value)
