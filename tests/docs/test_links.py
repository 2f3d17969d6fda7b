"""Every relative link of the documents leads to a file and, where it names one, to a heading; every page is in the site's list."""

import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from documents import DOCS, ROOT, blocks, pages, prose

LINK = re.compile(r"!?\[[^\]\n]*\]\(([^)\s]+)\)")
GENERATED_ANCHORS = {"settings.md": {"agent-and-warmup_agent"}}


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    found: Counter[str] = Counter()
    names = set()
    for heading in re.findall(r"^#+ +(.+?) *#*$", prose(path.read_text()), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
        kept = "".join(one for one in plain.lower() if one in " -_" or unicodedata.category(one)[0] in "LN")
        slug = kept.strip().replace(" ", "-")
        names.add(f"{slug}-{found[slug]}" if found[slug] else slug)
        found[slug] += 1
    return names


def generated_anchors(path: Path) -> set[str]:
    """Of the sections that are put in when the site is built: the commands, and those of settings that pages link to."""
    from warmloop.launch.starting.commands import COMMANDS

    return {"commands.md": set(COMMANDS)}.get(path.name, GENERATED_ANCHORS.get(path.name, set()))


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    wrong = []
    for target in LINK.findall(prose(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors(file) | generated_anchors(file)):
            wrong.append(target)
        elif page != ROOT / "README.md" and not file.is_relative_to(DOCS):
            wrong.append(f"{target}, which is not in the site")
    return wrong


@pytest.mark.parametrize("page", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert broken(page) == []


def test_the_site_lists_every_page_once():
    listed = re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def test_a_file_that_a_page_shows_whole_is_that_file():
    shown = [(page, block) for page in pages() for block in blocks(page.read_text()) if block.title.endswith(".py")]
    assert len(shown) == 1
    for page, block in shown:
        assert (page.parent / block.title).read_text() == block.text


def test_broken_links_and_headings_that_occur_twice_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `b`, c\n## Twice\n## Twice\n[x](#a-b-c) [x](#twice-1) [y](#nothing) [z](none.md) [w](https://example.org/none)\n")
    assert anchors(page) == {"a-b-c", "twice", "twice-1"}
    assert broken(page)[-2:] == ["#nothing", "none.md"]


def test_the_page_of_the_installation_names_every_extra():
    extras = re.findall(r'^    "(\w+)": (?:\[|[A-Z])', (ROOT / "setup.py").read_text().partition("EXTRAS = {")[2].partition("\n}")[0], re.M)
    page = (DOCS / "start" / "install.md").read_text()
    assert len(extras) > 8 and [extra for extra in extras if f"`{extra}`" not in page] == []
