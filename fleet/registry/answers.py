"""What a registry answered, apart from how it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer, read whole. The names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether it is what was asked for."""
        return 200 <= self.status < 300

    @property
    def media_type(self) -> str:
        """What it says that it holds, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()
