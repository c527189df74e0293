"""The composition root: every room is put together here, and nowhere else.

The main job reads as a list of verbs (``Workshop.build``): prepare, read, resolve,
probe, plan, announce, execute; publishing happens within ``execute``, as soon as the
last member of an index is in. `request` is what was asked for, `recording` the record
of it, `showing` how it is shown, `office` an opened inventory, `workshop` the same with
its hosts (`connecting`), `counter` where published images are asked for, `planning` says
what would be done, `machines` what the commands about hosts make of them, `pruning` what
is removed there, `renting` what is rented between runs, and `commands` the others.

What a command does not need is not imported: a name of this package brings its module
with it when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet.byneed import by_need

# A type checker takes what is imported under its own name for a name of this package.
# ruff: noqa: I001
if TYPE_CHECKING:
    from fleet.app.commands import (
        build as build,
        cancel as cancel,
        export as export,
        init as init,
        inspect as inspect,
        promote as promote,
        resume as resume,
        stitch as stitch,
        tag as tag,
        verify as verify,
        versions as versions,
    )
    from fleet.app.history import (
        going_on as going_on,
        live_runs as live_runs,
        logs as logs,
        rebuild as rebuild,
        runs as runs,
        show as show,
        trends as trends,
    )
    from fleet.app.machines import (
        Newcomer as Newcomer,
        add_host as add_host,
        bootstrap as bootstrap,
        doctor as doctor,
        meet as meet,
        probe as probe,
        unreached as unreached,
    )
    from fleet.app.office import embedded_registry as embedded_registry
    from fleet.app.planning import Explanation as Explanation, explain as explain
    from fleet.app.pruning import prune as prune, pruned as pruned
    from fleet.app.renting import release_hosts as release_hosts
    from fleet.app.reports import Form as Form, report as report, report_writers as report_writers
    from fleet.app.request import Request as Request, load as load
    from fleet.app.schedule import (
        Nightly as Nightly,
        install_line as install_line,
        install_units as install_units,
        remove_line as remove_line,
        remove_units as remove_units,
        scheduled as scheduled,
    )
    from fleet.app.showing import Progress as Progress, reader as reader, teller as teller
    from fleet.app.workshop import Workshop as Workshop, opened as opened
    from fleet.events import to_json as to_json
    from fleet.record.overview import (
        runs_text as runs_text,
        story_text as story_text,
        top_text as top_text,
        trends_text as trends_text,
    )
    from fleet.record.past import recent_runs as recent_runs
    from fleet.record.tables import (
        checks_text as checks_text,
        hosts_text as hosts_text,
        index_text as index_text,
        plan_text as plan_text,
        prune_text as prune_text,
        steps_text as steps_text,
        transfers_text as transfers_text,
        verdict_text as verdict_text,
    )

_NAMES = {
    "fleet.app.commands": "build cancel export init inspect"
    " promote resume stitch tag verify versions",
    "fleet.app.history": "going_on live_runs logs rebuild runs show trends",
    "fleet.app.machines": "Newcomer add_host bootstrap doctor meet probe unreached",
    "fleet.app.office": "embedded_registry",
    "fleet.app.planning": "Explanation explain",
    "fleet.app.pruning": "prune pruned",
    "fleet.app.renting": "release_hosts",
    "fleet.app.reports": "Form report report_writers",
    "fleet.app.request": "Request load",
    "fleet.app.schedule": "Nightly install_line install_units remove_line remove_units scheduled",
    "fleet.app.showing": "Progress reader teller",
    "fleet.app.workshop": "Workshop opened",
    "fleet.events": "to_json",
    "fleet.record.overview": "runs_text story_text top_text trends_text",
    "fleet.record.past": "recent_runs",
    "fleet.record.tables": "checks_text hosts_text index_text plan_text"
    " prune_text steps_text transfers_text verdict_text",
}

__getattr__ = by_need(__name__, _NAMES)
