"""What a command line asks for, how a run is shown, and the inventory with both in it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO, assert_never

from fleet import inventory, plan
from fleet.app.history import expected
from fleet.durations import parse_duration
from fleet.errors import UsageError
from fleet.events import Emit, Event, Notice
from fleet.models import Inventory, Pairs, Selection
from fleet.platforms import Platform
from fleet.record import (
    FailureTerminal,
    JsonLines,
    PlainTerminal,
    Tee,
    can_draw,
    wants_colour,
)
from fleet.record.past import PastRun
from fleet.record.tee import Reader
from fleet.run.provenance import moment_of


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


class Progress(StrEnum):
    """How a run is shown while it goes on."""

    AUTO = "auto"  # tty where there is a terminal that can draw, else plain
    TTY = "tty"  # the jobs at work, redrawn in place
    PLAIN = "plain"  # a line per event and per line of a build
    STEPS = "steps"  # the same without the lines of builds
    RAWJSON = "rawjson"  # the events
    QUIET = "quiet"  # nothing unless something went wrong


def reader(progress: Progress, out: TextIO) -> tuple[Reader, ...]:
    """The reader that shows a run on a stream."""
    match progress:
        case Progress.AUTO:
            return reader(Progress.TTY if can_draw(out) else Progress.PLAIN, out)
        case Progress.TTY:
            from fleet.record.live import LiveTerminal  # imports rich: late

            return (LiveTerminal(out, usual=expected, colour=wants_colour()),)
        case Progress.PLAIN:
            return (PlainTerminal(out),)
        case Progress.STEPS:
            return (PlainTerminal(out, verbose=False),)
        case Progress.RAWJSON:
            return (JsonLines(out, logs=True),)
        case Progress.QUIET:
            return (FailureTerminal(out),)
        case _:
            assert_never(progress)


def teller(out: TextIO) -> Emit:
    """Tells the notices, for a command that makes no record and whose answer goes elsewhere."""
    show = Tee(PlainTerminal(out))

    def tell(event: Event) -> None:
        if isinstance(event, Notice):
            show(event)

    return tell
