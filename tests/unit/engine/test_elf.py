from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from fleet.engine.elf import mismatch
from fleet.platforms import Platform


def header(
    machine: int, *, bits: int = 64, little: bool = True, kind: int = 2, flags: int = 0
) -> bytes:
    order = "<" if little else ">"
    word = "Q" if bits == 64 else "I"
    ident = b"\x7fELF" + bytes([bits // 32, 1 if little else 2, 1]) + bytes(9)
    body = struct.pack(f"{order}HHI{word}{word}{word}I", kind, machine, 1, 0, 0, 0, flags)
    return (ident + body).ljust(64, b"\0")


@pytest.mark.parametrize(
    ("head", "platform"),
    [
        (header(62), "linux/amd64"),
        (header(62, kind=3), "linux/amd64"),
        (header(3, bits=32), "linux/386"),
        (header(183), "linux/arm64"),
        (header(40, bits=32, flags=0x5000400), "linux/arm/v7"),
        (header(40, bits=32, flags=0x5000400), "linux/arm/v6"),
        (header(40, bits=32, flags=0x5000200), "linux/arm/v5"),
        (header(40, bits=32, flags=0x5000200), "linux/arm/v7"),
        (header(22, little=False), "linux/s390x"),
        (header(21), "linux/ppc64le"),
        (header(243), "linux/riscv64"),
    ],
)
def test_an_executable_of_the_platform_is_right(head: bytes, platform: str) -> None:
    assert mismatch(head, Platform.parse(platform)) is None


@pytest.mark.parametrize(
    ("head", "platform", "words"),
    [
        (header(62), "linux/arm64", "an executable for linux/amd64, not linux/arm64"),
        (header(183), "linux/arm/v7", "an executable for linux/arm64, not linux/arm/v7"),
        (header(40, bits=32), "linux/arm64", "an executable for linux/arm, not linux/arm64"),
        (header(40, bits=32, flags=0x5000400), "linux/arm/v5", "a hard-float executable"),
        (header(21, little=False), "linux/ppc64le", "linux/ppc64, not"),
        (header(62, bits=32), "linux/amd64", "machine 62"),
        (header(4711), "linux/amd64", "machine 4711 of elf.h"),
        (header(62, kind=1), "linux/amd64", "no executable (type 1)"),
        (b"MZ\x90\0", "linux/amd64", "a Windows executable"),
        (b"\xcf\xfa\xed\xfe", "linux/amd64", "a macOS executable"),
        (b"\x7fELF\x02\x01", "linux/amd64", "no executable"),
        (b"", "linux/amd64", "no executable"),
    ],
)
def test_what_is_wrong_with_another_is_said(head: bytes, platform: str, words: str) -> None:
    assert words in str(mismatch(head, Platform.parse(platform)))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads this interpreter")
def test_the_interpreter_of_this_test_is_an_executable() -> None:
    head = Path(sys.executable).resolve().read_bytes()[:64]
    wrong = [p for p in ("amd64", "arm64", "arm/v7", "386") if mismatch(head, Platform.parse(p))]
    assert len(wrong) == 3
