"""Making a fresh Debian, Ubuntu or Raspberry Pi OS machine a build host.

What is to be so is a list of steps: each knows how to see whether it is so, and
how to make it so. They are decided from what was found on the host (``survey``)
by a pure function (``steps``); ``bootstrap`` walks them. A step that is so already
is left alone, and one that was carried out is looked at again, so that a second
walk changes nothing and no step is called done that is not.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fleet.errors import HostError, UsageError
from fleet.hosts.protocol import Host
from fleet.models import StepReport, StepState

DAEMON_FILE = "/etc/docker/daemon.json"
SSHD_FILE = "/etc/ssh/sshd_config.d/10-fleet.conf"
MAX_SESSIONS = 32  # of sshd per connection; 10 is its default, and fleet may use 8 by itself
_LOG_LIMITS = {"max-size": "10m", "max-file": "3"}  # of each container, as Docker names them
_BOUNDED = ("json-file", "local")  # the log drivers that know these limits
_FAMILY = frozenset({"debian", "ubuntu", "raspbian"})
_INSTALL_SECONDS = 1800.0  # a board with an SD card unpacks an engine slowly
_STEP_SECONDS = 180.0
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH LC_ALL=C\n"

_SURVEY = """\
user=$(id -un) && printf 'user=%s\\n' "$user"
printf 'uid=%s\\n' "$(id -u)"
if [ -d /run/systemd/system ]; then printf 'systemd=1\\n'; fi
for file in /etc/os-release /usr/lib/os-release; do
    if [ -r "$file" ]; then sed 's/^/release:/' "$file"; break; fi
done
"""

# The engine's command line speaks to BuildKit by the buildx plugin, or by itself before 23.
_HAS_ENGINE = """\
command -v dockerd >/dev/null && command -v docker >/dev/null || exit 1
docker buildx version >/dev/null 2>&1 && exit 0
case $(docker --version) in
    *' version 18.09'* | *' version 19.'* | *' version 20.'* | *' version 22.'*) exit 0 ;;
