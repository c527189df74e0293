"""What fleet asks of registries: the OCI distribution specification 1.1, as far as it is needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.errors import (
    DigestMismatch,
    InvalidReference,
    NotInRegistry,
    RegistryNonsense,
)
from fleet.models import Descriptor, PublishedImage, PublishedIndex, RegistrySpec
from fleet.platforms import Platform
from fleet.references import Reference, check_digest
from fleet.registry.answers import Answer
from fleet.registry.blobs import REFUSED, Blobs
from fleet.registry.credentials import CredentialStore
from fleet.registry.index import flatten, partition, runs_on
from fleet.registry.manifests import (
    ACCEPT,
    INDEXES,
    MANIFESTS,
    ImageConfig,
    Manifest,
    digest_of,
    verify,
)
from fleet.registry.mirrors import Mirrors

if TYPE_CHECKING:
    import httpx

    from fleet.registry.wire import Wire

DOCKER_CERTIFICATES = Path("/etc/docker/certs.d")
_CONFIGS_KEPT = 1024
UNSOUND = (NotInRegistry, DigestMismatch, RegistryNonsense)  # a child is, and not the way to it
_NESTING = 3  # indexes within indexes; more is a loop or a joke


class Registry:
    """Any number of registries. Usable from several threads at once.

    Each method raises RegistryUnreachable, RegistryBusy, RegistryDenied,
    RegistryNonsense or CredentialsError as the registry, or the way to it, is;
    what else it raises is said at the method. Nothing is tried twice.

    ``plain_http`` names registries that are asked without TLS; ``authorities``
    are files of further certificate authorities, by registry; ``timeout`` is in
    seconds for each wait on the network. ``transport`` stands in for the
    network in tests.

    ``mirrors`` are asked first for what the registries that they are named for
    hold, except for what is below ``own`` (``registry/path``) or was stored
    through this client; ``notice`` is told where one was of no use.
    """

    def __init__(
        self,
        *,
        credentials: CredentialStore,
        plain_http: Collection[str] = (),
        authorities: Mapping[str, Path] | None = None,
        certificates: Path = DOCKER_CERTIFICATES,
        transport: httpx.BaseTransport | None = None,
        timeout: float = 30.0,
        mirrors: Mapping[str, RegistrySpec] | None = None,
        own: Collection[str] = (),
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        from fleet.registry.wire import Wire  # imports httpx: late

        self._wire: Wire = Wire(
            credentials=credentials,
            plain_http=plain_http,
            authorities=authorities or {},
            certificates=certificates,
            transport=transport,
            timeout=timeout,
        )
        self._mirrors = Mirrors(mirrors or {}, own=own, notice=notice)
        self.blobs = Blobs(self._wire, self._mirrors)
        # By repository and digest: content that never changes, and is asked for
        # under an arch tag and again as a member of an index.
        self._configs: dict[tuple[str, str], ImageConfig] = {}

    def ping(self, registry: str) -> None:
        """See that a registry is there, speaks the protocol and takes the credentials."""
        answer = self._wire.ask("GET", registry, "", subject=registry, also={404})
        if answer.status == 404 or "html" in answer.media_type:
            raise RegistryNonsense(
                f"{registry}: something answers, but no registry",
                hint=f"`curl -iL {registry}/v2/` shows what it is",
            )

    def describe(self, reference: Reference) -> Descriptor:
        """What a reference stands for: digest, size and media type, in one small question.

        Raises NotInRegistry, DigestMismatch.
        """
        return self._mirrors.read(reference, lambda at: self._describe(reference, at))

    def manifest(self, reference: Reference) -> Manifest:
        """The manifest or index itself. Raises NotInRegistry, DigestMismatch."""
        return self._mirrors.read(reference, lambda at: self._manifest(reference, at))

    def image(self, reference: Reference, platform: Platform | None = None) -> PublishedImage:
        """One image, through an index where there is one, to the child that runs on ``platform``.

        That is the platform itself or, as with Docker, the nearest older
        variant. Without a platform an index must hold one image only. Raises
        NotInRegistry where there is none, DigestMismatch.
        """
        manifest = self.manifest(reference)
        named: Descriptor | None = None
        attestations: tuple[Descriptor, ...] = ()
        for _ in range(_NESTING):
            if not manifest.is_index:
                break
            named, found = flatten(manifest.children, platform, reference)
            attestations += found
            manifest = self.manifest(reference.pinned(named.digest))
        image = self._image(manifest, named, attestations)
        if platform is not None and not _serves(image, platform):
            raise NotInRegistry(f"{reference} is for {image.platform}, and not for {platform}")
        return image

    def index(self, reference: Reference) -> PublishedIndex:
        """An index, with every member looked up.

        A child that is gone, or is not what the index says of it, is named in
        ``faults``. Raises NotInRegistry where there is no index under that
        name, DigestMismatch where it is not what its own digest says.
        """
        manifest = self.manifest(reference)
        if not manifest.is_index:
            raise NotInRegistry(f"{reference} is a single image, and not an image index")
        faults: list[str] = []
        children, others = partition(self._children(manifest, faults, _NESTING))
        members = []
        for child, attestations in children:
            try:
                found = self._child(reference, child, faults)
                if found.is_image:
                    members.append(self._image(found, child, attestations))
                else:
                    others += (child, *attestations)
            except UNSOUND as error:
                faults.append(f"{child.platform or 'a child'}: {error.message}")
        return PublishedIndex(
            reference=reference,
            digest=manifest.descriptor.digest,
            media_type=manifest.descriptor.media_type,
            members=tuple(members),
            annotations=manifest.annotations,
            size=manifest.descriptor.size,
            others=others,
            faults=tuple(faults),
        )

    def put_manifest(self, reference: Reference, body: bytes, media_type: str) -> str:
        """Store a manifest or an index under a tag or its digest, and give its digest.

        Raises NotInRegistry where the repository lacks something that it
        names, DigestMismatch, RegistryDenied also for a tag that may not move.
        """
        digest = digest_of(body)
        self._mirrors.written(reference)
        answer = self._wire.ask(
            "PUT",
            reference.registry,
            f"{reference.repository}/manifests/{reference.selector}",
            subject=f"putting {reference}",
            repository=reference.repository,
            actions="pull,push",
            headers={"Content-Type": media_type},
            body=body,
        )
        stated = _stated_digest(answer, reference)
        if stated and stated != digest:
            raise DigestMismatch(f"{reference}: the registry stored {stated}, and not {digest}")
        return digest

    def ask_itself(self, repository: Reference) -> None:
        """From now on, ask a repository of its registry and of no mirror."""
        self._mirrors.written(repository)

    def close(self) -> None:
        """Close the kept connections."""
        self._wire.close()

    # --- parts ----------------------------------------------------------------------------

    def _describe(self, reference: Reference, at: Reference) -> Descriptor:
        answer = self._ask("HEAD", at, also=REFUSED)
        length = answer.headers.get("content-length", "")
        digest = _stated_digest(answer, at)
        if (
            not answer.ok
            or not digest
            or not length.isdecimal()
            or answer.media_type not in INDEXES | MANIFESTS
        ):
            return self._manifest(reference, at).descriptor
        if reference.digest and digest != reference.digest:
            raise DigestMismatch(f"{at}: the registry has {digest} in its place")
        return Descriptor(media_type=answer.media_type, digest=digest, size=int(length))

    def _manifest(self, reference: Reference, at: Reference) -> Manifest:
        """What ``at`` delivers for ``reference``: the same, or a mirror's name of it."""
        answer = self._ask("GET", at)
        return Manifest.read(
            reference,
            answer.body,
            media_type=answer.media_type,
            digest=_stated_digest(answer, at),
        )

    def _children(self, index: Manifest, faults: list[str], depth: int) -> Iterator[Descriptor]:
        """The children of an index, with those of indexes in it in their place."""
        for child in index.children:
            if child.media_type not in INDEXES:
                yield child
            elif depth == 0:
                faults.append(f"{child.digest} is an index within too many others")
            else:
                try:
                    nested = self._child(index.reference, child, faults)
                    yield from self._children(nested, faults, depth - 1)
                except UNSOUND as error:
                    faults.append(error.message)

    def _child(self, index: Reference, child: Descriptor, faults: list[str]) -> Manifest:
        found = self.manifest(index.pinned(child.digest))
        for what, said, actual in (
            ("size", child.size, found.descriptor.size),
            ("media type", child.media_type, found.descriptor.media_type),
        ):
            if said != actual:
                faults.append(f"{child.digest}: the index says {what} {said}, and it is {actual}")
        return found

    def _image(
        self,
        manifest: Manifest,
        named: Descriptor | None,
        attestations: tuple[Descriptor, ...] = (),
    ) -> PublishedImage:
        """An image by its manifest; ``named`` is what the index says that led to it."""
        if not manifest.is_image:
            what = "an index" if manifest.is_index else repr(manifest.config.media_type)
            raise RegistryNonsense(f"{manifest.reference} is {what}, and not a container image")
        config = self._config(manifest)
        descriptor = manifest.descriptor
        if named is not None:
            descriptor = replace(descriptor, platform=named.platform, annotations=named.annotations)
        return PublishedImage(
            reference=manifest.reference,
            descriptor=descriptor,
            platform=config.platform,
            labels=config.labels,
            created=config.created,
            size=sum(layer.size for layer in manifest.layers),
            attestations=attestations,
        )

    def _config(self, manifest: Manifest) -> ImageConfig:
        digest, reference = manifest.config.digest, manifest.reference
        key = (reference.name, digest)
        kept = self._configs.get(key)
        if kept is not None:
            return kept
        config = self._mirrors.read(reference, lambda at: self._read_config(reference, at, digest))
        if len(self._configs) >= _CONFIGS_KEPT:
            self._configs.clear()
        self._configs[key] = config
        return config

    def _read_config(self, reference: Reference, at: Reference, digest: str) -> ImageConfig:
        subject = f"the configuration of {reference}"
        answer = self._wire.ask(
            "GET",
            at.registry,
            f"{at.repository}/blobs/{digest}",
            subject=subject,
            repository=at.repository,
        )
        verify(answer.body, digest, subject)
        return ImageConfig.read(answer.body, reference)

    def _ask(self, method: str, reference: Reference, also: Collection[int] = ()) -> Answer:
        return self._wire.ask(
            method,
            reference.registry,
            f"{reference.repository}/manifests/{reference.selector}",
            subject=str(reference),
            repository=reference.repository,
            headers={"Accept": ACCEPT},
            also=also,
        )


def _serves(image: PublishedImage, platform: Platform) -> bool:
    """Whether an image may be taken for a platform.

    Where an index led to it the variant is the index's word: configurations,
    those of old images above all, often leave it out.
    """
    named = image.descriptor.platform is not None
    same = (image.platform.os, image.platform.architecture) == (platform.os, platform.architecture)
    return runs_on(image.platform, platform) or (named and same)


def _stated_digest(answer: Answer, what: object) -> str:
    """The digest that the registry states; empty where it does not."""
    digest = answer.headers.get("docker-content-digest", "").strip()
    try:
        return check_digest(digest) if digest else ""
    except InvalidReference as error:
        raise RegistryNonsense(f"{what}: the registry's digest: {error.message}") from None
