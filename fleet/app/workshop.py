"""An opened inventory: its registry, its connections, and the verbs of the main job."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlsplit

from fleet import inventory, plan, recipes
from fleet.app.history import experience
from fleet.app.renting import is_up, leases_of, located
from fleet.app.request import Request
from fleet.engine import Engine
from fleet.errors import FleetError, NoHostLeft, UsageError
from fleet.events import Emit, Event, HostProbed, IndexFinished, JobPlanned, Notice
from fleet.hosts import connect
from fleet.hosts import probe as probe_host
from fleet.hosts.protocol import Host
from fleet.models import (
    Held,
    HostFacts,
    HostReport,
    HostSpec,
    IndexOutcome,
    Inventory,
    Plan,
    Recipe,
    RunResult,
)
from fleet.platforms import Platform
from fleet.record import RunFolder, state_home
from fleet.record.contexts import ContextMemory
from fleet.references import Reference
from fleet.registry import CredentialStore, EmbeddedRegistry, Registry
from fleet.run.execute import execute
from fleet.run.job import Shop
from fleet.run.lock import lock_name
from fleet.run.machine import Address, Machine
from fleet.run.prepare import prepare
from fleet.run.probing import probe_patiently
from fleet.run.provenance import Provenance
from fleet.run.renting import Rental
from fleet.run.resolve import resolve
from fleet.run.retry import Policy, retry
from fleet.run.sign import Signer
from fleet.run.stitch import stitch as stitch_index
from fleet.suggest import did_you_mean

T = TypeVar("T")

# What an image is considered for where neither it nor the inventory names platforms;
# probing then decides which of them the hosts serve.
CANDIDATES = tuple(
    Platform.parse(name)
    for name in ("386", "amd64", "arm/v6", "arm/v7", "arm64", "ppc64le", "riscv64", "s390x")
)


def unheard(event: Event) -> None:
    """For commands that make no record: their answer is what they return."""


@contextmanager
def opened(
    fleet: Inventory, request: Request, emit: Emit = unheard, *, plain_http: Sequence[str] = ()
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
        registry = stack.enter_context(opened_registry(credentials, plain_http, fleet, emit))
        yield Workshop(fleet, request, registry, credentials, stack, emit)


@contextmanager
def opened_registry(
    credentials: CredentialStore,
    plain_http: Sequence[str],
    fleet: Inventory | None = None,
    emit: Emit = unheard,
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


def embedded_registry() -> EmbeddedRegistry:
    """The registry that fleet runs itself, in this user's state folder."""
    return EmbeddedRegistry(state_home() / "registry")


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
        self._reports: tuple[HostReport, ...] | None = None  # once the hosts were probed
        self.still_up: frozenset[str] = frozenset()  # rented hosts that could not be given back

    def build(self, folder: RunFolder) -> RunResult:
        """The main job. What is rented for it, or by an earlier run, is given back at its end."""
        rental = Rental(
            self.inventory.hosts,
            leases=leases_of(self.inventory.path),
            arrive=self._arrive,
            emit=self._emit,
            run=folder.run,
        )
        try:
            return self._build(folder, rental)
        finally:
            rental.end()
            self.still_up = frozenset(rental.kept)

    def _build(self, folder: RunFolder, rental: Rental) -> RunResult:
        self.prepare()
        recipes_ = self.read()
        self._patiently(lambda: self.registry.ping(self.address))
        reports, held = self.look(recipes_)
        plan_ = self.plan(recipes_, reports, held)
        if not self.request.push:
            plan_ = plan.staying(plan_, rented=rental.hosts)
        self.announce(plan_)
        needed = any(job.kept is None for job in plan_.jobs)
        if needed and not any(report.facts or report.to_come for report in reports):
            raise NoHostLeft(
                "no host could be reached, and there is something to build",
                hint="`fleet doctor` looks at each of them",
            )
        for job in plan_.to_build:
            self._contexts.remember(job.recipe.context)
        with rental.given_back():
            return self.execute(plan_, reports, folder, rental)

    def look(self, recipes_: Sequence[Recipe]) -> tuple[tuple[HostReport, ...], Held]:
        """What the plan must know: a run that has nothing to do asks registries, and no host.

        Raises RegistryError.
        """
        held = self.resolve(recipes_, ()) if self._platforms_stated() else None
        if held is not None and self._nothing_to_do(recipes_, held):
            return (), held
        reports = self.probe()
        return reports, held or self.resolve(recipes_, reports)

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
            memory=state_home() / "digests",
        )

    def probe(self) -> tuple[HostReport, ...]:
        """Probe the hosts that the command line does not exclude, once."""
        if self._reports is None:
            hosts = inventory.select_hosts(self.inventory, self.request.selection.limit)
            self._reports, self._hosts = probe_hosts(
                self.inventory, hosts, self._stack, self._emit, policy=self._policy, stop=self._stop
            )
        return self._reports

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

    def execute(
        self, plan_: Plan, reports: Sequence[HostReport], folder: RunFolder, rental: Rental
    ) -> RunResult:
        """Run the plan and publish what it makes."""
        outcomes, indexes = execute(
            plan_,
            shop=self._shop(),
            machines=self.machines(reports),
            log_path=folder.log,
            experience=experience(),
            run=folder.run,
            reopen=Reopened(
                self.inventory,
                {report.spec.name: report.facts for report in reports if report.facts},
            ),
            rental=rental,
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
            # What stays on its host has to be on one, for what is built on it.
            speculate=self.inventory.speculate and self.request.push,
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
            if image.name == image_of(name):
                repository = plan.repository(self.inventory.registry, image.name)
                if image.name == name:
                    return repository.tagged(tag or plan.image_tags(self.inventory, image)[0])
                return Reference.parse(f"{repository}{name.removeprefix(image.name)}")
        if "/" not in name and (
            near := did_you_mean(image_of(name), [image.name for image in self.inventory.images])
        ):
            told = f"{self.inventory.path} has no image {image_of(name)!r}{near}"
            self._emit(Notice(message=f"{told}; {Reference.parse(name)} is asked for"))
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
            machines[report.spec.name] = machine_of(
                self.inventory,
                report,
                self._hosts[report.spec.name],
                self._stack,
                tunnelled=self.tunnelled(),
            )
        return machines

    def _arrive(self, spec: HostSpec, told: str) -> Machine:
        """A rented host, where its ``up`` says that it is: connected to, and probed."""
        host = connect(inventory.arrived(spec, told), ssh_config=self.inventory.ssh_config)
        try:
            platforms = {*_platforms(self.inventory), *(spec.platforms or ())}
            facts = probe_host(host, platforms=sorted(platforms))
        except FleetError:
            host.close()
            raise
        self._stack.callback(host.close)
        report = HostReport(spec=host.spec, facts=facts)
        return machine_of(self.inventory, report, host, self._stack, tunnelled=self.tunnelled())

    def announce(self, plan_: Plan) -> None:
        """Tell the readers what is planned."""
        for job in plan_.jobs:
            self._emit(
                JobPlanned(
                    job=job.id,
                    action=job.action,
                    reason=job.reason,
                    hosts=job.hosts,
                    parents=job.parents,
                )
            )
        for warning in plan_.warnings:
            self._emit(Notice(message=warning))

    def _patiently(self, operation: Callable[[], T]) -> T:
        """Ask a registry again where what it answers may pass."""

        def before_wait(error: FleetError, wait: float) -> None:
            self._emit(Notice(message=f"{error.message}; asked again in {wait:.0f} s"))

        return retry(operation, policy=self._policy, stop=self._stop, before_wait=before_wait)

    def tunnelled(self) -> dict[str, Address]:
        """The registries that are carried to hosts, and where the controller connects to them."""
        if not self.inventory.registry.tunnel:
            return {}
        parts = urlsplit(f"//{self.address}")
        port = parts.port or (80 if self.inventory.registry.plain_http else 443)
        return {self.address: (parts.hostname or "", port)}


def machine_of(
    fleet: Inventory,
    report: HostReport,
    host: Host,
    stack: ExitStack,
    *,
    tunnelled: Mapping[str, Address],
) -> Machine:
    """A host that was probed, with its engine, which is closed with the stack."""
    assert report.facts is not None, "whoever asks has looked"
    owner = f"{platform.node()}-{lock_name(fleet.path)}"
    engine = Engine(
        host,
        report.facts,
        write_tar=recipes.write_tar,
        memory=ContextMemory(state_home() / "contexts"),
        owner=owner,
    )
    stack.callback(engine.close)
    return Machine(report=report, host=host, engine=engine, tunnelled=tunnelled)


def probe_hosts(
    fleet: Inventory,
    specs: Sequence[HostSpec],
    stack: ExitStack,
    emit: Emit,
    *,
    policy: Policy,
    stop: threading.Event | None = None,
) -> tuple[tuple[HostReport, ...], dict[str, Host]]:
    """Connect to hosts and probe them; the connections are closed with the stack.

    Those to be rented are reported as such, unless they are up and located.
    """
    hosts = {}
    for spec in filter(is_up, specs):
        host = connect(spec, ssh_config=fleet.ssh_config)
        stack.callback(host.close)
        hosts[spec.name] = host
    reports = probe_patiently(
        tuple(hosts.values()),
        platforms=_platforms(fleet),
        needed=tuple(set(fleet.platforms or ()) - _rentable(specs)),
        policy=policy,
        stop=stop or threading.Event(),
        on_report=lambda report: emit(HostProbed(report=report)),
        before_wait=lambda error, wait: emit(
            Notice(message=f"{error.message}; asked again in {wait:.0f} s")
        ),
    )
    probed = {report.spec.name: report for report in reports}
    return tuple(probed.get(spec.name) or HostReport(spec=spec) for spec in specs), hosts


def _rentable(specs: Iterable[HostSpec]) -> set[Platform]:
    """The platforms for which a machine can be had, whoever is silent."""
    return {p for spec in specs if spec.provision is not None for p in spec.platforms or ()}


def _platforms(fleet: Inventory) -> list[Platform]:
    """The platforms that are asked about."""
    return sorted({*CANDIDATES, *(fleet.platforms or ())})


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
        host = connect(located(self._fleet, spec), ssh_config=self._fleet.ssh_config)
        try:
            facts = self._facts.get(name) or probe_host(host, platforms=())
            engine = Engine(host, facts, write_tar=recipes.write_tar)
            try:
                yield engine
            finally:
                engine.close()
        finally:
            host.close()


def image_of(name: str) -> str:
    """The image of ``image``, ``image:tag`` or ``image@digest``."""
    return name.partition("@")[0].partition(":")[0]
