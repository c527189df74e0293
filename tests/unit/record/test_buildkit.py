"""Where a build is, by its log as the docker CLI prints it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.record.buildkit import Progress

# As Docker 26 with buildx printed it; Docker 20.10 differs in what it says of downloads.
LOG = """\
#0 building with "default" instance using docker driver

#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 31B done
#1 DONE 0.0s

#2 [internal] load metadata for docker.io/library/busybox:1.36
#2 DONE 0.4s

#4 [builder 1/3] FROM docker.io/library/busybox:1.36@sha256:00aa
#4 resolve docker.io/library/busybox:1.36@sha256:00aa 0.0s done
#4 sha256:00aa 1.05MB / 2.21MB 0.1s
#4 CACHED

#5 [builder 2/3] RUN make
#5 0.245 [9/9] linking
#5 ...

#6 [stage-1 2/2] COPY --from=builder /a /a
#6 DONE 0.1s

#5 [builder 2/3] RUN make
#5 1.300 done
#5 DONE 1.4s

#7 exporting to image
#7 exporting layers 0.1s done
#7 DONE 0.2s
"""


def at(text: str) -> str:
    """What is known after the line that begins with that text, the first time."""
    progress = Progress()
    for line in LOG.splitlines():
        progress.read(line)
        if line.startswith(text):
            return progress.now
    raise AssertionError(text)


@pytest.mark.parametrize(
    ("after", "now"),
    [
        ("#1 transferring", "[internal] load build definition from Dockerfile"),
        ("#4 sha256", "[builder 1/3] FROM docker.io/library/busybox:1.36@sha256:00aa"),
        ("#5 0.245", "[builder 2/3] RUN make"),
        ("#6 [stage", "[stage-1 2/2] COPY --from=builder /a /a"),
        ("#6 DONE", "[builder 2/3] RUN make"),
        ("#7 exporting layers", "exporting to image"),
    ],
)
def test_the_step_that_said_something_last_is_what_goes_on(after: str, now: str) -> None:
    assert at(after) == now


def test_between_two_steps_the_last_one_stands() -> None:
    assert at("#2 DONE") == "[internal] load metadata for docker.io/library/busybox:1.36"


def test_a_log_that_is_followed_from_its_middle_tells_no_step_before_one_begins() -> None:
    progress = Progress()
    for line in ("#9 12.5 cc -c x.c", "#9 ...", "#9 DONE 13.0s", "", "no step at all"):
        progress.read(line)
    assert progress.now == ""
    progress.read("#10 [3/3] RUN make check")
    assert progress.now == "[3/3] RUN make check"


def test_a_build_that_begins_anew_counts_anew() -> None:
    progress = Progress()
    for line in LOG.splitlines():
        progress.read(line)
    progress.read("#5 [2/9] RUN another")
    assert progress.now == "[2/9] RUN another"


def test_lines_that_come_together_tell_what_they_tell_one_by_one() -> None:
    lines = LOG.splitlines()
    for end in range(1, len(lines) + 1):
        one_by_one, together = Progress(), Progress()
        for line in lines[:end]:
            one_by_one.read(line)
        together.read("\n".join(lines[:end]))
        assert together.now == one_by_one.now


SAID = [
    "[1/2] RUN make",
    "[2/2] COPY a",
    "0.5 cc",
    "0.5 [3/3] no step",
    "DONE 1s",
    "DONE",
    "CACHED",
]
SAID += ["ERROR: no", "Cc", "Done it", "exporting", "...", "[", "D", "", " "]
told = st.builds("#{} {}".format, st.sampled_from([1, 2, 12]), st.sampled_from(SAID))


@given(st.lists(st.one_of(told, st.sampled_from(["", "#1", "#1 ", "#12", "no step"]))))
def test_a_line_tells_the_same_whatever_was_said_last(lines: list[str]) -> None:
    """One that a known vertex prints changes nothing but who was the last to say something."""
    progress, plainly = Progress(), Progress()
    for line in lines:
        progress.read(line)
        plainly._latest = "\n"  # as if another one had been the last: nothing is passed over
        plainly.read(line)
        assert progress.now == plainly.now
