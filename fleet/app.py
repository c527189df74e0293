"""The composition root: every room is put together here, and nowhere else.

The main job reads as a list of verbs: load, prepare, read, probe, resolve, plan,
execute, report (publishing happens within ``execute``, as soon as the last
member of an index is in).
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO, TypeVar, assert_never
from urllib.parse import urlsplit

from fleet import __version__, inventory, plan, recipes
from fleet.durations import parse_duration
from fleet.engine import Engine
from fleet.errors import ExitCode, FleetError, NoHostLeft, RegistryError, UsageError
from fleet.events import (
    Emit,
    Event,
    HostProbed,
    IndexFinished,
    JobPlanned,
    Notice,
    RunFailed,
    RunFinished,
    RunStarted,
    to_json,
)
from fleet.hosts import connect
from fleet.hosts import probe as probe_host
from fleet.hosts.protocol import Host
from fleet.models import (
    Check,
    ErrorInfo,
    Held,
    HostFacts,
    HostReport,
    HostSpec,
    IndexOutcome,
    Inventory,
    Pairs,
    Plan,
    PublishedIndex,
    Recipe,
    RunResult,
    Selection,
    Status,
    Transfer,
    Verdict,
)
from fleet.platforms import Platform
from fleet.record import (
    FailureTerminal,
    JsonLines,
    LogFiles,
    PlainTerminal,
    RunFolder,
    Tee,
    state_home,
)
from fleet.record.contexts import ContextMemory
from fleet.record.metadata import write_metadata
from fleet.record.past import PastRun, latest_run, past_run
from fleet.record.tables import (
    checks_text,
    hosts_text,
    index_text,
    plan_text,
    transfers_text,
    verdict_text,
)
from fleet.record.tee import Reader
from fleet.references import Reference, check_tag
from fleet.registry import CredentialStore, EmbeddedRegistry, Registry
from fleet.run import copying
from fleet.run.cancel import cancel_builds
from fleet.run.examine import (
    examine,
    examine_controller,
    examine_host,
    examine_mirrors,
    examine_registry,
    fault,
    try_out,
)
from fleet.run.execute import execute
from fleet.run.job import Shop
from fleet.run.lock import end_holder, lock_name, run_lock
from fleet.run.machine import Address, Machine
from fleet.run.prepare import prepare
from fleet.run.probing import probe_patiently
from fleet.run.provenance import Provenance, moment_of
from fleet.run.resolve import resolve
from fleet.run.retry import Policy, retry
from fleet.run.sign import Signer
from fleet.run.stitch import stitch as stitch_index

T = TypeVar("T")

__all__ = [
    "Explanation",
    "Progress",
    "Request",
    "build",
    "cancel",
    "checks_text",
    "doctor",
    "embedded_registry",
    "explain",
    "export",
    "hosts_text",
    "index_text",
    "init",
    "inspect",
    "plan_text",
    "probe",
    "promote",
    "prune",
    "reader",
    "resume",
    "stitch",
    "tag",
    "teller",
    "to_json",
    "transfers_text",
    "unreached",
    "verdict_text",
    "verify",
    "versions",
]

_HTTP = "http://"  # before a reference: its registry is spoken to without TLS

# What an image is considered for where neither it nor the inventory names platforms;
# probing then decides which of them the hosts serve.
CANDIDATES = tuple(
    Platform.parse(name)
    for name in ("386", "amd64", "arm/v6", "arm/v7", "arm64", "ppc64le", "riscv64", "s390x")
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a command line asks for. ``wait`` for the lock is in seconds."""

    inventory: Path
    selection: Selection = field(default_factory=Selection)
    registry: str | None = None
    tags: tuple[str, ...] = ()
    build_args: Pairs = ()
    no_cache: bool = False
    push: bool = True
    metadata_file: Path | None = None
    pin: bool = True
    retries: int = 5
    wait: float = 0.0
    allow_partial: bool = False
    resumed: bool = False  # even what is to be built anew is collected where it is under way
    command: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        inventory: Path,
        images: Sequence[str] = (),
        platforms: Sequence[str] = (),
        limit: Sequence[str] = (),
        force: bool = False,
        max_age: str | None = None,
        build_args: Sequence[str] = (),
        **rest: Any,
    ) -> Request:
        """A request from the words of a command line. Raises UsageError."""
        return cls(
            inventory=inventory,
            selection=Selection(
                images=tuple(images),
                platforms=tuple(Platform.parse(name) for name in platforms),
                limit=tuple(limit),
                force=force,
                oldest=None if max_age is None else time.time() - parse_duration(max_age),
            ),
            build_args=tuple(_build_arg(text) for text in build_args),
            **rest,
        )

    @classmethod
    def again(cls, past: PastRun) -> Request:
        """The request of a run that goes on: what it has built, from then on, is not repeated."""
        known = {field.name for field in fields(cls)}
        told = {name: _frozen(value) for name, value in past.request.items() if name in known}
        chosen = dict(past.request.get("selection") or {})
        selection = Selection(**{name: _frozen(value) for name, value in chosen.items()})
        if selection.force:
            # What was built since then is done; what was not is as old as it was.
            selection = replace(selection, force=False, oldest=past.started)
        platforms = tuple(map(Platform.parse, chosen.get("platforms", ())))
        if told.get("metadata_file") is not None:
            told["metadata_file"] = Path(told["metadata_file"])
        return replace(
            cls(**{**told, "inventory": past.inventory}),
            selection=replace(selection, platforms=platforms),
            resumed=True,
            wait=0.0,
        )


