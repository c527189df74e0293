"""Pull-through mirrors: who is asked first for what another registry holds.

A mirror answers reads only, and never for what this fleet publishes itself: it
may show what stood there a while ago. What it lacks, refuses or garbles is asked
of the registry itself, and said. One that does not answer, or whose bytes are
not what their digest says, is not asked again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from fleet.errors import DigestMismatch, RegistryError, RegistryUnreachable
from fleet.models import RegistrySpec
from fleet.references import Reference
from fleet.registry.addresses import canonical

T = TypeVar("T")


class Mirrors:
    """Knows which mirror is asked for what. Usable from several threads at once.

    ``mirrors`` is by registry. ``own`` are names (``registry/path``) below which
    nothing is asked of a mirror. ``notice`` is told, in a sentence, each time
    that a mirror was of no use, once per mirror and repository.
    """

    def __init__(
        self,
        mirrors: Mapping[str, RegistrySpec],
        *,
        own: Collection[str],
        notice: Callable[[str], None],
    ) -> None:
        self._mirrors = {canonical(registry): mirror for registry, mirror in mirrors.items()}
        self._own = {f"{name}/" for name in own}
        self._notice = notice
        self._lock = threading.Lock()
        self._out: set[str] = set()  # registries whose mirror is not asked any more
        self._told: set[str] = set()

    def read(self, reference: Reference, question: Callable[[Reference], T]) -> T:
        """Ask a question of the mirror's copy of a repository, or else of the repository itself.

        Raises what the question raises of the registry itself.
        """
        mirrored = self.copy_of(reference)
        if mirrored is not None:
            try:
                return question(mirrored)
            except RegistryError as error:
                self.failed(reference, error)
        return question(reference)

    def copy_of(self, reference: Reference) -> Reference | None:
        """The reference as its mirror names it; None where it is asked of itself."""
        registry = canonical(reference.registry)
        mirror = self._mirrors.get(registry)
        if mirror is None or mirror.address is None or registry in self._out:
            return None
        if f"{reference.name}/".startswith(tuple(self._own)):
            return None
        path = "/".join(filter(None, (mirror.prefix, reference.repository)))
        return Reference(
            registry=mirror.address,
            repository=path,
            tag=reference.tag,
            digest=reference.digest,
        )

    def failed(self, reference: Reference, error: RegistryError) -> None:
        """Remember that the mirror was of no use, and say so."""
        registry = canonical(reference.registry)
        out = isinstance(error, RegistryUnreachable | DigestMismatch)
        with self._lock:
            if out:
                self._out.add(registry)
            key = registry if out else reference.name
            if key in self._told:
                return
            self._told.add(key)
        rest = f"{registry} itself is asked{' from now on' if out else ''}"
        self._notice(f"the mirror of {registry} was of no use: {error.message}; {rest}")

    def written(self, repository: Reference) -> None:
        """From now on a repository is asked of itself: something was stored there."""
        with self._lock:
            self._own = {*self._own, f"{repository.name}/"}
