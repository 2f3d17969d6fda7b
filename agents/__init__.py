"""What to learn: one file per algorithm, pure functions over arrays."""

from .base import Agent, AgentConfig, HasCritics, HasLikelihood
from .cql import CQL, CQLConfig
from .sac import SAC, SACConfig

AGENTS: dict[str, tuple[type, type]] = {"sac": (SAC, SACConfig), "cql": (CQL, CQLConfig)}

__all__ = ["AGENTS", "CQL", "SAC", "Agent", "AgentConfig", "CQLConfig", "HasCritics", "HasLikelihood", "SACConfig"]
