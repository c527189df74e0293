"""An opened inventory and its registry, and the verbs that say what there is to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Self, TypeVar

from fleet import inventory, plan, recipes
from fleet.app.request import Request
from fleet.errors import FleetError
from fleet.events import Emit, Event, Notice
from fleet.models import Held, HostReport, Inventory, Plan, Recipe
from fleet.platforms import Platform
from fleet.record import state_home
from fleet.record.contexts import ContextMemory
from fleet.references import Reference
from fleet.registry import CredentialStore, EmbeddedRegistry, Registry
from fleet.run.resolve import resolve
from fleet.run.retry import Policy, retry

if TYPE_CHECKING:
    from fleet.hosts.protocol import Host

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


class Office:
    """An opened inventory, where it is found out what there is to do.

    Hosts are looked at where something is to be built, and what speaks with them is
    imported then.
    """

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

    @classmethod
    @contextmanager
    def opened(
        cls,
        fleet: Inventory,
        request: Request,
        emit: Emit = unheard,
        *,
        plain_http: Sequence[str] = (),
    ) -> Iterator[Self]:
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
            yield cls(fleet, request, registry, credentials, stack, emit)

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
            from fleet.run.prepare import prepare  # most inventories name none

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
            from fleet.app.connecting import probe_hosts  # ssh and engines: late

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

    def repositories(self) -> dict[str, Reference]:
        """Every image's repository, without a tag."""
        spec = self.inventory.registry
        return {image.name: plan.repository(spec, image.name) for image in self.inventory.images}

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

    def _patiently(self, operation: Callable[[], T]) -> T:
        """Ask a registry again where what it answers may pass."""

        def before_wait(error: FleetError, wait: float) -> None:
            self._emit(Notice(message=f"{error.message}; asked again in {wait:.0f} s"))

        return retry(operation, policy=self._policy, stop=self._stop, before_wait=before_wait)


def platforms_of(fleet: Inventory) -> list[Platform]:
    """The platforms that are asked about."""
    return sorted({*CANDIDATES, *(fleet.platforms or ())})


def image_of(name: str) -> str:
    """The image of ``image``, ``image:tag`` or ``image@digest``."""
    return name.partition("@")[0].partition(":")[0]
