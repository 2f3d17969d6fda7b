"""Presets on top of any task, by name: `--config=configs/adroit.py:door,wsrl`, or of a configuration of one's own, `my.py,iql,small`.

One algorithm, published, warmloop's own or a user's agent as `MODULE:Name`, and then what changes it.
What would undo a name before it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...data.doors.imports import is_importable_name
from ...data.errors import WarmloopError
from ...data.settings.near_names import did_you_mean
from ..schema import RunConfig
from . import modifiers, own, published
from .own import SPARSE as SPARSE

Preset = Callable[[RunConfig], RunConfig]

PUBLISHED: dict[str, Preset] = {
    preset.__name__: preset
    for preset in (
        published.sac,
        published.rlpd,
        published.wsrl,
        published.hilserl,
        published.cql,
        published.calql,
        published.bc,
        published.hgdagger,
        published.td3bc,
        published.iql,
        published.awac,
        published.bcq,
        published.flow_bc,
        published.mpc,
        published.qc,
        published.qc_fql,
        published.combo,
        published.mopo,
        published.mobile,
        published.pets,
        published.trajectory_transformer,
        published.dreamer,
    )
}
OWN: dict[str, Preset] = {
    preset.__name__: preset
    for preset in (
        own.sparse,
        own.ibrl,
        own.dsrl,
        own.edit,
        own.bc_tuned,
        own.hgdagger_tuned,
        own.td3bc_tuned,
        own.iql_tuned,
        own.awac_tuned,
        own.bcq_tuned,
        own.cql_tuned,
        own.calql_tuned,
    )
}
MODIFIERS: dict[str, Preset] = {
    preset.__name__: preset for preset in (modifiers.then_sac, modifiers.grasp, modifiers.small, modifiers.full)
}
ALGORITHMS: dict[str, Preset] = PUBLISHED | OWN | MODIFIERS

OF_ANY_SIZE = ("bc", "hgdagger")  # published, and without a published size
# What leaves a policy to SAC, with critics or without.
HANDED_OVER = ("bc", "cql", "calql", "td3bc", "iql", "awac", "combo", "mopo", "mobile")


def apply(config: RunConfig, names: Sequence[str]) -> RunConfig:
    """The configuration with these presets on top, in their order.

    Raises:
        WarmloopError: there is none of a name (with the near match), or one does not go with those before it.
    """
    for place, name in enumerate(names):
        if name not in ALGORITHMS and not is_importable_name(name):
            raise WarmloopError(f'There is no algorithm preset "{name}"{did_you_mean(name, ALGORITHMS, one=True, listing=True)}')
        if reason := _unsuitable(name, names[:place]):
            raise WarmloopError(f"The presets {','.join(names)} do not go together: {reason}.")
        config = ALGORITHMS[name](config) if name in ALGORITHMS else of_agent(config, name)
    return config


def of_agent(config: RunConfig, name: str) -> RunConfig:
    """The configuration with the agent `name`, of the package's or MODULE:Name, offline and online."""
    agent = config.agent.named(name, "algorithm")
    return config.replace(agent=agent, warmup_agent=agent)


def _unsuitable(name: str, before: Sequence[str]) -> str:
    """Why a preset cannot follow the ones before it; "" where it can."""
    algorithm = next((one for one in before if one not in MODIFIERS), None)
    if name in before:
        return f"{name} is there twice"
    if name not in MODIFIERS:
        if algorithm is not None:
            return f"{algorithm} and {name} are two algorithms, and the second would undo the first"
        return f"{name} would undo {before[0]}, so write {name},{before[0]}" if before else ""
    if name == "then_sac" and (algorithm or "").removesuffix("_tuned") not in HANDED_OVER:
        them = f"{algorithm} is none" if algorithm else "none is named"
        return f"then_sac fine-tunes what {', '.join(HANDED_OVER)} or a …_tuned of them warmed up, and {them}"
    if {"small", "full"} <= {name, *before}:
        return "small and full are two sizes"
    if name == "full" and algorithm in PUBLISHED and algorithm not in OF_ANY_SIZE:
        return f"{algorithm} has its published size; leave full out"
    return ""
