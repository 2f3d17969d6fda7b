"""The reward that the learner sees, by one rule for recorded episodes and for live environments."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from .episode import Episode
from .errors import WarmloopError


@dataclasses.dataclass(frozen=True)
class RewardConfig:
    """How rewards are made: `scale * signal + bias`.

    Attributes:
        signal: "environment" (the reward as it comes) or "success" (1 on a successful step, else 0).
        scale: factor on the signal.
        bias: added after scaling.
        terminate_on_success: the episode is over, with mask 0, at its first successful step.
        discount: γ, for Monte-Carlo returns and the agent's targets.
    """

    signal: str = "success"
    scale: float = 1.0
    bias: float = 0.0
    terminate_on_success: bool = True
    discount: float = 0.99

    def __post_init__(self):
        if self.signal not in ("environment", "success"):
            raise WarmloopError(f'reward.signal is "{self.signal}"; it must be "environment" or "success".')
        for name in ("scale", "bias"):
            if not np.isfinite(getattr(self, name)):
                raise WarmloopError(f"reward.{name} is {getattr(self, name)}; it must be a finite number.")
        if not 0 < self.discount <= 1:
            raise WarmloopError(f"reward.discount is {self.discount}; it must lie in (0, 1].")

    def __call__(self, reward, success):
        """Learner's reward of raw `reward` and bool `success`, of any one shape."""
        signal = np.asarray(success, np.float32) if self.signal == "success" else np.asarray(reward, np.float32)
        return np.float32(self.scale) * signal + np.float32(self.bias)


def apply_reward(episode: Episode, config: RewardConfig) -> Episode:
    """The episode with the learner's rewards, cut at its first success where the config says so, with returns to go.

    Raises:
        WarmloopError: the config wants a success signal and the episode has none.
    """
    success = episode.success
    if success is None:
        if config.signal == "success" or config.terminate_on_success:
            raise WarmloopError(
                f"{episode.origin}, episode {episode.number}: no success signal is recorded, and the config asks for one; "
                "set --config.reward.signal=environment --config.reward.terminate_on_success=False, or record `success`."
            )
        success = np.zeros(len(episode), bool)
    steps = episode.steps
    if config.terminate_on_success and success.any():
        end = int(np.argmax(success)) + 1
        episode, success = episode.part(slice(0, end)), success[:end]
        mask, truncated = episode.steps.mask.copy(), episode.steps.truncated.copy()
        mask[-1], truncated[-1] = 0.0, False
        steps = episode.steps.replace(mask=mask, truncated=truncated)
    steps = steps.replace(reward=config(steps.reward, success).astype(np.float32))
    steps = steps.replace(mc_return=monte_carlo(steps.reward, steps.mask, config))
    return dataclasses.replace(episode, steps=steps, success=success if episode.success is not None else None)


def monte_carlo(reward: np.ndarray, mask: np.ndarray, config: RewardConfig) -> np.ndarray:
    """Discounted return to go `[T]` of one episode (Cal-QL, Nakamoto et al. 2023).

    With a sparse signal, an episode that fails throughout is taken to go on failing: `r_fail / (1 - γ)` at every
    step. Any other return is summed over the recorded steps.
    """
    failed_throughout = config.signal == "success" and mask[-1] == 1 and np.all(reward == np.float32(config.bias))
    if failed_throughout and config.discount < 1:
        return np.full(len(reward), config.bias / (1.0 - config.discount), np.float32)
    returns = np.zeros(len(reward), np.float64)
    ahead = 0.0
    for t in reversed(range(len(reward))):
        ahead = float(reward[t]) + config.discount * float(mask[t]) * ahead
        returns[t] = ahead
    return returns.astype(np.float32)


def return_bounds(config: RewardConfig) -> tuple[float, float]:
    """The least and the greatest discounted return that the reward allows; infinite where it has no bounds.

    A success that ends the episode pays `scale + bias` once; every other step pays `bias`.
    """
    if config.signal != "success":
        return -math.inf, math.inf
    fail, win = config.bias, config.scale + config.bias
    if config.discount == 1:
        bounded = config.terminate_on_success and fail == 0
        return (min(0.0, win), max(0.0, win)) if bounded else (-math.inf, math.inf)
    forever = fail / (1 - config.discount)
    best = win if config.terminate_on_success else win / (1 - config.discount)
    return min(forever, best), max(forever, best)
