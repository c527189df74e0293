"""References are read as Docker reads them, and are complete afterwards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import InvalidReference
from fleet.references import (
    DOCKER_HUB,
    Reference,
    check_digest,
    check_repository,
    check_tag,
    check_tag_template,
    fill_tag,
    placeholders,
)

SHA = "sha256:" + "0123456789abcdef" * 4
HEX = "0123456789abcdef" * 4

READ = {
    "debian": (DOCKER_HUB, "library/debian", None, None),
    "debian:trixie-slim": (DOCKER_HUB, "library/debian", "trixie-slim", None),
    f"debian@{SHA}": (DOCKER_HUB, "library/debian", None, SHA),
    f"debian:13@{SHA}": (DOCKER_HUB, "library/debian", "13", SHA),
    "jodogne/orthanc": (DOCKER_HUB, "jodogne/orthanc", None, None),
    "docker.io/debian": (DOCKER_HUB, "library/debian", None, None),
    "index.docker.io/debian": (DOCKER_HUB, "library/debian", None, None),
    "registry-1.docker.io/a/b": (DOCKER_HUB, "a/b", None, None),
    "ghcr.io/a/b/c:1": ("ghcr.io", "a/b/c", "1", None),
    "localhost/a": ("localhost", "a", None, None),
    "localhost:5000/a:b": ("localhost:5000", "a", "b", None),
    "127.0.0.1:5000/a": ("127.0.0.1:5000", "a", None, None),
    "[::1]:5000/a:b": ("[::1]:5000", "a", "b", None),
    "[fe80::1]/a": ("[fe80::1]", "a", None, None),
    "registry:5000/a": ("registry:5000", "a", None, None),
    "registry/a": (DOCKER_HUB, "registry/a", None, None),  # as Docker has it, alas
    "REGISTRY/a": ("REGISTRY", "a", None, None),
    "registry.example.org": (DOCKER_HUB, "library/registry.example.org", None, None),
    "a__b/c-d/e---f.g": (DOCKER_HUB, "a__b/c-d/e---f.g", None, None),
    f"r.io/{HEX}": ("r.io", HEX, None, None),
}


@pytest.mark.parametrize("text", READ)
def test_a_reference_is_read_as_docker_reads_it(text: str) -> None:
    read = Reference.parse(text)
    assert (read.registry, read.repository, read.tag, read.digest) == READ[text]


@pytest.mark.parametrize("text", READ)
def test_a_reference_reads_as_itself_once_it_is_complete(text: str) -> None:
    read = Reference.parse(text)
    assert Reference.parse(str(read)) == read


REFUSED = {
    "": "'' is not a valid image name",
    "Debian": "'Debian' is not a valid image name",
    "a b": "'a b' is not a valid image name",
    "a//b": "'a//b' is not a valid image name",
    "a/": "'a/' is not a valid image name",
    "-a": "'-a' is not a valid image name",
    "a..b": "'a..b' is not a valid image name",
    "a___b": "'a___b' is not a valid image name",
    "a\n": r"'a\n' is not a valid image name",
    "${BASE}": "'${BASE}' is not a valid image name",
    HEX: f"'{HEX}' could be an image's identifier",
    "a" * 256: "is not a valid image name",
    "a:": "'' is not a valid tag",
    "a:b:c": "'b:c' is not a valid tag",
    "a:.b": "'.b' is not a valid tag",
    "a:" + "b" * 129: "is not a valid tag",
    "a@": "'' is not a digest",
    "a@sha256:123": "'sha256:123' is not a digest",
    f"a@{SHA.upper()}": "is not a digest",
    f"a@md5:{HEX}": "is not a digest",
    "https://registry.example.org/a": "'https:' is not a registry's address",
    "a.b:port/c": "'a.b:port' is not a registry's address",
    "-x.io/c": "'-x.io' is not a registry's address",
    "ex_ample.io/c": "'ex_ample.io' is not a registry's address",
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_malformed_reference_is_refused_whole_with_the_part_that_is_wrong(text: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert caught.value.message.startswith(f"{text!r} is not an image: ")
    assert caught.value.message.endswith(REFUSED[text])
    assert caught.value.hint


@given(st.text(alphabet="aA0._-:/@[]$ \n", max_size=30) | st.text(max_size=30))
def test_any_text_is_a_reference_that_reads_as_itself_or_an_invalid_one(text: str) -> None:
    try:
        read = Reference.parse(text)
    except InvalidReference:
        return
    assert Reference.parse(str(read)) == read
    assert check_repository(read.repository) == read.repository


@pytest.mark.parametrize(
    "text", ["a" * 100_000, "a-" * 50_000, "a." * 50_000 + "/b", "a" * 50_000 + "_:x/" + "b_" * 9]
)
def test_a_very_long_text_is_refused_without_long_thought(text: str) -> None:
    with pytest.raises(InvalidReference):
        Reference.parse(text)


# --- one name from another ----------------------------------------------------------------

HELLO = Reference.parse(f"registry.example.org/team/hello:1@{SHA}")


def test_a_name_is_registry_and_repository() -> None:
    assert HELLO.name == "registry.example.org/team/hello"


def test_tagging_leaves_the_digest_and_pinning_leaves_the_tag() -> None:
    assert str(HELLO.tagged("2")) == "registry.example.org/team/hello:2"
    assert str(HELLO.pinned(SHA)) == f"registry.example.org/team/hello@{SHA}"
    with pytest.raises(InvalidReference):
        HELLO.tagged("a b")
    with pytest.raises(InvalidReference):
        HELLO.pinned("latest")


def test_the_same_image_under_another_address() -> None:
    assert str(HELLO.at("127.0.0.1:5000")) == f"127.0.0.1:5000/team/hello:1@{SHA}"


def test_a_registry_is_asked_for_the_digest_else_the_tag_else_latest() -> None:
    assert HELLO.selector == SHA
    assert HELLO.tagged("2").selector == "2"
    assert Reference.parse("debian").selector == "latest"


# --- the parts ----------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["latest", "1.2.3", "_a", "A-b.c_d", "x" * 128])
def test_a_valid_tag_is_given_back(tag: str) -> None:
    assert check_tag(tag) == tag


@pytest.mark.parametrize("tag", ["", "-a", ".a", "a b", "a/b", "a:b", "é", "a\n", "x" * 129])
def test_a_tag_that_registries_refuse_is_refused_with_the_rule(tag: str) -> None:
    with pytest.raises(InvalidReference, match="is not a valid tag") as caught:
        check_tag(tag)
    assert "1 to 128" in (caught.value.hint or "")


def test_digests_are_sha256_or_sha512_in_lower_case() -> None:
    assert check_digest(SHA) == SHA
    assert check_digest(f"sha512:{HEX * 2}") == f"sha512:{HEX * 2}"
    for bad in ("", HEX, f"sha512:{HEX}", f"sha256:{HEX}0", f"{SHA}\n"):
        with pytest.raises(InvalidReference, match="is not a digest"):
            check_digest(bad)


# --- tags that leave something open -------------------------------------------------------


def test_a_tag_is_filled_in() -> None:
    values = {"version": "1.12.10", "date": "20261125", "git_sha": "4bca1"}
    assert fill_tag("{version}-{date}.{git_sha}", values) == "1.12.10-20261125.4bca1"
    assert fill_tag("latest", {}) == "latest"
    assert placeholders("{version}-{date}") == ("version", "date")


@pytest.mark.parametrize(
    ("text", "word"),
    [("{versoin}", "versoin"), ("{}", "{version}"), ("a b", "tag"), ("-{date}", "tag")],
)
def test_a_tag_that_can_never_be_one_is_refused(text: str, word: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        check_tag_template(text)
    assert word in str(caught.value)


def test_what_is_filled_in_must_make_a_tag() -> None:
    with pytest.raises(InvalidReference, match=r"\{version\}: '1\+dfsg' is not a valid tag"):
        fill_tag("{version}", {"version": "1+dfsg"})