esac
exit 1
"""
_INSTALL_ENGINE = """\
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a
apt() { apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"; }
apt -qq update || exit
# Docker's own packages stay where somebody has installed them.
if dpkg-query -W -f '${db:Status-Status}' docker-ce 2>/dev/null | grep -qx installed; then
    apt -qq -y install docker-buildx-plugin
    exit
fi
set -- docker.io ca-certificates procps
# Debian 13 and Ubuntu have these apart from docker.io; Debian 12 has no buildx, and its engine
# 20.10 needs none.
for package in docker-cli docker-buildx; do
    if [ -n "$(apt-cache show "$package" 2>/dev/null)" ]; then set -- "$@" "$package"; fi
done
apt -qq -y --no-install-recommends install "$@"
"""
_WRITE_DAEMON = """\
file=$1
shift
work=$(docker ps -q 2>/dev/null | wc -l)
if [ "$work" -gt 0 ] || pgrep -f 'docker (buildx )?build ' >/dev/null 2>&1; then
    echo "the engine is at work, and must be restarted for this: let it finish, or stop it" >&2
    exit 1
fi
mkdir -p "${file%/*}" && cat >"$file.fleet" && chmod 644 "$file.fleet" || exit
if command -v dockerd >/dev/null && dockerd --help | grep -q -e --validate; then
    if ! said=$(dockerd --validate --config-file "$file.fleet" 2>&1); then
        rm -f "$file.fleet"
        printf 'dockerd does not take it: %s\\n' "$said" >&2
        exit 1
    fi
fi
mv "$file.fleet" "$file" || exit
if docker version >/dev/null 2>&1; then "$@"; fi
"""
_ANSWERS = """\
docker version >/dev/null 2>&1 || exit 1
[ ! -d /run/systemd/system ] || systemctl -q is-enabled docker
"""
_START = """\
"$@" || exit
waited=0
until said=$(docker version 2>&1); do
    waited=$((waited + 1))
    if [ "$waited" -gt 60 ]; then printf '%s\\n' "$said" | tail -n 1 >&2; exit 1; fi
    sleep 1
done
"""
_IN_GROUP = 'id -nG "$1" | tr " " "\\n" | grep -qx docker'
_JOIN_GROUP = 'usermod -aG docker "$1"'
_SESSIONS_SUFFICE = """\
mkdir -p /run/sshd; sshd -T 2>/dev/null | awk -v least="$1" \
    '$1 == "maxsessions" { found = $2 } END { exit found < least }'
"""
_RAISE_SESSIONS = """\
file=$1 sessions=$2
shift 2
mkdir -p /run/sshd # where it is missing, sshd -t refuses everything
if ! said=$(sshd -t 2>&1); then
    printf 'sshd does not take its configuration as it stands: %s\\n' "$said" >&2
    exit 1
fi
[ ! -e "$file" ] || cp -p "$file" "$file.fleet-before" || exit
back() {
    if [ -e "$file.fleet-before" ]; then mv "$file.fleet-before" "$file"; else rm -f "$file"; fi
}
mkdir -p "${file%/*}" || exit
printf '# By fleet bootstrap: builds share one connection.\\nMaxSessions %s\\n' "$sessions" >"$file"
if ! said=$(sshd -t 2>&1); then
    back
    printf 'sshd does not take %s, which is gone again: %s\\n' "$file" "$said" >&2
    exit 1
fi
found=$(sshd -T 2>/dev/null | awk '$1 == "maxsessions" { print $2 }')
if [ "${found:-0}" -lt "$sessions" ]; then
    back
    echo "sshd has MaxSessions $found with $file as well: /etc/ssh/sshd_config does not include" \
        "that folder, or sets it first" >&2
    exit 1
fi
if ! "$@" >&2; then back; exit 1; fi
rm -f "$file.fleet-before"
"""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What was found on a host before anything is done."""

    host: str
    system: str  # the distribution's own name
    family: frozenset[str]  # its ID and ID_LIKE of os-release(5)
    user: str  # whom fleet logs in as
    root: tuple[str, ...]  # what stands before a command to run it as root
    systemd: bool
    daemon: str | None = None  # the engine's configuration file


@dataclass(frozen=True, kw_only=True)
class HostStep:
    """One thing that is to be so on a host. Scripts are for /bin/sh, and run as root.

    ``check`` succeeds where it is so; ``make`` makes it so. Both are given the
    arguments and the input.
    """

    what: str
    check: str
    make: str
    check_arguments: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    stdin: str = ""
    seconds: float = _STEP_SECONDS


def bootstrap(
    host: Host,
    *,
    data_root: str | None = None,
    dry_run: bool = False,
    on_step: Callable[[StepReport], None] = lambda report: None,
) -> tuple[StepReport, ...]:
    """Make a machine a build host; what became of each step. The first that fails is the last.

    With ``dry_run`` it is only looked which steps are so. ``data_root`` is where the
    engine keeps its images. ``on_step`` hears of each as it is settled.

    Raises UsageError for a data root that is no absolute path, HostError for a
    system that is not of Debian's family and for a user who cannot become root,
    and what ``Host.run`` raises.
    """
    ground = survey(host)
    reports = []
    for step in steps(ground, data_root=data_root):
        report = _walk(host, ground, step, dry_run=dry_run)
        reports.append(report)
        on_step(report)
        if report.state is StepState.FAILED:
            break
    return tuple(reports)


def survey(host: Host) -> Ground:
    """Look at a host, and see that fleet may and can do something there. Raises HostError."""
    lines = _shell(host, (), _SURVEY, check=True)[1].splitlines()
    told = dict(line.split("=", 1) for line in lines if re.match(r"(user|uid|systemd)=", line))
    release = {}
    for line in lines:
        key, equals, value = line.removeprefix("release:").partition("=")
        if line.startswith("release:") and equals:
            release[key] = " ".join(shlex.split(value))
    system = release.get("PRETTY_NAME", "an unknown system")
    family = frozenset((release.get("ID", ""), *release.get("ID_LIKE", "").split()))
    if not family & _FAMILY:
        raise HostError(
            host.name,
            f"it runs {system}, and bootstrap knows Debian, Ubuntu and Raspberry Pi OS",
            hint="install Docker with buildx there by its own means; fleet needs nothing else",
        )
    root = _root(host, told["user"], told["uid"])
    status, text, _ = _shell(
        host, root, 'if [ -e "$1" ]; then cat "$1"; else exit 9; fi', DAEMON_FILE
    )
    return Ground(
        host=host.name,
        system=system,
        family=family,
        user=told["user"],
        root=root,
        systemd="systemd" in told,
        daemon=None if status == 9 else text,
    )


def _root(host: Host, user: str, uid: str) -> tuple[str, ...]:
    if uid == "0":
        return ()
    if host.run(["sudo", "-n", "true"], check=False).status == 0:
        return ("sudo", "-n")
    raise HostError(
        host.name,
        f"{user} is not root, and may not become so without a password",
        hint=f"log in as root, or let it there, with visudo: {user} ALL=(ALL) NOPASSWD: ALL",
    )


def steps(ground: Ground, *, data_root: str | None = None) -> tuple[HostStep, ...]:
    """What is to be so on a host, in the order in which it is done. Pure.

    The engine's configuration comes before the engine, which then starts with it.
    Raises UsageError, and HostError for a configuration that cannot be understood.
    """
    daemon = merged(ground.host, ground.daemon, data_root)
    limits = ", ".join(f"{key} {value}" for key, value in _LOG_LIMITS.items())
    where = f", images in {data_root}" if data_root else ""
    service = ("systemctl",) if ground.systemd else ("service", "docker")
    start = (*service, "enable", "--now", "docker") if ground.systemd else (*service, "start")
    restart = (*service, "restart", "docker") if ground.systemd else (*service, "restart")
    reload = ("systemctl", "reload", "ssh") if ground.systemd else ("service", "ssh", "reload")
    at_boot = ", now and at every boot" if ground.systemd else " (no systemd: not seen to at boot)"
    found = [
        HostStep(
            what=f"{DAEMON_FILE}: logs of containers are bounded ({limits}){where}",
            check='cmp -s - "$1"',
            check_arguments=(DAEMON_FILE,),
            make=_WRITE_DAEMON,
            arguments=(DAEMON_FILE, *restart),
            stdin=daemon,
        ),
        HostStep(
            what="the engine and BuildKit, from the distribution's packages",
            check=_HAS_ENGINE,
            make=_INSTALL_ENGINE,
            seconds=_INSTALL_SECONDS,
        ),
        HostStep(what=f"the engine runs{at_boot}", check=_ANSWERS, make=_START, arguments=start),
    ]
    if ground.root:
        found.append(
            HostStep(
                what=f"{ground.user} may use the engine (group docker)",
                check=_IN_GROUP,
                check_arguments=(ground.user,),
                make=_JOIN_GROUP,
                arguments=(ground.user,),
            )
        )
    found.append(
        HostStep(
            what=f"{SSHD_FILE}: {MAX_SESSIONS} sessions per connection",
            check=_SESSIONS_SUFFICE,
            check_arguments=(str(MAX_SESSIONS),),
            make=_RAISE_SESSIONS,
            arguments=(SSHD_FILE, str(MAX_SESSIONS), *reload),
        )
    )
    return tuple(found)


def merged(host: str, text: str | None, data_root: str | None = None) -> str:
    """The engine's configuration with what a build host wants; what it says already stands.

    Only a ``data_root`` goes over it, as somebody has just asked for it. A text
    that lacks nothing is given back as it is. Raises UsageError, HostError.
    """
    if data_root is not None and posixpath.normpath(data_root) != data_root.rstrip("/"):
        raise UsageError(f"--data-root {data_root!r} is no plain path", hint="write /srv/docker")
    if data_root is not None and not data_root.startswith("/"):
        raise UsageError(
            f"--data-root {data_root!r} is not absolute", hint="write /srv/docker, for example"
        )
    try:
        before: Any = json.loads(text) if text and text.strip() else {}
    except ValueError as error:
        raise HostError(
            host, f"{DAEMON_FILE} is no JSON: {error}", hint="mend it there; it is left as it is"
        ) from None
    if not isinstance(before, dict) or not isinstance(before.get("log-opts", {}), dict):
        raise HostError(
            host,
            f"{DAEMON_FILE} is not what Docker reads: an object, with an object as `log-opts`",
            hint="mend it there; it is left as it is",
        )
    after = dict(before)
    if after.setdefault("log-driver", _BOUNDED[0]) in _BOUNDED:
        after["log-opts"] = {**_LOG_LIMITS, **before.get("log-opts", {})}
    if data_root is not None:
        after["data-root"] = data_root.rstrip("/") or "/"
    if text is not None and after == before:
        return text
    return json.dumps(after, indent=2) + "\n"


def _walk(host: Host, ground: Ground, step: HostStep, *, dry_run: bool) -> StepReport:
    def is_so() -> bool:
        status, _, _ = _shell(
            host, ground.root, step.check, *step.check_arguments, stdin=step.stdin
        )
        return status == 0

    if is_so():
        return StepReport(what=step.what, state=StepState.SO)
    if dry_run:
        return StepReport(what=step.what, state=StepState.TO_DO)
    status, out, err = _shell(
        host, ground.root, step.make, *step.arguments, stdin=step.stdin, seconds=step.seconds
    )
    said = tuple((err.strip() or out.strip()).splitlines()[-_SAID:])
    if status != 0:
        said = said or (f"it ended with status {status}",)
        return StepReport(what=step.what, state=StepState.FAILED, said=said)
    if not is_so():
        said = ("it was done without an error, and is still not so", *said)
        return StepReport(what=step.what, state=StepState.FAILED, said=said)
    return StepReport(what=step.what, state=StepState.DONE)


_SAID = 12  # lines of what a step that failed has printed


def _shell(
    host: Host,
    root: Sequence[str],
    script: str,
    *arguments: str,
    stdin: str = "",
    seconds: float = _STEP_SECONDS,
    check: bool = False,
) -> tuple[int, str, str]:
    """Run a script with arguments: status, output, errors."""
    done = host.run(
        [*root, "/bin/sh", "-c", _PATH + script, "fleet", *arguments],
        stdin=stdin.encode(),
        timeout=seconds,
        check=check,
    )
    return done.status, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
