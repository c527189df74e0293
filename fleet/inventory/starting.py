"""The inventory that ``fleet init`` writes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from fleet.errors import UsageError
from fleet.inventory import schema, tree
from fleet.inventory.borrowed import with_recipes
from fleet.inventory.loading import image_folders
from fleet.references import check_repository

_TEXT = Template("""\
# What fleet builds, where, and where it goes. `fleet plan` explains what would be done.
# Only the first sections are needed; every other key is shown with an example, and
# `inventory.yml` of the distribution and docs/reference.md explain all of them.

# Where images go: `embedded` is a registry that fleet runs on this machine.
registry: embedded
# registry: registry.example.org/team     # or http://host:5000/team for one without TLS
$registries
# tags: [latest, "{date}"]                # of what is published; also {version}, {git_sha}
# platforms: [linux/amd64, linux/arm64]   # wanted of every image; default: each host's own
# ssh_config: ssh_config                  # instead of ~/.ssh/config
# state: ~/.cache/fleet                   # fleet's folder on the hosts

# The machines that build.
hosts:
$engine
  here: {connection: local}
$aliases  # server: root@server.example.net       # as ssh takes it, aliases too
  # pi:
  #   address: pi@10.0.0.12:22
  #   identity_file: ~/.ssh/id_ed25519    # default: what ssh would take
  #   slots: 2                            # builds at the same time; default 1
  #   platforms: [linux/arm/v7, arm/v6]   # a limit on what probing finds
  #   emulate: [linux/arm/v6]             # may be emulated here; nothing may by default
  #   state: /mnt/disk/fleet

# Names for several hosts, to use with --limit.
# groups:
#   arm: [pi]

# What is built. `recipes` takes the images of a Compose or bake file.
$recipes
# Leave `images` out to take every folder under dockerfiles/ with a Dockerfile, or all of `recipes`.
# dockerfiles: dockerfiles
$images
  # tool:
  #   context: dockerfiles/tool           # the default
  #   dockerfile: Dockerfile              # in the context
  #   build_args: {VERSION: "1.10"}
  #   target: runtime                     # a stage of the Dockerfile; default: the last
  #   platforms: [linux/amd64]
  #   version: "1.10"                     # what {version} in tags stands for
  #   smoke: [tool, --version]            # must succeed in the image before it is published
  #   prepare: [./fetch]                  # is run here, in the context, before that is read
""")
# As `docker compose` looks for them, and then bake's, of which fleet reads the JSON.
_COMPOSE = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_BAKE = ("docker-bake.json", "docker-bake.override.json")
_MADE_UP = "inventory.yml"  # the file in which a Compose file is named to try it
_FEW = 20  # aliases of ssh_config that are proposed


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """A Compose or bake file that fleet can read: its images, and their contexts."""

    file: str
    images: tuple[str, ...]
    contexts: frozenset[Path]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What ``fleet init`` has found by itself.

    ``images`` are names with contexts, ``aside`` are files with recipes that cannot be
    taken, with the reason, ``engine`` is this machine in a few words, or ``lack`` says
    why it cannot build. ``registries`` are proposals, and whether somebody is logged in.
    """

    images: Mapping[str, str] = field(default_factory=dict)
    recipes: Recipes | None = None
    aside: tuple[tuple[str, str], ...] = ()
    engine: str | None = None
    lack: str | None = None
    aliases: tuple[str, ...] = ()
    registries: tuple[tuple[str, bool], ...] = ()

    @property
    def told(self) -> tuple[str, ...]:
        """The findings, a sentence each."""
        names = [*(self.recipes.images if self.recipes else ()), *self.images]
        lines = [
            f"this machine builds {', '.join(names)}"
            if names
            else "no Dockerfile found; name your images there"
        ]
        lines += [f"the engine here: {self.engine}"] if self.engine else []
        lines += [f"this machine cannot build yet: {self.lack}"] if self.lack else []
        lines += [f"{file} is left aside: {why}" for file, why in self.aside]
        if self.aliases:
            lines.append(f"hosts that ssh knows are there as comments: {len(self.aliases)}")
        return tuple(lines)

    @property
    def next(self) -> str:
        """The command that comes next."""
        return "doctor" if self.lack else "build"


