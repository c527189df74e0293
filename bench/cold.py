"""Whole builds on the lab, beside a shell script that does the same and nothing else.

Both have the same machines (the lab's: Docker Engines, the ARM ones emulated), the same
contexts and a registry of the same kind on this machine. The script is
``bench/scripts/build-all``; it was written to win.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from unittest.mock import patch

from bench import peers
from bench.measure import Measure, NotHere, Pair
from fleet import app
from lab import Lab
from lab.errors import LabError
from lab.machines import machine

SCRIPT = Path(__file__).parent / "scripts" / "build-all"
BUSYBOX = Path(__file__).resolve().parents[1] / "lab" / "images" / "busybox"
ARCH = {"linux/amd64": "amd64", "linux/arm64": "arm64v8", "linux/arm/v7": "arm32v7"}
ALL = ("amd64-1", "arm64-1", "armv7-1")
# Six images in a graph of depth 3: image -> what it is built on.
GRAPH = {
    "base": "",
    "left": "base",
    "right": "base",
    "one": "left",
    "two": "left",
    "three": "right",
}
# Many images that are alike, for two hosts to share.
WIDE = {"base": "", **{f"image-{n}": "base" for n in range(8)}}


def measures() -> tuple[Measure, ...]:
    """Whole builds: on two hosts of one kind, cold, with one file changed, with nothing changed."""
    script = "the shell script `bench/scripts/build-all`"
    return (
        Measure(
            name="two-hosts",
            what="9 images, 8 of them of 20 s each, on 2 hosts of one platform (2 slots), cold",
            against=f"{script}, which uses one host",
            aim=0.6,
            runs=3,
            warm=0,
            opened=_pair(
                ("amd64-1", "amd64-2"), ("amd64-1",), WIDE, Works.forget, seconds=20, slots=2
            ),
        ),
        Measure(
            name="cold",
            what="6 images in a graph of depth 3, on 3 platforms, cold",
            against=script,
            aim=1.05,
            runs=2,
            warm=0,
            opened=_everywhere(Works.forget),
        ),
        Measure(
            name="one-file",
            what="the same, one file of one image changed",
            against=script,
            aim=0.5,
            runs=3,
            opened=_everywhere(Works.change),
        ),
        Measure(
            name="night-script",
            what="the same, nothing changed",
            against=f"{script}, everything in BuildKit's cache",
            aim=0.1,
            limit=2.0,
            runs=5,
            opened=_everywhere(lambda works: None),
        ),
    )


def _everywhere(between: Callable[[Works], None]) -> Callable[[], AbstractContextManager[Pair]]:
    """On all platforms; whatever is measured so shares the machines and what is built there."""

    @contextmanager
    def opened() -> Iterator[Pair]:
        fleet, script = _both()
        yield lambda: fleet.timed(between), lambda: script.timed(between)

    return opened


@cache
def _both() -> tuple[Works, Works]:
    """fleet and the script on all platforms, until the process ends: a cold build takes minutes."""
    kept = ExitStack()
    atexit.register(kept.close)
    return _on(ALL, ALL, GRAPH, kept)


def _pair(
    ours: Sequence[str],
    theirs: Sequence[str],
    graph: Mapping[str, str],
    between: Callable[[Works], None],
    *,
    seconds: int,
    slots: int,
) -> Callable[[], AbstractContextManager[Pair]]:
    @contextmanager
    def opened() -> Iterator[Pair]:
        with ExitStack() as stack:
            fleet, script = _on(ours, theirs, graph, stack, seconds=seconds, slots=slots)
            yield lambda: fleet.timed(between), lambda: script.timed(between)

    return opened


def _on(
    ours: Sequence[str],
    theirs: Sequence[str],
    graph: Mapping[str, str],
    stack: ExitStack,
    *,
    seconds: int = 0,
    slots: int = 3,
) -> tuple[Works, Works]:
    """fleet and the script on their hosts, until the stack is closed. Raises NotHere."""
    lab = stack.enter_context(machines({*ours, *theirs}))
    fleet, script = (
        stack.enter_context(works(kind, names, graph, lab, seconds=seconds, slots=slots))
        for kind, names in ((Fleet, ours), (Script, theirs))
    )
    return fleet, script


@contextmanager
def machines(names: set[str]) -> Iterator[Lab]:
    """A lab with these machines up. Raises NotHere."""
    try:
        with Lab.named("bench") as lab:
            lab.up(sorted(names))
            yield lab
    except LabError as error:
        raise NotHere(str(error)) from error


@contextmanager
def works(
    kind: type[Works],
    hosts: Sequence[str],
    graph: Mapping[str, str],
    lab: Lab,
    *,
    seconds: int,
    slots: int,
) -> Iterator[Works]:
    """What builds the graph on these hosts, with its registry running. Raises NotHere."""
    peers.here("docker-registry", "docker-registry")
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        made = kind(
            lab=lab,
            hosts=tuple(hosts),
            graph=graph,
            root=Path(folder),
            seconds=seconds,
            slots=slots,
        )
        try:
            made.start()
            yield made
        finally:
            made.stop()


@dataclass(kw_only=True)
class Works:
    """One way of building all images, with contexts and a registry of its own."""

    lab: Lab
    hosts: tuple[str, ...]
    graph: Mapping[str, str]
    root: Path
    seconds: int  # that each build sleeps, as one that waits for a compiler
    slots: int
    count: int = field(default=0, init=False)
    registry: str = field(default="", init=False)

    def command(self) -> list[str]:
        """The whole build, as one process."""
        raise NotImplementedError

    def timed(self, between: Callable[[Works], None]) -> float:
        """The seconds that it takes, after what comes ``between`` two of them."""
        between(self)
        began = time.monotonic()
        done = subprocess.run(
            self.command(), env=self.environment, capture_output=True, text=True, check=False
        )
        spent = time.monotonic() - began
        if done.returncode != 0:
            raise RuntimeError(f"{self.command()[:3]}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return spent

    @property
    def environment(self) -> dict[str, str]:
        """What it runs in."""
        return {**os.environ, "XDG_STATE_HOME": str(self.root / "state")}

    @property
    def contexts(self) -> Path:
        """The folder of contexts."""
        return self.root / "dockerfiles"

    def start(self) -> None:
        """Write what is to be built, and start the registry."""
        for name, parent in self.graph.items():
            self._write(name, parent)
        self._start_registry()

    def stop(self) -> None:
        """End the registry."""
        with patch.dict(os.environ, self.environment):
            app.embedded_registry().stop()

    def forget(self) -> None:
        """Let registry and hosts know nothing of earlier builds."""
        self.stop()
        shutil.rmtree(self.root / "state", ignore_errors=True)
        self._start_registry()
        for name in self.hosts:
            host = self.lab.host(name)
            forget = (
                "docker images -q | sort -u | xargs -r docker rmi -f; docker builder prune -af;"
                " rm -rf ~/.cache/fleet ~/build-all"
            )
            host.run(["sh", "-c", forget], check=True)

    def change(self) -> None:
        """Change one file of the last image."""
        self.count += 1
        last = list(self.graph)[-1]
        (self.contexts / last / "data").write_text(f"change {self.count}\n" * 1000)

    def _start_registry(self) -> None:
        with patch.dict(os.environ, self.environment):
            self.registry = app.embedded_registry().start()

    def _write(self, name: str, parent: str) -> None:
        context = self.contexts / name
        if not parent:
            shutil.copytree(BUSYBOX, context)
            return
        context.mkdir(parents=True)
        work = f"RUN sleep {self.seconds}; echo {name} >/{name}\n"
        (context / "Dockerfile").write_text(f"FROM {parent}\n{work}COPY data /data-{name}\n")
        (context / "data").write_text(f"{name}\n" * 1000)


class Fleet(Works):
    """``fleet build``."""

    def start(self) -> None:
        """Besides, write the inventory."""
        platforms = dict.fromkeys(machine(host).platform for host in self.hosts)
        lines = "".join(
            f"  {host}: {{address: {host}, slots: {self.slots}}}\n" for host in self.hosts
        )
        self._inventory.parent.mkdir(parents=True, exist_ok=True)
        self._inventory.write_text(
            f"registry: embedded\nssh_config: {self.lab.ssh_config}\n"
            f"platforms: [{', '.join(platforms)}]\nhosts:\n{lines}"
        )
        super().start()

    def command(self) -> list[str]:
        """The command of a night."""
        return [sys.executable, "-m", "fleet", "build", "--inventory", str(self._inventory)]

    @property
    def _inventory(self) -> Path:
        return self.root / "inventory.yml"


class Script(Works):
    """``bench/scripts/build-all``."""

    def start(self) -> None:
        """Besides, write the levels of the graph."""
        super().start()
        depth: dict[str, int] = {}
        for name, parent in self.graph.items():
            depth[name] = depth[parent] + 1 if parent else 0
        levels = [
            " ".join(name for name in self.graph if depth[name] == level)
            for level in range(max(depth.values()) + 1)
        ]
        (self.contexts / "levels").write_text("\n".join(levels) + "\n")

    def command(self) -> list[str]:
        """The script, for all hosts."""
        hosts = [
            f"{host}={machine(host).platform}={ARCH[machine(host).platform]}" for host in self.hosts
        ]
        config = str(self.lab.ssh_config)
        return [str(SCRIPT), config, self.registry, str(self.contexts), str(self.slots), *hosts]
