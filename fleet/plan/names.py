"""Names in the registry: ``REGISTRY/IMAGE:TAG`` for an index, ``...:TAG-ARCH`` for a member."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fleet.errors import UsageError
from fleet.models import ImageSpec, Inventory, RegistrySpec
from fleet.platforms import Platform
from fleet.references import Reference, check_repository, check_tag, fill_tag, placeholders

_LASTS = frozenset({"version"})


def repository(registry: RegistrySpec, image: str) -> Reference:
    """Where an image lives, without a tag. Raises InvalidReference.

    The address of the registry is known by now: the embedded one runs already.
    """
    assert registry.address is not None, "the embedded registry has no address before it runs"
    path = "/".join(filter(None, (registry.prefix, image)))
    return Reference(registry=registry.address, repository=check_repository(path))


def image_tags(inventory: Inventory, image: ImageSpec) -> tuple[str, ...]:
    """The tags of an image's index; under the first the registry is asked what it holds."""
    return image.tags or inventory.tags


def fill_tags(templates: Iterable[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """Tags with what they leave open filled in, those that last first.

    A tag that names the day or the commit holds nothing of an earlier run, so that
    nothing would ever be found again under it. Raises InvalidReference.
    """
    lasting_first = sorted(templates, key=lambda text: not _LASTS.issuperset(placeholders(text)))
    return tuple(dict.fromkeys(fill_tag(template, values) for template in lasting_first))


def arch_reference(repository: Reference, tag: str, platform: Platform) -> Reference:
    """The arch tag of a member: ``repository:latest-arm64v8``.

    Raises InvalidReference, also where the tag becomes too long by it.
    """
    return repository.tagged(f"{tag}-{platform.library_name}")


def check_tags(tags: Iterable[str], repository: Reference, platforms: Iterable[Platform]) -> None:
    """Raise InvalidReference for a tag, or an arch tag of it, that a registry would refuse.

    Raises UsageError where a tag is also the arch tag of another one: the index
    and the member would take turns under one name.
    """
    tags = tuple(tags)
    platforms = tuple(platforms)
    for tag in map(check_tag, tags):
        for platform in platforms:
            arch_tag = arch_reference(repository, tag, platform).tag
            if arch_tag in tags:
                raise UsageError(
                    f"the tag {arch_tag} is where fleet keeps the {platform} image of {tag}",
                    hint="choose another tag than these two together",
                )
