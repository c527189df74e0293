"""A run as a report: a page for people, JUnit XML for CI, Markdown for chats, JSON for programs."""

from fleet.record.report.forms import Form, rendered
from fleet.record.report.writer import ReportWriter, write

__all__ = ["Form", "ReportWriter", "rendered", "write"]
