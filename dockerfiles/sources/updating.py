"""Another release: new pins, and everything that names the release with them."""

from __future__ import annotations

import hashlib
import re
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import SourcesError, archive
from .pins import Lane, Pins, Tarball, read
from .places import addresses, get

CORE = "orthanc"
"""The image whose release it is; its plugins follow it."""
README = "README.md"
BEGIN, END = "<!-- versions: written by update-sources -->", "<!-- end of versions -->"


@dataclass(frozen=True, kw_only=True)
class Change:
    """A file that says something else now."""

    path: Path
    text: str


def package(tarball: Tarball) -> str:
    """The source package of Debian that a tarball belongs to."""
    return tarball.name.partition(".tar.")[0].removesuffix("-debian")


def debian(lane: Lane, version: str, found: Sequence[archive.Source]) -> Lane:
    """The lane at that version of Orthanc, of what Debian has. Raises SourcesError."""
    tarballs = []
    for tarball in lane.tarballs:
        name = package(tarball)
        candidates = [source for source in found if source.package == name]
        if name == CORE:
            known = ", ".join(sorted(source.upstream for source in candidates)) or "none"
            candidates = [source for source in candidates if source.upstream == version]
            if not candidates:
                raise SourcesError(
                    f"Debian {archive.SUITE} has no Orthanc {version} (it has: {known}); upstream "
                    f"may: `dockerfiles/update-sources --lane upstream {version}`"
                )
        if not candidates:
            raise SourcesError(f"Debian {archive.SUITE} has no source package {name}")
        # Of several, the one that Debian lists last is the one that it builds from.
        ending = ".debian.tar.xz" if tarball.name.startswith(f"{name}-debian.") else ".orig.tar.xz"
        pool, sha256 = candidates[-1].file(ending)
        tarballs.append(replace(tarball, pool=pool, sha256=sha256))
    return replace(lane, version=version, tarballs=tuple(tarballs))


def upstream(lane: Lane, version: str) -> Lane:
    """The lane at that version of Orthanc, of what upstream serves now. Raises SourcesError.

    Upstream publishes no SHA-256: what is pinned is what came, which is compared with the MD5 that
    is pinned already, if it is of this version.
    """
    tarballs = []
    with tempfile.TemporaryDirectory(prefix="fleet-sources-") as folder:
        for tarball in lane.tarballs:
            moved = tarball
            if package(tarball) == CORE and version != lane.version:
                url = tarball.url.replace(lane.version, version)
                moved = replace(tarball, url=url, md5="")
            path = Path(folder, moved.name)
            sha256 = _got(moved, path)
            md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            if moved.md5 and moved.md5 != md5:
                raise SourcesError(f"{moved.url}: its md5 is {md5}, not {moved.md5}")
            tarballs.append(replace(moved, sha256=sha256, md5=md5))
    return replace(lane, version=version, tarballs=tuple(tarballs))


def released(core: Tarball) -> int:
    """When a release was made, in seconds since the epoch: as its newest file is dated."""
    with tempfile.TemporaryDirectory(prefix="fleet-sources-") as folder:
        path = Path(folder, core.name)
        if (found := _got(core, path)) != core.sha256:
            raise SourcesError(f"{core.file}: its sha256 is {found}, not {core.sha256}")
        with tarfile.open(path) as tar:
            return max(int(member.mtime) for member in tar)


def changes(dockerfiles: Path, version: str, lane_name: str = "") -> list[Change]:
    """What has to be written for a release, as it is found now. Raises SourcesError."""
    images = [read(file.parent) for file in sorted(dockerfiles.glob("*/sources.toml"))]
    lane_name = lane_name or next(it.default for it in images if it.folder.name == CORE)
    lanes = [pins.lane(lane_name) for pins in images]
    if lane_name == "debian":
        names = {package(tarball) for lane in lanes for tarball in lane.tarballs}
        found = archive.sources(names)
        moved = [debian(lane, version, found) for lane in lanes]
    else:
        moved = [upstream(lane, version) for lane in lanes]
    new = [_with(pins, lane) for pins, lane in zip(images, moved, strict=True)]
    files = [Change(path=pins.file, text=pins.text()) for pins in new]
    (core,) = (
        it
        for pins, lane in zip(new, moved, strict=True)
        if pins.folder.name == CORE
        for it in lane.tarballs
        if it.name.startswith(f"{CORE}.tar.")
    )
    arguments = {
        "ORTHANC_VERSION": version,
        "SOURCE_DATE_EPOCH": str(released(core)),
        "SOURCES": lane_name,
    }
    for pins in new:
        path = pins.folder / "Dockerfile"
        files.append(Change(path=path, text=with_arguments(path.read_text(), arguments)))
    readme = dockerfiles / README
    files.append(Change(path=readme, text=with_table(readme.read_text(), table(new))))
    return [it for it in files if it.path.read_text() != it.text]


def with_arguments(dockerfile: str, values: dict[str, str]) -> str:
    """A Dockerfile in which those ARGs, where it has them, have those defaults."""
    for name, value in values.items():
        dockerfile = re.sub(rf"^(ARG {name}=).*$", rf"\g<1>{value}", dockerfile, flags=re.MULTILINE)
    return dockerfile


def table(images: Sequence[Pins]) -> str:
    """The versions of everything that is pinned, as Markdown."""
    lines = ["| image | lane | Orthanc | tarballs |", "|---|---|---|---|"]
    for pins in images:
        for lane in pins.lanes:
            files = ", ".join(f"`{tarball.file}`" for tarball in lane.tarballs)
            used = f"**{lane.name}**" if lane.name == pins.default else lane.name
            lines.append(f"| `{pins.folder.name}` | {used} | {lane.version} | {files} |")
    return "\n".join(lines) + "\n"


def with_table(readme: str, text: str) -> str:
    """The page with that table between its marks. Raises SourcesError where they are missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SourcesError(f"dockerfiles/{README} has no lines {BEGIN!r} and {END!r} any more")
    return f"{before}{begin}\n{text}{end}{after}"


def _with(pins: Pins, lane: Lane) -> Pins:
    """The pins with that lane, which is the one in use from now on."""
    lanes = tuple(lane if it.name == lane.name else it for it in pins.lanes)
    return replace(pins, default=lane.name, lanes=lanes)


def _got(tarball: Tarball, path: Path) -> str:
    """Get a tarball from the first address that gives it; its SHA-256. Raises SourcesError."""
    tried = []
    for address in addresses(tarball):
        try:
            return get(address, path)
        except OSError as error:
            tried.append(f"  {address}: {error}")
    raise SourcesError("\n".join([f"{tarball.file} cannot be got:", *tried]))
