"""What builds leave on a real engine is removed, and what a running one needs is not."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.engine import BuildOrder, BuiltImage, Engine, State
from fleet.engine.detached import Left
from fleet.models import LABEL_INPUTS, HostFacts, Keep, LeftoverKind
from fleet.platforms import Platform
from fleet.recipes import write_tar
from fleet.references import Reference
from tests.heard import into
from tests.real.engine.localhost import PrefixedHost, until
from tests.real.engine.orders import context, order

pytestmark = pytest.mark.real

ALL = Keep(age=0)
Order = Callable[[str], BuildOrder]


@pytest.fixture
def ordered(engine: Engine, base: str, native: Platform, tmp_path: Path) -> Order:
    """An order whose context and base are on the host, as a job has it before it builds."""
    here = context(tmp_path / "context", greeting=tmp_path.name.encode())

    def make(dockerfile: str) -> BuildOrder:
        engine.sync(here)
        engine.pull(Reference.parse(base), native, None)
        made = order(dockerfile.replace("BASE", base), here, native)
        labels = (("architecture", native.library_name), *made.labels)
        return replace(made, labels=labels)

    return make


@pytest.fixture
def build(engine: Engine, ordered: Order) -> Callable[[str], BuiltImage]:
    return lambda dockerfile: engine.build(ordered(dockerfile), lambda line: None)


def age(host: PrefixedHost, days: int = 30) -> None:
    """Make fleet's folder look as if nothing in it had been used for so long."""
    folder = f"/root/{host.spec.state.rpartition('/')[2]}"
    host.run(["find", folder, "-exec", "touch", "-d", f"{days} days ago", "{}", "+"])


def images(host: PrefixedHost, name: str) -> list[str]:
    return host.run(["docker", "image", "ls", "-q", name]).text.split()


