"""Who is talking to the learner: sessions, their leases, and the fencing of an older one by a newer."""

from __future__ import annotations

import dataclasses
import logging
import math
import secrets
from collections.abc import Callable, Iterable

from ...data.errors import WarmloopError
from ...data.files.names import is_identifier

ENDED_KEPT = 1024  # ended sessions that are remembered, to tell a fenced actor why
SLEPT_SECONDS = 5.0  # between two pulses, which come every second

log = logging.getLogger(__name__)


class UnknownSession(WarmloopError):  # noqa: N818 (the house's errors carry no suffix)
    """The session ended, or is of an earlier learner: the actor has to say Hello again."""


class Fenced(WarmloopError):  # noqa: N818
    """Another process took over the actor's name: this one has to stop."""


@dataclasses.dataclass
class Session:
    """One actor's conversation; its `lease` is in seconds, and `deadline` on the registry's clock."""

    id: str
    actor_id: str
    stream_id: str
    deadline: float
    last_seen: float
    lease: float


class Sessions:
    """The registry. Not thread-safe: its owner holds the lock."""

    def __init__(self, max_actors: int, clock: Callable[[], float]):
        self.max_actors, self.clock = max_actors, clock
        self._live: dict[str, Session] = {}  # by session id
        self._ended: dict[str, Session] = {}
        self._newest: dict[str, Session] = {}  # by actor; the one that may speak for it
        self._expected: dict[str, float] = {}  # streams of an earlier learner's actors, and until when these may come back
        self._pulse: float | None = None
        self._soonest = math.inf  # no lease runs out before; leases are only renewed

    @property
    def live(self) -> list[Session]:
        """Sessions whose lease runs."""
        return list(self._live.values())

    def owner(self, session_id: str) -> str | None:
        """The actor of a session, live or ended; None for an unknown one. May be called without the lock."""
        session = self._live.get(session_id) or self._ended.get(session_id)
        return None if session is None else session.actor_id

    def open(self, actor_id: str, stream_id: str, lease: float) -> tuple[Session, Session | None]:
        """A new session, and the one that it fences. Raises WarmloopError for one actor too many, or a bad name."""
        for what, name in (("actor", actor_id), ("stream", stream_id)):
            if not is_identifier(name):
                raise WarmloopError(f"The {what} name {name[:80]!r} is not usable: take up to 64 letters, digits, '_', '-' and '.'.")
        older = next((session for session in self._live.values() if session.actor_id == actor_id), None)
        if older is not None:
            self.close(older)
        elif len(self._live) >= self.max_actors:
            raise WarmloopError(f"The learner already serves {self.max_actors} actors, its limit; stop one, or raise the limit there.")
        now = self.clock()
        session = Session(secrets.token_hex(16), actor_id, stream_id, now + lease, now, lease)
        self._live[session.id] = self._newest[actor_id] = session
        self._soonest = min(self._soonest, session.deadline)
        self._expected.pop(stream_id, None)
        return session, older

    def get(self, session_id: str) -> Session:
        """The live session, its lease renewed. Raises Fenced or UnknownSession."""
        session = self._live.get(session_id)
        if session is None:
            ended = self._ended.get(session_id)
            if ended is not None and self._newest.get(ended.actor_id, ended) is not ended:
                raise Fenced(f'Another process took over as actor "{ended.actor_id}"; give every actor its own name, or stop one of them.')
            raise UnknownSession("The learner does not know this session: it restarted, or the lease ran out.")
        session.last_seen = self.clock()
        session.deadline = session.last_seen + session.lease
        return session

    def close(self, session: Session) -> None:
        """Ends a session."""
        self._live.pop(session.id, None)
        self._ended[session.id] = session
        if len(self._ended) > ENDED_KEPT:
            oldest = self._ended.pop(next(iter(self._ended)))
            if self._newest.get(oldest.actor_id) is oldest:
                del self._newest[oldest.actor_id]

    def pulse(self) -> None:
        """To be called every second by a learner that other processes talk to.

        In a suspended or stopped process no thread runs, so actors could not reach it: their leases then begin anew.
        """
        self._wake()
        self._pulse = self.clock()

    def expire(self) -> list[Session]:
        """Ends and returns the sessions whose lease has run out while the learner could be reached."""
        self._wake()
        now = self.clock()
        if now <= self._soonest:
            return []
        late = [session for session in self._live.values() if session.deadline < now]
        for session in late:
            self.close(session)
        self._soonest = min((session.deadline for session in self._live.values()), default=math.inf)
        return late

    def expect(self, streams: Iterable[str], lease: float) -> None:
        """The actors that sent these streams to an earlier learner have a lease to come back."""
        self._expected = dict.fromkeys(streams, self.clock() + lease)

    def abandoned(self) -> list[str]:
        """The streams that were expected and whose time is over; to be called after `expire`."""
        late = [name for name, until in self._expected.items() if until < self.clock()]
        for name in late:
            del self._expected[name]
        return late

    @property
    def busy_streams(self) -> set[str]:
        """Streams of live sessions, and those that are expected."""
        return {session.stream_id for session in self._live.values()} | set(self._expected)

    def _wake(self) -> None:
        """Renews the leases where the process did not run; whichever thread runs first afterwards calls this."""
        now = self.clock()
        slept = 0.0 if self._pulse is None else now - self._pulse
        if slept < SLEPT_SECONDS:
            return
        log.warning("The learner did not run for %.0f s; its actors' leases begin anew.", slept)
        self._pulse = now
        for session in self._live.values():
            session.deadline = max(session.deadline, now + session.lease)
        self._expected = {name: until + slept for name, until in self._expected.items()}
