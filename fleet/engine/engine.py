"""Docker on one host: sync, pull, build, smoke, push."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from fleet.engine.detached import DetachedBuilds, Execution, State
from fleet.engine.diagnosis import SHOWN, diagnose
from fleet.engine.logs import LogCursor, OnLines
from fleet.engine.orders import BuildOrder, BuiltImage, RemoteBuild, hex_of
from fleet.engine.script import HostScript
from fleet.engine.syncing import Memory, Syncing, WriteTar
from fleet.errors import (
    BuildCancelled,
    BuildLost,
    BuildTimedOut,
    EngineDown,
    EngineError,
    FleetError,
    SmokeFailed,
)
from fleet.hosts.protocol import Host
from fleet.models import Context, Credentials, HostFacts, JobId, Keep, Leftover, PruneReport
from fleet.platforms import Platform
from fleet.references import Reference

if TYPE_CHECKING:
    from fleet.engine.smoke import Trials
    from fleet.engine.transport import EngineApi

SMOKE_SECONDS = 300.0
_KEPT = 14 * 86400.0  # seconds for which what nobody uses stays on a host
_JUDGED = 400  # of a log's last lines, when a build has failed


class Engine:
    """The engine of a host that was probed. Usable from several threads at once.

    Every method raises what ``Host.run`` raises (ConnectionLost above all), and
    EngineDown, EngineGone or EnginePermission where the daemon does not answer.
    ``write_tar`` writes a context as a tar with fixed times, ``memory`` knows the
    contexts that came before it. ``owner`` names whoever can have one run only at a
    time: what a dead run of the same owner has left in the middle of a smoke test is
    removed.
    """

    def __init__(
        self,
        host: Host,
        facts: HostFacts,
        *,
        write_tar: WriteTar,
        memory: Memory | None = None,
        owner: str | None = None,
    ) -> None:
        self._host = host
        self._facts = facts
        self._state = _state_folder(host, facts)
        self._script = HostScript(host, self._state)
        self._syncing = Syncing(host, self._script, write_tar, memory)
        self._detached = DetachedBuilds(host, self._script)
        self._owner = owner or secrets.token_hex(8)
        self._cursors: dict[str, LogCursor] = {}
        self._heard: dict[str, LogCursor] = {}  # the ends of builds that ended well
        self._begun: set[str] = set()  # executions that began at this engine's word
        self._untidy = threading.Lock()  # taken by the first one, for good
        self._passing: set[str] = set()  # names that are good only while the tunnel is open

    @cached_property
    def _api(self) -> EngineApi:
        from fleet.engine.transport import EngineApi

        return EngineApi(self._host, self._facts)

    @cached_property
    def _trials(self) -> Trials:
        from fleet.engine.smoke import Trials

        return Trials(self._api, owner=self._owner)

    # --- before a build -------------------------------------------------------------------

    def sync(self, context: Context) -> int:
        """Have the context on the host, under its digest; how many bytes that took, 0 for none.

        Raises RecipeError where a file has changed since, DiskFull. What has arrived
        before an error is kept for the next call.
        """
        return self._syncing.sync(context)

    def pull(
        self, reference: Reference, platform: Platform, credentials: Credentials | None
    ) -> None:
        """Have a base image on the host, by digest. Raises PullFailed, DiskFull."""
        from fleet.engine import images

        if reference.digest:
            self._detached.about_to_use(reference.digest)
        images.pull(self._api, reference, platform, credentials)
        if images.tunnelled(reference):
            self._passing.add(str(reference))

    # --- the build ------------------------------------------------------------------------

    def build(
        self,
        order: BuildOrder,
        on_lines: OnLines,
        *,
        attach: bool = True,
        cursor: LogCursor | None = None,
    ) -> BuiltImage:
        """Build, or attach to the build of the same key that runs or has finished on the host.

        The build goes on whatever happens to this call. After ConnectionLost, or
        anything else that says nothing of the build itself, call again: the log
        goes on at the very byte and the build is neither restarted nor, where it
        ended meanwhile, repeated. The engine remembers how far it has read; a
        controller that wants to outlive itself keeps a ``cursor`` of its own.
        Without ``attach`` a build of that key that this engine has not been
        following is ended and started afresh.

        The context must be there (``sync``) and the bases (``pull``). Raises
        BuildFailed with the last lines of the log, or that child of it which its
        cause has (``diagnosis``); DiskFull; BuildLost where the host went down or
        another controller started it anew; BuildCancelled.
        """
        if cursor is None:
            cursor = self._cursors.setdefault(order.key, LogCursor())
        files = order.files(self._facts.engine, self._state, self._host.spec.slots)
        # One that ended well in these very hands is as good as new.
        attach = attach or order.key in self._heard
        begun = self._detached.start(order.name, files, attach=attach, seen=cursor.execution)
        if begun.fresh:
            self._begun.add(begun.id)
        if begun.id != cursor.execution:
            # A job that comes back to a build that it has heard to its end hears no line again.
            heard = self._heard.get(order.key)
            known = heard is not None and heard.execution == begun.id
            cursor.execution, cursor.offset = begun.id, heard.offset if heard and known else 0
        state = self._detached.follow(order.name, cursor, on_lines)
        ended = self._detached.status(order.name)
        if ended.id != begun.id:
            state = State.REPLACED
        told = ended.status or state in (State.TIMED_OUT, State.SILENT)
        log = self._detached.tail(order.name, _JUDGED) if told else ()
        if ended.status == 0 and state is State.FINISHED:
            self._heard[order.key] = LogCursor(execution=begun.id, offset=cursor.offset)
        # From here on its end is told; to hear it once more is to start over.
        self._cursors.pop(order.key, None)
        cursor.execution, cursor.offset = "", 0
        return self._collect(order, state, ended, log)

    def _collect(
        self, order: BuildOrder, state: State, ended: Execution, log: tuple[str, ...]
    ) -> BuiltImage:
        host = self._host.name
        if state is State.CANCELLED:
            raise BuildCancelled(host, f"the build of {order.job} was cancelled")
        if state is State.TIMED_OUT:
            raise self._late(f"it took longer than {order.longest:.0f} s", log)
        if state is State.SILENT:
            raise self._late(f"it printed nothing for {order.silence:.0f} s", log)
        if state is State.REPLACED:
            raise BuildLost(host, f"somebody else started the build of {order.job} anew")
        if state is not State.FINISHED or ended.status is None:
            raise BuildLost(
                host,
                f"the build of {order.job} is gone: the host went down, or its runner was ended",
            )
        if ended.status != 0:
            raise diagnose(host, ended.status, log, out_of_memory=ended.out_of_memory)
        if not ended.iid:
            raise EngineError(host, f"the build of {order.job} ended well but named no image")
        return BuiltImage(
            id=ended.iid, key=order.key, tag=order.tag, collected=ended.id not in self._begun
        )

    def _late(self, why: str, log: tuple[str, ...]) -> BuildTimedOut:
        return BuildTimedOut(
            self._host.name,
            -1,
            log[-SHOWN:],
            message=f"the build was ended: {why}",
            hint="the inventory sets how long: `limits: {build: 6h, silence: 30m}`",
        )

    def cancel(self, key: str) -> None:
        """End the build of a key with every process of it, and the containers that test it."""
        self._detached.cancel(hex_of(key)[:32])
        self._trials.sweep(key)

    def builds(self) -> tuple[RemoteBuild, ...]:
        """The detached builds that are present on the host, in no order."""
        return tuple(_remote(order, execution) for _, order, execution in self._detached.all())

    # --- the host --------------------------------------------------------------------------

    def answer(self) -> None:
        """See that the host and its daemon answer. Raises what says that they do not."""
        asked = self._host.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], timeout=30.0, check=False
        )
        if asked.status != 0:
            said = asked.stderr.decode(errors="replace").strip()
            raise EngineDown(self._host.name, f"the Docker daemon does not answer: {said}")

    def reach(self, reference: Reference, credentials: Credentials | None) -> None:
        """See that the daemon reaches the registry of a reference. Raises PullFailed."""
        from fleet.engine import images

        images.reach(self._api, reference, credentials)

    def free(self) -> int:
        """The bytes that are free where the engine keeps its images, or where fleet does."""
        return self._detached.free(self._facts.engine.root_dir, str(self._state))

    def tidy(self) -> None:
        """Keep fleet's folder bounded: remove what was not used for two weeks, once per engine."""
        if self._untidy.acquire(blocking=False):
            self.make_room(_KEPT)

    def make_room(self, age: float) -> tuple[Leftover, ...]:
        """Remove builds with their images, and contexts, that were not used for so many seconds.

        Nothing goes that fleet has not made, that a job needs, or that was in use
        within the last hour. What is gone is given back.
        """
        from fleet.engine import pruning

        return pruning.make_room(self._detached, self._api, age)

    def prune(self, keep: Keep, *, dry_run: bool = False) -> PruneReport:
        """Remove all that builds have left and that is not to be kept, the build cache as well.

        The report tells sizes before and after; with ``dry_run``, what would go.
        """
        from fleet.engine import pruning

        return pruning.prune(
            self._detached,
            self._api,
            keep,
            root=self._facts.engine.root_dir,
            host=self._host.name,
            dry_run=dry_run,
        )

    # --- after a build --------------------------------------------------------------------

    def smoke(
        self,
        image: BuiltImage,
        platform: Platform,
        command: tuple[str, ...] | None,
        on_lines: OnLines,
        *,
        seconds: float = SMOKE_SECONDS,
    ) -> None:
        """See that an image is made for the platform, and that the command exits 0 in it.

        Without a command nothing of the image runs: its configuration and the
        executable that it names are read. Raises SmokeFailed.
        """
        self._trials.smoke(image, platform, command, on_lines, seconds)

    def push(
        self,
        image: BuiltImage,
        reference: Reference,
        credentials: Credentials | None,
        on_lines: OnLines,
    ) -> str:
        """Push an image under a tag; the manifest's digest, as the engine reports it.

        Raises PushFailed, which knows whether it may pass.
        """
        from fleet.engine import images

        return images.push(self._api, image.id, reference, credentials, on_lines)

    def run_image(
        self,
        reference: Reference,
        platform: Platform,
        command: tuple[str, ...],
        credentials: Credentials | None,
        *,
        seconds: float = SMOKE_SECONDS,
    ) -> str:
        """Pull a published image, run a command in it, and give what it printed.

        The image's entrypoint is left out. Raises PullFailed, and SmokeFailed
        where the command does not exit 0.
        """
        from fleet.engine import images

        images.pull(self._api, reference, platform, credentials)
        name = str(reference)
        try:
            lines: list[str] = []
            with self._trials.container(
                name, name, command=command[1:], entrypoint=command[:1]
            ) as container:
                status = self._trials.run(container, lines.append, seconds)
        finally:
            if images.tunnelled(reference):
                images.drop(self._api, name)
        if status != 0:
            raise SmokeFailed(
                self._host.name,
                f"{' '.join(command)!r} ended with status {status} in {name}: "
                + " ".join(lines[-3:]),
            )
        return "\n".join(lines)

    def arch_of(
        self, reference: Reference, platform: Platform, credentials: Credentials | None
    ) -> str:
        """What ``arch`` says in a published image. Raises what ``run_image`` raises."""
        return self.run_image(reference, platform, ("arch",), credentials)

    def close(self) -> None:
        """Let go of the connections to the daemon. Detached builds go on.

        The names that bases had by way of a tunnel go as well: no later tunnel has them.
        """
        self._cursors.clear()
        if self._passing:
            from fleet.engine import images

            for name in self._passing:
                # A host that is gone keeps a name too many; that is no reason to fail.
                with suppress(FleetError):
                    images.drop(self._api, name)
            self._passing.clear()
        if "_api" in self.__dict__:  # made at its first use, which imports the SDK
            self._api.close()


def _state_folder(host: Host, facts: HostFacts) -> PurePosixPath:
    """fleet's folder on the host, ``~`` replaced; a relative one is in the user's home."""
    home = PurePosixPath(facts.home)
    first, *rest = PurePosixPath(host.spec.state).parts or (".",)
    return home.joinpath(*rest) if first == "~" else home / host.spec.state


def _job(told: Mapping[str, str]) -> JobId:
    return JobId(image=told["image"], platform=Platform.parse(told["platform"]))


def _remote(order: str, execution: Execution) -> RemoteBuild:
    about = json.loads(order)
    return RemoteBuild(
        key=about["key"],
        job=_job(about["job"]),
        state=execution.state,
        status=execution.status,
        started=execution.since,
    )
