"""The data of a notebook's trainer: read, checked against its environment, and made ready."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import gymnasium as gym

from ...configs.schema import RunConfig
from ...data.errors import WarmloopError
from ...data.sources.sources import DataConfig, SourceConfig
from ...learner.rows.offline_rows import OfflineData
from ..flags.limits import with_limits
from ..run.recorded_data import find_target, loaded_data, made_ready, target_of
from .notebook_config import STORED, environment_of, source_arguments


def prepared(config: RunConfig, env: gym.Env | None, absent: bool, raw: Any, action_units: str) -> tuple[RunConfig, OfflineData]:
    """The data, and the configuration with the action limits that are taken from them, if any are.

    Args:
        env: the environment object; None for the configuration's own, which may be `absent`.
        raw, action_units: as `OfflineRLTrainer.prepare_dataset` has them, and raises as it does.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            sources = DataConfig().adding(source_arguments(raw, Path(folder), config.environment.limits)).sources
            named = tuple(SourceConfig(source.path, source.kind, action_units=action_units) for source in sources)
            target = find_target(config, absent) if env is None else target_of(environment_of(env, config))
            loaded = loaded_data(config, dataclasses.replace(config.data, sources=named), target)
            config = with_limits(config, loaded.limits)
            return config, made_ready(config, loaded.episodes)
        except WarmloopError as error:
            raise WarmloopError(str(error).replace(str(Path(folder) / STORED), "the dataset")) from None
