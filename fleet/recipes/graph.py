"""Which image builds on which, and for which platforms each is wanted.

An image whose inventory entry lists platforms is wanted for exactly those.
Any other is wanted for the candidates, less what a listed parent does not
have, plus what a listed child needs. Two lists that contradict each other are
a problem; nothing else is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from fleet.errors import Problem
from fleet.models import BaseUse, ImageSpec, Recipe
from fleet.platforms import Platform
from fleet.references import Reference

# What an image builds on, for a platform; nothing where that could not be read.
Bases = Callable[[ImageSpec, Platform], Sequence[BaseUse]]


def order(recipes: Iterable[Recipe]) -> tuple[Recipe, ...]:
    """The recipes, parents first. Parents that are not among them do not count."""
    by_name = {recipe.image.name: recipe for recipe in recipes}
    graph = {
        name: [parent for platform in recipe.platforms for parent in recipe.parents_for(platform)]
        for name, recipe in by_name.items()
    }
    names = TopologicalSorter(graph).static_order()
    return tuple(by_name[name] for name in names if name in by_name)


def platforms(
    images: Sequence[ImageSpec], candidates: Sequence[Platform], bases: Bases
) -> tuple[dict[str, tuple[Platform, ...]], list[Problem]]:
    """The platforms that each image is wanted for, and what is wrong with the graph.

    With a cycle in the graph, the cycles are all that is told.
    """
    graph = _Graph(images, candidates, bases)
    problems = graph.cycles()
    if problems:
        return {}, problems
    return graph.wanted(), graph.problems


class _Graph:
    def __init__(
        self, images: Sequence[ImageSpec], candidates: Sequence[Platform], bases: Bases
    ) -> None:
        self.images = {image.name: image for image in images}
        self.candidates = candidates
        self.bases = bases
        listed = (platform for image in images for platform in image.platforms or ())
        self.everything = tuple(dict.fromkeys((*candidates, *listed)))
        # child -> parent -> where the child names it first
        self.edges = {image.name: self._parents(image, self._possible(image)) for image in images}
        self.problems: list[Problem] = []
        # Where no list says so: the child at whose wish an image is wanted for a platform.
        self.wishes: dict[tuple[str, Platform], str] = {}

    def _possible(self, image: ImageSpec) -> Sequence[Platform]:
        return self.everything if image.platforms is None else image.platforms

    def _parents(self, image: ImageSpec, of: Iterable[Platform]) -> dict[str, BaseUse]:
        found: dict[str, BaseUse] = {}
        for platform in of:
            for use in self.bases(image, platform):
                if use.parent is not None:
                    found.setdefault(use.parent, use)
        return found

    def cycles(self) -> list[Problem]:
        """One problem for each cycle."""
        problems = []
        graph = {child: set(parents) for child, parents in self.edges.items()}
        while True:
            try:
                TopologicalSorter(graph).prepare()
            except CycleError as error:
                cycle = list(reversed(error.args[1]))  # each builds on the next; ends as it begins
                start = cycle.index(min(cycle))
                cycle = cycle[start:-1] + cycle[: start + 1]
                problems.append(self._cycle(cycle))
                graph[cycle[0]].discard(cycle[1])
            else:
                return problems

    def _cycle(self, cycle: Sequence[str]) -> Problem:
        child, parent = cycle[0], cycle[1]
        use = self.edges[child][parent]
        if child == parent:
            full = str(Reference.parse(use.written))
            hint = f", such as {full}" if full != use.written else ""
            message = (
                f"{child} builds on itself: {use.written} is this image; one from elsewhere is "
                f"called by its full name{hint}"
            )
        else:
            places = ", ".join(
                f"{self.images[one].dockerfile}:{self.edges[one][other].line}"
                for one, other in pairwise(cycle[1:])
            )
            message = f"the images build on each other: {' -> '.join(cycle)} (also {places})"
        return self._problem(child, use.line, message)

    def _problem(self, image: str, line: int, message: str) -> Problem:
        return Problem(file=self.images[image].dockerfile, line=line, column=0, message=message)

    def wanted(self) -> dict[str, tuple[Platform, ...]]:
        """The platforms of each image. There is no cycle."""
        parents_first = tuple(TopologicalSorter(self.edges).static_order())
        offered: dict[str, tuple[Platform, ...]] = {}
        for name in parents_first:
            offered[name] = self._offered(name, offered)
        wanted = {
            name: dict.fromkeys(self._chosen(self.images[name], offered[name]))
            for name in self.images
        }
        for name in reversed(parents_first):
            for platform in wanted[name]:
                for use in self.bases(self.images[name], platform):
                    if use.parent is None or platform in wanted[use.parent]:
                        continue
                    if self.images[use.parent].platforms is None:
                        wanted[use.parent][platform] = None
                        wish = self.wishes.get((name, platform), name)
                        self.wishes[use.parent, platform] = wish
                    else:
                        self.problems.append(self._conflict(name, platform, use))
        return {name: tuple(found) for name, found in wanted.items()}

    def _offered(
        self, name: str, offered: Mapping[str, tuple[Platform, ...]]
    ) -> tuple[Platform, ...]:
        """The platforms that an image could be built for, as far as its parents go."""
        image = self.images[name]
        if image.platforms is not None:
            return image.platforms
        found = tuple(
            platform
            for platform in self.everything
            if all(
                use.parent is None or platform in offered[use.parent]
                for use in self.bases(image, platform)
            )
        )
        if self.everything and not found:
            use = next(iter(self.edges[name].values()))
            parents = "; ".join(f"{p} for {_list(offered[p])}" for p in self.edges[name])
            message = f"{name} can be built for no platform; what it builds on is built: {parents}"
            self.problems.append(self._problem(name, use.line, message))
        return found

    def _chosen(self, image: ImageSpec, offered: tuple[Platform, ...]) -> tuple[Platform, ...]:
        if image.platforms is not None:
            return image.platforms
        # No candidate is left where only parents' lists name a platform that no
        # host has now: the image is then wanted for that, and the plan says so.
        return tuple(p for p in offered if p in self.candidates) or offered

    def _conflict(self, child: str, platform: Platform, use: BaseUse) -> Problem:
        parent = self.images[use.parent or ""]
        wisher = self.images[self.wishes.get((child, platform), child)]
        through = f" through {child}" if wisher.name != child else ""
        return self._problem(
            child,
            use.line,
            f"{wisher.name} wants {platform}{through}{_place(wisher)}, but {parent.name}, the "
            f"parent of {child}, is built for {_list(parent.platforms or ())} only{_place(parent)}",
        )


def _list(platforms: Iterable[Platform]) -> str:
    return ", ".join(map(str, platforms)) or "nothing"


def _place(image: ImageSpec) -> str:
    return f" ({image.location})" if image.location else ""
