"""Policies saved by Stable-Baselines3 itself, played without unpickling."""

import base64
import copy
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from warmloop.actor.environment.environment import Environment, EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import run_episode
from warmloop.actor.policies.sb3_policy import SB3Policy, sb3_policy
from warmloop.data.action_limits import ActionLimits
from warmloop.data.errors import WarmloopError

sb3 = pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed (extra [sb3])")
torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra [sb3])")

SMALL = {"net_arch": [8, 8]}
OFF_POLICY = {"learning_starts": 16, "buffer_size": 300, "batch_size": 16}
Train = Callable[..., tuple[Any, Path]]


class Reach(gym.Env):
    """Reaches a point by moves of uneven bounds; gives what it sees as a dict with a picture, or as an array."""

    def __init__(self, kind: str = "dict"):
        self.action_space = gym.spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([3.0, 0.5], np.float32))
        state = gym.spaces.Box(-10.0, 10.0, (2,), np.float64)
        picture = gym.spaces.Box(0, 255, (40, 36, 3), np.uint8)
        self.observation_space = {"dict": gym.spaces.Dict(front=picture, state=state), "picture": picture, "state": state}[kind]
        self.kind = kind

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.normal(size=2)
        return self.seen(), {}

    def step(self, action):
        assert self.action_space.contains(np.asarray(action, np.float32))
        self.place = self.place + action
        return self.seen(), -float(np.abs(self.place).sum()), False, False, {}

    def seen(self):
        picture = np.full((40, 36, 3), np.clip(128 + 20 * self.place[0], 0, 255), np.uint8)
        picture[:, :18, 1] = 7
        return {"dict": {"front": picture, "state": self.place}, "picture": picture, "state": self.place}[self.kind]


@pytest.fixture(autouse=True)
def _registered():
    gym.register("Reach-v0", Reach, max_episode_steps=8)
    yield
    del gym.registry["Reach-v0"]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """A model of Stable-Baselines3's, trained for a few hundred steps and saved by it."""

    def trained(algorithm: str, policy: str = "MlpPolicy", env: Any = "Pendulum-v1", steps: int = 64, **arguments: Any):
        own = copy.deepcopy({"policy_kwargs": SMALL} | arguments)  # which the algorithms add to
        model = getattr(sb3, algorithm)(policy, env, seed=0, device="cpu", **own)
        model.learn(steps)
        model.save(tmp_path / "model.zip")
        return model, tmp_path / "model.zip"

    return trained


def pendulum() -> Environment:
    return make_environment(EnvironmentConfig("Pendulum-v1", horizon=20))


ALGORITHMS = [
    pytest.param("SAC", OFF_POLICY, id="SAC"),
    pytest.param("TD3", OFF_POLICY, id="TD3"),
    pytest.param("DDPG", OFF_POLICY, id="DDPG"),
    pytest.param("PPO", {"n_steps": 32, "batch_size": 16}, id="PPO"),
    pytest.param("A2C", {}, id="A2C"),
    pytest.param("SAC", OFF_POLICY | {"use_sde": True}, id="SAC-gSDE"),
    pytest.param("PPO", {"n_steps": 32, "batch_size": 16, "use_sde": True}, id="PPO-gSDE"),
    pytest.param("PPO", {"n_steps": 32, "batch_size": 16, "policy_kwargs": SMALL | {"activation_fn": torch.nn.ELU}}, id="PPO-activation"),
]


@pytest.mark.parametrize(("algorithm", "arguments"), ALGORITHMS)
def test_the_mode_is_what_the_model_itself_predicts(train: Train, algorithm: str, arguments: dict):
    model, path = train(algorithm, **arguments)
    environment = pendulum()
    episode = run_episode(environment, sb3_policy(path, environment, deterministic=True), 3)
    expected = [model.predict(observation, deterministic=True)[0] for observation in episode.steps.observation]
    np.testing.assert_allclose(episode.steps.action, np.clip(np.array(expected) / 2.0, -1, 1), atol=1e-6)
    assert np.ptp(episode.steps.action) > 0


@pytest.mark.parametrize(("algorithm", "arguments"), [ALGORITHMS[0], ALGORITHMS[3], ALGORITHMS[5], ALGORITHMS[6]])
def test_a_sampled_episode_depends_on_its_seed_and_not_on_the_episodes_before(train: Train, algorithm: str, arguments: dict):
    _, path = train(algorithm, **arguments)
    environment = pendulum()
    fresh, used = sb3_policy(path, environment), sb3_policy(path, environment)
    expected = run_episode(environment, fresh, 5).steps.action
    run_episode(environment, used, 1)
    np.testing.assert_array_equal(run_episode(environment, used, 5).steps.action, expected)
    other = run_episode(environment, used, 6).steps.action
    mode = run_episode(environment, sb3_policy(path, environment, deterministic=True), 5).steps.action
    assert not np.array_equal(other, expected) and not np.array_equal(mode, expected)


