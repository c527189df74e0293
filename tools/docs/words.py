"""What the code has no room to say in itself: a line for each exit code, label, variable.

``check`` holds each table against the code, so that neither has what the other lacks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import fleet
from fleet import models
from fleet.errors import ExitCode
from fleet.run import labels
from tools.docs.keys import Undocumented

EXITS: Mapping[int, str] = {
    ExitCode.OK: "all published, or nothing to do",
    ExitCode.FAILED: "some job or index failed, or a check found something",
    ExitCode.USAGE: "usage or inventory: nothing was begun",
    ExitCode.UNREACHABLE: "no host or registry could be reached",
    ExitCode.PARTIAL: "published in part, as `--allow-partial` or the inventory allowed",
    ExitCode.LOCKED: "another run is at work on this inventory",
    ExitCode.INTERRUPTED: "interrupted; builds go on on their hosts: `fleet resume` collects"
    " them, `fleet cancel` ends them",
}

LABELS: Mapping[str, str] = {
    "architecture": "docker-library's name of the platform, such as `arm64v8`; of images",
    models.LABEL_INPUTS: "the digest of everything that the image was made from; of images",
    models.LABEL_PARTS: "the text that the former is the digest of; of images",
    models.LABEL_VERSION: "the version of fleet that built it; of images",
    models.LABEL_EMULATED: "`true` where it was built under emulation; of images, and of"
    " the index and its members as an annotation",
    models.LABEL_HOST: "the host that built it, with `record_host: true`; of images and members",
    models.LABEL_PARTIAL: "platforms that a partial publication could not renew; of indexes",
    "org.opencontainers.image.created": "`SOURCE_DATE_EPOCH`, or when it was ordered;"
    " of images, members and indexes",
    "org.opencontainers.image.revision": "the commit; of images, members and indexes",
    "org.opencontainers.image.source": "where the source is; of images, members and indexes",
    "org.opencontainers.image.version": "`version` of the image; of images, members and indexes",
    "org.opencontainers.image.base.name": "what it stands on; of images, members and indexes",
    "org.opencontainers.image.base.digest": "the digest of that; of images and members",
}

VARIABLES: Mapping[str, str] = {
    "FLEET_REGISTRY_USERNAME": "who logs in to the inventory's registry, before any file is asked",
    "FLEET_REGISTRY_PASSWORD": "that one's password; shown to no other registry",
    "FLEET_HOST": "in the environment of `provision` commands: the host that is meant",
    "FLEET_REGISTRY_IMAGE": "the image that serves as the embedded registry where this machine"
    " has no docker-registry",
    "DOCKER_CONFIG": "the folder of Docker's `config.json`; default `~/.docker`",
    "REGISTRY_AUTH_FILE": "podman's file of credentials, asked after Docker's",
    "SSH_AUTH_SOCK": "the SSH agent",
    "SOURCE_DATE_EPOCH": "the moment that `created` and `{date}` in tags tell, instead of now",
    "SSL_CERT_FILE": "a file of authorities to trust",
    "XDG_STATE_HOME": "where the record is kept, under `fleet/`; default `~/.local/state`",
}

# Set by fleet for its own parts, and no business of anybody else's.
_INTERNAL = {"FLEET_LOG_LIMIT"}


def check(options: Collection[str]) -> None:
    """Hold the tables against the code; ``options`` are the variables of options.

    Raises Undocumented, which names what has no words or no use.
    """
    _same("EXITS", {int(code) for code in EXITS}, {int(code) for code in ExitCode})
    named = {value for name, value in vars(models).items() if name.startswith("LABEL_")}
    standard = {
        value
        for value in vars(labels).values()
        if isinstance(value, str) and value.startswith("org.opencontainers.")
    }
    _same("LABELS", set(LABELS), {"architecture", *named, *standard})
    read = set()
    for path in Path(fleet.__file__).parent.rglob("*"):
        if path.suffix in (".py", ".sh"):
            read |= set(re.findall(r"\bFLEET_[A-Z][A-Z_]*\b", path.read_text(encoding="utf-8")))
    ours = {name for name in VARIABLES if name.startswith("FLEET_")}
    _same("VARIABLES", ours, read - set(options) - _INTERNAL)


def _same(
    table: str, told: set[object] | set[int] | set[str], known: set[object] | set[int] | set[str]
) -> None:
    lacking = sorted(map(str, known - told))
    if lacking:
        raise Undocumented(f"tools/docs/words.py: {table} lacks a line for {', '.join(lacking)}")
    idle = sorted(map(str, told - known))
    if idle:
        raise Undocumented(
            f"tools/docs/words.py: {table} tells of {', '.join(idle)}, which is gone"
        )
