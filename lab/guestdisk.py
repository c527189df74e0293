"""The disk, kernel and initramfs of a guest, from its root filesystem."""

from __future__ import annotations

import lzma
import shutil
import tempfile
from pathlib import Path

from . import processes
from .recipes import BOOT_MODULES, FILES
from .rootfs import install, kernel_version


def write(root: Path, folder: Path, gibibytes: int) -> None:
    """Write ``disk.img``, ``kernel`` and ``initramfs`` into the folder."""
    version = kernel_version(root)
    shutil.copyfile(root / f"boot/vmlinuz-{version}", folder / "kernel")
    write_initramfs(root, version, folder / "initramfs")
    shutil.rmtree(root / "boot")
    write_disk(folder / "disk.img", gibibytes, root)


def write_disk(path: Path, gibibytes: int, content: Path | None = None) -> None:
    """A sparse file with an ext4 file system, none of it reserved, and that content."""
    processes.run(
        [
            "mke2fs",
            "-q",
            "-F",
            "-t",
            "ext4",
            "-m",
            "0",
            "-E",
            "lazy_itable_init=1,lazy_journal_init=1,nodiscard",
            *(["-d", str(content)] if content else []),
            str(path),
            f"{gibibytes}G",
        ]
    )


def boot_modules(root: Path, version: str) -> list[Path]:
    """The files of the modules the guest boots with, each after those it needs."""
    found: list[Path] = []
    for module in BOOT_MODULES:
        shown = processes.run(
            ["modprobe", "-d", str(root), "-S", version, "--show-depends", module]
        )
        for line in shown.stdout.splitlines():
            words = line.split()
            if words[0] == "insmod" and Path(words[1]) not in found:
                found.append(Path(words[1]))
    return found


def write_initramfs(root: Path, version: str, target: Path) -> None:
    """An archive of busybox, the modules and the script that mounts the disk."""
    with tempfile.TemporaryDirectory(prefix="fleet-lab-") as name:
        tree = Path(name)
        for folder in ("bin", "dev", "modules", "root"):
            (tree / folder).mkdir()
        shutil.copy(root / "usr/bin/busybox", tree / "bin/busybox")
        install(tree / "init", (FILES / "initramfs-init").read_text(), 0o755)
        order = []
        for path in boot_modules(root, version):
            data = path.read_bytes()
            if path.suffix == ".xz":
                data = lzma.decompress(data)
            order.append(path.name.removesuffix(".xz"))
            (tree / "modules" / order[-1]).write_bytes(data)
        (tree / "modules/order").write_text("\n".join(order) + "\n")
        processes.run(
            [
                "sh",
                "-c",
                'cd "$1" && find . | cpio --quiet -o -H newc >"$2"',
                "sh",
                name,
                str(target),
            ]
        )
