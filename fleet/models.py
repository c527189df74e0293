"""The values that travel through fleet: frozen, keyword-only, tuples inside.

They are made at the border (``inventory/``, ``recipes/``, ``hosts/``,
``registry/``) and only read from there on. The order below is the order in
which a build meets them: what was asked for, what is to be built, what the
hosts are, what the registry holds, what is planned, what became of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from fleet.errors import FleetError
from fleet.platforms import Platform
from fleet.references import Reference

# The labels and annotations of fleet's own. The `architecture` label and the
# org.opencontainers.image.* labels carry the rest.
LABEL_INPUTS = "io.xarch-fleet.inputs"
LABEL_PARTS = "io.xarch-fleet.inputs.parts"  # the text that the former is the digest of
LABEL_EMULATED = "io.xarch-fleet.emulated"
LABEL_VERSION = "io.xarch-fleet.version"
LABEL_PARTIAL = "io.xarch-fleet.partial"  # of an index: the platforms that a run could not renew
LABEL_HOST = "io.xarch-fleet.host"

Pairs = tuple[tuple[str, str], ...]  # a frozen mapping, sorted by key


def pairs(mapping: Mapping[str, str]) -> Pairs:
    """A mapping as sorted pairs, as frozen values keep them."""
    return tuple(sorted(mapping.items()))


# --- what was asked for -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Location:
    """A place in a file; lines and columns count from 1."""

    file: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, kw_only=True)
class RegistrySpec:
    """Where images go.

    ``address`` is ``host[:port]``; None stands for the embedded registry, whose
    port is known once it runs. ``tunnel`` carries it to the hosts over SSH.
    ``ca`` is a file of the authority that signed its certificate, where that is
    none that the controller's system knows. A mirror is named likewise.
    """

    address: str | None
    prefix: str = ""  # path before every image's name, without slashes at its ends
    plain_http: bool = False
    tunnel: bool = False
    ca: Path | None = None

    @property
    def embedded(self) -> bool:
        """Whether fleet runs this registry itself, on the controller."""
        return self.address is None


class Connection(StrEnum):
    """How the controller reaches a host."""

    SSH = "ssh"
    LOCAL = "local"


@dataclass(frozen=True, kw_only=True)
class Provision:
    """Commands on the controller that rent a host, and that give it back.

    ``up`` prints where the host is as JSON, which ``down`` is given. ``timeout``, in
    seconds, is for each of them, and for the host to be ready once ``up`` has ended.
    """

    up: tuple[str, ...]
    down: tuple[str, ...]
    folder: Path  # that they run in
    timeout: float = 600.0
    location: Location | None = None


@dataclass(frozen=True, kw_only=True)
class HostSpec:
    """A build host as the inventory names it. What it can do is for probing to find out.

    Where one that is rented is, and whose key it shows, is known while it is up alone.
    """

    name: str
    connection: Connection = Connection.SSH
    address: str = ""  # a host name, an IP address, or an alias of ~/.ssh/config
    user: str | None = None  # None: what ssh_config says, else the controller's user
    port: int | None = None
    identity_file: Path | None = None
    slots: int = 1  # jobs at the same time
    platforms: tuple[Platform, ...] | None = None  # a limit on what probing finds
    emulate: tuple[Platform, ...] = ()  # platforms that this host may emulate
    state: str = "~/.cache/fleet"  # fleet's folder on the host
    provision: Provision | None = None  # how it is rented
    host_keys: tuple[str, ...] = ()  # `ssh-ed25519 AAAA...`: these, and no known_hosts file
    groups: tuple[str, ...] = ()
    location: Location | None = None


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """A command that is run on the controller before a context is read, in that folder."""

    command: tuple[str, ...]
    folder: Path
    location: Location | None = None


class Attestation(StrEnum):
    """What BuildKit can attest of a build, beside the image."""

    PROVENANCE = "provenance"
    SBOM = "sbom"


class LayerCache(StrEnum):
    """Where a build looks for layers that were made before."""

    HOST = "host"  # what its host has built itself
    REGISTRY = "registry"  # that, and the image of its platform that was published last


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """An image as the inventory names it.

    ``platform_args`` are build arguments whose value is a platform's own.
    ``contexts`` go from a name that the Dockerfile builds on to the image that it
    stands for, which may be one of this fleet. ``aliases`` are repositories by
    which Dockerfiles mean this image, besides its name.
    """

    name: str
    context: Path
    dockerfile: Path
    build_args: Pairs = ()
    platform_args: tuple[tuple[Platform, Pairs], ...] = ()
    labels: Pairs = ()
    contexts: Pairs = ()
    aliases: tuple[str, ...] = ()
    target: str | None = None
    platforms: tuple[Platform, ...] | None = None  # None: the inventory's, else the hosts' own
    smoke: tuple[str, ...] | None = None  # a command that must exit 0 in the image
    attempts: int | None = None  # how often a step is tried; None: as --retries says
    memory_per_job: int = 1_000_000_000  # bytes that one compiler of its build needs
    allow_partial: bool = False  # publish the platforms that are whole where others failed
    cache: LayerCache = LayerCache.HOST
    version: str | None = None  # what `{version}` in a tag stands for, and a label says
    attestations: tuple[Attestation, ...] = ()  # that the engine is to make, where it can
    tags: tuple[str, ...] = ()  # filled in; the first is where the registry is asked
    prepare: Preparation | None = None
    location: Location | None = None

    def args_for(self, platform: Platform) -> Pairs:
        """The build arguments for one platform."""
        return pairs({**dict(self.build_args), **dict(dict(self.platform_args).get(platform, ()))})

    def with_args(self, args: Mapping[str, str]) -> ImageSpec:
        """The same with some build arguments instead of its own, on every platform."""
        own = ((p, tuple(a for a in of if a[0] not in args)) for p, of in self.platform_args)
        return replace(
            self,
            build_args=pairs({**dict(self.build_args), **args}),
            platform_args=tuple((platform, of) for platform, of in own if of),
        )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a run bears before it gives up. Times in seconds, sizes in bytes; 0 is no limit."""

    build: float = 6 * 3600.0  # for one build, from its start on its host
    silence: float = 30 * 60.0  # for a build that prints nothing
    host_wait: float = 5 * 60.0  # for a host that was lost and that no other stands in for
    min_free: int = 1_000_000_000  # disk that a build finds on its host


