import re
from xml.etree import ElementTree

from evergreen.report.svg import NAMES, PAINT, drawing, to_svg


def draw(name: str = "sample", points: int = 50) -> str:
    with drawing(400, 300) as figure:
        axes = figure.subplots()
        axes.plot(range(points), [i / 7 for i in range(points)], "^", color=PAINT["alarm"], label="a & b < c $x$")
        axes.bar([1, 2], [3, 4], hatch="//", color=PAINT["accent"], edgecolor=PAINT["surface"])
        axes.imshow([[0, 1], [1, 0]])
        axes.legend()
        return str(to_svg(figure, name, 'a "drawing" & more'))


def test_colours_are_variables_of_the_page() -> None:
    svg = draw()
    assert "#0000" not in svg
    assert {"accent", "alarm", "ink", "line", "muted"} <= set(re.findall(r"var\(--([a-z0-9-]+)\)", svg)) <= set(NAMES)
    assert "font-family" not in svg
    assert "DejaVu" not in svg


def test_ids_are_the_drawings_own_and_all_references_hold() -> None:
    svg = draw("left")
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids)) > 0
    assert all(name.startswith("left-") for name in ids)
    references = re.findall(r"url\(#([^)]+)\)", svg) + re.findall(r'href="#([^"]+)"', svg)
    assert set(references) == set(ids)
    assert set(ids).isdisjoint(re.findall(r'\bid="([^"]+)"', draw("right")))


def test_text_stays_text_and_is_escaped() -> None:
    root = ElementTree.fromstring(draw())
    assert root.get("aria-label") == 'a "drawing" & more'
    assert "a & b < c $x$" in [element.text for element in root.iter("text")]


def test_the_same_drawing_is_the_same_text() -> None:
    assert draw() == draw()


def test_marks_are_cheap_and_coordinates_short() -> None:
    few, many = draw(points=100), draw(points=1100)
    assert (len(many) - len(few)) / 1000 < 60
    coordinates = re.findall(r' (?:x|y|d|width|height)="([^"]+)"', many)
    assert not [text for text in coordinates if re.search(r"\d\.\d{3}", text)]


def test_there_is_nothing_to_fetch() -> None:
    svg = draw()
    assert "http" not in svg
    assert "metadata" not in svg
