"""50 MB of a build's log, from a host into a file on the controller.

fleet follows it as in a run: the detached build's ``follow`` over its SSH connection,
lines that arrive together an event, and the reader that writes log files. ssh does what
a person would: ``tail -f`` into a file.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from bench.loopback import farm
from bench.measure import Measure, Pair
from fleet.engine.detached import DetachedBuilds, State
from fleet.engine.logs import LogCursor
from fleet.engine.script import HostScript
from fleet.events import JobStarted, LogLines
from fleet.hosts import connect
from fleet.models import HostSpec, JobId, Step
from fleet.platforms import Platform
from fleet.record import LogFiles, RunFolder, Tee

_BYTES = 50_000_000
_LINE = b"#12 34.56 [ 42%] Building CXX object CMakeFiles/Core.dir/Sources/Some/File.cpp.o\n"
_NOBODY = 2**22 - 1  # no process: then tail ends when it has read what is there


def measures() -> tuple[Measure, ...]:
    """CPU of the controller's side."""
    return (
        Measure(
            name="log-50mb",
            what="50 MB of a build's log followed into the controller's log file (CPU)",
            against="`ssh HOST tail -f` into a file",
            aim=1.5,
            by="cpu",
            runs=5,
            opened=opened,
        ),
    )


@contextmanager
def opened() -> Iterator[Pair]:
    """One host, with a build that has printed it all."""
    with farm(1) as hosts:
        folder = hosts.folder
        (folder / "log-to-be").write_bytes(_LINE * (_BYTES // len(_LINE)))
        spec = HostSpec(name="h", address=hosts.addresses[0], state=str(folder / "on-host"))
        host = connect(spec, ssh_config=hosts.config)
        try:
            builds = DetachedBuilds(host, HostScript(host, PurePosixPath(spec.state)))
            files = {"order.json": "{}\n", "keep": "true", "command": f"cat {folder}/log-to-be"}
            id = builds.start("one", files).id
            builds.follow("one", LogCursor(execution=id), lambda lines: None)
            job = JobId(image="image", platform=Platform.parse("linux/amd64"))
            (folder / "run" / "logs").mkdir(parents=True)
            log = RunFolder(run="run", path=folder / "run")

            def fleet() -> None:
                log.log(job, 1).unlink(missing_ok=True)
                emit = Tee(LogFiles(log))
                emit(JobStarted(job=job, host="h", attempt=1))

                def on_lines(text: str) -> None:
                    emit(LogLines(job=job, host="h", attempt=1, step=Step.BUILD, text=text))

                state = builds.follow("one", LogCursor(execution=id), on_lines)
                emit.close()
                assert state is State.FINISHED, state
                assert log.log(job, 1).stat().st_size >= _BYTES - len(_LINE)

            def ssh() -> None:
                argv = ["ssh", "-F", str(hosts.config), hosts.addresses[0]]
                argv += ["tail", "-c", "+1", "-f", f"--pid={_NOBODY}", f"{folder}/log-to-be"]
                with Path(folder / "by-ssh").open("wb") as out:
                    subprocess.run(argv, stdout=out, check=True)

            yield fleet, ssh
        finally:
            host.close()