@pytest.mark.parametrize(("kind", "policy"), [("dict", "MultiInputPolicy"), ("picture", "CnnPolicy"), ("state", "MlpPolicy")])
def test_dicts_pictures_and_uneven_bounds_come_out_as_the_model_has_them(train: Train, kind: str, policy: str):
    env = gym.make("Reach-v0", kind=kind)
    model, path = train("PPO", policy, env, n_steps=16, batch_size=16, steps=16)
    environment = make_environment(EnvironmentConfig("Reach-v0", {"kind": kind}))
    episode = run_episode(environment, sb3_policy(path, environment, deterministic=True), 0)
    observation = episode.steps.observation
    for step in range(len(episode)):
        seen = {name: leaf[step] for name, leaf in observation.items()} if kind == "dict" else observation[step]
        expected, _ = model.predict(seen, deterministic=True)
        taken = env.action_space.low + (episode.steps.action[step] + 1) / 2 * (env.action_space.high - env.action_space.low)
        np.testing.assert_allclose(taken, expected, atol=1e-5)


def test_an_action_whose_bounds_are_equal_has_no_say():
    class Still:
        def predict(self, observation, state, deterministic):
            return np.array([0.5, 0.25], np.float32), None

    policy = SB3Policy(Still(), ActionLimits((-1.0, 0.25), (1.0, 0.25)))
    policy.begin(0)
    np.testing.assert_array_equal(policy(np.zeros(2, np.float32), 0), np.float32([0.5, 0.0]))


def test_statistics_of_vec_normalize_beside_the_zip_are_told_and_not_read(train: Train, caplog: pytest.LogCaptureFixture):
    _, path = train("A2C")
    (path.parent / "vecnormalize.pkl").write_bytes(b"no pickle")
    sb3_policy(path, make_environment(EnvironmentConfig("Pendulum-v1")))
    assert "vecnormalize.pkl is beside" in caplog.text


def test_nothing_in_the_zip_is_unpickled(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every pickle in the description is replaced by one that would leave a canary."""
    _, path = train("A2C")  # whose policy_kwargs name a class, so that Stable-Baselines3 itself unpickles them
    canary = tmp_path / "canary"
    payload = base64.b64encode(f"cos\nsystem\n(S'touch {canary}'\ntR.".encode()).decode()
    rewrite(path, lambda data: {name: poisoned(value, payload) for name, value in data.items()})
    environment = pendulum()
    assert len(run_episode(environment, sb3_policy(path, environment), 0)) == 20
    assert not canary.exists()
    with pytest.raises(Exception):  # noqa: B017  the same file does run it where it is unpickled
        sb3.A2C.load(path)
    assert canary.exists()


def poisoned(value: Any, payload: str) -> Any:
    return value | {":serialized:": payload} if isinstance(value, dict) and ":serialized:" in value else value


def rewrite(path: Path, change: Callable[[dict], dict]) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["data"] = json.dumps(change(json.loads(entries["data"]))).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def test_other_spaces_are_refused_with_the_difference(train: Train):
    _, path = train("PPO", n_steps=32, batch_size=16)
    for env, kwargs, message in [
        ("MountainCarContinuous-v0", {}, r"actions in \[-2.\] to \[2.\], and the environment's are in \[-1.\] to \[1.\]"),
        ("Reach-v0", {"kind": "state"}, "it has 1 action dimensions and the environment 2"),
    ]:
        with pytest.raises(WarmloopError, match=message):
            sb3_policy(path, make_environment(EnvironmentConfig(env, kwargs)))
    _, path = train("PPO", env=gym.make("Reach-v0", kind="state"), n_steps=16, batch_size=16, steps=16)
    with pytest.raises(WarmloopError, match=r"observations of shape \(2,\), and the environment's are front \(3, 40, 36\), state "):
        sb3_policy(path, make_environment(EnvironmentConfig("Reach-v0")))


def test_discrete_actions_are_refused(train: Train):
    _, path = train("DQN", env="CartPole-v1", learning_starts=16, buffer_size=100)
    with pytest.raises(WarmloopError, match="trained with actions of Discrete, and the environment's are Box"):
        sb3_policy(path, pendulum())


def test_a_policy_of_ones_own_is_refused_by_name(train: Train):
    _, path = train("SAC", OwnPolicy, **OFF_POLICY)
    with pytest.raises(WarmloopError, match=r"its policy is a class of .*test_sb3_policy, not of Stable-Baselines3; play it by"):
        sb3_policy(path, pendulum())
    _, path = train("PPO", n_steps=32, batch_size=16, policy_kwargs=SMALL | {"activation_fn": OwnActivation})
    with pytest.raises(WarmloopError, match=r"its activation_fn is <class '.*OwnActivation'>, which only its own code can make"):
        sb3_policy(path, pendulum())


class OwnPolicy(sb3.sac.policies.SACPolicy):
    pass


class OwnActivation(torch.nn.Tanh):
    pass


def test_weights_of_another_architecture_are_refused(train: Train):
    _, path = train("SAC", **OFF_POLICY)
    rewrite(path, lambda data: data | {"policy_kwargs": {"net_arch": [8, 9]}})
    with pytest.raises(WarmloopError, match="its weights do not fit the policy that it describes"):
        sb3_policy(path, pendulum())


@pytest.mark.parametrize("damage", ["missing", "text", "cut", "other zip", "no weights"])
def test_a_file_that_is_none_of_its_zips_is_one_sentence(train: Train, tmp_path: Path, damage: str):
    _, path = train("A2C")
    if damage == "missing":
        path = tmp_path / "missing.zip"
    elif damage == "text":
        path.write_text("no zip")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-400])
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data" if damage == "no weights" else "readme.txt", "{}")
    with pytest.raises(WarmloopError, match=r"does not exist; give the zip|is no policy that Stable-Baselines3 saved, or is damaged"):
        sb3_policy(path, pendulum())
