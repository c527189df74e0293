"""Facts as text, also where there are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fleet.errors import InventoryError, Problem, RegistryUnreachable
from fleet.models import (
    Check,
    ErrorInfo,
    Leftover,
    LeftoverKind,
    Plan,
    PruneReport,
    Transfer,
    Trial,
    Usage,
    Verdict,
)
from fleet.record.tables import (
    checks_text,
    error_text,
    hosts_text,
    index_text,
    plan_text,
    prune_text,
    table,
    transfers_text,
    verdict_text,
)
from fleet.references import Reference
from tests.unit.plan.builders import (
    AMD64,
    ARM32,
    MADE,
    Fleet,
    host,
    image,
    index_of,
    job,
    published,
)

HELLO = index_of("hello", published(job("hello")))


def test_columns_are_aligned_and_lines_end_with_their_text() -> None:
    assert table([["a", "long", ""], ["longer", "b", "c"]], indent=" ") == [
        " a       long",
        " longer  b     c",
    ]


def test_without_rows_there_are_no_lines() -> None:
    assert table([]) == []
    assert table([[]]) == [""]


def test_a_cell_stays_on_its_line_and_is_harmless() -> None:
    assert table([["\x1b[31mred", "two\nlines"]]) == ["red  two; lines"]


def test_empty_facts_are_text_all_the_same() -> None:
    empty = Plan(jobs=(), indexes=())
    assert plan_text(empty, (), None)[-1] == "0 to build, 0 to keep, 0 blocked"
    assert hosts_text(()) == []
    assert checks_text(()) == ["0 checks, 0 faults"]
    assert len(index_text(replace(HELLO, members=()))) == 3
    assert verdict_text(Verdict(index=replace(HELLO, members=()), faults=()))[-1] == "verified"


def test_a_plan_says_what_is_done_where_and_why() -> None:
    fleet = Fleet(recipes=(image("hello", platforms=[AMD64, ARM32]),))
    assert plan_text(fleet.plan(), fleet.reports, None) == [
        "do     image  platform      on       because",
        "build  hello  linux/amd64   amd64-1  not in the registry",
        "build  hello  linux/arm/v7  pi-1     not in the registry",
        "",
        "registry.example.org/team/hello:latest = linux/amd64, linux/arm/v7",
        "2 to build, 0 to keep, 0 blocked",
    ]


def test_a_plan_says_first_what_could_not_be_asked() -> None:
    fleet = Fleet(recipes=(image("hello", platforms=[AMD64]),))
    reports = (host("amd64-1", AMD64), host("pi-1", error="pi-1: no route to host"))
    error = ErrorInfo.of(RegistryUnreachable("registry.example.org: refused", hint="is it on?"))
    assert plan_text(fleet.plan(), reports, error)[:5] == [
        "pi-1: no route to host",
        "registry.example.org: refused",
        "  is it on?",
        "the registry was not asked: what it holds already is not known",
        "",
    ]


def test_a_host_says_what_it_builds_and_why_not() -> None:
    text = "\n".join(hosts_text([host("h1", AMD64, emulates=[ARM32]), host("h2", error="h2: no")]))
    assert "linux/amd64   yes     ran" in text
    assert "linux/arm/v7  yes     qemu serves it" in text
    assert text.endswith("\n\nh2: no")


def test_checks_are_told_with_what_mends_the_faults() -> None:
    ok = Check(subject="pi-1", name="engine", ok=True, detail="Docker 26", remedy="never shown")
    bad = Check(subject="pi-1", name="disk", ok=False, detail="1 GB", remedy="prune\nmore")
    assert checks_text([ok, bad]) == [
        "ok     pi-1  engine  Docker 26",
        "FAULT  pi-1  disk    1 GB",
        "       prune",
        "       more",
        "2 checks, 1 fault",
    ]


def test_an_index_is_told_with_platform_digest_and_size() -> None:
    head, digest, _, member = index_text(HELLO)
    assert head == "registry.example.org/team/hello:latest"
    assert digest == f"{HELLO.digest} (i)"
    assert member.split() == ["linux/amd64", HELLO.members[0].descriptor.digest, "1.0", "kB", MADE]


def test_a_verdict_says_what_is_not_so_and_what_ran() -> None:
    trials = (
        Trial(platform=AMD64, host="amd64-1", output="x86_64\n", ok=True),
        Trial(platform=ARM32, host=None, output="", ok=False),
    )
    verdict = Verdict(index=HELLO, faults=("a child is gone",), trials=trials)
    lines = [" ".join(told.split()) for told in verdict_text(verdict)]
    assert "linux/amd64 amd64-1 x86_64 ok" in lines
    assert "linux/arm/v7 no host WRONG" in lines
    assert lines[-2:] == ["not so: a child is gone", "NOT as it should be"]


SOURCE = Reference.parse("registry.example.org/team/hello:latest")
TARGET = Reference.parse("registry.example.net/hello:1.2")


def test_a_copy_says_what_came_where_and_how() -> None:
    done = Transfer(
        source=SOURCE,
        target=TARGET,
        digest="sha256:1",
        platforms=(AMD64, ARM32),
        arch_tags=(TARGET.tagged("1.2-amd64"),),
        there=2,
        mounted=1,
        copied=3,
        sent=2_500_000,
        elsewhere=1,
    )
    assert transfers_text([done]) == [
        f"{SOURCE} -> {TARGET}",
        "  sha256:1",
        "  linux/amd64, linux/arm/v7",
        "  registry.example.net/hello:1.2-amd64",
        "  3 blobs copied (2.5 MB), 1 mounted, 2 there already,"
        " 1 layer left where only the vendor has them",
    ]


def test_a_copy_that_changed_nothing_or_failed_says_so() -> None:
    stood = Transfer(source=SOURCE, target=TARGET, digest="sha256:1", unchanged=True)
    error = ErrorInfo.of(RegistryUnreachable("registry.example.net: refused", hint="is it on?"))
    failed = Transfer(source=SOURCE, target=Path("x.oci"), digest="sha256:1", error=error)
    assert transfers_text([stood, failed]) == [
        f"{SOURCE} -> {TARGET}",
        "  sha256:1, as it stood",
        f"{SOURCE} -> x.oci",
        "  registry.example.net: refused",
        "    is it on?",
    ]


def test_a_note_is_told_and_is_no_fault() -> None:
    lines = verdict_text(Verdict(index=HELLO, faults=(), notes=("of two revisions",)))
    assert lines[-2:] == ["  note: of two revisions", "verified"]


def test_an_error_of_many_lines_keeps_them() -> None:
    problems = [Problem(file=Path("i.yml"), line=n, column=1, message="no") for n in (1, 2)]
    assert error_text(ErrorInfo.of(InventoryError(problems, hint="read the docs"))) == [
        "i.yml:1:1: no",
        "i.yml:2:1: no",
        "  read the docs",
    ]


GONE = (
    Leftover(kind=LeftoverKind.IMAGE, name="fleet/hello:arm64v8-1a", used=9 * 86400, size=12_000),
    Leftover(kind=LeftoverKind.CONTEXT, name="1a2b", used=7200, size=3_000),
    Leftover(kind=LeftoverKind.CACHE, name="5 of 9 records", used=90_000, size=4_000_000),
)
FULL = Usage(cache=5_000_000, images=20_000, folder=9_000, free=1_000_000_000)


def test_pruning_tells_sizes_before_and_after_and_who_was_away() -> None:
    after = Usage(cache=1_000_000, images=8_000, folder=6_000, free=1_004_000_000)
    away = ErrorInfo(kind="HostUnreachable", message="pi-2: no route to host")
    done = PruneReport(host="pi-1", gone=GONE, before=FULL, after=after)
    lines = prune_text([done, PruneReport(host="pi-2", error=away)], dry_run=False)
    assert [line.split("  ")[0] for line in lines[:3]] == ["host", "pi-1", "pi-2"]
    assert (
        "1 context, 1 image, 4.0 MB of build cache  5.0 MB -> 1.0 MB  20.0 kB -> 8.0 kB" in lines[1]
    )
    assert lines[-1] == "pi-2: no route to host"


def test_a_dry_run_tells_each_thing_that_would_go() -> None:
    lines = prune_text([PruneReport(host="pi-1", gone=GONE, before=FULL)], dry_run=True)
    assert lines[0] == "pi-1"
    assert [line.split("  ")[1] for line in lines[1:4]] == ["build cache", "context", "image"]
    assert "used 9 days ago" in lines[3]
    assert "->" not in "".join(lines)
    assert "nothing" in prune_text([PruneReport(host="pi-1", before=FULL)], dry_run=True)[-1]
