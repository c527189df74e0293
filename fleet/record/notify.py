"""Telling others how a run ended: messages, a healthcheck's ping, figures for Prometheus.

Nothing of it changes how a run ends: what cannot be told raises OSError, which the
run's ``Tee`` makes a warning. Addresses may hold passwords, so that they are in no
message. They are filled in from the environment (``${NAME}``) as they are needed.
"""

from __future__ import annotations

import logging
import os
import re
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from fleet.errors import ExitCode
from fleet.events import Event, RunFinished, RunStarted
from fleet.models import Notify, Occasion
from fleet.record.history import Figures, History
from fleet.record.story import Story
from fleet.record.tee import Reader
from fleet.record.text import count, plain, seconds

_PATIENCE = 10.0  # seconds for a ping
_LINES = 12  # of errors in a message, which a phone should show
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def tellers(notify: Notify) -> tuple[Reader, ...]:
    """The readers that tell of a run as is wanted."""
    found: list[Reader] = []
    if notify.healthcheck is not None:
        found.append(Pinger(notify.healthcheck))
    if notify.urls:
        found.append(Messenger(notify))
    if notify.textfile is not None:
        found.append(Gauge(notify))
    return tuple(found)


class Messenger:
    """Sends a message where a run ends as somebody wants to know it."""

    def __init__(self, notify: Notify, history: History | None = None) -> None:
        self._notify = notify
        self._history = history or History()
        self._story = Story()

    def read(self, event: Event, /) -> None:
        """Take one event; at the last one the message is sent. Raises OSError."""
        self._story.read(event)
        if not isinstance(event, RunFinished):
            return
        before = self._history.ended_before(self._story.run, str(self._story.inventory))
        occasion = occasion_of(event.exit_code, before)
        if occasion is None or occasion not in self._notify.on:
            return
        import apprise  # takes a third of a second, and most runs have nothing to tell

        # Its own words about what went wrong may hold the address.
        logging.getLogger("apprise").addHandler(logging.NullHandler())
        logging.getLogger("apprise").propagate = False
        sender = apprise.Apprise()
        wrong = sum(not sender.add(filled(url)) for url in self._notify.urls)
        title, body = message(self._story, occasion)
        sent = sender.notify(title=title, body=body) if len(sender) else False
        if wrong:
            urls = count(len(self._notify.urls), "URL")
            raise OSError(f"{wrong} of {urls} under `notify:` mean nothing to Apprise")
        if not sent:
            raise OSError("not everybody under `notify:` could be told of the run")

    def close(self) -> None:
        """Nothing is held back."""


class Pinger:
    """Asks a healthcheck's address at the begin and at the end of a run.

    The form is that of healthchecks.io ("Pinging API"): ``/start``, then the address
    itself, or ``/fail``.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def read(self, event: Event, /) -> None:
        """Take one event. Raises OSError where nobody answers."""
        match event:
            case RunStarted():
                # Where nobody answers now, somebody may at the end, which is what counts.
                with suppress(OSError):
                    self._ask("/start")
            case RunFinished():
                well = event.exit_code in (ExitCode.OK, ExitCode.PARTIAL)
                self._ask("" if well else "/fail")

    def close(self) -> None:
        """Nothing is held back."""

    def _ask(self, end: str) -> None:
        address = filled(self._address)
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https"):
            raise OSError("the healthcheck under `notify:` is no address of the web")
        url = parts._replace(path=parts.path.rstrip("/") + end).geturl()
        try:
            with urllib.request.urlopen(url, timeout=_PATIENCE):
                pass
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise OSError(
                f"the healthcheck at {parts.hostname} does not answer: {reason}"
            ) from None


class Gauge:
    """Writes figures of all runs where Prometheus's node exporter collects them."""

    def __init__(self, notify: Notify, history: History | None = None) -> None:
        self._path = notify.textfile
        self._history = history or History()

    def read(self, event: Event, /) -> None:
        """Take one event; the last one has the file written. Raises OSError."""
        if isinstance(event, RunFinished) and self._path is not None:
            text = exposition(self._history.figures(), event.exit_code, event.seconds, event.at)
            # The collector reads the folder at any time, and only names that end in .prom.
            aside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            aside.write_text(text, encoding="utf-8")
            aside.chmod(0o644)
            aside.replace(self._path)

    def close(self) -> None:
        """Nothing is held back."""


