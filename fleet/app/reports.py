"""A run that has ended, or goes on, as a report."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from fleet.errors import FleetError, UsageError
from fleet.record.past import recorded_run
from fleet.record.report import Form, ReportWriter, rendered, write
from fleet.record.story import Story

__all__ = ["Form", "report", "report_writers"]


def report(
    run: str, form: Form = Form.HTML, *, output: Path | None = None, show: bool = False
) -> str:
    """Write a run's report, and say where; without ``output`` only the page goes into a file.

    The other forms are returned, to be printed. Raises UsageError where there is no
    record of the run, or where the file cannot be written.
    """
    folder = recorded_run(run)
    try:
        story = Story.of(folder.events)
    except OSError as error:
        raise UsageError(f"{folder.events} cannot be read: {error.strerror}") from error
    path = output or (folder.report if form is Form.HTML else None)
    if path is None:
        return rendered(story, folder, form).rstrip("\n")
    text = rendered(story, folder, form, beside=path.absolute().parent)
    try:
        write(path, text)
    except OSError as error:
        raise UsageError(
            f"the report {path} cannot be written: {error.strerror}",
            hint="--output FILE writes it elsewhere",
        ) from error
    if show and not webbrowser.open(path.absolute().as_uri()):
        raise FleetError(f"no browser could be opened; the report is {path}")
    return str(path)


def report_writers(*, junit: Path | None, summary: Path | None) -> tuple[ReportWriter, ...]:
    """The readers that write what else was asked for as a run ends."""
    asked = ((Form.JUNIT, junit), (Form.MARKDOWN, summary))
    return tuple(ReportWriter(form, path) for form, path in asked if path is not None)
