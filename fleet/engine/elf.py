"""What a file is made to run on, by its first bytes.

The layout is that of the System V ABI (``elf(5)``); machine numbers are those
of ``<elf.h>``.
"""

from __future__ import annotations

import struct

from fleet.platforms import Platform

# (e_machine, 64 bits, little-endian) -> architecture
_MACHINES = {
    (3, False, True): "386",
    (8, False, False): "mips",
    (8, False, True): "mipsle",
    (8, True, False): "mips64",
    (8, True, True): "mips64le",
    (21, True, False): "ppc64",
    (21, True, True): "ppc64le",
    (22, True, False): "s390x",
    (40, False, True): "arm",
    (62, True, True): "amd64",
    (183, True, True): "arm64",
    (243, True, True): "riscv64",
    (258, True, True): "loong64",
}
_EXECUTABLE, _SHARED = 2, 3  # e_type; position-independent executables are of type 3
_ARM_HARD_FLOAT = 0x400  # EF_ARM_ABI_FLOAT_HARD
# What is no ELF file is mostly one of these.
_OTHERS = (
    (b"MZ", "a Windows executable"),
    (b"\xcf\xfa\xed\xfe", "a macOS executable"),
    (b"\xca\xfe\xba\xbe", "a macOS executable or a Java class"),
    (b"PK\x03\x04", "a zip or Java archive"),
)


def mismatch(head: bytes, platform: Platform) -> str | None:
    """Why a file with these first bytes does not run on the platform; None where it does.

    The header tells soft-float from hard-float ARM but not v6 from v7: what it
    does not tell counts as right.
    """
    if head[:4] != b"\x7fELF" or len(head) < 52:
        kind = next((name for magic, name in _OTHERS if head.startswith(magic)), None)
        return f"{kind or 'no executable'}, not an executable for {platform}"
    little = head[5] == 1
    kind_, machine = struct.unpack_from("<HH" if little else ">HH", head, 16)
    if kind_ not in (_EXECUTABLE, _SHARED):
        return f"an ELF file that is no executable (type {kind_})"
    architecture = _MACHINES.get((machine, head[4] == 2, little))
    if architecture is None:
        return f"an executable for machine {machine} of elf.h, not {platform}"
    if architecture != platform.architecture:
        return f"an executable for linux/{architecture}, not {platform}"
    if platform.architecture == "arm" and platform.variant == "v5":
        flags = struct.unpack_from("<I", head, 36)[0]
        if flags & _ARM_HARD_FLOAT:
            return f"a hard-float executable, which needs more than {platform}"
    return None
