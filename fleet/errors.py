"""Every error that fleet raises on purpose, in one tree.

::

    FleetError                      1   something failed
    ├── UsageError                  2   the command line asks for what cannot be
    │   ├── InvalidReference        2   an image name, tag or digest is malformed
    │   ├── InvalidPlatform         2   a platform is malformed
    │   ├── InvalidDuration         2   a length of time is malformed
    │   └── ProblemsError           2   several problems of one kind of file at once
    │       ├── InventoryError      2   those of an inventory
    │       └── RecipeError         2   those of the Dockerfiles
    ├── PrepareFailed               1   what an image needs could not be prepared
    ├── HostError                   1   one host, whatever it was asked to do
    │   ├── HostUnreachable      T  3   no route, refused, name does not resolve, no banner
    │   │   └── NameUnknown      T  3   ... for its name does not resolve
    │   ├── ConnectionLost       T  3   the connection was there and is gone
    │   ├── HostClosed              1   fleet itself has let go of it: the run was interrupted
    │   ├── ChannelRefused       T  1   sshd opens no further channel (MaxSessions)
    │   ├── HostKeyUnknown          3   never seen; how to accept it is in the hint
    │   ├── HostKeyChanged          3   seen, and another one now
    │   ├── AuthenticationFailed    3   no key was taken
    │   ├── CommandFailed           1   a command ended with a status other than 0
    │   ├── CommandTimedOut      T  1   a command did not end by its deadline
    │   ├── HostStayedAway          3   it was waited for, and did not come back
    │   ├── HostNotAdded            3   it does not let fleet in, so the inventory stays as it is
    │   ├── HostNotRented           3   its `up` failed, or what it rented is not what it should be
    │   ├── HostNotReleased      T  1   its `down` failed: it is still up, and costs money
    │   └── EngineError             1   Docker on a host
    │       ├── EngineMissing       3   no docker command
    │       ├── EngineDown          3   the daemon does not answer
    │       │   └── EngineGone   T  3   it stopped in mid-sentence (it was restarted)
    │       ├── EnginePermission    3   this user may not use it
    │       ├── BuilderMissing      3   no way to use BuildKit
    │       ├── BuildFailed         1   the build ended with a status other than 0
    │       │   ├── MirrorTrouble T 1   ... since a download within a RUN step broke off
    │       │   ├── OutOfMemory     1   ... since the kernel ended it for want of memory
    │       │   └── BuildTimedOut   1   fleet ended it on its host: too long, or silent too long
    │       ├── BuildCancelled      1   somebody cancelled the build
    │       ├── BuildLost        T  1   a detached build vanished (the host was rebooted)
    │       ├── DiskFull            1   no space left on the host, or less than `min_free`
    │       ├── SmokeFailed         1   the image is not what it says, or does not run
    │       ├── PullFailed       ?  1   the engine could not pull; transient as the cause is
    │       └── PushFailed       ?  1   the engine could not push; transient as the cause is
    ├── RegistryError               1   a registry, whatever it was asked to do
    │   ├── RegistryUnreachable  T  3   no connection, TLS failure
    │   ├── RegistryBusy         T  1   429 or 5xx; carries Retry-After
    │   ├── RegistryDenied          1   401 or 403
    │   ├── NotInRegistry           1   404
    │   ├── RegistryNonsense        1   an answer that the specification does not allow
    │   └── DigestMismatch          1   bytes that are not what their digest says
    ├── CredentialsError            2   Docker's configuration or a credential helper is broken
    ├── IndexNotWhole               1   an index would not be, or is not, whole
    ├── SignFailed                  1   an index stands, and could not be signed
    ├── NoHostLeft                  3   no host is there for anything that must be built
    ├── LockHeld                   75   another run holds the lock
    └── Interrupted               130   the operator pressed Ctrl-C

The number is the exit code of the process when the error ends it. ``T`` marks
what may pass when it is tried again, ``?`` what may where its cause may; everything
else fails the same way twice (``docs/architecture.md``, promise 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """The exit codes of the ``fleet`` command; part of its interface."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    PARTIAL = 4
    LOCKED = 75
    INTERRUPTED = 130


class FleetError(Exception):
    """Something failed. ``message`` says what and where; ``hint`` what to do about it."""

    exit_code: ExitCode = ExitCode.FAILED
    transient: bool = False
    tail: tuple[str, ...] = ()  # the last lines of a log, where one tells more

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  {self.hint}"


