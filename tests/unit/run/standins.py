"""Stand-ins for hosts, engines and a registry, so that the executor can be tested by itself.

They keep the signatures of the real ones, which are tested on real machines in
``tests/lab`` and with real servers in ``tests/real``. An engine here "builds" at
once; ``Stage.fault`` makes a step of it fail, or do anything else that a test wants.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fleet.engine import BuildOrder, BuiltImage
from fleet.errors import ConnectionLost, NotInRegistry
from fleet.events import BuildOrdered, Event, to_json
from fleet.models import (
    Credentials,
    Descriptor,
    HostReport,
    IndexOutcome,
    JobId,
    Leftover,
    LeftoverKind,
    Limits,
    Outcome,
    Plan,
    PublishedImage,
    PublishedIndex,
    pairs,
)
from fleet.plan import Experience
from fleet.platforms import Platform
from fleet.references import Reference
from fleet.registry import CredentialStore
from fleet.run.cancel import Reopen
from fleet.run.execute import execute
from fleet.run.job import Shop
from fleet.run.machine import Machine
from fleet.run.provenance import Provenance
from fleet.run.renting import Rental
from fleet.run.retry import Policy
from fleet.run.sign import Signer
from tests.unit.plan.builders import REGISTRY, Fleet, digest_of, repository

PASSWORD = "hunter2-and-more"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(kw_only=True)
class Fault:
    """Something that befalls a step; what is None fits everything."""

    do: Callable[[], None]
    step: str
    image: str | None
    platform: Platform | None
    host: str | None
    times: int


class StandInRegistry:
    """Keeps images and indexes in dictionaries."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.images: dict[str, PublishedImage] = {}  # by repository@digest
        self.tags: dict[str, tuple[bytes, str]] = {}
        self.puts: list[str] = []

    def image(self, reference: Reference, platform: Platform | None = None) -> PublishedImage:
        self.stage.happens("verify", image=reference.repository.split("/")[-1], platform=platform)
        return self._image(reference)

    def describe(self, reference: Reference) -> Descriptor:
        if reference.digest:
            return self._image(reference).descriptor
        if str(reference) not in self.tags:
            raise NotInRegistry(f"{reference} is not there")
        body, media_type = self.tags[str(reference)]
        return Descriptor(media_type=media_type, digest=digest_of(body.decode()), size=len(body))

    def index(self, reference: Reference) -> PublishedIndex:
        found = self.describe(reference)
        told = json.loads(self.tags[str(reference)][0])
        return PublishedIndex(
            reference=reference,
            digest=found.digest,
            media_type=found.media_type,
            members=tuple(self._member(reference, child) for child in told["manifests"]),
            annotations=pairs(told.get("annotations", {})),
        )

    def manifest(self, reference: Reference) -> Any:
        image = self._image(reference)
        return SimpleNamespace(body=b"manifest", descriptor=image.descriptor)

    def ping(self, registry: str) -> None:
        self.stage.happens("ping")

    def put_manifest(self, reference: Reference, body: bytes, media_type: str) -> str:
        self.stage.happens("stitch", image=reference.repository.split("/")[-1])
        self.puts.append(str(reference))
        self.tags[str(reference)] = (body, media_type)
        return digest_of(body.decode())

    def _image(self, reference: Reference) -> PublishedImage:
        if str(reference) not in self.images:
            raise NotInRegistry(f"{reference} is not there")
        return self.images[str(reference)]

    def _member(self, reference: Reference, child: dict[str, Any]) -> PublishedImage:
        image = self._image(reference.pinned(child["digest"]))
        platform = Platform.of(**child["platform"])
        return replace(image, descriptor=replace(image.descriptor, platform=platform))


