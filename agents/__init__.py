"""What to learn: one file per algorithm, pure functions over arrays."""

from .awac import AWAC, AWACConfig
from .base import Agent, AgentConfig, HasCritics, HasLikelihood
from .bcq import BCQ, BCQConfig
from .cql import CQL, CQLConfig
from .iql import IQL, IQLConfig
from .sac import SAC, SACConfig

AGENTS: dict[str, tuple[type, type]] = {
    "sac": (SAC, SACConfig),
    "cql": (CQL, CQLConfig),
    "iql": (IQL, IQLConfig),
    "awac": (AWAC, AWACConfig),
    "bcq": (BCQ, BCQConfig),
}

__all__ = [
    "AGENTS",
    "AWAC",
    "BCQ",
    "CQL",
    "IQL",
    "SAC",
    "AWACConfig",
    "Agent",
    "AgentConfig",
    "BCQConfig",
    "CQLConfig",
    "HasCritics",
    "HasLikelihood",
    "IQLConfig",
    "SACConfig",
]