@pytest.fixture
def month_later(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on the engine takes images and cache for a month older than they are.

    Nothing else makes a real image old: the engine's own clock is the machine's.
    """
    left = engine._detached.left

    def later(*, sizes: bool) -> Left:
        seen = left(sizes=sizes)
        return replace(seen, now=seen.now + 30 * 86400)

    return lambda: monkeypatch.setattr(engine._detached, "left", later)


def test_old_images_contexts_and_cache_go_and_the_report_says_how_much(
    build: Callable[[str], BuiltImage],
    engine: Engine,
    month_later: Callable[[], None],
    host: PrefixedHost,
) -> None:
    image = build("FROM BASE\nCOPY greeting /\nRUN seq 1 300000 > /numbers\n")
    host.run(["docker", "tag", image.id, "registry.example.org/hello:latest-amd64"])
    age(host)
    month_later()
    would = engine.prune(Keep(age=86400), dry_run=True)
    assert image.tag in [it.name for it in would.gone]
    assert would.after is None
    assert images(host, image.tag)  # nothing was touched
    done = engine.prune(Keep(age=86400))
    assert {it.kind for it in done.gone} >= {LeftoverKind.IMAGE, LeftoverKind.CONTEXT}
    assert host.run(["docker", "image", "inspect", image.id], check=False).status != 0
    assert done.before is not None
    assert done.after is not None
    assert done.after.images < done.before.images
    assert done.after.folder < done.before.folder
    assert engine.prune(Keep(size=10**12)).gone == ()
    emptied = engine.prune(ALL)
    assert emptied.after is not None
    assert emptied.after.cache == 0
    assert any(it.kind is LeftoverKind.CACHE and it.size > 1_000_000 for it in emptied.gone)


def test_an_image_that_is_held_by_digest_alone_goes_as_well(
    build: Callable[[str], BuiltImage],
    engine: Engine,
    month_later: Callable[[], None],
    host: PrefixedHost,
) -> None:
    image = build("FROM BASE\nRUN echo pushed > /pushed\n")
    pushed = "127.0.0.1:5000/some/pruned:latest-x"
    host.run(["docker", "tag", image.id, pushed])
    host.run(["docker", "push", pushed])
    digest = json.loads(host.run(["docker", "image", "inspect", image.id]).stdout)[0]["RepoDigests"]
    host.run(["docker", "image", "rm", pushed, image.tag])
    host.run(["docker", "pull", *digest])
    host.run(["docker", "image", "inspect", image.id])
    age(host)
    month_later()
    engine.prune(Keep(age=86400))
    assert host.run(["docker", "image", "inspect", image.id], check=False).status != 0


def test_what_is_not_fleets_or_is_run_or_was_just_used_stays(
    build: Callable[[str], BuiltImage],
    engine: Engine,
    base: str,
    host: PrefixedHost,
    facts: HostFacts,
    month_later: Callable[[], None],
) -> None:
    mine = build("FROM BASE\nRUN echo mine > /mine\n")
    host.run(["docker", "tag", mine.id, "mine:prod"])
    run = build("FROM BASE\nRUN echo run > /run-of-it\n")
    name = host.run(["docker", "create", run.tag, "true"]).text
    theirs = host.run(
        ["docker", "build", "-q", "-t", "theirs", "-"], stdin=b"FROM scratch\nLABEL a=b\n"
    )
    fresh = build("FROM BASE\nRUN echo fresh > /fresh\n")
    engine.prune(ALL)  # nothing of it is older than an hour
    assert images(host, fresh.tag)
    month_later()
    age(host)
    engine.prune(Keep(count=0))
    for kept in ("mine:prod", run.id, theirs.text.split()[-1]):
        host.run(["docker", "image", "inspect", kept])
    assert not images(host, fresh.tag)
    host.run(["docker", "rm", name])
    host.run(["docker", "image", "rm", "mine:prod", "theirs"])


def test_a_running_build_of_another_controller_loses_nothing(
    ordered: Order,
    engine: Engine,
    host: PrefixedHost,
    facts: HostFacts,
    base: str,
    native: Platform,
    month_later: Callable[[], None],
) -> None:
    parent = engine.build(ordered("FROM BASE\nRUN echo parent > /parent\n"), lambda line: None)
    name = "127.0.0.1:5000/some/parent:latest-x"
    host.run(["docker", "tag", parent.id, name])
    host.run(["docker", "push", name])
    (digest,) = json.loads(host.run(["docker", "image", "inspect", parent.id]).stdout)[0][
        "RepoDigests"
    ]
    engine.pull(Reference.parse(digest), native, None)
    text = (
        f"FROM {digest}\nRUN echo one && cat /proc/sys/kernel/random/uuid > /one\n"
        "RUN echo waiting && sleep 30\n"
        "COPY greeting /\nRUN cat /greeting /one /parent\n"
    )
    child = ordered(text)
    assert host.spec.slots == 1  # the second build waits for it, and stands on the same parent
    lines: list[str] = []
    results: dict[str, BuiltImage] = {}
    other = Engine(host, facts, write_tar=write_tar)
    second = ordered(f"FROM {digest}\nCOPY greeting /second\n")

    def follow(which: BuildOrder, label: str) -> None:
        results[label] = other.build(which, into(lines))

    threads = [threading.Thread(target=follow, args=(child, "child"))]
    threads[0].start()
    until(lambda: any("waiting" in line and "RUN" not in line for line in lines))
    threads.append(threading.Thread(target=follow, args=(second, "second")))
    threads[1].start()
    until(lambda: any("builds of other runs" in line for line in lines))
    age(host)
    month_later()
    assert engine.prune(Keep(count=0)).after is not None
    assert {build.state for build in engine.builds()} >= {State.RUNNING}
    host.run(["docker", "image", "inspect", digest])
    for thread in threads:
        thread.join()
    other.close()
    assert set(results) == {"child", "second"}
    assert not any("CACHED" in line and "echo one" in line for line in lines)
    for image in results.values():
        host.run(["docker", "image", "inspect", image.id])
    label = f"label={LABEL_INPUTS}={child.key}"
    assert host.run(["docker", "image", "ls", "-q", "-f", label]).text.split()
