"""What runs have come to, in SQLite: a digest of the event files, which stay the truth.

The database can be thrown away at any time: ``rebuilt`` makes it anew from the
events. One that is damaged, or of another version of fleet, is put aside and
rebuilt when it is opened. Seconds, bytes, and seconds since the epoch throughout.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from filelock import FileLock

from fleet.events import COLLECTED, Event, RunFinished, RunStarted
from fleet.models import JobId, Status
from fleet.platforms import Platform
from fleet.record.folder import state_home
from fleet.record.story import JobStory, Story

_VERSION = 1  # of the tables, in SQLite's user_version
_TABLES = """
CREATE TABLE runs (
    run TEXT PRIMARY KEY, inventory TEXT, command TEXT, started REAL, ended REAL,
    exit_code INTEGER, built INTEGER, kept INTEGER, missing INTEGER, error TEXT
);
CREATE TABLE jobs (
    run TEXT, image TEXT, platform TEXT, host TEXT, status TEXT, attempts INTEGER,
    started REAL, ended REAL, build REAL, size INTEGER, digest TEXT, error TEXT,
    PRIMARY KEY (run, image, platform)
);
CREATE TABLE hosts (
    run TEXT, host TEXT, attempts INTEGER, retries INTEGER, away INTEGER, lost INTEGER,
    PRIMARY KEY (run, host)
);
CREATE INDEX jobs_by_image ON jobs (image, platform, ended);
"""
_PATIENCE = 10.0  # seconds of waiting for another process
_LATELY = 5  # builds whose median says how long the next one takes
_BUILT = str(Status.BUILT)
_CHOSEN = "ended >= :since AND :image IN ('', image) AND :host IN ('', host)"  # of jobs


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A run in a line. ``exit_code`` is None where it goes on or was killed."""

    run: str
    inventory: str
    command: str
    started: float | None
    ended: float | None
    exit_code: int | None
    built: int
    kept: int
    missing: int  # jobs that did not become what they were to
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Trend:
    """How long the builds of one image on one platform took, the oldest first."""

    job: JobId
    seconds: tuple[float, ...]
    failed: int  # of its jobs, as many did not end well

    @property
    def typical(self) -> float:
        """The median."""
        return median(self.seconds) if self.seconds else 0.0


@dataclass(frozen=True, kw_only=True)
class HostTrend:
    """What a host has done and suffered, over all runs that are looked at."""

    host: str
    runs: int
    attempts: int
    retries: int
    away: int
    lost: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """A job over all runs: when it last did well, how long it takes, how often it failed."""

    job: JobId
    success: float | None
    seconds: float | None
    failures: int


