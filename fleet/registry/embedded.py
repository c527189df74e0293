"""The registry that fleet runs itself, on the controller, for ``registry: embedded``.

It is a process of its own (CNCF distribution, Debian's docker-registry) that
outlives the run: the next one reads there what has been built. Its folder
remembers its port, so that references stay valid. Where that program is not
installed, a container of it on the local Docker Engine does the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fleet.errors import FleetError, RegistryError
from fleet.registry.client import Registry
from fleet.registry.credentials import CredentialStore

PREFERRED_PORT = 5042
DEFAULT_IMAGE = "registry:2"
_PROGRAMS = ("docker-registry", "registry")  # Debian's name, and upstream's
_LOCK_SECONDS = 120.0
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_RELEASE_SECONDS = 3.0
_PULL_SECONDS = 600.0
_LOG_LIMIT = 10 * 1024 * 1024  # bytes; a larger log is put aside at the next start


@dataclass(frozen=True, kw_only=True)
class EmbeddedStatus:
    """What is known of the embedded registry."""

    running: bool
    address: str | None  # None: it never ran
    pid: int | None
    container: str | None
    folder: Path
    log: Path


@dataclass(frozen=True, kw_only=True)
class _State:
    """What the folder remembers. ``started`` is in clock ticks since boot (proc(5), field 22)."""

    port: int
    pid: int | None = None
    started: int | None = None
    container: str | None = None

    @property
    def alive(self) -> bool:
        """Whether the very process that was started is there, and not another of its number."""
        if self.container is not None:
            return _docker("inspect", "-f", "{{.State.Running}}", self.container) == "true"
        if self.pid is None or self.started is None:
            return False
        return _runs(self.pid, self.started)

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"container {self.container}" if self.container else f"process {self.pid}"


class EmbeddedRegistry:
    """The registry whose data, log and memory are in ``folder``. One may run per folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._file = self._folder / "registry.json"
        self._log = self._folder / "registry.log"

    def start(self) -> str:
        """Have it run, and give its address, ``127.0.0.1:PORT``.

        One that runs already is kept. Raises FleetError where it cannot be started.
        """
        known = None
        with contextlib.suppress(OSError):  # taking the lock tells what is wrong
            known = self._read()
        if known is None or not known.alive:
            with self._locked():  # which one that runs already does not need
                return self._started()
        self._await(known)
        return _address(known.port)

    def _started(self) -> str:
        known = self._read()
        if known is not None and known.alive:  # another run was faster
            self._await(known)
            return _address(known.port)
        try:
            state = self._launch(known.port if known else _choose_port())
            self._await(state)
        except FleetError:
            state = self._read() or state
            if known is None and not state.alive:
                self._file.unlink(missing_ok=True)  # nothing was ever found at that port
            raise
        return _address(state.port)

    def stop(self) -> None:
        """End it, if it runs. What it holds stays, and so does its port."""
        with self._locked():
            state = self._read()
            if state is None or not state.alive:
                return
            if state.container is not None:
                _docker("rm", "-f", state.container)
            elif state.pid is not None:
                self._end(state.pid, state)
            self._write(_State(port=state.port))

    def status(self) -> EmbeddedStatus:
        """Whether it runs, and where. Starts and changes nothing."""
        state = self._read()
        running = state is not None and state.alive
        return EmbeddedStatus(
            running=running,
            address=_address(state.port) if state else None,
            pid=state.pid if state and running else None,
            container=state.container if state and running else None,
            folder=self._folder,
            log=self._log,
        )

    # --- starting -------------------------------------------------------------------------

    def _launch(self, port: int) -> _State:
        if not _becomes_free(port):
            raise FleetError(
                f"the embedded registry's port {port} is taken by another program",
                hint=f"end that program; or remove {self._file}, and another port is chosen:"
                " images under the old address must be built again",
            )
        self._write(_State(port=port))  # fails before anything runs
        program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
        if program is not None:
            state = self._spawn(program, port)
        elif shutil.which("docker") and _docker("version", "-f", "{{.Server.Version}}"):
            state = self._run_container(port)
        else:
            raise FleetError(
                "the embedded registry needs the program docker-registry or a local Docker Engine,"
                " and neither is here",
                hint="apt-get install docker-registry",
            )
        self._write(state)
        return state

    def _spawn(self, program: str, port: int) -> _State:
        """Start the program in a session of its own, so that no terminal's Ctrl-C ends it."""
        (self._folder / "data").mkdir(exist_ok=True)
        config = self._folder / "config.yml"
        config.write_text(self._config(port), encoding="utf-8")
        if self._log.exists() and self._log.stat().st_size > _LOG_LIMIT:
            self._log.replace(self._log.with_suffix(".log.1"))
        # The program takes REGISTRY_* for settings; podman's REGISTRY_AUTH_FILE would be one.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")
        }
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        # Not subprocess: nobody here waits for it, and Popen complains of that.
        pid = os.posix_spawn(
            program,
            [program, "serve", str(config)],
            environment | {"OTEL_TRACES_EXPORTER": "none"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self._log), append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE],  # which Python ignores, and children would as well
        )
        return _State(port=port, pid=pid, started=_start_time(pid))

    def _config(self, port: int) -> str:
        """The program's configuration; JSON is YAML."""
        config = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self._folder / "data")},
                "delete": {"enabled": True},
            },
            "http": {"addr": _address(port)},
        }
        return json.dumps(config, indent=2) + "\n"

    def _run_container(self, port: int) -> _State:
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        name = f"fleet-registry-{hashlib.sha256(str(self._folder).encode()).hexdigest()[:12]}"
        _docker("rm", "-f", name)
        image = os.environ.get("FLEET_REGISTRY_IMAGE") or DEFAULT_IMAGE
        argv = ["docker", "run", "-d", "--name", name, "-p", f"{_address(port)}:5000"]
        argv += ["-v", f"{data}:/var/lib/registry", "-e", "REGISTRY_STORAGE_DELETE_ENABLED=true"]
        try:
            done = subprocess.run(
                [*argv, image], capture_output=True, text=True, timeout=_PULL_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise FleetError(f"docker could not run {image}: {error}") from error
        if done.returncode != 0:
            raise FleetError(
                f"docker could not run {image}: {done.stderr.strip()}",
                hint="FLEET_REGISTRY_IMAGE names another image of it;"
                " or: apt-get install docker-registry",
            )
        return _State(port=port, container=name)

    def _await(self, state: _State) -> None:
        """Wait until it answers. Raises FleetError with the end of its log where it does not."""
        address = _address(state.port)
        client = Registry(
            credentials=CredentialStore(environ={}), plain_http=(address,), timeout=5.0
        )
        deadline = time.monotonic() + _START_SECONDS
        with contextlib.closing(client):
            while True:
                try:
                    return client.ping(address)
                except RegistryError as error:
                    problem = error.message
                if not state.alive:
                    raise FleetError(
                        f"the embedded registry ended as it was started: {self._tail(state)}",
                        hint=f"its log is {self._log}",
                    )
                if time.monotonic() > deadline:
                    raise FleetError(
                        f"the embedded registry runs ({state.name}) and does not answer: {problem}",
                        hint=f"its log is {self._log}; end that, and it is started anew",
                    )
                time.sleep(0.05)

    def _tail(self, state: _State) -> str:
        if state.container is not None:
            return _docker("logs", "--tail", "3", state.container) or "it logged nothing"
        lines = self._log.read_text(errors="replace").splitlines()[-3:]
        return " / ".join(line.strip() for line in lines) or "it logged nothing"

    def _end(self, pid: int, state: _State) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + _STOP_SECONDS
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            while state.alive and time.monotonic() < deadline:
                time.sleep(0.02)
            if not state.alive and _becomes_free(state.port):
                return
        raise FleetError(f"the embedded registry ({state.name}) cannot be ended")

    # --- the folder -----------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder's lock, so that two runs do not start two."""
        from filelock import FileLock, Timeout  # most runs start nothing

        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._folder / "registry.lock", timeout=_LOCK_SECONDS)
            with lock:
                yield
        except Timeout:
            raise FleetError(
                f"another fleet has been starting or stopping the embedded registry for"
                f" {_LOCK_SECONDS:g} s",
                hint=f"see who holds {self._folder / 'registry.lock'}",
            ) from None
        except OSError as error:
            raise FleetError(
                f"the embedded registry's folder {self._folder} cannot be used: {error}"
            ) from error

    def _read(self) -> _State | None:
        try:
            text = self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            state = _State(**json.loads(text))
            return replace(state, port=int(state.port))
        except (ValueError, TypeError):
            raise FleetError(
                f"{self._file} is broken", hint="remove it; the images in the folder stay"
            ) from None

    def _write(self, state: _State) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(asdict(state)) + "\n", encoding="utf-8")
        new.replace(self._file)


def _address(port: int) -> str:
    return f"127.0.0.1:{port}"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the registry itself binds: connections that linger do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _choose_port() -> int:
    if _is_free(PREFERRED_PORT):
        return PREFERRED_PORT
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _becomes_free(port: int) -> bool:
    """Whether a port is free, at once or soon: a process that was killed lets go of it late."""
    deadline = time.monotonic() + _RELEASE_SECONDS
    while not _is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the third on; nothing where there is no such process.

    Of the first two, one is a name that may hold anything (proc(5)).
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _start_time(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def _runs(pid: int, started: int) -> bool:
    """Whether the process that was started then still runs."""
    fields = _stat(pid)
    if not fields or int(fields[19]) != started:
        return False
    state, parent = fields[0], int(fields[1])
    if state in "ZX" and parent == os.getpid():
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # a child of this very process: nobody else collects it
    return state not in "ZX"


def _docker(*arguments: str) -> str:
    """What a docker command prints; empty where it fails."""
    try:
        done = subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, timeout=30.0, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
