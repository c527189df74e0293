"""Publication: what stands under a tag is whole, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import httpx
import pytest

from fleet.errors import IndexNotWhole, RegistryDenied
from fleet.models import PublishedImage
from fleet.platforms import Platform
from fleet.references import Reference
from fleet.registry import Registry, publish

from .content import ALL, AMD64, ARM64, ARMV7, Document, attestation, image, index
from .standin import HOST, StandIn, error

HELLO = Reference.parse(f"{HOST}/hello")


@pytest.fixture
def standin() -> StandIn:
    return StandIn()


def pushed(
    standin: StandIn, registry: Registry, *platforms: Platform, content: str = ""
) -> list[PublishedImage]:
    """Images as engines have pushed them, read back."""
    found = []
    for platform in platforms:
        tag = f"latest-{platform.library_name}"
        standin.hold("hello", image(platform, content=content), tag=tag)
        found.append(registry.image(HELLO.tagged(tag)))
    return found


def stands(standin: StandIn, tag: str, images: Sequence[tuple[Platform, str]]) -> Document:
    documents = [(image(platform, content=content), platform) for platform, content in images]
    made = index([document.descriptor(platform) for document, platform in documents])
    standin.hold("hello", *(document for document, _ in documents))
    standin.hold("hello", made, tag=tag)
    return made


def test_an_index_is_put_under_every_tag_and_read_back(standin: StandIn) -> None:
    registry = standin.client()
    members = pushed(standin, registry, *ALL)
    done = publish(registry, repository=HELLO, tags=["latest", "1.2"], members=members)
    assert done.put == ("latest", "1.2")
    assert [str(i.reference) for i in done.indexes] == [f"{HELLO}:latest", f"{HELLO}:1.2"]
    assert {i.digest for i in done.indexes} == {standin.manifests["hello", "1.2"].digest}
    assert [m.platform for m in done.indexes[0].members] == list(ALL)


def test_what_stands_already_byte_for_byte_is_not_put_again(standin: StandIn) -> None:
    registry = standin.client()
    members = pushed(standin, registry, *ALL)
    publish(registry, repository=HELLO, tags=["latest"], members=members)
    standin.seen.clear()
    done = publish(registry, repository=HELLO, tags=["latest"], members=members)
    assert done.unchanged
    assert standin.requests(method="PUT") == []
    again = publish(registry, repository=HELLO, tags=["latest", "new"], members=members)
    assert again.put == ("new",)


def test_nothing_is_put_where_a_member_is_not_in_the_registry(standin: StandIn) -> None:
    registry = standin.client()
    members = pushed(standin, registry, *ALL)
    old = stands(standin, "latest", [(AMD64, "old")])
    del standin.manifests["hello", members[1].descriptor.digest]
    with pytest.raises(IndexNotWhole, match=f"{members[1].platform} would be missing"):
        publish(registry, repository=HELLO, tags=["latest"], members=members)
    assert standin.manifests["hello", "latest"] is old
    assert standin.requests(method="PUT") == []


def test_an_image_of_another_repository_is_refused(standin: StandIn) -> None:
    registry = standin.client()
    members = pushed(standin, registry, AMD64)
    with pytest.raises(IndexNotWhole, match="in another repository"):
        publish(
            registry,
            repository=Reference.parse(f"{HOST}/other"),
            tags=["latest"],
            members=members,
        )


def test_a_refused_put_leaves_the_old_index(standin: StandIn) -> None:
    registry = standin.client()
    members = pushed(standin, registry, AMD64)
    old = stands(standin, "latest", [(AMD64, "old")])
    standin.overrides.append(
        lambda request: error(403, "DENIED") if request.method == "PUT" else None
    )
    with pytest.raises(RegistryDenied, match="putting"):
        publish(registry, repository=HELLO, tags=["latest"], members=members)
    assert standin.manifests["hello", "latest"] is old


def test_the_other_platforms_are_carried_over(standin: StandIn) -> None:
    registry = standin.client()
    stands(standin, "latest", [(AMD64, "old"), (ARM64, "old"), (ARMV7, "old")])
    carried = [m for m in registry.index(HELLO.tagged("latest")).members if m.platform != ARMV7]
    new = pushed(standin, registry, ARMV7, content="new")
    done = publish(registry, repository=HELLO, tags=["latest"], members=new, carried=carried)
    assert {m.platform: m.reference.digest for m in done.indexes[0].members} == {
        AMD64: image(AMD64, content="old").digest,
        ARM64: image(ARM64, content="old").digest,
        ARMV7: image(ARMV7, content="new").digest,
    }


def test_what_another_run_published_in_between_is_not_taken_back(standin: StandIn) -> None:
    registry = standin.client()
    stands(standin, "latest", [(AMD64, "old"), (ARM64, "old")])
    carried = [m for m in registry.index(HELLO.tagged("latest")).members if m.platform == AMD64]
    stands(standin, "latest", [(AMD64, "newer"), (ARM64, "old")])
    new = pushed(standin, registry, ARM64, content="new")
    done = publish(registry, repository=HELLO, tags=["latest"], members=new, carried=carried)
    assert [m.reference.digest for m in done.indexes[0].members] == [
        image(AMD64, content="newer").digest,
        image(ARM64, content="new").digest,
    ]


def test_attestations_go_with_their_image(standin: StandIn) -> None:
    registry = standin.client()
    own = image(ARM64)
    provenance, entry = attestation(own)
    standin.hold("hello", own, provenance)
    standin.hold("hello", index([own.descriptor(ARM64), entry]), tag="latest-arm64v8")
    members = [registry.image(HELLO.tagged("latest-arm64v8")), *pushed(standin, registry, AMD64)]
    [done] = publish(registry, repository=HELLO, tags=["latest"], members=members).indexes
    assert [[a.digest for a in m.attestations] for m in done.members] == [[], [provenance.digest]]
    assert done.others == ()


def test_an_index_that_somebody_else_put_in_that_moment_is_noticed(standin: StandIn) -> None:
    registry = standin.client()
    members = pushed(standin, registry, *ALL)

    def other(request: httpx.Request) -> httpx.Response | None:
        if request.method != "PUT":
            return None
        stands(standin, "latest", [(AMD64, "theirs")])
        return httpx.Response(201)

    standin.overrides.append(other)
    with pytest.raises(IndexNotWhole, match="another index was put there meanwhile"):
        publish(registry, repository=HELLO, tags=["latest"], members=members)


# --- names of members, and what the index says of them -------------------------------------


def arch_name(tag: str, platform: Platform) -> Reference:
    return HELLO.tagged(f"{tag}-{platform.library_name}")


def tags_of(standin: StandIn) -> dict[str, str]:
    return {tag: found.digest for (name, tag), found in standin.manifests.items() if ":" not in tag}


def test_every_member_has_a_name_of_its_own_beside_every_tag(standin: StandIn) -> None:
    registry = standin.client()
    members = pushed(standin, registry, *ALL)
    publish(
        registry, repository=HELLO, tags=["latest", "1.2"], members=members, arch_name=arch_name
    )
    for member in members:
        name = f"1.2-{member.platform.library_name}"
        assert tags_of(standin)[name] == member.descriptor.digest


def test_a_member_that_a_clean_up_left_without_a_name_gets_it_again(standin: StandIn) -> None:
    registry = standin.client()
    stands(standin, "latest", [(AMD64, "old"), (ARM64, "old")])
    carried = [m for m in registry.index(HELLO.tagged("latest")).members if m.platform == ARM64]
    new = pushed(standin, registry, AMD64, content="new")
    assert "latest-arm64v8" not in tags_of(standin)
    publish(
        registry,
        repository=HELLO,
        tags=["latest"],
        members=new,
        carried=carried,
        arch_name=arch_name,
    )
    assert tags_of(standin)["latest-arm64v8"] == carried[0].descriptor.digest


def test_what_another_run_has_just_pushed_for_a_carried_platform_stays(standin: StandIn) -> None:
    registry = standin.client()
    stands(standin, "latest", [(AMD64, "old"), (ARM64, "old")])
    carried = [m for m in registry.index(HELLO.tagged("latest")).members if m.platform == ARM64]
    new = pushed(standin, registry, AMD64, content="new")
    (theirs,) = pushed(standin, registry, ARM64, content="not yet published")
    publish(
        registry,
        repository=HELLO,
        tags=["latest"],
        members=new,
        carried=carried,
        arch_name=arch_name,
    )
    assert tags_of(standin)["latest-arm64v8"] == theirs.descriptor.digest


def test_an_index_shows_of_every_member_what_is_said_of_it(standin: StandIn) -> None:
    registry = standin.client()
    members = pushed(standin, registry, *ALL)

    def describe(member: PublishedImage) -> PublishedImage:
        said = (("says", str(member.platform)),)
        return replace(member, descriptor=replace(member.descriptor, annotations=said))

    done = publish(
        registry,
        repository=HELLO,
        tags=["latest"],
        members=members,
        describe=describe,
        annotations=lambda found: (("members", str(len(found))),),
    )
    assert done.indexes[0].annotations == (("members", "3"),)
    assert [dict(m.descriptor.annotations) for m in done.indexes[0].members] == [
        {"says": str(platform)} for platform in ALL
    ]