def _frozen(value: Any) -> Any:
    """What the record keeps as a list, as the tuple that it was."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


class Progress(StrEnum):
    """How a run is shown while it goes on."""

    PLAIN = "plain"  # a line per event and per line of a build
    STEPS = "steps"  # the same without the lines of builds
    RAWJSON = "rawjson"  # the events
    QUIET = "quiet"  # nothing unless something went wrong


def reader(progress: Progress, out: TextIO) -> tuple[Reader, ...]:
    """The reader that shows a run on a stream."""
    match progress:
        case Progress.PLAIN:
            return (PlainTerminal(out),)
        case Progress.STEPS:
            return (PlainTerminal(out, verbose=False),)
        case Progress.RAWJSON:
            return (JsonLines(out, logs=True),)
        case Progress.QUIET:
            return (FailureTerminal(out),)
        case _:
            assert_never(progress)


def teller(out: TextIO) -> Emit:
    """Tells the notices, for a command that makes no record and whose answer goes elsewhere."""
    show = Tee(PlainTerminal(out))

    def tell(event: Event) -> None:
        if isinstance(event, Notice):
            show(event)

    return tell


def _build_arg(text: str) -> tuple[str, str]:
    """``NAME=VALUE``, or ``NAME`` for the environment's value, as docker build takes it."""
    name, equals, value = text.partition("=")
    if not name:
        raise UsageError(f"--build-arg {text!r} has no name", hint="write NAME=VALUE")
    if not equals:
        if name not in os.environ:
            raise UsageError(
                f"--build-arg {name} has no value, and no environment variable is named so",
                hint=f"write {name}=VALUE",
            )
        value = os.environ[name]
    return name, value


# --- the commands -------------------------------------------------------------------------


