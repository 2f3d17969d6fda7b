"""Episodes that start alike and end differently are told, where recorded returns are taken for bounds and in the inspector."""

import logging

import numpy as np
import pytest

from warmloop.agents import SACConfig
from warmloop.configs.classic import task
from warmloop.configs.schema import AgentChoice
from warmloop.data.episode import Episode, make_steps
from warmloop.data.formats import write_episodes
from warmloop.data.inspection import inspect
from warmloop.data.luck import COMPARED, mixed_outcomes
from warmloop.data.quality import QualityConfig
from warmloop.data.reward import RewardConfig
from warmloop.launch.notebooks.trainer import OfflineRLTrainer
from warmloop.launch.run.recorded_data import demonstration_rows, find_target
from warmloop.launch.telling.returns import warn_of_returns
from warmloop.learner.rows.offline_rows import prepare


def episodes(starts, won, length=5):
    """Walks from these starts, with success at the end of those that won."""
    rng, made = np.random.default_rng(0), []
    for number, (start, success) in enumerate(zip(starts, won, strict=True)):
        steps = np.cumsum(rng.normal(size=(length, len(start))), axis=0)
        path = (start + np.concatenate([np.zeros((1, len(start))), steps])).astype(np.float32)
        flags = (np.arange(length) == length - 1) & bool(success)
        steps = make_steps(path[:-1], rng.uniform(-1, 1, (length, 1)), flags, path[1:], flags, episode=number)
        made.append(Episode(steps, flags, "lab", number))
    return made


ONE_START, MANY = np.zeros((20, 2)), np.random.default_rng(1).normal(size=(20, 2)) * 5
LUCKY = np.arange(20) % 3 == 0


def test_of_one_start_with_two_outcomes_the_pairs_are_counted():
    found = mixed_outcomes(ONE_START, np.ones(2), LUCKY)
    assert found is not None and (found.pairs, found.differing) == (190, 7 * 13)
    assert LUCKY[list(found.example)].sum() == 1


@pytest.mark.parametrize(
    ("first", "won"),
    [(MANY, LUCKY), (ONE_START, np.ones(20)), (ONE_START, np.zeros(20)), (ONE_START[:2], LUCKY[:2]), (ONE_START[:, :0], LUCKY)],
    ids=["starts apart", "all won", "none won", "too few", "nothing seen"],
)
def test_nothing_is_said_where_starts_differ_or_outcomes_do_not(first, won):
    assert mixed_outcomes(first, np.ones(first.shape[1]), won) is None


def test_a_large_set_is_compared_in_part():
    found = mixed_outcomes(np.zeros((3 * COMPARED, 1)), np.ones(1), np.arange(3 * COMPARED) % 2 == 0)
    assert found is not None and found.pairs == COMPARED * (COMPARED - 1) // 2


def test_the_inspector_names_two_episodes_that_start_alike_and_end_differently():
    findings = {finding.check: finding for finding in inspect(episodes(ONE_START, LUCKY)).findings}
    assert "91 of 190 pairs of episodes that start alike end differently" in findings["outcomes of one start"].what
    assert "episode" in findings["outcomes of one start"].advice
    assert "outcomes of one start" not in {finding.check for finding in inspect(episodes(MANY, LUCKY)).findings}


@pytest.mark.parametrize("option", ["monte_carlo_target", "self_imitation"])
def test_a_warm_up_that_takes_returns_for_bounds_warns_of_luck_and_of_returns_that_are_not_known(caplog, option):
    caplog.set_level(logging.WARNING, "warmloop")
    config = task("pendulum").replace(warmup_agent=AgentChoice("sac", SACConfig(**{option: True})), agent=AgentChoice("sac", SACConfig()))
    success, environment = RewardConfig(), RewardConfig(signal="environment", terminate_on_success=False)
    warn_of_returns(config, prepare(episodes(MANY, LUCKY), success, QualityConfig()))
    assert not caplog.records
    warn_of_returns(config, prepare(episodes(ONE_START, LUCKY), success, QualityConfig()))
    assert f"(--config.warmup_agent.{option})" in caplog.text and "start alike end differently" in caplog.text
    warn_of_returns(config, prepare(episodes(MANY, LUCKY), environment, QualityConfig()))
    assert "only 35 % of the steps is known" in caplog.text
    warn_of_returns(config, prepare(episodes(MANY, np.zeros(20)), environment, QualityConfig()))
    assert "no step's return is known" in caplog.text


def test_a_warm_up_without_these_options_says_nothing(caplog):
    config = task("pendulum").replace(warmup_agent=AgentChoice("sac", SACConfig()), agent=AgentChoice("sac", SACConfig()))
    warn_of_returns(config, prepare(episodes(ONE_START, LUCKY), RewardConfig(), QualityConfig()))
    assert not caplog.records


@pytest.mark.parametrize("way", ["fine-tuning without a warm-up", "notebook", "a piece that a warm-up told of"])
def test_the_warning_comes_with_the_data_whichever_way_they_come_in(caplog, tmp_path, way):
    caplog.set_level(logging.WARNING, "warmloop")
    recorded = episodes(np.zeros((20, 3)), LUCKY)
    choice = AgentChoice("sac", SACConfig(monte_carlo_target=True))
    config = task("pendulum").replace(agent=choice, warmup_agent=choice)
    if way == "notebook":
        OfflineRLTrainer("configs/classic.py:pendulum", "sac", monte_carlo_target=True).prepare_dataset(recorded)
    else:
        write_episodes(tmp_path / "demos.npz", recorded)
        rows = demonstration_rows(config, find_target(config), [f"demos={tmp_path / 'demos.npz'}"], warm=way.startswith("a piece"))
        assert rows is not None
    assert ("start alike end differently" in caplog.text) == (not way.startswith("a piece"))
