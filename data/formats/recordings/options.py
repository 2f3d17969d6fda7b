"""What a caller says of how a data set is to be read, where the file does not say it itself."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from ...errors import WarmloopError

DONES = ("terminal", "time_limit")


@dataclasses.dataclass(frozen=True)
class BadEpisode:
    """An episode that was left out: its file, its name there, and the sentence that would have refused the file."""

    file: str
    episode: str
    reason: str

    @property
    def number(self) -> int | None:
        """The number that its name ends with; None where it has none."""
        found = re.search(r"(\d+)(\.\w+)?$", self.episode)
        return int(found[1]) if found else None

    def __str__(self) -> str:
        return f"{self.file}, {self.episode}, is left out: {self.reason}"


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """How a data set is read.

    Attributes:
        dones: what `dones` mean in a file that marks the ends of its episodes by them alone: "terminal", the task was over at each;
            "time_limit", each was cut. "" refuses such a file.
        on_bad: is given each bad episode, which is then left out; None refuses a file that has one.
    """

    dones: str = ""
    on_bad: Callable[[BadEpisode], None] | None = None

    def collecting(self, bad: list[BadEpisode]) -> ReadOptions:
        """Itself, with the bad episodes that are left out gathered in `bad` as well, each told once however often the file is read."""
        tell = self.on_bad
        if tell is None:
            return self

        def once(episode: BadEpisode) -> None:
            if episode not in bad:
                bad.append(episode)
                tell(episode)

        return dataclasses.replace(self, on_bad=once)

    def leave_out(self, file: str, episode: str, error: WarmloopError) -> None:
        """Leaves a bad episode out, or raises its error where none may be."""
        if self.on_bad is None:
            raise error
        self.on_bad(BadEpisode(file, episode, str(error)))


PLAIN = ReadOptions()


def check_dones(where: str, dones: str) -> None:
    """Raises WarmloopError unless `dones` is "" or one of DONES; `where` is the setting."""
    if dones and dones not in DONES:
        raise WarmloopError(f'{where} is "{dones}"; it must be {" or ".join(DONES)}.')
