"""What is built, where, and where it goes: one YAML file, read into models.

`tree` reads YAML into values that know their places, `ansible` puts Ansible's
form into fleet's own, and `borrowed` the images of Compose and bake files; `schema`
says what keys there are and what they take, and `loading` makes the models and finds
what does not fit together; `adding` puts a host into the file. Everything that is
wrong is said at once, each at its ``file:line:column``.

A name of this package brings its module with it when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet.byneed import by_need

if TYPE_CHECKING:
    from fleet.inventory.adding import add_host as add_host
    from fleet.inventory.adding import check_addable as check_addable
    from fleet.inventory.adding import newcomer as newcomer
    from fleet.inventory.arriving import arrived as arrived
    from fleet.inventory.loading import DEFAULT_NAME as DEFAULT_NAME
    from fleet.inventory.loading import load as load
    from fleet.inventory.selection import select_hosts as select_hosts
    from fleet.inventory.selection import select_images as select_images
    from fleet.inventory.starting import Found as Found
    from fleet.inventory.starting import find_images as find_images
    from fleet.inventory.starting import find_recipes as find_recipes
    from fleet.inventory.starting import starter as starter

_NAMES = {
    "fleet.inventory.adding": "add_host check_addable newcomer",
    "fleet.inventory.arriving": "arrived",
    "fleet.inventory.loading": "DEFAULT_NAME load",
    "fleet.inventory.selection": "select_hosts select_images",
    "fleet.inventory.starting": "Found find_images find_recipes starter",
}

__getattr__ = by_need(__name__, _NAMES)