# --- what was asked for -------------------------------------------------------------------


class UsageError(FleetError):
    """The command line asks for something that cannot be."""

    exit_code = ExitCode.USAGE


class InvalidReference(UsageError):
    """An image name, a tag or a digest is malformed."""


class InvalidPlatform(UsageError):
    """A platform is malformed."""


class InvalidDuration(UsageError):
    """A length of time is malformed."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong in a file, at a place that an editor can jump to."""

    file: Path
    line: int  # from 1; 0 where the whole file is meant
    column: int  # from 1; 0 where the whole line is meant
    message: str

    def __str__(self) -> str:
        place = ":".join([str(self.file), *(str(n) for n in (self.line, self.column) if n)])
        return f"{place}: {self.message}"


class ProblemsError(UsageError):
    """Several problems of one kind of file, reported together."""

    def __init__(self, problems: Sequence[Problem], *, hint: str | None = None) -> None:
        self.problems = tuple(
            sorted(problems, key=lambda p: (str(p.file), p.line, p.column, p.message))
        )
        super().__init__("\n".join(map(str, self.problems)), hint=hint)


class InventoryError(ProblemsError):
    """Every problem of an inventory at once."""


class RecipeError(ProblemsError):
    """Every problem of the Dockerfiles at once."""


# --- the controller -----------------------------------------------------------------------


class PrepareFailed(FleetError):
    """A ``prepare`` command failed: nothing is built. ``tail`` is the last of what it printed."""

    def __init__(self, message: str, tail: Sequence[str] = ()) -> None:
        super().__init__(message, hint="nothing was built; mend it, or run it by hand there")
        self.tail = tuple(tail)

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  | {line}" for line in self.tail), f"  {self.hint}"])


# --- hosts --------------------------------------------------------------------------------


