"""What an engine is asked to build, and what comes of it."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from fleet.engine.detached import State
from fleet.events import to_json
from fleet.models import Attestation, Builder, Context, EngineFacts, JobId, Pairs
from fleet.platforms import Platform

_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")
# The first buildx that adds attestations of its own and has the options to leave them out.
_ATTESTING = (0, 10)


def hex_of(key: str) -> str:
    """64 hexadecimal digits that stand for a key: those of the digest that it mostly is."""
    match = _SHA256.fullmatch(key)
    return match[1] if match else hashlib.sha256(key.encode()).hexdigest()


def tag_of(job: JobId, key: str) -> str:
    """The name of a job's image on the host that built it."""
    return f"fleet/{job.image}:{job.platform.library_name}-{hex_of(key)[:12]}"


@dataclass(frozen=True, kw_only=True)
class BuildOrder:
    """One job as an engine builds it.

    ``key`` names the build on the host: the digest of the job's inputs. Build
    arguments are seen in the host's list of processes: they are no place for secrets.
    ``cache_from`` is an image whose layers may be taken for what they were made of; with
    ``inline_cache`` this one will be good for that, too.
    A build that takes longer than ``longest`` seconds, or says nothing for
    ``silence`` seconds, is ended on the host; 0 is no limit.
    """

    key: str
    job: JobId
    platform: Platform
    dockerfile: str  # the text, its bases pinned
    context: Context
    target: str | None = None
    build_args: Pairs = ()
    labels: Pairs = ()
    attestations: tuple[Attestation, ...] = ()
    no_cache: bool = False
    cache_from: str | None = None
    inline_cache: bool = False
    longest: float = 0.0
    silence: float = 0.0

    @property
    def name(self) -> str:
        """The folder of the build on the host."""
        return hex_of(self.key)[:32]

    @property
    def tag(self) -> str:
        """What holds the image on the host until it is pruned: ``fleet/hello:arm64v8-1a2b...``."""
        return tag_of(self.job, self.key)

    def files(self, engine: EngineFacts, state: PurePosixPath, slots: int = 0) -> dict[str, str]:
        """What goes into the build's folder on the host, which runs ``slots`` builds at a time."""
        folder = state / "builds" / self.name
        context = context_folder(state, self.context)
        about = {
            "key": self.key,
            "job": to_json(self.job),
            "context": self.context.digest,
            "target": self.target,
        }
        return {
            "Dockerfile": self.dockerfile,
            "Dockerfile.dockerignore": _FILTERED,
            "order.json": json.dumps(about) + "\n",
            "limits": f"{math.ceil(self.longest)} {math.ceil(self.silence)} {slots}\n",
            "keep": _KEEP.format(folder=shlex.quote(str(folder))),
            "drop": f"docker image rm {shlex.quote(self.tag)}\n",
            "command": _COMMAND.format(
                job=self.job,
                folder=shlex.quote(str(folder)),
                tag=shlex.quote(self.tag),
                build=shlex.join(self._argv(engine, context)),
            ),
        }

    def _attestations(self, engine: EngineFacts) -> Sequence[str]:
        asked = self.attestations if engine.attests else ()
        provenance = "mode=max" if Attestation.PROVENANCE in asked else "false"
        sbom = "true" if Attestation.SBOM in asked else "false"
        return [f"--provenance={provenance}", f"--sbom={sbom}"]

    def _argv(self, engine: EngineFacts, context: PurePosixPath) -> Sequence[str]:
        if engine.builder is Builder.BUILDX:
            # Attestations make an index of what is to be one manifest; whoever wants them asks.
            plain = builder_version(engine) >= _ATTESTING
            head = ["BUILDX_BUILDER=default", "docker", "buildx", "build"]
            head += self._attestations(engine) if plain else []
        else:
            head = ["DOCKER_BUILDKIT=1", "docker", "build"]
        # No --pull: the bases are there by digest, and BuildKit takes those without asking.
        return [
            "env",
            *head,
            "--progress=plain",
            f"--platform={self.platform}",
            "--iidfile=iid",
            "--file=Dockerfile",
            f"--tag={self.tag}",
            *(f"--label={name}={value}" for name, value in self.labels),
            *(f"--build-arg={name}={value}" for name, value in self.build_args),
            *([f"--target={self.target}"] if self.target else []),
            *(["--no-cache"] if self.no_cache else []),
            *([f"--cache-from={self.cache_from}"] if self.cache_from else []),
            # Understood by every BuildKit there is; --cache-to is not.
            *(["--build-arg=BUILDKIT_INLINE_CACHE=1"] if self.inline_cache else []),
            str(context),
        ]


# buildx writes the configuration's digest, by which an engine that keeps images in containerd
# finds none of them: there an image's id is its manifest's. The tag leads to the id everywhere.
# The image that the tag was on is nobody's once the same inputs are built anew. A build that
# has no log of an earlier execution left none.
_COMMAND = """\
#!/bin/sh
# {job}, ordered by fleet. Run it again by hand with: sh command
cd {folder} || exit
before=
[ ! -e log.1 ] || before=$(docker image inspect --format '{{{{.Id}}}}' {tag} 2>/dev/null)
{build}
status=$?
if [ "$status" = 0 ] && docker image inspect --format '{{{{.Id}}}}' {tag} >iid.own; then
    mv iid.own iid
fi
if [ "$status" = 0 ] && [ -n "$before" ] && [ "$before" != "$(cat iid)" ]; then
    docker image rm "$before" >/dev/null 2>&1
fi
exit "$status"
"""
# Comes before any .dockerignore of the context, which was obeyed when the context was made.
_FILTERED = "# the context was filtered on the controller\n"
_KEEP = """\
cd {folder} && docker image inspect --format '{{{{.Id}}}}' "$(cat iid)"
"""


def context_folder(state: PurePosixPath, context: Context) -> PurePosixPath:
    """Where a context is on a host."""
    name = hex_of(context.digest)
    return state / "contexts" / name / name


def builder_version(engine: EngineFacts) -> tuple[int, ...]:
    """The builder's version as numbers: (0, 13, 1)."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", engine.builder_version)
    return tuple(map(int, match[1].split("."))) if match else ()


@dataclass(frozen=True, kw_only=True)
class BuiltImage:
    """An image on the host that built it.

    ``id`` is the engine's own, ``key`` that of its order; ``tag`` holds it there.
    It was ``collected`` where its build was on the host before this engine asked for it.
    """

    id: str
    key: str
    tag: str
    collected: bool = False


@dataclass(frozen=True, kw_only=True)
class RemoteBuild:
    """A detached build that is present on a host, whoever started it.

    ``started`` is in seconds since the epoch by the host's clock.
    """

    key: str
    job: JobId
    state: State
    status: int | None
    started: float | None
