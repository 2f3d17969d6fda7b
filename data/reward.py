"""The reward that the learner sees, by one rule for recorded episodes and for live environments."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from .episode import Episode, Whole
from .errors import WarmloopError
from .outcome import ask
from .transition import take


@dataclasses.dataclass(frozen=True)
class RewardConfig:
    """How rewards are made: `scale * signal + bias`.

    Attributes:
        signal: "environment" (the reward as it comes) or "success" (1 on a successful step, else 0).
        scale: factor on the signal.
        bias: added after scaling.
        terminate_on_success: the episode is over, with mask 0, at its first successful step.
        discount: γ, for Monte-Carlo returns and the agent's targets.
        cut_returns: the returns of an episode that was cut: "least", what they are at least (not known where the reward has no least one),
            or "recorded", what was paid until the cut.
    """

    signal: str = "success"
    scale: float = 1.0
    bias: float = 0.0
    terminate_on_success: bool = True
    discount: float = 0.99
    cut_returns: str = "least"

    def __post_init__(self):
        if self.signal not in ("environment", "success"):
            raise WarmloopError(f'reward.signal is "{self.signal}"; it must be "environment" or "success".')
        if self.cut_returns not in ("least", "recorded"):
            raise WarmloopError(f'reward.cut_returns is "{self.cut_returns}"; it must be "least" or "recorded".')
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
    """The episode with the learner's rewards, cut at its first success where the config says so, and what its returns are at least.

    A piece of an episode gets the returns of the whole. Of one that lies behind the whole's end no row is left.

    Raises:
        WarmloopError: the config wants a success signal and the episode has none.
    """
    whole = episode.outcome
    if whole.success is None and (config.signal == "success" or config.terminate_on_success):
        raise WarmloopError(
            f"{episode.origin}, episode {episode.number}: no success signal is recorded, and the config asks for one; {ask(episode)}"
        )
    success = np.zeros(len(whole), bool) if whole.success is None else whole.success
    end, mask = len(whole), whole.mask
    if config.terminate_on_success and success.any():
        end = int(np.argmax(success)) + 1
        success, mask = success[:end], mask[:end].copy()
        mask[-1] = 0.0
    reward = config(whole.reward[:end], success).astype(np.float32)
    returns = monte_carlo(reward, mask, config)
    stop = max(min(whole.first + len(episode), end), whole.first)
    rows, kept = slice(whole.first, stop), slice(stop - whole.first)
    truncated = episode.steps.truncated[kept] & (mask[rows] != 0)
    steps = take(episode.steps, kept).replace(reward=reward[rows], mask=mask[rows], truncated=truncated, mc_return=returns[rows])
    flags = None if whole.success is None else success
    extras = {name: values[kept] for name, values in episode.extras.items()}
    rest = None if episode.whole is None else Whole(reward, mask, flags, whole.first)
    return dataclasses.replace(episode, steps=steps, success=None if flags is None else flags[rows], extras=extras, whole=rest)


def discounted(reward: np.ndarray, mask: np.ndarray, discount: float, after: float = 0.0) -> np.ndarray:
    """Discounted sums `[T]` float64 of the rewards to go; `after` stands for what follows the last row, unless that terminated."""
    ahead, returns = after, []
    for paid, alive in zip(reversed(reward.tolist()), reversed(mask.tolist()), strict=True):  # lists: ten times as fast as arrays' items
        ahead = paid + (discount * ahead if alive else 0.0)
        returns.append(ahead)
    return np.array(returns[::-1], np.float64)


def monte_carlo(reward: np.ndarray, mask: np.ndarray, config: RewardConfig) -> np.ndarray:
    """What the return to go `[T]` of each row of one episode is at least, for bounds (MCAC, Cal-QL, self-imitation); -inf: not known.

    An episode that terminated tells its returns. One that was cut tells what it was paid until then; the least that can be missing is
    the least return that the reward allows. So one that fails throughout is at least worth failing for ever, `r_fail / (1 - γ)`, as
    Cal-QL has it (Nakamoto et al. 2023). The environment's own rewards have no least one that is known here. With
    `cut_returns="recorded"` nothing is added to what was paid.

    Args:
        reward: `[T]` as the learner sees it.
        mask: `[T]`, 0 where the episode terminated.
    """
    after = 0.0 if config.cut_returns == "recorded" else return_bounds(config)[0]
    return discounted(reward, mask, config.discount, after).astype(np.float32)


def estimated_returns(episode: Episode, config: RewardConfig) -> np.ndarray:
    """Discounted return to go `[T]` of an episode with the learner's rewards, as far as it was recorded: an estimate, and no bound.

    Of an episode that a sparse reward never paid, and that was cut, it is taken that it goes on failing.
    """
    whole = episode.outcome
    reward, mask = whole.reward, whole.mask
    failed = config.signal == "success" and mask[-1] == 1 and np.all(reward == np.float32(config.bias)) and config.discount < 1
    after = config.bias / (1.0 - config.discount) if failed else 0.0
    return discounted(reward, mask, config.discount, after)[whole.first : whole.first + len(episode)].astype(np.float32)


def return_bounds(config: RewardConfig) -> tuple[float, float]:
    """The least and the greatest discounted return to go that the reward allows; infinite where it has no bound.

    Every step pays `bias`, or `scale + bias` where it succeeds. An episode may end after any step, also by a failure that the environment
    terminates; with `terminate_on_success` a success is its last. Returns lie between those of one step and of going on for ever.
    """
    if config.signal != "success":
        return -math.inf, math.inf
    fail, win = config.bias, config.scale + config.bias

    def forever(reward: float) -> float:
        return reward / (1 - config.discount) if config.discount < 1 else math.copysign(math.inf, reward) if reward else 0.0

    possible = [fail, win, forever(fail), *([] if config.terminate_on_success else [forever(win)])]
    return min(possible), max(possible)
