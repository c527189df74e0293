"""An order becomes an image on a real engine, is tested there, and reaches a real registry."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.engine import BuiltImage, Engine, State
from fleet.errors import (
    BuildCancelled,
    BuildFailed,
    ConnectionLost,
    EngineDown,
    FleetError,
    PullFailed,
    PushFailed,
    SmokeFailed,
)
from fleet.models import LABEL_INPUTS, Credentials, HostFacts
from fleet.platforms import Platform
from fleet.recipes import write_tar
from fleet.references import Reference
from tests.heard import into
from tests.real.engine.localhost import PrefixedHost, until
from tests.real.engine.machine import PASSWORD, USER, Machine
from tests.real.engine.orders import context, order

pytestmark = pytest.mark.real

Build = Callable[[str], BuiltImage]


@pytest.fixture
def build(engine: Engine, base: str, native: Platform, tmp_path: Path) -> Build:
    """Sync, pull and build a Dockerfile; ``BASE`` stands for the base image by digest."""
    here = context(tmp_path / "context", greeting=b"hello\n")

    def run(dockerfile: str) -> BuiltImage:
        engine.pull(Reference.parse(base), native, None)
        engine.sync(here)
        text = dockerfile.replace("BASE", base)
        return engine.build(order(text, here, native), lambda line: None)

    return run


def elsewhere(machine: int = 183) -> bytes:
    """The header of an executable for another machine of elf.h: arm64, unless told otherwise."""
    return (
        b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + machine.to_bytes(2, "little") + bytes(44)
    )


# --- contexts -----------------------------------------------------------------------------


def test_a_context_is_sent_once(engine: Engine, tmp_path: Path) -> None:
    here = context(tmp_path / "context", one=b"1", two=b"2" * 1_000_000)
    assert engine.sync(here)
    assert not engine.sync(here)


def test_a_context_whose_sending_was_cut_off_is_not_there(
    host: PrefixedHost, facts: HostFacts, tmp_path: Path
) -> None:
    def cut(*_: object, **__: object) -> None:
        host.streams[-1].cut()
        raise ConnectionLost("here", "cut")

    here = context(tmp_path / "context", one=b"1")
    with pytest.raises(ConnectionLost):
        Engine(host, facts, write_tar=cut).sync(here)
    assert Engine(host, facts, write_tar=write_tar).sync(here)


# --- builds -------------------------------------------------------------------------------


def test_a_build_gives_the_image_that_the_engine_has(
    build: Build, host: PrefixedHost, native: Platform
) -> None:
    image = build("FROM BASE\nCOPY greeting /\nRUN cat /greeting && arch > /arch\n")
    about = json.loads(host.run(["docker", "image", "inspect", image.id]).stdout)[0]
    assert about["Architecture"] == native.architecture
    assert about["Config"]["Labels"][LABEL_INPUTS] == image.key
    assert image.tag in about["RepoTags"]


def test_the_log_of_a_build_arrives(
    engine: Engine, build: Build, base: str, native: Platform, tmp_path: Path
) -> None:
    build("FROM BASE\n")
    lines: list[str] = []
    here = context(tmp_path / "context", greeting=b"hello\n")
    text = f"FROM {base}\nRUN echo from within {tmp_path.name}\n"
    engine.build(order(text, here, native), into(lines))
    assert any(line.endswith(f"from within {tmp_path.name}") for line in lines)


def test_a_finished_build_is_collected_and_not_repeated(build: Build, engine: Engine) -> None:
    text = "FROM BASE\nRUN echo once\n"
    image = build(text)
    started = [b.started for b in engine.builds()]
    assert build(text) == image
    assert [b.started for b in engine.builds()] == started


def test_a_finished_build_whose_image_is_gone_is_built_again(
    build: Build, host: PrefixedHost
) -> None:
    text = "FROM BASE\nRUN echo twice\n"
    image = build(text)
    host.run(["docker", "image", "rm", image.tag])
    again = build(text)
    host.run(["docker", "image", "inspect", again.id])


def test_building_anew_leaves_no_image_without_a_name(
    engine: Engine,
    later: Engine,
    host: PrefixedHost,
    build: Build,
    base: str,
    native: Platform,
    tmp_path: Path,
) -> None:
    build("FROM BASE\n")
    here = context(tmp_path / "context", greeting=b"hello\n")
    text = f"FROM {base}\nRUN cat /proc/sys/kernel/random/uuid > /x\n"
    it = replace(order(text, here, native), no_cache=True)
    first = engine.build(it, lambda line: None)
    second = later.build(it, lambda line: None, attach=False)
    assert first.id != second.id
    mine = ["docker", "image", "ls", "-q", "--no-trunc", "-f", f"label={LABEL_INPUTS}={it.key}"]
    assert host.run(mine).text == second.id


def test_a_failing_build_says_its_last_twenty_lines(build: Build) -> None:
    with pytest.raises(BuildFailed) as caught:
        build("FROM BASE\nRUN seq 100 && ln\n")
    assert caught.value.status != 0
    assert len(caught.value.tail) == 20
    assert "RUN seq 100" in "\n".join(caught.value.tail)


def test_arguments_target_and_labels_reach_the_build(
    engine: Engine, host: PrefixedHost, build: Build, base: str, native: Platform, tmp_path: Path
) -> None:
    build("FROM BASE\n")
    here = context(tmp_path / "context", greeting=b"hello\n")
    text = f"FROM {base} AS one\nARG WORD\nLABEL said=$WORD\nFROM {base}\nRUN ln\n"
    it = replace(
        order(text, here, native),
        target="one",
        build_args=(("WORD", "it's $HOME"),),
        labels=(("org.example", "a b\"c'"),),
    )
    image = engine.build(it, lambda line: None)
    about = json.loads(host.run(["docker", "image", "inspect", image.id]).stdout)[0]
    assert about["Config"]["Labels"] == {"said": "it's $HOME", "org.example": "a b\"c'"}


def test_cancelling_a_build_leaves_no_process_of_it(
    engine: Engine, host: PrefixedHost, build: Build, base: str, native: Platform, tmp_path: Path
) -> None:
    build("FROM BASE\n")
    here = context(tmp_path / "context", greeting=b"hello\n")
    it = order(f"FROM {base}\nRUN echo begun && sleep 98765\n", here, native)
    lines: list[str] = []
    errors: list[FleetError] = []

    def follow() -> None:
        try:
            engine.build(it, into(lines))
        except FleetError as error:
            errors.append(error)

    follower = threading.Thread(target=follow)
    follower.start()
    until(lambda: any(line.endswith("begun") for line in lines))
    engine.cancel(it.key)
    follower.join(60)
    assert [type(error) for error in errors] == [BuildCancelled]
    assert "cancelled" in errors[0].message
    processes = "ps -A -o args | grep -v grep | grep -e 98765 -e 'docker build' -e buildx"
    until(lambda: host.run(["sh", "-c", processes], check=False).text == "")
    assert [b.state for b in engine.builds() if b.key == it.key] == [State.CANCELLED]


def test_a_build_whose_connection_is_lost_goes_on_and_is_heard_to_its_end(
    engine: Engine, host: PrefixedHost, build: Build, base: str, native: Platform, tmp_path: Path
) -> None:
    build("FROM BASE\n")
    here = context(tmp_path / "context", greeting=b"hello\n")
    text = f"FROM {base}\nRUN for i in $(seq 20); do echo line $i; sleep 0.2; done\n"
    it = order(text, here, native)
    lines: list[str] = []

    def cut_three_times(text: str) -> None:
        lines.extend(text.split("\n"))
        if re.search(r" line (3|9|15)$", text, re.MULTILINE):
            host.streams[-1].cut()

    losses = 0
    image = None
    while image is None:
        try:
            image = engine.build(it, cut_three_times)
        except ConnectionLost:
            losses += 1
    assert losses >= 1  # lines that had arrived before a cut are heard all the same
    log = host.run(["cat", f"{host.spec.state}/builds/{it.name}/log"]).stdout
    assert lines == log.decode().splitlines()
    assert [line.split()[-1] for line in lines if " line " in line][-20:] == [
        str(n) for n in range(1, 21)
    ]


# --- smoke --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "",
        'CMD ["sleep", "1"]',
        "CMD sleep 1",
        'ENTRYPOINT ["/bin/env", "-i", "A=b", "sleep"]',
        'COPY --chmod=755 greeting /run\nENTRYPOINT ["/run"]',
    ],
    ids=["none", "exec form", "shell form", "starter", "script"],
)
def test_an_image_whose_executable_is_of_its_platform_passes(
    command: str, engine: Engine, base: str, native: Platform, tmp_path: Path
) -> None:
    engine.pull(Reference.parse(base), native, None)
    here = context(tmp_path / "context", greeting=b"#!/bin/sh\nexec sleep 1\n")
    engine.sync(here)
    command = command.replace("--chmod=755 ", "")
    image = engine.build(order(f"FROM {base}\n{command}\n", here, native), lambda line: None)
    lines: list[str] = []
    engine.smoke(image, native, None, into(lines))
    assert lines[-1].endswith(f"made for {native}")


def test_a_foreign_executable_is_found_and_named(
    engine: Engine, base: str, native: Platform, tmp_path: Path
) -> None:
    engine.pull(Reference.parse(base), native, None)
    here = context(
        tmp_path / "context", hello=elsewhere(183 if native.architecture != "arm64" else 62)
    )
    engine.sync(here)
    text = f'FROM {base}\nCOPY hello /opt/hello\nRUN ln -s ../opt/hello /bin/hi\nCMD ["hi"]\n'
    image = engine.build(order(text, here, native), lambda line: None)
    with pytest.raises(SmokeFailed, match=f"hi is an executable for linux/.*, not {native}"):
        engine.smoke(image, native, None, lambda line: None)


def test_a_static_executable_without_a_shell_passes_and_data_alone_says_so(
    engine: Engine, base: str, native: Platform, tmp_path: Path
) -> None:
    engine.pull(Reference.parse(base), native, None)
    here = context(tmp_path / "context", data=b"1")
    engine.sync(here)
    text = f'FROM scratch\nCOPY --from={base} /bin/busybox /busybox\nCMD ["/busybox", "arch"]\n'
    image = engine.build(order(text, here, native), lambda line: None)
    engine.smoke(image, native, None, lambda line: None)
    engine.smoke(image, native, ("/busybox", "arch"), lambda line: None)

    lines: list[str] = []
    image = engine.build(order("FROM scratch\nCOPY data /\n", here, native), lambda line: None)
    engine.smoke(image, native, None, into(lines))
    assert "nothing to run" in lines[-1]


def test_a_command_that_is_not_there_is_named(
    build: Build, engine: Engine, native: Platform
) -> None:
    image = build('FROM BASE\nCMD ["orthanc", "/etc"]\n')
    with pytest.raises(SmokeFailed, match="'orthanc', and there is no such file"):
        engine.smoke(image, native, None, lambda line: None)


def test_an_image_for_another_platform_is_refused(build: Build, engine: Engine) -> None:
    other = Platform.parse("linux/s390x")
    with pytest.raises(SmokeFailed, match=r"it is for linux/.*, not linux/s390x"):
        engine.smoke(build("FROM BASE\n"), other, None, lambda line: None)


def test_the_command_runs_its_output_arrives_and_no_container_stays(
    build: Build, engine: Engine, host: PrefixedHost, native: Platform
) -> None:
    image = build("FROM BASE\n")
    lines: list[str] = []
    engine.smoke(image, native, ("sh", "-c", "echo out; echo err >&2; printf end"), into(lines))
    assert set(lines[1:]) == {"out", "err", "end"}
    with pytest.raises(SmokeFailed, match="ended with status 7"):
        engine.smoke(image, native, ("sh", "-c", "exit 7"), into(lines))
    with pytest.raises(SmokeFailed, match=r"cannot be started: .*nowhere"):
        engine.smoke(image, native, ("nowhere",), into(lines))
    with pytest.raises(SmokeFailed, match="did not end within 2 seconds"):
        engine.smoke(image, native, ("sleep", "600"), into(lines), seconds=2)
    assert host.run(["docker", "ps", "-aq"]).text == ""


def test_a_container_that_a_lost_connection_left_behind_is_removed_by_the_next(
    build: Build, engine: Engine, host: PrefixedHost, native: Platform
) -> None:
    image = build("FROM BASE\n")

    def cut(text: str) -> None:
        if "running" in text.split("\n"):
            host.prefix, prefix[:] = ("false",), host.prefix  # nothing gets through any more
            host.streams[-1].cut()

    prefix: list[str] = []
    with pytest.raises(FleetError):
        engine.smoke(image, native, ("sh", "-c", "echo running; sleep 600"), cut)
    host.prefix = tuple(prefix)
    assert host.run(["docker", "ps", "-q"]).text != ""
    engine.smoke(image, native, ("arch",), cut)
    assert host.run(["docker", "ps", "-aq"]).text == ""


# --- pull and push ------------------------------------------------------------------------


def test_the_digest_of_a_push_is_the_registry_s(
    build: Build, engine: Engine, machine: Machine, host: PrefixedHost
) -> None:
    image = build("FROM BASE\nRUN echo pushed\n")
    lines: list[str] = []
    target = Reference.parse("127.0.0.1:5000/some/hello:latest-x")
    digest = engine.push(image, target, None, into(lines))
    assert digest == machine.digest_in_registry("open", "some/hello", "latest-x")
    assert any("Pushed" in line or "exists" in line for line in lines)
    # The tunnel's name is gone, fleet's own stays.
    names = json.loads(host.run(["docker", "image", "inspect", image.id]).stdout)[0]["RepoTags"]
    assert names == [image.tag]


def test_credentials_travel_with_the_request_and_stay_nowhere(
    build: Build, engine: Engine, machine: Machine, host: PrefixedHost
) -> None:
    image = build("FROM BASE\nRUN echo private\n")
    target = Reference.parse("127.0.0.1:5001/private/hello:1")
    good = Credentials(username=USER, password=PASSWORD)
    digest = engine.push(image, target, good, lambda line: None)
    assert digest == machine.digest_in_registry("closed", "private/hello", "1")
    found = host.run(["grep", "-rl", PASSWORD, "/root", "/var/lib/docker/image"], check=False)
    assert found.text == ""


@pytest.mark.parametrize("password", ["not-the-password", ""], ids=["wrong", "none"])
def test_a_refused_push_is_final_and_says_nothing_secret(
    password: str, build: Build, engine: Engine
) -> None:
    image = build("FROM BASE\nRUN echo private\n")
    target = Reference.parse("127.0.0.1:5001/private/refused:1")
    credentials = Credentials(username=USER, password=password) if password else None
    with pytest.raises(PushFailed) as caught:
        engine.push(image, target, credentials, lambda line: None)
    assert not caught.value.transient
    assert "127.0.0.1:5001/private/refused:1" in caught.value.message
    assert not password or password not in repr(caught.value.__dict__) + str(caught.value)


def test_a_registry_that_is_not_there_may_be_there_later(build: Build, engine: Engine) -> None:
    target = Reference.parse("127.0.0.1:9/hello:1")
    with pytest.raises(PushFailed) as caught:
        engine.push(build("FROM BASE\n"), target, None, lambda line: None)
    assert caught.value.transient


def test_a_private_base_is_pulled_with_the_request_s_credentials(
    build: Build, engine: Engine, native: Platform
) -> None:
    good = Credentials(username=USER, password=PASSWORD)
    name = Reference.parse("127.0.0.1:5001/private/base:1")
    digest = engine.push(build("FROM BASE\nRUN echo base\n"), name, good, lambda line: None)
    with pytest.raises(PullFailed) as caught:
        engine.pull(name.pinned(digest), native, None)
    assert not caught.value.transient
    engine.pull(name.pinned(digest), native, good)


def test_a_base_for_another_platform_is_refused(
    engine: Engine, base: str, native: Platform
) -> None:
    engine.pull(Reference.parse(base), native, None)
    with pytest.raises(PullFailed, match=f"is an image for {native}, not linux/s390x"):
        engine.pull(Reference.parse(base), Platform.parse("linux/s390x"), None)


def test_a_published_image_runs_under_its_tag(
    build: Build, engine: Engine, host: PrefixedHost, native: Platform
) -> None:
    name = Reference.parse("127.0.0.1:5000/published:1")
    engine.push(build('FROM BASE\nENTRYPOINT ["sleep"]\n'), name, None, lambda line: None)
    assert engine.arch_of(name, native, None) == host.run(["uname", "-m"]).text
    assert "published" not in host.run(["docker", "image", "ls"]).text


# --- trouble ------------------------------------------------------------------------------


def test_a_daemon_that_is_not_there_is_named(
    machine: Machine, facts: HostFacts, base: str, native: Platform
) -> None:
    host = machine.host()
    host = PrefixedHost(host.name, *host.prefix, "DOCKER_HOST=unix:///nowhere.sock")
    with pytest.raises(EngineDown, match=r"does not answer: .*nowhere\.sock"):
        Engine(host, facts, write_tar=write_tar).pull(Reference.parse(base), native, None)
