"""One job on one host: sync, build, smoke, push, verify."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from fleet.engine import BuildOrder, BuiltImage
from fleet.errors import FleetError, IndexNotWhole
from fleet.events import Emit, LogLine, RetryScheduled, StepFinished, StepStarted
from fleet.models import ErrorInfo, Job, JobId, LeftImage, PublishedImage, Step
from fleet.plan import arch_reference, inputs_of, pinned_bases
from fleet.recipes import pin
from fleet.references import Reference
from fleet.registry import CredentialStore, Registry
from fleet.run.labels import labels
from fleet.run.machine import Machine
from fleet.run.provenance import Provenance
from fleet.run.retry import Policy, retry
from fleet.run.sign import Signer

T = TypeVar("T")


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
    no_cache: bool = False
    push: bool = True  # what is built stays on its host otherwise
    record_host: bool = False
    signer: Signer | None = None
    # Started builds of this run are followed again after a drop, never repeated;
    # with --force those of earlier runs are not collected.
    collect: bool = True


@dataclass(kw_only=True)
class Task:
    """A job on its way over one host. Its steps are called in the order of ``run``."""

    shop: Shop
    job: Job
    machine: Machine
    attempt: int
    parents: Mapping[JobId, PublishedImage | LeftImage]
    _detail: str = field(default="", init=False)
    _started: bool = field(default=False, init=False)

    def run(self) -> PublishedImage | LeftImage:
        """Do the job. Raises what its last attempt at a step raised."""
        with self._step(Step.SYNC):
            self._sync()
        with self._step(Step.BUILD):
            built = self._build()
        with self._step(Step.SMOKE):
            self._smoke(built)
        if not self.shop.push:
            name = Reference.parse(built.tag)
            return LeftImage(host=self.machine.name, reference=name, digest=built.id)
        with self._step(Step.PUSH):
            digest = self._push(built)
        with self._step(Step.VERIFY):
            return self._verify(digest)

    # --- the steps ------------------------------------------------------------------------

    def _sync(self) -> None:
        sent = self._retry(Step.SYNC, lambda: self.machine.engine.sync(self.job.recipe.context))
        self._detail = "context sent" if sent else "context was there"
        left = {it.reference for it in self.parents.values() if isinstance(it, LeftImage)}
        for base in self._bases().values():
            if base in left:
                continue  # it is on this very host
            self._retry(Step.SYNC, partial(self._pull, base))

    def _pull(self, base: Reference) -> None:
        self.machine.engine.pull(
            self.machine.route(base),
            self.job.id.platform,
            self.shop.credentials.for_registry(base.registry),
        )

    def _build(self) -> BuiltImage:
        on_line = self._lines(Step.BUILD)

        def attempt() -> BuiltImage:
            # After a drop the order is the same build: it is followed again, not
            # repeated. Only the tunnel's port in its references may have moved.
            first, self._started = not self._started, True
            collect = self.shop.collect and not self.job.anew
            return self.machine.engine.build(self._order(), on_line, attach=collect or not first)

        return self._retry(Step.BUILD, attempt)

    def _smoke(self, built: BuiltImage) -> None:
        on_line = self._lines(Step.SMOKE)
        self._retry(
            Step.SMOKE,
            lambda: self.machine.engine.smoke(
                built, self.job.id.platform, self.job.recipe.image.smoke, on_line
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
        return self.machine.engine.push(
            built,
            self.machine.route(arch_reference(repository, tag, self.job.id.platform)),
            self.shop.credentials.for_registry(repository.registry),
            self._lines(Step.PUSH),
        )

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
            build_args=image.args_for(platform),
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
            no_cache=self.shop.no_cache or job.anew,
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
        def on_line(line: str) -> None:
            self.shop.emit(
                LogLine(
                    job=self.job.id,
                    host=self.machine.name,
                    attempt=self.attempt,
                    step=step,
                    line=line,
                )
            )

        return on_line

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

        return retry(
            operation, policy=self.shop.policy, stop=self.shop.stop, before_wait=before_wait
        )
