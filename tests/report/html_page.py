"""A report as a browser sees it, and what is expected of every one."""

import itertools
import re
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "base", "input", "hr"}
FETCHING = {"script", "link", "iframe", "object", "embed", "base", "form", "video", "audio", "source"}
FETCHING_ATTRIBUTES = {"srcset", "poster", "background", "action", "formaction", "ping"}


class Page(HTMLParser):
    """Elements with their attributes, in order, checked for nesting, and the words between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"[ \n]+", " ", "".join(self.words))

    @property
    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    def all(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def assert_sound(html: str, docs: str) -> Page:
    """A page that is well made, fetches nothing, and shows no value of Python's; ``docs`` are its Data Docs."""
    page = Page(html)
    assert len(page.ids) == len(set(page.ids))
    assert_self_contained(page, docs)
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))
    assert len(page.all("thead")) == len(page.all("table")) == len(page.all("tbody"))
    assert all(attributes.get("alt") for attributes in page.all("img"))
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in page.all("svg"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert "None" not in page.text
    assert not re.search(r"\bnan\b", page.text)
    return page


def assert_self_contained(page: Page, docs: str) -> None:
    """Nothing makes a browser fetch anything; links lead to places of the page or to its Data Docs."""
    assert not page.all(*FETCHING)
    policy = next(a for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")["content"]
    assert "default-src 'none'" in policy
    assert "img-src data:" in policy
    ids = set(page.ids)
    for tag, attributes in page.elements:
        assert not FETCHING_ATTRIBUTES & set(attributes)
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name, "#summary")
            if target.startswith("#"):
                assert target[1:] in ids
            elif tag in ("img", "image"):
                assert target.startswith("data:image/png;base64,")
            else:
                assert (tag, target) == ("a", docs)
        for reference in re.findall(r"url\(([^)]*)\)", " ".join(attributes.values())):
            assert reference.strip("'\"").removeprefix("#") in ids
    style = "".join(re.findall(r"<style>(.*?)</style>", page.html, re.S))
    assert "@import" not in style
    assert "url(" not in style
    assert "http:" not in page.html
    assert "https:" not in page.html
