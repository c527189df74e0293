"""The sources of the images: what is pinned, where it is got, and how a pin is moved.

Nothing here needs more than Python itself: `fetch-sources` works in a bare checkout.
"""

from __future__ import annotations


class SourcesError(Exception):
    """Something about the sources is wrong. The message says what, where, and what to do."""
