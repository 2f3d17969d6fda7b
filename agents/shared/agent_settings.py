"""Settings of algorithms: a field says what it means and what it may be, and those that several algorithms have come in groups."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, NamedTuple

from ...data.errors import WarmloopError
from ...data.transition import Spec
from ..networks.networks import NETWORK
from ..networks.normaliser import BOUND


class Range(NamedTuple):
    """Which values a setting takes. What has a least value has a finite one."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    among: tuple[str, ...] = ()

    def has(self, value: Any) -> bool:
        """Whether a value lies in it. A tuple does where each of its values does, and not a number never does."""
        if isinstance(value, tuple):
            return all(self.has(each) for each in value)
        if self.among:
            return value in self.among
        high = math.inf if self.below is None and self.most is None else self.below
        enough = (self.least is None or value >= self.least) and (self.above is None or value > self.above)
        return enough and (self.most is None or value <= self.most) and (high is None or value < high)

    def __str__(self) -> str:
        """The end of "it must …"."""
        if self.among:
            return "be " + " or ".join(f'"{each}"' for each in self.among)
        if self.most is not None:
            low = f"[{self.least:g}" if self.least is not None else f"({self.above:g}"
            return f"lie in {low}, {self.most:g}]"
        if self.above is not None:
            return f"be above {self.above:g}" + (f" and below {self.below:g}" if self.below is not None else "")
        return f"be at least {self.least:g}" + (f" and below {self.below:g}" if self.below is not None else "")


class Meaning(NamedTuple):
    """What `setting` says of a field."""

    text: str
    range: Range | None


def setting(default: Any, meaning: str, **bounds: Any) -> Any:
    """A field of a `Settings` class: its default, its meaning, and the values that it may have, by the names of `Range`. A subclass that
    writes `name: type = value` changes the default alone."""
    values = Range(**bounds)
    return dataclasses.field(default=default, metadata={"setting": Meaning(meaning, values if bounds else None)})


@cache
def meanings(cls: type) -> Mapping[str, Meaning]:
    """By name, what `setting` says of the fields of a dataclass and its bases."""
    found = {}
    for base in reversed(cls.__mro__):
        fields = vars(base).get("__dataclass_fields__", {}).values()
        found |= {field.name: field.metadata["setting"] for field in fields if "setting" in field.metadata}
    return found


@dataclasses.dataclass(frozen=True)
class Settings:
    """A group of settings. Making one raises WarmloopError, by name, for a value out of its range.

    Attributes:
        GONE: settings of earlier versions that changed nothing. Saved configurations and checkpoints may have them.
    """

    GONE: ClassVar[tuple[str, ...]] = ()

    def part(self, group: type[Settings]) -> dict[str, Any]:
        """The settings that a group of them has, by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(group)}

    def __post_init__(self):
        for name, (_, bounds) in meanings(type(self)).items():
            value = getattr(self, name)
            if bounds is not None and not bounds.has(value):
                shown = f'"{value}"' if isinstance(value, str) else value
                raise WarmloopError(f"agent.{name} is {shown}; {'each of them' if isinstance(value, tuple) else 'it'} must {bounds}.")


@dataclasses.dataclass(frozen=True)
class NetworkSettings(Settings):
    """Settings of the networks, and of the policy's own."""

    hidden: tuple[int, ...] = setting((256, 256), "widths of the hidden layers", least=1)
    activation: str = setting("relu", "of the hidden layers: relu, tanh, swish, elu, mish or MODULE:NAME, such as jax.nn:gelu")
    actor_hidden: tuple[int, ...] = setting((), "widths of the policy's hidden layers; () for those of `hidden`", least=1)
    actor_layer_norm: bool = setting(False, "LayerNorm on the policy's hidden layers")
    actor_dropout: float = setting(0.0, "share of the policy's hidden units that are dropped in its loss", least=0, below=1)
    actor_network: str = setting("", "a Flax module of one's own, MODULE:NAME, in place of the policy's hidden layers")

    def __post_init__(self):
        super().__post_init__()
        if self.actor_network:
            NETWORK.check(self.actor_network, "agent.actor_network")
            for name in ("actor_hidden", "actor_layer_norm", "actor_dropout"):
                if getattr(self, name):
                    raise WarmloopError(
                        f"agent.{name} is of the policy's own layers, and agent.actor_network replaces them; leave one out."
                    )

    @property
    def actor_widths(self) -> tuple[int, ...]:
        """Widths of the policy's hidden layers."""
        return self.actor_hidden or self.hidden


