"""The test executables: right by structure; that they run is shown in tests/real."""

from __future__ import annotations

import struct

import pytest

from fleet.hosts.proof import WORD, executable, provable
from fleet.platforms import Platform

ARM = [platform for platform in provable() if platform.architecture == "arm"]


@pytest.mark.parametrize("platform", provable(), ids=str)
def test_an_executable_is_a_small_static_elf_file(platform: Platform) -> None:
    file = executable(platform)
    assert file is not None
    assert file[:4] == b"\x7fELF"
    assert len(file) < 256
    wide, big = file[4] == 2, file[5] == 2
    order, number = ">" if big else "<", "Q" if wide else "I"
    kind, _, _, entry, phoff, shoff = struct.unpack_from(f"{order}HHI3{number}", file, 16)
    header_size = 64 if wide else 52
    assert (kind, phoff, shoff) == (2, header_size, 0)
    if wide:
        load, flags, offset, address, _, in_file, in_memory, align = struct.unpack_from(
            f"{order}II6Q", file, phoff
        )
    else:
        load, offset, address, _, in_file, in_memory, flags, align = struct.unpack_from(
            f"{order}8I", file, phoff
        )
    assert (load, offset, flags) == (1, 0, 5)
    assert in_file == in_memory == len(file)
    assert address % align == 0
    assert address >= 0x10000  # the lowest address that an ordinary user may map
    assert header_size < entry - address < len(file) - len(WORD)
    assert file.endswith(WORD)


@pytest.mark.parametrize("platform", provable(), ids=str)
def test_a_shell_that_reads_one_meets_an_exit_in_its_second_line(platform: Platform) -> None:
    first, second, *_ = (executable(platform) or b"").split(b"\n")
    assert second == b"exit 126"
    assert not set(first) & set(b"\"'`$\\;&|#")


def test_the_identification_is_what_emulators_are_registered_for() -> None:
    # The masks of qemu-user's handlers want zeros in the padding of e_ident.
    for platform in provable():
        assert (executable(platform) or b"")[6:16] == b"\1" + bytes(9)


def test_each_variant_of_arm_has_an_executable_of_its_own() -> None:
    assert len({executable(platform) for platform in ARM}) == len(ARM) == 3


@pytest.mark.parametrize("name", ["linux/arm/v8", "linux/mips", "windows/amd64", "linux/arm64/v9"])
def test_a_platform_without_an_executable_is_not_proven(name: str) -> None:
    assert executable(Platform.parse(name)) is None