def find_recipes(folder: Path) -> tuple[Recipes | None, tuple[tuple[str, str], ...]]:
    """A Compose or bake file whose images fleet can build, and those that it cannot take, why."""
    aside: list[tuple[str, str]] = []
    for names in (_COMPOSE, _BAKE):
        name = next((name for name in names if (folder / name).is_file()), None)
        if name is None:
            continue
        try:
            images = _images_of(folder, name)
        except UsageError as error:
            first, *more = str(error).splitlines()
            first = first.removeprefix(f"{folder / _MADE_UP}:1:10: ")
            aside.append((name, f"{first} (and {len(more)} more)" if more else first))
            continue
        if images:
            contexts = frozenset(context.resolve() for context in images.values())
            return Recipes(file=name, images=tuple(images), contexts=contexts), tuple(aside)
    if (folder / "docker-bake.hcl").is_file():
        why = "`docker buildx bake --print > docker-bake.json` makes what fleet reads"
        aside.append(("docker-bake.hcl", why))
    return None, tuple(aside)


def _images_of(folder: Path, name: str) -> dict[str, Path]:
    """The images of a Compose or bake file, with their contexts. Raises UsageError."""
    problems = tree.Problems()
    source = tree.parse(f"recipes: {json.dumps(name)}\n", folder / _MADE_UP, problems)
    assert isinstance(source, tree.Mapping), "it was written as one"
    native = with_recipes(source, folder, os.environ, problems)
    read, _ = schema.read(native, problems)
    problems.raise_if_any()
    return {
        image: folder / (each.context or f"dockerfiles/{image}")
        for image, each in (read.images or {}).items()
    }


def find_images(folder: Path, *, besides: Recipes | None = None) -> dict[str, str]:
    """The images that a folder seems to hold: names, and contexts relative to it.

    They are the folders with a Dockerfile under ``dockerfiles/``, and the folder
    itself under its own name, ``besides`` what recipes build already. Raises
    UsageError where it cannot be read.
    """
    contexts = {f"dockerfiles/{name}": name for name in image_folders(folder / "dockerfiles")}
    if (folder / "Dockerfile").is_file():
        contexts["."] = folder.resolve().name
    found: dict[str, str] = {}
    built = besides.contexts if besides else frozenset()
    taken = set(besides.images) if besides else set()
    # Folders that are names of images already keep them.
    for context, name in sorted(contexts.items(), key=lambda pair: _image_name(pair[1]) != pair[1]):
        if (folder / context).resolve() in built:
            continue
        image = _image_name(name)
        while image in found or image in taken:
            image += "-2"
        if context.isprintable():  # others cannot be written into a file
            found[image] = context
    return found


def starter(found: Found) -> str:
    """The text of an inventory of this machine, with what else was found as comments."""
    lines = ["images:" if found.images else "# images:"]
    for name, context in found.images.items():
        quoted = json.dumps(context, ensure_ascii=False)
        default = context == f"dockerfiles/{name}"
        lines.append(f"  {name}:" if default else f"  {name}: {{context: {quoted}}}")
    return _TEXT.substitute(
        images="\n".join(lines),
        registries="".join(_registry_lines(found)),
        engine=_comment(
            found.engine or f"it cannot build yet, {found.lack or 'and was not looked at'}"
        ),
        aliases="".join(_alias_lines(found)),
        recipes="\n".join(_recipe_lines(found)),
    )


def _registry_lines(found: Found) -> Iterator[str]:
    for address, logged_in in found.registries:
        if not address.isprintable():
            continue
        note = "somebody is logged in there" if logged_in else "docker login comes first"
        yield f"# registry: {address:29} # {note}\n"


def _alias_lines(found: Found) -> Iterator[str]:
    names = [name for name in found.aliases if _writable(name)][:_FEW]
    if names:
        yield "  # Hosts that ~/.ssh/config knows; `fleet hosts` says what each can build.\n"
    for name in names:
        yield f"  # {name}:\n"


def _recipe_lines(found: Found) -> Iterator[str]:
    for file, why in found.aside:
        yield f"# {file} is left aside, {' '.join(why.split())}"
    if found.recipes:
        yield f"recipes: {found.recipes.file}"
    else:
        yield "# recipes: docker-compose.yml"


def _comment(text: str) -> str:
    """A line that is a comment whatever stands in it."""
    return "  # " + "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def _writable(name: str) -> bool:
    """Whether a name may stand in an inventory as it is."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) is not None and name not in ("all", "here")


def _image_name(folder: str) -> str:
    """The nearest valid name of an image to the name of a folder."""
    for name in (folder, re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")):
        with suppress(UsageError):
            return check_repository(name)
    return "image"
