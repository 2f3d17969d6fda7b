"""Published algorithms as presets on top of any task: `--config=configs/adroit.py:door,wsrl`.

Each turns a `RunConfig` into one with that algorithm's settings; task settings (environment, success, horizon) stay.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ..agents import AgentConfig, AWACConfig, BCConfig, BCQConfig, CQLConfig, GraspSACConfig, IQLConfig, SACConfig, TD3BCConfig
from ..data.errors import WarmloopError
from .schema import AgentChoice, RunConfig

KINDS = {
    "dexterous": ("AdroitHand", "FrankaKitchen"),
    "manipulation": ("Meta-World/", "Fetch", "gym_hil/"),
    "maze": ("AntMaze", "PointMaze"),
}
# Arms whose last number is a gripper that +1 closes, and where their observations tell its state: gym-hil's has its command, 0 to 255.
GRIPPERS: dict[str, dict[str, Any]] = {
    "gym_hil/": {"grasp_penalty": 0.02, "gripper_states": (14,), "gripper_closed": 255.0},
    "Meta-World/": {},
    "Fetch": {},
}
# Sparse success from few demonstrations: what keeps a narrow, warm policy alive while it improves (docs/results.md).
SPARSE = SACConfig(
    ensemble=2,
    utd=2,
    batch_size=128,
    initial_temperature=1e-2,
    clip_target=True,
    monte_carlo_target=True,
    bc_weight=1.0,
    self_imitation=True,
    actor_tau=0.005,
)
# Few updates of small networks, so larger steps and faster targets.
SMALL = {
    "hidden": (128, 128),
    "vae_hidden": (128, 128),
    "batch_size": 128,
    "ensemble": 2,
    "utd": 1,
    "cql_actions": 4,
    "actor_lr": 1e-3,
    "critic_lr": 1e-3,
    "value_lr": 1e-3,
    "vae_lr": 1e-3,
    "tau": 0.01,
}


def rlpd(config: RunConfig) -> RunConfig:
    """RLPD (Ball et al. 2023): half of every batch offline, 10 critics with LayerNorm, UTD 20, the mean in the actor's loss."""
    settings = SACConfig(hidden=_hidden(config), backup_entropy=getattr(config.agent.settings, "backup_entropy", False))
    agent = AgentChoice("sac", settings)
    mixing = {"initial_ratio": 0.5, "min_ratio": 0.5}
    return config.replace(agent=agent, warmup_agent=agent, mixing=mixing, retention={"ratio": 1.0}, replay={"alpha": 0.0})


def wsrl(config: RunConfig) -> RunConfig:
    """WSRL (Zhou et al. 2025): Cal-QL offline; online plain SAC on online data alone, after 5,000 frozen steps."""
    common = {"hidden": _hidden(config), "ensemble": 10, "target_subset": 2, "actor_layer_norm": True, "actor_lr": 1e-4, "actor_q": "min"}
    agent = AgentChoice("sac", SACConfig(utd=4, **common))
    warmup = AgentChoice("cql", CQLConfig(calibrated=True, **common))
    return config.replace(
        agent=agent,
        warmup_agent=warmup,
        reward=_below_zero(config),
        mixing={"initial_ratio": 1.0, "decay": 0.0, "min_ratio": 0.0},
        retention={"ratio": 0.0},
        replay={"alpha": 0.0},
        learner={"frozen_steps": 5_000},
    )


def hilserl(config: RunConfig) -> RunConfig:
    """HIL-SERL (Luo et al. 2024): RLPD with two critics, γ 0.97, a cold start temperature and no entropy backup."""
    settings = SACConfig(hidden=_hidden(config), ensemble=2, target_subset=2, utd=2, initial_temperature=1e-2, activation="tanh")
    settings_reward = {"discount": 0.97}
    config = rlpd(config).replace(reward=settings_reward)
    return config.replace(agent=AgentChoice("sac", settings), warmup_agent=AgentChoice("sac", settings))


def cql(config: RunConfig) -> RunConfig:
    """CQL(H) (Kumar et al. 2020) offline and online; on Adroit's hands with a cloning term, without which few updates lead off the data
    (docs/results.md)."""
    cloning = {"bc_weight": 1.0, "bc_reduction": "sum"} if _adroit(config) else {}
    agent = AgentChoice("cql", CQLConfig(hidden=_hidden(config), ensemble=2, cql_weight=_conservatism(config), **cloning))
    return config.replace(agent=agent, warmup_agent=agent)


def calql(config: RunConfig) -> RunConfig:
    """Cal-QL (Nakamoto et al. 2023) offline and online; calibration stays on."""
    return cql(config).replace(agent={"calibrated": True}, warmup_agent={"calibrated": True}, reward=_below_zero(config))


def bc(config: RunConfig) -> RunConfig:
    """Behaviour cloning offline; online, of the demonstrations and of a human's interventions (HG-DAgger, Kelly et al. 2019)."""
    return _offline(config, "bc", BCConfig(hidden=_hidden(config)))


def hgdagger(config: RunConfig) -> RunConfig:
    """HG-DAgger (Kelly et al. 2019): cloning of the demonstrations and, online, of every intervention too, which are all that is drawn."""
    return bc(config).replace(mixing={"initial_ratio": 1.0, "decay": 1.0, "min_ratio": 1.0})


def td3bc(config: RunConfig) -> RunConfig:
    """TD3+BC (Fujimoto and Gu 2021) offline and online, with its paper's α but for hands: there 2.5 leaves the data (docs/results.md)."""
    return _offline(config, "td3bc", TD3BCConfig(hidden=_hidden(config), alpha=0.02 if _kind(config) == "dexterous" else 2.5))


