"""What each command does, from a request to what is printed."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from fleet import __version__, inventory
from fleet.app.connecting import Reopened
from fleet.app.counter import counter
from fleet.app.office import opened_registry
from fleet.app.recording import recorded
from fleet.app.renting import give_back, leases_of
from fleet.app.request import Request, load
from fleet.app.starting import look_around
from fleet.app.workshop import opened
from fleet.errors import ExitCode, UsageError
from fleet.events import Emit, Notice
from fleet.models import (
    PublishedIndex,
    RunResult,
    Status,
    Transfer,
    Verdict,
)
from fleet.record import Tee, state_home
from fleet.record.metadata import write_metadata
from fleet.record.past import latest_run, past_run
from fleet.record.tee import Reader
from fleet.references import Reference, check_tag
from fleet.registry import CredentialStore
from fleet.run import copying
from fleet.run.cancel import cancel_builds
from fleet.run.examine import examine, try_out
from fleet.run.lock import end_holder


def init(path: Path, *, force: bool = False) -> list[str]:
    """Write an inventory of what is found here; says what that is. Raises UsageError."""
    if path.exists() and not force:
        raise UsageError(f"{path} is there already", hint="--force overwrites it")
    found = look_around(path.parent)
    try:
        path.write_text(inventory.starter(found), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    named = "" if path == Path(inventory.DEFAULT_NAME) else f" --inventory {path}"
    return [f"{path}: {line}" for line in found.told] + [f"next: fleet {found.next}{named}"]


def build(request: Request, readers: Sequence[Reader]) -> ExitCode:
    """Build, prove and publish what the inventory asks for; every event goes to the readers."""
    fleet = load(request)
    with recorded(request, readers, keep=fleet.keep_runs, notify=fleet.notify) as record:
        with opened(fleet, request, record.emit) as workshop:
            result = workshop.build(record.folder)
        record.code = exit_code(result)
        if workshop.still_up and record.code in (ExitCode.OK, ExitCode.PARTIAL):
            record.code = ExitCode.FAILED  # somebody must look: it costs money
        if request.metadata_file is not None:
            write_metadata(result, request.metadata_file)
    return record.code


def stitch(request: Request, readers: Sequence[Reader]) -> ExitCode:
    """Put an index of what stands under the arch tags, for each image that is asked for."""
    fleet = load(request)
    with recorded(request, readers, keep=fleet.keep_runs, notify=fleet.notify) as record:
        with opened(fleet, request, record.emit) as workshop:
            indexes = workshop.stitch()
        record.code = exit_code(RunResult(run=record.folder.run, outcomes=(), indexes=indexes))
    return record.code


def resume(
    run: str | None, inventory_file: Path, readers: Sequence[Reader], *, command: tuple[str, ...]
) -> ExitCode:
    """Go on with a run, by default the latest of an inventory: collect, follow, do the rest.

    Without a record, as on another controller, everything that the inventory asks
    for is looked at; builds that are found on its hosts are collected all the same.
    """
    past = past_run(run) if run is not None else latest_run(inventory_file)
    request = Request.again(past) if past else Request(inventory=inventory_file, resumed=True)
    return build(replace(request, command=command), readers)


def cancel(run: str, readers: Sequence[Reader]) -> ExitCode:
    """End what a run has begun on its hosts, and the run itself where it goes on here.

    Raises UsageError where there is no record of it.
    """
    past = past_run(run)
    emit = Tee(*readers)
    try:
        if end_holder(state_home() / "locks", past.inventory, run=run):
            past = past_run(run)
            emit(Notice(message=f"the run {run} is stopped"))
        leases = leases_of(past.inventory).all()
        rented = [lease.host for lease in leases if lease.run == run]  # it was killed
        if not past.begun and not rented:
            emit(Notice(message=f"the run {run} has nothing under way on any host"))
            return ExitCode.OK
        fleet = load(Request(inventory=past.inventory))
        down = {spec.name for spec in fleet.hosts if spec.provision is not None}
        down -= {lease.host for lease in leases}
        begun = [build for build in past.begun if build.host not in down]
        left = cancel_builds(begun, reopen=Reopened(fleet), emit=emit)
        if rented and give_back(Request(inventory=past.inventory), rented, emit):
            return ExitCode.FAILED
        return ExitCode.UNREACHABLE if left else ExitCode.OK
    finally:
        emit.close()


def inspect(reference: str, *, plain_http: bool = False) -> PublishedIndex:
    """Read an index and its members from its registry."""
    parsed = Reference.parse(reference)
    with opened_registry(CredentialStore(), [parsed.registry] if plain_http else []) as registry:
        return registry.index(parsed)


def verify(
    names: Sequence[str], request: Request, *, run: bool, plain_http: bool = False, emit: Emit
) -> tuple[Verdict, ...]:
    """Check published indexes, and with ``run`` run each on a host of every platform.

    A name is an image of the inventory, meaning what its first tag holds, or any
    reference.
    """
    with counter(names, request, plain_http=plain_http, emit=emit, hosts=run) as desk:
        verdicts = tuple(
            examine(desk.registry, desk.reference(name), patiently=desk.patience) for name in names
        )
        if desk.workshop is None or not run:
            return verdicts
        machines = desk.workshop.machines(desk.workshop.probe())
        return tuple(try_out(v, machines, desk.workshop.credentials) for v in verdicts)


def tag(
    name: str, tags: Sequence[str], request: Request, *, plain_http: bool = False, emit: Emit
) -> tuple[Transfer, ...]:
    """Put what a name stands for under further tags of its repository."""
    for text in tags:
        check_tag(text)
    with counter([name], request, plain_http=plain_http, emit=emit) as desk:
        source = desk.reference(name)
        targets = [source.tagged(text) for text in tags]
        return copying.copy(source, targets, registry=desk.registry, how=desk.patience)


def promote(
    name: str, targets: Sequence[str], request: Request, *, plain_http: bool = False, emit: Emit
) -> tuple[Transfer, ...]:
    """Copy what a name stands for to other references, which take its tag where they have none."""
    with counter([name, *targets], request, plain_http=plain_http, emit=emit) as desk:
        source = desk.reference(name)
        places = [desk.reference(target, tag=source.tag) for target in targets]
        return copying.copy(source, places, registry=desk.registry, how=desk.patience)


def export(
    name: str, path: Path, request: Request, *, plain_http: bool = False, emit: Emit
) -> Transfer:
    """Write what a name stands for, or the request's platforms of it, as an OCI image layout."""
    with counter([name], request, plain_http=plain_http, emit=emit) as desk:
        return copying.export(
            desk.reference(name),
            path,
            platforms=request.selection.platforms,
            registry=desk.registry,
            how=desk.patience,
        )


def versions() -> dict[str, str]:
    """The versions of fleet, Python and the libraries that matter."""
    libraries = ("paramiko", "docker", "httpx", "typer", "tenacity", "pydantic")
    found = {name: metadata.version(name) for name in libraries}
    return {"fleet": __version__, "python": platform.python_version(), **found}


def exit_code(result: RunResult) -> ExitCode:
    """What the process ends with, given what became of a run."""
    if any(outcome.status is Status.CANCELLED for outcome in result.outcomes):
        return ExitCode.INTERRUPTED
    if result.ok:
        return ExitCode.OK
    return ExitCode.PARTIAL if result.in_part else ExitCode.FAILED
