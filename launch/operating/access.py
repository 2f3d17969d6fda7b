"""Who may see the page: the right Host, the right Origin, and elsewhere than on loopback a token."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from urllib.parse import urlsplit

from cryptography import x509

from ...data.errors import WarmloopError
from ...data.wire import keyring
from ...data.wire.address import is_loopback
from ...data.wire.keyring import LearnerCredentials

VIEWER = keyring.PAGE  # whose token opens the page
COOKIE = "warmloop-page"
SESSIONS = 64  # that are remembered; beyond them the oldest ends
LOOPBACK = ("localhost", "127.0.0.1", "::1")
WRONG_HOST = "This page is served under another name."
WRONG_ORIGIN = "Words come from this page alone."
NO_SESSION = "Give the token of the page first."


class Access:
    """Judges requests.

    Args:
        host: that is listened on.
        credentials: the learner's part of those that `warmloop credentials` made; None on loopback alone.

    Raises:
        WarmloopError: others could reach `host` and nothing would keep them out, or no token opens the page.
    """

    def __init__(self, host: str, credentials: LearnerCredentials | None = None):
        if credentials is None and not is_loopback(host):
            raise WarmloopError(
                f'Other machines can reach "{host}", so the page needs a certificate and a token there: make them with '
                f"`warmloop credentials --out=credentials --host=THIS_HOST --actors={VIEWER}` and add --credentials=credentials; or listen "
                "on 127.0.0.1."
            )
        self.secured = credentials is not None
        self._token = b""
        self._sessions: dict[str, None] = {}
        self._hosts = {*LOOPBACK}
        if credentials is not None:
            if VIEWER not in credentials.page_tokens:
                raise WarmloopError(
                    f"These credentials have no token for the page; add one with `warmloop credentials --out=credentials "
                    f"--actors={VIEWER}`, and copy the learner's part anew."
                )
            self._token = credentials.page_tokens[VIEWER]
            self._hosts |= set(names_of(credentials.certificate))

    def right_host(self, host: str | None) -> bool:
        """Whether a request's Host is a name of this page: another would be a foreign page's, led here by its own name server."""
        try:
            name = urlsplit(f"//{host or ''}").hostname
        except ValueError:  # brackets that do not close
            return False
        return name is not None and name.lower() in self._hosts

    def right_origin(self, origin: str | None, host: str | None) -> bool:
        """Whether a request that changes something comes from this page itself."""
        scheme = "https" if self.secured else "http"
        return bool(origin) and origin == f"{scheme}://{host}"

    def let_in(self, cookie: str | None) -> bool:
        """Whether a cookie is that of an open session, or none is needed."""
        return not self.secured or any(hmac.compare_digest(cookie or "", session) for session in self._sessions)

    def session(self, token: str) -> str | None:
        """The cookie of a new session for whoever knows the token; None for others."""
        if not hmac.compare_digest(keyring.digest(token), self._token):
            return None
        made = secrets.token_urlsafe(32)
        self._sessions[made] = None
        while len(self._sessions) > SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return made


def names_of(certificate: bytes) -> Iterable[str]:
    """The names and addresses for which a certificate holds."""
    found = x509.load_pem_x509_certificate(certificate)
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    yield from (name.lower() for name in names.get_values_for_type(x509.DNSName))
    yield from (str(address) for address in names.get_values_for_type(x509.IPAddress))
