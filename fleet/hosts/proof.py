"""Executables that prove what a machine executes, made here from the processors' manuals.

Each is a static ELF file of a few hundred bytes that runs one instruction which
only its platform has, writes one word to standard output and exits with 0. The
machine code is written out as instruction words, assembled with the two values
that vary: where the word lies, and how long it is.

Sources: System V ABI (ELF header and program header); the Linux system call
table of each architecture (syscall(2)); the instruction set manuals.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from fleet.platforms import Platform

WORD = b"native\n"

# A shell takes a file that the kernel does not execute for a script (POSIX, 2.9.1.1). The header
# is then one line of nonsense, and this the second. So the header may hold no quotes: the code
# begins at an offset whose byte, which is in the header, is none.
_NOT_A_SCRIPT = b"\nexit 126\n"
_START = {32: 0x68, 64: 0x88}

Assemble = Callable[[int, int], list[int] | bytes]
"""(address of the word, address of the code) -> instruction words, or bytes."""


@dataclass(frozen=True, kw_only=True)
class _Machine:
    """How an architecture's ELF files look."""

    number: int  # e_machine
    bits: int
    order: str = "<"  # of bytes, as struct has it
    flags: int = 0  # e_flags
    base: int = 0x10000  # where the file is mapped: above mmap_min_addr, a multiple of 64 KiB


_LENGTH = len(WORD)


def _amd64(special: bytes) -> Assemble:
    def code(word: int, _here: int) -> bytes:
        return (
            special
            + b"\xb8" + struct.pack("<I", 1)  # mov eax, 1 (write)
            + b"\xbf" + struct.pack("<I", 1)  # mov edi, 1
            + b"\xbe" + struct.pack("<I", word)  # mov esi, word
            + b"\xba" + struct.pack("<I", _LENGTH)  # mov edx, length
            + b"\x0f\x05"  # syscall, of 64-bit mode only
            + b"\xb8" + struct.pack("<I", 60)  # mov eax, 60 (exit)
            + b"\x31\xff"  # xor edi, edi
            + b"\x0f\x05"  # syscall
        )  # fmt: skip

    return code


def _i386(word: int, _here: int) -> bytes:
    return (
        b"\xb8" + struct.pack("<I", 4)  # mov eax, 4 (write)
        + b"\xbb" + struct.pack("<I", 1)  # mov ebx, 1
        + b"\xb9" + struct.pack("<I", word)  # mov ecx, word
        + b"\xba" + struct.pack("<I", _LENGTH)  # mov edx, length
        + b"\xcd\x80"  # int 0x80
        + b"\xb8" + struct.pack("<I", 1)  # mov eax, 1 (exit)
        + b"\x31\xdb"  # xor ebx, ebx
        + b"\xcd\x80"  # int 0x80
    )  # fmt: skip


def _arm(*special: int) -> Assemble:
    def code(word: int, here: int) -> list[int]:
        adr = here + 4 * (len(special) + 2)
        return [
            *special,
            0xE3A07004,  # mov r7, #4 (write)
            0xE3A00001,  # mov r0, #1
            0xE28F1000 | (word - adr - 8),  # add r1, pc, #(word - pc)
            0xE3A02000 | _LENGTH,  # mov r2, #length
            0xEF000000,  # svc #0
            0xE3A07001,  # mov r7, #1 (exit)
            0xE3A00000,  # mov r0, #0
            0xEF000000,  # svc #0
        ]

    return code


def _arm64(word: int, here: int) -> list[int]:
    distance = word - (here + 8)
    return [
        0xD2800808,  # movz x8, #64 (write)
        0xD2800020,  # movz x0, #1
        0x10000001 | (distance & 3) << 29 | (distance >> 2) << 5,  # adr x1, word
        0xD2800002 | _LENGTH << 5,  # movz x2, #length
        0xD4000001,  # svc #0
        0xD2800BA8,  # movz x8, #93 (exit)
        0xD2800000,  # movz x0, #0
        0xD4000001,  # svc #0
    ]


