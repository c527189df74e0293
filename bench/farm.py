"""Whole builds on the lab, beside ``podman farm build`` of Debian 13 on the same machines.

podman is unpacked from Debian's packages and not installed: on this machine, which has the
part of it that people type, and on the hosts, whose part is ``podman system service``. It has
there what it needs to be fast: a Debian 13 of its own, overlays on ext4, the host's network.
Before the clock starts its connections are known, its services run, and each host has its
tunnel to the registry, which fleet opens anew in each run.

One ``podman farm build`` is one image on one host of each platform. Of several hosts of a
platform it takes the one that answers first, whatever that one is doing.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bench import peers
from bench.cold import WIDE, Fleet, Script, Works, machines, works
from bench.measure import Measure, NotHere, Pair

SCRIPTS = Path(__file__).parent / "scripts"
PACKAGES = (
    *("podman", "crun", "netavark", "ca-certificates"),
    *("base-files", "bash", "coreutils", "dash", "findutils", "libc-bin", "mount", "util-linux"),
)
# On a host: Docker's folder is on its disk, and all else on an overlay, which bears no other.
FOLDER = "/var/lib/docker/bench-podman"
# Ten images in chains of two, as those of the measure `night`.
CHAINS = {f"image-{n}": f"image-{n - 1}" if n % 2 else "" for n in range(10)}
CONTAINERS = """\
[containers]
cgroups = "disabled"
netns = "host"
default_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
tmp_dir = "/bench/tmp"
"""
STORAGE = """\
[storage]
driver = "overlay"
graphroot = "/bench/storage"
runroot = "/bench/run"
"""
REGISTRIES = """\
unqualified-search-registries = ["{registry}"]
short-name-mode = "disabled"
[[registry]]
location = "{registry}"
insecure = true
"""
# What a host does until its input ends: the service, which alone is ended then.
SERVE = f"""\
cd {FOLDER}
rm -f bench/podman.sock
unshare --mount ./in-podman {FOLDER}/podman {FOLDER}/bench \
    podman system service --time=0 unix:///bench/podman.sock </dev/null >log 2>&1 &
until [ -S bench/podman.sock ]; do
    kill -0 $! 2>/dev/null || {{ tail -n 3 log; exit 1; }}
    sleep 0.05
