"""What hosts are and what they execute: asked in one round trip, proven, in parallel.

Promise 1 (native or nothing) rests here. A platform counts as native on a host
where its test executable (``proof.py``) runs, no binfmt handler would serve it
(``binfmt.py``), and the kernel is of a family whose processors execute it at
all; the last catches emulation by a handler that cannot be seen, as from
within a container.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fleet.errors import (
    BuilderMissing,
    EngineDown,
    EngineError,
    EngineMissing,
    EnginePermission,
    FleetError,
    HostError,
)
from fleet.hosts import binfmt
from fleet.hosts.abreast import Abreast
from fleet.hosts.proof import WORD, executable
from fleet.hosts.protocol import Host
from fleet.hosts.quoting import new_mark
from fleet.models import (
    Builder,
    EngineFacts,
    ErrorInfo,
    HostFacts,
    HostReport,
    HostSpec,
    PlatformProof,
)
from fleet.platforms import Platform

_SCRIPT = Path(__file__).with_name("probe.sh")
_TIMEOUT = 120.0  # seconds; a small board under load takes its time for each docker command

_WORD = WORD.decode().rstrip()
_UNSEEN = "an unseen handler"
_FAMILIES = (
    # What the kernel calls the machine, and the architectures its processors may execute.
    (r"x86_64|i[3-6]86", {"amd64", "386"}),
    (r"aarch64|arm.*", {"arm64", "arm"}),
    (r"riscv64", {"riscv64"}),
    (r"ppc64le", {"ppc64le"}),
    (r"s390x?", {"s390x"}),
    (r"loongarch64", {"loong64"}),
    (r"mips.*", {"mips", "mipsle", "mips64", "mips64le"}),
)
_STATUS = {
    125: "it could not be written there",
    126: "Exec format error",
    127: "not found",
    128 + 4: "illegal instruction: its processor lacks what the platform requires",
    128 + 7: "bus error",
    128 + 11: "segmentation fault",
}
_INSTALL_DOCKER = (
    "install Docker there: sudo apt-get install docker.io docker-buildx (Debian 13, Ubuntu), "
    "docker.io alone (Debian 12), or see docs.docker.com/engine/install"
)
_INSTALL_BUILDX = (
    "install the buildx plugin there: sudo apt-get install docker-buildx (Debian, Ubuntu) or "
    "docker-buildx-plugin (Docker's own repository)"
)


def probe(host: Host, *, platforms: Sequence[Platform]) -> HostFacts:
    """What a host is and which of the platforms it executes natively.

    Raises EngineMissing, EngineDown, EnginePermission, BuilderMissing, what
    connecting raises, and HostError for an answer that makes no sense.
    """
    mark = new_mark()
    done = host.run(
        ["/bin/sh", "-s", mark, host.spec.state],
        stdin=_script(tuple(platforms)),
        timeout=_TIMEOUT,
        check=False,
    )
    arrived = time.time()
    answer = Answer(host.name, mark, done.stdout, done.stderr)
    if (system := answer.line("system")) != "Linux":
        raise HostError(host.name, f"it runs {system}", hint="fleet builds on Linux hosts")
    engine = _engine(host.name, answer)
    return HostFacts(
        host=host.name,
        machine=answer.line("machine"),
        kernel=answer.line("kernel"),
        system=_system(answer),
        cores=answer.number("cores", r"(\d+)"),
        memory=answer.number("memory", r"(?m)^MemTotal:\s+(\d+) kB") * 1024,
        memory_available=_available(answer),
        disk_free=answer.number("disk", r"(?m)^\S.*?\s\d+\s+\d+\s+(\d+)\s+\d+%") * 1024,
        # The clock is read last, so that what it says is as old as the way here takes.
        clock_skew=_clock(host.name, answer["clock"].out) - arrived,
        engine=engine,
        proofs=tuple(_proof(answer, platform) for platform in platforms),
        home=answer.line("home"),
    )


@lru_cache(maxsize=8)
def _script(platforms: tuple[Platform, ...]) -> bytes:
    """What is sent: it is the same for every host of a fleet."""
    script = [_SCRIPT.read_text()]
    for platform in platforms:
        if (code := executable(platform)) is not None:
            script.append(f"proof {_label(platform)} '{_octal(code)}'\n")
    script.append("finish\n")
    return "".join(script).encode()


def probe_all(
    hosts: Sequence[tuple[HostSpec, Host]],
    platforms: Sequence[Platform],
    on_report: Callable[[HostReport], None] = lambda report: None,
) -> tuple[HostReport, ...]:
    """All hosts at the same time; what is wrong with one is in its report and stops nothing.

    ``on_report`` is called in the calling thread, in the order in which hosts
    answer; the reports are in the order of the hosts.
    """

    def report(pair: tuple[HostSpec, Host]) -> HostReport:
        spec, host = pair
        try:
            return HostReport(spec=spec, facts=probe(host, platforms=platforms))
        except FleetError as error:
            return HostReport(spec=spec, error=ErrorInfo.of(error))

    if not hosts:
        return ()
    pool = Abreast(len(hosts), "fleet-probe")
    try:
        futures = pool.each(report, hosts)
        for future in as_completed(futures):
            on_report(future.result())
        return tuple(future.result() for future in futures)
    finally:
        # Where something was raised (Ctrl-C), those under way end with their connections.
        pool.shutdown(wait=False, cancel_futures=True)


# --- the answer ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Section:
    """What one command of the script has said, without the line ends behind it."""

    out: str
    err: str  # of the engine's version only; nobody asks for that of the others
    status: int


class Answer:
    """The script's output, taken apart. Raises HostError where a part is not as it must be."""

    def __init__(self, host: str, mark: str, out: bytes, err: bytes) -> None:
        self._host = host
        text = out.decode(errors="replace")
        if not text.rstrip().endswith(f"{mark} done"):
            said = err.decode(errors="replace").strip().rpartition("\n")[2]
            raise self._nonsense(f"it ended early{': ' if said else ''}{said}")
        self._sections = dict(_sections(mark, text))

    def __getitem__(self, name: str) -> Section:
        if name not in self._sections:
            raise self._nonsense(f"it has no part {name!r}")
        return self._sections[name]

    def line(self, name: str) -> str:
        """A part that is one line."""
        text = self[name].out.strip()
        if not text or "\n" in text:
            raise self._nonsense(f"{name} is {text!r}")
        return text

    def number(self, name: str, pattern: str) -> int:
        """The number that a pattern finds in a part."""
        found = re.search(pattern, self[name].out)
        if found is None:
            raise self._nonsense(f"there is no number in {name}: {self[name].out[:200]!r}")
        return int(found[1])

    def json(self, name: str, text: str) -> dict[str, Any]:
        """A JSON object that a part holds."""
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise self._nonsense(f"{name} is no JSON object: {text[:200]!r}")
        return value

    def _nonsense(self, what: str) -> HostError:
        return HostError(
            self._host,
            f"its answer to the probe makes no sense: {what}",
            hint="fleet needs a POSIX /bin/sh, /proc and the usual commands on a host",
        )


