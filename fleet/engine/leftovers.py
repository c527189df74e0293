"""What may go of what builds have left on a host. Pure: nothing is asked or removed here."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleet.engine.detached import Left, LeftBuild, LeftContext
from fleet.engine.orders import hex_of, tag_of
from fleet.models import JobId, Keep, Leftover, LeftoverKind
from fleet.platforms import Platform

# Whatever is to be kept, this stays: between two of its steps a job of any controller may need it.
GRACE = 3600.0
_WEEK = 7 * 86400.0  # of build cache stays, where there is nothing to go by
_HELD = re.compile(r"fleet/(.+):([a-z0-9]+)-[0-9a-f]{12}")


@dataclass(frozen=True, kw_only=True)
class HeldImage:
    """An image that carries fleet's label, as an engine knows it. Times are ``Leftover``'s."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]  # repository@digest
    arch: str  # by its label
    used: float
    size: int
    busy: bool  # a container is made of it

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that holds it."""
        return (*self.tags, *self.digests)

    @property
    def fleets(self) -> bool:
        """Whether every tag of it is one that fleet gives. Whoever gave it another has use for it,
        or has built his own on it, which then carries the label as well.
        """
        return all(
            _HELD.fullmatch(tag) or (self.arch and tag.endswith(f"-{self.arch}"))
            for tag in self.tags
        )

    @property
    def group(self) -> str:
        """The image and platform that it is one of."""
        for tag in self.tags:
            if held := _HELD.fullmatch(tag):
                return f"{held[1]} {held[2]}"
        repository = re.split(r"[:@](?!.*/)", self.names[0])[0] if self.names else ""
        return f"{repository.rpartition('/')[2]} {self.arch}"


@dataclass(frozen=True, kw_only=True)
class CacheRecord:
    """A record of the build cache, as an engine tells of it."""

    id: str
    parents: tuple[str, ...]
    used: float
    size: int
    busy: bool
    shared: bool  # with an image, so that it makes no room

    @property
    def weight(self) -> int:
        """The bytes that it alone takes."""
        return 0 if self.shared else self.size


@dataclass(frozen=True, kw_only=True)
class Item:
    """A leftover, and what it is made of."""

    told: Leftover
    build: LeftBuild | None = None
    context: LeftContext | None = None
    image: HeldImage | None = None


def items(left: Left, images: Sequence[HeldImage]) -> tuple[Item, ...]:
    """What is on a host, each thing once: an image goes with the build that made it."""
    by_tag = {tag: image for image in images for tag in image.tags}
    wanted = {*left.bases, *(base for build in left.builds for base in build.bases)}
    found: list[Item] = []
    with_build: set[str] = set()
    named: dict[str, str] = {}  # contexts, and the image that was built of each
    needed: set[str] = set()  # contexts of builds that run
    for build in left.builds:
        about = json.loads(build.order)
        job, tag = _job(about), ""
        if job is not None and "key" in about:
            tag = tag_of(job, about["key"])
        context = hex_of(about["context"]) if "context" in about else ""
        named.setdefault(context, job.image if job else "")
        if build.running:
            needed.add(context)
        image = by_tag.get(tag)
        if image is not None:
            with_build.add(image.id)
            found.append(_of_build(build, image, wanted, tag))
            continue
        found.append(
            Item(
                told=Leftover(
                    kind=LeftoverKind.BUILD,
                    name=str(job or build.name),
                    group=str(job or ""),
                    used=build.used,
                    size=build.size,
                    busy=build.running,
                ),
                build=build,
            )
        )
    found += [
        Item(
            told=Leftover(
                kind=LeftoverKind.IMAGE,
                name=next(iter(image.names), image.id),
                group=image.group,
                used=image.used,
                size=image.size,
                busy=_needed(image, wanted),
            ),
            image=image,
        )
        for image in images
        if image.id not in with_build
    ]
    found += [
        Item(
            told=Leftover(
                kind=LeftoverKind.CONTEXT,
                name=context.name[:12],
                group=named.get(context.name, ""),
                used=context.used,
                size=context.size,
                busy=context.name in needed,
            ),
            context=context,
        )
        for context in left.contexts
    ]
    return tuple(found)


def _of_build(build: LeftBuild, image: HeldImage, wanted: set[str], tag: str) -> Item:
    return Item(
        told=Leftover(
            kind=LeftoverKind.IMAGE,
            name=tag,
            group=image.group,
            used=build.used,  # its folder is touched whenever somebody wants the image
            size=build.size + image.size,
            busy=build.running or _needed(image, wanted),
        ),
        build=build,
        image=image,
    )


def _needed(image: HeldImage, wanted: set[str]) -> bool:
    """Whether an image is somebody's, or is built on, or run."""
    names = {*image.tags, *(name.partition("@")[2] for name in image.digests)}
    return image.busy or not image.fleets or not wanted.isdisjoint(names)


def chosen(found: Iterable[Item], keep: Keep) -> tuple[Item, ...]:
    """Those that are to go, the latest used first."""
    number: Counter[tuple[str, str]] = Counter()
    total: Counter[str] = Counter()
    gone = []
    for item in sorted(found, key=lambda item: item.told.used):
        told = item.told
        number[told.kind, told.group] += 1
        total[told.kind] += told.size
        stays = (
            (keep.age is not None and told.used < keep.age)
            or (keep.count is not None and number[told.kind, told.group] <= keep.count)
            or (keep.size is not None and total[told.kind] <= keep.size)
        )
        if not (stays or told.busy or told.used < GRACE):
            gone.append(item)
    return tuple(gone)


def keep_of_cache(keep: Keep, found: Iterable[Item], gone: Iterable[Item]) -> Keep:
    """The same for the build cache, which has no images: there a count is a time, that of the
    oldest image which stays, or a week.
    """
    if keep.count is None:
        return keep
    left = {id(item) for item in found} - {id(item) for item in gone}
    ages = [
        item.told.used
        for item in found
        if id(item) in left and item.told.kind is LeftoverKind.IMAGE and item.build is not None
    ]
    return Keep(age=max(ages, default=_WEEK))


def cache_to_go(records: Sequence[CacheRecord], keep: Keep) -> Leftover:
    """What the engine would remove of its build cache: whatever is not in use, is older than that,
    and is no part of what stays; or what was used longest ago, as much as is too much.
    """
    by_id = {record.id: record for record in records}
    staying: set[str] = set()
    for record in records:
        if record.busy or (keep.age is not None and record.used < keep.age):
            waiting = [record.id]
            while waiting:
                id = waiting.pop()
                if id not in staying and id in by_id:
                    staying.add(id)
                    waiting += by_id[id].parents
    going = [record for record in records if record.id not in staying]
    room = sum(record.weight for record in going)
    if keep.size is not None:
        room = min(room, max(0, sum(record.weight for record in records) - keep.size))
    return Leftover(
        kind=LeftoverKind.CACHE,
        name=f"{len(going)} of {len(records)} records" if keep.size is None else "build cache",
        used=min((record.used for record in going), default=0.0),
        size=room,
    )


def _job(about: Mapping[str, Any]) -> JobId | None:
    told = about.get("job")
    if not isinstance(told, dict):
        return None
    return JobId(image=told["image"], platform=Platform.parse(told["platform"]))
