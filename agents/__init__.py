"""What to learn: one file per algorithm, pure functions over arrays."""

from .base import Agent, AgentConfig, HasCritics, HasLikelihood
from .bc import BC, BCConfig
from .cql import CQL, CQLConfig
from .sac import SAC, SACConfig
from .td3bc import TD3BC, TD3BCConfig

AGENTS: dict[str, tuple[type, type]] = {
    "sac": (SAC, SACConfig),
    "cql": (CQL, CQLConfig),
    "bc": (BC, BCConfig),
    "td3bc": (TD3BC, TD3BCConfig),
}

__all__ = [
    "AGENTS",
    "BC",
    "CQL",
    "SAC",
    "TD3BC",
    "Agent",
    "AgentConfig",
    "BCConfig",
    "CQLConfig",
    "HasCritics",
    "HasLikelihood",
    "SACConfig",
    "TD3BCConfig",
]
