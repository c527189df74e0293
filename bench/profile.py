"""Where the time of a cold run goes: ``python -m bench.profile [--write]``.

The run is that of the measure ``cold``, told by its own record, and the CPU by the kernel.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator

from bench import table
from bench.cold import ALL, GRAPH, Fleet, machines, works
from bench.measure import cpu_seconds, digits
from fleet.models import Step
from fleet.record.story import Story

BEGIN = "<!-- python -m bench.profile: begin -->"
END = "<!-- python -m bench.profile: end -->"


def main() -> int:
    """Run it cold, print the profile, and write it where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    asked = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with machines(set(ALL)) as lab, works(Fleet, ALL, GRAPH, lab, seconds=0, slots=3) as fleet:
        fleet.forget()
        before = cpu_seconds()
        fleet.timed(lambda works: None)
        cpu = cpu_seconds() - before
        (record,) = (fleet.root / "state").glob("fleet/runs/*/events.jsonl")
        text = "\n".join(lines(Story.of(record), cpu))
    print(text)
    if asked.write:
        table.put(text, BEGIN, END)
    return 0


def lines(story: Story, cpu: float) -> Iterator[str]:
    """A table of steps by platform: seconds of all jobs together; and what the whole came to."""
    spent: dict[Step, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for job in story.jobs.values():
        for attempt in job.attempts:
            for told in attempt.steps:
                spent[told.step][str(job.id.platform)] += (told.ended or 0.0) - told.started
    platforms = sorted({str(job.platform) for job in story.jobs})
    yield "| step | " + " | ".join(platforms) + " |"
    yield "|---" * (len(platforms) + 1) + "|"
    for step, seconds in spent.items():
        cells = " | ".join(f"{digits(seconds[name])} s" for name in platforms)
        yield f"| {step.value} | {cells} |"
    assert story.started is not None
    assert story.ended is not None
    probed = max(host.probed or story.started for host in story.hosts.values()) - story.started
    wall = story.ended - story.started
    yield ""
    yield (
        f"{len(story.jobs)} jobs, all steps of a platform added up; the whole run took"
        f" {digits(wall)} s, of which {digits(probed)} s went before the first job, to probing."
        f" The controller used {digits(cpu)} s of CPU. {table.taken()}; {table.machine()}."
    )


if __name__ == "__main__":
    raise SystemExit(main())