def _sections(mark: str, text: str) -> Iterator[tuple[str, Section]]:
    for part in text.split(f"{mark} begin ")[1:]:
        name, _, rest = part.partition("\n")
        body, ends, status = rest.rpartition(f"\n{mark} end {name} ")
        status = status.partition("\n")[0]
        if ends and status.isdecimal():
            said, _, errors = body.partition(f"\n{mark} errors\n")
            yield name, Section(said, errors, int(status))


def _system(answer: Answer) -> str:
    for line in answer["release"].out.splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            try:
                return " ".join(shlex.split(value))
            except ValueError:
                return value
    return "Linux"


def _available(answer: Answer) -> int:
    # Kernels before 3.14 do not say MemAvailable.
    names = "MemAvailable" if "MemAvailable" in answer["memory"].out else "MemFree"
    return answer.number("memory", rf"(?m)^{names}:\s+(\d+) kB") * 1024


def clock_skew(host: Host) -> float:
    """The host's clock minus the controller's; the answer is half a round trip old."""
    before = time.time()
    done = host.run(["date", "+%s.%N"])
    after = time.time()
    return _clock(host.name, done.text) - (before + after) / 2


def _clock(host: str, said: str) -> float:
    # busybox has no %N; then it is some time within that second.
    found = re.match(r"(\d+)(\.\d{9})?", said)
    if found is None:
        raise HostError(host, f"`date +%s` says {said[:80]!r}")
    return int(found[1]) + float(found[2] or 0.5)


# --- the engine ---------------------------------------------------------------------------


