"""Taking published images elsewhere, without building: to tags, repositories, registries, files.

Blobs go first, several at a time, then manifests, then the indexes that name
them, and a tag is put at the very end: whatever fails before leaves what stands
under it. Each step is one operation that may be done again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from fleet.errors import (
    FleetError,
    IndexNotWhole,
    Interrupted,
    NotInRegistry,
    RegistryNonsense,
    UsageError,
)
from fleet.events import Emit, Notice
from fleet.models import ErrorInfo, Transfer
from fleet.plan import arch_reference
from fleet.plan.names import check_tags
from fleet.platforms import Platform
from fleet.references import Reference
from fleet.registry import (
    Destination,
    Layout,
    Manifest,
    Registry,
    Repository,
    Taken,
    Tree,
    assemble,
    is_attestation,
    new_layout,
)
from fleet.run.retry import Policy, retry

T = TypeVar("T")
K = TypeVar("K")

# Registries throttle, and a disk or an uplink is not faster for more.
_AT_ONCE = 4
_NESTING = 3  # indexes within indexes; more is a loop or a joke


def copy(
    source: Reference, targets: Sequence[Reference], *, registry: Registry, how: Patience
) -> tuple[Transfer, ...]:
    """Copy what a reference stands for to other ones, with the arch tags that go with it.

    A target that fails is an outcome with an error, and stands as it stood; the
    others go on. Raises UsageError for targets that cannot be, and what the
    registry raises where the source cannot be read.
    """
    targets = [_complete(source, target) for target in targets]
    for target in targets:
        registry.ask_itself(target.tagless)  # and the source too, where it is the same
    with _Work(registry, how) as work:
        tree = work.survey(source)
        _check(source, targets, tree)
        arches = work.arches(source, tree)
        return tuple(work.copy(source, target, tree, arches) for target in targets)


def export(
    source: Reference,
    path: Path,
    *,
    platforms: Sequence[Platform] = (),
    registry: Registry,
    how: Patience,
) -> Transfer:
    """Write what a reference stands for as an OCI image layout, whole or not at all.

    With ``platforms``, only these of an index: one as the single image that it
    is, several (or one that has attestations) as an index of them. Raises
    UsageError, FleetError, and what the registry raises.
    """
    with new_layout(path) as layout, _Work(registry, how) as work:
        tree = work.selection(source, platforms) if platforms else work.survey(source)
        return work.export(source, path, tree, layout)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often a step is tried again, who is told of it, and what ends it all."""

    policy: Policy
    stop: threading.Event
    emit: Emit

    def __call__(self, operation: Callable[[], T]) -> T:
        """Call an operation, again where its failure may pass."""

        def before_wait(error: FleetError, wait: float) -> None:
            self.emit(Notice(message=f"{error.message}; again in {wait:.0f} s"))

        return retry(operation, policy=self.policy, stop=self.stop, before_wait=before_wait)


@dataclass(frozen=True, kw_only=True)
class _Watched:
    """A blob's pieces, until everything is to end."""

    content: Iterable[bytes]
    stop: threading.Event

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.content:
            if self.stop.is_set():
                raise Interrupted("interrupted")
            yield piece


