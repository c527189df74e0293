"""A command on a terminal of its own, watched and typed at as somebody who sits there would."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from tests.screen import Terminal


class Sitting:
    """A process that has a pseudo-terminal, whose bytes go to ``terminal``."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        columns: int = 100,
        lines: int = 30,
    ) -> None:
        self.terminal = Terminal(columns, lines)
        self._lock = threading.Lock()
        self._ours, theirs = pty.openpty()
        self._tell_size(theirs)
        self._process = subprocess.Popen(
            argv,
            env={"TERM": "xterm-256color", **environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def rows(self) -> list[str]:
        """What stands on the screen."""
        with self._lock:
            return self.terminal.rows

    def told(self) -> list[str]:
        """The same, after what has left it above."""
        with self._lock:
            return [*self.terminal.history, *self.terminal.rows]

    def until(self, words: str, seconds: float = 120.0) -> list[str]:
        """What stands there once those words are on the screen."""
        return self.until_true(lambda rows: any(words in row for row in rows), words, seconds)

    def until_true(
        self, condition: Callable[[list[str]], object], what: str, seconds: float = 120.0
    ) -> list[str]:
        """The same for any condition."""
        end = time.monotonic() + seconds
        while not condition(rows := self.rows()):
            assert time.monotonic() < end, f"{what!r} never came:\n" + "\n".join(rows)
            time.sleep(0.05)
        return rows

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._ours, keys)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the window."""
        with self._lock:
            self.terminal.resize(columns, lines)
            self._tell_size(self._ours)

    def wait(self, seconds: float = 120.0) -> int:
        """The exit code, once everything that was written has been read."""
        code = self._process.wait(seconds)
        self._reader.join(seconds)
        os.close(self._ours)
        return code

    def _tell_size(self, fd: int) -> None:
        size = struct.pack("HHHH", self.terminal.lines, self.terminal.columns, 0, 0)
        fcntl.ioctl(fd, termios.TIOCSWINSZ, size)

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # EIO: the last who had the terminal open has gone
                return
            if not piece:
                return
            with self._lock:
                self.terminal.write(decoder.decode(piece))
