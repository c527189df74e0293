"""``python -m tools.docs`` makes the pages; with ``--check`` it only says which are old."""

from __future__ import annotations

import sys

from tools.docs.keys import Undocumented
from tools.docs.pages import stale, write


def main(arguments: list[str]) -> int:
    """Make or check; 1 where something is old or has no words."""
    try:
        if arguments == ["--check"]:
            old = stale()
            for name in old:
                print(f"{name} is not what the code says: run make docs", file=sys.stderr)
            return 1 if old else 0
        for name in write():
            print(f"made {name}")
    except Undocumented as lack:
        print(f"docs: {lack}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
