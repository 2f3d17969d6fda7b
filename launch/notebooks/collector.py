"""Recording demonstrations in a notebook: what the command `collect` does, in memory and with any policy that is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from ...actor.environment.environment import Environment
from ...actor.environment.guard import guarded
from ...actor.episodes.rollout import EpisodePlan, run_episode
from ...actor.policies.outside import OutsidePolicy
from ...actor.policies.policy import NoisyPolicy, Policy
from ...actor.policies.sb3_policy import sb3_model
from ...actor.seeds import COLLECTION_STREAM, episode_seed
from ...data.episode import Episode
from ...data.errors import WarmloopError
from ...data.formats import KINDS, write_episodes
from ...data.reward import RewardConfig
from ...data.settings.near_names import did_you_mean
from ...data.sources.sources import mark
from ..flags.choices import choose_policy
from ..flags.common import progress
from .notebook_config import chosen_config, environment_of, whole
from .trainer import OfflineRLTrainer


class ExpertDataCollector:
    """Records episodes of policies in an environment.

    Args:
        env_id: a Gymnasium id, an environment, or a preset such as "configs/adroit.py:door".
        save_dir: where data sets go.
        seed: decides every episode, together with its number.
        success: the success signal: auto, info:KEY, info:KEY>=X, terminated, operator, reward>=X or return>=X; None for the preset's.

    Raises:
        WarmloopError: there is no such environment.
    """

    def __init__(self, env_id: str | gym.Env, save_dir: str | Path, *, seed: int = 0, success: str | None = None):
        settings = {} if success is None else {"environment": {"success": success}}
        config = chosen_config(env_id, "sac", settings)
        self.config = config.replace(reward=RewardConfig(signal="environment", terminate_on_success=False))
        self.save_dir, self.seed, self.collected = Path(save_dir).expanduser(), seed, 0
        self._env = None if isinstance(env_id, str) else env_id
        self._close(environment_of(self._env, self.config))

    def collect_from_policy(
        self,
        policy: Any,
        n_episodes: int,
        *,
        kind: str = "demos",
        deterministic: bool = False,
        noise: float = 0.0,
        random_share: float = 0.0,
        stop_at_success: bool = True,
    ) -> list[Episode]:
        """Episodes as the environment gave them: its own rewards and endings, actions in [-1, 1].

        Args:
            policy: a model of Stable-Baselines3; an OfflineRLTrainer; a callable from an observation to an action `[A]` in [-1, 1]; an
                object with begin(seed) and __call__(observation, step); or what `collect --policy` takes: "random", "scripted",
                "checkpoint:DIR", "export:DIR", "sb3:PATH.zip", "MODULE:NAME".
            kind: of data they are: demos, suboptimal or random.
            deterministic: act by the mode, where the policy samples its actions.
            noise: standard deviation of the Gaussian noise on the actions.
            random_share: share of the steps in bursts of one random action.
            stop_at_success: cut an episode after its first successful step.

        Raises:
            WarmloopError: the policy does not fit the environment, or gives an action that is none.
        """
        if kind not in KINDS:
            raise WarmloopError(f'"{kind}" is none of the kinds {", ".join(KINDS)}{did_you_mean(kind, KINDS, one=True)}')
        n_episodes = whole("n_episodes", n_episodes)
        environment, acting = self._place(policy, deterministic)
        acting = NoisyPolicy(acting, noise, random_share) if noise or random_share else acting
        episodes = []
        with guarded(environment), progress("collecting", n_episodes) as advance:
            for number in range(self.collected, self.collected + n_episodes):
                seed = episode_seed(self.seed, COLLECTION_STREAM, number, len(environment.tasks))
                plan = EpisodePlan(number, KINDS[kind], stop_at_success)
                episodes.append(run_episode(environment, acting, seed, plan))
                advance()
        self.collected += n_episodes
        self.config = self.config.replace(environment=environment.config)
        self._close(environment)
        return episodes

    def save_dataset(self, dataset: Sequence[Episode], path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes episodes to `path`, below `save_dir` unless it is absolute, in the format that its ending names (.npz, .pkl, .lerobot, or
        none for a Minari folder). Returns the whole path.

        Raises:
            WarmloopError: it exists, no format has such a name, or the disk refuses.
        """
        target = self.save_dir / Path(path).expanduser()
        if target.exists() and not overwrite:
            raise WarmloopError(f"{target} exists; choose another path, or replace it with overwrite=True.")
        write_episodes(target, dataset, {"environment": self.config.environment.id} | mark(self.config.environment.limits))
        return target

    def _place(self, policy: Any, deterministic: bool) -> tuple[Environment, Policy]:
        """The environment, and the policy that acts in it."""
        choice = choose_policy(policy, deterministic) if isinstance(policy, str) else None
        chosen = self.config.environment
        acting_in = choice.acting_in(chosen) if choice else policy.acting_in(chosen) if isinstance(policy, OfflineRLTrainer) else chosen
        if self.collected and acting_in.limits != chosen.limits:
            raise WarmloopError(
                f"This policy's actions are within {acting_in.limits or 'the limits of the action space'}, and those collected before "
                f"within {chosen.limits or 'these limits'}; use another collector."
            )
        environment = environment_of(self._env, self.config.replace(environment=acting_in))
        if choice:
            return environment, choice(environment)
        if isinstance(policy, OfflineRLTrainer):
            return environment, policy.policy_in(environment, deterministic)
        if callable(getattr(policy, "predict", None)) and hasattr(policy, "action_space"):
            return environment, sb3_model(policy, environment, deterministic)
        if not callable(policy):
            raise WarmloopError(f"{policy!r:.60} is no policy; give a callable, a model of Stable-Baselines3, or a name such as random.")
        return environment, OutsidePolicy(getattr(policy, "__name__", type(policy).__name__), policy, environment)

    def _close(self, environment: Environment) -> None:
        if self._env is None:
            environment.close()
