"""What ``--keep`` means."""

from __future__ import annotations

import pytest

from fleet.app.pruning import parse_keep, pruned
from fleet.errors import ExitCode, HostUnreachable, UsageError
from fleet.models import ErrorInfo, Keep, PruneReport


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


def test_a_host_that_was_away_is_an_exit_code_of_its_own() -> None:
    away = ErrorInfo.of(HostUnreachable("pi-2", "no route to host"))
    assert pruned([PruneReport(host="pi-1")]) == ExitCode.OK
    assert pruned([PruneReport(host="pi-1"), PruneReport(host="pi-2", error=away)]) == 3
