"""warmloop's own recipes: `sparse`, for success that is seldom seen (docs/sparse.md), and the algorithms as docs/results.md has them.

A recipe named `…_tuned` is the algorithm of that name with what was found to serve few updates on mixed data: rows are drawn by the
quality of their source and their episode, observations are normalised, and on hands something keeps the policy on the data. It has the
widths of the task's networks. Every figure of the scoreboard was made with these.
"""

from __future__ import annotations

import dataclasses

from ...agents import (
    AgentConfig,
    AWACConfig,
    BCConfig,
    BCQConfig,
    CQLConfig,
    DSRLConfig,
    EditConfig,
    FlowBCConfig,
    IQLConfig,
    SACConfig,
    TD3BCConfig,
)
from ...data.errors import WarmloopError
from ..schema import AgentChoice, RunConfig
from .kinds import kind, sparse_reward
from .machine import SPARSE as SPARSE
from .machine import going_on_from, has_accelerator


def sparse(config: RunConfig) -> RunConfig:
    """For sparse success from few demonstrations: SAC that keeps to what succeeded warms up, and IBRL goes on from it (docs/sparse.md). The
    default of Adroit, Meta-World and gym-hil.

    Raises:
        WarmloopError: the reward is not the success signal.
    """
    if not sparse_reward(config):
        raise WarmloopError(
            f'The preset sparse is for rewards of success alone, and the reward of "{config.environment.id}" is its own: set '
            'RewardConfig(signal="success"), or take another preset, such as sac.'
        )
    # Over the 28 dimensions of a hand the mean of the cloning term is too weak to hold the policy.
    settings = dataclasses.replace(SPARSE, bc_reduction="sum" if kind(config) == "dexterous" else "mean")
    warm, agent = AgentChoice("sac", settings), AgentChoice("ibrl", going_on_from(settings))
    return config.replace(agent=agent.seeing_as(config.agent), warmup_agent=warm.seeing_as(config.agent))


def ibrl(config: RunConfig) -> RunConfig:
    """The task's own warm-up, then IBRL: the warm policy stays, and acts where the critics do not all prefer another action. Where success
    alone is rewarded that is the preset `sparse`.

    Raises:
        WarmloopError: the task's own algorithm is not SAC.
    """
    if sparse_reward(config):
        return sparse(config)
    settings = config.agent.settings
    if config.agent.name != "sac" or not isinstance(settings, SACConfig):
        raise WarmloopError(f'The preset ibrl changes the SAC of a task, and "{config.environment.id}" has {config.agent.name}.')
    return config.replace(agent=AgentChoice("ibrl", going_on_from(settings)), warmup_agent=config.agent)


def dsrl(config: RunConfig) -> RunConfig:
    """A flow of chunks of 4 actions warms up by cloning, and DSRL (Wagenmaker et al. 2025) steers its noise: at the paper's size and on its
    rewards, −1 and 0, but with demonstrations in every batch."""
    warm = AgentChoice("flow_bc", FlowBCConfig(hidden=(512,) * 4, horizon=4)).seeing_as(config.agent)
    agent = AgentChoice("dsrl", DSRLConfig()).seeing_as(config.agent)
    reward = {"scale": 1.0, "bias": -1.0} if sparse_reward(config) else {}
    learner = {"frozen_steps": 2_000, "max_utd": 1.0}
    return config.replace(agent=agent, warmup_agent=warm, retention={"ratio": 1.0}, replay={"alpha": 0.0}, reward=reward, learner=learner)


def edit(config: RunConfig) -> RunConfig:
    """Improves a base policy that is there already, `environment.base`: the critics choose among its action and a learnt edit of it (EXPO).
    The warm-up teaches the critics alone, and returns of three steps carry a success back (docs/howto/improve_a_policy.md)."""
    small = not has_accelerator()
    settings = EditConfig(
        hidden=_hidden(config),
        ensemble=4 if small else 10,
        utd=2 if small else 20,
        batch_size=128 if small else 256,
        n_step=3,
        clip_target=sparse_reward(config),
        initial_temperature=1e-3 if sparse_reward(config) else 0.1,
        observation_floor=1e-3 if sparse_reward(config) else 0.0,
    )
    agent = AgentChoice("edit", settings).seeing_as(config.agent)
    half = {"initial_ratio": 0.5, "decay": 1.0, "min_ratio": 0.5, "pooled": False}
    return config.replace(agent=agent, warmup_agent=agent, mixing=half, retention={"ratio": 1.0}, learner={"warmup_steps": 1_000})


