"""Those who hear a log."""

from __future__ import annotations

from collections.abc import Callable


def into(lines: list[str]) -> Callable[[str], None]:
    """Puts what arrives into a list, line by line."""
    return lambda text: lines.extend(text.split("\n"))
