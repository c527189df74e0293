"""The inventory that ``fleet init`` writes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from string import Template

from fleet.errors import UsageError
from fleet.inventory.loading import image_folders
from fleet.references import check_repository

_TEXT = Template("""\
# What fleet builds, where, and where it goes. `fleet plan` explains what would be done.
# Only the first sections are needed; every other key is shown with an example.

# Where images go: `embedded` is a registry that fleet runs on this machine.
registry: embedded
# registry: registry.example.org/team     # or http://host:5000/team for one without TLS

# tags: [latest, "{date}"]                # of what is published; also {version}, {git_sha}
# platforms: [linux/amd64, linux/arm64]   # wanted of every image; default: each host's own
# ssh_config: ssh_config                  # instead of ~/.ssh/config
# state: ~/.cache/fleet                   # fleet's folder on the hosts

# The machines that build.
hosts:
  here: {connection: local}
  # server: root@server.example.net       # as ssh takes it; an alias of ~/.ssh/config does, too
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

# What is built. `recipes: docker-compose.yml` takes the images of a Compose or bake file.
# Leave `images` out to take every folder under dockerfiles/ with a Dockerfile.
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


def find_images(folder: Path) -> dict[str, str]:
    """The images that a folder seems to hold: names, and contexts relative to it.

    They are the folders with a Dockerfile under ``dockerfiles/``, and the folder
    itself under its own name. Raises UsageError where it cannot be read.
    """
    contexts = {f"dockerfiles/{name}": name for name in image_folders(folder / "dockerfiles")}
    if (folder / "Dockerfile").is_file():
        contexts["."] = folder.resolve().name
    found: dict[str, str] = {}
    # Folders that are names of images already keep them.
    for context, name in sorted(contexts.items(), key=lambda pair: _image_name(pair[1]) != pair[1]):
        image = _image_name(name)
        while image in found:
            image += "-2"
        if context.isprintable():  # others cannot be written into a file
            found[image] = context
    return found


def starter(*, images: Mapping[str, str]) -> str:
    """The text of an inventory of this machine alone; ``images`` as `find_images` has them."""
    lines = ["images:" if images else "# images:"]
    for name, context in images.items():
        quoted = json.dumps(context, ensure_ascii=False)
        default = context == f"dockerfiles/{name}"
        lines.append(f"  {name}:" if default else f"  {name}: {{context: {quoted}}}")
    return _TEXT.substitute(images="\n".join(lines))


def _image_name(folder: str) -> str:
    """The nearest valid name of an image to the name of a folder."""
    for name in (folder, re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")):
        with suppress(UsageError):
            return check_repository(name)
    return "image"
