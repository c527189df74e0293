"""The reports that are written as a run ends."""

from __future__ import annotations

from pathlib import Path

from fleet.events import Event, RunFinished
from fleet.record.folder import RunFolder
from fleet.record.report.forms import Form, rendered
from fleet.record.story import Story


class ReportWriter:
    """Writes a report of the run as it ends: into its folder, unless a path is given.

    It raises OSError where the file cannot be written, which its ``Tee`` makes a warning.
    """

    def __init__(self, form: Form = Form.HTML, path: Path | None = None) -> None:
        self._form = form
        self._path = path
        self._story = Story()

    def read(self, event: Event, /) -> None:
        """Take one event; the last one has the report written."""
        self._story.read(event)
        if isinstance(event, RunFinished) and self._story.folder is not None:
            folder = RunFolder(run=event.run, path=self._story.folder)
            path = self._path or folder.report
            write(path, rendered(self._story, folder, self._form, beside=path.parent))

    def close(self) -> None:
        """Nothing is held back."""


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises OSError.

    What is no regular file, as /dev/stdout, is written as it is.
    """
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