@dataclasses.dataclass(frozen=True)
class InputSettings(Settings):
    """Settings of what the networks see of an observation's numbers."""

    normalise_observations: bool = setting(True, "centre and scale observations by the offline data's statistics")
    observation_bound: float = setting(
        BOUND, "of normalised observations, in deviations, towards which they are bent from half of it on; 0 is none", least=0
    )
    observation_floor: float = setting(
        0.0, "least deviation that a number is divided by, as a share of the median number's; 0 is each number's own", least=0
    )
    observation_noise: float = setting(0.0, "standard deviation of noise on observations in the losses, in normalised units", least=0)

    def check_images(self, spec: Spec) -> None:
        """Raises WarmloopError where observations have images, and noise on them is asked for."""
        if spec.cameras and self.observation_noise > 0:
            raise WarmloopError("agent.observation_noise is for states; images are shifted by frames.random_shift. Set it to 0.")


@dataclasses.dataclass(frozen=True)
class StepSettings(Settings):
    """Settings of gradient steps."""

    utd: int = setting(1, "K, gradient steps per update", least=1)
    batch_size: int = setting(256, "B, rows per gradient step", least=1)
    actor_lr: float = setting(3e-4, "Adam step size of the policy", least=0)
    weight_decay: float = setting(0.0, "AdamW's decay of all trained kernels; 0 is Adam", least=0)


@dataclasses.dataclass(frozen=True)
class AgentSettings(StepSettings, InputSettings, NetworkSettings):  # fields come in the order of the last group first
    """What every algorithm here has."""


@dataclasses.dataclass(frozen=True)
class CriticSettings(AgentSettings):
    """What every algorithm with critics has beside."""

    ensemble: int = setting(2, "E, number of critics", least=1)
    critic_lr: float = setting(3e-4, "Adam step size of the critics", least=0)
    critic_layer_norm: bool = setting(False, "LayerNorm on the critics' hidden layers")
    critic_dropout: float = setting(0.0, "share of the critics' hidden units that are dropped in their loss", least=0, below=1)
    critic_loss: str = setting(
        "mse", "of the critics: a squared error, or cross entropy over bins between the bounds of the return", among=("mse", "hl_gauss")
    )
    critic_bins: int = setting(51, "bins between the bounds of the return, with hl_gauss", least=2)
    critic_sigma: float = setting(0.75, "deviation of a target's Gaussian over the bins, in widths of a bin", least=0.5, most=10)
    unit_rows: bool = setting(False, "after every step the weights of each hidden unit of the critics have length 1")
    tau: float = setting(0.005, "Polyak rate of the targets", above=0, most=1)
    n_step: int = setting(1, "n, rows of an episode whose rewards a target sums before it bootstraps", least=1)


@dataclasses.dataclass(frozen=True)
class ScaledRewardSettings(CriticSettings):
    """Settings of the algorithms whose critics may learn scaled rewards."""

    normalise_rewards: bool = setting(False, "divide rewards by their standard deviation in the offline data")
    return_span: float = setting(
        0.0, "scale rewards so that the offline episodes' returns lie this far apart, the best from the worst; 0 leaves them", least=0
    )

    def __post_init__(self):
        super().__post_init__()
        if self.normalise_rewards and self.return_span:
            raise WarmloopError("agent.normalise_rewards and agent.return_span both scale rewards; set one of them.")
        if (self.normalise_rewards or self.return_span) and self.critic_loss != "mse":
            raise WarmloopError(
                f"agent.critic_loss={self.critic_loss} has its bins between the bounds of rewards that are not scaled: set "
                "agent.normalise_rewards=False and agent.return_span=0.0, or agent.critic_loss=mse."
            )


@dataclasses.dataclass(frozen=True)
class CloningTermSettings(Settings):
    """Settings of a cloning term beside a critic (`cloning.py`)."""

    bc_weight: float = setting(0.0, "weight of the cloning term; 0 leaves it out", least=0)
    bc_decay: float = setting(1.0, "factor on that weight per critic step", least=0)
    bc_reduction: str = setting("mean", "of squared differences over action dimensions", among=("mean", "sum"))


@dataclasses.dataclass(frozen=True)
class CloningSettings(CloningTermSettings):
    """The same, and which rows are cloned."""

    self_imitation: bool = setting(
        False, "clone every row whose recorded return exceeds the policy's value, beside demonstrations (Oh et al. 2018)"
    )
