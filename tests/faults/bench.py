"""One place where cells of the matrix are run: two lab hosts, a registry, a controller."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import Host, Lab
from tests.faults.registry import PASSWORD, USER, MoodyRegistry

IMAGES = Path(__file__).resolve().parents[2] / "lab" / "images"
DEADLINE = 280.0  # seconds for one run of fleet, whatever befalls it
_COUNTER = """\
#!/bin/sh
# Counts the builds that this host executes, for tests/faults: fleet is not asked.
case " $* " in *" build "*--iidfile*) echo "$*" >>/var/log/lab-builds ;; esac
exec /usr/bin/docker.counted "$@"
"""
_INSTALL = """\
[ -e /usr/bin/docker.counted ] || mv /usr/bin/docker /usr/bin/docker.counted
cat >/usr/bin/docker && chmod 755 /usr/bin/docker
"""
# What fleet, and nothing else, runs on a host of the lab.
_OURS = r"/bin/[0-9a-f]{16}\.sh|docker(-buildx|\.counted)?.* build |dial-stdio|tick"
_TICK = re.compile(r"\btick (\d+)$")


def until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait for a condition, or fail."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)


@dataclass(kw_only=True)
class Controller:
    """A running fleet, and what it has told so far."""

    process: subprocess.Popen[str]
    events: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.said.append(line)
                with suppress(ValueError):
                    self.events.append(json.loads(line))
                self._changed.notify_all()

    def wait_for(self, fits: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """The first event that fits; fails where the run ends without one."""
        end = time.monotonic() + DEADLINE
        with self._changed:
            seen = 0
            while True:
                for event in self.events[seen:]:
                    seen += 1
                    if fits(event):
                        return event
                assert self.process.poll() is None or self._reader.is_alive(), self.story(what)
                assert time.monotonic() < end, self.story(what)
                self._changed.wait(0.2)

    def end(self) -> int:
        """Its exit code, once it ends."""
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(self.story("the run did not end")) from None
        self._reader.join(10)
        return self.process.returncode

    def kill(self) -> None:
        """As a power cut does it."""
        self.process.kill()
        self.process.wait()
        self._reader.join(10)

    def story(self, what: str) -> str:
        """What went wrong, with the end of what fleet said."""
        return what + "\n" + "".join(line[:600] for line in self.said[-25:])


class Bench:
    """Hosts, registry and controller. ``name`` tells its lab from that of other benches."""

    def __init__(self, name: str, folder: Path) -> None:
        self.lab = Lab.named(name, say=lambda line: None)
        self.folder = folder
        self.registry = MoodyRegistry(folder / "registry")
        self._fleets: list[Controller] = []

    def __enter__(self) -> Bench:
        self.registry.start()
        try:
            self._set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _set_up(self) -> None:
        self.up()
        dockerfiles = self.folder / "dockerfiles"
        dockerfiles.mkdir(parents=True, exist_ok=True)
        (dockerfiles / "busybox").symlink_to(IMAGES / "busybox")
        self.recipe(ticks=1)
        code = self.fleet("build", "busybox", hosts=("amd64-1",)).end()
        assert code == 0, "the base could not be built"

    def __exit__(self, *_: object) -> None:
        self._end_fleets()
        self.registry.stop()
        self.lab.down()

    def _end_fleets(self) -> None:
        """A cell that failed has left its controller at work."""
        for fleet in self._fleets:
            fleet.kill()
        self._fleets.clear()

    def up(self) -> None:
        """Have both hosts up and whole, whatever a cell has done to them."""
        self._end_fleets()
        for host in self.lab.up(["amd64-1", "amd64-2"]):
            host.hurt.thaw()
            host.hurt.restore_network()
            host.hurt.free_disk()
            host.hurt.start_sshd() if not self._listens(host) else None
            if host.admin(["docker", "version"], check=False).returncode != 0:
                host.hurt.start_docker()
            # What a host that was killed could not take away itself.
            host.admin(["sh", "-c", "docker ps -aq | xargs -r docker rm -f"])
            subprocess.run(
                host.backend.admin(["sh", "-c", _INSTALL]),
                input=_COUNTER, text=True, check=True, capture_output=True, timeout=60,
            )  # fmt: skip
            host.admin(["sh", "-c", ": >/var/log/lab-builds"])

    def _listens(self, host: Host) -> bool:
        return host.admin(["sh", "-c", "kill -0 $(cat /run/sshd.pid)"], check=False).returncode == 0

    # --- what is built --------------------------------------------------------------------

    def recipe(self, *, ticks: int, data: int = 1000, smoke: int = 0, sparse: int = 0) -> None:
        """A new image ``work``: nobody has built it before.

        ``ticks`` are half seconds that it takes, ``data`` random bytes in a layer of it,
        ``sparse`` bytes, nearly all of them zeros, in its context, ``smoke`` half seconds of its
        smoke test.
        """
        work = self.folder / "dockerfiles" / "work"
        work.mkdir(parents=True, exist_ok=True)
        (work / "data").write_bytes(secrets.token_bytes(data))
        with (work / "zeros").open("wb") as zeros:
            # Else a host that had it for an earlier cell links it, and nothing is on its way.
            zeros.write(secrets.token_bytes(16))
            zeros.truncate(max(sparse, 16))
        (work / ".dockerignore").write_text("" if sparse else "zeros\n")
        self.nonce = secrets.token_hex(8)
        (work / "Dockerfile").write_text(
            f"FROM busybox\nCOPY data /data\nRUN echo {self.nonce} >/nonce; i=0; "
            f"while [ $i -lt {ticks} ]; do i=$((i+1)); echo tick $i; sleep 0.5; done\n"
        )
        self.ticks = ticks
        loop = f"i=0; while [ $i -lt {smoke} ]; do i=$((i+1)); echo smoke $i; sleep 0.5; done"
        self._smoke = f"smoke: [sh, -c, '{loop}; test -s /nonce']"

    def inventory(self, hosts: tuple[str, ...]) -> Path:
        """An inventory of some of the hosts."""
        path = self.folder / "inventory.yml"
        names = "".join(f"  {name}: {{address: {name}}}\n" for name in hosts)
        path.write_text(
            f"ssh_config: {self.lab.ssh_config}\n"
            f"registry: {{address: '{self.registry.address}', plain_http: true, tunnel: true}}\n"
            f"platforms: [linux/amd64]\nhosts:\n{names}"
            f"images: {{busybox: {{}}, work: {{{self._smoke}}}}}\n"
            "limits: {host_wait: 2m, min_free: 50MB}\n"
        )
        return path

    # --- fleet ----------------------------------------------------------------------------

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def fleet(self, *words: str, hosts: tuple[str, ...]) -> Controller:
        """Start fleet."""
        inventory = self.inventory(hosts)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("FLEET_", "DOCKER_"))}
        process = subprocess.Popen(
            [sys.executable, "-m", "fleet", *words, "--inventory", str(inventory),
             "--progress", "rawjson"],
            env={
                **clean,
                "XDG_STATE_HOME": str(self.state),
                "FLEET_REGISTRY_USERNAME": USER,
                "FLEET_REGISTRY_PASSWORD": PASSWORD,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )  # fmt: skip
        fleet = Controller(process=process)
        self._fleets.append(fleet)
        return fleet

    # --- what became of it, without asking fleet ---------------------------------------------

    def builds(self) -> int:
        """How many builds of ``work`` the hosts have executed."""
        text = ""
        for host in self.lab.hosts():
            if host.up():
                text += host.admin(["cat", "/var/log/lab-builds"]).stdout
        return text.count("fleet/work:")

    def published(self) -> str:
        """The digest under work:latest, empty where there is none."""
        folder = (
            self.folder / "registry/data/docker/registry/v2/repositories" / "work/_manifests/tags"
        )
        link = folder / "latest/current/link"
        return link.read_text() if link.exists() else ""

    def whole(self) -> bool:
        """Whether all that work:latest leads to is in the registry, and of this recipe."""
        top = self.registry_blob(self.published())
        for child in top["manifests"]:
            manifest = self.registry_blob(child["digest"])
            config = self.registry_blob(manifest["config"]["digest"])
            for layer in manifest["layers"]:
                assert self._blob(layer["digest"]).stat().st_size == layer["size"]
            if not any(self.nonce in step.get("created_by", "") for step in config["history"]):
                return False
        return bool(top["manifests"])

    def registry_blob(self, digest: str) -> Any:
        return json.loads(self._blob(digest).read_bytes())

    def _blob(self, digest: str) -> Path:
        hex_ = digest.removeprefix("sha256:")
        blobs = self.folder / "registry/data/docker/registry/v2/blobs/sha256"
        return blobs / hex_[:2] / hex_ / "data"

    def heard(self, runs: int = 1) -> list[list[int]]:
        """The ticks that the logs of the newest runs hold, as executions that start at 1."""
        newest = sorted((self.state / "fleet" / "runs").iterdir())[-runs:]
        logs = [log for run in newest for log in sorted((run / "logs").glob("work-amd64.*.log"))]
        ticks = [
            int(found[1])
            for log in logs
            for line in log.read_text(errors="replace").splitlines()
            if (found := _TICK.search(line)) and not line.startswith((" > ", "#0"))
            and line.startswith("#")
        ]  # fmt: skip
        executions: list[list[int]] = []
        for tick in ticks:
            if tick == 1 or not executions:
                executions.append([])
            executions[-1].append(tick)
        return executions

    def check_nothing_is_left(self) -> None:
        """No process, no container and no password, on hosts and controller."""
        for host in self.lab.hosts():
            if not host.up():
                continue
            until(
                lambda host=host: not _ours(host),  # type: ignore[misc]
                f"processes are left on {host.name}: {_ours(host)}",
                30,
            )
            left = host.admin(["docker", "ps", "-aq"]).stdout
            assert left == "", f"containers are left on {host.name}: {left}"
            places = "/root /tmp /var/log /etc /run"
            found = host.admin(
                ["sh", "-c", f"grep -rlsF '{PASSWORD}' {places} /proc/[0-9]*/environ "
                 "/proc/[0-9]*/cmdline | grep -v /proc/self; true"]
            ).stdout  # fmt: skip
            found = "\n".join(line for line in found.splitlines() if _foreign(host, line))
            assert found == "", f"a password is left on {host.name}: {found}"
        record = subprocess.run(
            ["grep", "-rlF", PASSWORD, str(self.state)], capture_output=True, text=True
        )
        assert record.stdout == "", f"a password is left on the controller: {record.stdout}"


def _ours(host: Host) -> list[str]:
    """The processes on a host that are fleet's, or of its builds."""
    found = host.admin(["pgrep", "-af", _OURS], check=False).stdout.splitlines()
    return [line for line in found if "pgrep" not in line]


def _foreign(host: Host, line: str) -> bool:
    """Whether a finding is not the very command that looks for it."""
    if not line.startswith("/proc/"):
        return bool(line)
    text = host.admin(["sh", "-c", f"tr '\\0' ' ' <{line}"], check=False).stdout
    return PASSWORD in text and "grep -rlsF" not in text


def steps(events: Iterator[dict[str, Any]]) -> list[str]:
    """The steps that were begun, for messages."""
    return [f"{e['step']}@{e['host']}" for e in events if e["event"] == "step-started"]