done
echo ready
cat
kill $!
wait
"""


def measures() -> tuple[Measure, ...]:
    """On two hosts of one kind, and with nothing changed."""
    what = "9 images, 8 of them of 20 s each, on 2 hosts of one platform (2 slots), cold"
    farm = "`podman farm build` (5.4) of each image"
    first = "on the one of both hosts that answers first"
    two = ("amd64-1", "amd64-2")
    return (
        Measure(
            name="two-hosts-podman",
            what=what,
            against=f"{farm}, 2 at a time, {first}: none has more than its slots",
            aim=0.6,
            runs=3,
            warm=0,
            opened=_pair(two, WIDE, Works.forget, seconds=20, at_once=2),
        ),
        Measure(
            name="two-hosts-podman-4",
            what=what,
            against=f"{farm}, 4 at a time, {first}: one may have more than its slots",
            aim=0.6,
            runs=3,
            warm=0,
            opened=_pair(two, WIDE, Works.forget, seconds=20, at_once=4),
        ),
        Measure(
            name="night-podman",
            what=f"nothing changed, {len(CHAINS)} images by 1 platform (linux/amd64), on 1 host",
            against=f"{farm}, 5 at a time, everything in the host's cache",
            aim=0.1,
            limit=2.0,
            opened=_pair(("amd64-1",), CHAINS, lambda w: None, at_once=5),
        ),
    )


def _pair(
    hosts: Sequence[str],
    graph: Mapping[str, str],
    between: Callable[[Works], None],
    *,
    seconds: int = 0,
    at_once: int,
) -> Callable[[], AbstractContextManager[Pair]]:
    @contextmanager
    def opened() -> Iterator[Pair]:
        with ExitStack() as stack:
            lab = stack.enter_context(machines(set(hosts)))
            fleet, podman = (
                stack.enter_context(works(kind, hosts, graph, lab, seconds=seconds, slots=slots))
                for kind, slots in ((Fleet, 2), (Podman, at_once))
            )
            yield lambda: fleet.timed(between), lambda: podman.timed(between)

    return opened


@dataclass(kw_only=True)
class Podman(Script):
    """``bench/scripts/farm-all``; its slots are those of all hosts together."""

    services: list[subprocess.Popen[str]] = field(default_factory=list, init=False)

    def start(self) -> None:
        """Besides, lay podman on the hosts and make them a farm. Raises NotHere."""
        shutil.copy(SCRIPTS / "farm-all", self.root)
        for name, text in (("containers.conf", CONTAINERS), ("storage.conf", STORAGE)):
            (self.root / name).write_text(text)
        for name in self.hosts:
            self._lay(name)
        ssh = self.root / "home" / ".ssh"
        ssh.mkdir(mode=0o700, parents=True)
        shutil.copy(self.lab.known_hosts, ssh / "known_hosts")
        shutil.copy(self.lab.identity, ssh / "key")
        super().start()
        for name in self.hosts:
            host = self.lab.host(name)
            uri = f"ssh://root@{host.address}:{host.port}{FOLDER}/bench/podman.sock"
            key = "--identity=/bench/home/.ssh/key"
            self._podman("system", "connection", "add", name, key, uri)
        self._podman("farm", "create", "bench", *self.hosts)

    def stop(self) -> None:
        """End the services and the registry."""
        for service in self.services:
            service.communicate()  # the end of its input is what ends it
        self.services.clear()
        super().stop()

    def forget(self) -> None:
        """Let registry, hosts and this side know nothing of earlier builds."""
        self.stop()
        for name in ("state", "storage", "run", "tmp"):
            shutil.rmtree(self.root / name, ignore_errors=True)
        for name in self.hosts:
            gone = [f"{FOLDER}/bench/{kept}" for kept in ("storage", "run", "tmp")]
            self.lab.host(name).run(["rm", "-rf", *gone], check=True)
        self._start_registry()

    def command(self) -> list[str]:
        """The script, in a Debian that has podman."""
        return self._inside(
            "sh", "/bench/farm-all", self.registry, "/bench/dockerfiles", str(self.slots)
        )

    @cached_property
    def debian(self) -> Path:
        """The Debian 13 that has podman. Raises NotHere."""
        root = peers.unpacked("podman", PACKAGES)
        for name in ("mnt", "bench", "tmp", "var/tmp"):
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / "etc/passwd").write_text("root:x:0:0:root:/bench/home:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\n")
        (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
        return root

    def _start_registry(self) -> None:
        """Besides, start the services, with a tunnel from each host to the registry."""
        super()._start_registry()
        (self.root / "registries.conf").write_text(REGISTRIES.format(registry=self.registry))
        for name in self.hosts:
            for settings in self.root.glob("*.conf"):
                put = ["sh", "-c", f"cat >{FOLDER}/bench/{settings.name}"]
                self.lab.host(name).run(put, stdin=settings.read_text(), check=True)
            self._serve(name)

    def _serve(self, name: str) -> None:
        service = subprocess.Popen(
            [
                *("ssh", "-F", str(self.lab.ssh_config), "-o", "ExitOnForwardFailure=yes"),
                *("-R", f"{self.registry}:{self.registry}", name, shlex.join(["sh", "-c", SERVE])),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.services.append(service)
        assert service.stdout is not None
        if (said := service.stdout.readline()) != "ready\n":
            raise NotHere(f"podman does not serve on {name}: {said}{service.stdout.read()}".strip())

    def _lay(self, name: str) -> None:
        """Have podman's Debian on a host."""
        lay = f"mkdir -p {FOLDER}/bench/home && tar -C {FOLDER} -xf -"
        tar = ["tar", "-C", str(self.debian.parent), "-cf", "-", self.debian.name]
        tar += ["-C", str(SCRIPTS), "in-podman"]
        with subprocess.Popen(tar, stdout=subprocess.PIPE) as packed:
            ssh = ["ssh", "-F", str(self.lab.ssh_config), name, lay]
            subprocess.run(ssh, stdin=packed.stdout, check=True)

    def _inside(self, *argv: str) -> list[str]:
        script = str(SCRIPTS / "in-podman")
        return ["unshare", "--mount", script, str(self.debian), str(self.root), *argv]

    def _podman(self, *argv: str) -> None:
        done = subprocess.run(
            self._inside("podman", *argv), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise NotHere(f"podman {' '.join(argv[:3])}: {done.stderr.strip()}")
