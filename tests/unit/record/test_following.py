"""Logs of a run, as they stand and as they grow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.errors import UsageError
from fleet.models import JobId
from fleet.record.following import job_named, log_lines
from fleet.record.story import JobStory, Story
from tests.unit.plan.builders import AMD64, ARM64, job

HELLO = job("hello", ARM64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path


def write(folder: Path, name: str, data: bytes) -> None:
    with (folder / "logs" / name).open("ab") as file:
        file.write(data)


def story(*jobs: JobId) -> Story:
    return Story(run="r1", jobs={id: JobStory(id=id) for id in jobs})


@pytest.mark.parametrize("name", ["hello", "hello-arm64v8", "hello linux/arm64"])
def test_a_job_is_named_as_people_name_it(name: str) -> None:
    assert job_named(story(HELLO), name) == HELLO


def test_a_name_that_means_several_jobs_says_which(folder: Path) -> None:
    with pytest.raises(UsageError, match="several platforms") as caught:
        job_named(story(HELLO, job("hello", AMD64)), "hello")
    assert "hello-arm64v8, hello-amd64" in str(caught.value.hint)


def test_a_misspelt_job_is_told_the_nearest(folder: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'hello'"):
        job_named(story(HELLO), "helo")


def test_all_logs_are_told_with_their_names_and_attempts_in_order(folder: Path) -> None:
    write(folder, "hello-arm64v8.10.log", b"third\n")
    write(folder, "hello-arm64v8.2.log", b"second\n")
    write(folder, "hello-arm64v8.1.log", b"first\n")
    write(folder, "hello-amd64.1.log", b"other")
    assert list(log_lines(folder)) == [
        "hello-amd64: other",
        "hello-arm64v8: first",
        "hello-arm64v8: second",
        "hello-arm64v8: third",
    ]
    assert list(log_lines(folder, HELLO)) == ["first", "second", "third"]


def test_what_a_terminal_would_obey_does_not_pass(folder: Path) -> None:
    write(folder, "hello-arm64v8.1.log", b"\x1b[2Jbad \xff\xfe\n10%\r100%\n")
    assert list(log_lines(folder, HELLO)) == ["bad \N{REPLACEMENT CHARACTER}" * 1
                                              + "\N{REPLACEMENT CHARACTER}", "100%"]  # fmt: skip


def test_a_log_that_grows_is_followed_and_no_line_is_cut(folder: Path) -> None:
    write(folder, "hello-arm64v8.1.log", b"one\ntw")

    def steps() -> Iterator[bool]:
        yield True
        write(folder, "hello-arm64v8.1.log", b"o\nthr")
        yield True
        write(folder, "hello-arm64v8.1.log", b"ee\n")
        write(folder, "hello-arm64v8.2.log", b"again")
        yield False

    goes_on = steps()
    followed = log_lines(folder, HELLO, goes_on=lambda: next(goes_on))
    assert list(followed) == ["one", "two", "three", "again"]


def test_a_log_that_is_removed_while_it_is_followed_ends_quietly(folder: Path) -> None:
    write(folder, "hello-arm64v8.1.log", b"one\n")

    def steps() -> Iterator[bool]:
        yield True
        (folder / "logs" / "hello-arm64v8.1.log").unlink()
        yield False

    goes_on = steps()
    assert list(log_lines(folder, HELLO, goes_on=lambda: next(goes_on))) == ["one"]
