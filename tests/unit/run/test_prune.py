"""Hosts are pruned at the same time, and one that is away costs the others nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from fleet.engine import Engine
from fleet.errors import HostUnreachable
from fleet.models import Keep, PruneReport
from fleet.run.prune import prune_hosts


class Standin:
    """An engine that answers once another one is asked as well."""

    def __init__(self, name: str, together: threading.Barrier) -> None:
        self.name = name
        self.together = together

    def prune(self, keep: Keep, *, dry_run: bool) -> PruneReport:
        self.together.wait(60)
        return PruneReport(host=self.name)


def test_hosts_are_pruned_together_and_one_that_is_away_is_named() -> None:
    together = threading.Barrier(2)

    @contextmanager
    def reopen(name: str) -> Iterator[Engine]:
        if name == "pi-2":
            raise HostUnreachable(name, "no route to host")
        yield cast(Any, Standin(name, together))

    names = ["pi-1", "pi-2", "pi-3"]
    reports = prune_hosts(names, reopen=reopen, keep=Keep(count=1), dry_run=False)
    assert [report.host for report in reports] == names
    assert [report.error.kind if report.error else None for report in reports] == [
        None,
        "HostUnreachable",
        None,
    ]


def test_no_host_is_no_trouble() -> None:
    assert prune_hosts([], reopen=cast(Any, None), keep=Keep(count=1), dry_run=True) == ()
