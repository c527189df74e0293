"""The shell script on the host, which keeps the detached builds and the contexts there."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import cached_property
from importlib.resources import files
from pathlib import PurePosixPath

from fleet.engine.diagnosis import disk_full, full
from fleet.errors import CommandFailed, EngineError, HostError
from fleet.hosts.protocol import Host, Stream

GREETING = b"fleet-host 1\n"
_UNAVAILABLE = 69  # sysexits.h: a tool is missing, or the runner did not start
_GRACE = 5.0  # seconds between the end of a command's output and its own
_INSTALL = """\
[ -e "$1" ] || {
    mkdir -p "${1%/*}" && cat >"$1.$$" && mv "$1.$$" "$1"
} && exec sh "$1" check "$2"
"""


class HostScript:
    """Runs verbs of ``remote/fleet-host.sh`` on a host; puts the script there before the first."""

    def __init__(self, host: Host, state: PurePosixPath) -> None:
        self._host = host
        self._state = state

    @cached_property
    def _path(self) -> str:
        """Where the script is on the host, under the digest of its content."""
        script = (files("fleet.engine") / "remote" / "fleet-host.sh").read_bytes()
        path = str(self._state / "bin" / f"{hashlib.sha256(script).hexdigest()[:16]}.sh")
        self._ask(["sh", "-c", _INSTALL, "sh", path, str(self._state)], "check", script, 60.0)
        return path

    def run(self, verb: str, *arguments: str, stdin: bytes = b"", timeout: float = 60.0) -> bytes:
        """Run a verb to its end; what it answers, without its greeting.

        Raises CommandFailed, DiskFull, EngineError where the host lacks a tool, and
        what ``Host.run`` raises.
        """
        argv = ["sh", self._path, verb, str(self._state), *arguments]
        return self._ask(argv, verb, stdin, timeout)

    def open(self, verb: str, *arguments: str) -> Stream:
        """Start a verb and talk to it. Its answer begins with ``GREETING``, after any noise."""
        return self._host.open(["sh", self._path, verb, str(self._state), *arguments])

    def _ask(self, argv: list[str], verb: str, stdin: bytes, timeout: float) -> bytes:
        try:
            answer = self._host.run(argv, stdin=stdin, timeout=timeout).stdout
        except CommandFailed as error:
            if full(error.stderr):
                raise disk_full(self._host.name, error.stderr) from error
            if error.status != _UNAVAILABLE:
                raise
            raise EngineError(
                self._host.name,
                error.stderr.strip(),
                hint="fleet needs util-linux, coreutils, findutils, tar and gzip there, or busybox",
            ) from error
        # A shell's start-up files may have printed something first.
        _, greeting, rest = answer.partition(GREETING)
        if not greeting:
            raise EngineError(self._host.name, f"its answer to {verb} is not fleet's: {answer!r}")
        return rest


def last_words(stream: Stream) -> str:
    """What a command complained of whose output has ended; what is known of it where it hangs."""
    with suppress(HostError):
        stream.wait(_GRACE)
    return stream.stderr().strip()


def fields(answer: str) -> dict[str, str]:
    """An answer of ``name=value`` lines."""
    pairs = (line.partition("=") for line in answer.splitlines())
    return {name: value for name, equals, value in pairs if equals}
