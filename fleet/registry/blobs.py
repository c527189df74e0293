"""Blobs: seen, read in pieces, mounted, stored. None is ever whole in memory.

The requests are those of the OCI distribution specification 1.1: "Pulling
blobs", "Pushing a blob monolithically" (POST, then PUT, which every registry
takes) and "Mounting a blob from another repository".
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleet.errors import DigestMismatch, RegistryError, RegistryNonsense, RegistryUnreachable
from fleet.models import Descriptor
from fleet.references import Reference
from fleet.registry.answers import Answer
from fleet.registry.mirrors import Mirrors

if TYPE_CHECKING:
    from fleet.registry.wire import Wire

# Answers to a question after which another one is asked: it may be taken, or say more.
REFUSED = frozenset({*range(400, 500), 501} - {401, 404, 408, 425, 429})
_NO_MOUNT = REFUSED | {401, 404}


class Blobs:
    """The blobs of any number of registries. Usable from several threads at once.

    Raises what `Registry` does, and says as it does what else.
    """

    def __init__(self, wire: Wire, mirrors: Mirrors) -> None:
        self._wire = wire
        self._mirrors = mirrors

    def size(self, repository: Reference, digest: str) -> int | None:
        """How large a blob is, in bytes, in one small question; None where nobody says.

        Raises NotInRegistry.
        """
        return self._mirrors.read(repository, lambda at: self._size(at, digest))

    def read(self, repository: Reference, blob: Descriptor) -> Iterable[bytes]:
        """A blob in pieces, asked for when they are iterated over, each time anew.

        The last piece comes only when all of them are what the digest says.
        Raises NotInRegistry, DigestMismatch.
        """
        return _Pieces(blobs=self, repository=repository, blob=blob)

    def put(
        self,
        repository: Reference,
        blob: Descriptor,
        content: Iterable[bytes],
        *,
        source: Reference | None = None,
    ) -> bool:
        """Store a blob; ``content`` may be iterated over twice.

        ``source`` is another repository of the same registry that holds it: the
        registry is asked to take it from there. Whether it did, so that nothing
        was sent. Raises NotInRegistry where there is no such repository and the
        registry makes none, RegistryDenied, DigestMismatch.
        """
        subject = f"storing {blob.digest} in {repository.name}"
        path = f"{repository.repository}/blobs/uploads/"

        def begin(query: str = "", also: Collection[int] = (), mounting: str = "") -> Answer:
            return self._wire.ask(
                "POST",
                repository.registry,
                path + query,
                subject=subject,
                repository=repository.repository,
                actions="pull,push",
                mounting=mounting,
                also=also,
            )

        begun = None
        if source is not None:
            query = f"?mount={blob.digest}&from={source.repository}"
            begun = begin(query, also=_NO_MOUNT, mounting=source.repository)
        if begun is None or not begun.ok:
            begun = begin()
        self._mirrors.written(repository)
        if begun.status == 201:
            return True
        location = begun.headers.get("location", "")
        if not location:
            raise RegistryNonsense(f"{subject}: the registry does not say where to")
        # As text: the registry's own query may be signed as it is written.
        digest = f"{'&' if '?' in location else '?'}digest={blob.digest}"
        self._wire.ask(
            "PUT",
            repository.registry,
            path,
            at=location + digest,
            subject=subject,
            repository=repository.repository,
            actions="pull,push",
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Length": str(blob.size),
            },
            body=content,
        )
        return False

    def may_push(self, repository: Reference) -> None:
        """See that blobs may be stored in a repository: an upload is begun, and cancelled.

        Nothing is left there ("Canceling an upload" is a DELETE; a registry that does
        not know it forgets an upload by itself). Raises RegistryDenied, and
        NotInRegistry where there is no such repository and the registry makes none.
        """
        subject = f"beginning to store something in {repository.name}"
        path = f"{repository.repository}/blobs/uploads/"

        def ask(method: str, at: str = "", also: Collection[int] = ()) -> Answer:
            return self._wire.ask(
                method,
                repository.registry,
                path,
                at=at,
                subject=subject,
                repository=repository.repository,
                actions="pull,push",
                also=also,
            )

        location = ask("POST").headers.get("location", "")
        if not location:
            raise RegistryNonsense(f"{subject}: the registry does not say where to")
        ask("DELETE", at=location, also=_NO_MOUNT)

    def _size(self, at: Reference, digest: str) -> int | None:
        path, subject = f"{at.repository}/blobs/{digest}", f"the blob {digest} of {at.name}"
        answer = self._wire.ask(
            "HEAD",
            at.registry,
            path,
            subject=subject,
            repository=at.repository,
            also=REFUSED,
        )
        if not answer.ok:
            with self._wire.stream(
                at.registry, path, subject=subject, repository=at.repository, size=0
            ) as (answer, _):
                pass
        length = answer.headers.get("content-length", "")
        return int(length) if length.isdecimal() else None

    def _pieces(self, repository: Reference, blob: Descriptor) -> Iterator[bytes]:
        mirrored = self._mirrors.copy_of(repository)
        if mirrored is not None:
            begun = False
            try:
                for piece in self._checked(mirrored, blob):
                    begun = True
                    yield piece
                return
            except RegistryError as error:
                if begun:  # what was handed on cannot be taken back
                    broken = RegistryUnreachable(f"{error.message} (in the middle)")
                    self._mirrors.failed(repository, broken)
                    raise broken from error
                self._mirrors.failed(repository, error)
        yield from self._checked(repository, blob)

    def _checked(self, at: Reference, blob: Descriptor) -> Iterator[bytes]:
        subject = f"the blob {blob.digest} of {at.name}"
        algorithm = blob.digest.partition(":")[0]
        summed, length, last = hashlib.new(algorithm), 0, b""
        with self._wire.stream(
            at.registry,
            f"{at.repository}/blobs/{blob.digest}",
            subject=subject,
            repository=at.repository,
            size=blob.size,
        ) as (_, pieces):
            for piece in pieces:
                summed.update(piece)
                length += len(piece)
                if length > blob.size:
                    break
                if last:
                    yield last
                last = piece
        actual = f"{algorithm}:{summed.hexdigest()}"
        if length != blob.size or actual != blob.digest:
            what = f"more than {blob.size}" if length > blob.size else f"{length} of {blob.size}"
            raise DigestMismatch(
                f"{subject}: the registry delivered {what} bytes, and their digest is {actual}",
                hint="something between here and the registry changes the content, or its storage"
                " is damaged",
            )
        if last:
            yield last


@dataclass(frozen=True, kw_only=True)
class _Pieces:
    """A blob that can be iterated over again, as a request must that is sent again."""

    blobs: Blobs
    repository: Reference
    blob: Descriptor

    def __iter__(self) -> Iterator[bytes]:
        return self.blobs._pieces(self.repository, self.blob)
