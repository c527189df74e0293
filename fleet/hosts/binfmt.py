"""What the kernel hands to an interpreter instead of executing it: binfmt_misc.

The format of the files in /proc/sys/fs/binfmt_misc and the way the kernel
compares are those of Documentation/admin-guide/binfmt-misc.rst: bytes at an
offset of the file's beginning, under a mask. A handler that matches wins over
the processor, also over one that could execute the file itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Handler:
    """A registered handler that goes by the file's first bytes."""

    name: str
    enabled: bool
    interpreter: str
    offset: int
    magic: bytes
    mask: bytes

    def serves(self, file: bytes) -> bool:
        """Whether the kernel gives a file with this beginning to the handler."""
        part = file[self.offset : self.offset + len(self.magic)]
        return (
            self.enabled
            and len(part) == len(self.magic)
            and all(
                (there ^ wanted) & care == 0
                for there, wanted, care in zip(part, self.magic, self.mask, strict=True)
            )
        )


def parse(text: str) -> tuple[Handler, ...]:
    """The handlers of a listing: a line ``enabled`` or ``disabled`` for all of them, then each
    handler's file under a line ``== name``. Those that go by a file's extension are left out.

    Raises ValueError.
    """
    status, *entries = text.split("\n== ")
    if status.strip() == "disabled":
        return ()
    return tuple(handler for entry in entries if (handler := _handler(entry)) is not None)


def _handler(entry: str) -> Handler | None:
    name, *lines = entry.splitlines()
    fields = dict(line.split(" ", 1) for line in lines if " " in line)
    if "magic" not in fields:
        return None
    magic = bytes.fromhex(fields["magic"])
    mask = bytes.fromhex(fields["mask"]) if "mask" in fields else b"\xff" * len(magic)
    if len(mask) != len(magic):
        raise ValueError(f"the handler {name} has a mask of another length than its magic")
    return Handler(
        name=name,
        enabled="enabled" in lines,
        interpreter=fields.get("interpreter", "an interpreter"),
        offset=int(fields.get("offset", "0")),
        magic=magic,
        mask=mask,
    )


def serving(handlers: Iterable[Handler], file: bytes) -> Handler | None:
    """The handler that gets a file, if one does."""
    return next((handler for handler in handlers if handler.serves(file)), None)
