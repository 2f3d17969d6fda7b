"""Algorithms with the settings of their papers, by the authors' own launch scripts and configurations, for each kind of task.

Each preset turns a task's `RunConfig` into one with that algorithm's settings; the environment, what counts as success, the horizon and
the pool's capacity stay the task's. `tests/configs/recipes/test_published.py` lists every setting with its source, and every difference
with its reason. Rows are drawn uniformly and all are kept: quality weights, priorities and retention are warmloop's own
(`configs/recipes/own.py`).
"""

from __future__ import annotations

import math
from typing import Any

from ...agents import (
    AgentConfig,
    AWACConfig,
    BCConfig,
    BCQConfig,
    COMBOConfig,
    CQLConfig,
    DreamerConfig,
    FlowBCConfig,
    IQLConfig,
    MPCConfig,
    PETSConfig,
    QCConfig,
    QCFQLConfig,
    SACConfig,
    TD3BCConfig,
    TrajectoryTransformerConfig,
)
from ..schema import AgentChoice, RunConfig
from .kinds import kind, sparse_reward

# Every row weighs the same, whatever its source and however its episode went.
ALIKE = {"demos": 1.0, "suboptimal": 1.0, "random": 1.0, "interventions": 1.0, "success_bonus": 1.0, "score_share": 0.0}
POOLED = {"pooled": True}  # offline and online rows as one data set
HALF = {"initial_ratio": 0.5, "decay": 1.0, "min_ratio": 0.5, "pooled": False}
QUARTER = HALF | {"initial_ratio": 0.25, "min_ratio": 0.25}
NO_OFFLINE = {"initial_ratio": 1.0, "decay": 0.0, "min_ratio": 0.0, "pooled": False}  # once there are online rows
MINUS_ONE = {"scale": 1.0, "bias": -1.0}  # −1 a step, 0 at a success
TEN = {"scale": 10.0, "bias": -5.0}  # −5 a step, 5 at a success
MILLION = 1_000_000


def sac(config: RunConfig) -> RunConfig:
    """SAC (Haarnoja et al. 2018) as Stable-Baselines3 and SBX have it: two critics, one update a step, uniform replay, H̄ = −A."""
    settings = SACConfig(
        ensemble=2,
        target_subset=2,
        utd=1,
        target_entropy_per_dim=-1.0,
        backup_entropy=True,
        actor_q="min",
        critic_layer_norm=False,
        normalise_observations=False,
    )
    config = _uniform(config, "sac", settings).replace(reward={"scale": 1.0, "bias": 0.0}, mixing=POOLED)
    # The policy acts by its newest weights; serialising 75,000 numbers at every step would cost half of the speed.
    return config.replace(learner=_online(100, publish_every=10), actor={"random_steps": 100, "swap": "step"})


def rlpd(config: RunConfig) -> RunConfig:
    """RLPD (Ball et al. 2023): no warm-up, half of every batch offline, 10 critics with LayerNorm, UTD 20, 5,000 random steps."""
    of, hands_or_maze = kind(config), kind(config) in ("dexterous", "maze")
    settings = SACConfig(
        hidden=(256, 256, 256) if hands_or_maze else (256, 256),
        target_subset=1 if of == "maze" else 2,
        backup_entropy=of == "locomotion" and not sparse_reward(config),
        normalise_observations=False,
    )
    config = _uniform(config, "sac", settings).replace(mixing=HALF, reward=_sparse(config, MINUS_ONE))
    return config.replace(learner=_online(5_000, warmup_steps=0), actor={"random_steps": 5_000})


def hilserl(config: RunConfig) -> RunConfig:
    """HIL-SERL (Luo et al. 2024): half of every batch demonstrations and interventions, two critics, γ 0.97, a cold temperature."""
    settings = SACConfig(
        activation="tanh",
        ensemble=2,
        target_subset=2,
        utd=2,
        initial_temperature=1e-2,
        actor_layer_norm=True,
        log_std_min=math.log(1e-5),
        log_std_max=math.log(5.0),
        normalise_observations=False,
    )
    config = _uniform(config, "sac", settings).replace(mixing=HALF, reward={"scale": 1.0, "bias": 0.0, "discount": 0.97})
    return config.replace(learner=_online(100, warmup_steps=0, publish_every=50), frames={"random_shift": 4})


