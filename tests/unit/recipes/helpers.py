"""Small things that the tests of recipes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from fleet.errors import RecipeError
from fleet.models import ImageSpec, Location, Recipe, pairs
from fleet.platforms import Platform
from fleet.recipes import read
from fleet.recipes.dockerfile import parse, uses
from fleet.recipes.syntax import Source

AMD64, ARM64, ARMV7 = map(Platform.parse, ("linux/amd64", "linux/arm64", "linux/arm/v7"))
FILE = Path("Dockerfile")


def bases(
    text: str,
    *,
    platform: Platform = AMD64,
    build_args: Mapping[str, str] | None = None,
    target: str | None = None,
    contexts: Mapping[str, str] | None = None,
) -> list[str]:
    """The images that a Dockerfile builds on."""
    dockerfile = parse(Source(path=FILE, text=text))
    found = uses(
        dockerfile, platform, build_args=build_args or {}, target=target, contexts=contexts
    )
    return [use.written for use in found]


def complaints(
    text: str,
    *,
    platform: Platform = AMD64,
    build_args: Mapping[str, str] | None = None,
    target: str | None = None,
    contexts: Mapping[str, str] | None = None,
) -> list[str]:
    """What is wrong with a Dockerfile, as the operator reads it."""
    with pytest.raises(RecipeError) as caught:
        bases(text, platform=platform, build_args=build_args, target=target, contexts=contexts)
    return str(caught.value).splitlines()


class Folder:
    """A folder of images, as an inventory names them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.images: list[ImageSpec] = []

    def image(
        self,
        name: str,
        dockerfile: str,
        *,
        platforms: Sequence[Platform] | None = None,
        build_args: Mapping[str, str] | None = None,
        target: str | None = None,
    ) -> None:
        """Write a Dockerfile into a folder of its own, and name it."""
        context = self.path / name
        context.mkdir(parents=True)
        (context / "Dockerfile").write_text(dockerfile, newline="")
        self.images.append(
            ImageSpec(
                name=name,
                context=context,
                dockerfile=context / "Dockerfile",
                build_args=pairs(build_args or {}),
                target=target,
                platforms=None if platforms is None else tuple(platforms),
                location=Location(file=Path("inventory.yml"), line=len(self.images) + 1, column=3),
            )
        )

    def read(self, *platforms: Platform, registry_name: str | None = None) -> dict[str, Recipe]:
        """The recipes by name."""
        found = read(self.images, platforms=platforms or (AMD64,), registry_name=registry_name)
        return {recipe.image.name: recipe for recipe in found}

    def complaints(self, *platforms: Platform) -> list[str]:
        """What is wrong with them, without the folder's own path."""
        with pytest.raises(RecipeError) as caught:
            self.read(*platforms)
        return str(caught.value).replace(f"{self.path}/", "").splitlines()
