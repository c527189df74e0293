"""Facts as text for people: plan, hosts, checks, indexes. A list of lines each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from fleet.models import (
    Action,
    Check,
    ErrorInfo,
    HostReport,
    IndexOutcome,
    LeftoverKind,
    Plan,
    PruneReport,
    PublishedIndex,
    StepReport,
    Transfer,
    Verdict,
    number_of,
)
from fleet.record.text import age, at_rest, count, day_and_time, plain, several, size

if TYPE_CHECKING:
    from fleet.record.story import IndexStory


def table(rows: Sequence[Sequence[str]], *, indent: str = "") -> list[str]:
    """Rows with their columns aligned, every cell safe to show. Without rows, no lines."""
    cells = [[plain("; ".join(cell.splitlines())) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        (indent + "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True))).rstrip()
        for row in cells
    ]


def plan_text(
    plan: Plan, reports: Sequence[HostReport], registry_error: ErrorInfo | None
) -> list[str]:
    """A plan, with what could not be asked first."""
    lines = []
    for report in reports:
        if report.error is not None:
            lines += error_text(report.error)
        if report.to_come:
            lines.append(f"{report.spec.name}: a build rents it if a job needs it")
    if registry_error is not None:
        lines += error_text(registry_error)
        lines.append("the registry was not asked: what it holds already is not known")
    if lines:
        lines.append("")
    rows = [
        [
            str(job.action),
            job.id.image,
            str(job.id.platform),
            several(job.hosts) if job.action is Action.BUILD else "-",
            job.reason,
        ]
        for job in plan.jobs
    ]
    lines += table([["do", "image", "platform", "on", "because"], *rows])
    lines.append("")
    for index in plan.indexes:
        carried = [f"{image.platform} as it stands" for image in index.carried]
        members = ", ".join([*(str(id.platform) for id in index.members), *carried])
        for tag in index.tags:
            lines.append(f"{index.repository.tagged(tag)} = {members or 'nothing'}")
    lines += [f"warning: {warning}" for warning in plan.warnings]
    number = Counter(job.action for job in plan.jobs)
    lines.append(
        f"{number[Action.BUILD]} to build, {number[Action.KEEP]} to keep,"
        f" {number[Action.BLOCKED]} blocked"
    )
    return lines


def hosts_text(reports: Iterable[HostReport]) -> list[str]:
    """What probing found, a block per host."""
    lines: list[str] = []
    for report in reports:
        if lines:
            lines.append("")
        facts = report.facts
        if report.to_come:
            named = ", ".join(map(str, report.spec.platforms or ()))
            lines += [report.spec.name, f"  not up: it is rented when a job for {named} needs it"]
            continue
        if facts is None:
            error = report.error or ErrorInfo(kind="HostError", message="it was not probed")
            lines += error_text(error)
            continue
        engine = facts.engine
        lines.append(report.spec.name)
        if report.lease is not None:
            run = f" by the run {report.lease.run}" if report.lease.run else ""
            when = day_and_time(report.lease.since)
            said = f"since {when}{run}; `fleet hosts down {report.spec.name}` gives it back"
            lines += table([["rented", said]], indent="  ")
        lines += table(
            [
                ["system", f"{facts.system}, Linux {facts.kernel} {facts.machine}"],
                [
                    "engine",
                    f"Docker {engine.version} (API {engine.api_version}, {engine.storage_driver}),"
                    f" built with {engine.builder} {engine.builder_version}",
                ],
                [
                    "size",
                    f"{count(facts.cores, 'core')}, {size(facts.memory_available)} of"
                    f" {size(facts.memory)} memory, {size(facts.disk_free)} disk free,"
                    f" {count(report.spec.slots, 'slot')}",
                ],
                ["clock", f"{facts.clock_skew:+.1f} s against the controller"],
            ],
            indent="  ",
        )
        rows = [
            [str(p.platform), "yes" if report.may_build(p.platform) else "no", p.reason]
            for p in facts.proofs
            if p.native or p.emulator or p.platform in (report.spec.platforms or ())
        ]
        lines += table([["platform", "builds", "because"], *rows], indent="  ")
    return lines


def index_text(index: PublishedIndex) -> list[str]:
    """An index and its members."""
    rows = [
        [str(m.platform), m.descriptor.digest, size(m.size), m.created or "-"]
        for m in index.members
    ]
    head = ["platform", "digest", "size", "created"]
    return [
        f"{index.reference}",
        f"{index.digest} ({index.media_type})",
        *table([head, *rows], indent="  "),
    ]


def verdict_text(verdict: Verdict) -> list[str]:
    """An index, what is not so about it, and what was run."""
    lines = index_text(verdict.index)
    if verdict.trials:
        rows = [
            [str(t.platform), t.host or "no host", t.output, "ok" if t.ok else "WRONG"]
            for t in verdict.trials
        ]
        lines += table([["platform", "run on", "arch says", ""], *rows], indent="  ")
    lines += [f"  not so: {plain(fault)}" for fault in verdict.faults]
    lines += [f"  note: {plain(note)}" for note in verdict.notes]
    lines.append("verified" if verdict.ok else "NOT as it should be")
    return lines


def transfers_text(transfers: Iterable[Transfer]) -> list[str]:
    """What was taken where: a line each, with the arch tags that went along below it."""
    lines = []
    for done in transfers:
        lines.append(f"{done.source} -> {done.target}")
        if done.error is not None:
            lines += [f"  {line}" for line in error_text(done.error)]
            continue
        lines.append(f"  {done.digest}{', as it stood' if done.unchanged else ''}")
        if done.platforms:
            lines.append(f"  {', '.join(map(str, done.platforms))}")
        lines += [f"  {name}" for name in done.arch_tags]
        told = [
            f"{count(done.copied, 'blob')} copied ({size(done.sent)})" if done.copied else "",
            f"{done.mounted} mounted" if done.mounted else "",
            f"{done.there} there already" if done.there else "",
            f"{count(done.elsewhere, 'layer')} left where only the vendor has them"
            if done.elsewhere
            else "",
        ]
        if any(told):
            lines.append(f"  {', '.join(filter(None, told))}")
    return [plain(line) for line in lines]


def checks_text(checks: Sequence[Check]) -> list[str]:
    """What the doctor found: every check, and below each fault what mends it."""
    lines = []
    rows = table([["ok" if c.ok else "FAULT", c.subject, c.name, c.detail] for c in checks])
    for row, check in zip(rows, checks, strict=True):
        lines.append(row)
        if check.remedy and not check.ok:
            lines += [f"       {line}" for line in check.remedy.splitlines()]
    faults = sum(not c.ok for c in checks)
    lines.append(f"{count(len(checks), 'check')}, {count(faults, 'fault')}")
    return lines


def steps_text(reports: Iterable[StepReport]) -> list[str]:
    """What became of the steps of a bootstrap, and below one that failed what it said."""
    lines = []
    for report in reports:
        lines.append(f"{report.state:<6}  {report.what}")
        lines += [f"        | {at_rest(line)}" for line in report.said]
    return [plain(line) for line in lines]


def prune_text(reports: Sequence[PruneReport], *, dry_run: bool) -> list[str]:
    """What was removed on hosts, or would be: each thing of a dry run, and a table of sizes."""
    lines: list[str] = []
    if dry_run:
        for report in reports:
            lines += _would_go(report)
    rows = [
        ["host", "to remove" if dry_run else "removed", "build cache", "images", "folder", "free"]
    ]
    for report in reports:
        if report.before is None:
            rows.append([report.host, "-", "-", "-", "-", "-"])
            continue
        before, after = report.before, report.after
        sizes = [
            size(value) if after is None else f"{size(value)} -> {size(getattr(after, name))}"
            for name, value in asdict(before).items()
        ]
        cache = sum(it.size for it in report.gone if it.kind is LeftoverKind.CACHE)
        told = [number_of(report.gone)] + ([f"{size(cache)} of build cache"] if cache else [])
        if cache and told[0] == "nothing":
            del told[0]
        rows.append([report.host, ", ".join(told), *sizes])
    lines += table(rows)
    for report in reports:
        if report.error is not None:
            lines += error_text(report.error)
    return lines


def _would_go(report: PruneReport) -> list[str]:
    if not report.gone:
        return []
    rows = [
        [it.kind, it.name, f"used {age(it.used)} ago", size(it.size)]
        for it in sorted(report.gone, key=lambda it: (it.kind, it.used))
    ]
    return [plain(report.host), *table(rows, indent="  "), ""]


def error_text(error: ErrorInfo) -> list[str]:
    """An error's sentence, its evidence and its remedy."""
    lines = [
        *error.message.splitlines(),
        *(f"| {at_rest(line)}" for line in error.tail),
        *(f"  {line}" for line in (error.hint or "").splitlines()),
    ]
    return [plain(line) for line in lines]


def fate(index: IndexOutcome | IndexStory) -> str:
    """What became of an index, in a word or three."""
    if not index.published:
        return "not published"
    if index.error is not None:
        return "not signed"
    if index.unchanged:
        return "unchanged"
    return "published in part" if index.lacking else "published"
