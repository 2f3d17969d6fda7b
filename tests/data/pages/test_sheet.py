"""What is not markup already never becomes markup, and a page can be used by keyboard."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmloop.data.pages.sheet import Html, document, figures, folded, joined, table, tag

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>&amp;'</style>"


class Seen(HTMLParser):
    """The elements with their attributes, and the text."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.text = list[tuple[str, dict]](), ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@given(text=st.text(), value=st.text())
def test_text_and_attributes_come_back_as_they_were_and_add_no_element(text, value):
    seen = Seen(tag("p", text, tag("a", text, title=value)))
    assert seen.elements == [("p", {}), ("a", {"title": value})]
    assert seen.text == text * 2


@pytest.mark.parametrize(
    "part",
    [
        figures({HOSTILE: HOSTILE}),
        table([HOSTILE], [[HOSTILE]], HOSTILE),
        folded(HOSTILE, HOSTILE),
        joined([HOSTILE, tag("b", HOSTILE)], HOSTILE),
        document(HOSTILE, "", [HOSTILE]),
    ],
    ids=["figures", "table", "folded", "joined", "document"],
)
def test_every_part_of_a_sheet_escapes_what_it_is_given(part):
    seen = Seen(part)
    assert not {"script", "img"} & {name for name, _ in seen.elements}
    assert "alert(1)" in seen.text and not any(name.startswith("on") for _, attributes in seen.elements for name in attributes)


def test_markup_that_was_made_here_stays_markup_and_none_is_left_out():
    assert tag("p", Html("<b>x</b>"), None, class_="a", hidden=True, title=None) == '<p class="a" hidden><b>x</b></p>'


def test_a_wide_table_is_reached_and_scrolled_by_the_keyboard():
    ((_, around), *_) = Seen(table(["a"], [["b"]], "Results")).elements
    assert (around["tabindex"], around["role"], around["aria-label"]) == ("0", "region", "Results")
