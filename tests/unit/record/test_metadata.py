"""`--metadata-file` is read by programs that know buildx's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.errors import UsageError
from fleet.models import IndexOutcome, LeftImage, Outcome, RunResult, Status
from fleet.record.metadata import metadata, write_metadata
from fleet.references import Reference
from tests.unit.plan.builders import ALL, AMD64, ARM64, Fleet, image, index_of, job, published

PLAN = Fleet(recipes=(image("hello"), image("broken"))).plan()
INDEX = replace(index_of("hello", *(published(job("hello", p)) for p in ALL)), size=700)
TWO_TAGS = (INDEX, replace(INDEX, reference=INDEX.reference.tagged("1.2")))
RESULT = RunResult(
    run="r",
    outcomes=(),
    indexes=(
        IndexOutcome(plan=PLAN.indexes[0], published=TWO_TAGS),
        IndexOutcome(plan=PLAN.indexes[1], reason="not whole"),
    ),
)


def test_an_index_is_told_as_bake_tells_it_and_one_that_is_not_put_is_left_out() -> None:
    told = metadata(RESULT)
    assert list(told) == ["hello"]
    assert told["hello"]["containerimage.digest"] == INDEX.digest
    assert told["hello"]["containerimage.descriptor"] == {
        "mediaType": "i",
        "digest": INDEX.digest,
        "size": 700,
        "annotations": {},
    }
    names = ("registry.example.org/team/hello:latest", "registry.example.org/team/hello:1.2")
    assert told["hello"]["image.name"] == ",".join(names)
    members = {p: m["containerimage.digest"] for p, m in told["hello"]["fleet.platforms"].items()}
    assert members == {str(m.platform): m.digest for m in INDEX.members}


def test_an_image_that_was_not_pushed_says_where_it_is() -> None:
    left = [
        Outcome(
            id=job("hello", platform),
            status=Status.BUILT,
            reason="",
            left=LeftImage(
                host=host, reference=Reference.parse("fleet/hello:x"), digest=f"sha256:{host}"
            ),
        )
        for platform, host in ((AMD64, "xeon-1"), (ARM64, "thunderx-1"))
    ]
    told = metadata(RunResult(run="r", outcomes=tuple(left), indexes=()))
    assert told["hello"]["fleet.platforms"]["linux/arm64"] == {
        "containerimage.config.digest": "sha256:thunderx-1",
        "image.name": "docker.io/fleet/hello:x",
        "fleet.host": "thunderx-1",
    }


def test_the_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_metadata(RESULT, tmp_path / "metadata.json")
    assert json.loads((tmp_path / "metadata.json").read_text()) == metadata(RESULT)
    assert [path.name for path in tmp_path.iterdir()] == ["metadata.json"]
    with pytest.raises(UsageError, match="--metadata-file"):
        write_metadata(RESULT, tmp_path / "nowhere" / "metadata.json")
