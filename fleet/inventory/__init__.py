"""What is built, where, and where it goes: one YAML file, read into models.

`tree` reads YAML into values that know their places, `ansible` puts Ansible's
form into fleet's own, and `borrowed` the images of Compose and bake files; `schema`
says what keys there are and what they take, and `loading` makes the models and finds
what does not fit together; `adding` puts a host into the file. Everything that is
wrong is said at once, each at its ``file:line:column``.
"""

from __future__ import annotations

from fleet.inventory.adding import add_host, check_addable, newcomer
from fleet.inventory.arriving import arrived
from fleet.inventory.loading import DEFAULT_NAME, load
from fleet.inventory.selection import select_hosts, select_images
from fleet.inventory.starting import Found, find_images, find_recipes, starter

__all__ = [
    "DEFAULT_NAME",
    "Found",
    "add_host",
    "arrived",
    "check_addable",
    "find_images",
    "find_recipes",
    "load",
    "newcomer",
    "select_hosts",
    "select_images",
    "starter",
]
