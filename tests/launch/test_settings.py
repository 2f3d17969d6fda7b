"""Where a command's configuration comes from."""

import pytest
from absl import flags
from absl.testing import flagsaver

from warmloop.configs.classic import task
from warmloop.data.errors import WarmloopError
from warmloop.launch import settings


def test_a_run_goes_on_with_the_configuration_that_it_was_started_with(tmp_path):
    started = task("pendulum").replace(learner={"max_utd": 0.25}, agent={"hidden": (16, 16)})
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(config=None, exp_name="run", runs=str(tmp_path)):
        for resuming in (False, True):
            with pytest.raises(WarmloopError, match="Name a configuration"):
                settings.run_config(resuming)
        settings.save_config(settings.run_directory(), started)
        assert settings.run_config(resuming=True) == started
        assert settings.run_config(resuming=True, online_steps=7).learner.online_steps == 7
