"""One vocabulary of policies: what `collect` records `evaluate` judges, by the same name."""

from pathlib import Path

import numpy as np
import pytest

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import run_episode
from warmloop.actor.policies.exported import exported_policy
from warmloop.data.errors import WarmloopError
from warmloop.launch.flags.choices import choose_policy
from warmloop.launch.judging.judge import MEAN, Subject, judge
from warmloop.launch.parts.exporting import export_checkpoint

CONTROLLER = """
import numpy as np

def still(observation):
    return np.zeros(1, np.float32)
"""


COUNTED = """
import numpy as np

class Counted:
    made = []

    def __init__(self, environment):
        environment.reset(0)
        self.made.append("open")

    def begin(self, seed): ...

    def __call__(self, observation, step):
        return np.zeros(1, np.float32)
"""


@pytest.fixture(scope="module")
def trained(pendulum_checkpoint) -> tuple[Path, Path]:
    """A checkpoint of a small policy of Pendulum, and its export."""
    exported = pendulum_checkpoint.parent / "policy"
    export_checkpoint(pendulum_checkpoint, exported)
    return pendulum_checkpoint, exported


@pytest.mark.parametrize("stochastic", [False, True])
def test_an_exported_policy_is_judged_as_its_checkpoint_is(trained, stochastic):
    checkpoint, exported = trained
    own = judge(Subject(checkpoint=checkpoint, stochastic=stochastic), 2, 0)
    by_name = judge(Subject(f"checkpoint:{checkpoint}", stochastic=stochastic), 2, 0)
    found = judge(Subject(f"export:{exported}", environment="Pendulum-v1", stochastic=stochastic), 2, 0)
    assert own == by_name and found["mean_return"] == pytest.approx(own["mean_return"], rel=1e-3)
    assert own["actions"] == found["actions"] == ("sampled, as in training" if stochastic else MEAN)


@pytest.mark.parametrize("deterministic", [False, True])
def test_an_exported_policy_is_recorded_as_its_checkpoint_is(trained, deterministic):
    episodes = []
    for text in (f"checkpoint:{trained[0]}", f"export:{trained[1]}"):
        choice = choose_policy(text, deterministic)
        config = choice.acting_in(EnvironmentConfig("Pendulum-v1", horizon=20))
        environment = make_environment(config)
        episodes.append(run_episode(environment, choice(environment), 3))
    np.testing.assert_allclose(episodes[0].steps.action, episodes[1].steps.action, atol=1e-4)
    assert choose_policy(f"export:{trained[1]}").identity.startswith("sha256 ")


def test_a_function_of_ones_own_is_judged_in_a_configurations_environment(tmp_path, monkeypatch):
    (tmp_path / "own_controller.py").write_text(CONTROLLER)
    monkeypatch.syspath_prepend(tmp_path)
    shown = judge(Subject("own_controller:still", config="configs/classic.py:pendulum"), 2, 0)
    assert shown["environment"] == "Pendulum-v1" and shown["actions"] == "own_controller:still" and shown["mean_return"] < -100


def test_a_policy_of_ones_own_is_made_once_and_films_what_it_was_judged_by(tmp_path, monkeypatch):
    (tmp_path / "counted.py").write_text(COUNTED)
    monkeypatch.syspath_prepend(tmp_path)
    film = tmp_path / "film.mp4"
    judge(Subject("counted:Counted", environment="Pendulum-v1", config=None), 1, 0, film)
    from counted import Counted  # pyright: ignore[reportMissingImports] (written above)

    assert Counted.made == ["open"] and film.stat().st_size > 0, "another one would find the environment closed"


@pytest.mark.long
def test_a_stable_baselines3_zip_is_judged_by_its_mode_or_sampled(tmp_path):
    sb3 = pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed (extra [sb3])")
    sb3.PPO("MlpPolicy", "Pendulum-v1", n_steps=8, batch_size=8, seed=0, device="cpu").save(tmp_path / "ppo.zip")
    subjects = [Subject(f"sb3:{tmp_path / 'ppo.zip'}", environment="Pendulum-v1", stochastic=on) for on in (False, True)]
    shown = [judge(subject, 1, 0) for subject in subjects]
    assert shown[0]["actions"] == MEAN and shown[0]["mean_return"] != shown[1]["mean_return"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"policy": "scriptd", "environment": "Pendulum-v1"},
            r'--policy is "scriptd"; it must be random, scripted, .*did you mean scripted',
        ),
        ({"policy": "random"}, "--policy=random needs --env or --config"),
        ({"policy": "none", "environment": "Pendulum-v1"}, "nobody acts"),
        ({"policy": "random", "checkpoint": "a", "environment": "Pendulum-v1"}, "both name a policy"),
        ({"policy": "checkpoint:a", "checkpoint": "b"}, "both name a policy"),
        ({"policy": "random", "step": 5, "environment": "Pendulum-v1"}, "--step=5 is one of a checkpoint's folder"),
        ({"checkpoint": "a", "config": "b.py"}, "A checkpoint has its own configuration"),
        ({"policy": "export:nowhere", "environment": "Pendulum-v1"}, "nowhere holds no exported policy"),
        ({"policy": "random", "environment": "Pendulum-v1", "config": "b.py"}, "by either --config or --env"),
    ],
)
def test_what_cannot_be_judged_is_a_sentence(given, says):
    with pytest.raises(WarmloopError, match=says):
        Subject(**given).load()


def test_an_export_that_does_not_fit_or_is_damaged_is_a_sentence(trained, tmp_path):
    with pytest.raises(WarmloopError, match=r"does not fit the environment: .*MountainCarContinuous-v0"):
        exported_policy(trained[1], make_environment(EnvironmentConfig("MountainCarContinuous-v0")))
    for file in trained[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "policy.stablehlo").write_bytes(b"nothing")
    with pytest.raises(WarmloopError, match=r"is damaged .*; export it again"):
        Subject(f"export:{tmp_path}", environment="Pendulum-v1").load()
