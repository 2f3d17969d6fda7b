"""A world of lamps: a 16×16 picture whose left half is lit when success is near, for classifiers to be trained on in a second."""

import gymnasium as gym
import numpy as np

from warmloop.agents.classifiers.classifier import Classifier, ClassifierConfig
from warmloop.agents.classifiers.trained_classifier import TrainedClassifier, write
from warmloop.agents.networks.vision import VisionConfig
from warmloop.data.episode import Episode, make_steps
from warmloop.learner.classifiers.calibration import Scores, calibrate, measured
from warmloop.learner.classifiers.classifier_training import hold_out, labelled, logits, train

SMALL = ClassifierConfig(VisionConfig(features=8, channels=(8, 8)), (16,), members=2, updates=40, batch_size=16, learning_rate=3e-3)

# A --config file of an agent that sees the lamps.
CONFIG = """
from warmloop.actor.environment import EnvironmentConfig
from warmloop.agents import SACConfig
from warmloop.agents.networks.vision import VisionConfig
from warmloop.configs.schema import AgentChoice, RunConfig, to_config_dict
from warmloop.data.reward import RewardConfig

def get_config():
    agent = AgentChoice("sac", SACConfig(hidden=(8,), ensemble=2, batch_size=4, vision=VisionConfig(features=4, channels=(4, 4))))
    environment = EnvironmentConfig("lamps:WarmloopTest/Lamps-v0", success="info:success")
    return to_config_dict(RunConfig(environment, RewardConfig("environment", terminate_on_success=False), warmup_agent=agent))
"""


def picture(lit: bool, rng: np.random.Generator, half: slice = slice(8)) -> np.ndarray:
    """`[16, 16, 3]` of dark noise, with a lamp on its left half (or another) where it is lit."""
    pixels = rng.integers(0, 90, (16, 16, 3))
    pixels[4:12, half] += 150 * lit
    return pixels.astype(np.uint8)


def lamp_episode(number: int, length: int = 8, lit_from: int = 5, half: slice = slice(8)) -> Episode:
    """An episode in which a half is lit after step `lit_from` (from 0) and later ones, and the other one now and then before."""
    rng = np.random.default_rng(number)
    success = np.arange(length) >= lit_from
    other = slice(8, 16) if half == slice(8) else slice(8)
    decoys = rng.random(length + 1) < 0.5
    shown = zip([False, *success], decoys, strict=True)
    pixels = np.stack([picture(lit or decoy, rng, half if lit else other) for lit, decoy in shown])
    observed = {"front": pixels, "pose": rng.normal(size=(length + 1, 2)).astype(np.float32)}
    here, after = ({name: leaf[part] for name, leaf in observed.items()} for part in (slice(-1), slice(1, None)))
    steps = make_steps(here, np.zeros((length, 2), np.float32), np.zeros(length), after, np.zeros(length, bool), episode=number)
    return Episode(steps, success, "lamps", number)


def lamp_classifier(folder, half: slice = slice(8), config: ClassifierConfig = SMALL) -> TrainedClassifier:
    """A classifier of lamps, trained on eight episodes, written to `folder`."""
    data, spec = labelled([lamp_episode(number, half=half) for number in range(8)])
    held, classifier = hold_out(data, 0.25, 0), Classifier(config, spec)
    params, kept = train(classifier, data.of(~held), 0), data.of(held)
    scores = Scores(logits(classifier, params, kept.observation), kept.success, kept.episode)
    trained = TrainedClassifier(classifier, params, *calibrate(classifier, scores, 0.01))
    write(folder, trained, {"measured": measured(classifier, scores, 0.01)})
    return trained


class Lamps(gym.Env):
    """Plays back which lamps, left and right, are lit after each step, and terminates where it is told to."""

    observation_space = gym.spaces.Dict(
        {"front": gym.spaces.Box(0, 255, (16, 16, 3), np.uint8), "pose": gym.spaces.Box(-9, 9, (2,), np.float32)}
    )
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, script=((False, False),) * 9, success_at=99, render_mode=None):
        self.script, self.success_at, self.render_mode = script, success_at, render_mode

    def reset(self, *, seed=None, options=None):
        self._rng, self._count = np.random.default_rng(seed), 0
        return self._seen(False, False), {}

    def step(self, action):
        left, right = self.script[self._count]
        self._count += 1
        done = self._count > self.success_at
        return self._seen(left, right), 0.0, done, False, {"success": done}

    def render(self):
        return np.full((32, 32, 3), 120, np.uint8)

    def _seen(self, left, right):
        lamps = np.maximum(picture(left, self._rng), picture(right, self._rng, slice(8, 16)))
        return {"front": lamps, "pose": np.zeros(2, np.float32)}


gym.register("WarmloopTest/Lamps-v0", lambda **kwargs: Lamps(**kwargs), max_episode_steps=9)
