"""Services and targets as images of the native form: their names, and one image for each.

Where a file has one service per architecture (``orthanc-arm32v7`` with a build
argument ``DOCKER_ARCH: arm32v7``), they become one image with platforms; build
arguments that differ between them keep a value for each platform. Everything else
must be the same, for one image has one Dockerfile, one context and one set of labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from fleet.errors import InvalidPlatform
from fleet.inventory import tree
from fleet.inventory.drafts import Draft
from fleet.inventory.tree import Entry, Listing, Problems, Scalar
from fleet.models import Location
from fleet.platforms import Platform
from fleet.suggest import did_you_mean

_ARCH = "DOCKER_ARCH"
_OWN_LABEL = "architecture"  # which fleet sets itself, to what such files say
# What may differ between the architectures of one image.
_OF_PLATFORM = ("aliases", "build_args", "platforms")


@dataclass(kw_only=True)
class _Member:
    """A draft with the image that it is of, and its platform, where it is for one by name."""

    draft: Draft
    image: str
    platform: Platform | None


def images(drafts: Iterable[Draft], problems: Problems) -> dict[str, Entry]:
    """The images of the drafts of one file, in the native form, by name."""
    members = [_member(draft, problems) for draft in drafts]
    names = {member.draft.name: member.image for member in members}
    groups: dict[str, list[_Member]] = {}
    for member in members:
        _finish(member, names, problems)
        groups.setdefault(member.image, []).append(member)
    return {
        name: Entry(
            key=name,
            at=group[0].draft.at,
            value=tree.Mapping(at=group[0].draft.at, entries=_joined(name, group, problems)),
        )
        for name, group in groups.items()
    }


def _member(draft: Draft, problems: Problems) -> _Member:
    stem, platform = _architecture(draft, problems)
    image = stem
    if draft.made:
        # Registry, path and tag are the inventory's to say.
        image = draft.made[0][1].repository.rpartition("/")[2]
        if platform is not None:
            image = image.removesuffix(draft.name.removeprefix(stem))
    return _Member(draft=draft, image=image, platform=platform)


def _architecture(draft: Draft, problems: Problems) -> tuple[str, Platform | None]:
    """A name's stem, and the platform that its end and the build argument name."""
    said = draft.part("build_args").get(_ARCH)
    stem, _, end = draft.name.rpartition("-")
    if said is None or not isinstance(said.value, Scalar) or not stem:
        return draft.name, None
    named, meant = _platform(end), _platform(said.value.text or "")
    if named is None or meant is None:
        return draft.name, None
    if named != meant:
        problems.add(
            said.value.at,
            f"{_ARCH} is {said.value.text!r}, which is {meant}, but {draft.name} ends with {end!r}",
        )
        return draft.name, None
    return stem, meant


def _platform(text: str) -> Platform | None:
    with suppress(InvalidPlatform):
        return Platform.parse(text)
    return None


def _finish(member: _Member, names: Mapping[str, str], problems: Problems) -> None:
    """Put in what is known once every draft has an image."""
    draft = member.draft
    for name, entry in draft.siblings.items():
        sibling = (entry.value.text if isinstance(entry.value, Scalar) else None) or ""
        if sibling in names:
            value = Scalar(at=entry.value.at, text=names[sibling])
            contexts = {**draft.part("contexts"), name: replace(entry, value=value)}
            whole = draft.entries["contexts"]
            at = whole.value.at
            draft.entries["contexts"] = replace(whole, value=tree.Mapping(at=at, entries=contexts))
        else:
            problems.add(
                entry.value.at,
                f"nothing called {sibling!r} is built here{did_you_mean(sibling, names)}",
            )
    aliases = [Scalar(at=at, text=made.name) for at, made in draft.made if _has_path(made.name)]
    draft.entries |= _aliases(aliases)
    if member.platform is not None:
        labels = dict(draft.part("labels"))
        own = labels.get(_OWN_LABEL)
        if own is not None and isinstance(own.value, Scalar):
            if _platform(own.value.text or "") == member.platform:
                del labels[_OWN_LABEL]
            whole = draft.entries["labels"]
            draft.entries["labels"] = replace(
                whole, value=tree.Mapping(at=whole.value.at, entries=labels)
            )


