"""Docker on a machine of the lab, and Orthanc in a container of it, as somebody would use them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lab.lab import Host

PASSWORD = "orthanc:orthanc"


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Docker on a host. What is started is labelled, so that all of it can be removed."""

    host: Host
    label: str

    def docker(self, *argv: str, stdin: str | None = None, seconds: float = 120) -> str:
        """Run a docker command, which must succeed; its output."""
        done = self.host.run(["docker", *argv], stdin=stdin, timeout=seconds)
        assert done.returncode == 0, f"docker {' '.join(argv)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def run(self, image: str, *argv: str) -> str:
        """Run a command in a container of its own; its output."""
        return self.docker("run", "--rm", "--entrypoint", argv[0], image, *argv[1:])

    def start(self, image: str, *argv: str, name: str, options: Sequence[str] = ()) -> Container:
        """Start a container under that name in the tests' network."""
        self.docker(
            *("run", "--detach", "--init", "--name", name, "--network", self.label),
            *("--label", self.label, *options, image, *argv),
        )
        return Container(engine=self, name=name)

    def inspect(self, what: str) -> dict[str, Any]:
        """What the engine knows of an image or a container."""
        (found,) = json.loads(self.docker("inspect", what))
        return dict(found)

    def write(self, path: str, text: str) -> None:
        """Write a file on the host, readable for everybody."""
        script = 'mkdir -p "$(dirname "$1")" && cat > "$1" && chmod a+r "$1"'
        self.host.run(["sh", "-c", script, "write", path], stdin=text, check=True)

    def sweep(self) -> None:
        """Remove everything that carries the label."""
        for container in self.docker("ps", "-aq", "--filter", f"label={self.label}").split():
            self.docker("rm", "--force", "--volumes", container)
        for volume in self.docker("volume", "ls", "-q", "--filter", f"label={self.label}").split():
            self.docker("volume", "rm", volume)
        for network in self.docker("network", "ls", "-q", "-f", f"label={self.label}").split():
            self.docker("network", "rm", network)
        self.host.run(["rm", "-rf", f"/root/{self.label}"], check=True)


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container that was started."""

    engine: Engine
    name: str

    def exec(self, *argv: str, stdin: str | None = None) -> str:
        """Run a command in it, which must succeed; its output."""
        return self.engine.docker("exec", "-i", self.name, *argv, stdin=stdin)

    def logs(self) -> str:
        """Everything it has said."""
        done = self.engine.host.run(["docker", "logs", self.name], timeout=60)
        return done.stdout + done.stderr

    def stop(self) -> int:
        """Stop it as `docker stop` does; its exit status."""
        self.engine.docker("stop", "--time", "60", self.name)
        return int(self.engine.inspect(self.name)["State"]["ExitCode"])

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 180) -> None:
        """Wait for something of it; fails with its log if it ends, or if that takes too long."""
        deadline = time.monotonic() + seconds
        while not condition():
            running = self.engine.inspect(self.name)["State"]["Running"]
            assert running, f"{self.name} ended, {what} not reached:\n{self.logs()[-4000:]}"
            assert time.monotonic() < deadline, f"{self.name}: not {what}:\n{self.logs()[-4000:]}"
            time.sleep(0.2)


@dataclass(frozen=True, kw_only=True)
class Orthanc:
    """Orthanc in a container, and the other end of its conversations."""

    container: Container
    peer: Container
    scheme: str = "http"
    user: str = PASSWORD

    def curl(self, path: str, *options: str, stdin: str | None = None) -> str:
        """Ask over HTTP, as its user, from the other container; the answer's body."""
        url = f"{self.scheme}://{self.container.name}:8042{path}"
        argv = ["curl", "--silent", "--show-error", "--user", self.user, *options, url]
        return self.peer.exec(*argv, stdin=stdin)

    def status(self, path: str, *options: str) -> int:
        """Ask over HTTP without a password; the answer's status."""
        url = f"{self.scheme}://{self.container.name}:8042{path}"
        form = ["--output", "/dev/null", "--write-out", "%{http_code}"]
        done = self.peer.engine.host.run(
            ["docker", "exec", self.peer.name, "curl", "--silent", *form, *options, url]
        )
        return int(done.stdout or 0)

    def json(self, path: str, *options: str) -> Any:
        """Ask over HTTP; the answer's content."""
        return json.loads(self.curl(path, "--fail", *options))

    def wait(self, *options: str) -> Orthanc:
        """Wait until it asks for a password."""
        asks = lambda: self.status("/system", *options) == 401  # noqa: E731
        self.container.wait(asks, "asking for a password")
        return self

    def store(self, file: str) -> str:
        """Send it a file of the peer by C-STORE; the instance's identifier."""
        before = set(self.json("/instances"))
        self.peer.exec("storescu", "-xs", "-xw", "-R", self.container.name, "4242", file)
        (new,) = set(self.json("/instances")) - before
        return str(new)
