"""The composition root: every room is put together here, and nowhere else.

The main job reads as a list of verbs (``Workshop.build``): prepare, read, resolve,
probe, plan, announce, execute; publishing happens within ``execute``, as soon as the
last member of an index is in. `request` is what was asked for, `recording` the record
of it, `workshop` an opened inventory, `counter` where published images are asked for,
`planning` says what would be
done, `machines` what the commands about hosts make of them, and `commands` the others.

What a command does not need is not imported: a name of this package brings its module
with it when it is first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleet.app.commands import (
        build as build,
    )
    from fleet.app.commands import (
        cancel as cancel,
    )
    from fleet.app.commands import (
        export as export,
    )
    from fleet.app.commands import (
        init as init,
    )
    from fleet.app.commands import (
        inspect as inspect,
    )
    from fleet.app.commands import (
        promote as promote,
    )
    from fleet.app.commands import (
        prune as prune,
    )
    from fleet.app.commands import (
        resume as resume,
    )
    from fleet.app.commands import (
        stitch as stitch,
    )
    from fleet.app.commands import (
        tag as tag,
    )
    from fleet.app.commands import (
        verify as verify,
    )
    from fleet.app.commands import (
        versions as versions,
    )
    from fleet.app.history import (
        going_on as going_on,
    )
    from fleet.app.history import (
        live_runs as live_runs,
    )
    from fleet.app.history import (
        logs as logs,
    )
    from fleet.app.history import (
        rebuild as rebuild,
    )
    from fleet.app.history import (
        runs as runs,
    )
    from fleet.app.history import (
        show as show,
    )
    from fleet.app.history import (
        trends as trends,
    )
    from fleet.app.machines import (
        Newcomer as Newcomer,
    )
    from fleet.app.machines import (
        add_host as add_host,
    )
    from fleet.app.machines import (
        bootstrap as bootstrap,
    )
    from fleet.app.machines import (
        doctor as doctor,
    )
    from fleet.app.machines import (
        meet as meet,
    )
    from fleet.app.machines import (
        probe as probe,
    )
    from fleet.app.machines import (
        unreached as unreached,
    )
    from fleet.app.planning import (
        Explanation as Explanation,
    )
    from fleet.app.planning import (
        explain as explain,
    )
    from fleet.app.reports import (
        Form as Form,
    )
    from fleet.app.reports import (
        report as report,
    )
    from fleet.app.reports import (
        report_writers as report_writers,
    )
    from fleet.app.request import (
        Progress as Progress,
    )
    from fleet.app.request import (
        Request as Request,
    )
    from fleet.app.request import (
        load as load,
    )
    from fleet.app.request import (
        reader as reader,
    )
    from fleet.app.request import (
        teller as teller,
    )
    from fleet.app.schedule import (
        Nightly as Nightly,
    )
    from fleet.app.schedule import (
        install_line as install_line,
    )
    from fleet.app.schedule import (
        install_units as install_units,
    )
    from fleet.app.schedule import (
        remove_line as remove_line,
    )
    from fleet.app.schedule import (
        remove_units as remove_units,
    )
    from fleet.app.schedule import (
        scheduled as scheduled,
    )
    from fleet.app.workshop import (
        Workshop as Workshop,
    )
    from fleet.app.workshop import (
        embedded_registry as embedded_registry,
    )
    from fleet.app.workshop import (
        opened as opened,
    )
    from fleet.events import (
        to_json as to_json,
    )
    from fleet.record.overview import (
        runs_text as runs_text,
    )
    from fleet.record.overview import (
        story_text as story_text,
    )
    from fleet.record.overview import (
        top_text as top_text,
    )
    from fleet.record.overview import (
        trends_text as trends_text,
    )
    from fleet.record.past import (
        recent_runs as recent_runs,
    )
    from fleet.record.tables import (
        checks_text as checks_text,
    )
    from fleet.record.tables import (
        hosts_text as hosts_text,
    )
    from fleet.record.tables import (
        index_text as index_text,
    )
    from fleet.record.tables import (
        plan_text as plan_text,
    )
    from fleet.record.tables import (
        steps_text as steps_text,
    )
    from fleet.record.tables import (
        transfers_text as transfers_text,
    )
    from fleet.record.tables import (
        verdict_text as verdict_text,
    )

_NAMES = {
    "fleet.app.commands": "build cancel export init inspect promote prune resume stitch tag"
    " verify versions",
    "fleet.app.history": "going_on live_runs logs rebuild runs show trends",
    "fleet.app.machines": "Newcomer add_host bootstrap doctor meet probe unreached",
    "fleet.app.planning": "Explanation explain",
    "fleet.app.reports": "Form report report_writers",
    "fleet.app.request": "Progress Request load reader teller",
    "fleet.app.schedule": "Nightly install_line install_units remove_line remove_units scheduled",
    "fleet.app.workshop": "Workshop embedded_registry opened",
    "fleet.events": "to_json",
    "fleet.record.overview": "runs_text story_text top_text trends_text",
    "fleet.record.past": "recent_runs",
    "fleet.record.tables": "checks_text hosts_text index_text plan_text steps_text"
    " transfers_text verdict_text",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