def _aliases(values: Iterable[tree.Value]) -> dict[str, Entry]:
    """The entry of an image's aliases, each once, where there are any."""
    once = tuple({str(tree.plain(value)): value for value in values}.values())
    if not once:
        return {}
    at = once[0].at
    return {"aliases": Entry(key="image", at=at, value=Listing(at=at, items=once))}


def _has_path(name: str) -> bool:
    """Whether a name says more than one word: that alone means the image in any case."""
    return not name.startswith("docker.io/library/")


def _joined(name: str, members: Sequence[_Member], problems: Problems) -> dict[str, Entry]:
    """One image out of all that make it."""
    first = members[0]
    if len(members) == 1 and first.platform is None:
        return first.draft.entries
    for other in members[1:]:
        _refuse_differences(name, first, other, problems)
    if any(member.platform is None for member in members):
        return first.draft.entries
    platforms: dict[Platform, _Member] = {}
    for member in members:
        assert member.platform is not None, "checked above"
        _check_platforms(member, member.platform, problems)
        if member.platform in platforms:
            there = platforms[member.platform].draft
            problems.add(
                member.draft.at,
                f"{member.draft.name} is for {member.platform}, as {there.name} is ({there.at})",
            )
        platforms.setdefault(member.platform, member)
    entries = {k: e for k, e in first.draft.entries.items() if k not in _OF_PLATFORM}
    at = first.draft.at
    items = tuple(Scalar(at=m.draft.at, text=str(p)) for p, m in platforms.items())
    entries["platforms"] = Entry(key="platforms", at=at, value=Listing(at=at, items=items))
    entries["build_args"] = _arguments(platforms, at)
    return entries | _aliases(
        alias for member in members for alias in _items(member.draft.entries.get("aliases"))
    )


def _items(entry: Entry | None) -> Sequence[tree.Value]:
    return entry.value.items if entry is not None and isinstance(entry.value, Listing) else ()


def _refuse_differences(name: str, first: _Member, other: _Member, problems: Problems) -> None:
    """Tell where two that make one image would not make the same."""
    both = first.platform is not None and other.platform is not None
    free = _OF_PLATFORM if both else ("aliases",)
    keys = dict.fromkeys((*first.draft.entries, *other.draft.entries))
    for key in keys:
        mine, theirs = first.draft.entries.get(key), other.draft.entries.get(key)
        if key not in free and _plain(mine) != _plain(theirs):
            where = theirs.at if theirs is not None else other.draft.at
            shown = theirs or mine
            assert shown is not None, "one of them has the key"
            problems.add(
                where,
                f"{first.draft.name} ({first.draft.at}) and {other.draft.name} would both be the"
                f" image {name}, and differ in {shown.key}",
            )


def _plain(entry: Entry | None) -> object:
    value = None if entry is None else tree.plain(entry.value)
    return value or None  # an empty mapping says nothing


def _check_platforms(member: _Member, platform: Platform, problems: Problems) -> None:
    for item in _items(member.draft.entries.get("platforms")):
        said = _platform(item.text or "") if isinstance(item, Scalar) else None
        if said is not None and said != platform:
            problems.add(item.at, f"{member.draft.name} is for {platform} by its name")


def _arguments(platforms: Mapping[Platform, _Member], at: Location) -> Entry:
    """Build arguments: of all platforms where they agree, else a value for each."""
    own = {platform: member.draft.part("build_args") for platform, member in platforms.items()}
    names = dict.fromkeys(name for arguments in own.values() for name in arguments)
    merged: dict[str, Entry] = {}
    for name in names:
        given = {
            platform: arguments[name] for platform, arguments in own.items() if name in arguments
        }
        one = next(iter(given.values()))
        alike = all(_plain(entry) == _plain(one) for entry in given.values())
        if alike and len(given) == len(platforms) and name != _ARCH:
            merged[name] = one
        else:
            each = {str(platform): entry for platform, entry in given.items()}
            merged[name] = replace(one, value=tree.Mapping(at=one.value.at, entries=each))
    return Entry(key="args", at=at, value=tree.Mapping(at=at, entries=merged))
