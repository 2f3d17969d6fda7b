"""The page as a web application: what is served under which address, and to whom."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .access import COOKIE, Access
from .doorkeeper import Doorkeeper
from .facts.curves_shown import curves
from .facts.desks import Desks
from .facts.page_state import marks
from .facts.run_files import RunFiles
from .viewers import TOO_MANY, Viewers

STATIC = Path(__file__).parent / "static"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MOST_MARKS = 400
LONGEST_NOTE = 500
WORDS = ("success", "failure", "discard", "rerecord", "pause", "resume", "evaluate", "stop")


class Site:
    """What is asked, and the answers. `app` is the application."""

    def __init__(self, run: Path, access: Access):
        self.files, self.desks, self._access = RunFiles(run), Desks(RunFiles(run).folder.desks), access
        self.viewers = Viewers(self.files, self.desks)
        self._drawn: tuple[tuple[int, int], bytes] = ((-1, -1), b"")
        routes = [
            Route("/", self.page),
            Route("/static/{name}", self.static),
            Route("/session", self.session, methods=["POST"]),
            Route("/live", self.live),
            Route("/curves", self.curves),
            Route("/episodes", self.episodes),
            Route("/camera/{actor}/{camera}", self.camera),
            Route("/clip/{name}", self.clip),
            Route("/word", self.word, methods=["POST"]),
            Route("/note", self.note, methods=["POST"]),
        ]
        self.app = Doorkeeper(Starlette(routes=routes), access)

    async def page(self, request: Request) -> Response:
        """The page, or what asks for its token."""
        let_in = self._access.let_in(request.cookies.get(COOKIE))
        return _file(STATIC / ("page.html" if let_in else "token.html"))

    async def static(self, request: Request) -> Response:
        """A file that the page is made of."""
        name = request.path_params["name"]
        if name not in {path.name for path in STATIC.iterdir() if path.suffix in KINDS}:
            raise HTTPException(404)
        return _file(STATIC / name)

    async def session(self, request: Request) -> Response:
        """Lets in who knows the token."""
        given = await _values(request)
        session = self._access.session(str(given.get("token", "")).strip())
        if session is None:
            return _refused("This is not the page's token; it is in credentials/page/token, where the credentials were made.", 403)
        answer = JSONResponse({})
        answer.set_cookie(COOKIE, session, httponly=True, secure=True, samesite="strict")
        return answer

    async def live(self, request: Request) -> Response:
        """A stream of events that lasts while a viewer looks."""
        if request.method == "HEAD":
            return Response(status_code=405)
        if not self.viewers.room:
            return _refused(TOO_MANY, 503)
        events = self.viewers.events(request.is_disconnected)
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def curves(self, request: Request) -> Response:
        """What the plots draw."""
        state = self.files.changes, self.files.readings
        if self._drawn[0] != state:
            self._drawn = state, await asyncio.to_thread(lambda: json.dumps(curves(self.files)).encode())
        return Response(self._drawn[1], media_type="application/json")

    async def episodes(self, request: Request) -> Response:
        """The newest episodes whose id is above `after`."""
        try:
            after = int(request.query_params.get("after", "-1"))
        except ValueError:
            raise HTTPException(400) from None
        shown = await asyncio.to_thread(marks, self.files, after, MOST_MARKS)
        return JSONResponse({"readings": self.files.readings, "episodes": shown})

    async def camera(self, request: Request) -> Response:
        """A camera's newest picture."""
        process = self.desks.processes.get(request.path_params["actor"])
        picture = process and process.pictures.get(request.path_params["camera"])
        data = picture and await asyncio.to_thread(picture.encoded)
        if not picture or not data:
            raise HTTPException(404)
        return Response(data, media_type=picture.kind)

    async def clip(self, request: Request) -> Response:
        """A recorded episode."""
        name = request.path_params["name"]
        path = self.files.folder.videos / name
        if not re.fullmatch(r"[\w.-]+\.mp4", name, re.ASCII) or not path.is_file():
            raise HTTPException(404)
        return FileResponse(path, media_type="video/mp4")

    async def word(self, request: Request) -> Response:
        """Says a word to an actor, or to the run."""
        given = await _values(request)
        actor, word, viewer = (str(given.get(name, "")) for name in ("actor", "word", "viewer"))
        if viewer not in self.viewers.looking:
            return _refused("This page had lost its run, so the word does not count: look whether it is back, and say it again.", 409)
        if word not in WORDS:
            return _refused("There is no such word.", 400)
        name = "learner" if word == "stop" and "learner" in self.desks.processes else actor
        more = {"episodes": given.get("episodes")} if word == "evaluate" else {}
        refused = await self.desks.say(name, word, viewer, **more)
        return _refused(refused, 409) if refused else JSONResponse({})

    async def note(self, request: Request) -> Response:
        """Writes a note about an episode into the run's folder."""
        given = await _values(request)
        actor, number, text = str(given.get("actor", "")), given.get("number"), str(given.get("text", "")).strip()
        known = any(one.get("actor") == actor and one.get("number") == number for one in [*self.files.episodes])
        if not known or len(text) > LONGEST_NOTE:
            return _refused(f"A note is of an episode of this run, and has up to {LONGEST_NOTE} characters.", 400)
        line = {"time": round(time.time(), 3), "actor": actor, "number": number, "text": text}
        try:
            with open(self.files.folder.notes, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            return _refused(f"The note cannot be written: {error.strerror}.", 507)
        return JSONResponse({})


def _file(path: Path) -> Response:
    return FileResponse(path, media_type=KINDS[path.suffix], headers={"Cache-Control": "no-cache"})


def _refused(sentence: str, status: int) -> Response:
    return JSONResponse({"refused": sentence}, status)


async def _values(request: Request) -> dict[str, Any]:
    try:
        values = json.loads(await request.body())
    except ValueError:
        raise HTTPException(400) from None
    if not isinstance(values, dict):
        raise HTTPException(400)
    return values
