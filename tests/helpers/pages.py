"""What a browser would make of a page: its elements, its text, and what it would fetch."""

import re
from html.parser import HTMLParser

ALONE = {"meta", "br", "hr", "img"}
FETCHING = ("src", "srcset", "data", "poster", "background", "action", "formaction", "xlink:href")


class Page(HTMLParser):
    """A page that was read.

    Attributes:
        elements: name and attributes of each, in order.
        text: all that is shown as text.
        unclosed: elements without an end.
    """

    def __init__(self, html: str):
        super().__init__()
        self.elements, self.text, self.unclosed, self._open = list[tuple[str, dict]](), "", list[str](), list[str]()
        self.feed(html)
        self.close()
        self.unclosed += self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ALONE:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.unclosed.append(tag)

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.text += data
        else:
            self.elements.append(("style text", {"data": None, "text": data}))

    @property
    def links(self) -> list[str]:
        return [attributes["href"] for name, attributes in self.elements if name == "a" and "href" in attributes]


def assert_alone(html: str) -> Page:
    """The page, found whole: every element has its end, no script, nothing that is fetched, and every link leads into the page or to a file
    beside it."""
    page = Page(html)
    assert page.unclosed == []
    names = {name for name, _ in page.elements}
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "form", "foreignobject"}
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)), "two elements have one id"
    for name, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on")], (name, attributes)
        for key in FETCHING:
            assert (attributes.get(key) or "#").startswith(("#", "data:")), (name, attributes)
        for text in (attributes.get("style") or "", attributes.get("text") or ""):
            assert not re.search(r"url\((?!#)|@import|expression\(", text), text
    for link in page.links:
        assert link.startswith(("#", "./", ".")) and (not link.startswith("#") or link[1:] in ids), link
    return page
