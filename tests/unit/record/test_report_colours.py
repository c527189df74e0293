"""The colours of the report can be told apart, as WCAG 2 computes it, in light and in dark."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

CSS = (files("fleet.record.report") / "page.css").read_text()
LEGIBLE = 4.5  # of text (success criterion 1.4.3)
VISIBLE = 3.0  # of what is drawn (1.4.11)

# What is written on what; a timeline's names are also written over the band of a host away.
WRITTEN = {
    "text": ("ground", "raised", "bad-ground", "quiet-ground", "band"),
    "dim": ("ground", "raised", "bad-ground", "band"),
    "link": ("ground", "raised", "bad-ground", "band"),
    "good": ("ground", "good-ground"),
    "part": ("ground", "band"),
    "bad": ("ground", "bad-ground", "band"),
}
STEPS = sorted(set(re.findall(r"--(s-[a-z]+):", CSS)))
# Steps are drawn on the bar of their job; the edges of fields, focus and what is critical anywhere.
DRAWN = {
    **dict.fromkeys(STEPS, ("ground", "quiet-ground")),
    **dict.fromkeys(("dim", "focus", "bad", "good", "critical"), ("ground", "raised")),
}


def palette(scheme: str) -> dict[str, str]:
    """The custom properties of a scheme: what the dark one does not set is as in the light one."""
    light, dark = CSS.split("@media (prefers-color-scheme: dark)")
    found = re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light)
    if scheme == "dark":
        found += re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark)
    return dict(found)


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2, definitions)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_ratio_is_the_one_of_the_recommendation() -> None:
    assert contrast("#000000", "#ffffff") == 21
    assert contrast("#ffffff", "#ffffff") == 1
    assert round(contrast("#767676", "#ffffff"), 2) == 4.54  # the palest grey that is legible


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("colour", "grounds", "least"),
    [
        *((colour, grounds, LEGIBLE) for colour, grounds in WRITTEN.items()),
        *((colour, grounds, VISIBLE) for colour, grounds in DRAWN.items()),
    ],
)
def test_what_is_written_and_drawn_can_be_told_from_its_ground(
    scheme: str, colour: str, grounds: tuple[str, ...], least: float
) -> None:
    colours = palette(scheme)
    found = {ground: contrast(colours[colour], colours[ground]) for ground in grounds}
    assert {ground: ratio for ground, ratio in found.items() if ratio < least} == {}


def test_every_colour_is_in_the_palette() -> None:
    rules = CSS[CSS.index("* {") : CSS.index("@media print")]
    assert re.findall(r"#[0-9a-f]{3,6}\b|rgba?\(|opacity: 0", rules) == []
    used = set(re.findall(r"(?:fill|color|stroke): var\(--([\w-]+)\)", rules))
    assert used - {"line"} <= {*WRITTEN, *DRAWN, "ground", "band", "quiet-ground"}