class History:
    """The database below a state folder. Every method may raise ``sqlite3.Error`` or OSError."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or state_home()
        self.path = self._folder / "history.sqlite"
        self._lock = self._folder / "history.sqlite.lock"

    def write(self, story: Story) -> None:
        """Put what became of a run in the place of what is known of it."""
        with self._open() as db:
            _write(db, story)

    def rebuilt(self) -> int:
        """Make it anew from the event files; how many runs they tell of."""
        with self._alone():
            for path in self.path.parent.glob(f"{self.path.name}*"):
                if path != self._lock:
                    path.unlink()
            with closing(self._connect()) as db, db:
                _make_tables(db)
                return self._fill(db)

    def runs(
        self,
        *,
        limit: int = -1,
        failed: bool = False,
        image: str = "",
        inventory: Path | None = None,
    ) -> list[RunRow]:
        """The latest runs, the newest first: all, or those that failed, had an image, or were of
        an inventory, by whichever way to it.
        """
        where = ["1"]
        if failed:
            where.append("coalesce(exit_code, 1) <> 0")
        if image:
            where.append("run IN (SELECT run FROM jobs WHERE image = :image)")
        if inventory:
            where.append("resolved(inventory) = resolved(:inventory)")
        query = f"SELECT * FROM runs WHERE {' AND '.join(where)} ORDER BY run DESC LIMIT :limit"
        with self._open() as db:
            db.create_function("resolved", 1, lambda path: str(Path(path).resolve()))
            asked = {"image": image, "inventory": str(inventory), "limit": limit}
            rows = db.execute(query, asked).fetchall()
        return [RunRow(**dict(row)) for row in rows]

    def durations(self) -> dict[JobId, float]:
        """How long the build of each job takes: the median of its last ones."""
        found: dict[JobId, list[float]] = {}
        for job, seconds in self._builds(since=0.0):
            found.setdefault(job, []).append(seconds)
        return {job: median(all_[-_LATELY:]) for job, all_ in found.items()}

    def builds(self) -> list[tuple[JobId, str, float]]:
        """Every build that went well: its job, its host and its seconds, the oldest first."""
        query = (
            "SELECT image, platform, host, build FROM jobs WHERE status = ? AND build IS NOT NULL"
            " AND host IS NOT NULL ORDER BY ended"
        )
        with self._open() as db:
            rows = db.execute(query, (_BUILT,)).fetchall()
        return [(_job(row), row["host"], row["build"]) for row in rows]

    def trends(self, *, since: float = 0.0, image: str = "", host: str = "") -> list[Trend]:
        """Every image and platform that was built or failed since then; of all, or of one image,
        and on all hosts or on one.
        """
        found: dict[JobId, list[float]] = {}
        for job, seconds in self._builds(since=since, image=image, host=host):
            found.setdefault(job, []).append(seconds)
        query = (
            "SELECT image, platform, count(*) AS number FROM jobs"
            f" WHERE status = 'failed' AND {_CHOSEN} GROUP BY image, platform"
        )
        with self._open() as db:
            asked = {"since": since, "image": image, "host": host}
            failed = {_job(row): row["number"] for row in db.execute(query, asked)}
        return [
            Trend(job=job, seconds=tuple(found.get(job, ())), failed=failed.get(job, 0))
            for job in sorted({*found, *failed})
        ]

    def hosts(self, *, since: float = 0.0, image: str = "", host: str = "") -> list[HostTrend]:
        """Every host that has taken jobs since then, or did not answer; all or one of them, in all
        runs or in those where a job of an image ended there.
        """
        query = (
            "SELECT host, count(*) AS runs, sum(attempts) AS attempts, sum(retries) AS retries,"
            " sum(away) AS away, sum(lost) AS lost FROM hosts JOIN runs USING (run)"
            " WHERE started >= :since AND :host IN ('', host) AND (:image = '' OR EXISTS"
            " (SELECT 1 FROM jobs WHERE jobs.run = hosts.run AND jobs.host = hosts.host"
            " AND jobs.image = :image)) GROUP BY host ORDER BY host"
        )
        with self._open() as db:
            asked = {"since": since, "image": image, "host": host}
            return [HostTrend(**dict(row)) for row in db.execute(query, asked)]

    def ended_before(self, run: str, inventory: str) -> int | None:
        """The exit code of the run of an inventory before that one; None where there was none."""
        query = (
            "SELECT exit_code FROM runs WHERE inventory = ? AND run < ? AND exit_code IS NOT NULL"
            " ORDER BY run DESC LIMIT 1"
        )
        with self._open() as db:
            row = db.execute(query, (inventory, run)).fetchone()
        return None if row is None else int(row["exit_code"])

    def figures(self) -> list[Figures]:
        """What is to be watched of every image and platform."""
        query = (
            "SELECT image, platform, max(CASE WHEN status IN ('built', 'kept') THEN ended END) AS"
            " success, sum(status = 'failed') AS failures FROM jobs GROUP BY image, platform"
            " ORDER BY image, platform"
        )
        durations = self.durations()
        with self._open() as db:
            rows = db.execute(query).fetchall()
        return [
            Figures(
                job=_job(row),
                success=row["success"],
                seconds=durations.get(_job(row)),
                failures=row["failures"] or 0,
            )
            for row in rows
        ]

    def forget(self, keep: int) -> None:
        """Leave only the latest runs."""
        with self._open() as db:
            old = "(SELECT run FROM runs ORDER BY run DESC LIMIT -1 OFFSET ?)"
            for name in ("jobs", "hosts", "runs"):
                db.execute(f"DELETE FROM {name} WHERE run IN {old}", (keep,))

    def _builds(
        self, *, since: float, image: str = "", host: str = ""
    ) -> Iterator[tuple[JobId, float]]:
        query = (
            "SELECT image, platform, build FROM jobs"
            f" WHERE status = '{_BUILT}' AND build IS NOT NULL AND {_CHOSEN} ORDER BY ended"
        )
        with self._open() as db:
            asked = {"since": since, "image": image, "host": host}
            rows = db.execute(query, asked).fetchall()
        for row in rows:
            yield _job(row), row["build"]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time, since each may find the database to be made anew."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._lock, timeout=_PATIENCE):
            yield

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._alone():
            try:
                db = self._connect()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):  # read-only, a full disk
                    raise
                self._put_aside()
                db = self._connect()
            with closing(db), db:
                if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    _make_tables(db)
                    self._fill(db)
                yield db

    def _connect(self) -> sqlite3.Connection:
        """The database, or one to be made. Raises DatabaseError for what cannot be used."""
        db = sqlite3.connect(self.path, timeout=_PATIENCE)
        try:
            db.row_factory = sqlite3.Row
            if (said := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(said)
            there = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if there and version != _VERSION:
                raise sqlite3.DatabaseError(f"it is of version {version}, and not {_VERSION}")
            return db
        except BaseException:
            db.close()
            raise

    def _put_aside(self) -> None:
        """What cannot be read is not thrown away: the one before it is."""
        self.path.replace(self.path.with_name(f"{self.path.name}.unreadable"))

    def _fill(self, db: sqlite3.Connection) -> int:
        number = 0
        for path in sorted((self._folder / "runs").glob("*/events.jsonl")):
            with suppress(OSError):
                story = Story.of(path)
                if story.run:
                    _write(db, story)
                    number += 1
        return number


class Historian:
    """The reader that writes a run into the history, at its begin and at its end."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._story = Story()

    def read(self, event: Event, /) -> None:
        """Take one event."""
        self._story.read(event)
        if isinstance(event, RunStarted | RunFinished):
            self._history.write(self._story)

    def close(self) -> None:
        """Nothing is held back."""


