"""Why a build failed, from the end of its log and the kernel's word.

BuildKit gives one exit status for everything that goes wrong within a RUN step,
so the words of the tools that ran there decide. Only what the step that failed
has printed is looked at: what another one got over says nothing. A compiler's
error outweighs a mirror's, since it comes back whatever the network does; what
is named nowhere here fails the same way twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fleet.engine.transience import may_pass
from fleet.errors import BuildFailed, DiskFull, EngineError, EngineGone, MirrorTrouble, OutOfMemory

SHOWN = 20  # of the last lines, to people

_STEP_FAILED = re.compile(r"#(\d+) ERROR:")
_PREFIX = re.compile(r"#\d+ (?:\d+\.\d+ )?")  # a step's number, and the seconds since its start
# BuildKit's own last word, of what it does itself: frontends and images that it fetches.
_SOLVE = re.compile(r"^ERROR: failed to (?:solve|do request|resolve)")
_NO_SPACE = re.compile(
    r"no space left on device|\bENOSPC\b|disk quota exceeded|wrote only \d+ of \d+ bytes",
    re.IGNORECASE,
)
# The docker command's words, when the daemon behind it is gone or never was there.
_ENGINE = re.compile(
    r"^ERROR: .*(?:code = Unavailable|error reading from server|transport is closing"
    r"|Cannot connect to the Docker daemon|failed to receive status)"
    r"|^(?:ERROR: )?Cannot connect to the Docker daemon|^error during connect"
    r"|^(?:ERROR: )?failed to (?:receive status|dial gRPC|list workers)"
    r"|^rpc error: code = Unavailable|^unexpected EOF$",
    re.MULTILINE,
)
_KILLED = re.compile(
    r"exit code: 137|\bKilled\b|signal: killed|Killed signal|signal 9|cannot allocate memory"
    r"|Cannot allocate memory|out of memory|MemoryError|virtual memory exhausted|std::bad_alloc"
)
_CERTAIN = re.compile(
    r"^\S+:\d+(?::\d+)?: (?:fatal )?error: |undefined reference to|: error LNK|CMake Error at"
    r"|^SyntaxError|Unable to locate package|has no installation candidate"
    r"|No matching distribution found|could not read Username|Authentication failed for"
    r"|(?:returned error|ERROR|error|HTTP Error):? (?:401|403|404|410)\b",
    re.MULTILINE,
)
# What passes on the network, in the words of whoever was on it.
_NETWORK = re.compile(
    r"temporary failure (?:in name resolution|resolving)|could not resolve"
    r"|unable to resolve host|connection reset by peer|connection timed out|connection refused"
    r"|connection aborted|operation timed out|network is unreachable|no route to host"
    r"|TLS handshake timeout|i/o timeout|gnutls_handshake|TLS connection was non-properly"
    r"|unexpected EOF|too many requests|bad gateway|service unavailable|gateway time-?out"
    r"|internal server error",
    re.IGNORECASE,
)
_TOOLS = {
    "apt": r"hash sum mismatch|mirror sync in progress|file has unexpected size"
    r"|failed to fetch .*(?:\b5\d\d\b|\b429\b|connection failed|unable to connect)"
    r"|unable to connect to \S+:|connection failed \[IP",
    "pip": r"ReadTimeoutError|NewConnectionError|ConnectTimeoutError|ProtocolError"
    r"|ConnectionResetError|IncompleteRead|HTTP error (?:5\d\d|429)",
    "curl": r"curl: \((?:5|6|7|16|18|28|35|52|55|56|92)\)"
    r"|curl: \(22\) .*(?:\b5\d\d\b|\b429\b)",
    "wget": r"ERROR (?:5\d\d|429)\b|wget: (?:can't connect|download timed out|bad address"
    r"|error getting response)|read error at byte|unable to establish SSL connection",
    "git": r"early EOF|RPC failed|remote end hung up|requested URL returned error: (?:5\d\d|429)"
    r"|failed to connect to",
    "hg": r"abort: .*(?:timed out|stream ended unexpectedly|HTTP Error (?:5\d\d|429))",
}
_TROUBLE = [
    *((name, re.compile(words, re.IGNORECASE)) for name, words in _TOOLS.items()),
    ("the network", _NETWORK),
]


def full(message: str) -> bool:
    """Whether a message says that there is no space left."""
    return _NO_SPACE.search(message) is not None


def disk_full(host: str, said: str) -> DiskFull:
    """The error for a host without space, with what said so."""
    return DiskFull(
        host,
        f"no space left on it: {said.strip()}",
        hint=f"fleet prune --limit {host} --keep 1d; on {host} itself: docker image prune",
    )


def diagnose(host: str, status: int, log: Sequence[str], *, out_of_memory: bool) -> EngineError:
    """The error that a failed build stands for.

    ``log`` holds its last lines, a few hundred of them; ``out_of_memory`` says that
    the kernel has ended processes for want of memory while it ran.
    """
    tail = tuple(log[-SHOWN:])
    words = "\n".join(_of_failed_step(log))
    if _ENGINE.search("\n".join(log[-5:])):
        return EngineGone(host, f"the Docker daemon went away during the build: {log[-1]}")
    if full(words):
        return disk_full(host, "the build found none")
    if out_of_memory and _KILLED.search(words):
        return OutOfMemory(
            host,
            status,
            tail,
            message="the kernel ended the build for want of memory",
            hint=f"give {host} fewer slots, more memory or swap, or build with fewer processes",
        )
    who = None if _CERTAIN.search(words) else _troubled(words)
    if who is not None:
        said = f"a download within the build broke off ({who})"
        return MirrorTrouble(host, status, tail, message=said)
    return BuildFailed(host, status, tail)


def _of_failed_step(log: Sequence[str]) -> list[str]:
    """The lines of the step that failed, as ``--progress=plain`` numbers them, and the last ones.

    Where no step says so, all of it.
    """
    failed = next((m[1] for line in reversed(log) if (m := _STEP_FAILED.match(line))), None)
    return [
        _PREFIX.sub("", line, count=1)
        for line in log
        if failed is None or line.startswith(f"#{failed} ") or _SOLVE.match(line)
    ]


def _troubled(words: str) -> str | None:
    for name, pattern in _TROUBLE:
        if pattern.search(words):
            return name
    solve = [line for line in words.splitlines() if _SOLVE.match(line)]
    return "BuildKit" if any("did not complete" not in s and may_pass(s) for s in solve) else None
