"""What has changed between the inputs of an image and those that a job has now, in words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fleet.models import ContextFile, Held, PublishedImage, Recipe
from fleet.plan.inputs import Inputs
from fleet.platforms import Platform

_NAMED = 3  # how many files are named


def told(image: PublishedImage, now: Inputs, recipe: Recipe, platform: Platform, held: Held) -> str:
    """Why an image is not what a job would make now: ``base moved: debian:trixie-slim``.

    The image's own label says what it was made from. Which files of the context
    are others is known where ``held.contexts`` has the files of the one before.
    """
    was = _parts(image.parts)
    if was is None:
        return "inputs changed"
    found = list(_differences(was, json.loads(now.parts), recipe, platform, held))
    return "; ".join(found) or "inputs changed"


def context_before(image: PublishedImage) -> str | None:
    """The digest of the context that an image was made from, as its label says."""
    parts = _parts(image.parts)
    return None if parts is None else str(parts.get("context"))


def _parts(text: str | None) -> Mapping[str, Any] | None:
    """What a label says, if it is what fleet writes: anybody can write a label."""
    try:
        parts = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    mappings = isinstance(parts, dict) and all(
        isinstance(parts.get(name), dict) for name in ("bases", "build_args")
    )
    return parts if mappings else None


def _differences(
    was: Mapping[str, Any],
    now: Mapping[str, Any],
    recipe: Recipe,
    platform: Platform,
    held: Held,
) -> Iterable[str]:
    if was.get("dockerfile") != now["dockerfile"]:
        yield "Dockerfile changed"
    parents = {use.written: use.parent for use in recipe.bases_for(platform)}
    for written, digest in now["bases"].items():
        if written not in was["bases"]:
            yield f"now built on {written}"
        elif was["bases"][written] != digest:
            parent = parents[written]
            yield f"parent {parent} is another image" if parent else f"base moved: {written}"
    if was.get("context") != now["context"]:
        yield "context changed" + _files(held.contexts.get(str(was.get("context"))), recipe)
    if arguments := _names(was["build_args"], now["build_args"]):
        yield f"build arguments changed: {', '.join(arguments)}"
    for what in ("labels", "contexts"):
        if names := _names(_mapping(was.get(what)), _mapping(now.get(what))):
            yield f"{what} changed: {', '.join(names)}"
    if was.get("target") != now["target"]:
        yield f"target changed: {now['target'] or 'the last stage'}"
    if was.get("version") != now["version"]:
        yield f"version changed: {now['version'] or 'none'}"
    if was.get("attestations") != now["attestations"]:
        yield f"attestations changed: {', '.join(now['attestations']) or 'none'}"
    if was.get("format") != now["format"]:
        yield "this fleet builds in another way"


def _mapping(value: object) -> Mapping[str, object]:
    """What a label says where a mapping may stand."""
    return value if isinstance(value, dict) else {}


def _files(before: tuple[ContextFile, ...] | None, recipe: Recipe) -> str:
    """``: 2 files (a, b)``; nothing where the context before is not known."""
    if before is None:
        return ""
    was, now = ({file.path: file for file in files} for files in (before, recipe.context.files))
    changed = _names(was, now)
    named = ", ".join(changed[:_NAMED]) + (", ..." if len(changed) > _NAMED else "")
    return f": {len(changed)} file{'' if len(changed) == 1 else 's'} ({named})"


def _names(was: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """The keys whose values differ, or that only one of them has."""
    return sorted(key for key in {*was, *now} if was.get(key) != now.get(key))