def _make_tables(db: sqlite3.Connection) -> None:
    for statement in (*_TABLES.split(";"), f"PRAGMA user_version = {_VERSION}"):
        db.execute(statement)


def _write(db: sqlite3.Connection, story: Story) -> None:
    for name in ("runs", "jobs", "hosts"):
        db.execute(f"DELETE FROM {name} WHERE run = ?", (story.run,))
    jobs = story.jobs.values()
    good = [job.status for job in jobs if job.good]
    error = story.error or next((job.error for job in jobs if job.error), None)
    db.execute(
        "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            story.run,
            str(story.inventory or ""),
            " ".join(story.command[1:]),
            story.started,
            story.ended,
            story.exit_code,
            good.count(Status.BUILT),
            good.count(Status.KEPT),
            len(jobs) - len(good),
            error.message if error else None,
        ),
    )
    db.executemany(
        "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                story.run,
                job.id.image,
                str(job.id.platform),
                job.host,
                job.status and str(job.status),
                len(job.attempts),
                job.started,
                job.ended,
                _build_seconds(job),
                job.size,
                job.digest,
                job.error and job.error.kind,
            )
            for job in jobs
        ],
    )
    attempts = [attempt for job in jobs for attempt in job.attempts]
    names = {*story.hosts, *(attempt.host for attempt in attempts)}
    db.executemany(
        "INSERT INTO hosts VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                story.run,
                name,
                sum(attempt.host == name for attempt in attempts),
                sum(len(attempt.retries) for attempt in attempts if attempt.host == name),
                len(story.host(name).away),
                int(story.host(name).lost is not None or _silent(story, name)),
            )
            for name in sorted(names)
        ],
    )


def _build_seconds(job: JobStory) -> float | None:
    """How long the attempt that built took; where one only collected, that tells nothing."""
    if job.status is not Status.BUILT or job.last is None or job.ended is None:
        return None
    if any(step.detail == COLLECTED for attempt in job.attempts for step in attempt.steps):
        return None
    return job.ended - job.last.started


def _silent(story: Story, host: str) -> bool:
    """Whether it did not answer when it was probed."""
    report = story.host(host).report
    return bool(report) and report.get("facts") is None


def _job(row: Mapping[str, str] | sqlite3.Row) -> JobId:
    return JobId(image=row["image"], platform=Platform.parse(row["platform"]))