class StandInHost:
    """A connection that can be closed, which ends what waits on it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = threading.Event()

    def wait_for_close(self) -> None:
        assert self.closed.wait(60), "nobody closed the connection"
        raise ConnectionLost(self.name, "the connection was closed")

    def close(self) -> None:
        self.closed.set()


class StandInEngine:
    """Does at once whatever it is asked to do, and writes it down."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.name = name

    def _happens(self, step: str, job: JobId | None = None, image: str = "") -> None:
        self.stage.happens(
            step,
            host=self.name,
            image=job.image if job else image,
            platform=job.platform if job else None,
        )

    def sync(self, context: Any) -> bool:
        self._happens("sync", image=context.root.name)
        return True

    def free(self) -> int:
        self._happens("room")
        return self.stage.free

    def tidy(self) -> None:
        self._happens("tidy")

    def make_room(self, age: float) -> tuple[Leftover, ...]:
        self._happens("make room")
        self.stage.free += 3_000_000
        kinds = (LeftoverKind.IMAGE, LeftoverKind.CONTEXT, LeftoverKind.CONTEXT)
        return tuple(Leftover(kind=kind, name="x", used=age) for kind in kinds)

    def answer(self) -> None:
        self._happens("answer")

    def cancel(self, key: str) -> None:
        self._happens("cancel")
        self.stage.cancelled.append((self.name, key))

    def pull(self, reference: Reference, platform: Platform, who: Credentials | None) -> None:
        self.stage.pulled.append(str(reference))

    def build(self, order: BuildOrder, on_lines: Any, *, attach: bool = True) -> BuiltImage:
        on_lines(f"building {order.job}\nas ordered")
        self._happens("build", order.job)
        self.stage.orders[order.job] = order
        return BuiltImage(id=digest_of(order.key), key=order.key, tag=order.tag)

    def smoke(self, built: BuiltImage, platform: Platform, command: Any, on_lines: Any) -> None:
        self._happens("smoke", self._order(built).job)

    def push(
        self, built: BuiltImage, reference: Reference, who: Credentials | None, on_lines: Any
    ) -> str:
        order = self._order(built)
        self._happens("push", order.job)
        self.stage.shown.append(who)
        digest = digest_of(f"manifest {order.key} {self.name}")
        self.stage.registry.images[str(reference.pinned(digest))] = PublishedImage(
            reference=reference.pinned(digest),
            descriptor=Descriptor(media_type=MANIFEST, digest=digest, size=7),
            platform=order.platform,
            labels=order.labels,
            created=None,
            size=1000,
        )
        return digest

    def _order(self, built: BuiltImage) -> BuildOrder:
        orders = list(self.stage.orders.values())  # others add theirs meanwhile
        return next(order for order in orders if order.key == built.key)