class Occasion(StrEnum):
    """What somebody is told of."""

    FAILURE = "failure"
    RECOVERY = "recovery"  # a run went well, and the one before it had not
    PARTIAL = "partial"
    SUCCESS = "success"


@dataclass(frozen=True, kw_only=True)
class Notify:
    """Who is told of the end of a run, and of which. The URLs may hold passwords."""

    urls: tuple[str, ...] = field(default=(), repr=False)  # as Apprise takes them
    on: tuple[Occasion, ...] = (Occasion.FAILURE, Occasion.RECOVERY, Occasion.PARTIAL)
    healthcheck: str | None = field(default=None, repr=False)
    textfile: Path | None = None  # for Prometheus


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """One file: what is built, where, and where it goes. Hosts and images in file order.

    ``tags`` may hold placeholders; those of an image are filled in. ``record_host``
    has images say on which host they were built.
    """

    path: Path
    registry: RegistrySpec
    tags: tuple[str, ...]
    hosts: tuple[HostSpec, ...]
    images: tuple[ImageSpec, ...]
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    platforms: tuple[Platform, ...] | None = None
    ssh_config: Path | None = None  # instead of ~/.ssh/config
    limits: Limits = Limits()
    sign: tuple[str, ...] | None = None  # a command that signs a published index
    record_host: bool = False
    speculate: bool = False  # slow jobs are begun a second time on idle hosts
    keep_runs: int = 100  # records that stay on the controller
    notify: Notify = Notify()
    mirrors: tuple[tuple[str, RegistrySpec], ...] = ()  # by the registry that each stands for
    warnings: tuple[str, ...] = ()  # about what it is made from, with places


# --- what is to be built ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class BaseUse:
    """One image that a Dockerfile builds on, for one platform (FROM, COPY --from, RUN --mount).

    ``written`` is the reference with its ARGs expanded. ``parent`` names the
    image of this fleet that it means; it is None for an image from elsewhere.
    ``foundation`` marks the one that the image itself stands on, whose layers are
    its lowest; an image made FROM scratch has none.
    """

    written: str
    line: int
    parent: str | None = None
    foundation: bool = False


@dataclass(frozen=True, kw_only=True)
class ContextFile:
    """One entry of a build context: ``path`` is relative, with ``/``."""

    path: str
    mode: int  # permission bits as they go into the tar
    size: int = 0
    digest: str = ""  # of a file's bytes, ``sha256:...``; empty for others
    link: str | None = None  # a symbolic link's target
    directory: bool = False


