"""What the documents say: their code, their commands and their links, read off the Markdown."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^( *)```(\w*)(?: title=\"([^\"]*)\")?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its language, its title, and what is in it."""

    language: str
    title: str
    text: str


def pages() -> list[Path]:
    """README and every page of the site."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks(text: str) -> list[Block]:
    """A page's fenced blocks."""
    return [Block(found[2], found[3] or "", found[4]) for found in FENCE.finditer(text)]


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", text)


def shell_lines(text: str) -> Iterator[str]:
    """Every line of a page that could be typed: of fenced shell blocks, of indented blocks, and spans of code within sentences."""
    fenced = [block.text for block in blocks(text) if block.language in ("bash", "sh", "console", "")]
    rest = prose(text)
    indented = [re.sub(r"^ {4}", "", line) for line in rest.splitlines() if line.startswith("    ")]
    for line in "\n".join([*fenced, *indented]).replace("\\\n", " ").splitlines():
        yield line.strip()
    yield from SPAN.findall(rest)


def words(line: str) -> list[str]:
    """A line's words as a shell has them, without its comment and the variables before the command; none where it is no shell's line."""
    try:
        found = shlex.split(line, comments=True)
    except ValueError:
        return []
    while found and re.fullmatch(r"\w+=\S*", found[0]):
        found = found[1:]
    return found
