"""No text makes the parser of Dockerfiles do anything but read it or say what is wrong."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleet.errors import Problem, RecipeError
from fleet.platforms import Platform

from .helpers import bases

WORDS = st.sampled_from(
    [
        *("FROM", "from", "ARG", "COPY", "ADD", "RUN", "ONBUILD", "ENV", "CMD", "# escape=`"),
        *("# syntax=docker/dockerfile:1", "--from=", "--platform=$BUILDPLATFORM", "AS", "as"),
        *("--mount=type=bind,from=", "scratch", "debian:trixie", "base", "0", "-1", "$X", "${X}"),
        *("${X:-y}", "${X:+$Y}", "${X", "${X:-${Y:-z}}", "${X#*/}", "${X//a/b}", "$TARGETARCH"),
        *("<<EOF", "<<-'EOF'", "EOF", "\tEOF", '<<"E F"', "\\", "`", "\\\n", "\n", "\r\n", "\t"),
        *('["a", "b"]', '["', "'", '"', "=", "X=1", 'X="a b"', ":", "@sha256:" + "0" * 64, "\0"),
        *("\ufeff", "\u2028", "é", "\x1b[31m", "REGISTRY/x", "a" * 300),
    ]
)
TEXTS = st.lists(WORDS | st.text(max_size=5), max_size=40).map(" ".join)
LINES = st.lists(TEXTS, max_size=8).map("\n".join)


@settings(max_examples=400)
@given(text=TEXTS | LINES | st.text(max_size=200), arm=st.booleans())
@example(text="FROM ${" + "${" * 200, arm=False)
@example(text="ARG A=${B}\nARG B=${A}\nFROM $A", arm=False)
@example(text="FROM a\nRUN <<" + "E" * 10_000, arm=False)
@example(text="\\\n" * 10_000, arm=True)
def test_any_text_is_read_or_refused_with_its_place(text: str, arm: bool) -> None:
    platform = Platform.parse("linux/arm/v7" if arm else "linux/amd64")
    found: list[str] = []
    problems: tuple[Problem, ...] = ()
    try:
        found = bases(text, platform=platform, build_args={"X": "1"})
    except RecipeError as error:
        problems = error.problems
    assert bool(problems) or all(found)
    assert all(0 <= problem.line <= text.count("\n") + 2 for problem in problems)
    str(problems).encode(errors="surrogatepass")


@settings(max_examples=100)
@given(text=LINES)
def test_what_is_read_once_is_read_the_same_again(text: str) -> None:
    with suppress(RecipeError):
        assert bases(text) == bases(text)
