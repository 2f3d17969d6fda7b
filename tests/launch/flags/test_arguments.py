"""Settings as flags, from what a user types to the typed configuration."""

from collections.abc import Callable

import pytest
from absl import flags
from ml_collections import config_flags

from warmloop.configs.schema import RunConfig, from_config_dict
from warmloop.launch.flags.arguments import locate_config


@pytest.fixture
def typed(monkeypatch) -> Callable[..., RunConfig]:
    def configured(*arguments: str) -> RunConfig:
        argv, values = locate_config(["train", "--config=configs/classic.py:pendulum", *arguments]), flags.FlagValues()
        monkeypatch.setattr("sys.argv", argv)  # which ml_collections looks through for settings
        config_flags.DEFINE_config_file("config", flag_values=values)
        values(argv)
        return from_config_dict(values.config)

    return configured


@pytest.mark.parametrize("text", ["{'': 'state'}", '{"": ["state"]}', " {'': ('state',)}", "(('', ('state',)),)"])
def test_a_mapping_is_given_as_a_mapping_or_as_the_pairs_that_it_is_stored_as(typed, text):
    assert typed(f"--config.data.observation={text}").data.observation == (("", ("state",)),)


def test_mappings_of_several_names_and_of_arguments_keep_every_value(typed):
    config = typed("--config.data.observation={'front': 'cam', 'state': ('joints', 'gripper')}", "--config.environment.kwargs={'g': 9.5}")
    assert config.data.observation == (("front", ("cam",)), ("state", ("joints", "gripper")))
    assert dict(config.environment.kwargs) == {"g": 9.5}
