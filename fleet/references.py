"""References to images: ``registry/repository:tag@digest``.

The grammar is that of github.com/distribution/reference, which Docker uses:
a first component with a dot, a colon, or the name ``localhost`` is a registry;
without one the registry is Docker Hub, where one-word names live in ``library/``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fleet.errors import InvalidReference

DOCKER_HUB = "docker.io"

_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_IDENTIFIER = re.compile(r"[0-9a-f]{64}")  # what Docker calls an image by its own digest
_REGISTRY = re.compile(
    r"(?:(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])(?:\.(?:[A-Za-z0-9]|[A-Za-z0-9]"
    r"[A-Za-z0-9-]*[A-Za-z0-9]))*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
)


def check_tag(tag: str) -> str:
    """Give back the tag, or raise InvalidReference saying what a tag may hold."""
    if not _TAG.fullmatch(tag):
        raise InvalidReference(
            f"{tag!r} is not a valid tag",
            hint="a tag is 1 to 128 of A-Z a-z 0-9 _ . - and does not start with . or -",
        )
    return tag


# What a tag may leave open: the image's version, the day (UTC), the commit of the sources.
PLACEHOLDERS = ("version", "date", "git_sha")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def check_tag_template(text: str) -> str:
    """Give back a tag that may hold ``{version}``, ``{date}`` or ``{git_sha}``.

    Raises InvalidReference.
    """
    for name in placeholders(text):
        if name not in PLACEHOLDERS:
            raise InvalidReference(
                f"{text!r} holds {{{name}}}, which stands for nothing",
                hint=f"a tag may hold {', '.join(f'{{{known}}}' for known in PLACEHOLDERS)}",
            )
    check_tag(_PLACEHOLDER.sub("0", text))
    return text


def placeholders(template: str) -> tuple[str, ...]:
    """What a tag leaves open, by name."""
    return tuple(_PLACEHOLDER.findall(template))


def fill_tag(template: str, values: Mapping[str, str]) -> str:
    """A tag with what it leaves open filled in. Raises InvalidReference, KeyError."""
    tag = _PLACEHOLDER.sub(lambda match: values[match[1]], template)
    try:
        return check_tag(tag)
    except InvalidReference as error:
        raise InvalidReference(f"{template}: {error.message}", hint=error.hint) from None


def check_digest(digest: str) -> str:
    """Give back the digest, or raise InvalidReference."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidReference(
            f"{digest!r} is not a digest", hint="a digest is sha256: and 64 hexadecimal digits"
        )
    return digest


def check_repository(name: str) -> str:
    """Give back a repository path, or raise InvalidReference."""
    bad = [part for part in name.split("/") if not _COMPONENT.fullmatch(part)]
    if bad or len(name) > 255:
        raise InvalidReference(
            f"{name!r} is not a valid image name",
            hint="names are lower-case letters and digits, separated by one . _ - or /",
        )
    return name


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One name of an image, complete: nothing in it is left to a default."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference as Docker does; the tag stays empty where none is written.

        Raises InvalidReference.
        """
        rest, at, digest = text.partition("@")
        head, slash, tail = rest.partition("/")
        is_registry = slash and (
            "." in head or ":" in head or head == "localhost" or head != head.lower()
        )
        registry, path = (head, tail) if is_registry else (DOCKER_HUB, rest)
        path, colon, tag = path.partition(":")
        if registry in ("index.docker.io", "registry-1.docker.io"):
            registry = DOCKER_HUB
        try:
            if not _REGISTRY.fullmatch(registry):
                raise InvalidReference(
                    f"{registry!r} is not a registry's address",
                    hint="write it as host or host:port, without https://",
                )
            check_repository(path)
            if registry == DOCKER_HUB and _IDENTIFIER.fullmatch(path):
                raise InvalidReference(
                    f"{path!r} could be an image's identifier", hint="give it another name"
                )
            if registry == DOCKER_HUB and "/" not in path:
                path = f"library/{path}"
            return cls(
                registry=registry,
                repository=path,
                tag=check_tag(tag) if colon else None,
                digest=check_digest(digest) if at else None,
            )
        except InvalidReference as error:
            raise InvalidReference(
                f"{text!r} is not an image: {error.message}", hint=error.hint
            ) from None

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def tagged(self, tag: str) -> Reference:
        """The same repository under a tag. Raises InvalidReference."""
        return replace(self, tag=check_tag(tag), digest=None)

    def pinned(self, digest: str) -> Reference:
        """The same repository at a digest, without a tag. Raises InvalidReference."""
        return replace(self, tag=None, digest=check_digest(digest))

    @property
    def tagless(self) -> Reference:
        """The repository alone."""
        return replace(self, tag=None, digest=None)

    def at(self, registry: str) -> Reference:
        """The same image under another address of its registry (a tunnel's end)."""
        return replace(self, registry=registry)

    @property
    def selector(self) -> str:
        """What a registry is asked for: the digest, else the tag, else ``latest``."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"