def _riscv64(word: int, here: int) -> list[int]:
    return [
        0xF2000053,  # fmv.d.x ft0, zero: the D extension, part of the G in RV64GC
        0x00010001,  # c.nop; c.nop: the C in RV64GC
        0x04000893,  # li a7, 64 (write)
        0x00100513,  # li a0, 1
        0x00000597,  # auipc a1, 0
        0x00058593 | (word - (here + 16)) << 20,  # addi a1, a1, word - pc
        0x00000613 | _LENGTH << 20,  # li a2, length
        0x00000073,  # ecall
        0x05D00893,  # li a7, 93 (exit)
        0x00000513,  # li a0, 0
        0x00000073,  # ecall
    ]


def _ppc64le(word: int, _here: int) -> list[int]:
    return [
        0x7C030166,  # mtvsrd vs0, r3: POWER8, where ppc64le begins
        0x38000004,  # li r0, 4 (write)
        0x38600001,  # li r3, 1
        0x3C800000 | word >> 16,  # lis r4, word@high
        0x60840000 | word & 0xFFFF,  # ori r4, r4, word@low
        0x38A00000 | _LENGTH,  # li r5, length
        0x44000002,  # sc
        0x38000001,  # li r0, 1 (exit)
        0x38600000,  # li r3, 0
        0x44000002,  # sc
    ]


