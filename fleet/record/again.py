"""The command that does again what a run has not done, and only that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet.record.story import Story

_NAMED = 10  # images; more of them are told by what was asked for, which does them as well
_INVENTORY = "inventory.yml"  # what is read where no inventory is named


def again(story: Story) -> tuple[str, ...]:
    """The command line, of the images that lack something and of the options that the run had.

    Images are named, platforms are not: what is built already is not repeated, and the
    index must hold it. What was to be built anew though the registry has it
    (``--force``, ``--max-age``) is known to be done only by ``fleet resume``.
    """
    request = story.request
    if story.command[1:2] == ("stitch",):
        return ("fleet", *story.command[1:])
    chosen: Mapping[str, Any] = request.get("selection") or {}
    if chosen.get("force") or chosen.get("oldest") is not None:
        return ("fleet", "resume", story.run)
    return ("fleet", "build", *_images(story, chosen), *_options(request, chosen))


def missing_images(story: Story) -> tuple[str, ...]:
    """The images of which a platform or the index is not as it was to be."""
    found = [job.id.image for job in story.jobs.values() if not job.good]
    found += [index.image for index in story.indexes.values() if index.error is not None]
    return tuple(dict.fromkeys(found))


def _images(story: Story, chosen: Mapping[str, Any]) -> tuple[str, ...]:
    """The images to name: those that were asked for where all or many lack something."""
    missing = missing_images(story)
    of_all = {job.image for job in story.jobs}
    if not story.request or (0 < len(missing) <= _NAMED and set(missing) != of_all):
        return missing
    return tuple(chosen.get("images") or ())


def _options(request: Mapping[str, Any], chosen: Mapping[str, Any]) -> list[str]:
    inventory = request.get("inventory", _INVENTORY)
    words = [] if inventory == _INVENTORY else ["--inventory", inventory]
    if request.get("registry"):
        words += ["--registry", request["registry"]]
    repeated = {
        "--limit": chosen.get("limit"),
        "--platform": chosen.get("platforms"),
        "--tag": request.get("tags"),
        "--build-arg": [f"{name}={value}" for name, value in request.get("build_args") or ()],
    }
    words += [w for option, values in repeated.items() for v in values or () for w in (option, v)]
    if request.get("metadata_file"):
        words += ["--metadata-file", request["metadata_file"]]
    flags = {
        "--no-cache": request.get("no_cache"),
        "--no-push": request.get("push") is False,
        "--no-pin": request.get("pin") is False,
        "--allow-partial": request.get("allow_partial"),
    }
    return words + [flag for flag, given in flags.items() if given]
