"""A build context on its way to a host, against tar through OpenSSH's client.

Every act begins with a context that nobody has seen, so that nothing is remembered where
nothing should be; the connection of fleet is open, as it is in a run after probing, and
ssh's is not. Both leave the files unpacked on the host: `tar | ssh tar x` gives the same
result, and `tar | ssh cat` one file of it. What is left on the host stays until the end:
ext4 takes several times as long for files where as many have just been removed.
"""

from __future__ import annotations

import itertools
import os
import random
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from bench.loopback import Farm, farm
from bench.measure import Measure, Pair
from fleet.engine.script import HostScript
from fleet.engine.syncing import Syncing
from fleet.hosts import connect
from fleet.models import HostSpec
from fleet.recipes import context, write_tar
from fleet.record.contexts import ContextMemory

_WORD = b"the quick brown fox jumps over the lazy dog\n"


def measures() -> tuple[Measure, ...]:
    """Large and small files; for the first time, and after a change of one."""
    unpacked, packed = "`tar | ssh tar x`", "`tar | ssh cat`"
    rows = (
        ("large", "context of 200 MB, digest and sync, first time", unpacked, 1.0),
        ("large-cat", "context of 200 MB, digest and sync, first time", packed, 1.0),
        ("changed", "context of 200 MB, one small file changed", unpacked, 0.1),
        ("small", "context of 20,000 small files, digest and sync", unpacked, 0.7),
        ("second", "context of 20,000 small files, sync to a second host", unpacked, 0.7),
        ("small-changed", "context of 20,000 small files, one changed", unpacked, None),
    )
    return tuple(
        Measure(
            name=f"sync-{name}",
            what=what,
            against=against,
            aim=aim,
            runs=5,
            opened=partial(opened, name),
        )
        for name, what, against, aim in rows
    )


@contextmanager
def opened(name: str) -> Iterator[Pair]:
    """One host, a folder, and two ways to bring it there."""
    with farm(1) as hosts:
        root, turn = hosts.folder / "context", itertools.count()
        _fill(root, small="small" in name or name == "second")
        spec = HostSpec(name="h", address=hosts.addresses[0], state=str(hosts.folder / "on-host"))
        host = connect(spec, ssh_config=hosts.config)
        memory, digests = ContextMemory(hosts.folder / "known"), hosts.folder / "digests"
        one_file = root / "d0" / "f0"

        def syncing(state: Path) -> Syncing:
            script = HostScript(host, PurePosixPath(state))
            script.run("check")  # as every run does before its first context
            return Syncing(host, script, write_tar, memory)

        # A host of its own for every first time, made before the clock starts.
        fresh = [syncing(hosts.folder / f"on-host-{n}") for n in range(20)]

        def fleet() -> None:
            number = next(turn)
            later = "changed" in name
            if later:
                one_file.write_bytes(b"%d\n" % number)
            made = context(root, root / "Dockerfile", digests if later else warm)
            memory.remember(made)
            assert fresh[0 if later else number].sync(made) > 0

        warm = digests if name == "second" else None
        if "changed" in name or warm:
            # The digests of files that have just been made are not remembered.
            time.sleep(2.1)
            made = context(root, root / "Dockerfile", digests)
            memory.remember(made)
            if not warm:
                fresh[0].sync(made)
        try:
            yield fleet, partial(_by_ssh, hosts, root, turn, unpack="cat" not in name)
        finally:
            host.close()


def _by_ssh(hosts: Farm, root: Path, turn: Iterator[int], *, unpack: bool) -> None:
    into = shlex.quote(str(hosts.folder / f"by-ssh-{next(turn)}"))
    there = f"mkdir {into} && tar xf - -C {into}" if unpack else f"cat >{into}"
    ssh = ["ssh", "-F", str(hosts.config), hosts.addresses[0], there]
    with subprocess.Popen(["tar", "cf", "-", "-C", str(root), "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(ssh, stdin=tar.stdout, check=True)
    assert tar.returncode == 0


def _fill(root: Path, *, small: bool) -> None:
    """20,000 files of a KB or so; or 200 MB, half of it incompressible."""
    chance = random.Random(1)
    for number in range(200 if small else 10):
        folder = root / f"d{number}"
        folder.mkdir(parents=True)
        for other in range(100 if small else 10):
            if small:
                content = _WORD * chance.randint(1, 40)
            elif other % 2:
                content = os.urandom(2_000_000)
            else:
                content = b"".join(
                    b"%d %s" % (chance.getrandbits(30), _WORD) for _ in range(37_000)
                )
            (folder / f"f{other}").write_bytes(content)
