"""The commands `fetch-sources` and `update-sources`: parse, call, print, exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import SourcesError
from .fetching import fetch
from .pins import read
from .updating import changes

DOCKERFILES = Path(__file__).resolve().parent.parent

CHECK = """\
What no command can check; do it before the pins are committed:
  1. Upstream's NEWS: what changed, in the configuration above all (image/orthanc-smoke and
     tests/orthanc say what the images promise).
  2. git diff: the sums. Debian's are signed by its archive; upstream's are of what was served just
     now. Compare those with the MD5 in upstream's CMake files (DownloadOrthancFramework.cmake).
  3. The civetweb that the release wants must be the one that is pinned: see
     OrthancFramework/Resources/CMake/CivetwebConfiguration.cmake.
  4. The plugins compile against the new core: docker build, then make test-orthanc.
  5. 32-bit ARM: Debian had to mend 1.12.3 and 1.12.10 there; see the bugs of its package."""


def fetch_sources(arguments: Sequence[str] | None = None) -> int:
    """Get the sources of images."""
    parser = argparse.ArgumentParser(
        prog="fetch-sources",
        description="Get the sources that sources.toml pins into the build context, checked by "
        "sha256. What is there and right is left alone; nothing else stays.",
    )
    parser.add_argument("--lane", default="", help="upstream or debian; default: the pins' own")
    parser.add_argument("image", nargs="*", help="folders or their names; default: all")
    given = parser.parse_args(arguments)
    folders = [_folder(name) for name in given.image] or [
        file.parent for file in sorted(DOCKERFILES.glob("*/sources.toml"))
    ]
    failures = []
    for folder in folders:
        try:
            fetch(read(folder), given.lane)
        except SourcesError as error:
            failures.append(str(error))
    return _end("fetch-sources", failures)


def update_sources(arguments: Sequence[str] | None = None) -> int:
    """Pin another release."""
    parser = argparse.ArgumentParser(
        prog="update-sources",
        description="Pin another release of Orthanc and of its plugins, in sources.toml, the "
        "Dockerfiles and dockerfiles/README.md, and say what is left to be checked.",
    )
    parser.add_argument("--lane", default="", help="upstream or debian; default: the one in use")
    parser.add_argument("version", help="of Orthanc, such as 1.13.0")
    given = parser.parse_args(arguments)
    try:
        found = changes(DOCKERFILES, given.version, given.lane)
    except SourcesError as error:
        return _end("update-sources", [str(error)])
    for change in found:
        change.path.write_text(change.text)
        print(f"changed: {change.path.relative_to(DOCKERFILES.parent)}")
    print(CHECK if found else f"everything names Orthanc {given.version} already")
    return 0


def _folder(name: str) -> Path:
    """A folder by its path, or an image by its name."""
    return Path(name) if Path(name).is_dir() else DOCKERFILES / name


def _end(program: str, failures: Sequence[str]) -> int:
    for failure in failures:
        print(f"{program}: {failure}", file=sys.stderr)
    return 1 if failures else 0