def _engine(host: str, answer: Answer) -> EngineFacts:
    if answer["docker"].status != 0:
        raise EngineMissing(host, "there is no docker command", hint=_INSTALL_DOCKER)
    version = answer["version"]
    if re.search(r"(?i)podman", version.err + version.out):
        raise BuilderMissing(
            host,
            "its docker command is podman, which has no BuildKit",
            hint=f"{_INSTALL_DOCKER}; the package podman-docker is in its way",
        )
    if "permission denied" in version.err.lower():
        user = answer.line("user")
        raise EnginePermission(
            host,
            f"the user {user} may not use the Docker daemon",
            hint=f"sudo usermod -aG docker {user} there, which takes effect at the next log-in",
        )
    try:
        found = answer.json("docker version", version.out)
        client, server = found["Client"], found.get("Server")
        cli = str(client["Version"])
    except (HostError, KeyError, TypeError):
        if version.status == 0:
            raise
        client, server, cli = None, None, ""
    if not server:
        said = version.err.strip().rpartition("\n")[2] or f"docker ended with {version.status}"
        if version.status in (124, 143):  # of timeout; the second with an old busybox
            said = "no answer within 30 s"
        raise EngineDown(
            host,
            f"the Docker daemon does not answer: {said}",
            hint="start it there: sudo systemctl start docker (or dockerd's log says why not)",
        )
    info = answer.json("docker info", answer["info"].out.partition("\n")[2])
    try:
        engine = str(server["Version"])
        builder, builder_version = _builder(host, answer["buildx"], cli, engine)
        return EngineFacts(
            version=engine,
            api_version=str(server["ApiVersion"]),
            cli_version=cli,
            architecture=str(server["Arch"]),
            builder=builder,
            builder_version=builder_version,
            storage_driver=str(info["Driver"]),
            containerd_store=["driver-type", "io.containerd.snapshotter.v1"]
            in (info.get("DriverStatus") or []),
            root_dir=str(info["DockerRootDir"]),
        )
    except (KeyError, TypeError) as error:
        raise EngineError(
            host,
            f"the Docker daemon introduces itself without {error}",
            hint="`docker version` and `docker info` on the host may say more",
        ) from None


def _builder(host: str, buildx: Section, cli: str, engine: str) -> tuple[Builder, str]:
    found = re.search(r"buildx\s+v?(\d\S*)", buildx.out)
    if buildx.status == 0 and found:
        return Builder.BUILDX, found[1]
    old_enough = (18, 9) <= _number(cli) < (23, 0)
    if old_enough and _number(engine) >= (18, 9):
        return Builder.INTEGRATED, engine
    if _number(engine) < (18, 9):
        raise BuilderMissing(
            host,
            f"Docker {engine} is too old for BuildKit",
            hint=f"18.09 is the first that has it; {_INSTALL_DOCKER}",
        )
    raise BuilderMissing(
        host,
        f"Docker's command {cli} needs the buildx plugin to use BuildKit, and it is not there",
        hint=_INSTALL_BUILDX,
    )


def _number(version: str) -> tuple[int, int]:
    found = re.match(r"\D*(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


# --- what it executes ---------------------------------------------------------------------


def _proof(answer: Answer, platform: Platform) -> PlatformProof:
    code = executable(platform)
    if code is None:
        return _unproven(platform, f"fleet has no test executable for {platform}")
    place = answer["place"]
    if place.status != 0:
        tried = ", ".join(place.out.split())
        return _unproven(
            platform, f"nothing can be proven: no folder there executes files (tried {tried})"
        )
    listing = answer["binfmt"]
    try:
        handlers = binfmt.parse(listing.out) if listing.status == 0 else ()
    except ValueError as error:
        return _unproven(platform, f"nothing can be proven: binfmt_misc is not clear: {error}")
    handler = binfmt.serving(handlers, code)
    ran = answer[f"proof-{_label(platform)}"]
    runs = ran.status == 0 and ran.out == _WORD
    failed = _STATUS.get(ran.status, f"status {ran.status}")
    # The kernel's own word where there is one: uname can be told to say something else.
    machine = answer["arch"].out.strip() or answer.line("machine")
    family = next((family for name, family in _FAMILIES if re.fullmatch(name, machine)), None)

    emulator: str | None = None
    if handler is not None:
        emulator = handler.name
        does = "serves it: that is emulation" if runs else f"would emulate it, and fails: {failed}"
        reason = f"the binfmt handler {handler.name} ({handler.interpreter}) {does}"
    elif not runs:
        reason = f"it does not execute {platform} ({failed})"
    elif family is not None and platform.architecture not in family:
        emulator = _UNSEEN
        reason = f"it executes {platform}, but its kernel is {machine}: that is emulation"
    elif listing.status != 0:
        reason = f"its test executable ran on a {machine} kernel (binfmt_misc is not shown)"
    else:
        reason = "its test executable ran, and no binfmt handler serves it"
    native = runs and emulator is None
    return PlatformProof(
        platform=platform, native=native, emulator=emulator, reason=reason, runs=runs
    )


def _unproven(platform: Platform, reason: str) -> PlatformProof:
    return PlatformProof(platform=platform, native=False, emulator=None, reason=reason, runs=False)


def _label(platform: Platform) -> str:
    return str(platform).replace("/", "-")


def _octal(data: bytes) -> str:
    """Bytes as ``printf %b`` takes them; base64 is not on every host."""
    return "".join(f"\\0{byte:03o}" for byte in data)
