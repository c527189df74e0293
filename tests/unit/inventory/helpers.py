"""Inventories out of texts, and what is said about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from fleet.errors import InventoryError
from fleet.inventory import load
from fleet.models import HostSpec, ImageSpec, Inventory

FILE = Path("inventory.yml")


def written(text: str | bytes, name: str = "inventory.yml") -> Path:
    path = Path(name)
    path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
    return path


def loaded(text: str | bytes) -> Inventory:
    return load(written(text))


def complaints(text: str | bytes) -> list[str]:
    """What is said of an inventory, without the name of its file."""
    with pytest.raises(InventoryError) as caught:
        loaded(text)
    return [str(problem).removeprefix(f"{FILE}:") for problem in caught.value.problems]


def host(text: str) -> HostSpec:
    """The one host of an inventory; ``text`` is its name and what it says of it."""
    (found,) = loaded(f"registry: embedded\nhosts:\n  {text}\n").hosts
    return found


def image(text: str) -> ImageSpec:
    """The first image of an inventory; ``text`` stands under ``images``."""
    return loaded(f"registry: embedded\nhosts: {{here: }}\nimages:\n{text}\n").images[0]


def placeless(inventory: Inventory) -> Inventory:
    """The same without the places in the file, which differ between its two forms."""
    return replace(
        inventory,
        hosts=tuple(replace(h, location=None) for h in inventory.hosts),
        images=tuple(replace(i, location=None) for i in inventory.images),
    )
