"""What registries hold is read once, and only what matters."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from fleet.errors import NotInRegistry, RegistryDenied
from fleet.models import Held, PublishedImage, PublishedIndex, Recipe, Selection
from fleet.platforms import Platform
from fleet.references import Reference
from fleet.run.resolve import resolve
from tests.unit.plan.builders import (
    ALL,
    AMD64,
    ARM32,
    DEBIAN,
    REGISTRY,
    Fleet,
    arch_tag,
    image,
    index_of,
    job,
    published,
    repository,
)

HELLO = image("hello", on=[DEBIAN])
PLUGINS = image("plugins", on=["/hello", DEBIAN])


class StandInRegistry:
    """Holds what it is told to, and counts what it is asked. The real one has tests of its own."""

    def __init__(self, *held: str, error: Exception | None = None) -> None:
        self.held = held
        self.error = error
        self.asked: Counter[str] = Counter()
        self.lock = threading.Lock()

    def image(self, reference: Reference, platform: Platform | None = None) -> PublishedImage:
        self._ask(f"{reference}" + (f" {platform}" if platform else ""))
        return published(job(reference.repository.rpartition("/")[2], platform or AMD64))

    def index(self, reference: Reference) -> PublishedIndex:
        self._ask(str(reference))
        return index_of(reference.repository.rpartition("/")[2])

    def _ask(self, what: str) -> None:
        with self.lock:
            self.asked[what] += 1
        if self.error:
            raise self.error
        if what not in self.held and what.split(" ")[0] not in self.held:
            raise NotInRegistry(f"{what} is not there")


def look(
    registry: StandInRegistry,
    *recipes: Recipe,
    platforms: tuple[Platform, ...] = (),
    pin: bool = True,
) -> Held:
    fleet = Fleet(recipes=recipes)
    return resolve(
        registry=registry,  # type: ignore[arg-type]
        inventory=fleet.inventory,
        recipes=recipes,
        reports=fleet.reports,
        selection=Selection(platforms=platforms),
        repositories={r.image.name: repository(REGISTRY, r.image.name) for r in recipes},
        pin=pin,
    )


BASE = "docker.io/library/debian:trixie-slim"


def test_each_name_is_asked_for_once_however_many_images_use_it() -> None:
    registry = StandInRegistry(BASE)
    held = look(registry, HELLO, PLUGINS)
    assert set(registry.asked.values()) == {1}
    assert set(held.bases) == {(DEBIAN, platform) for platform in ALL}
    assert all(reference.digest for reference in held.bases.values())


def test_what_is_not_there_yet_is_left_out() -> None:
    there = arch_tag("hello", ARM32)
    held = look(StandInRegistry(BASE, there), HELLO, PLUGINS)
    assert set(held.images) == {job("hello", ARM32)}
    assert held.indexes == {}


def test_the_standing_indexes_are_read() -> None:
    name = str(repository(REGISTRY, "hello").tagged("latest"))
    assert set(look(StandInRegistry(BASE, name), HELLO, PLUGINS).indexes) == {"hello"}


def test_a_base_that_is_not_there_is_an_error_that_names_it_and_its_platform() -> None:
    with pytest.raises(NotInRegistry, match=r"debian:trixie-slim .* linux/"):
        look(StandInRegistry(), HELLO)


def test_parents_of_the_fleet_are_no_bases() -> None:
    registry = StandInRegistry(BASE)
    look(registry, HELLO, image("plugins", on=["/hello"]))
    assert not [name for name in registry.asked if name.startswith("docker.io/library/hello")]


def test_only_the_platforms_that_are_wanted_are_asked_for() -> None:
    registry = StandInRegistry(BASE)
    look(registry, HELLO, platforms=(ARM32,))
    assert set(registry.asked) == {
        f"{BASE} linux/arm/v7",
        arch_tag("hello", ARM32),
        str(repository(REGISTRY, "hello").tagged("latest")),
    }


def test_without_pinning_no_base_is_asked_for() -> None:
    registry = StandInRegistry()
    assert look(registry, HELLO, pin=False).bases == {}
    assert BASE not in "".join(registry.asked)


def test_a_registry_that_refuses_is_not_taken_for_an_empty_one() -> None:
    with pytest.raises(RegistryDenied):
        look(StandInRegistry(error=RegistryDenied("no")), HELLO)
