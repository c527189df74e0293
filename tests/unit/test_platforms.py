"""Platforms have one normal form, however they are written, and one name in arch tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import InvalidPlatform
from fleet.platforms import Platform

WRITTEN = {
    "linux/amd64": "linux/amd64",
    "amd64": "linux/amd64",
    "x86_64": "linux/amd64",
    "linux/x86-64": "linux/amd64",
    "linux/amd64/v1": "linux/amd64",
    "linux/amd64/v2": "linux/amd64/v2",
    "linux/arm64": "linux/arm64",
    "linux/arm64/v8": "linux/arm64",
    "arm64/8": "linux/arm64",
    "aarch64": "linux/arm64",
    "arm64v8": "linux/arm64",
    "linux/arm64/v9": "linux/arm64/v9",
    "linux/arm": "linux/arm/v7",
    "linux/arm/v7": "linux/arm/v7",
    "arm/7": "linux/arm/v7",
    "armhf": "linux/arm/v7",
    "armv7l": "linux/arm/v7",
    "arm32v7": "linux/arm/v7",
    "armel": "linux/arm/v6",
    "armv6l": "linux/arm/v6",
    "linux/arm/v6": "linux/arm/v6",
    "arm32v5": "linux/arm/v5",
    "i386": "linux/386",
    "i686": "linux/386",
    "386": "linux/386",
    "ppc64el": "linux/ppc64le",
    "riscv64": "linux/riscv64",
    "s390x": "linux/s390x",
    " Linux/ARM64 ": "linux/arm64",
    "windows/amd64": "windows/amd64",
}


@pytest.mark.parametrize("text", WRITTEN)
def test_what_is_written_has_one_normal_form(text: str) -> None:
    assert str(Platform.parse(text)) == WRITTEN[text]


def test_the_normal_form_reads_as_itself() -> None:
    for normal in WRITTEN.values():
        assert str(Platform.parse(normal)) == normal


@pytest.mark.parametrize(
    "text",
    ["", " ", "/", "linux", "linux/", "linux//v7", "linux/arm/v7/x", "linux/arm v7", "../x"],
)
def test_what_has_not_the_shape_of_a_platform_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidPlatform) as caught:
        Platform.parse(text)
    assert caught.value.message == f"{text!r} is no platform"
    assert "linux/arm/v7" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["amd46", "linux/arm63", "sparc64", "linux/v7", "beos/amd64"])
def test_an_architecture_that_does_not_exist_is_refused_with_those_that_do(text: str) -> None:
    with pytest.raises(InvalidPlatform, match="names no known architecture") as caught:
        Platform.parse(text)
    assert "amd64, arm, arm64" in (caught.value.hint or "")


@given(st.text(max_size=20))
def test_any_text_is_a_platform_or_an_invalid_one(text: str) -> None:
    try:
        platform = Platform.parse(text)
    except InvalidPlatform:
        return
    assert Platform.parse(str(platform)) == platform


words = st.sampled_from(sorted({part for text in WRITTEN for part in text.strip().split("/")}))
variants = st.none() | st.sampled_from(["", "5", "6", "7", "8", "v5", "V6", "v7", "v8", "v9", "v1"])


@given(words, variants)
def test_the_normal_form_of_an_image_configuration_is_stable(
    architecture: str, variant: str | None
) -> None:
    platform = Platform.of("Linux", architecture, variant)
    assert Platform.of(platform.os, platform.architecture, platform.variant) == platform


LIBRARY = {
    "linux/amd64": "amd64",
    "linux/arm/v5": "arm32v5",
    "linux/arm/v6": "arm32v6",
    "linux/arm/v7": "arm32v7",
    "linux/arm64": "arm64v8",
    "linux/386": "i386",
    "linux/mips64le": "mips64le",
    "linux/ppc64le": "ppc64le",
    "linux/riscv64": "riscv64",
    "linux/s390x": "s390x",
    "windows/amd64": "windows-amd64",
}


@pytest.mark.parametrize("text", LIBRARY)
def test_arch_tags_have_docker_librarys_names(text: str) -> None:
    assert Platform.parse(text).library_name == LIBRARY[text]


@pytest.mark.parametrize("text", [text for text in LIBRARY if text.startswith("linux/")])
def test_docker_librarys_names_are_understood(text: str) -> None:
    assert Platform.parse(LIBRARY[text]) == Platform.parse(text)


@given(st.sets(st.builds(Platform.of, st.sampled_from(["linux", "windows"]), words, variants)))
def test_no_two_platforms_share_an_arch_tag(platforms: set[Platform]) -> None:
    assert len({platform.library_name for platform in platforms}) == len(platforms)


def test_platforms_sort_by_name() -> None:
    platforms = [Platform.parse(text) for text in ("s390x", "arm64", "amd64", "arm/v7", "arm/v6")]
    assert [str(platform) for platform in sorted(platforms)] == [
        "linux/amd64",
        "linux/arm/v6",
        "linux/arm/v7",
        "linux/arm64",
        "linux/s390x",
    ]
    assert Platform.parse("amd64") <= Platform.parse("amd64")
    assert Platform.parse("arm64") >= Platform.parse("amd64")


def test_a_misspelt_architecture_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidPlatform, match=r"did you mean 'arm64'\?"):
        Platform.parse("linux/amr64")