@dataclass(kw_only=True)
class Stage:
    """A fleet on which a plan can be run."""

    fleet: Fleet
    folder: Path  # empty: no configuration of Docker is found there
    policy: Policy = field(
        default_factory=lambda: Policy(attempts=2, first_wait=0.0, longest_wait=0.0)
    )
    provenance: Provenance = field(
        default_factory=lambda: Provenance(created=1_700_000_000, revision="4bca1", source=None)
    )
    push: bool = True
    signer: Signer | None = None
    on_event: Callable[[Event], None] = lambda event: None
    events: list[Event] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    orders: dict[JobId, BuildOrder] = field(default_factory=dict)
    pulled: list[str] = field(default_factory=list)
    shown: list[Credentials | None] = field(default_factory=list)
    cancelled: list[tuple[str, str]] = field(default_factory=list)
    free: int = 1 << 40
    limits: Limits = field(default_factory=Limits)
    allow_partial: bool = False
    experience: Experience | None = None
    speculate: bool = False

    def __post_init__(self) -> None:
        self.registry = StandInRegistry(self)
        self.hosts = {r.spec.name: StandInHost(r.spec.name) for r in self.fleet.reports if r.facts}
        self.stop = threading.Event()
        self._lock = threading.Lock()

    def fault(
        self,
        what: Exception | Callable[[], None],
        *,
        step: str,
        image: str | None = None,
        platform: Platform | None = None,
        host: str | None = None,
        times: int = 1,
    ) -> None:
        """Let something happen at a step: an exception is raised, a function called."""

        def throw() -> None:
            assert isinstance(what, Exception)
            raise what

        self.faults.append(
            Fault(
                do=throw if isinstance(what, Exception) else what,
                step=step,
                image=image,
                platform=platform,
                host=host,
                times=times,
            )
        )

    def happens(
        self,
        step: str,
        *,
        image: str = "",
        platform: Platform | None = None,
        host: str | None = None,
    ) -> None:
        """Let the first fault that fits befall this step."""
        with self._lock:
            for fault in self.faults:
                wanted = (fault.step, fault.image, fault.platform, fault.host)
                here = (step, image, platform, host)
                if fault.times and all(w in (None, h) for w, h in zip(wanted, here, strict=True)):
                    fault.times -= 1
                    break
            else:
                return
        fault.do()

    def run(
        self,
        plan: Plan | None = None,
        *,
        publish: bool = True,
        name: str = "RUN",
        reopen: Reopen | None = None,
        rental: Rental | None = None,
    ) -> tuple[tuple[Outcome, ...], tuple[IndexOutcome, ...]]:
        """Execute a plan, by default that of everything; hosts to be rented are no machines yet."""
        plan = plan or self.fleet.plan()
        return execute(
            plan if publish else replace(plan, indexes=()),
            shop=self.shop(),
            machines={
                report.spec.name: self.machine(report)
                for report in self.fleet.reports
                if not report.to_come
            },
            log_path=lambda job, attempt: Path(f"{job.slug}.{attempt}.log"),
            experience=self.experience,
            run=name,
            reopen=reopen,
            rental=rental,
        )

    def shop(self) -> Shop:
        def emit(event: Event, /) -> None:
            self.events.append(event)
            self.on_event(event)

        return Shop(
            registry=self.registry,  # type: ignore[arg-type]
            credentials=CredentialStore(
                REGISTRY.address,
                environ={
                    "FLEET_REGISTRY_USERNAME": "robot",
                    "FLEET_REGISTRY_PASSWORD": PASSWORD,
                    "DOCKER_CONFIG": str(self.folder),
                    "HOME": str(self.folder),
                },
            ),
            repositories={
                recipe.image.name: repository(REGISTRY, recipe.image.name)
                for recipe in self.fleet.recipes
            },
            tags={recipe.image.name: self.fleet.tags for recipe in self.fleet.recipes},
            provenance=self.provenance,
            policy=self.policy,
            emit=emit,
            stop=self.stop,
            limits=self.limits,
            allow_partial=self.allow_partial,
            push=self.push,
            speculate=self.speculate,
            signer=self.signer,
        )

    def machine(self, report: HostReport) -> Machine:
        name = report.spec.name
        return Machine(
            report=report,
            host=self.hosts[name],  # type: ignore[arg-type]
            engine=StandInEngine(self, name),  # type: ignore[arg-type]
            tunnelled={},
        )

    @property
    def ordered(self) -> dict[JobId, str]:
        """The key of each build that was begun."""
        return {e.job: e.key for e in self.events if isinstance(e, BuildOrdered)}

    def told(self, *kinds: type[Event]) -> list[Any]:
        """The events of some types, in the order in which they were told."""
        return [event for event in self.events if isinstance(event, kinds)]

    @property
    def record(self) -> str:
        """Everything that readers were shown, as the record keeps it."""
        return "\n".join(json.dumps(to_json(event)) for event in self.events)


class StandInRental:
    """Has hosts up at once, and writes down what it is asked for."""

    def __init__(self, stage: Stage, *hosts: HostReport) -> None:
        """``hosts`` are what comes of renting: facts, or an error."""
        self.stage = stage
        self.coming = {report.spec.name: report for report in hosts}
        self.hosts = {name: report.spec for name, report in self.coming.items()}
        self.asked: list[str] = []
        self.given_back: list[str] = []

    def rent(self, host: str) -> Machine:
        self.asked.append(host)
        self.stage.happens("rent", host=host)
        self.stage.hosts[host] = StandInHost(host)
        return self.stage.machine(self.coming[host])

    def release(self, host: str) -> bool:
        self.given_back.append(host)
        return True


def ends(outcomes: tuple[Outcome, ...]) -> Mapping[str, str]:
    """How each job ended: ``image platform`` -> ``status``, or ``status: reason``."""
    return {
        str(o.id): f"{o.status}@{o.host}" if o.good and o.host else f"{o.status}: {o.reason}"
        for o in outcomes
    }
