"""Platforms: parsed and normalised once, at the border.

The spelling is that of the OCI image specification (``linux/arm/v7``); the
normal form is containerd's (``arm`` means ``arm/v7``, ``arm64/v8`` means
``arm64``). docker-library's names (``arm32v7``) appear in arch tags and in the
``architecture`` label only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

from fleet.errors import InvalidPlatform
from fleet.suggest import did_you_mean

# What people, `uname -m` and Debian call the same things.
_ALIASES: dict[str, tuple[str, str | None]] = {
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "i386": ("386", None),
    "i486": ("386", None),
    "i586": ("386", None),
    "i686": ("386", None),
    "aarch64": ("arm64", None),
    "arm64v8": ("arm64", None),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "arm32v7": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
    "arm32v6": ("arm", "v6"),
    "arm32v5": ("arm", "v5"),
    "ppc64el": ("ppc64le", None),
}
_LIBRARY = {"386": "i386", "arm64": "arm64v8"}
_NAME = re.compile(r"[a-z0-9_-]+")
# The architectures that the image specification takes from Go (GOARCH), and that run Linux.
_BITS_32 = frozenset({"386", "arm", "mips", "mipsle"})
_BITS_64 = frozenset(
    {"amd64", "arm64", "loong64", "mips64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x"}
)
_ARCHITECTURES = _BITS_32 | _BITS_64


@total_ordering
@dataclass(frozen=True, kw_only=True)
class Platform:
    """An operating system and an instruction set, in normal form.

    Sorts by name, so that a list of platforms looks the same in every run.
    """

    os: str
    architecture: str
    variant: str | None = None

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``linux/arm/v7``, ``arm/v7`` or a name such as ``armhf`` or ``arm32v7``.

        Raises InvalidPlatform.
        """
        parts = text.strip().lower().split("/")
        if parts[0] not in ("linux", "windows", "darwin", "freebsd"):
            parts.insert(0, "linux")
        if not 2 <= len(parts) <= 3 or not all(_NAME.fullmatch(part) for part in parts):
            raise InvalidPlatform(
                f"{text!r} is no platform",
                hint="write it as linux/amd64, linux/arm64 or linux/arm/v7",
            )
        platform = cls.of(parts[0], parts[1], parts[2] if len(parts) == 3 else None)
        if platform.architecture not in _ARCHITECTURES:
            known = ", ".join(sorted(_ARCHITECTURES))
            near = did_you_mean(parts[1], [*sorted(_ARCHITECTURES), *_ALIASES])
            raise InvalidPlatform(
                f"{text!r} names no known architecture{near}", hint=f"the known ones are {known}"
            )
        return platform

    @classmethod
    def of(cls, os: str, architecture: str, variant: str | None = None) -> Platform:
        """The normal form of three values as an image's configuration carries them."""
        architecture, implied = _ALIASES.get(architecture.lower(), (architecture.lower(), None))
        variant = (variant or implied or "").lower() or None
        if variant is not None and variant.isdigit():
            variant = f"v{variant}"
        if architecture == "arm" and variant is None:
            variant = "v7"
        if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
            variant = None
        return cls(os=os.lower(), architecture=architecture, variant=variant)

    @property
    def library_name(self) -> str:
        """docker-library's name (``amd64``, ``arm64v8``, ``arm32v7``), as arch tags have it.

        No two platforms share one; what is not Linux says so (``windows-amd64``).
        """
        system = "" if self.os == "linux" else f"{self.os}-"
        variant = self.variant or ""
        if self.architecture == "arm":
            return f"{system}arm32{variant}"
        if self.architecture == "arm64" and variant:
            return f"{system}arm64{variant}"
        return system + _LIBRARY.get(self.architecture, self.architecture) + variant

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    def __lt__(self, other: Platform) -> bool:
        return str(self) < str(other)
