"""Who looks at the page now, and the one state that they all get."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

from ..flags.common import log
from .facts.desks import Desks
from .facts.page_state import PageState
from .facts.run_files import RunFiles

MOST_VIEWERS = 8
TICK_SECONDS, STATE_SECONDS, PING_SECONDS = 0.2, 0.5, 3.0
LINGER_SECONDS = 5.0  # for which the run is looked at when the last viewer has gone
TOO_MANY = f"{MOST_VIEWERS} viewers look at this run already; close a page elsewhere, and this one comes up by itself."


class Viewers:
    """Follows the run while somebody looks, and only then.

    Attributes:
        looking: the viewers by their ids, and who is asked whether each one is still there.
    """

    def __init__(self, files: RunFiles, desks: Desks):
        self.files, self.desks, self._state = files, desks, PageState(files, desks)
        self.looking = set[str]()
        self._newest, self._number = "", 0
        self._following: asyncio.Task[None] | None = None

    @property
    def room(self) -> bool:
        """Whether one more may look."""
        return len(self.looking) < MOST_VIEWERS

    async def events(self, gone: Callable[[], Any]) -> AsyncIterator[str]:
        """What one viewer gets until `gone()`: the newest state whenever there is another, and which pictures are new. What one cannot
        take in time is left out: each event is of the moment in which it is taken."""
        viewer = secrets.token_urlsafe(12)
        self.looking.add(viewer)
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow())
        try:
            yield "retry: 2000\n\n" + _event("hello", {"viewer": viewer})
            sent, pictures, ticks = 0, {}, 0
            while not await gone():
                if sent != self._number:
                    sent = self._number
                    yield f"event: state\ndata: {self._newest}\n\n"
                now = {f"{p.name}/{name}": one.number for p in self.desks.processes.values() for name, one in p.pictures.items()}
                if now != pictures:
                    pictures = now
                    yield _event("cameras", now)
                if (ticks := ticks + 1) % round(PING_SECONDS / TICK_SECONDS) == 0:
                    yield _event("ping", {"viewers": len(self.looking)})
                await asyncio.sleep(TICK_SECONDS)
        finally:
            self.looking.discard(viewer)
            self.desks.lost(viewer)

    async def _follow(self) -> None:
        looking, story = asyncio.create_task(self.desks.run()), None
        await asyncio.sleep(STATE_SECONDS)  # until the run's processes are found
        try:
            unseen = 0.0
            while unseen < LINGER_SECONDS:
                unseen = 0.0 if self.looking else unseen + STATE_SECONDS
                try:
                    await asyncio.to_thread(self.files.refresh)
                    if self.files.story_due and (story is None or story.done()):
                        story = asyncio.create_task(asyncio.to_thread(self.files.read_story))
                    newest = json.dumps(self._state.now() | {"viewers": len(self.looking)}, default=str)
                    if newest != self._newest:
                        self._newest, self._number = newest, self._number + 1
                except Exception as error:  # one damaged file must not blind the page to the rest
                    log.warning("The operator's page could not read the run just now: %s: %s", type(error).__name__, error)
                await asyncio.sleep(STATE_SECONDS)
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking


def _event(name: str, values: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(values)}\n\n"