class _Work:
    """One copy or export, and the threads that do it."""

    def __init__(self, registry: Registry, how: Patience) -> None:
        self._registry = registry
        self._patiently = how
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="copy")

    def __enter__(self) -> _Work:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._patiently.stop.set()  # whoever is in the middle of a blob ends now
        self._pool.shutdown(wait=True, cancel_futures=True)

    # --- reading --------------------------------------------------------------------------

    def survey(self, source: Reference) -> Tree:
        """Read the manifests of a reference, all that it names in turn.

        Raises IndexNotWhole where a child is not there.
        """
        root = self._patiently(lambda: self._registry.manifest(source))
        return self._grown(root, source)

    def selection(self, source: Reference, platforms: Sequence[Platform]) -> Tree:
        """The images of some platforms alone."""
        found = self._each(
            lambda platform: self._patiently(lambda: self._registry.image(source, platform)),
            platforms,
        )
        images = list({image.descriptor.digest: image for image in found}.values())
        if len(images) == 1 and not images[0].attestations:
            return self.survey(images[0].reference)
        body, media_type = assemble(images)
        name = replace(source, digest=None)
        return self._grown(Manifest.read(name, body, media_type=media_type), source)

    def _grown(self, root: Manifest, source: Reference) -> Tree:
        seen, level = {root.descriptor.digest: root}, [root]
        for _ in range(_NESTING):
            named = {child.digest for manifest in level for child in manifest.children}
            level = self._each(
                lambda digest: self._child(source, digest), sorted(named - seen.keys())
            )
            seen |= {manifest.descriptor.digest: manifest for manifest in level}
        if any(child.digest not in seen for manifest in level for child in manifest.children):
            raise RegistryNonsense(f"{source}: indexes within too many others")
        # In the order of reading an index comes before what it names.
        indexes = [manifest for manifest in seen.values() if manifest.is_index]
        images = [manifest for manifest in seen.values() if not manifest.is_index]
        return Tree(root=root, manifests=(*images, *reversed(indexes)))

    def _child(self, source: Reference, digest: str) -> Manifest:
        try:
            return self._patiently(lambda: self._registry.manifest(source.pinned(digest)))
        except NotInRegistry as error:
            raise IndexNotWhole(
                f"{source} is not whole, and cannot be copied: {error.message}",
                hint="`fleet verify` says all that is missing",
            ) from error

    def arches(self, source: Reference, tree: Tree) -> dict[Platform, Tree]:
        """What stands under the arch tags of an index, for those that it has."""
        if source.tag is None:
            return {}
        tag = source.tag
        found = {}
        for platform, digest in _members(tree).items():
            name = arch_reference(source, tag, platform)
            try:
                standing = self._patiently(partial(self._registry.manifest, name))
            except NotInRegistry:
                continue
            children = {child.digest for child in standing.children}
            if digest != standing.descriptor.digest and digest not in children:
                # Built anew since, or left behind: what the index holds is what goes along.
                standing = next(m for m in tree.manifests if m.descriptor.digest == digest)
            found[platform] = self._grown(standing, source)
        return found

    # --- writing --------------------------------------------------------------------------

    def copy(
        self, source: Reference, target: Reference, tree: Tree, arches: dict[Platform, Tree]
    ) -> Transfer:
        """Copy to one target. Never raises a FleetError: a failure is an outcome."""
        done = Transfer(source=source, target=target, digest=tree.root.descriptor.digest)
        try:
            return self._copy(done, tree, arches)
        except Interrupted:
            raise
        except FleetError as error:
            return replace(done, error=ErrorInfo.of(error))

    def _copy(self, done: Transfer, tree: Tree, arches: dict[Platform, Tree]) -> Transfer:
        source, target = done.source, done.target
        assert isinstance(target, Reference), "files are exported to"
        assert target.tag is not None, "targets were completed"
        place = Repository(registry=self._registry, name=target.tagless, source=source)
        manifests = {
            manifest.descriptor.digest: manifest
            for part in (*arches.values(), tree)
            for manifest in part.manifests
        }
        whole = Tree(root=tree.root, manifests=tuple(manifests.values()))
        if not place.is_source:
            done = self._take(done, whole, place)
            self._put(whole, place, but=tree.root)
        names = [
            (arch_reference(place.name, target.tag, platform), part.root)
            for platform, part in arches.items()
        ]
        moved = [
            self._patiently(partial(place.put_as, root, name))
            for name, root in (*names, (target, tree.root))
        ]
        self._verify(whole, place, [*names, (target, tree.root)])
        return replace(
            done,
            platforms=tuple(sorted(_members(tree))),
            arch_tags=tuple(name for name, _ in names),
            unchanged=not any(moved),
        )

    def export(self, source: Reference, path: Path, tree: Tree, layout: Layout) -> Transfer:
        """Write to a layout."""
        done = Transfer(source=source, target=path, digest=tree.root.descriptor.digest)
        done = self._take(done, tree, layout)
        self._put(tree, layout)
        layout.finish(tree.root, source)
        return replace(done, platforms=tuple(sorted(_members(tree))))

    def _take(self, done: Transfer, tree: Tree, place: Destination) -> Transfer:
        """Have the blobs there, several at a time."""
        stop = self._patiently.stop

        def take(number: int) -> Taken:
            blob = blobs[number]
            content = _Watched(content=self._registry.blobs.read(done.source, blob), stop=stop)
            return self._patiently(lambda: place.take(blob, content))

        blobs = tree.blobs
        taken = self._each(take, range(len(blobs)))
        sent = [blob.size for blob, how in zip(blobs, taken, strict=True) if how is Taken.COPIED]
        return replace(
            done,
            there=taken.count(Taken.THERE),
            mounted=taken.count(Taken.MOUNTED),
            copied=len(sent),
            sent=sum(sent),
            elsewhere=len(tree.elsewhere),
        )

    def _put(self, tree: Tree, place: Destination, *, but: Manifest | None = None) -> None:
        """Have the manifests there: images at once, then indexes, each after what it names."""
        images = [manifest for manifest in tree.manifests if not manifest.is_index]
        indexes = [manifest for manifest in tree.manifests if manifest.is_index]

        def put(manifest: Manifest) -> None:
            self._patiently(lambda: place.put(manifest))

        self._each(put, [image for image in images if image is not but])
        for index in indexes:
            if index is not but:
                put(index)

    def _verify(
        self, tree: Tree, place: Repository, names: Sequence[tuple[Reference, Manifest]]
    ) -> None:
        """See that what was put stands there."""

        def look(named: tuple[Reference, Manifest]) -> str | None:
            name, manifest = named
            try:
                stands = self._patiently(lambda: self._registry.describe(name)).digest
            except NotInRegistry as error:
                return error.message
            wanted = manifest.descriptor.digest
            return None if stands == wanted else f"under {name} stands {stands}, and not {wanted}"

        children = [(place.name.pinned(m.descriptor.digest), m) for m in tree.manifests]
        faults = [fault for fault in self._each(look, [*children, *names]) if fault]
        if faults:
            raise IndexNotWhole(f"{names[-1][0]} is not whole: {'; '.join(faults)}")

    def _each(self, work: Callable[[K], T], items: Iterable[K]) -> list[T]:
        """The results of all, in order. The first failure cancels those that did not begin."""
        futures = [self._pool.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _members(tree: Tree) -> dict[Platform, str]:
    """The platforms of an index, as it says them, each with its image's digest."""
    return {
        child.platform: child.digest
        for manifest in reversed(tree.manifests)
        for child in manifest.children
        if child.platform is not None and not is_attestation(child)
    }


def _complete(source: Reference, target: Reference) -> Reference:
    """A target with a tag: its own, else the source's. Raises UsageError."""
    if target.digest is not None:
        raise UsageError(
            f"{target}: a digest is what arrives, and not where to", hint="write it with a tag"
        )
    tag = target.tag or source.tag or (None if source.digest else "latest")
    if tag is None:
        raise UsageError(f"{target} needs a tag", hint=f"write it as {target}:TAG")
    return target.tagged(tag)


def _check(source: Reference, targets: Sequence[Reference], tree: Tree) -> None:
    """Refuse targets that would overwrite each other, or a member of the source."""
    by_name: dict[str, list[str]] = {}
    for reference in dict.fromkeys((source, *targets)):
        if reference.tag is not None:
            by_name.setdefault(reference.name, []).append(reference.tag)
    for reference in targets:
        check_tags(dict.fromkeys(by_name[reference.name]), reference, _members(tree))
