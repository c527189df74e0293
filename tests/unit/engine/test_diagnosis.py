"""What a failed build's last words stand for."""

from __future__ import annotations

import pytest

from fleet.engine.diagnosis import SHOWN, diagnose
from fleet.errors import BuildFailed, DiskFull, EngineGone, MirrorTrouble, OutOfMemory


def log(*said: str, code: int = 1) -> list[str]:
    """The end of a log as BuildKit prints it plainly, of a step that said this and failed."""
    return [
        "#5 [1/3] FROM docker.io/library/debian",
        "#5 CACHED",
        "#7 [2/3] RUN make",
        *(f"#7 {number}.{number}31 {line}" for number, line in enumerate(said)),
        f'#7 ERROR: process "/bin/sh -c make" did not complete successfully: exit code: {code}',
        "------",
        " > [2/3] RUN make:",
        *said,
        "------",
        f'ERROR: failed to solve: process "/bin/sh -c make" did not complete successfully:'
        f" exit code: {code}",
    ]


PASSES = {
    "apt": [
        "Err:1 http://deb.example trixie InRelease",
        "E: Failed to fetch http://deb.example/a.deb  Connection failed [IP: 192.0.2.1 80]",
    ],
    "apt in mid-sync": ["E: Failed to fetch http://deb.example/Packages.xz  Hash Sum mismatch"],
    "apt size": ["   File has unexpected size (5 != 7). Mirror sync in progress? [IP: 192.0.2.1]"],
    "apt 5xx": ["E: Failed to fetch http://deb.example/a.deb  503  Service Unavailable"],
    "dns": ["W: Temporary failure resolving 'deb.example'"],
    "pip": ["WARNING: Retrying after connection broken by 'ReadTimeoutError(\"HTTPSConn\")'"],
    "curl dns": ["curl: (6) Could not resolve host: example.org"],
    "curl reset": ["curl: (56) Recv failure: Connection reset by peer"],
    "curl 503": ["curl: (22) The requested URL returned error: 503"],
    "wget": ["wget: unable to resolve host address 'example.org'"],
    "wget 502": ["2026-01-01 00:00:00 ERROR 502: Bad Gateway."],
    "busybox wget": ["wget: can't connect to remote host (192.0.2.1): Connection refused"],
    "git": ["fatal: unable to access 'https://x/': Failed to connect to x port 443"],
    "git eof": ["fatal: early EOF", "fatal: fetch-pack: invalid index-pack output"],
    "git rpc": ["error: RPC failed; curl 92 HTTP/2 stream 0 was not closed cleanly"],
    "hg": ["abort: error: Temporary failure in name resolution"],
    "hg 503": ["abort: HTTP Error 503: Service Unavailable"],
}
FAILS_AGAIN = {
    "compiler": ["a.c:3:1: error: expected ';'", "make: *** [Makefile:2: a.o] Error 1"],
    "linker": ["/usr/bin/ld: a.o: undefined reference to `f'"],
    "no such package": ["E: Unable to locate package nosuch"],
    "curl 404": ["curl: (22) The requested URL returned error: 404"],
    "wget 404": ["2026-01-01 00:00:00 ERROR 404: Not Found."],
    "pip": ["ERROR: No matching distribution found for nosuch"],
    "a test": ["FAILED tests/test_x.py::test_y"],
    "denied": ["fatal: Authentication failed for 'https://x/'"],
    # Apt got over it; the compiler did not.
    "both": ["Connection timed out [IP: 192.0.2.1 80]", "x.cc:1:2: fatal error: no such file"],
}


@pytest.mark.parametrize("said", PASSES.values(), ids=PASSES)
def test_a_download_that_broke_off_may_pass(said: list[str]) -> None:
    error = diagnose("pi-1", 1, log(*said), out_of_memory=False)
    assert isinstance(error, MirrorTrouble)
    assert error.transient


@pytest.mark.parametrize("said", FAILS_AGAIN.values(), ids=FAILS_AGAIN)
def test_what_fails_the_same_way_twice_is_not_tried_again(said: list[str]) -> None:
    error = diagnose("pi-1", 1, log(*said), out_of_memory=False)
    assert type(error) is BuildFailed
    assert not error.transient


def test_only_the_step_that_failed_counts() -> None:
    lines = ["#6 0.5 curl: (56) Recv failure: Connection reset by peer", *log("no such thing")]
    assert type(diagnose("pi-1", 1, lines, out_of_memory=False)) is BuildFailed


def test_what_buildkit_fetches_itself_may_pass_as_well() -> None:
    lines = [
        "#2 resolve image config for docker.io/docker/dockerfile:1",
        "#2 ERROR: failed to do request: Head: dial tcp: lookup registry.example: i/o timeout",
        "ERROR: failed to solve: failed to do request: Head: dial tcp: i/o timeout",
    ]
    assert isinstance(diagnose("pi-1", 1, lines, out_of_memory=False), MirrorTrouble)


@pytest.mark.parametrize(
    "said", ["Killed", "c++: fatal error: Killed signal terminated program cc1plus", "MemoryError"]
)
def test_out_of_memory_takes_the_kernels_word_and_the_builds(said: str) -> None:
    lines = log(said, code=137)
    error = diagnose("pi-1", 1, lines, out_of_memory=True)
    assert isinstance(error, OutOfMemory)
    assert "fewer slots" in (error.hint or "")
    # Somebody else's `kill -9`, or somebody else's shortage.
    assert type(diagnose("pi-1", 1, lines, out_of_memory=False)) is BuildFailed
    assert type(diagnose("pi-1", 1, log("a failed test"), out_of_memory=True)) is BuildFailed


def test_a_full_disk_is_said_to_be_one() -> None:
    lines = log("cc1: error: /tmp/x.s: No space left on device")
    error = diagnose("pi-1", 1, lines, out_of_memory=True)
    assert isinstance(error, DiskFull)
    assert not error.transient
    assert "fleet prune" in (error.hint or "")


@pytest.mark.parametrize(
    "last",
    [
        "ERROR: failed to receive status: rpc error: code = Unavailable desc = error reading from"
        " server: EOF",
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?",
        "failed to dial gRPC: Cannot connect to the Docker daemon. Is the docker daemon running?",
    ],
)
def test_an_engine_that_goes_away_in_the_middle_is_no_failure_of_the_build(last: str) -> None:
    error = diagnose("pi-1", 1, ["#5 [2/2] RUN make", "#5 0.1 cc a.c", last], out_of_memory=False)
    assert isinstance(error, EngineGone)
    assert error.transient


def test_people_are_shown_the_last_lines_and_all_are_judged() -> None:
    said = ["Temporary failure resolving 'x'", *(f"noise {n}" for n in range(100))]
    error = diagnose("pi-1", 100, log(*said), out_of_memory=False)
    assert isinstance(error, MirrorTrouble)
    assert len(error.tail) == SHOWN
