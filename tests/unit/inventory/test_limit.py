"""``--limit`` and the names of images pick what a command line means, or say what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.errors import UsageError
from fleet.inventory import select_hosts, select_images
from fleet.models import HostSpec, ImageSpec, Inventory, RegistrySpec

from .helpers import FILE

HOSTS = ("big-1", "pi-1", "pi-2", "pi-10", "here")
FLEET = Inventory(
    path=FILE,
    registry=RegistrySpec(address=None),
    tags=("latest",),
    hosts=tuple(HostSpec(name=name) for name in HOSTS),
    images=tuple(
        ImageSpec(name=name, context=FILE, dockerfile=FILE)
        for name in ("orthanc", "orthanc-plugins", "tools/dcm")
    ),
    groups=(("arm", ("big-1", "pi-1")), ("pi-all", ("pi-1", "pi-2", "pi-10")), ("none", ())),
)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ([], HOSTS),
        (["all"], HOSTS),
        (["*"], HOSTS),
        (["pi-2"], ("pi-2",)),
        (["pi-2", "big-1"], ("big-1", "pi-2")),
        (["pi-2,big-1"], ("big-1", "pi-2")),
        ([" pi-2 , big-1 ,"], ("big-1", "pi-2")),
        (["pi-2", "pi-2"], ("pi-2",)),
        (["arm"], ("big-1", "pi-1")),
        (["pi-?"], ("pi-1", "pi-2")),
        (["*-1"], ("big-1", "pi-1")),
        (["[bh]*"], ("big-1", "here")),
        (["ar*"], ("big-1", "pi-1")),
        (["!pi-1"], ("big-1", "pi-2", "pi-10", "here")),
        (["!arm"], ("pi-2", "pi-10", "here")),
        (["!pi-*"], ("big-1", "here")),
        (["!pi-*", "!here"], ("big-1",)),
        (["arm", "!pi-1"], ("big-1",)),
        (["!pi-1", "arm"], ("big-1",)),
        (["arm,!pi-1,here"], ("big-1", "here")),
        (["! pi-1 , arm"], ("big-1",)),
        (["all,!none"], HOSTS),
    ],
)
def test_limit_leaves_these_hosts_in_inventory_order(
    limit: list[str], expected: tuple[str, ...]
) -> None:
    assert tuple(host.name for host in select_hosts(FLEET, limit)) == expected


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (["pi-3"], "--limit: no host or group matches 'pi-3' (did you mean 'pi-2'?)"),
        (["amr"], "--limit: no host or group matches 'amr' (did you mean 'arm'?)"),
        (["zzz*"], "--limit: no host or group matches 'zzz*'"),
        (["!heer"], "--limit: no host or group matches 'heer' (did you mean 'here'?)"),
        (["all", "!"], "--limit: no host or group matches ''"),
        ([""], "--limit is empty"),
        ([" , "], "--limit is empty"),
        (["none"], "--limit none leaves no host"),
        (["arm,!arm"], "--limit arm,!arm leaves no host"),
        (["PI-1"], "--limit: no host or group matches 'PI-1' (did you mean 'pi-1'?)"),
    ],
)
def test_a_limit_that_means_nothing_says_so(limit: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        select_hosts(FLEET, limit)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ["orthanc", "orthanc-plugins", "tools/dcm"]),
        (["orthanc-plugins", "orthanc"], ["orthanc", "orthanc-plugins"]),
        (["orthanc"], ["orthanc"]),
        (["orthanc*"], ["orthanc", "orthanc-plugins"]),
        (["tools/*"], ["tools/dcm"]),
    ],
)
def test_images_are_picked_by_name_or_glob(names: list[str], expected: list[str]) -> None:
    assert [image.name for image in select_images(FLEET, names)] == expected


def test_an_unknown_image_says_which_is_near_and_which_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        select_images(FLEET, ["orthanc", "orthnac"])
    assert str(caught.value) == (
        "inventory.yml has no image 'orthnac' (did you mean 'orthanc'?)\n"
        "  its images are orthanc, orthanc-plugins, tools/dcm"
    )


def test_an_inventory_without_images_has_nothing_to_build() -> None:
    with pytest.raises(UsageError, match=r"names no image.*\n.*put a Dockerfile in dockerfiles/"):
        select_images(replace(FLEET, images=()), [])
