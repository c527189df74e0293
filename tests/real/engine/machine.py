"""A small Debian in namespaces of its own, with an engine and two registries in it.

Nothing of it is seen outside, and all of it ends with its first process.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import bcrypt

from lab import debian
from tests.real.engine.localhost import PrefixedHost, until

PACKAGES = (
    "busybox-static",
    "ca-certificates",
    "coreutils",
    "dash",
    "docker-registry",
    "docker.io",
    "findutils",
    "gzip",
    "procps",
    "sed",
    "tar",
    "util-linux",
)
# Debian 13 has these apart from docker.io.
EXTRA = {"trixie": ("docker-cli", "docker-buildx")}

OPEN, CLOSED = 5000, 5001  # the registries' ports: one for everybody, one with a password
USER, PASSWORD = "builder", "correct-horse-battery"

# The machine ends with the tests, however these end.
_UNSHARE = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"),
)
_ENTER = """
set -e
root=$1 folder=$2
mount --make-rprivate /
mount -t overlay -o "lowerdir=$root,upperdir=$folder/upper,workdir=$folder/work" o "$folder/root"
cd "$folder/root"
mkdir -p proc sys dev run tmp root var/lib/docker srv/registry
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs run run
mount --bind "$folder/docker" var/lib/docker
mount --bind "$folder/registry" srv/registry
ip link set lo up
exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh -c '
docker-registry serve /srv/registry/open.yml >/srv/registry/open.log 2>&1 &
docker-registry serve /srv/registry/closed.yml >/srv/registry/closed.log 2>&1 &
dockerd --iptables=false --ip6tables=false >/srv/registry/dockerd.log 2>&1 &
while :; do sleep 1000 & wait; done'
"""


def rootfs(suite: str) -> Path:
    """The unpacked packages of a suite, kept between sessions."""
    packages = (*PACKAGES, *EXTRA.get(suite, ()))
    digest = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fleet-tests"
    folder = cache / f"engine-{suite}-{digest}"
    if not folder.exists():
        half = folder.with_name(f"{folder.name}.{os.getpid()}")
        half.mkdir(parents=True)
        try:
            architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True)
            debian.unpack(architecture.strip(), suite, packages, half)
            half.rename(folder)
        finally:
            shutil.rmtree(half, ignore_errors=True)
    return folder


class Machine:
    """The machine, from ``start`` to ``stop``."""

    def __init__(self, suite: str, folder: Path) -> None:
        self.suite = suite
        self.folder = folder

    def start(self) -> None:
        for name in ("upper", "work", "root", "docker", "registry"):
            (self.folder / name).mkdir(parents=True)
        registry = self.folder / "registry"
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()
        (registry / "htpasswd").write_text(f"{USER}:{hashed}\n")
        for name, port in (("open", OPEN), ("closed", CLOSED)):
            auth = "auth: {htpasswd: {realm: r, path: /srv/registry/htpasswd}}\n"
            (registry / f"{name}.yml").write_text(
                "version: 0.1\n"
                f"storage: {{filesystem: {{rootdirectory: /srv/registry/{name}}}}}\n"
                f"http: {{addr: 127.0.0.1:{port}}}\n" + (auth if name == "closed" else "")
            )
        self.process = subprocess.Popen(
            [*_UNSHARE, "sh", "-c", _ENTER, "sh", str(rootfs(self.suite)), str(self.folder)],
            stdin=subprocess.DEVNULL,
        )
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        until(lambda: children.read_text().split())
        self.pid = int(children.read_text())
        until(lambda: os.readlink(f"/proc/{self.pid}/root").endswith("/root"))
        host = self.host()
        until(lambda: host.run(["docker", "version"], check=False).status == 0)

    def stop(self) -> None:
        self.process.kill()  # and with it, by --kill-child, the first process in there
        self.process.wait()

    def host(self, state: str = "~/.cache/fleet") -> PrefixedHost:
        """A connection of its own."""
        enter = ["nsenter", "-t", str(self.pid), "--mount", "--net", "--pid", "--root", "--wd=/"]
        environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]
        return PrefixedHost(self.suite, *enter, "/usr/bin/env", "-i", *environment, state=state)

    def busybox(self) -> bytes:
        """A tar of a root file system with nothing but busybox."""
        busybox = rootfs(self.suite) / "usr/bin/busybox"
        if not busybox.exists():
            busybox = rootfs(self.suite) / "bin/busybox"
        buffer = BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.add(busybox, "bin/busybox")
            for name in ("sh", "cat", "echo", "sleep", "arch", "uname", "seq", "env", "ln", "cp"):
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        return buffer.getvalue()

    def digest_in_registry(self, name: str, repository: str, tag: str) -> str:
        """What a tag of one of the registries points to, by the registry's own files."""
        manifests = self.folder / "registry" / name / "docker/registry/v2/repositories" / repository
        return (manifests / "_manifests/tags" / tag / "current/link").read_text()
