import re
from pathlib import Path

import pytest

from evergreen.report.svg import NAMES

STYLE = (Path(__file__).parents[2] / "evergreen" / "report" / "style.css").read_text()
MODES = dict(zip(("light", "dark", "paper"), re.findall(r":root \{(.*?)\}", STYLE, re.S), strict=True))


def palette(mode: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", MODES[mode]))


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, two: str) -> float:
    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", MODES)
def test_every_colour_of_a_drawing_is_defined(mode: str) -> None:
    assert set(NAMES) <= set(palette(mode))


@pytest.mark.parametrize("mode", MODES)
def test_text_and_marks_can_be_read(mode: str) -> None:
    colours = palette(mode)
    for ground in ("paper", "surface"):
        for text in ("ink", "muted", "accent", "alarm"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    marks = ("calm", *(name for name in NAMES if name.startswith("series")))
    faint = {name: round(contrast(colours[name], colours["surface"]), 2) for name in marks}
    assert {name: ratio for name, ratio in faint.items() if ratio < 3} == {}
    assert contrast(colours["on-deep"], colours["accent"]) >= 4.5
