"""What `--config=SPECIFICATION` is rewritten to, so that ml_collections' flag loads as everything else does: `_flag.py:SPECIFICATION`.

Agents that flags name, as in `--config.agent.name=mine:Mine`, stand behind the specification: their settings are to be flags, too.
Where flags change a setting and `--config` names no file, the specification is empty, and what stands behind it says whose settings they
are: `;env=ID` for an environment with the defaults, `;meta=FILE` for the description of a checkpoint.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from warmloop.actor.environment.environment_config import EnvironmentConfig
from warmloop.configs import load
from warmloop.configs.saved import config_of
from warmloop.configs.schema import RunConfig, to_config_dict, to_dict

NAMED = re.compile(r";(agent|warmup_agent|env|meta)=([^;]*)$")


def with_agents(specification: str, named: Mapping[str, str]) -> str:
    """`FILE[:ARGUMENT][,PRESET…]` with agents by their sections."""
    return specification + "".join(f";{section}={name}" for section, name in named.items())


def divided(text: str) -> tuple[str, dict[str, str]]:
    """What `with_agents` put together."""
    named = dict[str, str]()
    while found := NAMED.search(text):
        named[found[1]], text = found[2], text[: found.start()]
    return text, named


def load_named(text: str) -> RunConfig:
    """The configuration with those agents. Raises WarmloopError as `load`, and where there is no agent of a name."""
    specification, named = divided(text)
    config = _begun(specification, named.pop("env", ""), named.pop("meta", ""))
    return config.replace(**{section: getattr(config, section).named(name, f"--config.{section}.name") for section, name in named.items()})


def _begun(specification: str, env: str, meta: str) -> RunConfig:
    """What the specification names, or the environment, or the checkpoint."""
    if meta:
        return config_of(json.loads(Path(meta).read_text(encoding="utf-8")))
    return RunConfig(EnvironmentConfig(env)) if env else load(specification)


def values_of(text: str) -> dict[str, Any]:
    """The same as nested plain values."""
    return to_dict(load_named(text))


def get_config(specification: str) -> ConfigDict:
    """The configuration of `FILE[:ARGUMENT][,PRESET…][;SECTION=AGENT…]`, or of what stands in its place."""
    return to_config_dict(load_named(specification))
