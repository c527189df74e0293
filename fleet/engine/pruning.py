"""Removing what builds have left on a host. Docker SDK inside: import it late."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

import docker
import docker.errors

from fleet.engine import images, leftovers
from fleet.engine.detached import DetachedBuilds, Left
from fleet.engine.leftovers import GRACE, CacheRecord, HeldImage, Item
from fleet.engine.transport import EngineApi
from fleet.models import LABEL_INPUTS, Keep, Leftover, PruneReport, Usage

_FRACTION = re.compile(r"\.\d+")
_NOBODY = "<none>"


def prune(
    builds: DetachedBuilds,
    engine: EngineApi,
    keep: Keep,
    *,
    root: str,
    host: str,
    dry_run: bool,
) -> PruneReport:
    """Remove what is not to be kept, the build cache as well.

    ``root`` is where the engine keeps its files. The report tells sizes before and
    after. With ``dry_run`` nothing is removed.
    """
    left = builds.left(sizes=True)
    with engine.session() as api:
        used = _disk_usage(api)
        held = _held(api, used["Images"], left.now)
    found = leftovers.items(left, held)
    gone = leftovers.chosen(found, keep)
    records = _records(used["BuildCache"], left.now)
    of_cache = leftovers.keep_of_cache(keep, found, gone)
    cache = leftovers.cache_to_go(records, of_cache)
    before = _usage(left, held, records, builds.free(root))
    if dry_run:
        told = tuple(item.told for item in gone)
        return PruneReport(host=host, gone=_told(told, cache), before=before)
    told = remove(builds, engine, gone)
    with engine.session() as api:
        freed = _prune_cache(api, of_cache)
        used = _disk_usage(api)
        held = _held(api, used["Images"], left.now)
    left = builds.left(sizes=True)
    after = _usage(left, held, _records(used["BuildCache"], left.now), builds.free(root))
    cache = Leftover(kind=cache.kind, name="build cache", used=cache.used, size=freed)
    return PruneReport(host=host, gone=_told(told, cache), before=before, after=after)


def make_room(builds: DetachedBuilds, engine: EngineApi, age: float) -> tuple[Leftover, ...]:
    """Remove what was not used for so many seconds, and leave the build cache; what is gone."""
    left = builds.left(sizes=False)
    with engine.session() as api:
        listed = api.images(all=False, filters={"label": LABEL_INPUTS})
        held = _held(api, listed, left.now)
    return remove(builds, engine, leftovers.chosen(leftovers.items(left, held), Keep(age=age)))


def remove(
    builds: DetachedBuilds, engine: EngineApi, going: Sequence[Item]
) -> tuple[Leftover, ...]:
    """Remove these, unless they have come into use meanwhile; what is gone."""
    asked = [item for item in going if item.build or item.context]
    names = builds.remove(
        (item.build for item in asked if item.build),
        (item.context for item in asked if item.context),
        unused=GRACE,
    )
    gone = []
    for item in going:
        part = item.build or item.context
        if part is not None and part.name not in names:
            continue
        if item.image is None:
            gone.append(item.told)
        else:
            with engine.session() as api:
                if _drop(api, item.image) or item.build is not None:
                    gone.append(item.told)
    return tuple(gone)


def _drop(api: docker.APIClient, image: HeldImage) -> bool:
    """Take every name from an image, and with the last of them itself; whether it is gone."""
    found = images.inspect(api, image.id)
    if found is None:
        return True
    names = {*_names(found, "RepoTags"), *_names(found, "RepoDigests")}
    if not names <= set(image.names):
        return False  # somebody has named it since
    # A digest is no name to the engine once the last tag of its repository is gone.
    for name in [*image.tags, *image.digests, image.id]:
        try:
            images.untag(api, name)
        except docker.errors.APIError as error:
            if error.status_code != 409:  # a container is made of it, or an image is built on it
                raise
    return images.inspect(api, image.id) is None


def _disk_usage(api: docker.APIClient) -> dict[str, Any]:
    told = cast(dict[str, Any], cast(Any, api).df())
    return {name: told.get(name) or () for name in ("Images", "BuildCache")}


def _held(
    api: docker.APIClient, listed: Iterable[Mapping[str, Any]], now: float
) -> tuple[HeldImage, ...]:
    """Those of the listed images that carry fleet's label."""
    found = []
    for entry in listed:
        labels = entry.get("Labels") or {}
        about = images.inspect(api, entry["Id"]) if LABEL_INPUTS in labels else None
        if about is None:
            continue
        shared = max(0, entry.get("SharedSize") or 0)  # -1 where it was not looked at
        tagged = _moment((about.get("Metadata") or {}).get("LastTagTime"))
        found.append(
            HeldImage(
                id=entry["Id"],
                tags=_names(entry, "RepoTags"),
                digests=_names(entry, "RepoDigests"),
                arch=labels.get("architecture", ""),
                used=now - max(float(entry["Created"]), tagged),
                size=max(0, entry["Size"] - shared),
                busy=(entry.get("Containers") or 0) > 0,
            )
        )
    return tuple(found)


def _names(entry: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    return tuple(name for name in entry.get(kind) or () if not name.startswith(_NOBODY))


def _records(listed: Iterable[Mapping[str, Any]], now: float) -> tuple[CacheRecord, ...]:
    return tuple(
        CacheRecord(
            id=entry["ID"],
            # One before API 1.42.
            parents=tuple(filter(None, [*(entry.get("Parents") or ()), entry.get("Parent")])),
            used=now - max(_moment(entry.get("LastUsedAt")), _moment(entry.get("CreatedAt"))),
            size=entry["Size"],
            busy=bool(entry["InUse"]),
            shared=bool(entry["Shared"]),
        )
        for entry in listed
    )


def _prune_cache(api: docker.APIClient, keep: Keep) -> int:
    """Have the engine remove of its build cache what it is not using; the bytes.

    Engines before 1.42 of the API cannot do without the number of bytes to keep.
    """
    age = round(keep.age or 0)
    told = cast(Any, api).prune_builds(
        filters={"until": f"{age}s"} if age else {}, keep_storage=keep.size or 0, all=True
    )
    return int(told.get("SpaceReclaimed") or 0)


def _usage(
    left: Left, held: Iterable[HeldImage], records: Iterable[CacheRecord], free: int
) -> Usage:
    return Usage(
        cache=sum(record.weight for record in records),
        images=sum(image.size for image in held),
        folder=left.size,
        free=free,
    )


def _told(gone: Sequence[Leftover], cache: Leftover) -> tuple[Leftover, ...]:
    return (*gone, cache) if cache.size else tuple(gone)


def _moment(text: str | None) -> float:
    """Seconds since the epoch, of RFC 3339 as Go writes it; 0 for no time at all."""
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(_FRACTION.sub("", text or ""))
        return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
    return 0.0
