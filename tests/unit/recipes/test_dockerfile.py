"""What a Dockerfile builds on, as BuildKit sees it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleet.errors import RecipeError

from .helpers import AMD64, ARM64, ARMV7, bases, complaints

BASES = {
    "one stage": ("FROM debian:12\n", ["debian:12"]),
    "no line end": ("FROM debian:12", ["debian:12"]),
    "lower case": ("from debian:12 as x\nfrom x", ["debian:12"]),
    "a byte order mark": ("\ufeffFROM debian:12", ["debian:12"]),
    "a byte order mark before a directive": ("\ufeff# escape=`\nFROM \\a`\n", None),
    "Windows line ends": ("FROM debian:12 AS x\r\nRUN a \\\r\n b\r\nFROM x\r\n", ["debian:12"]),
    "indented": ("  \tFROM   debian:12\t AS  x  \nFROM x", ["debian:12"]),
    "a digest": (f"FROM debian@sha256:{'0' * 64}", [f"debian@sha256:{'0' * 64}"]),
    "a registry with a port": ("FROM localhost:5000/a/b:c", ["localhost:5000/a/b:c"]),
    "scratch": ("FROM scratch", []),
    "a stage is no base": ("FROM a AS x\nFROM x AS y\nFROM y", ["a"]),
    "a stage by its name in upper case": ("FROM a AS X\nFROM b\nCOPY --from=X / /", ["a", "b"]),
    "a name before its stage is an image": ("FROM x AS y\nFROM a AS x\nFROM y", ["x"]),
    "COPY from an image": ("FROM a\nCOPY --from=b:1 /x /x", ["a", "b:1"]),
    "COPY from a stage": ("FROM a AS x\nFROM b\nCOPY --from=x / /", ["a", "b"]),
    "COPY from a stage by number": ("FROM a\nFROM b\nCOPY --from=0 / /", ["a", "b"]),
    "COPY from scratch": ("FROM a\nCOPY --from=scratch / /", ["a"]),
    "COPY from nothing": ("FROM a\nCOPY --from= / /", ["a"]),
    "COPY in JSON": ('FROM a\nCOPY --from=b ["x y", "/"]', ["a", "b"]),
    "COPY with more flags": ("FROM a\nCOPY --chown=1:1 --link --from=b / /", ["a", "b"]),
    "COPY with a quoted flag": ("FROM a\nCOPY --from='b' / /", ["a", "b"]),
    "COPY with its flag on another line": ("FROM a\nCOPY \\\n --from=b \\\n / /", ["a", "b"]),
    "flags end at --": ("FROM a\nCOPY -- --from=b /", ["a"]),
    "flags end at an argument": ("FROM a\nCOPY x --from=b /", ["a"]),
    "ADD has no --from": ("FROM a\nADD --from=b / /", ["a"]),
    "a mount from an image": ("FROM a\nRUN --mount=type=bind,from=b,target=/b ls", ["a", "b"]),
    "two mounts": (
        "FROM a\nRUN --mount=from=b,target=/b --mount=FROM=c,dst=/c ls",
        ["a", "b", "c"],
    ),
    "a mount from a stage": (
        "FROM a AS x\nFROM b\nRUN --mount=type=cache,from=x,target=/c ls",
        ["a", "b"],
    ),
    "a mount of a cache": ("FROM a\nRUN --mount=type=cache,target=/c ls", ["a"]),
    "an ARG": ("ARG V=12\nFROM debian:$V", ["debian:12"]),
    "an ARG in braces": ("ARG V=12\nFROM debian:${V}-slim", ["debian:12-slim"]),
    "an ARG for all of it": ('ARG IMAGE="debian:12"\nFROM ${IMAGE}', ["debian:12"]),
    "an ARG from an ARG": ("ARG V=12\nARG I=debian:$V\nFROM $I", ["debian:12"]),
    "several ARGs in one": ('ARG A=a B="b c"\\ d C\nFROM $A', ["a"]),
    "a default": ("FROM debian:${V:-12}", ["debian:12"]),
    "a default for empty": ("ARG V=\nFROM debian:${V:-12}", ["debian:12"]),
    "a default not for empty": ("ARG V=\nFROM debian${V-12}", ["debian"]),
    "an alternative": ("ARG V=1\nFROM debian${V:+:12}", ["debian:12"]),
    "an alternative to nothing": ("FROM debian${V:+:12}", ["debian"]),
    "an alternative to an empty one": ("ARG V=\nFROM debian${V+:12}", ["debian:12"]),
    "a default of a default": ("FROM debian:${V:-${W:-12}}", ["debian:12"]),
    "a default that is not used": ("ARG V=12\nFROM debian:${V:-$W}", ["debian:12"]),
    "a requirement": ("ARG V=12\nFROM debian:${V:?say-which}", ["debian:12"]),
    "a prefix cut off": ("ARG V=v1.2.3\nFROM a:${V#v}", ["a:1.2.3"]),
    "the shortest prefix": ("ARG V=1.2.3\nFROM a:${V#*.}", ["a:2.3"]),
    "the longest prefix": ("ARG V=1.2.3\nFROM a:${V##*.}", ["a:3"]),
    "the shortest suffix": ("ARG V=1.2.3\nFROM a:${V%.*}", ["a:1.2"]),
    "the longest suffix": ("ARG V=1.2.3\nFROM a:${V%%.*}", ["a:1"]),
    "the first replaced": ("ARG V=1.2.3\nFROM a:${V/./-}", ["a:1-2.3"]),
    "all replaced": ("ARG V=1.2.3\nFROM a:${V//./-}", ["a:1-2-3"]),
    "quotes around an image": ('ARG V=12\nFROM "debian:$V"', ["debian:12"]),
    "an ARG inside a stage is not seen by its FROM": (
        "ARG V=12\nFROM debian:$V\nARG V=11\nFROM debian:$V\nCOPY --from=0 / /",
        ["debian:12", "debian:12"],
    ),
    "a platform ARG": ("FROM base-${TARGETARCH}${TARGETVARIANT}", ["base-amd64"]),
    "a platform ARG with a default": ("ARG TARGETARCH=x\nFROM base-$TARGETARCH", ["base-x"]),
    "the platform of the build": ("FROM --platform=$BUILDPLATFORM a AS x\nFROM x", ["a"]),
    "the platform by name": ("FROM --platform=linux/x86_64 a", ["a"]),
    "the stage that is built": ("FROM a-$TARGETSTAGE AS x", ["a-x"]),
    "a comment": ("# FROM a\nFROM b # c\n", None),
    "comments and blank lines in a continuation": (
        "FROM a\nRUN x \\\n# FROM b\n\n   # FROM c\n && y\nCOPY --from=d / /",
        ["a", "d"],
    ),
    "a continuation with spaces after it": ("FROM \\ \t\n a", ["a"]),
    "two backslashes are no continuation": ("FROM a\nRUN x \\\\\nCOPY --from=b / /", ["a", "b"]),
    "a comment does not continue": ("# x \\\nFROM a", ["a"]),
    "another escape character": ("# escape=`\nFROM `\n a\nRUN x \\\nCOPY --from=b / /", ["a", "b"]),
    "the same with spaces": ("#  Escape = `  \nFROM `\n a", ["a"]),
    "no directive after a comment": ("# hello\n# escape=`\nFROM \\\n a", ["a"]),
    "no directive after a blank line": ("\n# escape=`\nFROM \\\n a", ["a"]),
    "a syntax is no base": ("# syntax=docker/dockerfile:1.7\nFROM a", ["a"]),
    "two directives": ("# syntax=docker/dockerfile:1\n# escape=`\nFROM `\n a", ["a"]),
    "instructions of another frontend": ("# syntax=example.org/x\nFROM a\nINCLUDE b", ["a"]),
    "a here-document": ("FROM a\nRUN <<EOF\nFROM b\nEOF\nCOPY --from=c / /", ["a", "c"]),
    "one with tabs": ("FROM a\nRUN <<-EOF\n\tFROM b\n\t\tEOF\nCOPY --from=c / /", ["a", "c"]),
    "tabs before an end that takes none": (
        "FROM a\nRUN <<EOF\n\tEOF\nFROM b\nEOF\nCOPY --from=c / /",
        ["a", "c"],
    ),
    "one in double quotes": ('FROM a\nRUN <<"EOF"\nFROM b\nEOF\nCOPY --from=c / /', ["a", "c"]),
    "one in single quotes": ("FROM a\nRUN cat <<'E F'\nFROM b\nE F\nCOPY --from=c / /", ["a", "c"]),
    "one with a backslash": ("FROM a\nRUN cat <<\\EOF\nFROM b\nEOF\nCOPY --from=c / /", ["a", "c"]),
    "one with a space": ("FROM a\nRUN cat << EOF\nFROM b\nEOF\nCOPY --from=c / /", ["a", "c"]),
    "one on a descriptor": ("FROM a\nRUN x 3<<EOF\nFROM b\nEOF\nCOPY --from=c / /", ["a", "c"]),
    "two on a line": (
        "FROM a\nCOPY --from=c <<ONE <<TWO /\nFROM b\nTWO\nONE\nFROM b\nONE\nTWO\nRUN x",
        ["a", "c"],
    ),
    "one that ends in a carriage return": (
        "FROM a\r\nRUN <<EOF\r\nFROM b\r\nEOF\r\nCOPY --from=c / /\r\n",
        ["a", "c"],
    ),
    "one after a continuation": (
        "FROM a\nRUN x \\\n <<EOF\nFROM b\nEOF\nCOPY --from=c / /",
        ["a", "c"],
    ),
    "one in an ONBUILD": (
        "FROM a\nONBUILD RUN <<EOF\nFROM b\nEOF\nCOPY --from=c / /",
        ["a", "c"],
    ),
    "no here-document in quotes": ('FROM a\nRUN echo "<<EOF"\nCOPY --from=c / /', ["a", "c"]),
    "no here-document in JSON": ('FROM a\nRUN ["<<EOF"]\nCOPY --from=c / /', ["a", "c"]),
    "no here-document in a here-string": ("FROM a\nRUN x <<<y\nCOPY --from=c / /", ["a", "c"]),
    "no here-document in a shift": (
        "FROM a\nRUN echo $((1<<2)) $((1 << 2))\nCOPY --from=c / /",
        ["a", "c"],
    ),
    "no here-document elsewhere": ("FROM a\nCMD x <<EOF\nCOPY --from=c / /", ["a", "c"]),
    "an ONBUILD is for others": ("FROM a\nONBUILD COPY --from=b / /", ["a"]),
    "an ONBUILD for a stage of this file": (
        "FROM a AS x\nONBUILD COPY --from=b / /\nONBUILD RUN --mount=from=c,dst=/ x\nFROM x",
        ["a", "b", "c"],
    ),
    "an unneeded stage": ("FROM a AS x\nCOPY --from=c / /\nFROM b", ["b"]),
    "a stage needed by a mount": ("FROM a AS x\nFROM b\nRUN --mount=from=x,dst=/x y", ["a", "b"]),
    "a stage needed at second hand": (
        "FROM a AS x\nFROM b AS y\nCOPY --from=x / /\nFROM c AS z\nFROM d\nCOPY --from=y / /",
        ["a", "b", "d"],
    ),
}


@pytest.mark.parametrize("name", BASES)
def test_a_dockerfile_builds_on(name: str) -> None:
    text, expected = BASES[name]
    if expected is None:
        complaints(text)
    else:
        assert bases(text) == expected


@pytest.mark.parametrize(
    ("platform", "expected"),
    [(AMD64, "base-amd64"), (ARM64, "base-arm64"), (ARMV7, "base-armv7")],
)
def test_bases_may_differ_between_platforms(platform, expected) -> None:
    text = "FROM base-${TARGETARCH}${TARGETVARIANT}"
    assert bases(text, platform=platform) == [expected]
    assert bases(text.replace("TARGET", "BUILD"), platform=platform) == [expected]


@pytest.mark.parametrize(
    ("text", "build_args", "expected"),
    [
        ("ARG V\nFROM debian:$V", {"V": "12"}, "debian:12"),
        ("ARG V=11\nFROM debian:$V", {"V": "12"}, "debian:12"),
        ("ARG V=11\nARG I=debian:$V\nFROM $I", {"V": "12"}, "debian:12"),
        ("ARG V=11\nFROM debian:${V:-10}", {"V": ""}, "debian:10"),
        ("FROM base-$TARGETARCH", {"TARGETARCH": "mine"}, "base-mine"),
        ("ARG I\nFROM $I", {"I": "$x"}, None),  # a value is taken as it is
    ],
)
def test_build_args_come_before_defaults(text, build_args, expected) -> None:
    if expected is None:
        assert "'$x'" in complaints(text, build_args=build_args)[0]
    else:
        assert bases(text, build_args=build_args) == [expected]


@pytest.mark.parametrize(
    ("target", "expected"),
    [(None, ["c"]), ("x", ["a"]), ("Y", ["a", "b"]), ("z", ["c"])],
)
def test_only_what_the_target_needs_counts(target, expected) -> None:
    text = "FROM a AS x\nFROM b AS y\nCOPY --from=x / /\nFROM c AS z"
    assert bases(text, target=target) == expected


COMPLAINTS = {
    "an empty file": ("", "Dockerfile: the Dockerfile is empty"),
    "only blank": ("\ufeff \r\n\n", "Dockerfile: the Dockerfile is empty"),
    "only comments": ("# x\n# y\n", "Dockerfile: no FROM: there is nothing to build"),
    "only an ARG": ("ARG X=1\n", "Dockerfile: no FROM: there is nothing to build"),
    "an instruction before FROM": ("RUN x\nFROM a", "Dockerfile:1:1: RUN before the first FROM"),
    "a typing error": (
        "FROM a\n  COPPY x y",
        "Dockerfile:2:3: unknown instruction 'COPPY' (did you mean 'COPY'?)",
    ),
    "an undefined ARG": (
        "FROM debian:${V}",
        "Dockerfile:1:13: no ARG V is declared before the first FROM: put `ARG V=...` there, "
        "or `ARG V` and a value under `build_args:` in the inventory",
    ),
    "a misspelt ARG": (
        "ARG VERSION=1\nFROM debian:$VERSIONS",
        "Dockerfile:2:13: no ARG VERSIONS is declared before the first FROM (did you mean "
        "'VERSION'?): put `ARG VERSIONS=...` there, or `ARG VERSIONS` and a value under "
        "`build_args:` in the inventory",
    ),
    "an ARG without a value": (
        "ARG V\nFROM debian:$V",
        "Dockerfile:2:13: ARG V has no value: give it a default (`ARG V=...`), or a value under "
        "`build_args:` in the inventory",
    ),
    "an ARG of a stage": (
        "FROM a\nARG V=1\nFROM debian:$V",
        "Dockerfile:3:13: ARG V is declared on line 2, inside a stage: a FROM sees only what is "
        "declared before the first FROM",
    ),
    "a column in a continued line": (
        "FROM \\\n   debian:$V",
        "Dockerfile:2:11: no ARG V is declared before the first FROM: put `ARG V=...` there, "
        "or `ARG V` and a value under `build_args:` in the inventory",
    ),
    "a requirement": (
        "FROM debian:${V:?say-which}",
        "Dockerfile:1:13: V: say-which in debian:${V:?say-which}",
    ),
    "an open brace": ("FROM ${V", "Dockerfile:1:9: a } is missing in ${V"),
    "an open quote": ('FROM "a', 'Dockerfile:1:6: a " is not closed in "a'),
    "a form that is none": ("FROM ${V^}", "Dockerfile:1:6: ${V^} is no known form in ${V^}"),
    "no name in a brace": ("FROM ${}", "Dockerfile:1:6: a variable without a name in ${}"),
    "a stage name twice": (
        "FROM a AS x\nFROM b AS X\n",
        "Dockerfile:2:11: the stage x is there already, on line 1",
    ),
    "a stage name that is none": (
        "FROM a AS 1x\n",
        "Dockerfile:1:11: '1x' cannot name a stage: a name is a letter, then letters, digits, "
        "_ . or -",
    ),
    "FROM without an image": (
        "FROM\n",
        "Dockerfile:1:1: FROM takes an image, or an image, AS and a name for the stage",
    ),
    "FROM with two words": (
        "FROM a b\n",
        "Dockerfile:1:1: FROM takes an image, or an image, AS and a name for the stage",
    ),
    "FROM with another flag": (
        "FROM --plattform=x a\n",
        "Dockerfile:1:6: FROM has no flag --plattform of this form",
    ),
    "a variable in COPY": (
        "ARG V=1\nFROM a\nCOPY --from=b:$V / /",
        "Dockerfile:3:13: variables are not expanded here (b:$V): name a stage, and give that "
        "stage the image (`FROM image:$ARG AS name`)",
    ),
    "a stage of later": (
        "FROM a\nCOPY --from=x / /\nFROM b AS x",
        "Dockerfile:2:13: no stage x comes before this one",
    ),
    "a stage of itself": (
        "FROM a AS x\nCOPY --from=x / /",
        "Dockerfile:2:13: no stage x comes before this one",
    ),
    "a number of later": (
        "FROM a\nCOPY --from=0 / /",
        "Dockerfile:2:13: no stage 0 comes before this one",
    ),
    "a number below zero": (
        "FROM a\nCOPY --from=-1 / /",
        "Dockerfile:2:13: no stage -1 comes before this one",
    ),
    "a mount by number": (
        "FROM a\nFROM b\nRUN --mount=from=0,dst=/x y",
        "Dockerfile:3:18: RUN --mount takes a stage by its name, not its number",
    ),
    "--from without a value": (
        "FROM a\nCOPY --from / /",
        "Dockerfile:2:6: --from names no stage or image",
    ),
    "quotes inside a name": (
        "FROM a\nCOPY --from=b'c' / /",
        "Dockerfile:2:13: write bc without quotes and escapes in it",
    ),
    "ONBUILD of nothing": (
        "FROM a\nONBUILD",
        "Dockerfile:2:1: ONBUILD takes an instruction, other than FROM",
    ),
    "ONBUILD of ONBUILD": (
        "FROM a\nONBUILD ONBUILD RUN x",
        "Dockerfile:2:1: ONBUILD takes an instruction, other than FROM",
    ),
    "ONBUILD of FROM": (
        "FROM a\nONBUILD FROM x",
        "Dockerfile:2:1: ONBUILD takes an instruction, other than FROM",
    ),
    "an unended here-document": (
        "FROM a\nRUN <<EOF\nx\n EOF\n",
        "Dockerfile:2:1: the here-document <<EOF is never ended",
    ),
    "another platform": (
        "FROM --platform=linux/arm64 a",
        "Dockerfile:1:17: this stage is for linux/arm64, but is needed to build for linux/amd64, "
        "and hosts build natively: write --platform=$BUILDPLATFORM, or limit the image with "
        "`platforms:` in the inventory",
    ),
    "an escape character that is none": (
        "# escape=x\nFROM a",
        "Dockerfile:1:1: the escape character is \\ or `, not 'x'",
    ),
    "a directive twice": (
        "# escape=`\n# escape=`\nFROM a",
        "Dockerfile:2:1: the directive escape is given twice",
    ),
}


@pytest.mark.parametrize("name", COMPLAINTS)
def test_a_complaint_says_what_and_where(name: str) -> None:
    text, expected = COMPLAINTS[name]
    assert complaints(text) == [expected]


def test_a_target_that_is_no_stage_is_told_with_the_stages() -> None:
    assert complaints("FROM a AS x\nFROM b AS y", target="z") == [
        "Dockerfile: no stage is called z, the target (stages: x, y)"
    ]


def test_an_arg_in_build_args_only_is_told_where_to_declare_it() -> None:
    assert complaints("FROM a:$V", build_args={"V": "1"}) == [
        "Dockerfile:1:8: V is in `build_args:` but not declared: put `ARG V` before the first FROM"
    ]


def test_an_invalid_image_is_told_as_written_and_as_it_comes_out() -> None:
    (complaint,) = complaints("ARG V=\nFROM debian:$V")
    assert complaint.startswith("Dockerfile:2:6: ")
    assert "(from debian:$V)" in complaint


def test_a_stage_called_in_upper_case_is_told_its_name() -> None:
    (complaint,) = complaints("FROM a AS Builder\nFROM Builder")
    assert complaint.endswith("; the stage is called builder")


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert len(complaints("RUN x\nFROM a AS 1\nCOPPY\nFROM a b\nFROM c\nCOPY --from=$x / /")) == 5


def test_another_platform_is_fine_where_the_stage_is_not_needed() -> None:
    assert bases("FROM --platform=linux/arm64 a AS x\nFROM b") == ["b"]


DOCKERFILES = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(
            [
                *("FROM", "from ", " AS ", "ARG ", "COPY ", "RUN ", "ONBUILD ", "--from=", "--"),
                *("--mount=from=", "<<EOF", "<<-'EOF'", "EOF", "\n", "\r\n", "\\", "\\\n", "`"),
                *(
                    "# escape=`\n",
                    "# syntax=x\n",
                    "$",
                    "${",
                    "}",
                    ":-",
                    "${X:-",
                    "'",
                    '"',
                    "[",
                    "#",
                ),
                *(
                    "scratch",
                    "debian:12",
                    "x",
                    "0",
                    " ",
                    "\t",
                    "\ufeff",
                    "\udcff",
                    "\x00",
                    "=",
                    ",",
                ),
            ]
        ),
    ),
    max_size=40,
).map("".join)


@given(text=DOCKERFILES, target=st.one_of(st.none(), st.text(max_size=5)))
@example(text="FROM " + "${a:-" * 5000, target=None)
@example(text="FROM a\nRUN " + "[" * 50_000, target=None)
@example(text="FROM a\nCOPY --from=" + "9" * 5000 + " / /", target=None)
@example(text="FROM a\n" + "ONBUILD " * 2000, target=None)
@example(text="FROM a\nRUN " + '"\\' * 5000 + " <<EOF", target=None)
def test_any_text_is_read_or_refused_with_a_place(text: str, target: str | None) -> None:
    with suppress(RecipeError):
        bases(text, target=target)


# --- named contexts -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM base", ["debian:12"]),
        ("FROM base:latest", ["debian:12"]),
        ("FROM docker.io/library/base AS x\nFROM x", ["debian:12"]),
        ("ARG B=base\nFROM $B", ["debian:12"]),
        ("FROM base:1", ["base:1"]),
        ("FROM other.example.org/base", ["other.example.org/base"]),
        ("FROM a\nCOPY --from=base / /", ["a", "debian:12"]),
        ("FROM a\nRUN --mount=from=base,target=/b cat", ["a", "debian:12"]),
        ("FROM r.example.org/tool:2", ["tool"]),
    ],
)
def test_a_context_stands_for_its_image_under_any_spelling_of_its_name(
    text: str, expected: list[str]
) -> None:
    named = {"base": "debian:12", "r.example.org/tool:2": "tool"}
    assert bases(text, contexts=named) == expected


def test_a_context_called_like_a_stage_is_told() -> None:
    text = "FROM a AS base\nFROM base"
    (said,) = complaints(text, contexts={"base": "debian"})
    assert said.startswith("Dockerfile:1:6: the stage base is called like a context of this image")
