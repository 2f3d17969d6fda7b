"""Where a command's configuration comes from."""

import pytest
from absl import flags
from absl.testing import flagsaver

from warmloop.configs.classic import task
from warmloop.data.errors import WarmloopError
from warmloop.launch.run import run_record, settings


def test_a_run_goes_on_with_the_configuration_that_it_was_started_with(tmp_path):
    started = task("pendulum").replace(learner={"max_utd": 0.25}, agent={"hidden": (16, 16)})
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(config=None, exp_name="run", runs=str(tmp_path)):
        for resuming in (False, True):
            with pytest.raises(WarmloopError, match="Name a configuration"):
                settings.run_config(resuming)
        run_record.save_config(settings.run_folder(), run_record.described(started, "online", seed=7))
        assert settings.run_config(resuming=True) == started
        assert settings.run_config(resuming=True, online_steps=7).learner.online_steps == 7
        assert settings.run_seed(resuming=True) == 7 and settings.run_seed() == 0
