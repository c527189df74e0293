"""A run as JUnit XML: a suite per image, a case per platform and one for its index.

The form is the one that CI servers agree on (Jenkins' ``junit-10.xsd``; GitLab reads the
same): ``failure`` for what was tried and is not right, ``error`` for what could not be tried,
``skipped`` for what was left undone because of another case. An image that is kept passes:
the registry was asked for it in this run, and a case that is skipped on every quiet night
would hide in the viewers' histories that it is there.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.etree import ElementTree as Xml

from fleet.models import ErrorInfo, JobId, Status
from fleet.record.story import IndexStory, JobStory, Story
from fleet.record.text import plain, size

# What XML 1.0 cannot say at all (section 2.2, Char).
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COUNTED = {"failure": "failures", "error": "errors", "skipped": "skipped"}


def junit(story: Story) -> str:
    """A run as JUnit XML, times in seconds."""
    root = Xml.Element("testsuites", name="fleet")
    if story.error is not None or not (story.jobs or story.indexes):
        suite = _suite(root, "fleet", story)
        case = Xml.SubElement(suite, "testcase", classname="fleet", name="run", time=_seconds(0))
        if story.error is not None:
            _trouble(case, "error", story.error.kind, story.error.message, story.error)
    for image in dict.fromkeys([*(id.image for id in story.jobs), *story.indexes]):
        suite = _suite(root, image, story)
        for job in story.jobs.values():
            if job.id.image == image:
                _of_job(suite, job)
        if image in story.indexes:
            _of_index(suite, story.indexes[image])
    for suite in root:
        _sum(suite, list(suite.iter("testcase")))
    _sum(root, list(root.iter("testcase")))
    spent = (story.ended or story.at or 0.0) - (story.started or story.at or 0.0)
    root.set("time", _seconds(spent))
    Xml.indent(root)
    text = Xml.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite(root: Xml.Element, name: str, story: Story) -> Xml.Element:
    suite = Xml.SubElement(root, "testsuite", name=clean(name))
    moment = datetime.fromtimestamp(story.started or 0.0, UTC)
    suite.set("timestamp", moment.strftime("%Y-%m-%dT%H:%M:%S"))
    properties = Xml.SubElement(suite, "properties")
    told = {"run": story.run, "fleet": story.version, "inventory": str(story.inventory or "")}
    for key, value in told.items():
        Xml.SubElement(properties, "property", name=key, value=clean(value))
    return suite


def _of_job(suite: Xml.Element, job: JobStory) -> None:
    spent = sum((a.ended - a.started) for a in job.attempts if a.ended is not None)
    case = _case(suite, job.id, str(job.id.platform), spent)
    match job.status:
        case Status.BUILT | Status.KEPT:
            pass
        case Status.FAILED:
            kind = job.error.kind if job.error else "FleetError"
            _trouble(case, "failure", kind, job.reason, job.error)
        case Status.SKIPPED | Status.CANCELLED:
            Xml.SubElement(case, "skipped", message=clean(job.reason))
        case Status.BLOCKED:
            _trouble(case, "error", "blocked", job.reason, job.error)
        case None:
            _trouble(case, "error", "unfinished", "the run ended before this job", None)
    said = [
        f"{job.status or 'not ended'}: {job.planned or job.reason}",
        f"on {job.host}{', emulated' if job.emulated else ''}" if job.host else "",
        f"{job.digest} ({size(job.size)})" if job.digest and job.size is not None else "",
        f"log: {job.log}" if job.log else "",
    ]
    Xml.SubElement(case, "system-out").text = clean("\n".join(filter(None, said)))


def _of_index(suite: Xml.Element, index: IndexStory) -> None:
    spent = (index.ended or 0.0) - (index.started or index.ended or 0.0)
    case = Xml.SubElement(
        suite, "testcase", classname=clean(index.image), name="index", time=_seconds(spent)
    )
    if index.error is not None:
        _trouble(case, "failure", index.error.kind, index.error.message, index.error)
    said = [f"{reference} {digest}" for reference, digest in index.digests.items()]
    if index.lacking:
        said.append(f"not renewed: {', '.join(map(str, index.lacking))}")
    Xml.SubElement(case, "system-out").text = clean("\n".join(said))


def _case(suite: Xml.Element, job: JobId, name: str, spent: float) -> Xml.Element:
    return Xml.SubElement(
        suite, "testcase", classname=clean(job.image), name=name, time=_seconds(spent)
    )


def _trouble(case: Xml.Element, tag: str, kind: str, message: str, error: ErrorInfo | None) -> None:
    found = Xml.SubElement(case, tag, type=clean(kind), message=clean(message))
    if error is not None:
        told = [error.message, *error.tail, error.hint or ""]
        found.text = clean("\n".join(filter(None, told)))


def _sum(element: Xml.Element, cases: list[Xml.Element]) -> None:
    element.set("tests", str(len(cases)))
    for tag, name in _COUNTED.items():
        element.set(name, str(sum(case.find(tag) is not None for case in cases)))
    element.set("time", _seconds(sum(float(case.get("time", "0")) for case in cases)))


def _seconds(value: float) -> str:
    return f"{max(0.0, value):.3f}"


def clean(text: str) -> str:
    """Text as XML can say it, without what would move a terminal's cursor."""
    return "\n".join(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", plain(x)) for x in text.split("\n"))