def _s390x(word: int, here: int) -> bytes:
    return (
        b"\xa7\x29\x00\x01"  # lghi %r2, 1
        + b"\xc0\x30" + struct.pack(">i", (word - (here + 4)) // 2)  # larl %r3, word
        + b"\xa7\x49" + struct.pack(">h", _LENGTH)  # lghi %r4, length
        + b"\x0a\x04"  # svc 4 (write)
        + b"\xa7\x29\x00\x00"  # lghi %r2, 0
        + b"\x0a\x01"  # svc 1 (exit)
    )  # fmt: skip


def _loong64(word: int, here: int) -> list[int]:
    return [
        0x02C1000B,  # addi.d $a7, $zero, 64 (write)
        0x02C00404,  # addi.d $a0, $zero, 1
        0x18000005 | (word - (here + 8)) // 4 << 5,  # pcaddi $a1, word - pc
        0x02C00006 | _LENGTH << 10,  # addi.d $a2, $zero, length
        0x002B0000,  # syscall 0
        0x02C1740B,  # addi.d $a7, $zero, 93 (exit)
        0x02C00004,  # addi.d $a0, $zero, 0
        0x002B0000,  # syscall 0
    ]


def _mips64le(word: int, _here: int) -> list[int]:
    return [
        0x24021389,  # addiu $v0, $zero, 5001 (write, of the n64 ABI)
        0x24040001,  # addiu $a0, $zero, 1
        0x3C050000 | word >> 16,  # lui $a1, word@high
        0x34A50000 | word & 0xFFFF,  # ori $a1, $a1, word@low
        0x24060000 | _LENGTH,  # addiu $a2, $zero, length
        0x0000000C,  # syscall
        0x240213C2,  # addiu $v0, $zero, 5058 (exit)
        0x24040000,  # addiu $a0, $zero, 0
        0x0000000C,  # syscall
    ]


_X86_64 = _Machine(number=62, bits=64, base=0x400000)
_ARM = _Machine(number=40, bits=32, flags=0x05000000)  # EABI version 5
_POPCNT = b"\xf3\x0f\xb8\xc0"  # popcnt eax, eax: x86-64-v2
_AVX2 = b"\xc5\xfd\xfe\xc0"  # vpaddd ymm0, ymm0, ymm0: x86-64-v3
_AVX512 = b"\x62\xf1\x7d\x48\xfe\xc0"  # vpaddd zmm0, zmm0, zmm0: x86-64-v4

_PROGRAMS: dict[tuple[str, str | None], tuple[_Machine, Assemble]] = {
    ("amd64", None): (_X86_64, _amd64(b"")),
    ("amd64", "v2"): (_X86_64, _amd64(_POPCNT)),
    ("amd64", "v3"): (_X86_64, _amd64(_POPCNT + _AVX2)),
    ("amd64", "v4"): (_X86_64, _amd64(_POPCNT + _AVX2 + _AVX512)),
    ("386", None): (_Machine(number=3, bits=32, base=0x8040000), _i386),
    ("arm", "v5"): (_ARM, _arm(0xE16F3F13)),  # clz r3, r3
    ("arm", "v6"): (
        _ARM,
        _arm(
            0xE6BF3F33,  # rev r3, r3
            0xE6EF3073,  # uxtb r3, r3
            0xEE003A10,  # vmov s0, r3: the VFP of arm/v6 images
        ),
    ),
    ("arm", "v7"): (
        _ARM,
        _arm(
            0xE3003000,  # movw r3, #0
            0xE3403000,  # movt r3, #0
            0xF57FF05B,  # dmb ish
            0xEEB70A00,  # vmov.f32 s0, #1.0: the VFPv3 of arm/v7 images
        ),
    ),
    ("arm64", None): (_Machine(number=183, bits=64, base=0x400000), _arm64),
    ("riscv64", None): (_Machine(number=243, bits=64, flags=0x5), _riscv64),  # RVC, double
    ("ppc64le", None): (_Machine(number=21, bits=64, flags=2, base=0x10000000), _ppc64le),  # ELFv2
    ("s390x", None): (_Machine(number=22, bits=64, order=">", base=0x1000000), _s390x),
    ("loong64", None): (_Machine(number=258, bits=64, flags=0x43, base=0x120000000), _loong64),
    ("mips64le", None): (
        _Machine(number=8, bits=64, flags=0x80000007, base=0x10000000),  # MIPS64 release 2
        _mips64le,
    ),
}


def provable() -> tuple[Platform, ...]:
    """The platforms that there is an executable for."""
    return tuple(sorted(Platform.of("linux", *key) for key in _PROGRAMS))


def executable(platform: Platform) -> bytes | None:
    """The test executable of a platform; None where fleet has none."""
    found = _PROGRAMS.get((platform.architecture, platform.variant))
    if platform.os != "linux" or found is None:
        return None
    machine, assemble = found
    start = _START[machine.bits]
    here = machine.base + start
    # The word follows the code, whose length does not depend on where that is.
    length = len(_bytes(machine, assemble(here + 64, here)))
    word = here + -(-length // 4) * 4
    code = _bytes(machine, assemble(word, here)).ljust(word - here, b"\0")
    size = start + len(code) + _LENGTH
    header = _header(machine, entry=here, size=size)
    return (header + _NOT_A_SCRIPT).ljust(start, b"\0") + code + WORD


def _bytes(machine: _Machine, code: list[int] | bytes) -> bytes:
    return code if isinstance(code, bytes) else struct.pack(f"{machine.order}{len(code)}I", *code)


def _header(machine: _Machine, *, entry: int, size: int) -> bytes:
    """An ELF header and one program header, which maps the whole file to read and execute."""
    wide = machine.bits == 64
    order, number = machine.order, "Q" if wide else "I"
    ident = bytes([0x7F, *b"ELF", 2 if wide else 1, 1 if order == "<" else 2, 1, *bytes(9)])
    header_size, program_size = (64, 56) if wide else (52, 32)
    header = struct.pack(
        f"{order}HHI3{number}I6H",
        2,  # e_type: ET_EXEC
        machine.number,
        1,  # e_version
        entry,
        header_size,  # e_phoff
        0,  # e_shoff: no sections
        machine.flags,
        header_size,
        program_size,
        1,  # e_phnum
        0,
        0,
        0,
    )
    load, flags = 1, 5  # PT_LOAD; PF_R | PF_X
    place = (0, machine.base, machine.base, size, size)  # offset, addresses, sizes
    align = 0x10000
    if wide:
        program = struct.pack(f"{order}II6Q", load, flags, *place, align)
    else:
        program = struct.pack(f"{order}8I", load, *place, flags, align)
    return ident + header + program
