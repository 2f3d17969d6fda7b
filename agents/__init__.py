"""What to learn: one file per algorithm, pure functions over arrays."""

from .base import Agent, HasCritics, HasLikelihood
from .cql import CQL, CQLConfig
from .sac import SAC, SACConfig

AGENTS: dict[str, tuple[type, type]] = {"sac": (SAC, SACConfig), "cql": (CQL, CQLConfig)}

__all__ = ["AGENTS", "CQL", "SAC", "Agent", "CQLConfig", "HasCritics", "HasLikelihood", "SACConfig"]
