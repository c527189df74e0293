"""What an image and its index say of themselves."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fleet import __version__
from fleet.models import (
    LABEL_EMULATED,
    LABEL_HOST,
    LABEL_INPUTS,
    LABEL_PARTS,
    LABEL_VERSION,
    PublishedImage,
    pairs,
)
from fleet.plan import Inputs
from fleet.references import Reference
from fleet.run.labels import differing_sources, index_annotations, labels, with_annotations
from fleet.run.provenance import Provenance
from tests.unit.plan.builders import ALL, AMD64, ARM32, ARM64, job, published

from .builders import planned

INPUTS = Inputs(parts="{}")
OCI = "org.opencontainers.image."
FROM_GIT = Provenance(created=1_700_000_000.9, revision="4bca1", source="https://git.example.org/a")


def member(platform: object = AMD64, **said: str) -> PublishedImage:
    """A published image with OCI labels."""
    named = {f"{OCI}{key}": value for key, value in said.items()}
    return replace(published(job("hello", platform)), labels=pairs(named))  # type: ignore[arg-type]


def test_an_image_says_what_it_is_where_it_comes_from_and_what_made_it() -> None:
    told = labels(
        planned("hello", platform=ARM64),
        inputs=INPUTS,
        version="1.2",
        emulated=False,
        provenance=FROM_GIT,
    )
    assert dict(told) == {
        "architecture": "arm64v8",
        f"{OCI}created": "2023-11-14T22:13:20Z",
        f"{OCI}revision": "4bca1",
        f"{OCI}source": "https://git.example.org/a",
        f"{OCI}version": "1.2",
        LABEL_INPUTS: INPUTS.digest,
        LABEL_PARTS: "{}",
        LABEL_VERSION: __version__,
    }


def test_the_inventorys_labels_go_before_gits_and_never_before_fleets_own() -> None:
    planned_ = planned("hello")
    said = {"vendor": "me", f"{OCI}source": "mine", f"{OCI}created": "never", LABEL_INPUTS: "no"}
    image = replace(planned_.recipe.image, labels=pairs(said))
    planned_ = replace(planned_, recipe=replace(planned_.recipe, image=image))
    told = dict(labels(planned_, inputs=INPUTS, version="1", emulated=False, provenance=FROM_GIT))
    assert told["vendor"] == "me"
    assert told[f"{OCI}source"] == "mine"
    assert told[f"{OCI}revision"] == "4bca1"
    assert told[f"{OCI}created"] == "2023-11-14T22:13:20Z"
    assert told[LABEL_INPUTS] == INPUTS.digest


def test_an_image_does_not_claim_what_is_not_known() -> None:
    told = dict(
        labels(
            planned("hello"),
            inputs=INPUTS,
            version="1.2",
            emulated=True,
            provenance=Provenance(created=0),
        )
    )
    assert f"{OCI}revision" not in told
    assert f"{OCI}source" not in told
    assert told[LABEL_EMULATED] == "true"


def test_an_index_says_what_all_its_members_say() -> None:
    members = [
        member(p, revision="4bca1", source="https://git.example.org/a", version="1.2") for p in ALL
    ]
    assert dict(index_annotations(members)) == {
        f"{OCI}revision": "4bca1",
        f"{OCI}source": "https://git.example.org/a",
        f"{OCI}version": "1.2",
    }


def test_an_index_of_members_of_two_revisions_has_none() -> None:
    members = [member(AMD64, revision="4bca1"), member(ARM32, revision="77777")]
    assert index_annotations(members) == ()
    assert index_annotations([member(AMD64, revision="4bca1"), member(ARM32)]) == ()


def test_an_index_was_created_when_its_last_member_was() -> None:
    members = [
        member(AMD64, created="2024-02-01T00:00:00Z"),
        member(ARM32, created="2024-03-01T00:00:00Z"),
        member(ARM64),
    ]
    assert dict(index_annotations(members)) == {f"{OCI}created": "2024-03-01T00:00:00Z"}


@given(st.permutations([member(p, created=f"2024-0{n + 1}-01") for n, p in enumerate(ALL)]))
def test_the_same_members_make_the_same_annotations_in_whatever_order(
    members: list[PublishedImage],
) -> None:
    assert index_annotations(members) == ((f"{OCI}created", "2024-03-01"),)


# --- what an index says of its members ----------------------------------------------------


def test_a_member_is_described_by_what_it_says_of_itself() -> None:
    told = labels(
        planned("hello", platform=ARM64),
        inputs=INPUTS,
        version="1.2",
        emulated=False,
        provenance=FROM_GIT,
        base=(Reference.parse("debian:trixie-slim"), "sha256:1"),
        host="thunderx-1",
    )
    member = replace(published(job("hello", ARM64)), labels=told)
    assert dict(with_annotations(member).descriptor.annotations) == {
        f"{OCI}created": "2023-11-14T22:13:20Z",
        f"{OCI}revision": "4bca1",
        f"{OCI}source": "https://git.example.org/a",
        f"{OCI}version": "1.2",
        f"{OCI}base.name": "docker.io/library/debian:trixie-slim",
        f"{OCI}base.digest": "sha256:1",
        LABEL_EMULATED: "false",
        LABEL_HOST: "thunderx-1",
    }


def test_of_a_member_that_fleet_did_not_make_nothing_is_claimed() -> None:
    member = replace(published(job("hello"), inputs=None), labels=((f"{OCI}version", "1"),))
    assert with_annotations(member) == member


def test_members_of_different_sources_are_told() -> None:
    old, new = member(AMD64, revision="4bca1"), member(ARM64, revision="77aa0")
    assert differing_sources([old, new]) == (
        "its members are of different revisions: linux/amd64 from 4bca1; linux/arm64 from 77aa0"
    )
    assert differing_sources([old, old]) == ""
    assert differing_sources(iter([member(AMD64), member(ARM64, version="2")])) == (
        "its members are of different versions: linux/amd64 from none; linux/arm64 from 2"
    )