def wsrl(config: RunConfig) -> RunConfig:
    """WSRL (Zhou et al. 2025): Cal-QL offline, CQL for locomotion; online SAC on online rows alone, after 5,000 frozen steps."""
    of = kind(config)
    critics, policy, updates, weight = {
        "maze": ((256,) * 4, (256, 256), MILLION, 5.0),
        "kitchen": ((512,) * 3, (512,) * 3, 250_000, 5.0),
        "locomotion": ((256, 256), (256, 256), 250_000, 5.0),
    }.get(of, ((512,) * 3, (512, 512), 20_000, 1.0))
    common: dict[str, Any] = {
        "hidden": critics,
        "actor_hidden": policy,
        "ensemble": 10,
        "target_subset": 2,
        "actor_layer_norm": True,
        "actor_lr": 1e-4,
        "temperature_lr": 1e-4,
        "target_entropy_per_dim": -1.0,
        "actor_q": "min",
        "log_std_min": math.log(1e-5),
        "log_std_max": math.log(10.0),
        "normalise_observations": False,
    }
    dual = {"lagrange": True, "lagrange_gap": 0.8} if of == "maze" else {}
    warm = CQLConfig(**common, **dual, calibrated=of != "locomotion", cql_weight=weight, max_backup=True, importance=of != "kitchen")
    fine = SACConfig(**common, utd=4, actor_on_block=True, max_backup=of == "maze")
    agent = AgentChoice("sac", fine).seeing_as(config.agent)
    config = _uniform(config, "cql", warm).replace(agent=agent, mixing=NO_OFFLINE, retention={"ratio": 0.0})
    # Of a kitchen's four stages those that are left, less one each.
    reward = {"scale": 1.0, "bias": -4.0} if of == "kitchen" and not sparse_reward(config) else _sparse(config, TEN)
    return config.replace(reward=reward, learner=_online(5_000, warmup_steps=updates))


def cql(config: RunConfig) -> RunConfig:
    """CQL(H) (Kumar et al. 2020), offline and online: by its own script for locomotion, elsewhere as the baseline of Cal-QL's scripts."""
    if kind(config) != "locomotion":
        return calql(config).replace(agent={"calibrated": False}, warmup_agent={"calibrated": False})
    settings = _conservative(hidden=(256, 256, 256), clone_updates=40_000)
    return _uniform(config, "cql", settings).replace(mixing=HALF, learner=_online(0, warmup_steps=MILLION))


def calql(config: RunConfig) -> RunConfig:
    """Cal-QL (Nakamoto et al. 2023), offline and online; calibration and the conservative term stay on."""
    of = kind(config)
    both: dict[str, Any] = {"calibrated": True, "max_backup": True, "initial_log_std": -1.0}
    settings, mixing, updates = {
        "maze": (
            dict(hidden=(256,) * 4, actor_hidden=(256, 256), lagrange=True, lagrange_gap=0.8, initial_multiplier=math.e),
            HALF,
            MILLION,
        ),
        "kitchen": (dict(hidden=(512,) * 3, importance=False), QUARTER, 500_000),
        "locomotion": (dict(hidden=(256, 256)), POOLED, MILLION),
    }.get(of, (dict(hidden=(512,) * 3, actor_hidden=(512, 512), cql_weight=1.0), HALF, 20_000))
    config = _uniform(config, "cql", _conservative(**both | settings))
    return config.replace(mixing=mixing, reward=_sparse(config, TEN), learner=_online(0, warmup_steps=updates))


def iql(config: RunConfig) -> RunConfig:
    """IQL (Kostrikov et al. 2022), offline and online, with τ, β, dropout and rewards of its configurations."""
    of = kind(config)
    expectile, inverse_temperature, dropout = {"locomotion": (0.7, 3.0, 0.0), "maze": (0.9, 10.0, 0.0)}.get(of, (0.7, 0.5, 0.1))
    settings = IQLConfig(
        expectile=expectile,
        inverse_temperature=inverse_temperature,
        actor_dropout=dropout,
        normalise_observations=False,
        return_span=1_000.0 if of == "locomotion" and not sparse_reward(config) else 0.0,
    )
    reward = _sparse(config, MINUS_ONE) if of == "maze" else {}
    return _uniform(config, "iql", settings).replace(mixing=POOLED, reward=reward, learner=_online(0, warmup_steps=MILLION))


def awac(config: RunConfig) -> RunConfig:
    """AWAC (Nair et al. 2020), offline and online, by its scripts for locomotion and, elsewhere, for hands."""
    common: dict[str, Any] = {"batch_size": 1_024, "weighting": "softmax", "actor_l2": 1e-4, "normalise_observations": False}
    if kind(config) == "locomotion":
        settings, reward, updates = AWACConfig(**common, actor_hidden=(256,) * 4, temperature=2.0), {}, 50_000
    else:
        clipped = {"baseline": "mean", "advantage_limit": 0.5, "clip_target": sparse_reward(config)}
        settings, reward, updates = AWACConfig(**common, **clipped, temperature=0.5), _sparse(config, MINUS_ONE), 25_000
    return _uniform(config, "awac", settings).replace(mixing=POOLED, reward=reward, learner=_online(0, warmup_steps=updates))


