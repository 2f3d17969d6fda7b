"""Settings of soft actor-critic (`sac.py`), and so of the algorithms that are built on it.

The defaults are RLPD's sizes (Ball et al. 2023). Other published sizes are presets (`configs/recipes/published.py`).
"""

from __future__ import annotations

import dataclasses

from ..data.errors import WarmloopError
from .networks.networks import LOG_STD_MAX, LOG_STD_MIN
from .networks.normaliser import BOUND
from .networks.vision import VisionConfig
from .shared.offline import check, check_choice, check_network, check_shared


@dataclasses.dataclass(frozen=True)
class SACConfig:
    """Settings of SAC.

    Attributes:
        hidden, activation: widths of the hidden layers; relu, tanh, swish, elu or MODULE:NAME, such as jax.nn:gelu, after each.
        actor_network: a Flax module of one's own, MODULE:NAME, in place of the policy's hidden layers; "" for these.
        actor_hidden: widths of the policy's hidden layers; () for those of `hidden`.
        ensemble, target_subset: E critics, of which |M| targets are in the minimum.
        utd, batch_size: K critic steps of B rows for each actor step.
        tau, actor_tau: Polyak rates of the targets and, per actor step, of the policy that acts (1: by the policy that is trained).
        critic_lr, actor_lr, temperature_lr: Adam step sizes.
        initial_temperature, target_entropy_per_dim: α before training, and H̄ / A.
        backup_entropy: whether the target has the entropy term.
        max_backup, backup_actions: the target takes the best of so many of the policy's actions instead of one.
        actor_q: "mean" or "min" over the ensemble in the actor's loss.
        actor_on_block: the policy's step sees all K·B rows of a block instead of its last minibatch.
        clone_updates: critic steps at first in which log π of the recorded action takes the place of Q in the actor's loss.
        critic_layer_norm, actor_layer_norm: LayerNorm on hidden layers.
        log_std_min, log_std_max: bounds of the policy's log standard deviation before its tanh.
        initial_log_std: what it begins with.
        critic_dropout, actor_dropout: share of hidden units that are dropped in the losses.
        weight_decay: AdamW's decay of the critics' and the policy's kernels; 0 is Adam.
        observation_noise: standard deviation of the noise on observations in the losses, in normalised units.
        bc_weight, bc_decay: weight of the cloning term (0 leaves it out), and factor on it per critic step.
        bc_reduction: "mean" or "sum" of squared differences over action dimensions.
        self_imitation: clone every row whose recorded return exceeds the policy's value, beside demonstrations (Oh et al. 2018).
        monte_carlo_target: y is at least the return that the row's episode reached (MCAC, Wilcox et al. 2022).
        clip_target: whether y is clipped to the bounds of the return.
        discount, target_low, target_high: γ, and these bounds (set from the reward's configuration).
        normalise_observations: centre and scale observations by the warm-up data's statistics.
        observation_bound: of normalised observations, in deviations, towards which they are bent from half of it on. 0 is none.
        observation_floor: least deviation that a number is divided by, as a share of the median number's; 0 is each number's own.
        vision: the encoder of camera images.
    """

    hidden: tuple[int, ...] = (256, 256)
    actor_hidden: tuple[int, ...] = ()
    activation: str = "relu"
    actor_network: str = ""
    ensemble: int = 10
    target_subset: int = 2
    utd: int = 20
    batch_size: int = 256
    discount: float = 0.99
    tau: float = 0.005
    actor_tau: float = 1.0
    critic_lr: float = 3e-4
    actor_lr: float = 3e-4
    temperature_lr: float = 3e-4
    initial_temperature: float = 1.0
    target_entropy_per_dim: float = -0.5
    backup_entropy: bool = False
    max_backup: bool = False
    backup_actions: int = 10
    actor_q: str = "mean"
    actor_on_block: bool = False
    clone_updates: int = 0
    critic_layer_norm: bool = True
    actor_layer_norm: bool = False
    log_std_min: float = LOG_STD_MIN
    log_std_max: float = LOG_STD_MAX
    initial_log_std: float = 0.0
    critic_dropout: float = 0.0
    actor_dropout: float = 0.0
    weight_decay: float = 0.0
    observation_noise: float = 0.0
    bc_weight: float = 0.0
    bc_decay: float = 1.0
    bc_reduction: str = "mean"
    self_imitation: bool = False
    monte_carlo_target: bool = False
    clip_target: bool = False
    target_low: float = float("-inf")
    target_high: float = float("inf")
    normalise_observations: bool = True
    observation_bound: float = BOUND
    observation_floor: float = 0.0
    vision: VisionConfig = VisionConfig()

    def __post_init__(self):
        if not 1 <= self.target_subset <= self.ensemble:
            raise WarmloopError(f"agent.target_subset is {self.target_subset}; it must lie between 1 and agent.ensemble ({self.ensemble}).")
        for name, allowed in (("actor_q", ("mean", "min")), ("bc_reduction", ("mean", "sum"))):
            check_choice(self, name, allowed)
        check_shared(self)
        check_network(self)
        check(self, ("critic_dropout", "actor_dropout"), 0, below=1)
        check(self, ("weight_decay", "observation_noise", "bc_weight", "bc_decay", "observation_bound", "observation_floor"), 0)
        check(self, ("initial_temperature",), 1e-6)  # its logarithm is learnt
        check(self, ("backup_actions",), 1)
        check(self, ("clone_updates",), 0)
        if not self.log_std_min < self.initial_log_std < self.log_std_max:
            raise WarmloopError(
                f"agent.initial_log_std is {self.initial_log_std}; it must lie between agent.log_std_min ({self.log_std_min}) and "
                f"agent.log_std_max ({self.log_std_max})."
            )
