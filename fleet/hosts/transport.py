"""paramiko's transport, which says nothing of a channel after its end.

RFC 4254, section 5.3: a channel is closed for a side once it has both sent and
received CHANNEL_CLOSE, and its number may then mean another one. A thread of
paramiko's that writes to a channel lets go of the channel's lock before its words
go out (it would else wait for itself while keys are renewed), and the reader may
answer the peer's close in between. sshd hangs up on words about a channel that is
gone, and every other channel of the connection goes with it.
"""

from __future__ import annotations

import struct
from typing import Any

import paramiko

# RFC 4250, section 4.1.2: all of these begin with the number of the channel there.
_ADJUST, _DATA, _EXTENDED, _EOF, _CLOSE, _REQUEST = 93, 94, 95, 96, 97, 98
_ABOUT_A_CHANNEL = frozenset({_ADJUST, _DATA, _EXTENDED, _EOF, _CLOSE, _REQUEST})


class Transport(paramiko.Transport):
    """Drops what comes too late to a channel: the connection and its others go on.

    What the server says when it hangs up is kept; paramiko only logs it.
    """

    # Seconds after which the reader looks up from a silent socket. paramiko's tenth of a second is
    # 5,000 wakings a second with 500 hosts; here the end of the socket wakes it (``_Ear.close``).
    _active_check_timeout = 2.0
    farewell: str | None = None  # the words with which the server has hung up, if it said any

    def __init__(self, sock: Any) -> None:
        self._gone: set[int] = set()  # channels there, by number, of which the close is sent
        super().__init__(sock)

    def _send_message(self, data: paramiko.Message) -> None:
        # One message at a time comes here: paramiko holds its lock of what goes out.
        said = data.asbytes()
        if said[0] in _ABOUT_A_CHANNEL:
            (number,) = struct.unpack_from(">I", said, 1)
            if number in self._gone:
                if not self._lives(number):
                    return
                self._gone.discard(number)
            if said[0] == _CLOSE:
                self._gone.add(number)
        super()._send_message(data)  # type: ignore[misc]

    def _lives(self, number: int) -> bool:
        """Whether a new channel has that number there."""
        channels = self._channels.values()  # type: ignore[attr-defined]
        return any(channel.remote_chanid == number and not channel.closed for channel in channels)

    def _parse_disconnect(self, m: paramiko.Message) -> None:
        m.get_int()  # the reason's number; sshd tells more by its words
        self.farewell = m.get_text()
