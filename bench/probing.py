"""Asking a hundred hosts what they are, beside tools that only ask whether they are there.

`fleet hosts` learns a host's engine, builder, disk, memory and clock, and proves what it
executes; the others run `true` or its like. All of them check host keys. The engine is
a stub that answers at once, as all hosts share this machine: what it says is that of a
real one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench import peers, stubs
from bench.loopback import Farm, farm
from bench.measure import Act, Measure, Pair

HOSTS = 100


def measures() -> tuple[Measure, ...]:
    """`fleet hosts` beside ansible, pyinfra and pssh."""
    others: dict[str, tuple[str, Callable[[Farm], Act]]] = {
        "pssh": ("Debian's `parallel-ssh -p 50 true`", pssh),
        "ansible": ("`ansible -m ping`, 50 forks", ansible),
        "pyinfra": ("`pyinfra exec -- true`", pyinfra),
    }
    return tuple(
        Measure(
            name=f"probe-{name}",
            what=f"probing {HOSTS} hosts (one machine, one sshd, {HOSTS} addresses)",
            against=against,
            aim=1.0,
            limit=4.0,
            runs=2,
            warm=0,
            opened=_opened(act),
        )
        for name, (against, act) in others.items()
    ) + tuple(
        Measure(
            name=f"probe-memory-{count}",
            what=f"the controller's memory at its peak, with connections to {count} hosts",
            aim=300.0,
            unit="MB",
            runs=1,
            warm=0,
            opened=_peak(count),
        )
        for count in (1, HOSTS, 5 * HOSTS)
    )


def _peak(count: int) -> Callable[[], AbstractContextManager[Pair]]:
    @contextmanager
    def opened() -> Iterator[Pair]:
        with stubs.engine() as path, farm(count, path=str(path)) as hosts:
            argv = _hosts(hosts)

            def act() -> float:
                environment = {**os.environ, "XDG_STATE_HOME": str(hosts.folder / "state")}
                process = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL)
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                assert process.returncode == 0, "every host answers"
                return used.ru_maxrss / 1000

            yield act, None

    return opened


def _opened(other: Callable[[Farm], Act]) -> Callable[[], AbstractContextManager[Pair]]:
    @contextmanager
    def opened() -> Iterator[Pair]:
        with stubs.engine() as path, farm(HOSTS, path=str(path)) as hosts:
            yield fleet(hosts), other(hosts)

    return opened


def _hosts(hosts: Farm) -> list[str]:
    """`fleet hosts`, and the inventory that it needs."""
    inventory = hosts.folder / "inventory.yml"
    lines = "".join(
        f"  h{number}: {{address: {address}}}\n" for number, address in enumerate(hosts.addresses)
    )
    inventory.write_text(
        f"registry: registry.example.org\nssh_config: {hosts.config}\nhosts:\n{lines}"
    )
    (hosts.folder / "dockerfiles" / "image").mkdir(parents=True)
    (hosts.folder / "dockerfiles" / "image" / "Dockerfile").write_text("FROM scratch\n")
    return [sys.executable, "-m", "fleet", "hosts", "--json", "--inventory", str(inventory)]


def fleet(hosts: Farm) -> Act:
    """`fleet hosts`."""
    argv = _hosts(hosts)

    def act() -> None:
        reports = json.loads(_run(argv, hosts.folder))
        missing = [report for report in reports if report["facts"] is None]
        assert len(reports) == len(hosts.addresses), "every host is told of"
        assert not missing, f"{len(missing)} hosts did not answer: {missing[0]['error']}"

    return act


def pssh(hosts: Farm) -> Act:
    """Debian's pssh, which runs an ssh for each host."""
    path = peers.from_debian("pssh", "usr/bin/parallel-ssh")
    names = hosts.folder / "names"
    names.write_text("".join(f"{address}\n" for address in hosts.addresses))
    argv = ["-h", str(names), "-p", "50", "-x", f"-F {hosts.config}", "-t", "60", "true"]
    modules = peers.from_debian("python3-psshlib", "usr/lib/python3/dist-packages")

    def act() -> None:
        said = _run([sys.executable, str(path), *argv], hosts.folder, {"PYTHONPATH": str(modules)})
        assert said.count("[SUCCESS]") == len(hosts.addresses), said

    return act


def ansible(hosts: Farm) -> Act:
    """`ansible -m ping` with 50 forks."""
    names = hosts.folder / "ansible.ini"
    python = "ansible_python_interpreter=/usr/bin/python3"
    names.write_text("".join(f"{address} {python}\n" for address in hosts.addresses))
    argv = [peers.from_pypi("ansible"), "-i", str(names), "-m", "ping", "-f", "50", "all"]
    environment = {
        "ANSIBLE_SSH_ARGS": f"-F {hosts.config} -o ControlMaster=no",
        "ANSIBLE_LOCAL_TEMP": str(hosts.folder / "ansible-local"),
        "ANSIBLE_REMOTE_TEMP": str(hosts.folder / "ansible-remote"),
    }

    def act() -> None:
        said = _run(argv, hosts.folder, environment)
        assert said.count("SUCCESS") == len(hosts.addresses), said

    return act


def pyinfra(hosts: Farm) -> Act:
    """`pyinfra exec`."""
    names = hosts.folder / "names.py"
    data = {"ssh_config_file": str(hosts.config), "ssh_known_hosts_file": str(hosts.known_hosts)}
    names.write_text(f"hosts = {[(address, data) for address in hosts.addresses]!r}\n")
    argv = [peers.from_pypi("pyinfra"), "-y", str(names), "exec", "--", "true"]

    def act() -> None:
        _run(argv, hosts.folder)  # it ends otherwise than well where a host fails

    return act


def _run(argv: list[str], folder: Path, more: dict[str, str] | None = None) -> str:
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), **(more or {})}
    done = subprocess.run(
        argv, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout)[-500:]
        raise RuntimeError(f"{Path(argv[0]).name} ended with {done.returncode}: {said}")
    return done.stdout