def occasion_of(exit_code: int, before: int | None) -> Occasion | None:
    """What the end of a run is to somebody who was told of the one before it."""
    match exit_code:
        case ExitCode.OK:
            well = before in (None, ExitCode.OK, ExitCode.INTERRUPTED, ExitCode.LOCKED)
            return Occasion.SUCCESS if well else Occasion.RECOVERY
        case ExitCode.PARTIAL:
            return Occasion.PARTIAL
        case ExitCode.INTERRUPTED | ExitCode.LOCKED:
            return None  # somebody was there
        case _:
            return Occasion.FAILURE


def message(story: Story, occasion: Occasion) -> tuple[str, str]:
    """A title, and in a few lines what failed, why, and how to see more."""
    name = story.inventory.parent.name if story.inventory else "fleet"
    words = {
        Occasion.FAILURE: "failed",
        Occasion.RECOVERY: "is well again",
        Occasion.PARTIAL: "is published in part",
        Occasion.SUCCESS: "went well",
    }
    lines = [f"{job.id}: {job.error.message}" for job in story.jobs.values() if job.error]
    lines += [f"{index.image}: {index.error.message}" for index in story.indexes.values()
              if index.error]  # fmt: skip
    if story.error is not None:
        lines.append(story.error.message)
    lines = [plain(line) for text in lines for line in text.splitlines()[:2]]
    if len(lines) > _LINES:
        lines[_LINES:] = [f"and {len(lines) - _LINES} more"]
    done = sum(job.good for job in story.jobs.values())
    spent = (story.ended or 0.0) - (story.started or story.ended or 0.0)
    lines.append(f"{done} of {count(len(story.jobs), 'job')} well, {seconds(spent)}")
    lines.append(f"fleet show {story.run}")
    return f"fleet: {name} {words[occasion]}", "\n".join(lines)


def exposition(
    figures: list[Figures], exit_code: int, spent: float, at: float | None = None
) -> str:
    """Figures in Prometheus's text format, version 0.0.4."""
    at = time.time() if at is None else at
    lines = [
        *_metric("fleet_run_exit_code", "gauge", "How the last run ended; 0 is well.",
                 {"": exit_code}),
        *_metric("fleet_run_end_timestamp_seconds", "gauge", "When it ended.", {"": at}),
        *_metric("fleet_run_duration_seconds", "gauge", "How long it took.", {"": spent}),
        *_metric("fleet_job_success_timestamp_seconds", "gauge",
                 "When the image last was as it should be.",
                 {_labels(f): f.success for f in figures}),
        *_metric("fleet_job_build_seconds", "gauge", "How long its last builds took, the median.",
                 {_labels(f): f.seconds for f in figures}),
        *_metric("fleet_job_failures_total", "counter", "Builds on record that failed.",
                 {_labels(f): f.failures for f in figures}),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def filled(text: str) -> str:
    """A text with its variables filled in. Raises OSError for one that is not set."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in os.environ:
            raise OSError(f"${{{name}}} under `notify:` is not set in the environment")
        return os.environ[name]

    return _VARIABLE.sub(value, text)


def _metric(name: str, kind: str, meaning: str, values: Mapping[str, float | None]) -> list[str]:
    told = [f"{name}{labels} {value!r}" for labels, value in values.items() if value is not None]
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", *told] if told else []


def _labels(figures: Figures) -> str:
    pairs = {"image": figures.job.image, "platform": str(figures.job.platform)}
    told = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs.items())
    return f"{{{told}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
