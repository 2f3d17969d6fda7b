"""A camera that drops out within a run that learns: an episode is cut, the row is put aside, and the run ends in order."""

import json

import jax
import numpy as np
import pytest

from warmloop.actor.environment import EnvironmentConfig
from warmloop.actor.environment import faults as faults_module
from warmloop.actor.environment.environment import make_environment
from warmloop.agents import SACConfig
from warmloop.agents.networks.vision import VisionConfig
from warmloop.configs.schema import AgentChoice, RunConfig
from warmloop.data.formats.quarantined import quarantine_files, read_quarantine
from warmloop.data.reward import RewardConfig
from warmloop.launch.run.recorded_data import target_of
from warmloop.launch.run.session import in_lock_step, running_learner
from warmloop.learner.diagnosis.metrics import read

VISION = VisionConfig(channels=(4, 4), features=4)
AGENT = AgentChoice("sac", SACConfig(hidden=(16,), ensemble=2, target_subset=2, utd=1, batch_size=8, vision=VISION))
STEPS, DROPPED = 90, 40  # the environment's 40th step has no picture


@pytest.mark.slow
def test_a_lost_picture_costs_an_episode_and_nothing_is_learnt_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr(faults_module, "WAITS", (0.0,))
    environment = EnvironmentConfig("lab_environment:Lab/Reach-v0", {"quirk": "camera_drops_out", "log": str(tmp_path / "log")}, horizon=30)
    config = RunConfig(environment, RewardConfig(discount=0.95), AGENT, AGENT).replace(
        replay={"capacity": 200}, learner={"online_steps": STEPS, "log_every": 10, "publish_every": 10, "max_utd": 0.5}
    )
    made, run = make_environment(config.environment, config.reward), tmp_path / "run"
    with running_learner(config, target_of(made), run, 0, (None, None), [], False, lock_step=True) as (learner, meta):
        in_lock_step(config, learner, meta, made, 0)
        rows, frames = jax.device_get((learner.state.online.rows, learner.state.frames))
    told = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    taken = [one for one in told if one["event"] == "step"]
    assert len(taken) == STEPS + 2, "and the one that was lost, and the one by which the camera was read anew: resets alone did not"
    aside = [row for file in quarantine_files(run / "quarantine") for row in read_quarantine(file)]
    assert len(aside) == 3 and all('without "wrist"' in row.reason for row in aside)
    assert read(run)[-1]["environment_steps"] == STEPS and sum(record.get("actor/faults", 0) for record in read(run)) > 0
    step, truncated = (np.asarray(leaf)[:STEPS] for leaf in (rows.step, rows.truncated))
    before = DROPPED - 2  # the row before the one that was lost
    assert truncated[before] and rows.mask[before] == 1 and step[before + 1] == 0, "cut with its bootstrap"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((rows.observation, rows.reward)))
    assert set(np.unique(np.asarray(jax.tree.leaves(frames)[0]))) <= {0, 100}, "nothing stands for the lost one"
    assert any(one["event"] == "safe_stop" for one in told)
