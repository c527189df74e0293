"""What proves a published index."""

from __future__ import annotations

import pytest

from fleet.platforms import Platform
from fleet.run.examine import says


@pytest.mark.parametrize(
    ("arch", "platform", "right"),
    [
        ("x86_64", "linux/amd64", True),
        ("aarch64", "linux/arm64", True),
        ("armv7l", "linux/arm/v7", True),
        ("armv7l", "linux/arm/v6", True),
        ("aarch64", "linux/arm/v7", True),  # a 64-bit kernel under a 32-bit image
        ("x86_64", "linux/386", True),
        ("x86_64", "linux/arm64", False),
        ("armv7l", "linux/arm64", False),
        ("", "linux/amd64", False),
        ("exec format error", "linux/amd64", False),
    ],
)
def test_what_arch_prints_is_held_against_the_platform(
    arch: str, platform: str, right: bool
) -> None:
    assert says(arch, Platform.parse(platform)) is right