@dataclass(frozen=True, kw_only=True)
class Context:
    """A build context after .dockerignore: content, path and mode decide its digest."""

    root: Path
    files: tuple[ContextFile, ...]  # sorted by path
    digest: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An image, its Dockerfile and its context, read and understood.

    ``bases`` holds, per platform, what the Dockerfile builds on; it may differ
    between platforms (``FROM base-${TARGETARCH}``).
    """

    image: ImageSpec
    dockerfile: str  # the text as it was read
    context: Context
    bases: tuple[tuple[Platform, tuple[BaseUse, ...]], ...]

    def bases_for(self, platform: Platform) -> tuple[BaseUse, ...]:
        """What the Dockerfile builds on for one platform."""
        return dict(self.bases)[platform]

    def parents_for(self, platform: Platform) -> tuple[str, ...]:
        """The images of this fleet that it builds on, each once, in order of use."""
        return tuple(dict.fromkeys(b.parent for b in self.bases_for(platform) if b.parent))

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms that this image is wanted for."""
        return tuple(platform for platform, _ in self.bases)


# --- what the hosts are -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PlatformProof:
    """Whether a host executes a platform, and what proves it.

    ``native``: the test executable ran and no binfmt handler serves it.
    ``emulator``: the handler that would serve it. ``runs``: whether the executable ran
    at all, natively or not. ``reason`` is for people.
    """

    platform: Platform
    native: bool
    emulator: str | None
    reason: str
    runs: bool = True


class Builder(StrEnum):
    """How an engine is made to build with BuildKit."""

    BUILDX = "buildx"  # the buildx plugin, CLI 23 and newer
    INTEGRATED = "integrated"  # DOCKER_BUILDKIT=1 of CLI 18.09 to 22


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """A Docker Engine as it introduced itself."""

    version: str
    api_version: str
    cli_version: str
    architecture: str  # as Docker names it: amd64, arm64, arm
    builder: Builder
    builder_version: str  # of buildx; the engine's own where BuildKit is integrated
    storage_driver: str
    containerd_store: bool  # images live in containerd: arch tags may come out as indexes
    root_dir: str

    @property
    def attests(self) -> bool:
        """Whether it can keep attestations beside an image: others have no room for them."""
        return self.builder is Builder.BUILDX and self.containerd_store


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """What probing found on a host. Sizes in bytes, times in seconds."""

    host: str
    machine: str  # uname -m, for people; it proves nothing
    kernel: str
    system: str  # the distribution's own name
    cores: int
    memory: int
    memory_available: int
    disk_free: int  # where the engine keeps its images
    clock_skew: float  # the host's clock minus the controller's
    engine: EngineFacts
    proofs: tuple[PlatformProof, ...]
    home: str = "/root"

    @property
    def native(self) -> tuple[Platform, ...]:
        """The platforms proven native."""
        return tuple(proof.platform for proof in self.proofs if proof.native)

    @property
    def own(self) -> Platform | None:
        """The one of them that is the engine's own: arm64, on a host that executes arm/v7 as well.

        Of several variants it is the plain one, else the highest.
        """
        same = [p for p in self.native if p.architecture == self.engine.architecture]
        return max(same, key=lambda p: (p.variant is None, p.variant or ""), default=None)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A rented host that is up, or may be, as the controller remembers it.

    It is written before ``up`` is run, so that a controller that is killed leaves it
    behind. ``told`` is what ``up`` has printed, as far as it came.
    """

    host: str
    run: str  # that rented it; empty: somebody by hand
    since: float  # seconds since the epoch
    provision: Provision
    told: str = field(default="", repr=False)  # it is the provider's, and may hold secrets


def printed_object(told: str) -> dict[str, Any] | None:
    """The JSON object that an ``up`` has printed: all that it printed, or the last line of it."""
    for text in (told, told.rstrip().rpartition("\n")[2]):
        try:
            value = json.loads(text)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    return None


@dataclass(frozen=True, kw_only=True)
class HostReport:
    """One host after probing: either facts, or what is wrong (one sentence and a remedy).

    A host to be rented has neither until it is up.
    """

    spec: HostSpec
    facts: HostFacts | None = None
    error: ErrorInfo | None = None
    lease: Lease | None = None  # of a host that is rented, and is up

    @property
    def to_come(self) -> bool:
        """Whether it is a host to be rented: until it is up, the inventory's word is taken."""
        return self.facts is None and self.error is None and self.spec.provision is not None

    def may_build(self, platform: Platform) -> bool:
        """Whether a job for the platform may run here: proven native, or emulation allowed."""
        return self.refusal(platform) is None

    def emulates(self, platform: Platform) -> bool:
        """Whether a job for the platform would be emulated here, as the inventory allows."""
        if self.to_come:
            return platform in self.spec.emulate
        return self.facts is not None and platform not in self.facts.native

    def refusal(self, platform: Platform) -> str | None:
        """Why a job for the platform may not run here; None where it may."""
        if self.facts is None and not self.to_come:
            return self.error.message if self.error else "it was not probed"
        if self.spec.platforms is not None and platform not in self.spec.platforms:
            return f"the inventory limits it to {', '.join(map(str, self.spec.platforms))}"
        if self.facts is None:
            return None
        proof = next((p for p in self.facts.proofs if p.platform == platform), None)
        if proof is None:
            return f"it was not probed for {platform}"
        if proof.native:
            return None
        if platform in self.spec.emulate and proof.emulator is not None and proof.runs:
            return None
        return proof.reason


