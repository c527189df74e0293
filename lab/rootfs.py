"""Turns unpacked packages into a root filesystem that boots.

The packages' own scripts have not run (they would be emulated, and slow): what they would have
done, as far as a lab host needs it, is done here by hand.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from . import processes
from .errors import LabError
from .keys import KeyPair
from .recipes import FILES, FRESH_FILES, HOST_MODULES, Recipe

UNPRIVILEGED = "nodocker"
"""A user who may log in but not use Docker."""

ADMIN = "admin"
"""A user of a machine without an engine, who may become root by sudo."""

NEEDLESS = (
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "usr/lib/udev",
    "var/cache/apt",
    "var/lib/apt/lists",
)
NEEDLESS_MODULES = ("gpu", "infiniband", "media", "iio", "staging", "hid", "usb", "scsi", "input")
"""Kinds of drivers a guest has no hardware for."""


def configure(root: Path, recipe: Recipe, client: KeyPair, host: KeyPair) -> None:
    """Configure what was unpacked: users, keys, links and the lab's own files."""
    for path in NEEDLESS:
        shutil.rmtree(root / path, ignore_errors=True)
    copy_files(root)
    add_users(root, client)
    add_links(root)
    add_certificates(root)
    install(root / "etc/ssh/ssh_host_ed25519_key", host.private.read_text(), 0o600)
    install(root / "etc/ssh/ssh_host_ed25519_key.pub", host.public_text + "\n", 0o644)
    # The lab's own sshd keeps its key when a host's is changed.
    install(root / "lab/ssh_host_key", host.private.read_text(), 0o600)
    install(root / "lab/modules", "\n".join(HOST_MODULES) + "\n", 0o644)
    for folder in ("etc/docker", "home", "run", "tmp", "var/log", "var/lib/docker", "controller"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    if recipe.kind == "guest":
        trim_kernel(root)


def configure_installed(root: Path, client: KeyPair, host: KeyPair) -> None:
    """Configure a Debian that is installed: keys, a user who may become root, what boots it.

    Nothing else is touched, sshd's own configuration least of all: what is tried out on such a
    machine is what its packages make of it.
    """
    for name in ("init-namespace", "service"):
        install(root / "lab" / name, (FILES / "rootfs/lab" / name).read_text(), 0o755)
    for target, file in FRESH_FILES.items():
        install(root / target, file.read_text(), 0o755)
    for path in (root / "etc/ssh").glob("ssh_host_*"):
        path.unlink()
    install(root / "etc/ssh/ssh_host_ed25519_key", host.private.read_text(), 0o600)
    install(root / "etc/ssh/ssh_host_ed25519_key.pub", host.public_text + "\n", 0o644)
    processes.run(
        ["chroot", str(root), "useradd", "-m", "-u", "1000", "-s", "/bin/bash", "-p", "*", ADMIN]
    )
    install(root / "etc/sudoers.d/lab", f"{ADMIN} ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    for home, owner in ((root / "root", 0), (root / "home" / ADMIN, 1000)):
        keys = home / ".ssh/authorized_keys"
        install(keys, client.public_text + "\n", 0o600)
        keys.parent.chmod(0o700)
        for path in (keys.parent, keys):
            os.chown(path, owner, owner)
    (root / "controller").mkdir(exist_ok=True)


def install(path: Path, text: str, mode: int) -> None:
    """Write a file of root's with that mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def copy_files(root: Path) -> None:
    """The lab's own files, whose modes are kept: scripts are executable in the checkout."""
    for path in sorted((FILES / "rootfs").rglob("*")):
        if path.is_file():
            target = root / path.relative_to(FILES / "rootfs")
            mode = 0o755 if path.read_bytes().startswith(b"#!") else 0o644
            install(target, path.read_text(), mode)


def add_users(root: Path, client: KeyPair) -> None:
    """Users and groups: those of base-passwd's masters, sshd, docker, and the unprivileged one."""
    masters = root / "usr/share/base-passwd"
    passwd = (masters / "passwd.master").read_text()
    passwd = passwd.replace("root:*:0:0:root:/root:/bin/sh", "root:*:0:0:root:/root:/bin/bash")
    passwd += "sshd:*:101:65534::/run/sshd:/usr/sbin/nologin\n"
    passwd += f"{UNPRIVILEGED}:*:1000:1000::/home/{UNPRIVILEGED}:/bin/bash\n"
    group = (masters / "group.master").read_text()
    group += f"docker:*:999:\n{UNPRIVILEGED}:*:1000:\n"
    install(root / "etc/passwd", passwd, 0o644)
    install(root / "etc/group", group, 0o644)
    # A star, not an exclamation mark: sshd takes the latter for a locked account.
    names = [line.split(":")[0] for line in passwd.splitlines()]
    shadow = "".join(f"{name}:*:19000:0:99999:7:::\n" for name in names)
    install(root / "etc/shadow", shadow, 0o640)
    for home, owner in ((root / "root", 0), (root / "home" / UNPRIVILEGED, 1000)):
        folder = home / ".ssh"
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        install(folder / "authorized_keys", client.public_text + "\n", 0o600)
        for name in ("profile", "bashrc"):
            shutil.copyfile(root / f"usr/share/base-files/dot.{name}", home / f".{name}")
        for path in (home, *home.rglob("*")):
            os.chown(path, owner, owner)


def add_links(root: Path) -> None:
    """The links that packages make with update-alternatives and in their scripts."""
    for name in ("iptables", "ip6tables"):
        for suffix in ("", "-save", "-restore"):
            link(root / f"usr/sbin/{name}{suffix}", f"{name}-nft{suffix}")
    link(root / "usr/bin/awk", "mawk")
    for name in ("run", "lock"):
        # Some packages ship what base-files would have made a link before they came.
        if not (root / "var" / name).is_symlink():
            shutil.rmtree(root / "var" / name, ignore_errors=True)
    link(root / "var/run", "/run")
    link(root / "var/lock", "/run/lock")
    link(root / "etc/mtab", "../proc/self/mounts")
    shutil.copyfile(root / "usr/share/base-files/profile", root / "etc/profile")
    nsswitch = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
    install(root / "etc/nsswitch.conf", nsswitch, 0o644)


def link(path: Path, target: str) -> None:
    """A symbolic link, unless something is there already."""
    if not path.is_symlink() and not path.exists():
        path.symlink_to(target)


def add_certificates(root: Path) -> None:
    """The bundle of certificate authorities, which ca-certificates' script would make."""
    parts = sorted((root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    bundle = "".join(part.read_text().rstrip() + "\n" for part in parts)
    install(root / "etc/ssl/certs/ca-certificates.crt", bundle, 0o644)


def kernel_version(root: Path) -> str:
    """The one version of the kernel a guest has. Raises LabError if there is none."""
    versions = sorted(path.name for path in (root / "usr/lib/modules").glob("*"))
    if len(versions) != 1:
        raise LabError(f"{root}: expected one kernel, found {', '.join(versions) or 'none'}")
    return versions[0]


def trim_kernel(root: Path) -> None:
    """Drop device trees and drivers of absent hardware; list what modules need which."""
    version = kernel_version(root)
    modules = root / "usr/lib/modules" / version
    for kind in NEEDLESS_MODULES:
        shutil.rmtree(modules / "kernel/drivers" / kind, ignore_errors=True)
    shutil.rmtree(modules / "kernel/sound", ignore_errors=True)
    for folder in (root / "usr/lib").glob("linux-image-*"):
        shutil.rmtree(folder)
    processes.run(["depmod", "-b", str(root), version])
