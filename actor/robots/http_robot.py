"""A robot behind an HTTP server: requests with time limits, and a sentence for every way they fail."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ...data.errors import EnvironmentFault, WarmloopError


class HttpRobot:
    """Requests to a server, each by POST as in HIL-SERL, one at a time.

    Args:
        url: of the server, `http://HOST:PORT/`.
        timeout: seconds for an answer.
    """

    def __init__(self, url: str, timeout: float):
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise WarmloopError(f'The robot\'s server is "{url}"; it must be http://HOST:PORT/.')
        self.url, self._timeout, self._path = url, timeout, parts.path.rstrip("/")
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)

    def connect(self) -> None:
        """Raises WarmloopError where nobody answers at all."""
        try:
            self._connection.connect()
        except OSError as error:
            raise WarmloopError(f"There is no robot server at {self.url} ({error}); start it, or set SERVER_URL.") from error

    def ask(self, what: str, body: Mapping[str, Any] | None = None, timeout: float | None = None) -> dict[str, Any]:
        """The answer to a request, {} where it is a plain word.

        Raises:
            EnvironmentFault: none came within `timeout` seconds, the server failed, or what came is no answer.
        """
        self._connection.timeout = timeout or self._timeout
        if self._connection.sock is not None:
            self._connection.sock.settimeout(self._connection.timeout)
        try:
            status, content, text = self._exchange(f"{self._path}/{what}", json.dumps(body or {}).encode())
        except (OSError, http.client.HTTPException) as error:
            self.close()
            told = f"within {self._connection.timeout:g} s" if isinstance(error, TimeoutError) else f"({error or type(error).__name__})"
            raise EnvironmentFault(f'The robot at {self.url} did not answer "{what}" {told}.') from error
        if status != 200:
            raise EnvironmentFault(f'The robot at {self.url} answered "{what}" by {status}: {" ".join(text.split())[:200]}.')
        if "json" not in content:
            return {}
        try:
            answer = json.loads(text)
        except ValueError as error:
            raise EnvironmentFault(f'The robot at {self.url} answered "{what}" by what is no JSON: {text[:60]!r}.') from error
        return answer if isinstance(answer, dict) else {"answer": answer}

    def close(self) -> None:
        """Ends the connection; the next request begins another."""
        self._connection.close()

    def _exchange(self, path: str, body: bytes) -> tuple[int, str, str]:
        """Status, content type and text. A connection that the server closed since the last request is begun again."""
        for last in (False, True):
            used = self._connection.sock is not None
            try:
                self._connection.request("POST", path, body, {"Content-Type": "application/json"})
                response = self._connection.getresponse()
                return response.status, response.headers.get("Content-Type", ""), response.read().decode("utf-8", "replace")
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.close()
                if last or not used:
                    raise
        raise AssertionError
