"""httpx without its command line, which is more than half of what importing it costs.

``import httpx`` imports the program ``httpx`` as well, where click and rich are there,
and goes on without it where they are not. So for that moment they are not.
"""

from __future__ import annotations

import sys

_PROGRAM = "httpx._main"

_there = sys.modules.get(_PROGRAM)
sys.modules[_PROGRAM] = None  # type: ignore[assignment]  # Python's own way to say: not to be had
try:
    import httpx
finally:
    if _there is None:
        del sys.modules[_PROGRAM]
    else:
        sys.modules[_PROGRAM] = _there

__all__ = ["httpx"]