# --- what the registry holds --------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """A content descriptor of the OCI image specification. ``size`` in bytes."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: Pairs = ()


@dataclass(frozen=True, kw_only=True)
class PublishedImage:
    """One image of one platform as the registry holds it.

    ``platform`` and ``labels`` are read from the configuration blob, never from
    what somebody asked for. ``size`` is that of the compressed layers, in bytes.
    The platform and the annotations of ``descriptor`` are what the index says
    that led to the image, where one did.
    """

    reference: Reference  # by digest
    descriptor: Descriptor
    platform: Platform
    labels: Pairs
    created: str | None
    size: int
    attestations: tuple[Descriptor, ...] = ()  # BuildKit's, that stood beside it in an index

    @property
    def digest(self) -> str:
        """The digest of its manifest."""
        return self.descriptor.digest

    @property
    def inputs(self) -> str | None:
        """The inputs digest of the job that made it, where fleet made it."""
        return dict(self.labels).get(LABEL_INPUTS)

    @property
    def parts(self) -> str | None:
        """The text of those inputs, as ``plan.inputs`` writes it."""
        return dict(self.labels).get(LABEL_PARTS)


@dataclass(frozen=True, kw_only=True)
class PublishedIndex:
    """An image index as the registry holds it, with its members looked up.

    ``others`` are children that are no image of a platform and belong to none.
    ``faults`` says what was found not to be so, in sentences: a child that is
    gone, or that is not what the index says of it.
    """

    reference: Reference  # as asked for, by tag
    digest: str
    media_type: str
    members: tuple[PublishedImage, ...]
    annotations: Pairs = ()
    size: int = 0  # of the index itself, in bytes
    others: tuple[Descriptor, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Held:
    """What registries hold that matters to a plan, read once per run.

    ``bases`` maps an external reference as a Dockerfile writes it, on a
    platform, to that platform's manifest by digest. ``images`` are the arch
    tags of this fleet's images, ``indexes`` the first tag of each. ``contexts``
    are the files of build contexts that this controller remembers, by digest.
    """

    bases: Mapping[tuple[str, Platform], Reference] = field(default_factory=dict)
    images: Mapping[JobId, PublishedImage] = field(default_factory=dict)
    indexes: Mapping[str, PublishedIndex] = field(default_factory=dict)
    contexts: Mapping[str, tuple[ContextFile, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What a registry wants to know of who asks. Never printed, never written."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


# --- what is planned ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, order=True)
class JobId:
    """One image on one platform."""

    image: str
    platform: Platform

    @property
    def slug(self) -> str:
        """A name for files: ``hello-arm32v7``. No two jobs share one."""
        # No image has two dots in a row, so `a/b` cannot meet an image of its own slug.
        return f"{self.image.replace('/', '..')}-{self.platform.library_name}"

    def __str__(self) -> str:
        return f"{self.image} {self.platform}"


class Action(StrEnum):
    """What the plan does with a job."""

    BUILD = "build"
    KEEP = "keep"  # the registry holds it already, from the same inputs
    BLOCKED = "blocked"  # no host may take it


@dataclass(frozen=True, kw_only=True)
class Job:
    """One image on one platform, with what is to be done about it and why."""

    id: JobId
    recipe: Recipe
    action: Action
    reason: str
    hosts: tuple[str, ...]  # that may take it, in inventory order
    parents: tuple[JobId, ...]
    pins: Pairs  # external reference as written -> the same by digest
    anew: bool = False  # no cache and no earlier build of the same inputs is to be used
    kept: PublishedImage | None = None  # with Action.KEEP: what the registry holds


@dataclass(frozen=True, kw_only=True)
class IndexPlan:
    """An image index to put: the members of one image, under its tags."""

    image: str
    repository: Reference  # without tag
    tags: tuple[str, ...]
    members: tuple[JobId, ...]
    carried: tuple[PublishedImage, ...] = ()  # platforms kept from the index that stands


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does: jobs in an order in which every parent precedes its children."""

    jobs: tuple[Job, ...]
    indexes: tuple[IndexPlan, ...]
    warnings: tuple[str, ...] = ()

    def job(self, id: JobId) -> Job:
        """The job of that name. Raises KeyError."""
        return self._by_id[id]

    @property
    def to_build(self) -> tuple[Job, ...]:
        """The jobs that need a host."""
        return tuple(job for job in self.jobs if job.action is Action.BUILD)

    _by_id: dict[JobId, Job] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {job.id: job for job in self.jobs})


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a command line narrows an inventory to. Empty means everything.

    An image that was made before ``oldest`` (seconds since the epoch) is built
    anew, and none of its layers is taken from a cache.
    """

    images: tuple[str, ...] = ()
    platforms: tuple[Platform, ...] = ()
    limit: tuple[str, ...] = ()  # host, group, glob or `!x`, in the order given
    force: bool = False
    oldest: float | None = None


# --- what became of it --------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ErrorInfo:
    """An error as the record keeps it: its class, its sentence, its remedy, its evidence."""

    kind: str  # the class's name
    message: str
    hint: str | None = None
    transient: bool = False
    tail: tuple[str, ...] = ()  # the last lines of the log, where one tells more

    @classmethod
    def of(cls, error: FleetError) -> ErrorInfo:
        """What the record keeps of an error."""
        return cls(
            kind=type(error).__name__,
            message=error.message,
            hint=error.hint,
            transient=error.transient,
            tail=error.tail,
        )


class Step(StrEnum):
    """The steps of a job, and of a run."""

    PROBE = "probe"
    SYNC = "sync"
    BUILD = "build"
    SMOKE = "smoke"
    PUSH = "push"
    STITCH = "stitch"
    VERIFY = "verify"


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A build that was begun on a host; ``key`` is its name there."""

    job: JobId
    host: str
    key: str

    def __str__(self) -> str:
        return f"{self.job} on {self.host}"


class Status(StrEnum):
    """How a job ended."""

    BUILT = "built"
    KEPT = "kept"
    FAILED = "failed"
    SKIPPED = "skipped"  # a parent failed
    BLOCKED = "blocked"  # no host may take it
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class LeftImage:
    """An image that was built and not pushed: it is on its host, under a name of fleet's."""

    host: str
    reference: Reference
    digest: str  # the engine's own id of it


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job ended, with its whole story. Times are seconds since the epoch."""

    id: JobId
    status: Status
    reason: str
    host: str | None = None
    attempts: int = 0
    started: float | None = None
    ended: float | None = None
    image: PublishedImage | None = None
    left: LeftImage | None = None  # with --no-push
    emulated: bool = False
    error: ErrorInfo | None = None
    log: Path | None = None

    @property
    def good(self) -> bool:
        """Whether what the job was to make is there, in the registry unless it was not to be."""
        return self.status in (Status.BUILT, Status.KEPT)


@dataclass(frozen=True, kw_only=True)
class IndexOutcome:
    """What became of one image index."""

    plan: IndexPlan
    published: tuple[PublishedIndex, ...] = ()  # one per tag
    unchanged: bool = False  # it stood already, byte for byte
    lacking: tuple[Platform, ...] = ()  # that the run could not renew: a partial publication
    signed: bool = False  # by this run
    error: ErrorInfo | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """A published image that was taken elsewhere, as it is. Blobs are counted, ``sent`` in bytes.

    ``target`` is a reference with a tag, or a file or folder. ``elsewhere`` are
    layers that only their vendor has. With ``error`` the target stands as it stood.
    """

    source: Reference
    target: Reference | Path
    digest: str
    platforms: tuple[Platform, ...] = ()  # of an index, as it says
    arch_tags: tuple[Reference, ...] = ()  # that went along
    there: int = 0
    mounted: int = 0
    copied: int = 0
    sent: int = 0
    elsewhere: int = 0
    unchanged: bool = False  # it all stood there already
    error: ErrorInfo | None = None


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What became of a run."""

    run: str
    outcomes: tuple[Outcome, ...]
    indexes: tuple[IndexOutcome, ...]

    @property
    def ok(self) -> bool:
        """Whether everything that was asked for is published."""
        return all(o.good for o in self.outcomes) and not any(i.error for i in self.indexes)

    @property
    def in_part(self) -> bool:
        """Whether what is missing is missing as was allowed: every index stands, some in part."""
        covered = {i.plan.image: i.lacking for i in self.indexes if i.error is None}
        return not any(i.error for i in self.indexes) and all(
            o.good or o.id.platform in covered.get(o.id.image, ()) for o in self.outcomes
        )


def topological(ids: Iterable[JobId], parents: Mapping[JobId, tuple[JobId, ...]]) -> list[JobId]:
    """The ids, parents first, otherwise in the given order.

    Depth first with a stack of its own: a chain may be longer than Python's
    recursion limit. Raises ValueError for a cycle, which recipes never have.
    """
    done: dict[JobId, None] = {}
    opened: set[JobId] = set()
    for root in ids:
        stack = [root]
        while stack:
            id = stack[-1]
            waiting = [parent for parent in parents.get(id, ()) if parent not in done]
            if not waiting:
                done[stack.pop()] = None
            elif id in opened:
                raise ValueError(f"{id} is built on itself")
            else:
                opened.add(id)
                stack += reversed(waiting)
    return list(done)


# --- what was looked at -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that ``fleet doctor`` looked at. ``remedy`` mends it, where it is not well."""

    subject: str  # controller, registry, or a host's name
    name: str
    ok: bool
    detail: str
    remedy: str | None = None


class StepState(StrEnum):
    """What became of one step of ``fleet bootstrap``."""

    SO = "so"  # it was so already
    TO_DO = "to do"
    DONE = "done"
    FAILED = "FAILED"


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """One thing that is to be so on a build host; ``said`` are the last lines of what failed."""

    what: str
    state: StepState
    said: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Keep:
    """What ``fleet prune`` leaves: one of the three is set.

    ``age``: what was used within so many seconds. ``size``: of each kind, what was used
    last and takes together no more bytes. ``count``: the last so many of each image and
    platform, with their contexts and the build cache of their time.
    """

    age: float | None = None
    size: int | None = None
    count: int | None = None


class LeftoverKind(StrEnum):
    """What builds leave on a host."""

    IMAGE = "image"  # with the folder of its build, where that is there
    BUILD = "build"  # the folder of one that made no image, or whose image is gone
    CONTEXT = "context"
    CACHE = "build cache"  # the engine's, as one


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """Something that builds have left on a host, ``used`` so many seconds ago.

    ``size`` is in bytes: of an image those that it shares with no other. What somebody
    needs at this moment is ``busy``.
    """

    kind: LeftoverKind
    name: str
    used: float
    size: int = 0
    group: str = ""  # the image and platform that it is one of
    busy: bool = False


def number_of(leftovers: Iterable[Leftover]) -> str:
    """How many there are of each kind: ``2 images, 1 context``. The build cache is no number."""
    number = Counter(it.kind for it in leftovers if it.kind is not LeftoverKind.CACHE)
    told = [f"{n} {kind}{'s'[: n != 1]}" for kind, n in sorted(number.items())]
    return ", ".join(told) or "nothing"


@dataclass(frozen=True, kw_only=True)
class Usage:
    """The bytes that builds take on a host, and those that are free there."""

    cache: int  # of the engine's build cache, whoever built
    images: int  # of fleet's images, without what they share with others
    folder: int  # of fleet's folder: contexts, builds and their logs
    free: int


@dataclass(frozen=True, kw_only=True)
class PruneReport:
    """What was removed on a host, or would be where there is no ``after``.

    A host that did not answer, or stopped in the middle, has nothing but an error.
    """

    host: str
    gone: tuple[Leftover, ...] = ()
    before: Usage | None = None
    after: Usage | None = None
    error: ErrorInfo | None = None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A published image that was run on a host of its platform."""

    platform: Platform
    host: str | None  # None: there is no such host
    output: str
    ok: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What ``fleet verify`` found of an index: what is not so, and what ran.

    ``notes`` are worth knowing, and no faults.
    """

    index: PublishedIndex
    faults: tuple[str, ...]
    notes: tuple[str, ...] = ()
    trials: tuple[Trial, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the index is whole and everything that was run said the right thing."""
        return not self.faults and all(trial.ok for trial in self.trials)
