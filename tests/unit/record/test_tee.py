"""Every reader sees every event, and none of them can stop a build."""

from __future__ import annotations

import threading

import pytest

from fleet.events import Event, Notice
from fleet.record import Tee


class Remembers:
    def __init__(self) -> None:
        self.seen: list[Event] = []
        self.closed = False

    def read(self, event: Event, /) -> None:
        self.seen.append(event)

    def close(self) -> None:
        self.closed = True


class Fails(Remembers):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def read(self, event: Event, /) -> None:
        super().read(event)
        raise self.error


class FailsToClose(Remembers):
    def close(self) -> None:
        raise OSError(28, "No space left on device")


def notices(number: int) -> list[Notice]:
    return [Notice(message=str(n)) for n in range(number)]


def test_every_reader_sees_every_event_in_order() -> None:
    first, second = Remembers(), Remembers()
    tee = Tee(first, second)
    events = notices(3)
    for event in events:
        tee(event)
    assert first.seen == second.seen == events


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (BrokenPipeError(32, "Broken pipe"), "Broken pipe"),
        (ValueError("I/O operation on closed file"), "I/O operation on closed file"),
        (KeyError("a defect"), "KeyError: 'a defect'"),
    ],
)
def test_a_reader_that_fails_is_left_out_which_is_said_once(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fails, remembers = Fails(error), Remembers()
    tee = Tee(fails, remembers)
    events = notices(3)
    for event in events:
        tee(event)
    tee.close()
    assert len(fails.seen) == 1
    assert remembers.seen == events
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1
    assert warnings[0].startswith("fleet: warning: Fails is left out from here on: ")
    assert said in warnings[0]


def test_a_reader_that_cannot_be_closed_does_not_keep_the_others_open(
    capsys: pytest.CaptureFixture[str],
) -> None:
    remembers = Remembers()
    Tee(FailsToClose(), remembers).close()
    assert remembers.closed
    assert "FailsToClose could not finish" in capsys.readouterr().err


def test_what_comes_after_the_end_goes_nowhere() -> None:
    remembers = Remembers()
    tee = Tee(remembers)
    tee.close()
    tee(Notice(message="late"))
    assert remembers.seen == []


def test_readers_need_not_know_of_threads() -> None:
    class Checks(Remembers):
        inside = 0

        def read(self, event: Event, /) -> None:
            self.inside += 1
            assert self.inside == 1, "two events at once"
            super().read(event)
            self.inside -= 1

    checks = Checks()
    tee = Tee(checks)
    threads = [
        threading.Thread(target=lambda: [tee(event) for event in notices(200)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(checks.seen) == 1600


def test_nothing_is_raised_even_where_standard_error_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Gone:
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

        def flush(self) -> None:
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("sys.stderr", Gone())
    Tee(Fails(OSError(28, "No space left on device")))(Notice(message="x"))
