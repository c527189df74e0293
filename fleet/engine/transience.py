"""Which of the daemon's complaints about a registry may pass when it is asked again.

The Engine API gives no codes for them: its progress streams carry the words of
Go's net package and of the registry. What is not named here fails the same way
twice.
"""

from __future__ import annotations

import re

_NEVER = re.compile(
    r"denied|unauthori[sz]ed|authentication required|no basic auth|insufficient_scope"
    r"|forbidden|\b40[013]\b|x509|server gave HTTP response to HTTPS client|immutable",
    re.IGNORECASE,
)
_PASSING = re.compile(
    r"connection (reset|refused)|broken pipe|\bEOF\b|time-?out|timed out|deadline exceeded"
    r"|no such host|temporary failure|server misbehaving|network is unreachable"
    r"|no route to host|use of closed network connection|ended the conversation"
    r"|too ?many ?requests|\b429\b|status\D{0,9}5\d\d|internal server error|bad gateway"
    r"|service unavailable|blob upload (unknown|invalid)",
    re.IGNORECASE,
)


def may_pass(message: str) -> bool:
    """Whether a failure with these words is worth another attempt."""
    return not _NEVER.search(message) and bool(_PASSING.search(message))
