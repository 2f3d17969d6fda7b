"""What mkdocs runs on every page: puts the generated parts in, and has Markdown mean what it means on GitHub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import flags_reference
import settings_reference

ROOT = Path(__file__).resolve().parents[2]
GENERATED = {"settings": settings_reference.page, "commands": flags_reference.page}
MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
CODE_FOLDERS = ("data", "agents", "learner", "actor", "launch", "configs")
ITEM = re.compile(r"( *)([-*]|\d+\.) ")


def on_config(config: Any) -> None:
    """Makes a folder that holds the package without what lies beside it in the repository, for the page of the Python interface."""
    package = ROOT / "build" / "source" / "warmloop"
    package.mkdir(parents=True, exist_ok=True)
    for name in ("__init__.py", *CODE_FOLDERS):
        link = package / name
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT / name)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page's text as mkdocs is to see it."""
    return as_on_github(with_generated(markdown))


def with_generated(markdown: str) -> str:
    """With the sections that a mark `<!-- generated: NAME -->` stands for."""
    return MARK.sub(lambda mark: GENERATED[mark[1]](), markdown)


def as_on_github(markdown: str) -> str:
    """Python-Markdown wants an empty line before a list, and four spaces before what goes on within an item."""
    lines: list[str] = []
    fenced, listed = False, False
    for line in markdown.split("\n"):
        if line.startswith("```"):
            fenced = not fenced
        if fenced:
            lines.append(line)
            continue
        item = ITEM.match(line)
        if item and not item[1] and not listed and lines and lines[-1].strip():
            lines.append("")
        if item and not item[1]:
            listed = True
        elif line.strip() and not line.startswith(" ") and (not lines or not lines[-1].strip()):
            listed = False
        lines.append(re.sub(r"^ {2,3}(?! )", "    ", line) if listed and not item else line)
    return "\n".join(lines)
