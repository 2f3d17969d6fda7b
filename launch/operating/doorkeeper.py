"""What every request meets before the page: see access.py."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access import COOKIE, NO_SESSION, WRONG_HOST, WRONG_ORIGIN, Access

LONGEST_BODY = 8192  # bytes of a word or a note
WITHOUT_SESSION = ("/", "/session")
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Doorkeeper:
    """Refuses requests under another host's name, words from another page's scripts, and, where a token is needed, whoever gave none."""

    def __init__(self, app: ASGIApp, access: Access):
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refused = self._why_not(scope)
        if refused:
            await JSONResponse({"refused": refused[1]}, refused[0])(scope, receive, guarded)
        else:
            await self._app(scope, _bounded(receive), guarded)

    def _why_not(self, scope: Scope) -> tuple[int, str] | None:
        """A status and a sentence for who is turned away."""
        headers, path = Headers(scope=scope), scope["path"]
        if not self._access.right_host(headers.get("host")):
            return 421, WRONG_HOST
        if scope["method"] not in ("GET", "HEAD"):
            if not self._access.right_origin(headers.get("origin"), headers.get("host")):
                return 403, WRONG_ORIGIN
            if headers.get("content-type") != "application/json":
                return 415, "A word is JSON."
        if path in WITHOUT_SESSION or path.startswith("/static/"):
            return None
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        return None if self._access.let_in(cookie) else (401, NO_SESSION)


def _bounded(receive: Receive) -> Receive:
    """Ends a request whose body is too long, as if its sender had gone."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        return {"type": "http.disconnect"} if taken > LONGEST_BODY else message

    return bounded