def td3bc(config: RunConfig) -> RunConfig:
    """TD3+BC (Fujimoto and Gu 2021) offline; online it goes on alike, which its paper does not."""
    settings = TD3BCConfig(alpha=2.5, observation_bound=0.0)
    return _uniform(config, "td3bc", settings).replace(mixing=POOLED, learner=_online(0, warmup_steps=MILLION))


def bcq(config: RunConfig) -> RunConfig:
    """BCQ (Fujimoto et al. 2019) offline; online it goes on alike, which its paper does not."""
    settings = BCQConfig(hidden=(400, 300), batch_size=100, normalise_observations=False)
    return _uniform(config, "bcq", settings).replace(mixing=POOLED, learner=_online(0, warmup_steps=MILLION))


def bc(config: RunConfig) -> RunConfig:
    """Behaviour cloning offline; online, of the demonstrations and of a human's interventions."""
    return _uniform(config, "bc", BCConfig()).replace(reward={"discount": config.reward.discount})  # of what may fine-tune it


def hgdagger(config: RunConfig) -> RunConfig:
    """HG-DAgger (Kelly et al. 2019): cloning of the demonstrations and, online, of every intervention too, which are all that is drawn."""
    return bc(config).replace(mixing={"initial_ratio": 1.0, "decay": 1.0, "min_ratio": 1.0, "pooled": False})


def flow_bc(config: RunConfig) -> RunConfig:
    """Behaviour cloning by a flow of chunks of 5 actions, which is what Q-chunking (Li et al. 2025) improves, at its size."""
    config = _uniform(config, "flow_bc", FlowBCConfig(hidden=(512,) * 4, normalise_observations=False))
    return config.replace(mixing=POOLED, learner=_online(0, warmup_steps=MILLION))


def qc(config: RunConfig) -> RunConfig:
    """QC (Li et al. 2025): the best of 32 chunks of 5 actions, offline and online, from one pool; updates begin after 5,000 steps."""
    config = _uniform(config, "qc", QCConfig(normalise_observations=False)).replace(mixing=POOLED, reward=_sparse(config, MINUS_ONE))
    return config.replace(learner=_online(5_000, warmup_steps=MILLION))


def qc_fql(config: RunConfig) -> RunConfig:
    """QC-FQL (Li et al. 2025): as `qc`, with a one-step policy near the flow, α = 100."""
    settings = QCFQLConfig(normalise_observations=False)
    config = _uniform(config, "qc_fql", settings).replace(mixing=POOLED, reward=_sparse(config, MINUS_ONE))
    return config.replace(learner=_online(5_000, warmup_steps=MILLION))


def combo(config: RunConfig) -> RunConfig:
    """COMBO (Yu et al. 2021): CQL on half data and half rollouts of a model, offline; online it goes on alike, which its paper does not."""
    return _modelled(config, _conservative(hidden=(256,) * 3, cql_weight=1.0), MILLION)


def mopo(config: RunConfig) -> RunConfig:
    """MOPO (Yu et al. 2020): SAC on rollouts of a model, whose rewards are lowered by the model's deviation."""
    return _modelled(config, _conservative(cql_weight=0.0), 3 * MILLION, real_share=0.05, penalty="mopo", penalty_weight=0.5)


def mobile(config: RunConfig) -> RunConfig:
    """MOBILE (Sun et al. 2023): the same, with rewards lowered by how far the members' values of the next state lie apart."""
    options: dict[str, Any] = {"real_share": 0.05, "penalty": "mobile", "penalty_weight": 1.5, "rollout_length": 1}
    return _modelled(config, _conservative(cql_weight=0.0), 3 * MILLION, **options)


def pets(config: RunConfig) -> RunConfig:
    """PETS (Chua et al. 2018) as mbrl-lib has it for HalfCheetah: plans of 30 actions in a learnt model, after 1,000 random steps."""
    plan: dict[str, Any] = {"plan_horizon": 30, "plan_samples": 350, "plan_elites": 35, "plan_iterations": 5, "plan_particles": 4}
    settings = PETSConfig(**plan, batch_size=32, model_lr=2e-4, model_decay=3e-5, observation_bound=0.0)
    config = _uniform(config, "pets", settings).replace(mixing=POOLED)
    # The newest model plans, also within an episode.
    return config.replace(learner=_online(1_000, warmup_steps=0, publish_every=10), actor={"random_steps": 1_000, "swap": "step"})


