"""From an inventory's images to recipes, and from a recipe to a pinned Dockerfile."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from fleet.errors import Problem, RecipeError
from fleet.models import BaseUse, Context, ImageSpec, Recipe
from fleet.platforms import Platform
from fleet.recipes import graph
from fleet.recipes.contexts import context, ignore_file
from fleet.recipes.dockerfile import Dockerfile, Use, load, parse, uses
from fleet.recipes.syntax import Source, raise_any
from fleet.references import Reference

_CONTINUED = re.compile(r"\\\n")  # a line that goes on


def read(
    images: Sequence[ImageSpec],
    *,
    platforms: Sequence[Platform],
    registry_name: str | None = None,
    memory: Path | None = None,
) -> tuple[Recipe, ...]:
    """Read and understand the Dockerfiles and contexts of all images, in their order.

    ``platforms`` are those of an image that lists none itself. A base that is
    called as an image is (``hello``, ``hello:any-tag``, under ``registry_name``, or as
    one of its aliases) means that image, its parent; one that is named by digest
    comes from elsewhere. ``memory`` is the folder for the digests of files. Raises
    RecipeError with all problems of all images.
    """
    return _Reading(images, platforms, registry_name, memory).run()


def lineage(
    images: Sequence[ImageSpec],
    names: Collection[str],
    *,
    platforms: Sequence[Platform],
    registry_name: str | None = None,
) -> tuple[ImageSpec, ...]:
    """The images of these names and those that they are built on, in inventory order.

    No context is read. The rest is as for ``read``. Raises RecipeError with all
    problems of all Dockerfiles.
    """
    return _Reading(images, platforms, registry_name).lineage(names)


def pin(recipe: Recipe, platform: Platform, replacements: Mapping[str, str]) -> str:
    """The Dockerfile for a platform with its images replaced, each where it is named.

    ``replacements`` goes from ``BaseUse.written`` to what shall stand there; an
    image that it does not name stays as it is, as does every other byte. The name of
    a context is always replaced: nobody else knows what it stands for.
    """
    text = recipe.dockerfile
    dockerfile = parse(Source(path=recipe.image.dockerfile, text=text))
    places = {use.start: use for use in _uses(dockerfile, recipe.image, platform)}
    for start in sorted(places, reverse=True):
        use = places[start]
        if use.named or use.written in replacements:
            image = replacements.get(use.written, use.written)
            text = text[:start] + image + text[use.end :]
    return text


def declares(recipe: Recipe, name: str) -> bool:
    """Whether a Dockerfile declares an argument, in any stage."""
    told = _CONTINUED.sub(" ", recipe.dockerfile)
    return re.search(rf"(?im)^\s*ARG\s(?:.*\s)?{re.escape(name)}(?:=|\s|$)", told) is not None


def _uses(dockerfile: Dockerfile, image: ImageSpec, platform: Platform) -> tuple[Use, ...]:
    return uses(
        dockerfile,
        platform,
        build_args=dict(image.args_for(platform)),
        target=image.target,
        contexts=dict(image.contexts),
    )


class _Reading:
    def __init__(
        self,
        images: Sequence[ImageSpec],
        platforms: Sequence[Platform],
        registry_name: str | None,
        memory: Path | None = None,
    ) -> None:
        self.images = images
        self.memory = memory
        self.platforms = platforms
        self.problems: list[Problem] = []
        self.dockerfiles: dict[str, Dockerfile] = {}
        self.contexts: dict[str, Context] = {}
        self.bases: dict[tuple[str, Platform], tuple[BaseUse, ...]] = {}
        self.failures: dict[tuple[str, Platform], Sequence[Problem]] = {}
        # What an image of this fleet may be called in a Dockerfile, without its tag.
        self.bare_names = {image.name: image.name for image in images}
        self.full_names = {
            Reference.parse(f"{registry_name}/{image.name}").name: image.name
            for image in images
            if registry_name is not None
        }
        self.full_names |= {
            Reference.parse(alias).name: image.name for image in images for alias in image.aliases
        }

    def run(self) -> tuple[Recipe, ...]:
        wanted = self._survey()
        self._read_contexts()
        raise_any(self.problems)
        return tuple(
            Recipe(
                image=image,
                dockerfile=self.dockerfiles[image.name].source.text,
                context=self.contexts[image.name],
                bases=tuple(
                    (platform, self.bases[image.name, platform]) for platform in wanted[image.name]
                ),
            )
            for image in self.images
        )

    def lineage(self, names: Collection[str]) -> tuple[ImageSpec, ...]:
        wanted = self._survey()
        raise_any(self.problems)
        found, new = set[str](), list(names)
        while new:
            name = new.pop()
            if name not in found:
                found.add(name)
                uses = (use for p in wanted[name] for use in self.bases[name, p])
                new += [use.parent for use in uses if use.parent is not None]
        return tuple(image for image in self.images if image.name in found)

    def _survey(self) -> Mapping[str, Sequence[Platform]]:
        """Read the Dockerfiles: the platforms that each image is wanted for."""
        self._read_dockerfiles()
        wanted, problems = graph.platforms(self.images, self.platforms, self._bases)
        self.problems += problems
        for image in self.images:
            for platform in wanted.get(image.name, image.platforms or self.platforms):
                self.problems += self.failures.get((image.name, platform), ())
        return wanted

    def _read_dockerfiles(self) -> None:
        for image in self.images:
            try:
                self.dockerfiles[image.name] = load(image.dockerfile)
            except RecipeError as error:
                self.problems += error.problems

    def _read_contexts(self) -> None:
        # Images often share a folder: it is digested once.
        known: dict[tuple[Path, Path | None], Context] = {}
        for image in self.images:
            key = image.context, ignore_file(image.context, image.dockerfile)
            try:
                if key not in known:
                    known[key] = context(image.context, image.dockerfile, self.memory)
                self.contexts[image.name] = known[key]
            except RecipeError as error:
                self.problems += error.problems

    def _bases(self, image: ImageSpec, platform: Platform) -> Sequence[BaseUse]:
        key = image.name, platform
        if image.name not in self.dockerfiles or key in self.failures:
            return ()
        if key not in self.bases:
            try:
                self.bases[key] = self._base_uses(image, platform)
            except RecipeError as error:
                self.failures[key] = error.problems
                return ()
        return self.bases[key]

    def _base_uses(self, image: ImageSpec, platform: Platform) -> tuple[BaseUse, ...]:
        dockerfile = self.dockerfiles[image.name]
        return tuple(
            BaseUse(
                written=use.written,
                line=dockerfile.source.line(use.start),
                parent=self._parent(use.written),
                foundation=use.foundation,
            )
            for use in _uses(dockerfile, image, platform)
        )

    def _parent(self, written: str) -> str | None:
        """The image of this fleet that a reference means."""
        reference = Reference.parse(written)
        if reference.digest is not None:
            return None
        bare = written.removesuffix(f":{reference.tag}") if reference.tag else written
        return self.bare_names.get(bare) or self.full_names.get(reference.name)
