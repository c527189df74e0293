"""Which pages there are, and whether they are what the code says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tools.docs.manpage import manpage
from tools.docs.reference import reference

TOP = Path(__file__).parents[2]
PAGES: Mapping[str, Callable[[], str]] = {"docs/reference.md": reference, "man/fleet.1": manpage}


def write(top: Path = TOP) -> list[str]:
    """Make every page that is not as it should be; which these are. Raises Undocumented."""
    changed = stale(top)
    for name in changed:
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_text(PAGES[name](), encoding="utf-8")
    return changed


def stale(top: Path = TOP) -> list[str]:
    """The pages that are missing or not what the code says. Raises Undocumented."""
    return [name for name, make in PAGES.items() if _content(top / name) != make()]


def _content(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
