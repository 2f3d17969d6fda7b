"""Recorded data as a run has them: files read, laid as the environment's observations and actions are, and gathered into sets."""

from .sources import DataConfig as DataConfig
from .sources import SourceConfig as SourceConfig