def bc_tuned(config: RunConfig) -> RunConfig:
    """`bc` on rows drawn by quality."""
    return _tuned(config, "bc", BCConfig(hidden=_hidden(config)))


def hgdagger_tuned(config: RunConfig) -> RunConfig:
    """`hgdagger` on rows drawn by quality."""
    return bc_tuned(config).replace(mixing={"initial_ratio": 1.0, "decay": 1.0, "min_ratio": 1.0})


def td3bc_tuned(config: RunConfig) -> RunConfig:
    """TD3+BC; on hands α is 0.02, since its paper's 2.5 leaves the data there."""
    return _tuned(config, "td3bc", TD3BCConfig(hidden=_hidden(config), alpha=0.02 if _hands(config) else 2.5))


def iql_tuned(config: RunConfig) -> RunConfig:
    """IQL with its paper's τ, β and dropout, on the rewards as they are."""
    of = "hands" if _hands(config) else kind(config)
    expectile, inverse_temperature, dropout = {"hands": (0.7, 0.5, 0.1), "maze": (0.9, 10.0, 0.0)}.get(of, (0.7, 3.0, 0.0))
    settings = IQLConfig(hidden=_hidden(config), expectile=expectile, inverse_temperature=inverse_temperature, actor_dropout=dropout)
    return _tuned(config, "iql", settings)


def awac_tuned(config: RunConfig) -> RunConfig:
    """AWAC with bounded weights instead of a softmax; λ is 0.1 for hands and arms and 0.333 elsewhere."""
    near = _hands(config) or kind(config) == "manipulation"
    return _tuned(config, "awac", AWACConfig(hidden=_hidden(config), temperature=0.1 if near else 0.333))


def bcq_tuned(config: RunConfig) -> RunConfig:
    """BCQ; on Adroit's hands no action is perturbed, which over their dimensions leaves the data."""
    return _tuned(config, "bcq", BCQConfig(hidden=_hidden(config), perturbation=0.0 if kind(config) == "dexterous" else 0.05))


def cql_tuned(config: RunConfig) -> RunConfig:
    """CQL(H) with LayerNorm and prioritized rows; on Adroit's hands with a cloning term, without which few updates lead off the data."""
    hand = kind(config) == "dexterous"
    cloning = {"bc_weight": 1.0, "bc_reduction": "sum"} if hand else {}
    agent = AgentChoice("cql", CQLConfig(hidden=_hidden(config), ensemble=2, cql_weight=1.0 if hand else 5.0, **cloning))
    return config.replace(agent=agent, warmup_agent=agent)


def calql_tuned(config: RunConfig) -> RunConfig:
    """`cql_tuned` with Cal-QL's calibration, on its rewards: fresh critics then think more of everything than recorded returns say, so
    that the bound does not undo the conservatism from the start."""
    reward = {"scale": 10.0, "bias": -5.0} if sparse_reward(config) else {}
    return cql_tuned(config).replace(agent={"calibrated": True}, warmup_agent={"calibrated": True}, reward=reward)


def _tuned(config: RunConfig, name: str, settings: AgentConfig) -> RunConfig:
    """One algorithm offline and online, on rows drawn by their quality alone, all kept."""
    agent = AgentChoice(name, settings)
    return config.replace(agent=agent, warmup_agent=agent, retention={"ratio": 1.0}, replay={"alpha": 0.0})


def _hidden(config: RunConfig) -> tuple[int, ...]:
    return config.agent.settings.hidden


def _hands(config: RunConfig) -> bool:
    return kind(config) in ("dexterous", "kitchen")
