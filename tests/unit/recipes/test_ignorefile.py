""".dockerignore: the same paths stay out as with Docker."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import RecipeError
from fleet.recipes.ignorefile import IgnoreRules, Inherited, parse

FILE = Path(".dockerignore")


def ignores(text: str, path: str) -> bool:
    """Whether a walk from the top leaves a path out."""
    return walked(parse(text, FILE), path)


def walked(rules: IgnoreRules, path: str) -> bool:
    inherited: Inherited = ()
    ignored = False
    parts = path.split("/")
    for size in range(1, len(parts) + 1):
        ignored, inherited = rules.ignores("/".join(parts[:size]), inherited)
    return ignored


TABLE = [
    # A name, and what lies below it.
    ("docs", "docs", True),
    ("docs", "docs/a/b", True),
    ("docs", "my/docs", False),
    ("docs", "docs2", False),
    ("docs/", "docs/a", True),
    ("/docs", "docs", True),
    ("//docs//a/", "docs/a", True),
    ("./docs", "docs", True),
    ("a/../docs", "docs", True),
    ("../docs", "docs", False),
    ("../docs", "../docs", True),
    (".", "docs", False),
    ("/", "docs", False),
    ("  docs  ", "docs", True),
    ("docs\r", "docs", True),
    ("my docs", "my docs", True),
    ("Docs", "docs", False),
    # One star stays in its directory.
    ("*", "a", True),
    ("*", "a/b", True),
    ("*.md", "a.md", True),
    ("*.md", "a/b.md", False),
    ("*/*.md", "a/b.md", True),
    ("*/*.md", "a/b/c.md", False),
    ("a/*", "a", False),
    ("a/*", "a/b/c", True),
    ("a*b*c", "axxbxxc", True),
    ("a*b", "a/b", False),
    (".*", ".git", True),
    (".*", "git", False),
    ("a?c", "abc", True),
    ("a?c", "a\u263ac", True),
    ("a?c", "a\udcffc", True),
    ("a?c", "ac", False),
    ("a?c", "a/c", False),
    ("a.c", "abc", False),
    ("a+(b)|{c}$", "a+(b)|{c}$", True),
    ("a+(b)|{c}$*", "a+(b)|{c}$d", True),
    # Two stars span directories.
    ("**", "a", True),
    ("**", "a/b", True),
    ("**/", "a/b", True),
    ("**/a", "a", True),
    ("**/a", "b/c/a", True),
    ("**/a", "b/ca", False),
    ("**/a", "a/b", True),
    ("**a", "b/ca", True),
    ("**/*.md", "a.md", True),
    ("**/*.md", "a/b/c.md", True),
    ("**/*.md", "a/b/c.txt", False),
    ("a/**", "a", False),
    ("a/**", "a/b/c", True),
    ("a/**/c", "a/c", True),
    ("a/**/c", "a/b/b/c", True),
    ("a/**/c", "a/bc", False),
    ("a**", "ab/c", True),
    ("a**/c", "a/c", True),
    ("a**/*.md", "a/b/c.md", True),
    ("**/b/*", "a/b/c", True),
    ("**/b/**", "b/c/d", True),
    ("**/**/*.md", "a.md", True),
    ("a*/**", "ab/c", True),
    # Classes and escapes.
    ("a[b-d]e", "ace", True),
    ("a[b-d]e", "aae", False),
    ("a[b-d]e", "ae", False),
    ("a[^b-d]e", "aze", True),
    ("a[^b-d]e", "ace", False),
    ("a[^b]e", "a\u263ae", True),
    ("a[!b]e", "a!e", True),
    ("a[!b]e", "abe", True),
    ("a[!b]e", "ace", False),
    ("[\\]a]", "]", True),
    ("[\\-x]", "-", True),
    ("[x^]", "^", True),
    ("[.]x", "ax", False),
    ("[[]", "[", True),
    ("[a-\u03b6]*", "\u03b1", True),
    ("a]", "a]", True),
    ("a\\*b", "a*b", True),
    ("a\\*b", "axb", False),
    ("a\\\\b", "a\\b", True),
    ("a\\[b\\]", "a[b]", True),
    ("\\#a", "#a", True),
    ("a^b", "a^b", True),
    # Exceptions: the last that matches decides.
    ("*.md\n!README.md", "README.md", False),
    ("*.md\n!README.md", "a.md", True),
    ("!README.md\n*.md", "README.md", True),
    ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
    ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", False),
    ("docs\n!docs/a", "docs", True),
    ("docs\n!docs/a", "docs/a", False),
    ("docs\n!docs/a", "docs/a/b", False),
    ("docs\n!docs/a", "docs/b", True),
    ("docs\n!docs/a\ndocs/a/b", "docs/a/b", True),
    ("**\n!src/**/*.c", "src/a/b.c", False),
    ("**\n!src/**/*.c", "src/a/b.h", True),
    ("! docs\ndocs", "docs", True),
    ("docs\n! /docs", "docs", False),
    ("*\n!!a", "!a", False),
    # An exception that changed nothing in a directory is not inherited by what is in it.
    ("a/b\n!a", "a/b", True),
    # Lines.
    ("# docs\ndocs2", "docs", False),
    ("# docs", "# docs", False),
    (" # docs", "# docs", True),
    ("\n\n  \ndocs", "docs", True),
    ("\ufeffdocs", "docs", True),
    ("\ufeff# docs\na", "# docs", False),
    ("a\u2028b", "a\u2028b", True),
]


@pytest.mark.parametrize(("text", "path", "expected"), TABLE)
def test_a_path_stays_out(text: str, path: str, expected: bool) -> None:
    assert ignores(text, path) is expected


COMPLAINTS = [
    ("a\n  [", "2:3", "'[': a [ is never closed"),
    ("a[b", "1:1", "'a[b': a [ is never closed"),
    ("[^", "1:1", "'[^': a [ is never closed"),
    ("[]a]", "1:1", "'[]a]': ] is no member of a [...] unless written \\]"),
    ("[a-]", "1:1", "'[a-]': ] is no member of a [...] unless written \\]"),
    ("[-a]", "1:1", "'[-a]': - is no member of a [...] unless written \\-"),
    ("[a-c-e]", "1:1", "'[a-c-e]': - is no member of a [...] unless written \\-"),
    ("[z-a]", "1:1", "'[z-a]': the range z-a runs backwards"),
    ("[*]", "1:1", "'[*]': Docker takes * inside [...] for something else: write \\*"),
    (
        "[[:alpha:]]",
        "1:1",
        "'[[:alpha:]]': Docker takes [ inside [...] for something else: write \\[",
    ),
    ("a\\", "1:1", "'a\\\\': a backslash at the end escapes nothing"),
    ("a\\d", "1:1", "'a\\\\d': a backslash before d has no meaning here: leave it out"),
    ("a^*", "1:1", "'a^*': Docker takes this ^ for something else: write \\^"),
    ("!", "1:1", "'!': an exception without a path"),
    ("! /", "1:1", "'! /': an exception without a path"),
]


@pytest.mark.parametrize(("text", "place", "message"), COMPLAINTS)
def test_a_pattern_that_docker_rejects_or_misreads_is_refused(
    text: str, place: str, message: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(text, FILE)
    assert str(caught.value) == f".dockerignore:{place}: {message}"


def test_all_bad_patterns_are_told_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        parse("[\nfine\n!\n", FILE)
    assert [problem.line for problem in caught.value.problems] == [1, 3]


@given(st.text(alphabet="a/*?[]^!\\-.# \n\r\ufeff\udcff"), st.text(alphabet="ab/.*!", min_size=1))
def test_any_text_is_read_or_refused(text: str, path: str) -> None:
    with suppress(RecipeError):
        ignores(text, path)


@given(
    st.lists(
        st.sampled_from(
            ["a", "b", "a/b", "a/*", "*/b", "**/b", "a/**", "*", "**", "a/b/**", "a/*/a", "?/b/a"]
        ).flatmap(lambda text: st.sampled_from([text, f"!{text}"])),
        max_size=6,
    )
)
def test_a_folder_is_passed_over_only_where_nothing_in_it_comes_back(lines: list[str]) -> None:
    rules = parse("\n".join(lines), FILE)
    names = [f"{x}/{y}/{z}" for x in "ab" for y in "ab" for z in "ab"]
    for name in names:
        for size in (1, 2):
            folder = "/".join(name.split("/")[:size])
            if walked(rules, folder) and not rules.may_return_below(folder):
                assert walked(rules, name), (lines, folder, name)