def init(path: Path, *, force: bool = False) -> list[str]:
    """Write an inventory for this machine alone; says what it found. Raises UsageError."""
    if path.exists() and not force:
        raise UsageError(f"{path} is there already", hint="--force overwrites it")
    images = inventory.find_images(path.parent)
    try:
        path.write_text(inventory.starter(images=images), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    if not images:
        return [f"{path}: no Dockerfile found; name your images there", "then: fleet build"]
    return [f"{path}: this machine builds {', '.join(images)}", "next: fleet build"]


def build(request: Request, readers: Sequence[Reader]) -> ExitCode:
    """Build, prove and publish what the inventory asks for; every event goes to the readers."""
    fleet = load(request)
    with _recorded(request, readers) as record:
        with opened(fleet, request, record.emit) as workshop:
            result = workshop.build(record.folder)
        record.code = exit_code(result)
        if request.metadata_file is not None:
            write_metadata(result, request.metadata_file)
    return record.code


def stitch(request: Request, readers: Sequence[Reader]) -> ExitCode:
    """Put an index of what stands under the arch tags, for each image that is asked for."""
    fleet = load(request)
    with _recorded(request, readers) as record:
        with opened(fleet, request, record.emit) as workshop:
            indexes = workshop.stitch()
        record.code = exit_code(RunResult(run=record.folder.run, outcomes=(), indexes=indexes))
    return record.code


@dataclass(kw_only=True)
class _Record:
    """A run that is being recorded, and what it ends with unless an error says otherwise."""

    folder: RunFolder
    emit: Emit
    code: ExitCode = ExitCode.FAILED


@contextmanager
def _recorded(request: Request, readers: Sequence[Reader]) -> Iterator[_Record]:
    """Hold the inventory's lock, and record what happens, from its begin to its end."""
    began = time.monotonic()
    run = RunFolder.new_name()
    with ExitStack() as stack:
        locks = state_home() / "locks"
        unlocked = stack.enter_context(
            run_lock(locks, request.inventory, run=run, wait=request.wait)
        )
        folder = RunFolder.create(run)
        events = stack.enter_context(folder.events.open("a", encoding="utf-8"))
        emit = Tee(JsonLines(events), LogFiles(folder), *readers)
        stack.callback(emit.close)
        emit(
            RunStarted(
                run=folder.run,
                version=__version__,
                # From whatever folder the run is resumed or cancelled.
                inventory=request.inventory.absolute(),
                command=request.command,
                folder=folder.path,
                request=to_json(request),
            )
        )
        for warning in filter(None, (unlocked, folder.warning)):
            emit(Notice(message=warning))
        record = _Record(folder=folder, emit=emit)
        try:
            yield record
        except FleetError as error:
            record.code = error.exit_code
            emit(RunFailed(error=ErrorInfo.of(error)))
            raise
        finally:
            spent = time.monotonic() - began
            emit(RunFinished(run=folder.run, exit_code=int(record.code), seconds=spent))


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
        if not past.begun:
            emit(Notice(message=f"the run {run} has nothing under way on any host"))
            return ExitCode.OK
        fleet = load(Request(inventory=past.inventory))
        left = cancel_builds(past.begun, reopen=Reopened(fleet), emit=emit)
        return ExitCode.UNREACHABLE if left else ExitCode.OK
    finally:
        emit.close()


def prune(request: Request, *, older: str) -> tuple[list[str], ExitCode]:
    """Remove what fleet has left on the hosts of an inventory; what came of it, a line each.

    What was used within the time that ``older`` names stays. Raises UsageError.
    """
    age = parse_duration(older)
    fleet = load(request)
    lines, code = [], ExitCode.OK
    reopen = Reopened(fleet)
    for spec in inventory.select_hosts(fleet, request.selection.limit):
        try:
            with reopen(spec.name) as engine:
                pruned = engine.prune(age)
                free = engine.free()
        except FleetError as error:
            lines.append(error.message)
            code = ExitCode.UNREACHABLE
            continue
        lines.append(
            f"{spec.name}: {len(pruned.orders)} builds and {pruned.contexts} contexts removed,"
            f" {max(0, pruned.freed) / 1e6:.0f} MB of fleet's folder; {free / 1e9:.1f} GB free"
        )
    return lines, code


class Reopened:
    """Makes new connections to the hosts of an inventory, each for one use.

    ``facts`` holds what is known of hosts already; the others are probed.
    """

    def __init__(self, fleet: Inventory, facts: Mapping[str, HostFacts] | None = None) -> None:
        self._fleet = fleet
        self._facts = facts or {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[Engine]:
        """A connection to a host by name. Raises FleetError."""
        spec = next((spec for spec in self._fleet.hosts if spec.name == name), None)
        if spec is None:
            raise UsageError(f"{name} is no host of {self._fleet.path} any more")
        host = connect(spec, ssh_config=self._fleet.ssh_config)
        try:
            facts = self._facts.get(name) or probe_host(host, platforms=())
            engine = Engine(host, facts, write_tar=recipes.write_tar)
            try:
                yield engine
            finally:
                engine.close()
        finally:
            host.close()


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What ``fleet plan`` tells: the plan, and what could not be asked."""

    plan: Plan
    reports: tuple[HostReport, ...]
    registry_error: ErrorInfo | None

    @property
    def exit_code(self) -> ExitCode:
        """3 where the registry, or every host that something must be built on, is silent."""
        reached = any(report.facts for report in self.reports)
        needed = any(job.kept is None for job in self.plan.jobs)
        if self.registry_error is not None or (needed and not reached):
            return ExitCode.UNREACHABLE
        return ExitCode.OK


def explain(request: Request, emit: Emit) -> Explanation:
    """Plan as ``build`` would, and build nothing; what does not answer is part of the answer.

    `prepare` commands are run: what they leave is part of the contexts, and a plan
    without it would be about other contexts than the build's. Somebody waits for the
    answer, so that nobody is asked more than twice.
    """
    request = replace(request, retries=min(request.retries, 1))
    with opened(load(request), request, emit) as workshop:
        workshop.prepare()
        read = workshop.read()
        reports = workshop.probe()
        held, error = Held(), None
        try:
            held = workshop.resolve(read, reports)
        except RegistryError as raised:
            error = ErrorInfo.of(raised)
        plan_ = workshop.plan(read, reports, held)
        return Explanation(plan=plan_, reports=reports, registry_error=error)


def probe(request: Request) -> tuple[HostReport, ...]:
    """Probe the hosts of an inventory."""
    fleet = load(request)
    hosts = inventory.select_hosts(fleet, request.selection.limit)
    with ExitStack() as stack:
        return _probe(fleet, hosts, stack, _unheard, policy=Policy(attempts=1))[0]


def doctor(request: Request) -> tuple[Check, ...]:
    """Look at the controller, the registry and every host."""
    checks = [*examine_controller()]
    try:
        with opened(load(request), request) as workshop:
            checks += examine_registry(workshop.registry, workshop.address)
            checks += examine_mirrors(workshop.registry, workshop.inventory)
            for report in workshop.probe():
                checks += examine_host(report)
    except FleetError as error:
        checks.append(fault("controller", "inventory", error))
    return tuple(checks)


def inspect(reference: str, *, plain_http: bool = False) -> PublishedIndex:
    """Read an index and its members from its registry."""
    parsed = Reference.parse(reference)
    with _registry(CredentialStore(), [parsed.registry] if plain_http else []) as registry:
        return registry.index(parsed)


def verify(
    names: Sequence[str],
    request: Request,
    *,
    run: bool,
    plain_http: bool = False,
    emit: Emit,
) -> tuple[Verdict, ...]:
    """Check published indexes, and with ``run`` run each on a host of every platform.

    A name is an image of the inventory, meaning what its first tag holds, or any
    reference.
    """
    with _counter(names, request, plain_http=plain_http, emit=emit, hosts=run) as desk:
        verdicts = tuple(
            examine(desk.registry, desk.reference(name), patiently=desk.patience) for name in names
        )
        if desk.workshop is None or not run:
            return verdicts
        machines = desk.workshop.machines(desk.workshop.probe())
        return tuple(try_out(v, machines, desk.workshop.credentials) for v in verdicts)


def tag(
    name: str,
    tags: Sequence[str],
    request: Request,
    *,
    plain_http: bool = False,
    emit: Emit,
) -> tuple[Transfer, ...]:
    """Put what a name stands for under further tags of its repository."""
    for text in tags:
        check_tag(text)
    with _counter([name], request, plain_http=plain_http, emit=emit) as desk:
        source = desk.reference(name)
        targets = [source.tagged(text) for text in tags]
        return copying.copy(source, targets, registry=desk.registry, how=desk.patience)


def promote(
    name: str,
    targets: Sequence[str],
    request: Request,
    *,
    plain_http: bool = False,
    emit: Emit,
) -> tuple[Transfer, ...]:
    """Copy what a name stands for to other references, which take its tag where they have none."""
    with _counter([name, *targets], request, plain_http=plain_http, emit=emit) as desk:
        source = desk.reference(name)
        places = [desk.reference(target, tag=source.tag) for target in targets]
        return copying.copy(source, places, registry=desk.registry, how=desk.patience)


def export(
    name: str,
    path: Path,
    request: Request,
    *,
    plain_http: bool = False,
    emit: Emit,
) -> Transfer:
    """Write what a name stands for, or the request's platforms of it, as an OCI image layout."""
    with _counter([name], request, plain_http=plain_http, emit=emit) as desk:
        return copying.export(
            desk.reference(name),
            path,
            platforms=request.selection.platforms,
            registry=desk.registry,
            how=desk.patience,
        )


def load(request: Request) -> Inventory:
    """The inventory, with what the command line says instead. Raises InventoryError."""
    found = inventory.load(request.inventory, registry=request.registry, tags=request.tags)
    asked = dict(request.build_args)
    moment = moment_of(found.path.parent, found.tags)
    images = tuple(
        replace(
            image.with_args(asked),
            tags=plan.fill_tags(found.tags, {**moment, "version": image.version or ""}),
        )
        for image in found.images
    )
    return replace(found, images=images)


def embedded_registry() -> EmbeddedRegistry:
    """The registry that fleet runs itself, in this user's state folder."""
    return EmbeddedRegistry(state_home() / "registry")


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


def unreached(reports: Sequence[HostReport]) -> ExitCode:
    """3 where a host could not be probed."""
    return ExitCode.OK if all(report.facts for report in reports) else ExitCode.UNREACHABLE


def _unheard(event: Event) -> None:
    """For commands that make no record: their answer is what they return."""


# --- the workshop: an inventory with its registry and its connections ---------------------


@contextmanager
def opened(
    fleet: Inventory, request: Request, emit: Emit = _unheard, *, plain_http: Sequence[str] = ()
) -> Iterator[Workshop]:
    """Open an inventory: its registry (started, if it is fleet's own) and, later, its hosts.

    ``plain_http`` names registries besides its own that are spoken to without TLS.

    Everything that was opened is closed at the end; an embedded registry runs on.
    """
    if fleet.registry.embedded:
        spec = replace(fleet.registry, address=embedded_registry().start(), plain_http=True)
        fleet = replace(fleet, registry=spec)
    address = fleet.registry.address or ""
    credentials = CredentialStore(address)
    with ExitStack() as stack:
        registry = stack.enter_context(_registry(credentials, plain_http, fleet, emit))
        yield Workshop(fleet, request, registry, credentials, stack, emit)


@contextmanager
def _registry(
    credentials: CredentialStore,
    plain_http: Sequence[str],
    fleet: Inventory | None = None,
    emit: Emit = _unheard,
) -> Iterator[Registry]:
    """The client, with what an opened inventory says of registries and their mirrors."""
    own = [fleet.registry] if fleet else []
    mirrors = dict(fleet.mirrors) if fleet else {}
    named = [(spec.address, spec) for spec in (*own, *mirrors.values()) if spec.address]
    registry = Registry(
        credentials=credentials,
        plain_http=[*plain_http, *(address for address, spec in named if spec.plain_http)],
        authorities={address: spec.ca for address, spec in named if spec.ca},
        mirrors=mirrors,
        own=["/".join(filter(None, (spec.address, spec.prefix))) for spec in own],
        notice=lambda text: emit(Notice(message=text)),
    )
    try:
        yield registry
    finally:
        registry.close()


@dataclass(frozen=True, kw_only=True)
class _Counter:
    """Where published images are asked for by name, with an inventory or without one."""

    registry: Registry
    patience: copying.Patience
    workshop: Workshop | None = None

    def reference(self, name: str, *, tag: str | None = None) -> Reference:
        """What a name means; ``tag`` where an image of the inventory is named without one."""
        name = name.removeprefix(_HTTP)
        if self.workshop is None:
            return Reference.parse(name)
        return self.workshop.reference(name, tag=tag)


@contextmanager
def _counter(
    names: Sequence[str], request: Request, *, plain_http: bool, emit: Emit, hosts: bool = False
) -> Iterator[_Counter]:
    """Open what is needed to ask for names; ``plain_http`` is meant for those of no inventory.

    There need be no inventory, unless its ``hosts`` are wanted as well.
    """
    how = copying.Patience(
        policy=Policy(attempts=request.retries + 1), stop=threading.Event(), emit=emit
    )
    if not hosts and not request.inventory.exists():
        plain = _plain(names, (), every=plain_http)
        with _registry(CredentialStore(), plain) as registry:
            yield _Counter(registry=registry, patience=how)
        return
    fleet = load(request)
    images = {image.name for image in fleet.images}
    plain = _plain(names, images, every=plain_http)
    with opened(fleet, request, emit, plain_http=plain) as workshop:
        yield _Counter(registry=workshop.registry, patience=how, workshop=workshop)


def _plain(names: Sequence[str], images: Collection[str], *, every: bool) -> list[str]:
    """The registries to speak plain http to: of names that say so, or ``every`` one's.

    Those of the inventory's images are the inventory's to say.
    """
    return [
        Reference.parse(name.removeprefix(_HTTP)).registry
        for name in names
        if (every or name.startswith(_HTTP)) and _image_of(name) not in images
    ]


def _image_of(name: str) -> str:
    """The image of ``image``, ``image:tag`` or ``image@digest``."""
    return name.partition("@")[0].partition(":")[0]


class Workshop:
    """An opened inventory. Each method is one verb of the main job."""

    def __init__(
        self,
        fleet: Inventory,
        request: Request,
        registry: Registry,
        credentials: CredentialStore,
        stack: ExitStack,
        emit: Emit,
    ) -> None:
        self.inventory = fleet
        self.request = request
        self.registry = registry
        self.credentials = credentials
        self._stack = stack
        self._emit = emit
        self._hosts: dict[str, Host] = {}
        self._contexts = ContextMemory(state_home() / "contexts")
        self._policy = Policy(attempts=request.retries + 1)
        self._stop = threading.Event()

    def build(self, folder: RunFolder) -> RunResult:
        """The main job."""
        self.prepare()
        recipes_ = self.read()
        self._patiently(lambda: self.registry.ping(self.address))
        reports: tuple[HostReport, ...] = ()
        held = self.resolve(recipes_, reports) if self._platforms_stated() else None
        if held is None or not self._nothing_to_do(recipes_, held):
            reports = self.probe()
            held = held or self.resolve(recipes_, reports)
        plan_ = self.plan(recipes_, reports, held)
        if not self.request.push:
            plan_ = plan.staying(plan_)
        self.announce(plan_)
        needed = any(job.kept is None for job in plan_.jobs)
        if needed and not any(report.facts for report in reports):
            raise NoHostLeft(
                "no host could be reached, and there is something to build",
                hint="`fleet doctor` looks at each of them",
            )
        for job in plan_.to_build:
            self._contexts.remember(job.recipe.context)
        return self.execute(plan_, reports, folder)

    def _platforms_stated(self) -> bool:
        """Whether what is wanted is known without asking the hosts what they are."""
        if self.request.selection.limit:
            return False  # whose platforms are meant is for probing to find out
        images = inventory.select_images(self.inventory, self.request.selection.images)
        return self.inventory.platforms is not None or all(image.platforms for image in images)

    def _nothing_to_do(self, recipes_: Sequence[Recipe], held: Held) -> bool:
        """Whether everything is there: a night where nothing changed connects to no host."""
        return all(job.kept for job in self.plan(recipes_, (), held).jobs)

    def prepare(self) -> None:
        """Run the `prepare` commands of the images asked for and of those that they build on.

        Raises UsageError, RecipeError, PrepareFailed.
        """
        # What the command line names is looked at before anything is asked of anybody.
        asked = inventory.select_images(self.inventory, self.request.selection.images)
        inventory.select_hosts(self.inventory, self.request.selection.limit)
        if any(image.prepare for image in self.inventory.images):
            images = recipes.lineage(
                self.inventory.images,
                [image.name for image in asked],
                platforms=self.inventory.platforms or CANDIDATES,
                registry_name=self._registry_name,
            )
            prepare(images, emit=self._emit)

    def read(self) -> tuple[Recipe, ...]:
        """Read and understand the Dockerfiles and contexts. Raises RecipeError."""
        return recipes.read(
            self.inventory.images,
            platforms=self.inventory.platforms or CANDIDATES,
            registry_name=self._registry_name,
        )

    def probe(self) -> tuple[HostReport, ...]:
        """Probe the hosts that the command line does not exclude."""
        hosts = inventory.select_hosts(self.inventory, self.request.selection.limit)
        reports, self._hosts = _probe(
            self.inventory, hosts, self._stack, self._emit, policy=self._policy, stop=self._stop
        )
        return reports

    def resolve(self, recipes_: Sequence[Recipe], reports: Sequence[HostReport]) -> Held:
        """Look up in registries what the plan must know. Raises RegistryError."""
        held = resolve(
            registry=self.registry,
            inventory=self.inventory,
            recipes=recipes_,
            reports=reports,
            selection=self.request.selection,
            repositories=self.repositories(),
            pin=self.request.pin,
            patiently=self._patiently,
        )
        before = {plan.context_before(image) for image in held.images.values()} - {None}
        recalled = {digest: self._contexts.recall(digest) for digest in before if digest}
        return replace(held, contexts={d: files for d, files in recalled.items() if files})

    def plan(self, recipes_: Sequence[Recipe], reports: Sequence[HostReport], held: Held) -> Plan:
        """Decide what is done, and why."""
        made = plan.make_plan(
            inventory=self.inventory,
            recipes=recipes_,
            reports=reports,
            held=held,
            selection=self.request.selection,
        )
        return replace(made, warnings=(*self.inventory.warnings, *made.warnings))

    def execute(self, plan_: Plan, reports: Sequence[HostReport], folder: RunFolder) -> RunResult:
        """Run the plan and publish what it makes."""
        outcomes, indexes = execute(
            plan_,
            shop=self._shop(),
            machines=self.machines(reports),
            log_path=folder.log,
            run=folder.run,
            reopen=Reopened(
                self.inventory,
                {report.spec.name: report.facts for report in reports if report.facts},
            ),
        )
        return RunResult(run=folder.run, outcomes=outcomes, indexes=indexes)

    def stitch(self) -> tuple[IndexOutcome, ...]:
        """Put the indexes of what stands under the arch tags of the images asked for."""
        shop, outcomes = self._shop(), []
        for image in inventory.select_images(self.inventory, self.request.selection.images):
            stated = image.platforms or self.inventory.platforms
            outcome = stitch_index(
                image, stated or CANDIDATES, stated=stated is not None, shop=shop
            )
            self._emit(IndexFinished(outcome=outcome))
            outcomes.append(outcome)
        return tuple(outcomes)

    def _shop(self) -> Shop:
        sign = self.inventory.sign
        return Shop(
            registry=self.registry,
            credentials=self.credentials,
            repositories=self.repositories(),
            tags={
                image.name: plan.image_tags(self.inventory, image)
                for image in self.inventory.images
            },
            record_host=self.inventory.record_host,
            provenance=Provenance.of(self.inventory.path.parent),
            policy=self._policy,
            emit=self._emit,
            stop=self._stop,
            no_cache=self.request.no_cache,
            push=self.request.push,
            signer=Signer(command=sign, memory=state_home() / "signed") if sign else None,
            collect=not self.request.selection.force,
            resumed=self.request.resumed,
            limits=self.inventory.limits,
            allow_partial=self.request.allow_partial,
        )

    def repositories(self) -> dict[str, Reference]:
        """Every image's repository, without a tag."""
        spec = self.inventory.registry
        return {image.name: plan.repository(spec, image.name) for image in self.inventory.images}

    def reference(self, name: str, *, tag: str | None = None) -> Reference:
        """What a name means: an image of the inventory, or any reference.

        An image alone means its first tag, or ``tag``.
        """
        for image in self.inventory.images:
            if image.name == _image_of(name):
                repository = plan.repository(self.inventory.registry, image.name)
                if image.name == name:
                    return repository.tagged(tag or plan.image_tags(self.inventory, image)[0])
                return Reference.parse(f"{repository}{name.removeprefix(image.name)}")
        return Reference.parse(name)

    @property
    def address(self) -> str:
        """Where the registry answers, ``host[:port]``."""
        address = self.inventory.registry.address
        assert address is not None, "an opened inventory has a registry with an address"
        return address

    @property
    def _registry_name(self) -> str:
        """What stands before an image's name in the registry."""
        return "/".join(filter(None, (self.address, self.inventory.registry.prefix)))

    def machines(self, reports: Sequence[HostReport]) -> dict[str, Machine]:
        """The hosts that answered, ready to take jobs."""
        machines = {}
        for report in reports:
            if report.facts is None:
                continue
            host = self._hosts[report.spec.name]
            owner = f"{platform.node()}-{lock_name(self.inventory.path)}"
            engine = Engine(host, report.facts, write_tar=recipes.write_tar, owner=owner)
            self._stack.callback(engine.close)
            machines[report.spec.name] = Machine(
                report=report, host=host, engine=engine, tunnelled=self._tunnelled()
            )
        return machines

    def announce(self, plan_: Plan) -> None:
        """Tell the readers what is planned."""
        for job in plan_.jobs:
            self._emit(
                JobPlanned(job=job.id, action=job.action, reason=job.reason, hosts=job.hosts)
            )
        for warning in plan_.warnings:
            self._emit(Notice(message=warning))

    def _patiently(self, operation: Callable[[], T]) -> T:
        """Ask a registry again where what it answers may pass."""

        def before_wait(error: FleetError, wait: float) -> None:
            self._emit(Notice(message=f"{error.message}; asked again in {wait:.0f} s"))

        return retry(operation, policy=self._policy, stop=self._stop, before_wait=before_wait)

    def _tunnelled(self) -> dict[str, Address]:
        if not self.inventory.registry.tunnel:
            return {}
        parts = urlsplit(f"//{self.address}")
        port = parts.port or (80 if self.inventory.registry.plain_http else 443)
        return {self.address: (parts.hostname or "", port)}


def _probe(
    fleet: Inventory,
    specs: Sequence[HostSpec],
    stack: ExitStack,
    emit: Emit,
    *,
    policy: Policy,
    stop: threading.Event | None = None,
) -> tuple[tuple[HostReport, ...], dict[str, Host]]:
    hosts = {}
    for spec in specs:
        host = connect(spec, ssh_config=fleet.ssh_config)
        stack.callback(host.close)
        hosts[spec.name] = host
    reports = probe_patiently(
        tuple(hosts.values()),
        platforms=sorted({*CANDIDATES, *(fleet.platforms or ())}),
        policy=policy,
        stop=stop or threading.Event(),
        on_report=lambda report: emit(HostProbed(report=report)),
        before_wait=lambda error, wait: emit(
            Notice(message=f"{error.message}; asked again in {wait:.0f} s")
        ),
    )
    return reports, hosts
