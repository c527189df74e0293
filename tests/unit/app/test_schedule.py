"""A run every night: what is written says just that, and what is foreign stays."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fleet.app import schedule
from fleet.app.schedule import (
    Nightly,
    crontab_line,
    install_units,
    remove_units,
    scheduled,
    units,
    with_line,
)
from fleet.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where units go; those of this machine are left alone."""
    found = tmp_path / "units"
    monkeypatch.setattr(schedule, "unit_folder", lambda: found)
    return found


def nightly(tmp_path: Path, **rest: object) -> Nightly:
    inventory = tmp_path / "a 50% place" / "inventory.yml"
    inventory.parent.mkdir(exist_ok=True)
    inventory.touch()
    told: dict[str, object] = {
        "name": "nightly", "at": "02:30", "inventory": inventory, "arguments": (), "delay": "10m",
    }  # fmt: skip
    return Nightly.of(**{**told, **rest})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"at": "25:30"}, "'25:30' is no time of the day"),
        ({"at": "soon"}, "'soon' is no time of the day"),
        ({"name": "a/b"}, "'a/b' is no name of a unit"),
        ({"delay": "often"}, "'often' is no duration"),
        ({"inventory": Path("/nowhere/inventory.yml")}, "no inventory /nowhere/inventory.yml"),
    ],
)
def test_a_wrong_word_is_told_at_once(wrong: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        nightly(tmp_path, **wrong)


def test_a_timer_makes_up_for_what_was_missed_and_a_service_is_quiet(tmp_path: Path) -> None:
    files = units(nightly(tmp_path, arguments=["--max-age", "7d"]), {"XDG_STATE_HOME": "/var/x y"})
    timer, service = files["fleet-nightly.timer"], files["fleet-nightly.service"]
    assert "OnCalendar=*-*-* 02:30:00\nPersistent=true\nRandomizedDelaySec=10m\n" in timer
    assert '"build" "--inventory"' in service
    assert '"--quiet" "--max-age" "7d"' in service
    assert 'Environment="XDG_STATE_HOME=/var/x y"' in service
    assert "a 50%% place" in service


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_the_units(tmp_path: Path, folder: Path) -> None:
    install_units(nightly(tmp_path), force=False)
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, folder.iterdir())], capture_output=True, text=True
    )
    assert "fleet-nightly" not in done.stderr, done.stderr


def test_a_timer_that_is_there_is_not_overwritten_unasked(tmp_path: Path, folder: Path) -> None:
    install_units(nightly(tmp_path), force=False)
    with pytest.raises(UsageError, match="is there already") as caught:
        install_units(nightly(tmp_path, at="03:00"), force=False)
    assert "--force" in str(caught.value.hint)
    install_units(nightly(tmp_path, at="03:00"), force=True)
    assert any("nightly: 03:00" in line for line in scheduled())


def test_what_is_removed_is_gone_and_removing_it_again_says_so(
    tmp_path: Path, folder: Path
) -> None:
    install_units(nightly(tmp_path), force=False)
    remove_units("nightly")
    assert list(folder.iterdir()) == []
    with pytest.raises(UsageError, match="there is no"):
        remove_units("nightly")


def test_a_line_of_cron_has_no_bare_percent_sign(tmp_path: Path) -> None:
    line = crontab_line(nightly(tmp_path), {"PATH": "/usr/bin"})
    assert line.startswith("30 2 * * * cd ")
    assert "50\\% place" in line
    assert "%" not in line.replace("\\%", "")


def test_foreign_lines_of_a_crontab_stay() -> None:
    foreign = "MAILTO=me\n# mine\n0 1 * * * true\n"
    both = with_line(with_line(foreign, "a", "1 1 * * * a"), "b", "2 2 * * * b")
    again = with_line(both, "a", "3 3 * * * a")
    assert again.startswith(foreign)
    assert again.count("# fleet schedule: a\n") == 1
    assert "1 1 * * * a" not in again
    assert with_line(with_line(again, "a", None), "b", None) == foreign
