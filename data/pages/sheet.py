"""An HTML file that needs nothing else: no network, no script; readable on a phone, in light and in dark, and by keyboard.

`tag` escapes whatever is not `Html` already, so that a name can never become markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

ALONE = {"meta", "br", "hr", "img"}  # elements without an end tag
LONG = 60  # characters of a cell that may be broken into lines


class Html(str):
    """Markup. Only this module and what it is given by makers of pictures construct it."""


def tag(name: str, /, *inside: object, **attributes: object) -> Html:
    """An element. Children that are not `Html` are text, and are escaped; `class_` is the attribute `class`, `aria_label` is `aria-label`.
    An attribute of None is left out, one of True has no value."""
    shown = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None
    )
    start = f"<{name}{shown}>"
    return Html(start if name in ALONE else f"{start}{joined(inside)}</{name}>")


def joined(parts: Iterable[object], between: str = "") -> Html:
    """Parts in a row, text escaped."""
    return Html(escape(between).join(part if isinstance(part, Html) else escape(str(part)) for part in parts if part is not None))


def document(title: str, style: str, parts: Iterable[object]) -> str:
    """The whole file; `style` is CSS beside that of every sheet."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Html(STYLE + style)),
    )
    return f'<!doctype html>\n<html lang="en">{head}<body>\n{joined(parts, chr(10))}\n</body></html>\n'


def figures(boxes: Mapping[str, object]) -> Html:
    """Numbers in boxes, each over what it is of."""
    return tag(
        "div", *(tag("div", tag("strong", value), tag("span", name, class_="faint")) for name, value in boxes.items()), class_="figures"
    )


def table(heads: Sequence[object], rows: Iterable[Sequence[object]], label: str = "Table") -> Html:
    """A table that scrolls by itself where it is too wide, also by the arrow keys; `label` is what a screen reader calls it."""
    head = tag("tr", *(tag("th", cell, scope="col") for cell in heads))
    body = (tag("tr", *(tag("td", cell, class_="long" if len(str(cell)) > LONG else None) for cell in row)) for row in rows)
    whole = tag("table", tag("thead", head), tag("tbody", *body))
    return tag("div", whole, class_="scroll", tabindex=0, role="region", aria_label=label)


def folded(summary: object, *inside: object, open: bool = False) -> Html:
    """What is shown once its summary is chosen."""
    return tag("details", tag("summary", summary), *inside, open=True if open else None)


STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #fff; --ink: #1d2129; --faint: #5d6470; --line: #dfe2e7;
  --action: #4269a5; --sound: #4f8a67; --note: #7b8494; --harms: #c98a1b; --breaks: #c0392b; --link: #1f5fa8; }
@media (prefers-color-scheme: dark) { :root { --page: #14171c; --card: #1c2027; --ink: #e8eaee; --faint: #a0a7b4; --line: #343a45;
  --action: #7ba1dd; --sound: #6fb48c; --note: #8f98a8; --harms: #e0a948; --breaks: #ec7063; --link: #8ab8f2; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 66rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .7rem; } h3 { font-size: 1rem; margin: 0; }
p { margin: .3rem 0; } .faint, figcaption { color: var(--faint); font-size: .875rem; } a { color: var(--link); }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
.verdict { padding: .8rem 1rem; border-left: .4rem solid var(--sound); background: var(--card); font-weight: 600; }
.verdict.harms { border-color: var(--harms); } .verdict.breaks { border-color: var(--breaks); } .verdict.note { border-color: var(--note); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .7rem; margin: 1rem 0; }
.figures div, .finding, figure { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem; }
.figures strong { display: block; font-size: 1.35rem; line-height: 1.3; }
figure { margin: 0 0 .7rem; } figcaption { margin-bottom: .3rem; }
img { display: block; max-width: 100%; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } summary { cursor: pointer; }
"""
