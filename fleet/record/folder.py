"""Where a run is recorded: ``$XDG_STATE_HOME/fleet/runs/<id>/``."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from fleet.models import JobId


def state_home() -> Path:
    """The controller's state folder (XDG base directory specification)."""
    base = os.environ.get("XDG_STATE_HOME", "")
    # The specification tells to ignore a relative path.
    root = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state"
    return root / "fleet"


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """One run's folder: ``events.jsonl`` is the truth, ``logs/`` holds a file per attempt."""

    run: str  # sorts by time
    path: Path
    warning: str | None = None  # why it is not where it should be

    @staticmethod
    def new_name() -> str:
        """A name for a run that begins now."""
        return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"

    @classmethod
    def create(cls, run: str) -> RunFolder:
        """Make the folder of a run.

        Where the state folder cannot be written, the run is recorded in a
        temporary one, with a warning: a build is worth more than its record.
        """
        path = state_home() / "runs" / run
        try:
            _make(path)
            return cls(run=run, path=path)
        except OSError as error:
            reason = f"{path} cannot be written ({error.strerror})"
        try:
            spare = Path(tempfile.mkdtemp(prefix=f"fleet-{run}-"))
            _make(spare)
        except OSError:
            return cls(run=run, path=path, warning=f"{reason}; this run leaves no record")
        return cls(run=run, path=spare, warning=f"{reason}; this run is recorded in {spare}")

    @property
    def events(self) -> Path:
        """The file of the events, a JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def report(self) -> Path:
        """The page that tells the run to people."""
        return self.path / "report.html"

    def log(self, job: JobId, attempt: int) -> Path:
        """The log of one attempt at a job."""
        return self.path / "logs" / f"{job.slug}.{attempt}.log"

    def prepare_log(self, image: str) -> Path:
        """The log of a ``prepare`` command, by the first image that it is for."""
        return self.path / "logs" / f"prepare-{image.replace('/', '..')}.log"

    def provision_log(self, host: str) -> Path:
        """The log of the commands that rent a host and give it back."""
        return self.path / "logs" / f"provision-{host}.log"


def _make(path: Path) -> None:
    """A run's folder, with an events file that a full disk has room for."""
    (path / "logs").mkdir(parents=True, exist_ok=True)
    (path / "events.jsonl").touch()
