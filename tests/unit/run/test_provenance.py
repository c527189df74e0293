"""Where a run's sources come from, without what is secret about it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import ExitCode, UsageError
from fleet.run.provenance import Provenance, moment_of, public_address, source_of

Git = Callable[..., str]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of no repository, and no word of one in the environment."""
    for name in [*os.environ]:
        if name.startswith("GIT_"):  # set where the tests run within a git hook
            monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return tmp_path


@pytest.fixture
def git(outside: Path) -> Git:
    def run(*arguments: str) -> str:
        who = ["-c", "user.name=tests", "-c", "user.email=tests@example.org"]
        done = subprocess.run(
            ["git", "-C", outside, *who, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    run("init", "--quiet")
    (outside / "inventory.yml").write_text("hosts: {}\n")
    run("add", ".")
    run("commit", "--quiet", "-m", "all")
    return run


def test_the_revision_is_that_of_the_working_tree(outside: Path, git: Git) -> None:
    assert Provenance.of(outside).revision == git("rev-parse", "HEAD")


def test_a_changed_or_new_file_makes_it_dirty(outside: Path, git: Git) -> None:
    (outside / "new").write_text("")
    assert Provenance.of(outside).revision == git("rev-parse", "HEAD") + "-dirty"


def test_changes_elsewhere_in_the_repository_do_not_count(outside: Path, git: Git) -> None:
    (outside / "images").mkdir()
    (outside / "images" / "Dockerfile").write_text("FROM scratch\n")
    git("add", ".")
    git("commit", "--quiet", "-m", "images")
    (outside / "inventory.yml").write_text("changed\n")
    assert Provenance.of(outside / "images").revision == git("rev-parse", "HEAD")


def test_a_repository_without_a_commit_has_no_revision(outside: Path) -> None:
    subprocess.run(["git", "init", "--quiet", outside], check=True)
    assert Provenance.of(outside).revision is None


def test_the_source_is_the_remotes_address_without_credentials(outside: Path, git: Git) -> None:
    git("remote", "add", "origin", "https://someone:hunter2@git.example.org/team/images.git")
    provenance = Provenance.of(outside)
    assert provenance.source == "https://git.example.org/team/images.git"
    assert "hunter2" not in repr(provenance)


def test_a_folder_that_is_no_working_tree_has_neither(outside: Path) -> None:
    provenance = Provenance.of(outside)
    assert (provenance.revision, provenance.source) == (None, None)


def test_without_git_there_is_neither(
    outside: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    provenance = Provenance.of(outside)
    assert (provenance.revision, provenance.source) == (None, None)


@pytest.mark.parametrize(
    ("remote", "public"),
    [
        ("https://git.example.org/a/b.git", "https://git.example.org/a/b.git"),
        ("https://token@git.example.org:8443/a", "https://git.example.org:8443/a"),
        ("https://me:p@ss@git.example.org/a", "https://git.example.org/a"),
        ("https://git.example.org/@scope/a", "https://git.example.org/@scope/a"),
        ("https://git.example.org/a?private_token=x#y", "https://git.example.org/a"),
        ("ssh://git@git.example.org:22/a", "ssh://git.example.org:22/a"),
        ("git+ssh://me:x@git.example.org/a", "git+ssh://git.example.org/a"),
        ("git@git.example.org:team/a.git", "git@git.example.org:team/a.git"),
        ("me:x@git.example.org:team/a.git", None),
        ("file:///srv/git/a", None),
        ("/srv/git/a", None),
        ("../a", None),
        ("./with:colon", None),
        ("https://[broken", None),
        ("", None),
    ],
)
def test_an_address_is_published_without_its_secrets(remote: str, public: str | None) -> None:
    assert public_address(remote) == public


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/?#")))
def test_no_password_survives(password: str) -> None:
    public = public_address(f"https://me:secret{password}@git.example.org/a")
    assert public in ("https://git.example.org/a", None)


# --- the moment of creation ---------------------------------------------------------------


def test_the_moment_of_creation_is_now(outside: Path) -> None:
    before = time.time()
    assert before <= Provenance.of(outside).created <= time.time()


def test_source_date_epoch_stands_for_the_moment_of_creation(
    outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert Provenance.of(outside).created == 1_700_000_000.0


@pytest.mark.parametrize("text", ["yesterday", "-1", "1.5", "²", "1" * 5000, "253402300800"])
def test_a_source_date_epoch_that_is_no_date_is_a_usage_error(
    outside: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH") as caught:
        Provenance.of(outside)
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.hint


# --- what tags leave open -----------------------------------------------------------------


def test_a_tag_names_the_day_and_the_commit(
    git: Git, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git("init", "-q")
    (outside / "file").write_text("one")
    git("add", "file")
    git("commit", "-qm", "one")
    commit = git("rev-parse", "HEAD")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert moment_of(outside, ["latest", "{date}-{git_sha}"]) == {
        "date": "20231114",
        "git_sha": commit[:12],
    }
    (outside / "file").write_text("two")
    assert moment_of(outside, ["{git_sha}"])["git_sha"] == f"{commit[:12]}-dirty"


def test_tags_that_leave_neither_open_ask_nobody(outside: Path) -> None:
    assert moment_of(outside, ["latest", "{version}"]) == {}


def test_a_commit_where_there_is_none_is_a_usage_error(outside: Path) -> None:
    assert set(moment_of(outside, ["{date}"])) == {"date", "git_sha"}
    with pytest.raises(UsageError, match="git_sha"):
        moment_of(outside, ["{git_sha}"])


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("git@github.com:Team/images.git", ("github.com", "Team/images")),
        ("https://me:secret@gitlab.com/a/b/c.git", ("gitlab.com", "a/b/c")),
        ("ssh://git@forge.example.org:2222/a/b", ("forge.example.org", "a/b")),
        ("/srv/git/images.git", ("", "")),
    ],
)
def test_a_remote_is_a_host_and_a_path(
    remote: str, source: tuple[str, str], tmp_path: Path
) -> None:
    for argv in (["init", "-q"], ["remote", "add", "origin", remote]):
        subprocess.run(["git", "-C", str(tmp_path), *argv], check=True)
    assert source_of(tmp_path) == source
