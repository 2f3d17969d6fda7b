"""When an episode has succeeded: the rules that `environment.success` can name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...data.doors.imports import is_importable_name
from ...data.errors import WarmloopError
from ...data.transition import PyTree, Spec
from ..bridge.info import as_array, says_yes_or_no
from ..doors import OPERATOR as OPERATOR
from ..doors import SUCCESS as DOOR
from ..doors import SUCCESS_SETTING as WHERE
from .classified import KIND, Stages

KEYS = ("success", "is_success", "goal_achieved", "succeed")


class Outcome(NamedTuple):
    """What a rule can tell a step's success from.

    Attributes:
        observation: after the step, as the environment gave it, in the stored dtypes.
        info: the step's.
        terminated: the environment terminated.
        reward: the step's raw reward.
        total: the episode's raw return so far.
    """

    observation: PyTree
    info: Mapping[str, Any]
    terminated: bool
    reward: float
    total: float


class SuccessRule(Protocol):
    """Tells a step's success."""

    def prepare(self, spec: Spec, name: str) -> None:
        """Makes it ready for the environment `name` with observations of `spec`. Raises WarmloopError where it cannot be."""
        ...

    def begin(self) -> None:
        """An episode begins."""
        ...

    def __call__(self, outcome: Outcome) -> tuple[bool | None, float]:
        """Whether the step succeeded, None where it carries no signal, and what the rule adds to its raw reward."""
        ...


class Told:
    """A rule by which the step itself tells, whatever came before."""

    def __init__(self, tell: Callable[[Outcome], bool | None]):
        self._tell = tell

    def prepare(self, spec: Spec, name: str) -> None:
        """Nothing is needed."""

    def begin(self) -> None:
        """Every episode is alike."""

    def __call__(self, outcome: Outcome) -> tuple[bool | None, float]:
        return self._tell(outcome), 0.0


class Classified:
    """A rule by which classifiers tell from the observation."""

    def __init__(self, text: str):
        self._stages = Stages.parse(text)

    def prepare(self, spec: Spec, name: str) -> None:
        self._stages.prepare(spec, name)

    def begin(self) -> None:
        self._stages.begin()

    def __call__(self, outcome: Outcome) -> tuple[bool | None, float]:
        return self._stages(outcome.observation)


class OwnRule:
    """A rule of the user's, `MODULE:NAME`: a function `f(outcome)` that returns True, False or, where a step carries no signal, None; or a
    class, called without arguments, whose objects are called so. They may have `prepare(spec, name)` and `begin()`."""

    def __init__(self, text: str):
        self._text = text
        self._rule: Any = None

    def prepare(self, spec: Spec, name: str) -> None:
        found = DOOR.open(self._text, WHERE)
        self._rule = DOOR.call(self._text, WHERE, "called without arguments", found) if inspect.isclass(found) else found
        if not callable(self._rule):
            raise DOOR.refused(self._text, WHERE, self._rule)
        self._optional("prepare", spec, name)

    def begin(self) -> None:
        self._optional("begin")

    def __call__(self, outcome: Outcome) -> tuple[bool | None, float]:
        said = DOOR.call(self._text, WHERE, "called with a step's outcome", lambda: self._rule(outcome))
        if said is not None and not isinstance(said, bool | np.bool_):
            raise WarmloopError(f"{WHERE}={self._text} returned {said!r:.60} for a step; return True, False or None.")
        return None if said is None else bool(said), 0.0

    def _optional(self, method: str, *arguments: Any) -> None:
        if hasattr(self._rule, method):
            DOOR.call(self._text, WHERE, f"asked to {method}", lambda: getattr(self._rule, method)(*arguments))


def success_rule(rule: str) -> SuccessRule:
    """The rule that a text names; nothing is read from disk until it is prepared. `rule` is one of

        auto             the first of success, is_success, goal_achieved, succeed in the step's info
        info:KEY         the value of KEY in the step's info, true or false
        info:KEY>=X      the same, a number
        terminated       the environment terminated
        reward>=X        the step's raw reward
        return>=X        the episode's raw return so far
        operator         never by itself: only a person's success key says so
        MODULE:NAME      a rule of one's own, see `OwnRule`
        classifier:DIR   what warmloop-classifier trained says so, of the observation; `actor/endings/classified.py` has the options

    Raises:
        WarmloopError: `rule` is none of these.
    """
    if rule == "auto":
        return Told(lambda outcome: flag_of(outcome.info, KEYS))
    key, least = _reached(rule)
    if rule.startswith("info:") and least is not None:
        return Told(lambda outcome: _reaches(outcome.info, key, least))
    if rule.startswith("info:") and len(rule) > len("info:") and ">=" not in rule:
        keys = (rule.removeprefix("info:"),)
        return Told(lambda outcome: flag_of(outcome.info, keys))
    if rule == "terminated":
        return Told(lambda outcome: outcome.terminated)
    if rule == OPERATOR:
        return Told(lambda outcome: False)
    if rule.startswith(KIND):
        return Classified(rule)
    if key == "reward" and least is not None:
        return Told(lambda outcome: outcome.reward >= least)
    if key == "return" and least is not None:
        return Told(lambda outcome: outcome.total >= least)
    if is_importable_name(rule):
        return OwnRule(rule)
    raise DOOR.unknown(rule, WHERE)


def _reached(rule: str) -> tuple[str, float | None]:
    """What a rule `NAME>=NUMBER` compares, and its bound; None where it has none."""
    name, _, bound = rule.removeprefix("info:").rpartition(">=")
    try:
        least = float(bound)
    except ValueError:
        return name, None
    return name, least if name and not math.isnan(least) else None


def _reaches(info: Mapping[str, Any], key: str, least: float) -> bool | None:
    """Whether a number in an info is at least so large; None where the info has none. Raises WarmloopError where it is no number."""
    if info.get(key) is None:
        return None
    array = as_array(info[key])
    if array.size != 1 or array.dtype.kind not in "biuf" or np.isnan(array).any():
        raise WarmloopError(f'The info of a step has as "{key}" {info[key]!r:.60}, and environment.success compares it with {least:g}.')
    return bool(array.item() >= least)


def check_unattended(rule: str, what: str) -> None:
    """Raises WarmloopError where `what`, which hears no person, would find no success by the rule, whatever happened."""
    if rule == OPERATOR:
        raise WarmloopError(
            f"{what} would count no success: environment.success=operator leaves the word to a person, whom an evaluation does not hear. "
            "Name a rule that tells it alone, such as classifier:DIR (docs/classifier.md) or info:KEY, as environment.success or by "
            "`warmloop-evaluate --success`; or judge by hand, by `warmloop-collect --config=FILE --policy=checkpoint:DIR --deterministic "
            "--success=operator --intervention=keyboard`."
        )


def flag_of(info: Mapping[str, Any], keys: tuple[str, ...]) -> bool | None:
    """What the first of `keys` in an info says, of several numbers whether all are true; None where it has none, or None.

    Raises:
        WarmloopError: it says neither true nor false.
    """
    for key in keys:
        if info.get(key) is not None:
            said = info[key]
            array = as_array(said)
            if not says_yes_or_no(array):
                raise WarmloopError(
                    f'The info of a step has as "{key}" {said!r:.60}, which says neither success nor failure; put True or False there, '
                    f'or name another rule by --config.environment.success, such as "info:{key}>=0.9" for a number.'
                )
            return bool(array.all())
    return None
