"""Variables are replaced as Compose replaces them, and a bad form is a sentence."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.inventory.interpolation import BadSubstitution, interpolate, read_env

VALUES = {"A": "a", "EMPTY": "", "B_2": "b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$A", "a"),
        ("x${A}y$B_2-z", "xayb-z"),
        ("$$A $${A} $$$A", "$A ${A} $a"),
        ("${A:-d}${EMPTY:-d}${NONE:-d}", "add"),
        ("${A-d}${EMPTY-d}${NONE-d}", "ad"),
        ("${A:+o}${EMPTY:+o}${NONE:+o}", "o"),
        ("${A+o}${EMPTY+o}${NONE+o}", "oo"),
        ("${A:?e}${EMPTY?e}", "a"),
        ("${NONE:-${ALSO:-${A}}}", "a"),
        ("${NONE:-}", ""),
        ("${A:-${NONE}}", "a"),
        ("${NONE:-a:b c}", "a:b c"),
        ("}", "}"),
    ],
)
def test_every_form_of_the_specification(text: str, expected: str) -> None:
    made = interpolate(text, VALUES)
    assert (made.text, made.unset) == (expected, ())


def test_what_has_no_value_is_empty_and_named_once() -> None:
    made = interpolate("$NONE-${NONE}-${ALSO}-${EMPTY}", VALUES)
    assert (made.text, made.unset) == ("---", ("NONE", "ALSO"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("$", "no variable follows the $ in '$'; $$ is a dollar"),
        ("$1", "no variable follows"),
        ("${}", "no variable follows"),
        ("${A", "no variable follows"),
        ("${A:-x", "a } is missing in '${A:-x'"),
        ("${A/b/c}", "no variable follows"),
        ("${NONE:?tell why}", "NONE has no value: tell why"),
        ("${EMPTY:?}", "EMPTY has no value: one is required here"),
        ("${NONE?}", "NONE has no value"),
        ("${NONE:-" * 60, "variables are nested too deeply"),
    ],
)
def test_a_bad_form_is_told(text: str, said: str) -> None:
    with pytest.raises(BadSubstitution, match=f"^{re.escape(said)}"):
        interpolate(text, VALUES)


@given(st.text(alphabet="${}:-?+AB_ \n", max_size=30))
def test_any_text_is_interpolated_or_refused_in_a_sentence(text: str) -> None:
    said = ""
    try:
        made = interpolate(text, {"A": "value"}).text
    except BadSubstitution as error:
        said = str(error)
    assert said or made == text or "$" in text


@given(st.text())
def test_doubled_dollars_bring_any_text_through(text: str) -> None:
    assert interpolate(text.replace("$", "$$"), {}).text == text


def test_a_file_beside_sets_variables() -> None:
    text = """\
# a comment
A=1
export B = two words   # behind a value
C='single $A # kept'
D="double ${A}\\n\\"q\\" \\$A" # behind
E=
F
G=$A-$OUTSIDE-${B}
H=a#b
I.j=dotted
"""
    found, wrong = read_env(text, {"OUTSIDE": "o"})
    assert found == {
        "A": "1",
        "B": "two words",
        "C": "single $A # kept",
        "D": 'double 1\n"q" $A',
        "E": "",
        "G": "1-o-two words",
        "H": "a#b",
        "I.j": "dotted",
    }
    assert wrong == {}


@given(st.text())
def test_any_file_beside_is_read_or_complained_about(text: str) -> None:
    found, wrong = read_env(text, {})
    assert all(isinstance(value, str) for value in found.values())
    assert all(1 <= line <= len(text.splitlines()) for line in wrong)
