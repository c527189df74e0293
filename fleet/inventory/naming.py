"""The names that an inventory has, for whoever completes a half-typed word."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fleet.inventory import schema, tree
from fleet.inventory.borrowed import with_recipes
from fleet.inventory.files import native_tree
from fleet.inventory.loading import image_folders


@dataclass(frozen=True, kw_only=True)
class Names:
    """What a command line may name, in the order of the file."""

    hosts: tuple[str, ...]
    groups: tuple[str, ...]
    images: tuple[str, ...]
    platforms: tuple[str, ...]  # those that the file speaks of


def names(path: Path) -> Names:
    """The names in an inventory; what is wrong in it is left out and not complained about.

    Raises UsageError where there is no mapping in YAML to read.
    """
    problems = tree.Problems()
    native = native_tree(path, problems)
    native = with_recipes(native, path.parent, os.environ, problems)
    file, _ = schema.read(native, problems)
    images = image_folders(path.parent / file.dockerfiles) if file.images is None else file.images
    wanted = [
        *(file.platforms or ()),
        *(each for host in file.hosts.values() for each in host.platforms or ()),
        *(each for image in (file.images or {}).values() for each in image.platforms or ()),
    ]
    return Names(
        hosts=tuple(file.hosts),
        groups=tuple(file.groups),
        images=tuple(images),
        platforms=tuple(dict.fromkeys(map(str, wanted))),
    )