class HostError(FleetError):
    """One host failed, whatever it was asked to do."""

    def __init__(self, host: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(f"{host}: {message}", hint=hint)
        self.host = host


class HostUnreachable(HostError):
    """The host cannot be reached: no route, refused, unresolvable, or no SSH banner."""

    exit_code = ExitCode.UNREACHABLE
    transient = True


class NameUnknown(HostUnreachable):
    """The host's name does not resolve to an address."""


class ConnectionLost(HostError):
    """The connection to the host was there and is gone."""

    exit_code = ExitCode.UNREACHABLE
    transient = True


class HostClosed(HostError):
    """The host was let go of by fleet itself, as a run that was interrupted does it."""


class ChannelRefused(HostError):
    """sshd opens no further channel on this connection (MaxSessions)."""

    transient = True


class HostKeyUnknown(HostError):
    """The host's key was never seen before."""

    exit_code = ExitCode.UNREACHABLE


class HostKeyChanged(HostError):
    """The host shows another key than the known one."""

    exit_code = ExitCode.UNREACHABLE


class AuthenticationFailed(HostError):
    """The host takes none of the keys that were offered."""

    exit_code = ExitCode.UNREACHABLE


class CommandFailed(HostError):
    """A command on a host ended with a status other than 0."""

    def __init__(self, host: str, argv: Sequence[str], status: int, stderr: str) -> None:
        said = stderr.strip() or "it printed no error"
        super().__init__(host, f"{argv[0]} ended with status {status}: {said}")
        self.argv = tuple(argv)
        self.status = status
        self.stderr = stderr


class CommandTimedOut(HostError):
    """A command on a host did not end by its deadline."""

    transient = True


class HostStayedAway(HostError):
    """A host that was lost did not come back while it was waited for (``host_wait``)."""

    exit_code = ExitCode.UNREACHABLE


class HostNotAdded(HostError):
    """A machine does not let fleet in, and so was not added to the inventory."""

    exit_code = ExitCode.UNREACHABLE


class HostNotRented(HostError):
    """A host could not be rented: ``up`` failed, or what it rented is not as it should be."""

    exit_code = ExitCode.UNREACHABLE

    def __init__(
        self, host: str, message: str, *, hint: str | None = None, tail: Sequence[str] = ()
    ) -> None:
        super().__init__(host, message, hint=hint)
        self.tail = tuple(tail)


class HostNotReleased(HostError):
    """A rented host could not be given back: ``down`` failed, and it may still cost money."""

    transient = True

    def __init__(self, host: str, message: str, *, tail: Sequence[str] = ()) -> None:
        super().__init__(
            host, message, hint=f"it may still be up: `fleet hosts down {host}` tries again"
        )
        self.tail = tuple(tail)


# --- engines ------------------------------------------------------------------------------


class EngineError(HostError):
    """Docker on a host failed."""


class EngineMissing(EngineError):
    """There is no docker command on the host."""

    exit_code = ExitCode.UNREACHABLE


class EngineDown(EngineError):
    """The Docker daemon of the host does not answer."""

    exit_code = ExitCode.UNREACHABLE


class EngineGone(EngineDown):
    """The Docker daemon of the host stopped in mid-sentence: it was restarted, or it died."""

    transient = True


class EnginePermission(EngineError):
    """The user that fleet logs in as may not use the Docker daemon."""

    exit_code = ExitCode.UNREACHABLE


class BuilderMissing(EngineError):
    """The engine offers no way to build with BuildKit."""

    exit_code = ExitCode.UNREACHABLE


class BuildFailed(EngineError):
    """A build ended with a status other than 0."""

    def __init__(
        self,
        host: str,
        status: int,
        tail: Sequence[str],
        *,
        message: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(host, message or f"the build ended with status {status}", hint=hint)
        self.status = status
        self.tail = tuple(tail)


class MirrorTrouble(BuildFailed):
    """A build failed since a package mirror or a download within a RUN step did."""

    transient = True


class OutOfMemory(BuildFailed):
    """A build failed since the kernel ended a process of it for want of memory."""


class BuildTimedOut(BuildFailed):
    """A build took longer than it may, or was silent for longer; it was ended on its host."""


class BuildCancelled(EngineError):
    """Somebody cancelled the build."""


class BuildLost(EngineError):
    """A detached build is gone without an exit status: its host went down."""

    transient = True


class DiskFull(EngineError):
    """There is no space left on the host, or less than a build shall find."""


class SmokeFailed(EngineError):
    """An image is not what it says, or does not run on its own architecture."""


class PullFailed(EngineError):
    """The engine could not pull an image."""

    def __init__(
        self, host: str, message: str, *, transient: bool, hint: str | None = None
    ) -> None:
        super().__init__(host, message, hint=hint)
        self.transient = transient


class PushFailed(EngineError):
    """The engine could not push an image."""

    def __init__(
        self, host: str, message: str, *, transient: bool, hint: str | None = None
    ) -> None:
        super().__init__(host, message, hint=hint)
        self.transient = transient


# --- registries ---------------------------------------------------------------------------


class RegistryError(FleetError):
    """A registry failed, whatever it was asked to do."""


class RegistryUnreachable(RegistryError):
    """No connection to the registry."""

    exit_code = ExitCode.UNREACHABLE
    transient = True


class RegistryBusy(RegistryError):
    """The registry answers 429 or 5xx. ``retry_after`` is in seconds, where it said so."""

    transient = True

    def __init__(
        self, message: str, *, retry_after: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class RegistryDenied(RegistryError):
    """The registry refuses the credentials, or what they may do."""


class NotInRegistry(RegistryError):
    """The registry does not hold that manifest, blob or repository."""


class RegistryNonsense(RegistryError):
    """The registry answers what the distribution specification does not allow."""


class DigestMismatch(RegistryError):
    """The registry delivered bytes that are not what their digest says."""


class CredentialsError(FleetError):
    """Docker's configuration file or a credential helper is broken."""

    exit_code = ExitCode.USAGE


# --- runs ---------------------------------------------------------------------------------


class IndexNotWhole(FleetError):
    """An image index would not be whole, or is found not to be."""


class SignFailed(FleetError):
    """An index was published, and the inventory's `sign` command failed for it."""

    def __init__(self, message: str, *, hint: str | None = None, tail: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint or "the index stands; the next run signs it")
        self.tail = tuple(tail)


class NoHostLeft(FleetError):
    """No host is there for anything that must be built."""

    exit_code = ExitCode.UNREACHABLE


class LockHeld(FleetError):
    """Another run holds the lock."""

    exit_code = ExitCode.LOCKED


class Interrupted(FleetError):
    """The operator pressed Ctrl-C."""

    exit_code = ExitCode.INTERRUPTED
