"""Policies by MODULE:NAME: what each kind of callable is taken for, and how its mistakes are told."""

import random
import textwrap
from pathlib import Path

import numpy as np
import pytest

from warmloop.actor.environment.environment import Environment, EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import run_episode
from warmloop.actor.policies.outside import OutsidePolicy, outside_policy
from warmloop.data.doors.imports import source_hash
from warmloop.data.errors import WarmloopError

MODULE = """
    import random
    import numpy as np

    class Pushes:
        def __init__(self, environment):
            self.size = environment.spec.action_dim
        def begin(self, seed):
            self.generator = np.random.default_rng(seed)
        def __call__(self, observation, step):
            return self.generator.uniform(-1, 1, self.size) if step % 2 else np.zeros(self.size)

    def made(environment):
        return Pushes(environment)

    def follow(observation):
        return observation[1:2]

    def dice(observation):
        return [random.uniform(-1, 1) * abs(np.random.uniform(-1, 1))]

    class Holds:
        def begin(self, seed):
            pass
        def __call__(self, observation, step):
            return [0.5]

    held = Holds()
    answer = 42

    def no_policy(environment):
        return answer

    def fails(environment):
        raise KeyError("joint")
"""


@pytest.fixture
def environment() -> Environment:
    return make_environment(EnvironmentConfig("Pendulum-v1", horizon=6))


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside_lab.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "outside_broken.py").write_text("import nowhere_at_all")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_function_is_called_with_each_observation(environment: Environment):
    episode = run_episode(environment, outside_policy("outside_lab:follow", environment), 3)
    np.testing.assert_array_equal(episode.steps.action, episode.steps.observation[:, 1:2])


def test_an_object_with_begin_is_the_policy(environment: Environment):
    episode = run_episode(environment, outside_policy("outside_lab:held", environment), 3)
    np.testing.assert_array_equal(episode.steps.action, np.full((6, 1), 0.5))


@pytest.mark.parametrize("name", ["Pushes", "made"])
def test_a_class_and_a_function_of_the_environment_are_called_with_it(name: str, environment: Environment):
    policy = outside_policy(f"outside_lab:{name}", environment)
    first, again = run_episode(environment, policy, 3), run_episode(environment, policy, 3)
    np.testing.assert_array_equal(first.steps.action, again.steps.action)
    expected = np.random.default_rng(3).uniform(-1, 1, 1).astype(np.float32)
    assert first.steps.action[0] == 0 and first.steps.action[1] == expected


def test_a_function_that_draws_from_the_global_generators_depends_on_the_episodes_seed_alone(environment: Environment):
    policy = outside_policy("outside_lab:dice", environment)
    first = run_episode(environment, policy, 3).steps.action
    other = run_episode(environment, policy, 4).steps.action
    random.random()
    np.testing.assert_array_equal(run_episode(environment, policy, 3).steps.action, first)
    assert not np.array_equal(first, other)


def test_an_action_in_the_environments_units_is_refused_with_what_its_numbers_stand_for(environment: Environment):
    policy = OutsidePolicy("mine:act", lambda _: np.full(environment.spec.action_dim, 2.0), environment)
    policy.begin(0)
    with pytest.raises(WarmloopError, match=r"in \[-1, 1\], where -1 and 1 stand for the limits of .+'s action space"):
        policy(environment.reset(0), 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere_at_all:act", 'there is no module "nowhere_at_all"'),
        ("configs/my.py:act", r"as in my_lab\.arm; a configuration is given by --config\."),
        ("outside_lab.deeper:act", 'there is no module "outside_lab.deeper"'),
        ("outside_broken:act", "importing outside_broken failed: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("outside_lab:folow", 'there is no "folow" in outside_lab; did you mean follow'),
        ("outside_lab:answer", "outside_lab:answer is 42; a class, a function or an object"),
        ("outside_lab:no_policy", r"returned 42; an object with begin\(seed\)"),
        ("outside_lab:fails", r"called with the environment, failed: KeyError: 'joint' \(outside_lab.py, line \d+\)"),
    ],
)
def test_a_name_that_gives_no_policy_is_one_sentence(name: str, message: str, environment: Environment):
    with pytest.raises(WarmloopError, match=message):
        outside_policy(name, environment)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([0.1, 0.2], r"an action of shape \(2,\) at step 7; Pendulum-v1 takes \(1,\)"),
        (0.1, r"an action of shape \(\) at step 7"),
        ([np.nan], "must be finite and in"),
        ([1.5], r"gave the action \[1.5\] at step 7.*Scale or clip it"),
        ("left", "gave 'left' at step 7, which is no array of numbers"),
        ([[0.1], [0.1, 0.2]], "which is no array of numbers"),
    ],
)
def test_an_action_that_cannot_be_taken_is_told_with_its_step(action, message: str, environment: Environment):
    policy = OutsidePolicy("lab:act", lambda observation: action, environment)
    policy.begin(0)
    with pytest.raises(WarmloopError, match=f"lab:act.*{message}"):
        policy(np.zeros(3, np.float32), 7)


def test_rounding_beyond_the_bounds_is_clipped(environment: Environment):
    policy = OutsidePolicy("lab:act", lambda observation: [1.0005], environment)
    policy.begin(0)
    assert policy(np.zeros(3, np.float32), 0) == np.float32(1.0)


def test_the_source_hash_changes_with_the_file_and_imports_nothing(tmp_path: Path):
    before = source_hash("outside_broken:act", "")
    (tmp_path / "outside_broken.py").write_text("import nowhere_at_all  # still")
    assert len(before) == 64 and source_hash("outside_broken:act", "") != before
