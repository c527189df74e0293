"""The nearest known word to a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suggestion to put behind a message, such as `` (did you mean 'address'?)``.

    Empty where nothing known is near.
    """
    by_fold = {name.casefold(): name for name in known}
    near = get_close_matches(word.casefold()[:200], by_fold, n=1, cutoff=0.6)
    return f" (did you mean {by_fold[near[0]]!r}?)" if near else ""
