"""Image indexes as values: assembled, replaced in part, flattened, judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import IndexNotWhole
from fleet.models import LABEL_INPUTS, LABEL_PARTS, Descriptor, PublishedImage, PublishedIndex
from fleet.platforms import Platform
from fleet.references import Reference
from fleet.registry import (
    assemble,
    check,
    overclaims,
    replace_members,
    unlabelled,
)

from .content import (
    ALL,
    AMD64,
    ARM64,
    ARMV6,
    ARMV7,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    published,
)

PLATFORMS = st.sampled_from([*ALL, ARMV6, Platform.parse("riscv64"), Platform.parse("s390x")])
IMAGES = st.builds(
    published,
    PLATFORMS,
    content=st.text(alphabet="abc", max_size=2),
    media_type=st.sampled_from([OCI_MANIFEST, DOCKER_MANIFEST]),
)
WHOLE = st.lists(IMAGES, min_size=1, max_size=6, unique_by=lambda image: image.platform)


def entries(members: Sequence[PublishedImage], **more: Any) -> list[dict[str, Any]]:
    body, _ = assemble(members, **more)
    found: list[dict[str, Any]] = json.loads(body)["manifests"]
    return found


def attested(image: PublishedImage, subject: str | None = None) -> PublishedImage:
    unknown = Platform(os="unknown", architecture="unknown")
    annotations = (
        ("vnd.docker.reference.digest", subject or image.descriptor.digest),
        ("vnd.docker.reference.type", "attestation-manifest"),
    )
    digest = f"sha256:{image.descriptor.digest[-32:] * 2}"
    note = Descriptor(
        media_type=OCI_MANIFEST, digest=digest, size=9, platform=unknown, annotations=annotations
    )
    return replace(image, attestations=(note,))


# --- assemble -----------------------------------------------------------------------------


def test_children_are_named_by_digest_with_their_platform() -> None:
    member = published(ARMV7)
    assert entries([member]) == [
        {
            "mediaType": OCI_MANIFEST,
            "digest": member.descriptor.digest,
            "size": member.descriptor.size,
            "platform": {"os": "linux", "architecture": "arm", "variant": "v7"},
        }
    ]


@pytest.mark.parametrize(
    ("children", "more", "expected"),
    [
        ([OCI_MANIFEST, OCI_MANIFEST], {}, OCI_INDEX),
        ([DOCKER_MANIFEST, DOCKER_MANIFEST], {}, DOCKER_LIST),
        ([OCI_MANIFEST, DOCKER_MANIFEST], {}, OCI_INDEX),
        # A Docker list has no room for annotations; dropping them would be worse.
        ([DOCKER_MANIFEST, DOCKER_MANIFEST], {"annotations": (("a", "b"),)}, OCI_INDEX),
    ],
)
def test_the_kind_of_index_matches_its_children(
    children: list[str], more: dict[str, Any], expected: str
) -> None:
    members = [
        published(platform, media_type=media_type)
        for platform, media_type in zip((AMD64, ARM64), children, strict=True)
    ]
    body, media_type = assemble(members, **more)
    assert media_type == expected
    assert json.loads(body)["mediaType"] == expected


def test_the_platform_is_that_of_the_configuration_and_not_what_some_index_said() -> None:
    member = published(ARMV7)
    lied = replace(member, descriptor=replace(member.descriptor, platform=ARM64))
    assert entries([lied])[0]["platform"]["architecture"] == "arm"


def test_attestations_come_after_the_images_with_their_annotations() -> None:
    members = [attested(published(ARM64)), attested(published(AMD64))]
    found = entries(members)
    assert [entry["platform"]["architecture"] for entry in found] == [
        "amd64",
        "arm64",
        "unknown",
        "unknown",
    ]
    assert [entry["annotations"]["vnd.docker.reference.digest"] for entry in found[2:]] == [
        found[0]["digest"],
        found[1]["digest"],
    ]


@pytest.mark.parametrize("content", ["", "another"])
def test_two_members_of_one_platform_are_refused(content: str) -> None:
    with pytest.raises(IndexNotWhole, match=r"are for linux/arm64: .*@sha256.* and .*@sha256"):
        assemble([published(ARM64), published(AMD64), published(ARM64, content=content)])


def test_an_index_of_nothing_is_refused() -> None:
    with pytest.raises(IndexNotWhole):
        assemble([])


def test_the_bytes_are_these() -> None:
    """Byte for byte: a change here makes every published index look changed."""
    digest = f"sha256:{'0' * 64}"
    member = replace(
        published(ARMV7),
        descriptor=Descriptor(media_type=OCI_MANIFEST, digest=digest, size=7, platform=ARMV7),
    )
    body, _ = assemble([member], annotations=(("org.opencontainers.image.version", "ä"),))
    assert body.decode() == (
        '{"annotations":{"org.opencontainers.image.version":"ä"},'
        '"manifests":[{"digest":"' + digest + '",'
        '"mediaType":"application/vnd.oci.image.manifest.v1+json",'
        '"platform":{"architecture":"arm","os":"linux","variant":"v7"},"size":7}],'
        '"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}'
    )


@given(WHOLE, st.randoms())
def test_the_order_of_the_members_does_not_change_a_byte(
    members: list[PublishedImage], random: Any
) -> None:
    shuffled = list(members)
    random.shuffle(shuffled)
    assert assemble(shuffled) == assemble(members)


@given(st.lists(IMAGES, min_size=1, max_size=8))
def test_no_index_ever_has_a_platform_twice(images: list[PublishedImage]) -> None:
    try:
        found = entries(images)
    except IndexNotWhole:
        assert len({image.platform for image in images}) < len(images)
        return
    platforms = [tuple(sorted(entry["platform"].items())) for entry in found]
    assert len(platforms) == len(set(platforms)) == len(images)


# --- replace ------------------------------------------------------------------------------


@given(st.lists(IMAGES, max_size=6), WHOLE)
def test_replacing_keeps_the_other_platforms_and_never_doubles_one(
    standing: list[PublishedImage], new: list[PublishedImage]
) -> None:
    members = replace_members(standing, new)
    replaced = {image.platform for image in new}
    assert sorted(m.platform for m in members) == sorted(
        {image.platform for image in (*standing, *new)}
    )
    for member in members:
        if member.platform in replaced:
            assert member in new
        else:
            assert member == [s for s in standing if s.platform == member.platform][-1]
    assemble(members)


def test_a_variant_makes_a_platform_of_its_own() -> None:
    v6, v7 = published(ARMV6), published(ARMV7)
    assert replace_members([v6], [v7]) == (v6, v7)


def test_two_new_ones_of_one_platform_are_refused() -> None:
    with pytest.raises(IndexNotWhole):
        replace_members([], [published(ARM64), published(ARM64, content="x")])


# --- check --------------------------------------------------------------------------------


def standing(*members: PublishedImage, **more: Any) -> PublishedIndex:
    made = PublishedIndex(
        reference=Reference.parse("registry.example.org/hello:latest"),
        digest=f"sha256:{'1' * 64}",
        media_type=OCI_INDEX,
        members=members,
    )
    return replace(made, **more)


def lying(image: PublishedImage, platform: Platform | None) -> PublishedImage:
    return replace(image, descriptor=replace(image.descriptor, platform=platform))


GOOD = tuple(published(platform) for platform in ALL)
OURS = {LABEL_INPUTS: "sha256:1"}


def test_a_whole_index_has_no_fault() -> None:
    assert check(standing(*GOOD), ALL) == ()
    assert check(standing(*GOOD)) == ()


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (standing(*GOOD[:2]), "linux/arm64 is missing"),
        (standing(*GOOD, published(ARMV6)), "linux/arm/v6 was not expected"),
        (
            standing(*GOOD, published(ARM64, content="stale")),
            "linux/arm64 is in the index 2 times",
        ),
        (standing(*GOOD[:2], lying(GOOD[2], AMD64)), "is in the index for linux/amd64, and its"),
        (standing(*GOOD[:2], lying(GOOD[2], None)), "the index does not say so"),
        (standing(GOOD[0], lying(GOOD[1], ARMV6), GOOD[2]), "is in the index for linux/arm/v6"),
        (standing(*GOOD, media_type=DOCKER_LIST), "an OCI manifest in a Docker manifest list"),
        (standing(*GOOD, faults=("sha256:1 is gone",)), "sha256:1 is gone"),
        (
            standing(*GOOD, others=attested(GOOD[0], "sha256:else").attestations),
            "is an attestation of sha256:else, which is no member",
        ),
        (
            standing(*GOOD[:2], published(ARM64, labels={**OURS, "architecture": "amd64"})),
            "its label architecture says 'amd64'",
        ),
        (
            standing(*GOOD[:2], published(ARM64, labels={**OURS, LABEL_PARTS: "{}"})),
            "says what it was made from, and its inputs digest is of something else",
        ),
    ],
)
def test_faulty_indexes_are_found_out(index: PublishedIndex, said: str) -> None:
    assert any(said in fault for fault in check(index, ALL))


INPUTS = tuple(f"sha256:{digit * 64}" for digit in "123")
REVISION = "org.opencontainers.image.revision"


def labelled(*labels: dict[str, str], **more: Any) -> PublishedIndex:
    members = [published(p, labels=own) for p, own in zip(ALL, labels, strict=True)]
    return standing(*members, **more)


def test_inputs_are_digests_and_each_platform_has_its_own() -> None:
    good = [{LABEL_INPUTS: value} for value in INPUTS]
    assert unlabelled(labelled(*good)) == ()
    assert unlabelled(labelled({}, {}, {})) == ()
    assert unlabelled(labelled(good[0], good[1], good[1])) == (
        "linux/arm/v7 and linux/arm64 say that they have the same inputs",
    )
    assert "is no digest: 'x'" in unlabelled(labelled(*good[:2], {LABEL_INPUTS: "x"}))[0]


def test_what_an_index_claims_of_its_source_its_members_must_not_deny() -> None:
    index = labelled({REVISION: "a"}, {}, {REVISION: "b"}, annotations=((REVISION, "a"),))
    assert overclaims(index) == ("the index says revision a, and linux/arm64 b",)


def test_windows_images_of_one_platform_differ_in_their_release() -> None:
    windows = Platform(os="windows", architecture="amd64")
    assert check(standing(published(windows), published(windows, content="2022"))) == ()


def test_the_label_of_others_is_none_of_ours() -> None:
    assert check(standing(published(AMD64, labels={"architecture": "x86_64"}))) == ()
