"""Where published images are asked for by name, with an inventory or without one."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fleet.app.office import image_of, opened_registry
from fleet.app.request import Request, load
from fleet.app.workshop import Workshop, opened
from fleet.events import Emit
from fleet.references import Reference
from fleet.registry import CredentialStore, Registry
from fleet.run import copying
from fleet.run.retry import Policy

_RETRIES = 2  # somebody waits for the answer
_HTTP = "http://"  # before a reference: its registry is spoken to without TLS


@dataclass(frozen=True, kw_only=True)
class Counter:
    """Where published images are asked for by name, with an inventory or without one."""

    registry: Registry
    patience: copying.Patience
    workshop: Workshop | None = None

    def reference(self, name: str, *, tag: str | None = None) -> Reference:
        """What a name means; ``tag`` where an image of the inventory is named without one."""
        name = name.removeprefix(_HTTP)
        if self.workshop is None:
            return Reference.parse(name)
        return self.workshop.reference(name, tag=tag)


@contextmanager
def counter(
    names: Sequence[str], request: Request, *, plain_http: bool, emit: Emit, hosts: bool = False
) -> Iterator[Counter]:
    """Open what is needed to ask for names; ``plain_http`` is meant for those of no inventory.

    There need be no inventory, unless its ``hosts`` are wanted as well.
    """
    how = copying.Patience(
        policy=Policy(attempts=min(request.retries, _RETRIES) + 1),
        stop=threading.Event(),
        emit=emit,
    )
    if not hosts and not request.inventory.exists():
        plain = _plain(names, (), every=plain_http)
        with opened_registry(CredentialStore(), plain) as registry:
            yield Counter(registry=registry, patience=how)
        return
    fleet = load(request)
    images = {image.name for image in fleet.images}
    plain = _plain(names, images, every=plain_http)
    with opened(fleet, request, emit, plain_http=plain) as workshop:
        yield Counter(registry=workshop.registry, patience=how, workshop=workshop)


def _plain(names: Sequence[str], images: Collection[str], *, every: bool) -> list[str]:
    """The registries to speak plain http to: of names that say so, or ``every`` one's.

    Those of the inventory's images are the inventory's to say.
    """
    return [
        Reference.parse(name.removeprefix(_HTTP)).registry
        for name in names
        if (every or name.startswith(_HTTP)) and image_of(name) not in images
    ]
