"""The environment as the actor has it, and who looks after it."""

from .environment_config import EnvironmentConfig as EnvironmentConfig
