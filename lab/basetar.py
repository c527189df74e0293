"""The root filesystem of the test image ``busybox``, as a reproducible tar.

An archive of the same busybox is the same to the byte: entries sorted, times zero, owner root.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

APPLETS = """
[ ash awk base64 basename cat chmod chown cmp cp cut date dd df dirname du echo env expr
false find grep gunzip gzip head hostname id kill ln ls md5sum mkdir mktemp mv nc nproc od
printenv printf ps pwd readlink realpath rm rmdir sed seq sh sha256sum sleep sort stat sync
tail tar tee test timeout touch tr true uname uniq wc wget which whoami xargs yes
"""
"""What is linked to busybox: what scripts of test images use, and every Debian build has."""

PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
GROUP = "root:x:0:\nnogroup:x:65534:\n"
ARCH = "#!/bin/sh\nexec uname -m\n"
FOLDERS = {"bin": 0o755, "etc": 0o755, "root": 0o700, "tmp": 0o1777, "usr": 0o755}


def name(platform: str) -> str:
    """The file's name for a platform, as the Dockerfile of ``busybox`` has it."""
    return f"rootfs-{''.join(platform.split('/')[1:])}.tar"


def write(busybox: Path, target: Path) -> None:
    """Write the archive around that static busybox."""
    entries: dict[str, tarfile.TarInfo] = {}
    contents: dict[str, bytes] = {}
    for folder, mode in FOLDERS.items():
        entry = tarfile.TarInfo(folder)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        entries[folder] = entry
    for applet in APPLETS.split():
        entry = tarfile.TarInfo(f"bin/{applet}")
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, "busybox", 0o777
        entries[entry.name] = entry
    for path, data, mode in (
        ("bin/arch", ARCH.encode(), 0o755),
        ("bin/busybox", busybox.read_bytes(), 0o755),
        ("etc/group", GROUP.encode(), 0o644),
        ("etc/passwd", PASSWD.encode(), 0o644),
    ):
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = len(data), mode
        entries[path], contents[path] = entry, data
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(entries):
            archive.addfile(entries[path], io.BytesIO(contents.get(path, b"")))
