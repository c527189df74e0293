"""What fleet is measured beside, had without installing it: nothing of it is needed elsewhere.

Everything is in one folder (``FLEET_BENCH_CACHE``, default ``~/.cache/fleet-bench``): a
virtual environment with PyPI's ansible-core and pyinfra, and Debian packages that are
only unpacked. The latter matters for QEMU: installed, it would register handlers with
this machine's kernel, and nothing here would be native any more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.measure import NotHere
from lab import debian
from lab.errors import LabError
from lab.machines import machine

_FROM_PYPI = ("ansible-core>=2.17", "pyinfra>=3")


def cache() -> Path:
    """The folder of it all."""
    folder = os.environ.get("FLEET_BENCH_CACHE") or Path.home() / ".cache" / "fleet-bench"
    return Path(folder)


def from_pypi(command: str) -> str:
    """The path of a command of ansible-core or pyinfra. Raises NotHere."""
    venv = cache() / "peers"
    if not (venv / "bin" / command).exists():
        _run(sys.executable, "-m", "venv", str(venv))
        _run(str(venv / "bin" / "pip"), "install", "--quiet", *_FROM_PYPI)
    return str(venv / "bin" / command)


def from_debian(package: str, file: str, *, suite: str = "") -> Path:
    """A file of a Debian package, unpacked and not installed. Raises NotHere.

    ``suite`` is this machine's own by default.
    """
    root = cache() / "debian" / (suite or "own") / package
    if not (root / file).exists():
        _unpack(package, suite, root)
    if not (root / file).exists():
        raise NotHere(f"Debian's package {package} holds no {file}")
    return root / file


def unpacked(name: str, packages: Sequence[str], *, suite: str = "trixie") -> Path:
    """A root file system of packages and all they depend on; nothing in it is configured.

    Raises NotHere.
    """
    root = cache() / "roots" / name
    if not root.exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        new = root.with_name(f"{name}.{os.getpid()}.new")
        try:
            debian.unpack(machine("amd64-1").architecture, suite, packages, new)
            new.rename(root)
        except LabError as error:
            raise NotHere(str(error)) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return root


def here(command: str, package: str) -> str:
    """The path of a command that is installed on this machine. Raises NotHere."""
    found = shutil.which(command) or shutil.which(command, path="/usr/sbin:/sbin")
    if found is None:
        raise NotHere(f"there is no {command}: apt-get install {package}")
    return found


def buildx() -> dict[str, str]:
    """An environment in which ``docker buildx`` is there. Raises NotHere."""
    docker = here("docker", "docker-cli")
    done = subprocess.run([docker, "buildx", "version"], capture_output=True, check=False)
    if done.returncode == 0:
        return dict(os.environ)
    plugin = from_debian(
        "docker-buildx", "usr/libexec/docker/cli-plugins/docker-buildx", suite="trixie"
    )
    config = cache() / "docker"
    (config / "cli-plugins").mkdir(parents=True, exist_ok=True)
    shutil.copy(plugin, config / "cli-plugins" / "docker-buildx")
    return {**os.environ, "DOCKER_CONFIG": str(config)}


def _unpack(package: str, suite: str, root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    options: list[str] = []
    if suite:
        try:
            mirror = debian.source()
        except LabError as error:
            raise NotHere(str(error)) from error
        apt = cache() / "apt" / suite
        (apt / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        said = "".join(f" {key}={value}" for key, value in mirror.options.items())
        (apt / "sources").write_text(f"deb [{said.strip()}] {mirror.uri} {suite} main\n")
        options = [
            "-o",
            f"Dir::Etc::sourcelist={apt / 'sources'}",
            "-o",
            "Dir::Etc::sourceparts=-",
            "-o",
            f"Dir::State::lists={apt / 'lists'}",
            "-o",
            f"Dir::Cache={apt}",
        ]
        _run("apt-get", *options, "-qq", "update")
    _run("apt-get", *options, "-qq", "download", package, folder=root)
    for archive in root.glob("*.deb"):
        _run("dpkg-deb", "-x", str(archive), str(root))
        archive.unlink()


def _run(*argv: str, folder: Path | None = None) -> None:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
        raise NotHere(f"{' '.join(argv[:3])} ended with {done.returncode}: {said}")
