"""Open doors: what users may bring in place of the package's own, named `MODULE:NAME`. One rule for all kinds, one form of error."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ..errors import WarmloopError
from ..settings.near_names import did_you_mean
from .imports import as_sentence, imported, is_importable_name, is_missing


@dataclasses.dataclass(frozen=True)
class Door:
    """One kind of thing that users may bring.

    Attributes:
        noun: what it is, such as "a wrapper".
        wanted: what `MODULE:NAME` must stand for, such as "a class".
        known: the package's own names.
    """

    noun: str
    wanted: str
    known: tuple[str, ...] = ()

    def check(self, text: str, where: str) -> None:
        """Raises WarmloopError unless `text` is one of the package's own or has the form MODULE:NAME; nothing is imported. `where` is
        the setting."""
        if text not in self.known and not is_importable_name(text):
            raise self.unknown(text, where)

    def unknown(self, text: str, where: str) -> WarmloopError:
        """What to say of a text that names nothing."""
        names = ", ".join([*self.known, f"or MODULE:NAME for {self.noun} of your own"])
        return WarmloopError(f'{where} is "{text}"; it must be {names}{self._near(text)}')

    def open(self, text: str, where: str) -> Any:
        """What MODULE:NAME stands for.

        Raises:
            WarmloopError: there is no such module or name, with the near match, or importing it failed.
        """
        try:
            return imported(text, f"{where}={text}")
        except WarmloopError as error:
            said = str(error)
            if said.endswith(".") and is_missing(text.partition(":")[0], error.__cause__):
                said = f"{said[:-1]}{self._near(text)}"
            raise WarmloopError(said) from error

    def call(self, text: str, where: str, called: str, function: Callable[[], Any]) -> Any:
        """What `function`, the user's with its arguments, returns; `called` says how it is called. Raises WarmloopError where it fails."""
        with as_sentence(f"{where}={text}, {called}, failed"):
            return function()

    def refused(self, text: str, where: str, found: Any, verb: str = "is") -> WarmloopError:
        """What to say of something that is not what is wanted."""
        return WarmloopError(f"{where}={text} {verb} {' '.join(repr(found).split()):.60}; {self.wanted} is needed.")

    def _near(self, text: str) -> str:
        """The end of a sentence. What follows a colon is no part of a name of the package's own."""
        return did_you_mean(text.partition(":")[0], (name.partition(":")[0] for name in self.known))
