"""Who may take over from the policy: the flag --intervention, and what it names."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import typing
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from absl import flags

from ...actor.doors import DEVICES, INTERVENER, INTERVENTION_FLAG
from ...actor.doors import INTERVENERS as KINDS
from ...data.doors.imports import is_importable_name
from ...data.errors import WarmloopError

if TYPE_CHECKING:
    from ...actor.environment.environment import Environment
    from ...actor.intervention.intervention import Intervener
    from .choices import PolicyChoice

INTERVENTION = flags.DEFINE_string(
    "intervention",
    "none",
    "Who may take over from the policy: none; a device of a person, which is keyboard, terminal (keys typed where the command runs), "
    "gamepad or spacemouse, or two of them, as in spacemouse+keyboard; teacher, a scripted policy; or MODULE:NAME of your own. Options "
    "follow a colon, as in keyboard:speed=0.5,gripper=sticky, teacher:policy=scripted,patience=10,hold=15 or my_lab:Leader:port=5; see "
    "docs/interventions.md.",
)


@dataclasses.dataclass(frozen=True)
class InterventionChoice:
    """Who may take over, by name; called with the environment, in any process, it makes the intervener.

    Attributes:
        text: as the user names it.
        kinds: of `KINDS`; several are devices of one person. "outside" for one of the user's own.
        options: by name, of their types.
        policy: a teacher's.
        outside: MODULE:NAME of the user's own, and `source`, the hash of its file.
        personal: whether a person does it, who can only be in one place.
    """

    text: str
    kinds: tuple[str, ...]
    options: tuple[tuple[str, Any], ...] = ()
    policy: PolicyChoice | None = None
    outside: str = ""
    source: str = ""
    personal: bool = False

    @property
    def identity(self) -> str:
        """The text, and what a teacher's policy, or a module of the user's, stands for at this moment."""
        stands_for = self.policy.identity if self.policy else self.source
        return f"{self.text} ({stands_for})" if stands_for else self.text

    def __call__(self, environment: Environment) -> Intervener | None:
        """Opens the devices and says what their keys do. Raises WarmloopError where they or their packages are missing."""
        from ...actor.intervention.outside_intervener import outside_intervener
        from ...actor.intervention.teacher import TakeoverRule, Teacher
        from ...actor.teleop import OperatorConfig, manual, open_devices

        if self.outside:
            return outside_intervener(self.outside, environment, dict(self.options))
        if self.policy is not None:
            return Teacher(self.policy(environment), TakeoverRule(**dict(self.options)))
        if self.kinds == ("none",):
            return None
        operator = open_devices(self.kinds, environment.spec.action_dim, OperatorConfig(**dict(self.options)))
        print(manual(self.kinds), flush=True)
        return operator


def choose_intervention(text: str) -> InterventionChoice:
    """The choice that `text`, KIND[+KIND][:NAME=VALUE,...], names.

    Raises:
        WarmloopError: an unknown kind or option (with the near match), or a value that the option does not take.
    """
    from ...actor.intervention.teacher import TakeoverRule
    from ...actor.teleop import OperatorConfig
    from .choices import choose_policy

    named, _, rest = text.partition(":")
    kinds = tuple(named.split("+"))
    if named not in KINDS and is_importable_name(":".join(text.split(":")[:2])):
        return _outside(text)
    for kind in kinds:
        if kind not in KINDS:
            raise INTERVENER.unknown(kind, INTERVENTION_FLAG)
    if len(kinds) > 1 and not (set(kinds) <= set(DEVICES) and len(set(kinds)) == len(kinds)):
        raise WarmloopError(f"--intervention={text}: only devices go together, each once, as in spacemouse+keyboard.")
    if kinds == ("none",):
        if rest:
            raise WarmloopError(f"--intervention={text}: none has no options.")
        return InterventionChoice(text, kinds)
    teaches = kinds == ("teacher",)
    options = _options(text, rest, TakeoverRule if teaches else OperatorConfig, ("policy",) if teaches else ())
    policy = choose_policy(options.pop("policy", "scripted")) if teaches else None
    return InterventionChoice(text, kinds, tuple(options.items()), policy, personal=not teaches)


def _outside(text: str) -> InterventionChoice:
    """An intervener of the user's own, MODULE:NAME[:NAME=VALUE,...]; a person, unless it has an attribute `personal` that is false."""
    from ...data.doors.imports import source_hash

    module, _, rest = text.partition(":")
    name, _, given = rest.partition(":")
    options = dict[str, Any]()
    for part in filter(None, given.split(",")):
        option, equals, value = part.partition("=")
        if not (equals and option.isidentifier()):
            raise WarmloopError(f'--intervention={text}: "{part}" is no option; write NAME=VALUE.')
        options[option] = _value(value)
    outside = f"{module}:{name}"
    personal = bool(getattr(INTERVENER.open(outside, INTERVENTION_FLAG), "personal", True))
    source = f"sha256 {source_hash(outside, f'--intervention={text}')}"
    return InterventionChoice(text, ("outside",), tuple(options.items()), outside=outside, source=source, personal=personal)


def _value(text: str) -> Any:
    """A number, True, False or None as Python has them, and otherwise the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


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
    from ...data.settings.near_names import did_you_mean
    from ...data.settings.typed_values import of_text

    types, options = typing.get_type_hints(config), dict[str, Any]()
    known = (*types, *more)
    for part in filter(None, given.split(",")):
        name, equals, value = part.partition("=")
        if name not in known:
            raise WarmloopError(
                f'--intervention={text}: there is no option "{name}"{did_you_mean(name, known)} There are {", ".join(known)}.'
            )
        if not equals:
            raise WarmloopError(f"--intervention={text}: {name} needs a value, as in {name}=VALUE.")
        try:
            options[name] = of_text(types.get(name, str), value)
        except ValueError:
            raise WarmloopError(f"--intervention={text}: {name}={value} is no number.") from None
    config(**{name: value for name, value in options.items() if name not in more})
    return options
