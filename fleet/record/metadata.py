"""What a run made, for the programs that come after it: buildx's ``--metadata-file``.

The form is that of `docker buildx bake --metadata-file`: an object per image,
with the keys of `docker buildx build`. The members are fleet's own addition.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fleet.errors import UsageError
from fleet.models import IndexOutcome, Outcome, RunResult


def write_metadata(result: RunResult, path: Path) -> None:
    """Write what a run published, or left on its hosts. Raises UsageError."""
    text = json.dumps(metadata(result), indent=2) + "\n"
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        raise UsageError(f"--metadata-file {path} cannot be written: {error.strerror}") from error


def metadata(result: RunResult) -> dict[str, Any]:
    """What a run published, by image; an image whose index was refused is left out."""
    found: dict[str, dict[str, Any]] = {}
    for index in result.indexes:
        if index.published:
            found[index.plan.image] = _of_index(index)
    for outcome in result.outcomes:
        if outcome.left is not None:
            image = found.setdefault(outcome.id.image, {"fleet.platforms": {}})
            image["fleet.platforms"][str(outcome.id.platform)] = _of_left(outcome)
    return found


def _of_index(index: IndexOutcome) -> dict[str, Any]:
    first = index.published[0]
    return {
        "containerimage.digest": first.digest,
        "containerimage.descriptor": {
            "mediaType": first.media_type,
            "digest": first.digest,
            "size": first.size,
            "annotations": dict(first.annotations),
        },
        "image.name": ",".join(str(published.reference) for published in index.published),
        "fleet.platforms": {
            str(member.platform): {
                "containerimage.digest": member.descriptor.digest,
                "containerimage.descriptor": {
                    "mediaType": member.descriptor.media_type,
                    "digest": member.descriptor.digest,
                    "size": member.descriptor.size,
                },
            }
            for member in first.members
        },
    }


def _of_left(outcome: Outcome) -> dict[str, Any]:
    assert outcome.left is not None
    return {
        "containerimage.config.digest": outcome.left.digest,
        "image.name": str(outcome.left.reference),
        "fleet.host": outcome.left.host,
    }