def _modelled(config: RunConfig, settings: CQLConfig, updates: int, **options: Any) -> RunConfig:
    """These settings of SAC and CQL with a model of the dynamics, offline and online."""
    combo = COMBOConfig(**vars(settings) | options)
    return _uniform(config, "combo", combo).replace(mixing=POOLED, learner=_online(0, warmup_steps=updates))


def trajectory_transformer(config: RunConfig) -> RunConfig:
    """Trajectory Transformer (Janner et al. 2021), 50 passes over a million rows; online it goes on alike from one pool, which its paper
    does not. HalfCheetah's plans are short, as in the authors' configurations, and rare rewards get bins of equal width."""
    cheetah = config.environment.id.rpartition(":")[2].startswith("HalfCheetah")
    settings = TrajectoryTransformerConfig(
        spacing="uniform" if sparse_reward(config) else "quantile", beams=32 if cheetah else 128, plan_steps=5 if cheetah else 15
    )
    config = _uniform(config, "trajectory_transformer", settings).replace(mixing=POOLED, reward={"cut_returns": "recorded"})
    return config.replace(learner=_online(0, warmup_steps=50 * MILLION // settings.batch_size, warmup_checkpoints=1, held_out=0.0))


def mpc(config: RunConfig) -> RunConfig:
    """TD-MPC2 (Hansen et al. 2024) at five million parameters, γ by the episode's length. Demonstrations are cloned first, and are then
    half of each batch, falling to a quarter, as in MoDem (Hansen et al. 2023); a success is worth 10, so that plans tell it apart."""
    sparse, steps = sparse_reward(config), max(config.learner.online_steps, 1)
    settings = MPCConfig(bc_weight=1.0 if sparse else 0.0)
    mixing = {"initial_ratio": 0.5, "decay": 0.5 ** (1 / steps), "min_ratio": 0.25, "pooled": False}
    config = _uniform(config, "mpc", settings).replace(mixing=mixing, reward=_sparse(config, {"scale": 10.0, "bias": 0.0}))
    if episode := config.environment.horizon:
        config = config.replace(reward={"discount": min(max(1.0 - 5.0 / episode, 0.95), 0.995)})
    return config.replace(learner=_online(1_000, warmup_steps=10_000))


def dreamer(config: RunConfig) -> RunConfig:
    """DreamerV3 (Hafner et al. 2023) as its authors set it for states: a million parameters, 16 windows of 64 rows at every environment
    step, γ = 1 − 1/333. Their size for cameras is `agent.hidden=(256,256,256)` or more. Updates begin after 1,024 steps."""
    config = _uniform(config, "dreamer", DreamerConfig(normalise_observations=False)).replace(mixing=POOLED, frames={"random_shift": 0})
    return config.replace(reward={"discount": 1.0 - 1.0 / 333.0}, learner=_online(1_024))


def _uniform(config: RunConfig, name: str, settings: AgentConfig) -> RunConfig:
    """One agent offline and online, with the task's encoder of pictures and γ = 0.99, on rows that are drawn alike and all kept."""
    agent = AgentChoice(name, settings).seeing_as(config.agent)
    replay = {"alpha": 0.0, "quality_in": "sampling"}
    config = config.replace(agent=agent, warmup_agent=agent, quality=ALIKE, replay=replay, retention={"ratio": 1.0})
    return config.replace(reward={"discount": 0.99})


def _online(frozen_steps: int, **more: float) -> dict[str, Any]:
    """The learner's pace: updates begin after so many environment steps, and then one is done for each."""
    return {"frozen_steps": frozen_steps, "max_utd": 1.0} | more


def _conservative(**more: Any) -> CQLConfig:
    """What CQL's and Cal-QL's codes have in common: two plain critics, the least in the actor's loss, H̄ = −A, c = 5."""
    common = {"ensemble": 2, "target_subset": 2, "critic_layer_norm": False, "actor_q": "min", "target_entropy_per_dim": -1.0}
    return CQLConfig(**common | {"temperature_lr": 1e-4, "normalise_observations": False} | more)  # type: ignore[arg-type]


def _sparse(config: RunConfig, reward: dict[str, float]) -> dict[str, float]:
    """These rewards where success is all that is rewarded."""
    return reward if sparse_reward(config) else {}