def iql(config: RunConfig) -> RunConfig:
    """IQL (Kostrikov et al. 2022) offline and online, with its paper's τ, β and dropout for the kind of task."""
    expectile, inverse_temperature, dropout = {"dexterous": (0.7, 0.5, 0.1), "maze": (0.9, 10.0, 0.0)}.get(_kind(config), (0.7, 3.0, 0.0))
    settings = IQLConfig(hidden=_hidden(config), expectile=expectile, inverse_temperature=inverse_temperature, actor_dropout=dropout)
    return _offline(config, "iql", settings)


def awac(config: RunConfig) -> RunConfig:
    """AWAC (Nair et al. 2020) offline and online; λ is 0.1 for hands and arms and 0.333 elsewhere."""
    temperature = 0.1 if _kind(config) in ("dexterous", "manipulation") else 0.333
    return _offline(config, "awac", AWACConfig(hidden=_hidden(config), temperature=temperature))


def bcq(config: RunConfig) -> RunConfig:
    """BCQ (Fujimoto et al. 2019) offline and online; on Adroit's hands no action is perturbed, which over their dimensions leaves the data
    (docs/results.md)."""
    return _offline(config, "bcq", BCQConfig(hidden=_hidden(config), perturbation=0.0 if _adroit(config) else 0.05))


def then_sac(config: RunConfig) -> RunConfig:
    """Fine-tunes by SAC, with networks of the same shapes and the deviation's floor, what the algorithm named before it warms up:
    `door,td3bc,then_sac`."""
    warm, sparse = config.warmup_agent.settings, config.reward.signal == "success"
    shapes = ("hidden", "activation", "ensemble", "critic_layer_norm", "actor_layer_norm", "normalise_observations", "vision")
    same = {name: getattr(warm, name) for name in (*shapes, "log_std_min") if hasattr(warm, name)}
    reduction = "sum" if _adroit(config) else "mean"
    settings = dataclasses.replace(SPARSE, clip_target=sparse, monte_carlo_target=sparse, bc_reduction=reduction, **same)
    return config.replace(agent=AgentChoice("sac", settings))


def grasp(config: RunConfig) -> RunConfig:
    """The gripper as three commands with a critic of their own, in what is sac so far (HIL-SERL, Luo et al. 2024): `pick-cube,grasp`.

    Raises:
        WarmloopError: the task's gripper is not known, or the agent is not sac.
    """
    environment = config.environment.id
    settings = next((settings for name, settings in GRIPPERS.items() if environment.startswith(name)), None)
    if settings is None:
        raise WarmloopError(
            f'The preset grasp knows the grippers of {", ".join(GRIPPERS)}, and not of "{environment}": '
            'have a config file of your own choose the agent "sac_grasp" with its grippers.'
        )
    if config.agent.name != "sac":
        raise WarmloopError(f'The preset grasp changes the agent "sac", and the agent is "{config.agent.name}".')
    changed = {
        section: AgentChoice("sac_grasp", GraspSACConfig(**vars(choice.settings) | settings))
        for section in ("agent", "warmup_agent")
        if (choice := getattr(config, section)).name == "sac"
    }
    return config.replace(**changed)


def small(config: RunConfig) -> RunConfig:
    """What comes before it, in few updates of small networks, for a laptop: `door,cql,small`."""
    return _sized(config, SMALL, 5_000)


def full(config: RunConfig) -> RunConfig:
    """What comes before it, at the size of published results: two layers of 256, batches of 256, a million updates: `hopper,cql,full`."""
    return _sized(config, {"hidden": (256, 256), "batch_size": 256, "cql_actions": 10}, 1_000_000)


ALGORITHMS: dict[str, Callable[[RunConfig], RunConfig]] = {
    "rlpd": rlpd,
    "wsrl": wsrl,
    "hilserl": hilserl,
    "cql": cql,
    "calql": calql,
    "bc": bc,
    "hgdagger": hgdagger,
    "td3bc": td3bc,
    "iql": iql,
    "awac": awac,
    "bcq": bcq,
    "then_sac": then_sac,
    "grasp": grasp,
    "small": small,
    "full": full,
}


def _offline(config: RunConfig, name: str, settings: AgentConfig) -> RunConfig:
    """One algorithm offline and online, on rows drawn as its paper draws them: by their quality alone, all kept."""
    agent = AgentChoice(name, settings)
    return config.replace(agent=agent, warmup_agent=agent, retention={"ratio": 1.0}, replay={"alpha": 0.0})


def _sized(config: RunConfig, size: Mapping[str, Any], updates: int) -> RunConfig:
    """The configuration with those of the settings that its agents have."""
    sections = {}
    for section in ("agent", "warmup_agent"):
        known = [field.name for field in dataclasses.fields(getattr(config, section).settings)]
        sections[section] = {name: value for name, value in size.items() if name in known}
    return config.replace(**sections, learner={"warmup_steps": updates})


def _below_zero(config: RunConfig) -> dict[str, float]:
    """The published rewards of sparse tasks, −5 and at a success 5: what the recorded returns are is then below what fresh critics say,
    and so Cal-QL's bound, which holds values up to the return, does not undo CQL's conservatism from the start."""
    return {"scale": 10.0, "bias": -5.0} if config.reward.signal == "success" else {}


def _hidden(config: RunConfig) -> tuple[int, ...]:
    return config.agent.settings.hidden


def _conservatism(config: RunConfig) -> float:
    return 1.0 if _adroit(config) else 5.0


def _adroit(config: RunConfig) -> bool:
    return config.environment.id.startswith("AdroitHand")


def _kind(config: RunConfig) -> str:
    """Of the task, as the papers set their algorithms by it: dexterous, manipulation, maze or locomotion."""
    for kind, names in KINDS.items():
        if config.environment.id.startswith(names):
            return kind
    return "locomotion"
