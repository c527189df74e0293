"""What a container says reaches its reader whole.

The engine is a stand-in: that an old one ends what is followed too early was seen on Docker
20.10 on a busy machine, and cannot be made to happen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from fleet.engine.smoke import Trials


class FakeEngine:
    """A container whose followed log may lack its end."""

    host = "pi-1"

    def __init__(self, followed: list[bytes], whole: list[bytes]) -> None:
        self.followed = followed
        self.whole = whole

    @contextmanager
    def session(self, **limits: Any) -> Iterator[FakeEngine]:
        yield self

    def start(self, container: str) -> None: ...

    def logs(self, container: str, *, stream: bool, follow: bool) -> Iterator[bytes]:
        return iter(self.followed if follow else self.whole)

    def wait(self, container: str) -> dict[str, int]:
        return {"StatusCode": 3}


@pytest.mark.parametrize(
    "followed", [[], [b"o"], [b"out\nerr\n"], [b"out\n", b"err\n", b"en"], [b"out\nerr\nend"]]
)
@pytest.mark.parametrize("whole", [[b"out\nerr\nend"], [b"out\n", b"err\n", b"end"]])
def test_what_an_engine_leaves_out_of_what_is_followed_is_heard_all_the_same(
    followed: list[bytes], whole: list[bytes]
) -> None:
    engine = FakeEngine(followed, whole)
    heard: list[str] = []
    assert Trials(cast(Any, engine), "us").run("c1", heard.append, 60.0) == 3
    assert "\n".join(heard).split("\n") == ["out", "err", "end"]
