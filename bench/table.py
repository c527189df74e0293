"""The table of docs/performance.md: printed, and written between two marks.

Rows that were not measured this time stay as they are, with the day, the commit and
the machine that they are of.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.measure import Result, digits

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN = "<!-- python -m bench --write: begin -->"
END = "<!-- python -m bench --write: end -->"
HEAD = (
    "| measure | what | against | fleet: least / median / most | the other | ratio | of CPU |"
    " aim | taken |"
)
_RULE = "|---|---|---|---|---|---|---|---|---|"


def row(result: Result, taken: str) -> str:
    """A line of the table."""
    measure = result.measure
    verdict = {True: "yes", False: "**no**", None: "told"}[result.met]
    aims = [
        f"<= {digits(measure.aim)}{'' if result.theirs else f' {measure.unit}'}"
        if measure.aim is not None
        else "",
        f"<= {digits(measure.limit)} {measure.unit}" if measure.limit is not None else "",
    ]
    aim = " and ".join(filter(None, aims))
    cells = (
        f"`{measure.name}`",
        measure.what,
        measure.against,
        result.ours.text(measure.unit),
        result.theirs.text(measure.unit) if result.theirs else "-",
        digits(result.ratio) if result.ratio is not None else "-",
        digits(result.cpu_ratio) if result.cpu_ratio is not None else "-",
        f"{aim}: {verdict}" if aim else verdict,
        taken,
    )
    return "| " + " | ".join(cell.replace("|", "\\|").strip() for cell in cells) + " |"


def write(results: Sequence[Result], order: Sequence[str], page: Path = PAGE) -> None:
    """Put the rows of these results into the page, in the order of all measures by name."""
    old = _parts(page.read_text(encoding="utf-8"), BEGIN, END)[1].strip().splitlines()
    now = taken()
    load = max(result.load for result in results)
    # One commit's rows may be taken bit by bit.
    told = re.search(rf"^- {re.escape(now)}: .* most ([\d.]+) other", "\n".join(old), re.MULTILINE)
    load = max(load, float(told[1])) if told else load
    rows = {_name(line): line for line in old if line.startswith("| `")}
    rows |= {result.measure.name: row(result, now) for result in results}
    kept = [rows[name] for name in order if name in rows]
    notes = {line[2:].split(":")[0]: line for line in old if line.startswith("- ")}
    notes[now] = f"- {now}: {machine()}; at the most {load:.1f} other processes ran before"
    used = [note for of, note in sorted(notes.items()) if any(f"| {of} |" in line for line in kept)]
    put("\n".join([HEAD, _RULE, *kept, "", *used]), BEGIN, END, page)


def put(text: str, begin: str, end: str, page: Path = PAGE) -> None:
    """Write what stands between two marks of the page."""
    before, _, after = _parts(page.read_text(encoding="utf-8"), begin, end)
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def taken() -> str:
    """Today, and the commit that is checked out."""
    return f"{time.strftime('%Y-%m-%d')} {_commit()}"


def machine() -> str:
    """This machine, without its name."""
    info = Path("/proc/meminfo").read_text()
    memory = int(re.search(r"MemTotal:\s+(\d+)", info)[1]) / 1024**2  # type: ignore[index]
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cores = f"{os.cpu_count()} cores" + (f" ({model[1].strip()})" if model else "")
    return f"{cores}, {memory:.0f} GiB, Linux {platform.release()}, Python {_python()}"


def _python() -> str:
    return platform.python_version()


def _commit() -> str:
    """The commit that is checked out; a plus where there is more than it."""
    here = Path(__file__).parent

    def git(*argv: str) -> str:
        done = subprocess.run(["git", *argv], cwd=here, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "../fleet", "../bench")
    return (git("rev-parse", "--short", "HEAD") or "no commit") + ("+" if changed else "")


def _parts(text: str, begin: str, end: str) -> tuple[str, str, str]:
    """What stands before two marks, between them, and behind them."""
    before, first, rest = text.partition(begin)
    old, last, after = rest.partition(end)
    if not (first and last):
        raise SystemExit(f"{PAGE.name} has no place for it: {begin} and {end}")
    return before, old, after


def _name(line: str) -> str:
    return line.split("`")[1]
