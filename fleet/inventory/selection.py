"""What a command line picks from an inventory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from fleet.errors import UsageError
from fleet.models import HostSpec, ImageSpec, Inventory
from fleet.suggest import did_you_mean

ALL = "all"


def select_hosts(inventory: Inventory, limit: Sequence[str]) -> tuple[HostSpec, ...]:
    """The hosts that ``--limit`` leaves, in inventory order; all where it says nothing.

    Each text holds one pattern or several with commas between: a host, a group,
    ``all``, or a glob over the names of both; ``!`` before a pattern takes its
    hosts out. Where every pattern takes out, it is from all hosts. Raises
    UsageError for a pattern that matches nothing, and where no host is left.
    """
    patterns = [pattern.strip() for text in limit for pattern in text.split(",")]
    wanted = [pattern for pattern in patterns if pattern and not pattern.startswith("!")]
    unwanted = [pattern[1:].strip() for pattern in patterns if pattern.startswith("!")]
    if limit and not wanted and not unwanted:
        raise UsageError(
            "--limit is empty", hint="name hosts or groups, or leave it out to take every host"
        )
    taken = _matches(inventory, wanted or [ALL]) - _matches(inventory, unwanted)
    if not taken:
        raise UsageError(f"--limit {','.join(limit)} leaves no host")
    return tuple(host for host in inventory.hosts if host.name in taken)


def select_images(inventory: Inventory, names: Sequence[str]) -> tuple[ImageSpec, ...]:
    """The images of these names or globs, in inventory order; all where none is named.

    Raises UsageError for a name that is no image, and where the inventory has none.
    """
    if not inventory.images:
        raise UsageError(
            f"{inventory.path} names no image, and there is no folder with a Dockerfile",
            hint="put a Dockerfile in dockerfiles/NAME/, or name images under `images`",
        )
    known = [image.name for image in inventory.images]
    taken: set[str] = set()
    for name in names:
        found = {image for image in known if fnmatchcase(image, name)}
        if not found:
            raise UsageError(
                f"{inventory.path} has no image {name!r}{did_you_mean(name, known)}",
                hint=f"its images are {_few(known)}",
            )
        taken |= found
    return tuple(image for image in inventory.images if not names or image.name in taken)


def _matches(inventory: Inventory, patterns: Iterable[str]) -> set[str]:
    hosts = {host.name for host in inventory.hosts}
    members = {ALL: hosts, **{name: set(group) for name, group in inventory.groups}}
    members |= {host: {host} for host in hosts}
    found: set[str] = set()
    for pattern in patterns:
        names = [name for name in members if name == pattern or fnmatchcase(name, pattern)]
        if not names:
            raise UsageError(
                f"--limit: no host or group matches {pattern!r}{did_you_mean(pattern, members)}",
                hint=f"the hosts are {_few([host.name for host in inventory.hosts])}",
            )
        found.update(*(members[name] for name in names))
    return found


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(names[:12]) + more
