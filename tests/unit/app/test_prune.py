"""What ``--keep`` means."""

from __future__ import annotations

import pytest

from fleet.app.prune import parse_keep
from fleet.errors import UsageError
from fleet.models import Keep


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("7d", Keep(age=7 * 86400.0)),
        ("1h30m", Keep(age=5400.0)),
        ("0s", Keep(age=0.0)),
        ("10GB", Keep(size=10_000_000_000)),
        (" 1.5 GiB ", Keep(size=3 << 29)),
        ("3", Keep(count=3)),
        ("0", Keep(count=0)),
    ],
)
def test_an_age_a_size_or_a_number(text: str, keep: Keep) -> None:
    assert parse_keep(text) == keep


@pytest.mark.parametrize("text", ["", "week", "10G", "-3", "3 images", "9999999999", "b", "²"])
def test_anything_else_is_said_with_what_to_write(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_keep(text)
    assert "10GB" in (raised.value.hint or "")
