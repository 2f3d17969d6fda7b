"""Who may take over from the policy: the flag --intervention, and what it names."""

from __future__ import annotations

import contextlib
import dataclasses
import typing
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from absl import flags

from ..data.errors import WarmloopError

if TYPE_CHECKING:
    from ..actor.environment import Environment
    from ..actor.intervention import Intervener
    from .choices import PolicyChoice

DEVICES = ("keyboard", "gamepad", "spacemouse")
KINDS = ("none", "teacher", *DEVICES)
INTERVENTION = flags.DEFINE_string(
    "intervention",
    "none",
    "Who may take over from the policy: none, keyboard, gamepad, spacemouse or two of them as spacemouse+keyboard, or teacher. Options "
    "follow as in keyboard:speed=0.5,gripper=sticky or teacher:policy=scripted,patience=10,hold=15; see docs/interventions.md.",
)


@dataclasses.dataclass(frozen=True)
class InterventionChoice:
    """Who may take over, by name; called with the environment, in any process, it makes the intervener.

    Attributes:
        text: as the user names it.
        kinds: of `KINDS`; several are devices of one person.
        options: by name, of their types.
        policy: a teacher's.
    """

    text: str
    kinds: tuple[str, ...]
    options: tuple[tuple[str, Any], ...] = ()
    policy: PolicyChoice | None = None

    @property
    def identity(self) -> str:
        """The text, and what a teacher's policy stands for at this moment."""
        return f"{self.text} ({self.policy.identity})" if self.policy and self.policy.identity else self.text

    @property
    def personal(self) -> bool:
        """Whether a person does it, who can only be in one place."""
        return self.kinds[0] in DEVICES

    def __call__(self, environment: Environment) -> Intervener | None:
        """Opens the devices and says what their keys do. Raises WarmloopError where they or their packages are missing."""
        from ..actor.teacher import TakeoverRule, Teacher
        from ..actor.teleop import OperatorConfig, manual, open_devices

        if self.policy is not None:
            return Teacher(self.policy(environment), TakeoverRule(**dict(self.options)))
        if not self.personal:
            return None
        operator = open_devices(self.kinds, environment.spec.action_dim, OperatorConfig(**dict(self.options)))
        print(manual(self.kinds), flush=True)
        return operator


def choose_intervention(text: str) -> InterventionChoice:
    """The choice that `text`, KIND[+KIND][:NAME=VALUE,...], names.

    Raises:
        WarmloopError: an unknown kind or option (with the near match), or a value that the option does not take.
    """
    from ..actor.matches import near_matches
    from ..actor.teacher import TakeoverRule
    from ..actor.teleop import OperatorConfig
    from .choices import choose_policy

    named, _, rest = text.partition(":")
    kinds = tuple(named.split("+"))
    for kind in kinds:
        if kind not in KINDS:
            raise WarmloopError(f'--intervention={text}: there is no "{kind}"{near_matches(kind, KINDS)} There are {", ".join(KINDS)}.')
    if len(kinds) > 1 and not (set(kinds) <= set(DEVICES) and len(set(kinds)) == len(kinds)):
        raise WarmloopError(f"--intervention={text}: only devices go together, each once, as in spacemouse+keyboard.")
    if kinds == ("none",):
        if rest:
            raise WarmloopError(f"--intervention={text}: none has no options.")
        return InterventionChoice(text, kinds)
    teaches = kinds == ("teacher",)
    options = _options(text, rest, TakeoverRule if teaches else OperatorConfig, ("policy",) if teaches else ())
    policy = choose_policy(options.pop("policy", "scripted")) if teaches else None
    return InterventionChoice(text, kinds, tuple(options.items()), policy)


@contextlib.contextmanager
def intervening(environment: Environment) -> Iterator[Intervener | None]:
    """The intervener of the flag, whose devices are open within the block."""
    intervener = choose_intervention(INTERVENTION.value)(environment)
    try:
        yield intervener
    finally:
        if intervener is not None:
            intervener.close()


def _options(text: str, given: str, config: type, more: tuple[str, ...]) -> dict[str, Any]:
    """`NAME=VALUE,...` by the fields of `config` and their types, checked by it; those of `more` are strings."""
    from ..actor.matches import near_matches

    types, options = typing.get_type_hints(config), dict[str, Any]()
    known = (*types, *more)
    for part in filter(None, given.split(",")):
        name, equals, value = part.partition("=")
        if name not in known:
            raise WarmloopError(
                f'--intervention={text}: there is no option "{name}"{near_matches(name, known)} There are {", ".join(known)}.'
            )
        if not equals:
            raise WarmloopError(f"--intervention={text}: {name} needs a value, as in {name}=VALUE.")
        try:
            options[name] = types.get(name, str)(value)
        except ValueError:
            raise WarmloopError(f"--intervention={text}: {name}={value} is no number.") from None
    config(**{name: value for name, value in options.items() if name not in more})
    return options
