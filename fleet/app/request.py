"""What a command line asks for, and the inventory with that in it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet import inventory, plan
from fleet.durations import parse_duration
from fleet.errors import UsageError
from fleet.models import Inventory, Pairs, Selection
from fleet.platforms import Platform
from fleet.run.provenance import moment_of

if TYPE_CHECKING:
    from fleet.record.past import PastRun


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a command line asks for. ``wait`` for the lock is in seconds."""

    inventory: Path
    selection: Selection = field(default_factory=Selection)
    registry: str | None = None
    tags: tuple[str, ...] = ()
    build_args: Pairs = ()
    no_cache: bool = False
    push: bool = True
    metadata_file: Path | None = None
    pin: bool = True
    retries: int = 5
    wait: float = 0.0
    allow_partial: bool = False
    resumed: bool = False  # even what is to be built anew is collected where it is under way
    command: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        inventory: Path,
        images: Sequence[str] = (),
        platforms: Sequence[str] = (),
        limit: Sequence[str] = (),
        force: bool = False,
        max_age: str | None = None,
        build_args: Sequence[str] = (),
        **rest: Any,
    ) -> Request:
        """A request from the words of a command line. Raises UsageError."""
        return cls(
            inventory=inventory,
            selection=Selection(
                images=tuple(images),
                platforms=tuple(Platform.parse(name) for name in platforms),
                limit=tuple(limit),
                force=force,
                oldest=None if max_age is None else time.time() - parse_duration(max_age),
            ),
            build_args=tuple(_build_arg(text) for text in build_args),
            **rest,
        )

    @classmethod
    def again(cls, past: PastRun) -> Request:
        """The request of a run that goes on: what it has built, from then on, is not repeated."""
        known = {field.name for field in fields(cls)}
        told = {name: _frozen(value) for name, value in past.request.items() if name in known}
        chosen = dict(past.request.get("selection") or {})
        selection = Selection(**{name: _frozen(value) for name, value in chosen.items()})
        if selection.force:
            # What was built since then is done; what was not is as old as it was.
            selection = replace(selection, force=False, oldest=past.started)
        platforms = tuple(map(Platform.parse, chosen.get("platforms", ())))
        if told.get("metadata_file") is not None:
            told["metadata_file"] = Path(told["metadata_file"])
        return replace(
            cls(**{**told, "inventory": past.inventory}),
            selection=replace(selection, platforms=platforms),
            resumed=True,
            wait=0.0,
        )


def _frozen(value: Any) -> Any:
    """What the record keeps as a list, as the tuple that it was."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _build_arg(text: str) -> tuple[str, str]:
    """``NAME=VALUE``, or ``NAME`` for the environment's value, as docker build takes it."""
    name, equals, value = text.partition("=")
    if not name:
        raise UsageError(f"--build-arg {text!r} has no name", hint="write NAME=VALUE")
    if not equals:
        if name not in os.environ:
            raise UsageError(
                f"--build-arg {name} has no value, and no environment variable is named so",
                hint=f"write {name}=VALUE",
            )
        value = os.environ[name]
    return name, value


def load(request: Request) -> Inventory:
    """The inventory, with what the command line says instead. Raises InventoryError."""
    found = inventory.load(request.inventory, registry=request.registry, tags=request.tags)
    asked = dict(request.build_args)
    moment = moment_of(found.path.parent, found.tags)
    images = tuple(
        replace(
            image.with_args(asked),
            tags=plan.fill_tags(found.tags, {**moment, "version": image.version or ""}),
        )
        for image in found.images
    )
    return replace(found, images=images)
