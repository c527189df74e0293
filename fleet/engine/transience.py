"""The daemon's complaints about a registry: which may pass, and what mends the others.

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


# What a registry means when it refuses a push, and what to do about it; the first that fits.
_REMEDIES = (
    (
        r"immutable|already ?exists|overwrite",
        "the tag may not be changed: choose another one, or let the registry's settings allow it",
    ),
    (
        r"name ?_?unknown|does not exist|(repository|project)\b.*not found|\b404\b",
        "this registry may make no repository by itself: create it (or its project) there first",
    ),
    (
        r"denied|forbidden|unauthori[sz]ed|authentication required|no basic auth|\b40[13]\b",
        "`docker login` on the controller stores the credentials that are used; the account may"
        " lack the right to push, or the repository must be created first",
    ),
)


def remedy(message: str) -> str | None:
    """What to do where a push is refused with these words; None where nothing is known."""
    return next((say for words, say in _REMEDIES if re.search(words, message, re.I)), None)


def may_pass(message: str) -> bool:
    """Whether a failure with these words is worth another attempt."""
    return not _NEVER.search(message) and bool(_PASSING.search(message))
