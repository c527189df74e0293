"""Which files the kernel gives to an interpreter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.hosts import binfmt
from fleet.hosts.proof import executable
from fleet.platforms import Platform

ARM, ARM64, AMD64 = (
    executable(Platform.parse(name)) or b""
    for name in ("linux/arm/v7", "linux/arm64", "linux/amd64")
)
# As Debian's qemu-user-static registers it.
QEMU_ARM = """\
enabled
interpreter /usr/libexec/qemu-binfmt/arm-binfmt-P
flags: POCF
offset 0
magic 7f454c4601010100000000000000000002002800
mask ffffffffffffff00fffffffffffffffffeffffff
"""


def listing(*entries: tuple[str, str], status: str = "enabled") -> str:
    return f"{status}\n" + "".join(f"== {name}\n{text}" for name, text in entries)


def test_qemus_handler_serves_its_architecture_and_no_other() -> None:
    handlers = binfmt.parse(listing(("qemu-arm", QEMU_ARM)))
    found = binfmt.serving(handlers, ARM)
    assert found is not None
    assert (found.name, found.interpreter) == (
        "qemu-arm",
        "/usr/libexec/qemu-binfmt/arm-binfmt-P",
    )
    assert binfmt.serving(handlers, ARM64) is None
    assert binfmt.serving(handlers, AMD64) is None


def test_a_disabled_handler_serves_nothing() -> None:
    disabled = QEMU_ARM.replace("enabled", "disabled")
    assert binfmt.serving(binfmt.parse(listing(("qemu-arm", disabled))), ARM) is None


def test_nothing_serves_where_all_of_it_is_disabled() -> None:
    assert binfmt.parse(listing(("qemu-arm", QEMU_ARM), status="disabled")) == ()


def test_without_any_handler_nothing_serves() -> None:
    assert binfmt.parse("enabled\n") == ()


def test_a_handler_without_a_mask_wants_every_bit() -> None:
    text = "enabled\ninterpreter /usr/bin/cli\nflags: \noffset 0\nmagic 4d5a\n"
    (handler,) = binfmt.parse(listing(("cli", text)))
    assert handler.serves(b"MZ...")
    assert not handler.serves(b"MX...")


def test_a_handler_may_look_at_an_offset() -> None:
    text = "enabled\ninterpreter /x\nflags: \noffset 18\nmagic 2800\nmask ff00\n"
    (handler,) = binfmt.parse(listing(("by-machine", text)))
    assert handler.serves(ARM)
    assert not handler.serves(ARM[:18])
    assert not handler.serves(AMD64)


def test_a_handler_that_goes_by_the_name_of_a_file_is_left_out() -> None:
    text = "enabled\ninterpreter /usr/bin/jexec\nflags: \nextension .jar\n"
    assert binfmt.parse(listing(("jar", text), ("qemu-arm", QEMU_ARM)))[0].name == "qemu-arm"


@pytest.mark.parametrize("magic", ["magic xyz", "magic 7f45\nmask ff"])
def test_a_handler_that_makes_no_sense_is_an_error(magic: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        binfmt.parse(listing(("bad", f"enabled\ninterpreter /x\noffset 0\n{magic}\n")))


@given(st.binary(min_size=1, max_size=20), st.binary(min_size=40), st.integers(0, 30))
def test_a_file_is_served_exactly_where_every_bit_under_the_mask_agrees(
    mask: bytes, file: bytes, offset: int
) -> None:
    there = file[offset : offset + len(mask)]
    whole = len(there) == len(mask)
    magic = there.ljust(len(mask), b"\0")
    handler = binfmt.Handler(
        name="x", enabled=True, interpreter="/x", offset=offset, magic=magic, mask=mask
    )
    assert handler.serves(file) == whole
    if whole and mask[0]:
        lowest = mask[0] & -mask[0]
        changed = bytearray(file)
        changed[offset] ^= lowest
        assert not handler.serves(bytes(changed))
