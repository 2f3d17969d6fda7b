"""Links from a report to files of its run, relative to where the report lies."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from ...data.pages.sheet import Html, tag
from .story import Story

MOST_CLIPS = 200


def linked(path: Path, out: Path, said: object) -> Html:
    """A link to a file or a folder; its text alone where no relative path leads there."""
    address = relative(path, out)
    return tag("a", said, href=address) if address else tag("span", said)


def relative(path: Path, out: Path) -> str | None:
    """The address of a file from the report's folder, percent-encoded, so that no name is taken for a scheme or a query."""
    try:
        found = os.path.relpath(path.resolve(), out.resolve().parent)
    except ValueError:  # another drive
        return None
    return quote(f"./{Path(found).as_posix()}")


def media(story: Story, out: Path) -> list[object] | None:
    """Links to the videos and pictures of a run."""
    if not story.media:
        return None
    shown = story.media[-MOST_CLIPS:]
    links = (tag("li", linked(file, out, file.relative_to(story.path).as_posix())) for file in shown)
    left = f"The last {len(shown)} of {len(story.media)}, by name. " if len(shown) < len(story.media) else ""
    note = f"{left}They are files beside this page: move them with it."
    return [tag("ul", *links, class_="clips"), tag("p", note, class_="faint")]
