"""Hosts by the hour: rented when a job needs one, and given back whatever happens.

Every host has a lock: whoever holds it rents it, or gives it back. What is rented is
written down before (``leases``), so that it is found again by the next run, by
`fleet hosts` and by `fleet hosts down`, even where this process is killed.
"""

from __future__ import annotations

import json
import shlex
import signal
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from fleet.errors import (
    FleetError,
    HostKeyChanged,
    HostKeyUnknown,
    HostNotReleased,
    HostNotRented,
    Interrupted,
    UsageError,
)
from fleet.events import (
    Emit,
    HostProbed,
    Notice,
    ProvisionFinished,
    ProvisionLine,
    ProvisionStarted,
)
from fleet.models import HostSpec, Lease, Provision, printed_object
from fleet.run.interrupts import Interrupt, interrupts_to
from fleet.run.leases import Leases
from fleet.run.local import Ended, LocalCommand, why_not
from fleet.run.machine import Machine
from fleet.run.retry import Policy, retry

Arrive = Callable[[HostSpec, str], Machine]
"""Connects to a host that ``up`` printed where to find, and probes it. Raises FleetError."""

_TAIL = 20  # lines
_AGAIN = 60.0  # seconds in which a host that an earlier run left up must answer
_GRACE = 30.0  # for an `up` that is interrupted to undo what it has done
_PAUSE = 2.0  # seconds between two looks at a host that is not ready
# What no waiting changes: the wrong machine, or words that mean none.
_FOR_GOOD = (HostKeyChanged, HostKeyUnknown, UsageError)
_DOWN = Policy(attempts=3)


