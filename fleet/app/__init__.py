"""The composition root: every room is put together here, and nowhere else.

The main job reads as a list of verbs (``Workshop.build``): prepare, read, resolve,
probe, plan, announce, execute; publishing happens within ``execute``, as soon as the
last member of an index is in. `request` is what was asked for, `recording` the record
of it, `workshop` an opened inventory, `counter` where published images are asked for,
`machines` what the commands
about hosts make of them, `prune` what is removed there, `renting` what is rented
between runs, and `commands` the others.
"""

from __future__ import annotations

from fleet.app.commands import (
    Explanation,
    build,
    cancel,
    explain,
    export,
    init,
    inspect,
    promote,
    resume,
    stitch,
    tag,
    verify,
    versions,
)
from fleet.app.history import going_on, live_runs, logs, rebuild, runs, show, trends
from fleet.app.machines import (
    Newcomer,
    add_host,
    bootstrap,
    doctor,
    meet,
    probe,
    unreached,
)
from fleet.app.prune import prune, pruned
from fleet.app.renting import release_hosts
from fleet.app.report import Form, report, report_writers
from fleet.app.request import Progress, Request, load, reader, teller
from fleet.app.schedule import (
    Nightly,
    install_line,
    install_units,
    remove_line,
    remove_units,
    scheduled,
)
from fleet.app.workshop import Workshop, embedded_registry, opened
from fleet.events import to_json
from fleet.record.overview import runs_text, story_text, top_text, trends_text
from fleet.record.past import recent_runs
from fleet.record.tables import (
    checks_text,
    hosts_text,
    index_text,
    plan_text,
    prune_text,
    steps_text,
    transfers_text,
    verdict_text,
)

__all__ = [
    "Explanation",
    "Form",
    "Newcomer",
    "Nightly",
    "Progress",
    "Request",
    "Workshop",
    "add_host",
    "bootstrap",
    "build",
    "cancel",
    "checks_text",
    "doctor",
    "embedded_registry",
    "explain",
    "export",
    "going_on",
    "hosts_text",
    "index_text",
    "init",
    "inspect",
    "install_line",
    "install_units",
    "live_runs",
    "load",
    "logs",
    "meet",
    "opened",
    "plan_text",
    "probe",
    "promote",
    "prune",
    "prune_text",
    "pruned",
    "reader",
    "rebuild",
    "recent_runs",
    "release_hosts",
    "remove_line",
    "remove_units",
    "report",
    "report_writers",
    "resume",
    "runs",
    "runs_text",
    "scheduled",
    "show",
    "steps_text",
    "stitch",
    "story_text",
    "tag",
    "teller",
    "to_json",
    "top_text",
    "transfers_text",
    "trends",
    "trends_text",
    "unreached",
    "verdict_text",
    "verify",
    "versions",
]
