"""Matplotlib figures as inline SVG that wears the page's colours.

A figure is drawn with stand-in colours, each of which becomes a CSS variable of the page: one drawing is right in light
mode, in dark mode and on paper. Text stays text, in the page's font.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

SERIES = 10
"""How many colours of its own the page has for classes: ``series-0`` to ``series-9``."""

NAMES = ("ink", "muted", "line", "surface", "accent", "alarm", "calm", *(f"series-{i}" for i in range(SERIES)))
PAINT = {name: f"#0000{number:02x}" for number, name in enumerate(NAMES, start=1)}
"""The stand-in colour for each CSS variable. Nothing is really painted in these: they are all but black."""

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.edgecolor": PAINT["line"],
    "axes.labelcolor": PAINT["muted"],
    "axes.grid": True,
    "axes.unicode_minus": True,
    "grid.color": PAINT["line"],
    "grid.linewidth": 0.6,
    "xtick.color": PAINT["line"],
    "ytick.color": PAINT["line"],
    "xtick.labelcolor": PAINT["muted"],
    "ytick.labelcolor": PAINT["muted"],
    "text.color": PAINT["ink"],
    "text.parse_math": False,  # a class may well be called "$"
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "evergreen",
}

_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}"
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_STAND_IN = re.compile(r"#0000([0-9a-f]{2})")
_FONT = re.compile(r"font-family:[^;]*;?\s*")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_GEOMETRY = ("d", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "points", "transform")
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@contextmanager
def drawing(width: float, height: float) -> Iterator[Figure]:
    """A figure of ``width`` × ``height`` CSS pixels in the page's style, to be drawn on inside the context."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE, "backend": "agg"}):
        yield Figure(figsize=(width / 96, height / 96))


def to_svg(figure: Figure, name: str, description: str) -> Markup:
    """Turn a figure into an ``<svg>`` element for the page. Call it inside :func:`drawing`.

    The same figure gives the same bytes: no date, no random ids.

    Args:
        figure: what was drawn.
        name: of the figure, unique on the page; its ids begin with it.
        description: what a reader who does not see it should know.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    root = ElementTree.fromstring(buffer.getvalue())
    _plain_names(root)
    _own_ids(root, name)
    for element in root.iter():
        _tidy(element)
    for group in root.iter("g"):
        _share_style(group)
    width, height = (round(float(edge) * 96) for edge in figure.get_size_inches())
    attributes = {
        "class": "drawing",
        "viewBox": root.get("viewBox", ""),
        "role": "img",
        "aria-label": description,
        "style": f"--width: {width}px; --height: {height}px",
    }
    root.attrib.clear()
    root.attrib.update(attributes)
    return Markup(ElementTree.tostring(root, encoding="unicode", method="html"))


def _plain_names(root: ElementTree.Element) -> None:
    """Drop the XML namespaces: inside an HTML page there are none. Drop the metadata and the empty style sheet."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style") or not child.tag.startswith(_SVG):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        if (target := element.attrib.pop(f"{_XLINK}href", None)) is not None:
            element.set("href", target)


def _own_ids(root: ElementTree.Element, name: str) -> None:
    """Keep only ids that something refers to, and make them the figure's own."""
    wanted = {value[1:] for element in root.iter() if (value := element.get("href", "")).startswith("#")}
    for element in root.iter():
        wanted.update(_REFERENCE.findall(" ".join(element.attrib.values())))
    short = {old: f"{name}-{number}" for number, old in enumerate(sorted(wanted))}
    for element in root.iter():
        old = element.attrib.pop("id", None)
        if old in short:
            element.set("id", short[old])
        if (target := element.get("href", "")).startswith("#"):
            element.set("href", f"#{short[target[1:]]}")
        for key, value in element.items():
            if "url(#" in value:
                element.set(key, _REFERENCE.sub(lambda found: f"url(#{short[found[1]]})", value))


def _tidy(element: ElementTree.Element) -> None:
    """Two decimals, no blanks between elements, the page's colours and font."""
    for key in _GEOMETRY:
        if key in element.attrib:
            element.set(key, _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}", element.attrib[key].strip()))
    for key, value in element.items():
        if "#0000" in value or key == "style":
            value = _STAND_IN.sub(lambda found: f"var(--{NAMES[int(found[1], 16) - 1]})", _FONT.sub("", value))
            element.set(key, value.strip().removesuffix(";"))
    if element.tag != "text":
        element.text = None
    element.tail = None


def _share_style(group: ElementTree.Element) -> None:
    """Say once the style that all the marks of a group share: a map of thousands of points is half as long."""
    styles = {mark.get("style", "") for mark in group}
    if len(group) < 2 or len(styles) > 1 or {mark.tag for mark in group} != {"use"}:
        return
    group.set("style", "; ".join(filter(None, [group.get("style"), styles.pop()])))
    for mark in group:
        mark.attrib.pop("style", None)