class Rental:
    """The hosts of an inventory that are rented. Its methods may be called from any thread."""

    def __init__(
        self,
        hosts: Iterable[HostSpec],
        *,
        leases: Leases,
        arrive: Arrive,
        emit: Emit,
        run: str,
        pause: float = _PAUSE,
        giving_back: Policy = _DOWN,
    ) -> None:
        self.hosts = {spec.name: spec for spec in hosts if spec.provision is not None}
        self.kept: set[str] = set()  # hosts that could not be given back
        self._leases = leases
        self._arrive = arrive
        self._emit = emit
        self._run = run
        self._pause = pause
        self._giving_back = giving_back
        self._over = threading.Event()  # then nothing is rented any more
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.RLock()  # a signal's handler may come for it as well
        self._coming: list[LocalCommand] = []  # `up` commands that run
        self._machines: dict[str, Machine] = {}

    # --- renting --------------------------------------------------------------------------

    def rent(self, host: str) -> Machine:
        """Have a host up, probed, and what the inventory says that it is.

        One that an earlier run has left up is used again. One that is not as it should
        be is given back at once. Raises HostNotRented, HostNotReleased, Interrupted.
        """
        spec = self.hosts[host]
        with self._locked(host):
            self._go_on(host)
            if (lease := self._leases.find(host)) is not None:
                self._notice(host, f"it is still up{_of(lease)}, and is used again")
                try:
                    return self._ready(spec, min(_AGAIN, _provision(spec).timeout))
                except FleetError as error:
                    self._notice(host, f"it is of no use, and given back: {_bare(error)}")
                self._give_back(lease)
                self._go_on(host)
            try:
                self._up(spec)
                return self._ready(spec, _provision(spec).timeout)
            except FleetError:
                if (lease := self._leases.find(host)) is not None:
                    self._give_back_or_tell(lease)
                raise

    def _up(self, spec: HostSpec) -> None:
        provision = _provision(spec)
        with ExitStack() as stack:
            try:
                output = stack.enter_context(self._leases.begin(spec, self._run))
            except OSError as error:
                raise HostNotRented(
                    spec.name,
                    f"it is not rented, as that cannot be written down ({error.strerror})",
                    hint="a machine that nobody remembers costs money: make room in fleet's state"
                    " folder, or let it be written",
                ) from None
            local = LocalCommand(
                provision.up,
                folder=provision.folder,
                extra=_extra(spec.name),
                output=output,
                grace=_GRACE,
            )
            tail = deque[str](maxlen=_TAIL)
            stack.enter_context(self._interruptible(local))
            failed = self._follow(spec.name, "up", provision.up, local, provision.timeout, tail)
        if failed is not None:
            said = tail or _last_lines(self._leases.find(spec.name))
            raise HostNotRented(
                spec.name,
                f"`up` {failed}: {shlex.join(provision.up)} in {provision.folder}",
                tail=tuple(said),
            )

    def _ready(self, spec: HostSpec, within: float) -> Machine:
        """Wait for a host whose ``up`` has ended to be ready, and see that it is the right one."""
        lease = self._leases.find(spec.name)
        assert lease is not None, "it was written before"
        deadline, told_of = time.monotonic() + within, ""
        while True:
            try:
                machine = self._arrive(spec, lease.told)
                break
            except _FOR_GOOD as error:
                raise HostNotRented(
                    spec.name, f"it was rented: {_bare(error)}", hint=error.hint
                ) from error
            except FleetError as error:
                if time.monotonic() > deadline:
                    raise HostNotRented(
                        spec.name,
                        f"it was not ready within {within:.0f} s of `up`: {_bare(error)}",
                        hint=error.hint,
                    ) from error
                if type(error).__name__ != told_of:
                    told_of = type(error).__name__
                    self._notice(spec.name, f"not ready yet: {_bare(error)}")
            self._over.wait(self._pause)
            self._go_on(spec.name)
        report = replace(machine.report, lease=replace(lease, told=""))
        self._emit(HostProbed(report=report))
        self._machines[spec.name] = machine
        refused = [f"{p}: {report.refusal(p)}" for p in spec.platforms or () if report.refusal(p)]
        if refused:
            raise HostNotRented(
                spec.name,
                f"what was rented is not what the inventory says: {'; '.join(refused)}",
                hint="correct its `platforms`, or what its `up` rents",
            )
        return machine

    def _go_on(self, host: str) -> None:
        if self._over.is_set():
            raise Interrupted(f"{host}: it is not rented any more, as the run ends")

    @contextmanager
    def _interruptible(self, local: LocalCommand) -> Iterator[None]:
        """Within this, the end of the rental ends the command."""
        with self._lock:
            self._coming.append(local)
            if self._over.is_set():
                local.interrupt(Interrupt(number=signal.SIGTERM))
        try:
            yield
        finally:
            with self._lock:
                self._coming.remove(local)

    # --- giving back ----------------------------------------------------------------------

    def release(self, host: str) -> bool:
        """Give a host back, if it is up; whether it is not up any more."""
        with self._locked(host):
            lease = self._leases.find(host)
            return lease is None or self._give_back_or_tell(lease)

    @contextmanager
    def given_back(self) -> Iterator[None]:
        """At the end of this, every host is given back.

        No signal gets past what hears it within, so that none strikes in between.
        """
        with interrupts_to(lambda _: None):
            try:
                yield
            finally:
                self.end()

    def stop(self) -> None:
        """Rent nothing any more, and end the `up` commands that run."""
        self._over.set()
        with self._lock:
            for local in self._coming:
                local.interrupt(Interrupt(number=signal.SIGTERM))

    def end(self) -> None:
        """Give every host of the inventory back, those among them that earlier runs have left up.

        No signal that the process can hear stops it; the commands' time-outs bound it.
        """
        with interrupts_to(lambda _: None):
            self.stop()
            with self._lock:
                known = tuple(self._locks)
            for host in known:  # whoever is renting now finds that it is over, and gives it back
                with self._locked(host):
                    pass
            threads = [
                threading.Thread(target=self.release, args=(lease.host,), name="down")
                for lease in self._leases.all()
                if lease.host not in self.kept  # it was tried, and told of
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _give_back_or_tell(self, lease: Lease) -> bool:
        try:
            self._give_back(lease)
        except HostNotReleased as error:
            self.kept.add(lease.host)
            tail = "".join(f"\n  | {line}" for line in error.tail)
            self._emit(Notice(host=lease.host, message=f"{error.message}{tail}\n  {error.hint}"))
            return False
        return True

    def _give_back(self, lease: Lease) -> None:
        """Run ``down`` until it succeeds, a bounded number of times. Raises HostNotReleased."""
        if (machine := self._machines.pop(lease.host, None)) is not None:
            machine.host.close()
        # As the inventory has it now, where it still has the host: it may have been mended.
        spec = self.hosts.get(lease.host)
        provision = spec.provision if spec and spec.provision else lease.provision
        retry(
            lambda: self._down(lease, provision),
            policy=self._giving_back,
            stop=threading.Event(),
            before_wait=lambda error, wait: self._emit(
                Notice(host=lease.host, message=f"{error.message}; again in {wait:.0f} s")
            ),
        )
        self.kept.discard(lease.host)
        try:
            self._leases.end(lease.host)
        except OSError as error:
            said = f"it was given back, and goes on to be told as up ({error.strerror})"
            self._notice(lease.host, said)

    def _down(self, lease: Lease, provision: Provision) -> None:
        if not provision.down:
            raise HostNotReleased(lease.host, "nothing is known any more of how it is given back")
        tail = deque[str](maxlen=_TAIL)
        local = LocalCommand(
            provision.down,
            folder=provision.folder,
            extra=_extra(lease.host),
            given=json.dumps(printed_object(lease.told) or {}).encode() + b"\n",
        )
        failed = self._follow(lease.host, "down", provision.down, local, provision.timeout, tail)
        if failed is not None:
            raise HostNotReleased(
                lease.host,
                f"`down` {failed}: {shlex.join(provision.down)} in {provision.folder}",
                tail=tuple(tail),
            )

    # --- parts ----------------------------------------------------------------------------

    def _follow(
        self,
        host: str,
        what: str,
        command: tuple[str, ...],
        local: LocalCommand,
        limit: float,
        tail: deque[str],
    ) -> str | None:
        """Run a command, and tell of it; how it failed, or None. Raises Interrupted."""

        def on_line(line: str) -> None:
            tail.append(line)
            self._emit(ProvisionLine(host=host, what=what, line=line))

        self._emit(ProvisionStarted(host=host, what=what, command=command))
        began, ok = time.monotonic(), False
        try:
            match local.follow(limit, on_line):
                case None:
                    return f"did not end within {limit:.0f} s"
                case Interrupt():
                    raise Interrupted(f"{host}: interrupted while it was rented")
                case Ended(status=status) as end if status != 0:
                    return f"ended with {end}"
            ok = True
            return None
        except (OSError, ValueError) as error:
            return f"cannot be started ({why_not(error)})"
        finally:
            spent = time.monotonic() - began
            self._emit(ProvisionFinished(host=host, what=what, seconds=spent, ok=ok))

    @contextmanager
    def _locked(self, host: str) -> Iterator[None]:
        with self._lock:
            lock = self._locks[host]
        with lock:
            yield

    def _notice(self, host: str, message: str) -> None:
        self._emit(Notice(host=host, message=f"{host}: {message}"))


def _provision(spec: HostSpec) -> Provision:
    assert spec.provision is not None, "only such hosts are rented"
    return spec.provision


def _extra(host: str) -> dict[str, str]:
    return {"FLEET_HOST": host}


def _of(lease: Lease) -> str:
    return f" from the run {lease.run}" if lease.run else ""


def _bare(error: FleetError) -> str:
    """An error's sentence without the host's name, which stands before it already."""
    host = getattr(error, "host", None)
    return error.message.removeprefix(f"{host}: ")


def _last_lines(lease: Lease | None) -> list[str]:
    """What an ``up`` has printed that failed without a word of error."""
    return lease.told.splitlines()[-_TAIL:] if lease else []
