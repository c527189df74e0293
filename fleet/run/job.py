"""One job on one host: sync, build, smoke, push, verify."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from fleet.engine import BuildOrder, BuiltImage
from fleet.errors import (
    DiskFull,
    FleetError,
    IndexNotWhole,
    NotInRegistry,
    PullFailed,
    PushFailed,
    RegistryBusy,
    RegistryError,
)
from fleet.events import (
    COLLECTED,
    BuildOrdered,
    Emit,
    LogLines,
    Notice,
    RetryScheduled,
    StepFinished,
    StepStarted,
)
from fleet.models import (
    ErrorInfo,
    Job,
    JobId,
    LayerCache,
    LeftImage,
    Limits,
    PublishedImage,
    Step,
    number_of,
)
from fleet.plan import arch_reference, inputs_of, pinned_bases
from fleet.recipes import pin
from fleet.references import Reference
from fleet.registry import CredentialStore, Registry
from fleet.run.labels import labels
from fleet.run.machine import Machine
from fleet.run.parallelism import fitted
from fleet.run.provenance import Provenance
from fleet.run.retry import Policy, retry
from fleet.run.sign import Signer

T = TypeVar("T")

# Images that are pushed and verified at the same time. A slot is free once its image is built, so
# without a bound a large fleet pushes from all hosts at once, and all of them are slow.
_PUSHES = 32
_LEFTOVER = 3600.0  # seconds after which what is not used is removed, where the disk is short


@dataclass(frozen=True, kw_only=True)
class Shop:
    """What every job of a run shares."""

    registry: Registry
    credentials: CredentialStore
    repositories: Mapping[str, Reference]  # of each image, without tag
    tags: Mapping[str, tuple[str, ...]]  # of each image
    provenance: Provenance
    policy: Policy
    emit: Emit
    stop: threading.Event
    limits: Limits = field(default_factory=Limits)
    allow_partial: bool = False
    speculate: bool = False  # slow jobs are begun a second time on idle hosts
    no_cache: bool = False
    push: bool = True  # what is built stays on its host otherwise
    record_host: bool = False
    signer: Signer | None = None
    pushing: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_PUSHES))
    # Started builds of this run are followed again after a drop, never repeated;
    # with --force those of earlier runs are not collected.
    collect: bool = True
    resumed: bool = False  # then even they are


@dataclass(kw_only=True)
class Task:
    """A job on its way over one host. Its steps are called in the order of ``run``."""

    shop: Shop
    job: Job
    machine: Machine
    attempt: int
    parents: Mapping[JobId, PublishedImage | LeftImage]
    on_order: Callable[[str], None] = lambda key: None  # told of the build's key on the host
    on_built: Callable[[], None] = lambda: None  # told when all that is left is the push
    check: Callable[[], None] = lambda: None  # raises where nobody waits for it any more
    _detail: str = field(default="", init=False)
    _started: bool = field(default=False, init=False)
    _pruned: bool = field(default=False, init=False)
    _doubted: bool = field(default=False, init=False)
    _cached: Reference | None = field(default=None, init=False)  # whose layers are on the host

    def run(self) -> PublishedImage | LeftImage:
        """Do the job. Raises what its last attempt at a step raised, or what it was told to."""
        with self._step(Step.SYNC):
            self._sync()
        with self._step(Step.BUILD):
            built = self._build()
        with self._step(Step.SMOKE):
            self._smoke(built)
        if not self.shop.push:
            name = Reference.parse(built.tag)
            return LeftImage(host=self.machine.name, reference=name, digest=built.id)
        self.on_built()
        with self.shop.pushing:
            with self._step(Step.PUSH):
                digest = self._push(built)
            with self._step(Step.VERIFY):
                return self._verify(digest)

    # --- the steps ------------------------------------------------------------------------

    def _sync(self) -> None:
        self._retry(Step.SYNC, self._room)
        sent = self._retry(Step.SYNC, lambda: self.machine.engine.sync(self.job.recipe.context))
        self._detail = "context sent" if sent else "context was there"
        left = {it.reference for it in self.parents.values() if isinstance(it, LeftImage)}
        for base in self._bases().values():
            if base in left:
                continue  # it is on this very host
            self._retry(Step.SYNC, partial(self._pull, base))
        if self._takes_layers() and not self._from_scratch():
            self._fetch_layers()

    def _room(self) -> None:
        """See that the build finds as much room on the host's disk as it shall."""
        self.machine.engine.tidy()
        wanted = self.shop.limits.min_free
        free = self.machine.engine.free() if wanted else 0
        if free < wanted:
            raise DiskFull(
                self.machine.name,
                f"{free / 1e6:.0f} MB free on its disk, and a build shall find"
                f" {wanted / 1e6:.0f} MB (`limits: min_free`)",
                hint=f"fleet prune --limit {self.machine.name} --keep 1d;"
                " then on it: docker image prune",
            )

    def _pull(self, base: Reference) -> None:
        self.machine.engine.pull(
            self.machine.route(base),
            self.job.id.platform,
            self.shop.credentials.for_registry(base.registry),
        )

    def _takes_layers(self) -> bool:
        return self.job.recipe.image.cache is LayerCache.REGISTRY

    def _from_scratch(self) -> bool:
        return self.shop.no_cache or self.job.anew

    def _fetch_layers(self) -> None:
        """Have the last published image on the host, for its layers. A build does without it, too.

        BuildKit takes them from the engine's own images: so the registry's password
        stays with this very pull, where BuildKit would look for one on the host.
        """
        id, shop = self.job.id, self.shop
        name = arch_reference(shop.repositories[id.image], shop.tags[id.image][0], id.platform)
        try:
            found = self._retry(Step.SYNC, lambda: shop.registry.image(name, id.platform))
            last = name.pinned(found.digest)
            self._retry(Step.SYNC, partial(self._pull, last))
        except NotInRegistry:
            return  # the first build of all
        except (RegistryError, PullFailed) as error:
            said = f"{id} is built without the layers of {name}: {error.message}"
            shop.emit(Notice(host=self.machine.name, message=said))
            return
        self._cached = last

    def _build(self) -> BuiltImage:
        on_lines = self._lines(Step.BUILD)

        def attempt() -> BuiltImage:
            # After a drop the order is the same build: it is followed again, not
            # repeated. Only the tunnel's port in its references may have moved.
            first, self._started = not self._started, True
            order = self._order()
            if first:
                self._ordered(order)
            collect = self.shop.resumed or (self.shop.collect and not self.job.anew)
            return self.machine.engine.build(order, on_lines, attach=collect or not first)

        built = self._retry(Step.BUILD, attempt)
        self._detail = COLLECTED if built.collected else ""
        return built

    def _ordered(self, order: BuildOrder) -> None:
        """Tell under which name the host keeps the build, for whoever wants to find it again."""
        self.on_order(order.key)
        self.shop.emit(
            BuildOrdered(
                job=self.job.id, host=self.machine.name, attempt=self.attempt, key=order.key
            )
        )

    def _smoke(self, built: BuiltImage) -> None:
        on_lines = self._lines(Step.SMOKE)
        self._retry(
            Step.SMOKE,
            lambda: self.machine.engine.smoke(
                built, self.job.id.platform, self.job.recipe.image.smoke, on_lines
            ),
        )

    def _push(self, built: BuiltImage) -> str:
        digest = ""
        for tag in self.shop.tags[self.job.id.image]:
            digest = self._retry(Step.PUSH, partial(self._push_as, tag, built))
        self._detail = digest
        return digest

    def _push_as(self, tag: str, built: BuiltImage) -> str:
        repository = self.shop.repositories[self.job.id.image]
        try:
            return self.machine.engine.push(
                built,
                self.machine.route(arch_reference(repository, tag, self.job.id.platform)),
                self.shop.credentials.for_registry(repository.registry),
                self._lines(Step.PUSH),
            )
        except PushFailed as error:
            raise self._second_opinion(repository, error) from error

    def _second_opinion(self, repository: Reference, error: PushFailed) -> FleetError:
        """What a push failed of, once the registry itself was asked.

        The Docker daemon keeps a Retry-After to itself. And where its first question
        meets a 503, it learns of no need for credentials, sends none, and is refused
        when the registry is well again.
        """
        denied = "unauthorized" in error.message
        if not error.transient and (not denied or self._doubted):
            return error
        try:
            self.shop.registry.ping(repository.registry)
        except RegistryBusy as busy:
            if busy.retry_after is None:
                return error
            said = f"{error.message} ({busy.message})"
            return RegistryBusy(said, retry_after=busy.retry_after)
        except FleetError:
            return error  # the push's own words say more
        if error.transient:
            return error
        self._doubted = True
        said = f"{error.message} (and yet it takes the credentials from the controller)"
        said = said.removeprefix(f"{error.host}: ")
        return PushFailed(error.host, said, transient=True, hint=error.hint)

    def _verify(self, digest: str) -> PublishedImage:
        platform = self.job.id.platform
        reference = self.shop.repositories[self.job.id.image].pinned(digest)
        image = self._retry(Step.VERIFY, lambda: self.shop.registry.image(reference, platform))
        if image.platform != platform:
            raise IndexNotWhole(
                f"{reference} says in its configuration that it is for {image.platform},"
                f" and not for {platform}"
            )
        return image

    # --- what they are made of ------------------------------------------------------------

    def _bases(self) -> dict[str, Reference]:
        """Every base and parent, as the Dockerfile writes it, by digest."""
        return pinned_bases(self.job, self.parents)

    def _foundation(self, bases: Mapping[str, Reference]) -> tuple[Reference, str] | None:
        """What the image stands on: its name as people know it, and its digest."""
        for use in self.job.recipe.bases_for(self.job.id.platform):
            if use.written not in bases:
                continue
            digest = bases[use.written].digest
            if not use.foundation or digest is None:
                continue
            if use.parent is None:
                return Reference.parse(use.written), digest
            tag = self.shop.tags[use.parent][0]
            return self.shop.repositories[use.parent].tagged(tag), digest
        return None

    def _order(self) -> BuildOrder:
        job, platform, image = self.job, self.job.id.platform, self.job.recipe.image
        bases = self._bases()
        inputs = inputs_of(
            recipe=job.recipe,
            platform=platform,
            bases=dict(job.pins),
            parents={id.image: image.digest for id, image in self.parents.items()},
        )
        return BuildOrder(
            key=inputs.digest,
            job=job.id,
            platform=platform,
            dockerfile=pin(
                job.recipe,
                platform,
                {written: str(self.machine.route(base)) for written, base in bases.items()},
            ),
            context=job.recipe.context,
            target=image.target,
            build_args=fitted(job.recipe, platform, self.machine.report),
            attestations=image.attestations,
            labels=labels(
                job,
                inputs=inputs,
                version=image.version or self.shop.tags[image.name][0],
                emulated=self.machine.report.emulates(platform),
                provenance=self.shop.provenance,
                base=self._foundation(bases),
                host=self.machine.name if self.shop.record_host else None,
            ),
            no_cache=self._from_scratch(),
            cache_from=str(self.machine.route(self._cached)) if self._cached else None,
            inline_cache=self._takes_layers(),
            longest=self.shop.limits.build,
            silence=self.shop.limits.silence,
        )

    # --- how they are told ----------------------------------------------------------------

    @contextmanager
    def _step(self, step: Step) -> Iterator[None]:
        began, self._detail = time.monotonic(), ""
        who = {"job": self.job.id, "host": self.machine.name, "attempt": self.attempt}
        self.shop.emit(StepStarted(step=step, **who))  # type: ignore[arg-type]
        ok = False
        try:
            yield
            ok = True
        finally:
            spent = time.monotonic() - began
            self.shop.emit(
                StepFinished(step=step, seconds=spent, ok=ok, detail=self._detail, **who)  # type: ignore[arg-type]
            )

    def _lines(self, step: Step) -> Callable[[str], None]:
        def on_lines(text: str) -> None:
            self.shop.emit(
                LogLines(
                    job=self.job.id,
                    host=self.machine.name,
                    attempt=self.attempt,
                    step=step,
                    text=text,
                )
            )

        return on_lines

    def _retry(self, step: Step, operation: Callable[[], T]) -> T:
        def before_wait(error: FleetError, wait: float) -> None:
            self.shop.emit(
                RetryScheduled(
                    job=self.job.id,
                    host=self.machine.name,
                    attempt=self.attempt,
                    step=step,
                    wait=wait,
                    error=ErrorInfo.of(error),
                )
            )

        def with_room() -> T:
            self.check()
            try:
                return operation()
            except DiskFull as error:
                if self._pruned:
                    raise
                self._pruned = True
                before_wait(error, 0.0)
                self._prune()
            return operation()

        attempts = self.job.recipe.image.attempts
        policy = self.shop.policy
        return retry(
            with_room,
            policy=replace(policy, attempts=attempts) if attempts else policy,
            stop=self.shop.stop,
            before_wait=before_wait,
        )

    def _prune(self) -> None:
        """Make room on the host, of what fleet itself has left there."""
        engine = self.machine.engine
        before = engine.free()
        gone = engine.make_room(_LEFTOVER)
        freed = max(0, engine.free() - before)
        self.shop.emit(
            Notice(
                host=self.machine.name,
                message=f"{self.machine.name}: removed {number_of(gone)}, for {freed / 1e6:.0f} MB",
            )
        )
