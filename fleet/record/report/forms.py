"""The forms of a report."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Any, assert_never

from fleet.events import to_json
from fleet.record.folder import RunFolder
from fleet.record.report.junit import junit
from fleet.record.report.markdown import markdown
from fleet.record.story import Story


class Form(StrEnum):
    """What a report is written as."""

    HTML = "html"
    JUNIT = "junit"
    MARKDOWN = "markdown"
    JSON = "json"


def rendered(story: Story, folder: RunFolder, form: Form, *, beside: Path | None = None) -> str:
    """A run as a report. A page that is to lie ``beside`` the logs links them."""
    match form:
        case Form.HTML:
            # jinja2 takes its time to import.
            from fleet.record.report.page import page

            return page(story, folder, linked=beside == folder.path)
        case Form.JUNIT:
            return junit(story)
        case Form.MARKDOWN:
            return markdown(story)
        case Form.JSON:
            return json.dumps(_object(story), indent=2) + "\n"
        case _:
            assert_never(form)


def _object(story: Story) -> dict[str, Any]:
    """The story as one object, with lists for what it keeps by name."""
    told: dict[str, Any] = to_json(story)
    for name in ("jobs", "hosts", "indexes"):
        told[name] = list(told[name].values())
    return told
