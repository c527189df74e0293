"""Debian packages for any architecture, from the package mirror this machine itself uses."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import processes
from .errors import LabError

MERGED_USR = Path("/usr/share/mmdebstrap/hooks/merged-usr")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One entry of apt's sources."""

    uri: str
    suite: str
    options: dict[str, str] = field(default_factory=dict)


def one_line_sources(text: str) -> Iterator[Source]:
    """The entries of a ``.list`` file."""
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)", line)
        if match and "main" in match[4].split("#")[0].split():
            words = [word.partition("=") for word in (match[1] or "").split()]
            options = {key.lower(): value for key, _, value in words}
            yield Source(uri=match[2], suite=match[3], options=options)


def deb822_sources(text: str) -> Iterator[Source]:
    """The entries of a ``.sources`` file."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        unfolded = re.sub(r"\n\s+", " ", stanza)
        fields = {
            key.strip().lower(): value.strip()
            for key, colon, value in (line.partition(":") for line in unfolded.splitlines())
            if colon
        }
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").lower() == "no":
            continue
        if "main" not in fields.get("components", "").split():
            continue
        options = {key: value for key, value in fields.items() if key in ("signed-by", "trusted")}
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(uri=uri, suite=suite, options=options)


def codename() -> str:
    """This machine's own release, such as ``bookworm``."""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip().strip('"')
    return ""


def source(folder: Path = Path("/etc/apt")) -> Source:
    """The mirror of Debian this machine uses.

    ``FLEET_LAB_MIRROR`` (a URL) goes before it. Raises LabError if there is none.
    """
    override = os.environ.get("FLEET_LAB_MIRROR")
    if override:
        return Source(uri=override, suite="")
    found: list[Source] = []
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    for file in files:
        if file.suffix == ".list" and file.is_file():
            found.extend(one_line_sources(file.read_text()))
        elif file.suffix == ".sources" and file.is_file():
            found.extend(deb822_sources(file.read_text()))
    own = codename()
    for entry in found:
        if entry.suite == own and entry.uri.rstrip("/").endswith("/debian"):
            return entry
    raise LabError(
        "apt's sources on this machine name no mirror of Debian; "
        "set FLEET_LAB_MIRROR to the URL of one"
    )


def apt_proxies() -> list[str]:
    """The proxies of this machine's apt, as options of apt."""
    dump = processes.run(["apt-config", "dump"]).stdout
    pattern = re.compile(r'^(Acquire::https?::Proxy(?:::\S+)?) "(.+)";$', re.MULTILINE)
    return [f'{name} "{value}"' for name, value in pattern.findall(dump)]


WHOLE = (
    "--include=?or(?essential,?priority(required))",
    '--extract-hook=mkdir "$1/packages" && cp "$1"/var/cache/apt/archives/*.deb "$1/packages/"',
)
"""What no Debian is without; and the packages themselves, in ``/packages``."""


def install(architecture: str, suite: str, packages: Sequence[str], root: Path) -> None:
    """Install a minimal Debian with some packages into a folder, ready for apt to go on.

    The packages' own scripts run, so the architecture must be this computer's. The mirror that
    this machine uses, and its proxies, become those of the new system. Raises LabError.
    """
    _bootstrap(architecture, suite, packages, root, ["--variant=minbase"])


def unpack(
    architecture: str, suite: str, packages: Sequence[str], root: Path, *, whole: bool = False
) -> None:
    """Unpack packages and all they depend on into a folder.

    No script of a package runs, so nothing foreign is executed and nothing is configured: that
    is `rootfs.configure`'s work, or that of whoever is given a ``whole`` Debian with the packages
    to install. Raises LabError with apt's own words if it fails.
    """
    _bootstrap(
        architecture, suite, packages, root, ["--variant=extract", *(WHOLE if whole else ())]
    )


def _bootstrap(
    architecture: str, suite: str, packages: Sequence[str], root: Path, how: Sequence[str]
) -> None:
    mirror = source()
    options = " ".join(f"{key}={value}" for key, value in mirror.options.items())
    line = f"deb {f'[{options}] ' if options else ''}{mirror.uri} {suite} main"
    argv = [
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        *how,
        f"--architectures={architecture}",
        f"--include={','.join(packages)}",
        # Debian 12 still ships /bin, /sbin and /lib beside /usr: make them links first.
        f"--hook-dir={MERGED_USR}",
        *(f"--aptopt={proxy}" for proxy in apt_proxies()),
        '--aptopt=Acquire::Retries "3"',
        '--aptopt=Acquire::Languages "none"',
        suite,
        str(root),
        line,
    ]
    try:
        processes.run(argv, timeout=900)
    except LabError as error:
        raise LabError(
            f"cannot unpack Debian {suite} for {architecture}: {error}\n"
            "A mirror in the middle of its own update gives errors like these: try again later."
        ) from error
